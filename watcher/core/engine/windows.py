"""What a window is: its kind, its length, and how full it is.

Providers say all of it. Recorded readings and examples often give only the window's name.
"""

import re
from datetime import timedelta
from decimal import Decimal
from math import isinf

from watcher.core.model import Reading, Series, WindowKind

_HOUR_S = 3600
_DAY_S = 24 * _HOUR_S

_MAX_LENGTH_S = 3650 * _DAY_S  # more is junk, and would overflow
_KINDS_BY_LENGTH = (
    (1, 6 * _HOUR_S, WindowKind.SESSION),
    (_DAY_S, _DAY_S, WindowKind.DAILY),
    (7 * _DAY_S, 7 * _DAY_S, WindowKind.WEEKLY),
    (28 * _DAY_S, 31 * _DAY_S, WindowKind.MONTHLY),
)
_KINDS_BY_WORD = {
    "five_hour": (WindowKind.SESSION, 5 * _HOUR_S),
    "daily": (WindowKind.DAILY, _DAY_S),
    "seven_day": (WindowKind.WEEKLY, 7 * _DAY_S),
    "weekly": (WindowKind.WEEKLY, 7 * _DAY_S),
    "monthly": (WindowKind.MONTHLY, None),
    "balance": (WindowKind.BALANCE, None),
}
_KINDS_BY_SERIES = {
    ("claude", "extra_usage"): WindowKind.MONTHLY,
    ("codex", "credits"): WindowKind.BALANCE,
    ("codex", "individual_limit"): WindowKind.MONTHLY,
}
_MONTHLY_PROVIDERS = ("copilot",)
_HOURS_PATTERN = re.compile(r"(?:.*_)?([1-9][0-9]{0,4})h")
_WORD_PATTERN = re.compile("|".join(rf"(?:(?<=_)|^){word}(?=_|$)" for word in _KINDS_BY_WORD))

DEFAULT_LENGTHS = {
    WindowKind.SESSION: timedelta(hours=5),
    WindowKind.DAILY: timedelta(days=1),
    WindowKind.WEEKLY: timedelta(days=7),
    WindowKind.MONTHLY: timedelta(days=30),
}
"""The length of a window where the answer does not say it."""


def infer_kind(series: Series, window_seconds: int | None = None) -> WindowKind:
    """The kind of a window by its length, if that is known, else by its name; OTHER if neither tells it."""
    seconds = window_seconds or infer_length_s(series)
    if seconds:
        return classify_length(seconds)
    if (series.provider, series.window) in _KINDS_BY_SERIES:
        return _KINDS_BY_SERIES[series.provider, series.window]
    if series.provider in _MONTHLY_PROVIDERS:
        return WindowKind.MONTHLY
    word = _WORD_PATTERN.search(series.window)
    return WindowKind.OTHER if word is None else _KINDS_BY_WORD[word.group()][0]


def classify_length(seconds: float) -> WindowKind:
    """The kind of a window of that length; OTHER for zero, which is an unknown length."""
    return next((kind for least, most, kind in _KINDS_BY_LENGTH if least <= seconds <= most), WindowKind.OTHER)


def infer_length_s(series: Series) -> int | None:
    """The length in seconds that a window's name tells; None: it tells none."""
    hours = _HOURS_PATTERN.fullmatch(series.window)
    if hours is not None:
        return int(hours.group(1)) * _HOUR_S
    word = _WORD_PATTERN.search(series.window)
    return None if word is None else _KINDS_BY_WORD[word.group()][1]


def infer_length(series: Series) -> timedelta | None:
    """As `infer_length_s`, and 30 days for monthly windows; None for windows that never reset."""
    seconds = infer_length_s(series)
    if seconds is not None:
        return timedelta(seconds=seconds)
    return DEFAULT_LENGTHS[WindowKind.MONTHLY] if infer_kind(series) is WindowKind.MONTHLY else None


def get_used_percent(reading: Reading) -> float | None:
    """Percent used: as answered, else from the counts; None: unknown or unlimited."""
    if reading.unlimited:
        return None
    if reading.used_percent is not None:
        return reading.used_percent
    if not reading.limit or reading.limit < 0:
        return None
    used = get_used(reading)
    percent = None if used is None else float(used / reading.limit * 100)
    return None if percent is None or isinf(percent) else percent


def get_used(reading: Reading) -> Decimal | None:
    """What was used: as answered, else the limit less what remains; None: unknown."""
    if reading.used is None and reading.limit is not None and reading.remaining is not None:
        return reading.limit - reading.remaining
    return reading.used


def get_remaining(reading: Reading) -> Decimal | None:
    """What remains: as answered, else the limit less what was used; None: unknown or unlimited."""
    if reading.unlimited:
        return None
    if reading.remaining is None and reading.limit is not None and reading.used is not None:
        return reading.limit - reading.used
    return reading.remaining


def get_window_length(reading: Reading) -> timedelta | None:
    """The window's length: as answered, else by its kind; None: it has none."""
    if reading.window_seconds and 0 < reading.window_seconds <= _MAX_LENGTH_S:
        return timedelta(seconds=reading.window_seconds)
    return DEFAULT_LENGTHS.get(reading.kind)


def get_boundary_tolerance(reading: Reading) -> timedelta:
    """How far a boundary may move without being another one."""
    length = get_window_length(reading) or timedelta(0)
    return min(max(length / 20, timedelta(minutes=1)), timedelta(hours=1))
