"""What a window is: its kind, its length, how full it is. By what the answer says of it, else by its name.

Providers say all of it. Recorded readings and examples often name only the window. Never put here what changes from
one reading to the next.
"""

import re
from datetime import timedelta
from math import isinf

from watcher.core.model import Kind, Reading, Series

_HOUR = 3600
_DAY = 24 * _HOUR

_LONGEST = 3650 * _DAY  # what claims to be longer is junk, and would overflow
_BY_LENGTH = (
    (1, 6 * _HOUR, Kind.SESSION),
    (_DAY, _DAY, Kind.DAILY),
    (7 * _DAY, 7 * _DAY, Kind.WEEKLY),
    (28 * _DAY, 31 * _DAY, Kind.MONTHLY),
)
_BY_WORD = {
    "five_hour": (Kind.SESSION, 5 * _HOUR),
    "daily": (Kind.DAILY, _DAY),
    "seven_day": (Kind.WEEKLY, 7 * _DAY),
    "weekly": (Kind.WEEKLY, 7 * _DAY),
    "monthly": (Kind.MONTHLY, None),
    "balance": (Kind.BALANCE, None),
}
_BY_NAME = {
    "copilot": {"": Kind.MONTHLY},  # every window of it
    "claude": {"extra_usage": Kind.MONTHLY},
    "codex": {"credits": Kind.BALANCE},
}
_HOURS = re.compile(r"(?:.*_)?([1-9][0-9]{0,4})h")
_WORDS = re.compile("|".join(rf"(?:(?<=_)|^){word}(?=_|$)" for word in _BY_WORD))


LENGTHS = {
    Kind.SESSION: timedelta(hours=5),
    Kind.DAILY: timedelta(days=1),
    Kind.WEEKLY: timedelta(days=7),
    Kind.MONTHLY: timedelta(days=30),
}
"""How long a window is where the answer does not say."""


def kind_of(series: Series, window_seconds: int | None = None) -> Kind:
    """The kind of a window, by its length where that is known, else by its name; OTHER where neither tells."""
    seconds = window_seconds or length_of(series)
    if seconds:
        return next((kind for least, most, kind in _BY_LENGTH if least <= seconds <= most), Kind.OTHER)
    names = _BY_NAME.get(series.provider, {})
    if series.window in names or "" in names:
        return names.get(series.window) or names[""]
    word = _WORDS.search(series.window)
    return Kind.OTHER if word is None else _BY_WORD[word.group()][0]


def length_of(series: Series) -> int | None:
    """How long a window of that name is, in seconds; None where the name does not tell."""
    hours = _HOURS.fullmatch(series.window)
    if hours is not None:
        return int(hours.group(1)) * _HOUR
    word = _WORDS.search(series.window)
    return None if word is None else _BY_WORD[word.group()][1]


def usual_length(series: Series) -> timedelta | None:
    """As `length_of`, and a month for what turns over monthly; None for what never does."""
    seconds = length_of(series)
    if seconds is None and kind_of(series) is Kind.MONTHLY:
        seconds = 30 * _DAY
    return None if seconds is None else timedelta(seconds=seconds)


def level(reading: Reading) -> float | None:
    """Percent used: as answered, else from the counts; None where unknown or unlimited."""
    if reading.unlimited:
        return None
    if reading.used_percent is not None:
        return reading.used_percent
    if not reading.limit or reading.limit < 0:
        return None
    used = reading.used
    if used is None:
        used = None if reading.remaining is None else reading.limit - reading.remaining
    percent = None if used is None else float(used / reading.limit * 100)
    return None if percent is None or isinf(percent) else percent


def length(reading: Reading) -> timedelta | None:
    """The window's length: as answered, else by its kind; None where it has none."""
    if reading.window_seconds and 0 < reading.window_seconds <= _LONGEST:
        return timedelta(seconds=reading.window_seconds)
    return LENGTHS.get(reading.kind)


def tolerance(reading: Reading) -> timedelta:
    """How far a boundary may move and still be the same one."""
    whole = length(reading) or timedelta(0)
    return min(max(whole / 20, timedelta(minutes=1)), timedelta(hours=1))
