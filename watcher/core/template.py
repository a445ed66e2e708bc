"""A rule's own words: `{provider} at {used_percent:.0f} %`. Names and format specifications, nothing else.

`str.format` would let a rule file read attributes and items of whatever it is given; here a field is one of
`TEMPLATE_NAMES`, and it is replaced by a text or a number. Never look up anything here: values come as an argument.
"""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from string import Formatter

from watcher.core.units import Unit
from watcher.core.vocabulary import TEMPLATE_NAMES

NUMBERS = frozenset(name for name, unit in TEMPLATE_NAMES.items() if unit in {Unit.PERCENT, Unit.AMOUNT})
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

    `values` has keys of `TEMPLATE_NAMES`: an int, float or Decimal for those in `NUMBERS`, a text for all others.

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
        if name not in TEMPLATE_NAMES:
            raise TemplateError(_unknown(name), name)
        if conversion or "{" in (spec or ""):
            raise TemplateError(
                f'"{{{name}}}": only a name and a format are valid here, as in {{used_percent:.0f}}', name
            )
        yield literal, name, spec or ""


def _unknown(name: str) -> str:
    close = get_close_matches(name, TEMPLATE_NAMES, n=1)
    hint = f"did you mean {{{close[0]}}}?" if close else "valid are " + ", ".join(TEMPLATE_NAMES)
    if any(sign in name for sign in ".[]"):
        hint = "a name alone is valid, without . or []"
    return f'unknown field "{{{name}}}": {hint}'
