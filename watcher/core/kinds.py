"""A window's kind and length, by what is known of it: its length, else its name.

Providers say both. Recorded readings and examples often name only the window. Never put a provider's peculiarity here.
"""

import re
from datetime import timedelta

from watcher.core.model import Kind, Series

_HOUR = 3600
_DAY = 24 * _HOUR

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
