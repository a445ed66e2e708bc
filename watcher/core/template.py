"""A rule's own words: `{provider} at {used_percent:.0f} %`. Names and format specifications, nothing else.

`str.format` would let a rule file read attributes and items of whatever it is given; here a field is one of `FIELDS`,
and it is replaced by a text or a number. Never look up anything here: values come as an argument.
"""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from string import Formatter

FIELDS: Mapping[str, str] = {
    "rule": "the rule's name",
    "provider": "the provider's name for people: Claude",
    "account": "the account's name for people, empty where there is none",
    "window": "the window's name for people: 5-hour window",
    "series": "as written in rules: claude.five_hour",
    "severity": "info, warning or critical",
    "event": "firing, escalated, reminder, resolved or reset",
    "reason": "why the alert changed",
    "used_percent": "number, 0 to 100, more in overage",
    "remaining_percent": "number, 100 less what is used",
    "used": "number in the window's unit",
    "limit": "number in the window's unit",
    "remaining": "number in the window's unit, negative in overage",
    "unit": "percent, requests, tokens, usd, ...",
    "resets_in": "duration: 1 h 40 min",
    "resets_at": "local time: 16:00, Tue 09:00",
    "rate": "number, percent per hour",
    "projected": "number, percent at the reset",
    "exhausts_in": "duration until it runs dry at this rate",
    "age": "duration since the last reading",
    "error": "what went wrong at the last poll, one line",
    "up": "yes or no: whether the last poll gave a reading",
    "since": "local time at which it became true",
    "duration": "how long it has been true",
}
"""Every name that a template may use, and what it stands for."""

NUMBERS = frozenset({"used_percent", "remaining_percent", "used", "limit", "remaining", "rate", "projected"})
"""The fields that are numbers and take a number's format: `{used_percent:.0f}`. All others are texts."""

UNKNOWN = "?"
"""What stands for a value that is not known: never 0."""

_NUMBER = re.compile(r"[<>^]?[+ ]?0?\d{0,2},?(\.\d)?[fg]?")  # two digits of width: a rule must not fill the memory
_TEXT = re.compile(r"[<>^]?\d{0,2}")


class TemplateError(ValueError):
    """A template that cannot be used; the message says what would be valid.

    Attributes:
        field: the field it is about, as written; empty where the braces themselves are wrong.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


def check(text: str) -> None:
    """Refuse a template that names an unknown field, reaches into one, or formats it in a way that it cannot take.

    Raises:
        TemplateError: with what would be valid.
    """
    for _, name, spec in _parts(text):
        if name is None:
            continue
        if not (_NUMBER if name in NUMBERS else _TEXT).fullmatch(spec):
            kind = "a number, as in :.0f" if name in NUMBERS else "a text, as in :>8"
            raise TemplateError(f'"{{{name}:{spec}}}": {name} is {kind}; "{spec}" is no format of it', name)


def render(text: str, values: Mapping[str, object]) -> str:
    """`text`, which `check` has passed, with its fields filled from `values`; a missing one or None gives "?".

    `values` has keys of `FIELDS`: an int, float or Decimal for those in `NUMBERS`, a text for all others.

    Raises:
        TemplateError: as `check`.
    """
    written: list[str] = []
    for literal, name, spec in _parts(text):
        written.append(literal)
        if name is None:
            continue
        value = values.get(name)
        if value is None:
            written.append(UNKNOWN)
            continue
        written.append(format(value, spec) if spec else str(value))
    return "".join(written)


def _parts(text: str) -> Iterator[tuple[str, str | None, str]]:
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise TemplateError(f"{error}; write {{{{ and }}}} for braces that are meant as such") from None
    for literal, name, spec, conversion in parts:
        if name is None:
            yield literal, None, ""
            continue
        if name not in FIELDS:
            raise TemplateError(_unknown(name), name)
        if conversion or "{" in (spec or ""):
            raise TemplateError(
                f'"{{{name}}}": only a name and a format are valid here, as in {{used_percent:.0f}}', name
            )
        yield literal, name, spec or ""


def _unknown(name: str) -> str:
    close = get_close_matches(name, FIELDS, n=1)
    hint = f"did you mean {{{close[0]}}}?" if close else "valid are " + ", ".join(FIELDS)
    if any(sign in name for sign in ".[]"):
        hint = "a name alone is valid, without . or []"
    return f'unknown field "{{{name}}}": {hint}'
