"""The words that rules may use: providers, windows, kinds of windows, fields, template fields.

The core cannot import the providers, so their ids are repeated here; a contract test keeps them equal to the registry.
"""

import re

from msgspec import Struct

from watcher.core.rules.units import Unit


class ProviderWindows(Struct, frozen=True, kw_only=True):
    """The windows of one provider, as far as they are known beforehand."""

    primary: tuple[str, ...]  # in order of preference; empty: the fullest
    known: tuple[str, ...]
    others_pattern: str  # matches the ids of other windows that the API may return
    unit: Unit = Unit.AMOUNT  # of `used`, `limit` and `remaining`, but for those in `units`
    units: dict[str, Unit] = {}


_CLAUDE_WEEKS = ("seven_day", "seven_day_oauth_apps", "seven_day_sonnet", "seven_day_opus")
_ANY_SLUG = r"[a-z0-9]+(?:_[a-z0-9]+)*"

PROVIDER_WINDOWS: dict[str, ProviderWindows] = {
    "claude": ProviderWindows(
        primary=("five_hour", *_CLAUDE_WEEKS, "extra_usage"),
        known=("five_hour", *_CLAUDE_WEEKS, "extra_usage"),
        others_pattern=_ANY_SLUG,
        units={"extra_usage": Unit.MONEY},
    ),
    "codex": ProviderWindows(
        primary=("five_hour", "weekly", "monthly"),
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
        others_pattern=r"(?:[a-z0-9]+_)*(?:five_hour|weekly|monthly|lifetime|[1-9][0-9]{0,5}[hm])"
        r"(?:_(?:(?:total|input|output)_tokens|cost_usd|credits))?",  # the suffix: what a proxy's limit counts
        units={"reset_credits": Unit.COUNT, "cost": Unit.MONEY},
    ),
    "copilot": ProviderWindows(
        primary=("premium_interactions",),
        known=("premium_interactions", "chat", "completions"),
        others_pattern=_ANY_SLUG,
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
    "gemini_cli": ProviderWindows(primary=(), known=(), others_pattern=_ANY_SLUG),
    "antigravity": ProviderWindows(primary=(), known=(), others_pattern=_ANY_SLUG),
}
"""Provider id -> its windows, in the order of the documentation."""

WINDOW_KINDS = ("session", "daily", "weekly", "monthly", "balance")
"""Kinds of windows by their length; a selector may use one in place of a window."""

FIELD_UNITS: dict[str, Unit] = {
    "used_percent": Unit.PERCENT,
    "remaining_percent": Unit.PERCENT,
    "used": Unit.AMOUNT,
    "limit": Unit.AMOUNT,
    "remaining": Unit.AMOUNT,
    "resets_in": Unit.DURATION,
    "window": Unit.DURATION,
    "age": Unit.DURATION,
    "up": Unit.BOOLEAN,
    "rate": Unit.PERCENT,  # an hour
    "projected": Unit.PERCENT,  # at the reset
    "exhausts_in": Unit.DURATION,
    "error": Unit.TEXT,
}
"""Field -> its unit. AMOUNT: a count or money, as the window has it."""

TEMPLATE_NUMBER_FIELDS = frozenset(
    {"used_percent", "remaining_percent", "used", "limit", "remaining", "rate", "projected"},
)
"""Fields of `title` and `message` that are numbers and take a number's format: `{used_percent:.0f}`."""

TEMPLATE_FIELDS = (
    "provider", "account", "window", "label", "plan", "used_percent", "remaining", "used", "limit", "unit", "resets_in",
    "resets_at", "age", "error", "rate", "projected", "exhausts_in", "rule", "severity", "series", "event", "reason",
    "remaining_percent", "since", "duration",
)  # fmt: skip
"""All fields of `title` and `message`. Those that are no numbers are texts."""


def is_window(provider: str, window: str) -> bool:
    """Whether that provider may have a window of this id. `*`: whether any provider may."""
    if provider == "*":
        return any(is_window(each, window) for each in PROVIDER_WINDOWS)
    windows = PROVIDER_WINDOWS[provider]
    return window in windows.known or bool(windows.others_pattern and re.fullmatch(windows.others_pattern, window))


def known_windows(provider: str) -> tuple[str, ...]:
    """The window ids known beforehand, in the documentation's order. `*`: of all providers, each once."""
    if provider == "*":
        return tuple(dict.fromkeys(window for each in PROVIDER_WINDOWS.values() for window in each.known))
    return PROVIDER_WINDOWS[provider].known


def get_count_unit(provider: str, window: str) -> Unit:
    """The unit of `used`, `limit` and `remaining` of that window; AMOUNT if only a reading can tell."""
    windows = PROVIDER_WINDOWS.get(provider)
    if windows is None or window == "*" or (window in WINDOW_KINDS and window not in windows.known):
        return Unit.AMOUNT
    if not window:  # the primary window: one unit only if all candidates agree
        units = {windows.units.get(each, windows.unit) for each in windows.primary}
        return units.pop() if len(units) == 1 else Unit.AMOUNT
    return windows.units.get(window, windows.unit)
