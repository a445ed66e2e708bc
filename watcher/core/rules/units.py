"""Units, so that `2h` is never compared with `80%`, and the texts of durations and numbers."""

import math
import re
from datetime import timedelta
from enum import StrEnum

from watcher.core.rules.diagnostics import sanitize_for_terminal

MAX_DURATION = timedelta(days=3660)
MAX_NUMBER = 1e15  # above it a float can no longer hold every whole number
_DURATION_PATTERN = re.compile(r"(?:([0-9]+(?:\.[0-9]+)?)w)?(?:([0-9]+(?:\.[0-9]+)?)d)?(?:([0-9]+(?:\.[0-9]+)?)h)?"
                       r"(?:([0-9]+(?:\.[0-9]+)?)m)?(?:([0-9]+(?:\.[0-9]+)?)s)?")  # fmt: skip
_NUMBER_PATTERN = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_UNIT_SECONDS = (604800, 86400, 3600, 60, 1)
_MAX_LITERAL_LENGTH = 40


class Unit(StrEnum):
    """The unit of a value; the enum's value is how a message names it."""

    PERCENT = "a percent"
    COUNT = "a count"
    MONEY = "an amount of money"
    AMOUNT = "a count or an amount of money"  # only a reading can tell which
    DURATION = "a duration"
    NUMBER = "a plain number"
    BOOLEAN = "true or false"
    TEXT = "text"

    @property
    def example(self) -> str:
        """A literal of this unit."""
        return _EXAMPLES[self]


_EXAMPLES = {
    Unit.PERCENT: "80%",
    Unit.COUNT: "50",
    Unit.MONEY: "$12.50",
    Unit.AMOUNT: "50` or `$12.50",
    Unit.DURATION: "1h30m",
    Unit.NUMBER: "1.5",
    Unit.BOOLEAN: "true",
    Unit.TEXT: "text",
}
_COUNTABLE_UNITS = (Unit.AMOUNT, Unit.COUNT, Unit.MONEY, Unit.NUMBER)


def find_common_unit(left: Unit, right: Unit) -> Unit | None:
    """The unit in which two values can be compared, added or subtracted; None if they cannot be."""
    if left is right:
        return left
    if left not in _COUNTABLE_UNITS or right not in _COUNTABLE_UNITS or {left, right} == {Unit.COUNT, Unit.MONEY}:
        return None
    if Unit.NUMBER in (left, right):  # a plain number is taken in the other's unit
        return right if left is Unit.NUMBER else left
    return right if left is Unit.AMOUNT else left


def find_scaled_unit(left: Unit, operator: str, right: Unit) -> Unit | None:
    """The unit of a product or a quotient; None if it has no meaning."""
    if {left, right} & {Unit.BOOLEAN, Unit.TEXT}:
        return None
    if right is Unit.NUMBER:
        return left
    if operator == "*":
        return right if left is Unit.NUMBER else None
    return Unit.NUMBER if find_common_unit(left, right) is not None and left is not Unit.NUMBER else None


def is_currency(unit: str) -> bool:
    """Whether a reading's unit is a currency: `usd`, `eur`."""
    return len(unit) == 3 and unit.isalpha()  # noqa: PLR2004 - the length of every ISO 4217 code


def parse_duration_s(text: str) -> float | None:
    """Seconds of `45m`, `2h`, `7d`, `1h30m`; None if the text is no duration. The largest unit comes first."""
    found = _DURATION_PATTERN.fullmatch(text) if 0 < len(text) <= _MAX_LITERAL_LENGTH else None
    if found is None:
        return None
    return sum(float(part) * seconds for part, seconds in zip(found.groups(), _UNIT_SECONDS, strict=True) if part)


def parse_number(text: str) -> float | None:
    """The value of a plain number; None if the text is none. May be infinite: `1e999`."""
    return float(text) if len(text) <= _MAX_LITERAL_LENGTH and _NUMBER_PATTERN.fullmatch(text) else None


def parse_duration(text: str) -> timedelta:
    """The duration that a text names.

    Raises:
        ValueError: it is no duration, or longer than ten years.
    """
    seconds = parse_duration_s(text)
    if seconds is None:
        raise ValueError(
            f'"{sanitize_for_terminal(text, 43)}" is not a duration: write one such as 45m, 2h, 7d or 1h30m'
        )
    if not math.isfinite(seconds) or seconds > MAX_DURATION.total_seconds():
        raise ValueError(f'"{sanitize_for_terminal(text, 43)}" is longer than ten years')
    return timedelta(seconds=seconds)
