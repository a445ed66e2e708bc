"""The words that rules may use: providers, windows, kinds of windows, fields, template fields.

The core cannot import the providers, so their ids are repeated here; a contract test keeps them equal to the registry.
"""

import math
import re
from datetime import timedelta
from enum import StrEnum

from msgspec import Struct

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
    Unit.AMOUNT: "50",
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


def find_arithmetic_unit(left: Unit, operator: str, right: Unit) -> Unit | None:
    """The unit of a sum, a difference, a product or a quotient; None if it has no meaning."""
    if {left, right} & {Unit.BOOLEAN, Unit.TEXT}:
        return None
    if operator in ("+", "-"):
        return find_common_unit(left, right)
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


class ProviderWindows(Struct, frozen=True, kw_only=True):
    """The windows of one provider, as far as they are known before the first answer."""

    primary: tuple[str, ...]  # in order of preference; empty: the fullest
    known: tuple[str, ...]
    others_pattern: str  # matches the ids of other windows that the API may return
    unit: Unit = Unit.AMOUNT  # of `used`, `limit` and `remaining`, but for those in `units`
    units: dict[str, Unit] = {}


_CLAUDE_WEEKS = ("seven_day", "seven_day_oauth_apps", "seven_day_sonnet", "seven_day_opus")
ANY_SLUG = r"[a-z0-9]+(?:_[a-z0-9]+)*"

PROVIDER_WINDOWS: dict[str, ProviderWindows] = {
    "claude": ProviderWindows(
        primary=("five_hour", *_CLAUDE_WEEKS, "extra_usage"),
        known=("five_hour", *_CLAUDE_WEEKS, "extra_usage"),
        others_pattern=ANY_SLUG,
        units={"extra_usage": Unit.MONEY},
    ),
    "codex": ProviderWindows(
        primary=("five_hour", "weekly", "monthly", "individual_limit"),
        known=(
            "five_hour",
            "weekly",
            "monthly",
            "code_review_weekly",
            "credits",
            "individual_limit",
            "reset_credits",
            "cost",
        ),
        others_pattern=rf"model_{ANY_SLUG}"
        r"|(?:[a-z0-9]+_)*(?:five_hour|weekly|monthly|lifetime|[1-9][0-9]{0,5}[hm])",
        units={"reset_credits": Unit.COUNT, "cost": Unit.MONEY},
    ),
    "copilot": ProviderWindows(
        primary=("premium_interactions", "credits"),
        known=("premium_interactions", "chat", "completions", "credits"),
        others_pattern=ANY_SLUG,
        unit=Unit.COUNT,
    ),
    "nano_gpt": ProviderWindows(
        primary=("daily", "weekly_input_tokens", "monthly"),
        known=(
            "daily",
            "monthly",
            "weekly_input_tokens",
            "daily_input_tokens",
            "daily_images",
            "balance_usd",
            "balance_nano",
        ),
        others_pattern="",
        unit=Unit.COUNT,
        units={"balance_usd": Unit.MONEY},
    ),
    "gemini_cli": ProviderWindows(primary=(), known=(), others_pattern=ANY_SLUG),
    "antigravity": ProviderWindows(primary=(), known=(), others_pattern=ANY_SLUG),
}
"""Provider id -> its windows, in the order of the documentation."""

WINDOW_KINDS = ("session", "daily", "weekly", "monthly", "balance", "other")
"""Kinds of windows by their length; a selector may use one in place of a window."""

FIELD_UNITS: dict[str, Unit] = {
    "used_percent": Unit.PERCENT,
    "remaining_percent": Unit.PERCENT,
    "used": Unit.AMOUNT,
    "limit": Unit.AMOUNT,
    "remaining": Unit.AMOUNT,
    "increase": Unit.AMOUNT,  # of `used` since the window began
    "resets_in": Unit.DURATION,
    "window": Unit.DURATION,
    "age": Unit.DURATION,
    "up": Unit.BOOLEAN,
    "blocked": Unit.BOOLEAN,
    "rate": Unit.PERCENT,  # an hour
    "projected": Unit.PERCENT,  # at the reset
    "exhausts_in": Unit.DURATION,
    "error": Unit.TEXT,
}
"""Field -> its unit. AMOUNT: a count or money, as the window has it."""


def is_window(provider: str, window: str) -> bool:
    """Whether that provider may have a window of this id. `*`: whether any provider may."""
    if provider == "*":
        return any(is_window(each, window) for each in PROVIDER_WINDOWS)
    windows = PROVIDER_WINDOWS[provider]
    return window in windows.known or bool(windows.others_pattern and re.fullmatch(windows.others_pattern, window))


def known_windows(provider: str) -> tuple[str, ...]:
    """The window ids known before the first answer, in the documentation's order. `*`: of all providers, each once."""
    if provider == "*":
        return tuple(dict.fromkeys(window for each in PROVIDER_WINDOWS.values() for window in each.known))
    return PROVIDER_WINDOWS[provider].known


def get_count_unit(provider: str, window: str) -> Unit:
    """The unit of `used`, `limit`, `remaining` and `increase` of that window; AMOUNT if only a reading can tell."""
    windows = PROVIDER_WINDOWS.get(provider)
    if windows is None or window == "*" or (window in WINDOW_KINDS and window not in windows.known):
        return Unit.AMOUNT
    if not window:  # the primary window: one unit only if all candidates agree
        units = {windows.units.get(each, windows.unit) for each in windows.primary}
        return units.pop() if len(units) == 1 else Unit.AMOUNT
    return windows.units.get(window, windows.unit)
