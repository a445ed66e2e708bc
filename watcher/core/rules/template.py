"""Templates for `title` and `message`: `{provider} at {used_percent:.0f} %`. Field names and formats, nothing else.

`str.format` would let a rule file read attributes and items of whatever it is given. Here a field is one of
`TEMPLATE_FIELDS`, and a text or a number replaces it.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from string import Formatter

from watcher.core.rules.diagnostics import find_close_match
from watcher.core.rules.parser import ExpressionError

TEMPLATE_NUMBER_FIELDS = frozenset(
    {"used_percent", "remaining_percent", "used", "limit", "remaining", "increase", "rate", "projected"},
)
"""Fields of `title` and `message` that are numbers and take a number's format: `{used_percent:.0f}`."""

TEMPLATE_FIELDS = (
    "provider", "account", "window", "label", "plan", "used_percent", "remaining", "used", "increase", "limit", "unit",
    "resets_in", "resets_at", "age", "error", "rate", "projected", "exhausts_in", "rule", "severity", "series", "event",
    "reason", "remaining_percent", "since", "duration",
)  # fmt: skip
"""All fields of `title` and `message`. Those that are no numbers are texts."""

UNKNOWN_TEXT = "?"
"""Replaces a field whose value is unknown."""

# Two digits of width, so that a rule cannot fill the memory.
_NUMBER_FORMAT = re.compile(r"[<>^]?[+ ]?0?\d{0,2},?(\.\d)?[fg]?")
_TEXT_FORMAT = re.compile(r"[<>^]?\d{0,2}")


def _make_error(message: str, text: str, field: str = "") -> ExpressionError:
    """The error at the name of the wrong field, or at the whole text."""
    start = text.find("{" + field) + 1 if field else 0
    return ExpressionError(message, start, start + len(field) if field else len(text))


def check_template(text: str) -> None:
    """Refuses a template with an unknown field, an attribute, an index, or a format that does not fit its field.

    Raises:
        ExpressionError: with what would be valid.
    """
    for _, name, spec in _parse_template(text):
        if name and not (_is_number_format(spec) if name in TEMPLATE_NUMBER_FIELDS else _TEXT_FORMAT.fullmatch(spec)):
            kind = "a number, as in :.0f" if name in TEMPLATE_NUMBER_FIELDS else "a text, as in :>8"
            raise _make_error(f'"{{{name}:{spec}}}": {name} is {kind}; "{spec}" is no format of it', text, name)


def _is_number_format(spec: str) -> bool:
    """Whether it formats each type of number; an alignment and a zero exclude each other in a Decimal's format."""
    try:
        return _NUMBER_FORMAT.fullmatch(spec) is not None and all(format(each, spec) for each in (1.5, Decimal(1)))
    except ValueError:
        return False


def render_template(text: str, values: Mapping[str, object]) -> str:
    """`text`, which `check_template` has accepted, filled from `values`. A missing value or None gives "?".

    The keys of `values` are `TEMPLATE_FIELDS`: a float or Decimal for a number field, a text for all others.

    Raises:
        ExpressionError: as `check_template`.
    """
    parts: list[str] = []
    for literal, name, spec in _parse_template(text):
        parts.append(literal)
        if name:
            value = values.get(name)
            parts.append(UNKNOWN_TEXT if value is None else format(value, spec) if spec else str(value))
    return "".join(parts)


def _parse_template(text: str) -> Iterator[tuple[str, str, str]]:
    """(text before the field, its name, its format); the name is empty where no field follows."""
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise _make_error(f"{error}; write {{{{ and }}}} for literal braces", text) from None
    for literal, name, spec, conversion in parts:
        if name is not None and name not in TEMPLATE_FIELDS:
            raise _make_error(_describe_unknown_field(name), text, name)
        if name and (conversion or "{" in (spec or "")):
            message = f'"{{{name}}}": only a name and a format are valid here, as in {{used_percent:.0f}}'
            raise _make_error(message, text, name)
        yield literal, name or "", spec or ""


def _describe_unknown_field(name: str) -> str:
    if any(character in name for character in ".[]"):
        return f'unknown field "{{{name}}}": a name alone is valid, without . or []'
    close = find_close_match(name, TEMPLATE_FIELDS)
    hint = f"did you mean {{{close}}}?" if close else f"valid are {', '.join(TEMPLATE_FIELDS)}"
    return f'unknown field "{{{name}}}": {hint}'
