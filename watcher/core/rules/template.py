"""A rule's own words: `{provider} at {used_percent:.0f} %`. Names and format specifications, nothing else.

`str.format` would let a rule file read attributes and items of whatever it is given; here a field is one of
`TEMPLATE_NAMES`, and it is replaced by a text or a number. Never look up anything here: values come as an argument.
"""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from string import Formatter

from watcher.core.rules.fields import TEMPLATE_FIELD_UNITS
from watcher.core.rules.units import Unit

NUMBER_FIELDS = frozenset(name for name, unit in TEMPLATE_FIELD_UNITS.items() if unit in {Unit.PERCENT, Unit.AMOUNT})
"""The fields that are numbers and take a number's format: `{used_percent:.0f}`. All others are texts."""

UNKNOWN_TEXT = "?"
"""What stands for a value that is not known: never 0."""

_NUMBER_FORMAT = re.compile(
    r"[<>^]?[+ ]?0?\d{0,2},?(\.\d)?[fg]?"
)  # two digits of width: a rule must not fill the memory
_TEXT_FORMAT = re.compile(r"[<>^]?\d{0,2}")


class TemplateError(ValueError):
    """A template that cannot be used; the message says what would be valid.

    Attributes:
        field: the field it is about, as written; empty where the braces themselves are wrong.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


def check_template(text: str) -> None:
    """Refuse a template that names an unknown field, reaches into one, or formats it in a way that it cannot take.

    Raises:
        TemplateError: with what would be valid.
    """
    for _, name, spec in _parse_template(text):
        if name is None:
            continue
        if not (_NUMBER_FORMAT if name in NUMBER_FIELDS else _TEXT_FORMAT).fullmatch(spec):
            kind = "a number, as in :.0f" if name in NUMBER_FIELDS else "a text, as in :>8"
            raise TemplateError(f'"{{{name}:{spec}}}": {name} is {kind}; "{spec}" is no format of it', name)


def render_template(text: str, values: Mapping[str, object]) -> str:
    """`text`, which `check_template` has passed, with its fields filled from `values`; a missing one or None gives "?".

    `values` has keys of `TEMPLATE_NAMES`: an int, float or Decimal for those in `NUMBER_FIELDS`, a text for all others.

    Raises:
        TemplateError: as `check_template`.
    """
    written: list[str] = []
    for literal, name, spec in _parse_template(text):
        written.append(literal)
        if name is None:
            continue
        value = values.get(name)
        if value is None:
            written.append(UNKNOWN_TEXT)
            continue
        written.append(format(value, spec) if spec else str(value))
    return "".join(written)


def _parse_template(text: str) -> Iterator[tuple[str, str | None, str]]:
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise TemplateError(f"{error}; write {{{{ and }}}} for braces that are meant as such") from None
    for literal, name, spec, conversion in parts:
        if name is None:
            yield literal, None, ""
            continue
        if name not in TEMPLATE_FIELD_UNITS:
            raise TemplateError(_describe_unknown_field(name), name)
        if conversion or "{" in (spec or ""):
            raise TemplateError(
                f'"{{{name}}}": only a name and a format are valid here, as in {{used_percent:.0f}}', name
            )
        yield literal, name, spec or ""


def _describe_unknown_field(name: str) -> str:
    close = get_close_matches(name, TEMPLATE_FIELD_UNITS, n=1)
    hint = f"did you mean {{{close[0]}}}?" if close else "valid are " + ", ".join(TEMPLATE_FIELD_UNITS)
    if any(sign in name for sign in ".[]"):
        hint = "a name alone is valid, without . or []"
    return f'unknown field "{{{name}}}": {hint}'
