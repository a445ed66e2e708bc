"""The words that rules may use: providers, windows, kinds, fields, template names. One table for all who read them.

The core must not import the providers, so their stable words are repeated here; a contract test keeps them equal to
the registry. Never put a meaning here: what a field is worth is the engine's to say.
"""

import re

from msgspec import Struct

from watcher.core.rules.units import Unit


class ProviderWindows(Struct, frozen=True, kw_only=True):
    """The windows of one provider, as far as anybody can know them beforehand."""

    primary: tuple[str, ...]  # in order of preference; empty: the fullest
    known: dict[str, Unit]  # window -> what `used`, `limit` and `remaining` count in it
    others_pattern: str  # pattern of the further windows that the API may name
    others_unit: Unit = Unit.AMOUNT


_ANY_SLUG = r"[a-z0-9]+(?:_[a-z0-9]+)*"

PROVIDER_WINDOWS: dict[str, ProviderWindows] = {
    "claude": ProviderWindows(
        primary=("five_hour", "seven_day", "seven_day_oauth_apps", "seven_day_sonnet", "seven_day_opus", "extra_usage"),
        known={
            "five_hour": Unit.AMOUNT,
            "seven_day": Unit.AMOUNT,
            "seven_day_oauth_apps": Unit.AMOUNT,
            "seven_day_sonnet": Unit.AMOUNT,
            "seven_day_opus": Unit.AMOUNT,
            "extra_usage": Unit.MONEY,
        },
        others_pattern=_ANY_SLUG,
    ),
    "codex": ProviderWindows(
        primary=("five_hour", "weekly", "monthly"),
        known={
            "five_hour": Unit.AMOUNT,
            "weekly": Unit.AMOUNT,
            "monthly": Unit.AMOUNT,
            "code_review_weekly": Unit.AMOUNT,
            "credits": Unit.AMOUNT,
            "individual_limit": Unit.AMOUNT,
            "reset_credits": Unit.COUNT,
            "cost": Unit.MONEY,
        },
        others_pattern=r"(?:[a-z0-9]+_)*(?:five_hour|weekly|monthly|lifetime|[1-9][0-9]{0,5}[hm])"
        r"(?:_(?:(?:total|input|output)_tokens|cost_usd|credits))?",  # behind it: what a proxy's limit counts
    ),
    "copilot": ProviderWindows(
        primary=("premium_interactions",),
        known={"premium_interactions": Unit.COUNT, "chat": Unit.COUNT, "completions": Unit.COUNT},
        others_pattern=_ANY_SLUG,
        others_unit=Unit.COUNT,
    ),
    "nano_gpt": ProviderWindows(
        primary=("daily", "weekly_input_tokens", "monthly"),
        known={
            "daily": Unit.COUNT,
            "monthly": Unit.COUNT,
            "weekly_input_tokens": Unit.COUNT,
            "daily_input_tokens": Unit.COUNT,
            "daily_images": Unit.COUNT,
            "balance_usd": Unit.MONEY,
            "balance_nano": Unit.COUNT,
        },
        others_pattern="",
    ),
    "gemini_cli": ProviderWindows(primary=(), known={}, others_pattern=_ANY_SLUG),
    "antigravity": ProviderWindows(primary=(), known={}, others_pattern=_ANY_SLUG),
}
"""Provider id -> its windows, in the order of the documentation."""

WINDOW_KINDS = ("session", "daily", "weekly", "monthly", "balance")
"""Kinds of windows by their length; a selector may use one in the place of a window."""

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

TEMPLATE_FIELD_UNITS: dict[str, Unit] = {
    "provider": Unit.TEXT,
    "account": Unit.TEXT,
    "window": Unit.TEXT,
    "label": Unit.TEXT,
    "plan": Unit.TEXT,
    "used_percent": Unit.PERCENT,
    "remaining": Unit.AMOUNT,
    "used": Unit.AMOUNT,
    "limit": Unit.AMOUNT,
    "unit": Unit.TEXT,
    "resets_in": Unit.DURATION,
    "resets_at": Unit.TEXT,
    "age": Unit.DURATION,
    "error": Unit.TEXT,
    "rate": Unit.PERCENT,
    "projected": Unit.PERCENT,
    "exhausts_in": Unit.DURATION,
    "rule": Unit.TEXT,
    "severity": Unit.TEXT,
    "series": Unit.TEXT,
    "event": Unit.TEXT,
    "reason": Unit.TEXT,
    "remaining_percent": Unit.PERCENT,
    "since": Unit.TEXT,
    "duration": Unit.DURATION,
}
"""Name that a rule's `title` and `message` may use -> its unit. Numbers take a format (`{used_percent:.0f}`)."""


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
    return tuple(PROVIDER_WINDOWS[provider].known)


def get_count_unit(provider: str, window: str) -> Unit:
    """What `used`, `limit` and `remaining` of that window are: COUNT, MONEY, or AMOUNT where only a reading can say."""
    windows = PROVIDER_WINDOWS.get(provider)
    if windows is None:
        return Unit.AMOUNT
    if not window:  # the primary window; one answer only where all candidates agree
        units = {windows.known[each] for each in windows.primary}
        return units.pop() if len(units) == 1 else Unit.AMOUNT
    if window == "*" or (window in WINDOW_KINDS and window not in windows.known):
        return Unit.AMOUNT
    return windows.known.get(window, windows.others_unit)


def find_close_match(word: str, candidates: tuple[str, ...] | list[str], max_typos: int | None = None) -> str | None:
    """The one of `candidates` that was probably meant; None where nothing is near.

    Args:
        word: as it was written.
        candidates: what would be valid, likelier first.
        max_typos: how many slips (a wrong, missing, extra or swapped character) are forgiven; left out: a third.
    """
    if max_typos is None and len(word) >= 3:  # noqa: PLR2004 - shorter beginnings say nothing
        begun = [each for each in candidates if each.startswith(word.lower())]
        if begun:
            return begun[0]
    best, fewest = None, len(word) + 1
    for each in candidates:
        shorter = min(len(word), len(each))
        allowed = max_typos if max_typos is not None else max(1, shorter // 3) if shorter > 2 else 0  # noqa: PLR2004 - likewise
        if abs(len(each) - len(word)) <= allowed and len(word) <= len(each) + allowed:
            slips = _edit_distance(word.lower(), each.lower())
            if slips <= allowed and slips < fewest:
                best, fewest = each, slips
    return best


def _edit_distance(left: str, right: str) -> int:
    """How many single-character slips lead from one word to the other (a swap of neighbours is one)."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        last, row, older = row, [i], before
        for j, b in enumerate(right, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        before = last
    return row[-1]
