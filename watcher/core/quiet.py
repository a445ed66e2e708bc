"""Quiet hours: spans of wall time in a zone, over midnight and over both changes of the clock.

A span begins on a local day and is one piece: where the clock is set back inside it, it is an hour longer and is not
broken in two; where the clock leaps over its end, it ends with the leap. Never put here what is held back: `plan` says.
"""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from msgspec import Struct

_QUIET_HOURS_PATTERN = re.compile(r"\s*(\d{1,2}):(\d{2})\s*(?:-|\u2013|to)\s*(\d{1,2}):(\d{2})\s*")
_ONE_DAY = timedelta(days=1)


class QuietHours(Struct, frozen=True, kw_only=True):
    """Daily quiet hours in wall time; `end` at or before `start` runs over midnight."""

    start: time
    end: time


def parse_quiet_hours(text: str) -> QuietHours:
    """The quiet hours written as "22:00-08:00".

    Raises:
        ValueError: one line that says what would be valid.
    """
    found = _QUIET_HOURS_PATTERN.fullmatch(text)
    if not found:
        raise ValueError(f'"{text}" are no hours; write them as "22:00-08:00"')
    first, second, third, fourth = (int(part) for part in found.groups())
    try:
        quiet = QuietHours(
            start=time(first, second), end=time(0) if (third, fourth) == (24, 0) else time(third, fourth)
        )
    except ValueError:
        raise ValueError(f'"{text}": hours run from 00:00 to 24:00, minutes from 00 to 59') from None
    if quiet.start == quiet.end:
        raise ValueError(f'"{text}" begins when it ends; to hold everything back, use `watcher snooze`')
    return quiet


def find_quiet_hours_end(quiet_hours: QuietHours, now: datetime, tz: tzinfo) -> datetime | None:
    """When the span ends in which `now` lies, aware UTC; None where it is not quiet."""
    today = now.astimezone(tz).date()
    for day in (today, today - _ONE_DAY):
        start, end = _quiet_hours_on(quiet_hours, day, tz)
        if start <= now < end:
            return end
    return None


def find_next_quiet_hours_start(quiet_hours: QuietHours, now: datetime, tz: tzinfo) -> datetime:
    """When the next span begins after `now`, aware UTC."""
    today = now.astimezone(tz).date()
    starts = (_quiet_hours_on(quiet_hours, today + _ONE_DAY * offset, tz)[0] for offset in range(-1, 3))
    return min(start for start in starts if start > now)


def _quiet_hours_on(quiet_hours: QuietHours, day: date, tz: tzinfo) -> tuple[datetime, datetime]:
    last = day if quiet_hours.start < quiet_hours.end else day + _ONE_DAY
    return _resolve_wall_time(day, quiet_hours.start, tz, fold=0), _resolve_wall_time(last, quiet_hours.end, tz, fold=1)


def _resolve_wall_time(day: date, wall_time: time, tz: tzinfo, *, fold: int) -> datetime:
    """The instant of a wall time: of two, the one that `fold` names; of none, the end of the leap."""
    wall = datetime.combine(day, wall_time, tz)
    instant = wall.replace(fold=fold).astimezone(UTC)
    if instant.astimezone(tz).replace(tzinfo=None) == wall.replace(tzinfo=None):
        return instant
    before = wall.replace(fold=0).utcoffset() or timedelta(0)  # in a leap, fold 0 gives the offset before it
    after = wall.replace(fold=1).utcoffset() or timedelta(0)
    low, high = wall.replace(tzinfo=UTC) - max(before, after), wall.replace(tzinfo=UTC) - min(before, after)
    while high - low > timedelta(seconds=1):  # the leap lies between the two readings of this wall time
        middle = low + (high - low) / 2
        low, high = (low, middle) if middle.astimezone(tz).utcoffset() == after else (middle, high)
    return high.replace(microsecond=0)
