"""`active = "Mon-Fri 09:00-18:00"`: the text of when a rule may fire, read.

Never put the question "is it active now?" here: that is the engine's, which knows the time.
"""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from msgspec import Struct

from watcher.core.rules.diagnostics import find_close_match
from watcher.core.rules.rule import ActiveInterval

DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_HOUR_RANGE = re.compile(r"([0-9]{1,2}):([0-9]{2})-([0-9]{1,2}):([0-9]{2})")
_VALID_HINT = 'valid: "Mon-Fri 09:00-18:00", "Sat,Sun" or "22:00-06:00"'
_LAST_HOUR, _LAST_MINUTE = 24, 59


class TimeIntervalError(ValueError):
    """The text names no time span; the message says what would be valid."""


def parse_active_interval(text: str, tz: str | None = None) -> ActiveInterval:
    """The days and hours that the text names; days or hours left out mean all of them.

    Raises:
        TimeIntervalError: with what would be valid.
    """
    words = text.split()
    days: frozenset[int] = frozenset(range(7))
    start = end = time(0)
    match words:
        case [only] if _HOUR_RANGE.fullmatch(only):
            start, end = _parse_hours(only)
        case [only]:
            days = _parse_days(only)
        case [first, second]:
            days, (start, end) = _parse_days(first), _parse_hours(second)
        case _:
            raise TimeIntervalError(f"this names no days and hours; {_VALID_HINT}")
    return ActiveInterval(days=days, start=start, end=end, tz=tz)


def check_time_zone(name: str) -> None:
    """Refuses what is no time zone of the IANA database.

    Raises:
        TimeIntervalError: with the nearest name, if any.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        names = sorted(available_timezones())
        last = {each.rpartition("/")[2]: each for each in reversed(names)}
        meant = find_close_match(name, names, 2) or last.get(name.replace(" ", "_"))
        hint = f'did you mean "{meant}"?' if meant else 'valid: such as "Europe/Berlin" or "UTC"'
        raise TimeIntervalError(f"this is no time zone; {hint}") from None


def _parse_days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        begin = _parse_day(first)
        finish = _parse_day(last) if dash else begin
        days.update((begin + offset) % 7 for offset in range((finish - begin) % 7 + 1))
    return frozenset(days)


def _parse_day(word: str) -> int:
    for index, day in enumerate(DAY_NAMES):
        if word.lower() == day.lower():
            return index
    meant = find_close_match(word[:3], DAY_NAMES, 1) if word else None
    hint = f"did you mean {meant}?" if meant else f"valid: {', '.join(DAY_NAMES)}"
    shown = "".join(c if c.isprintable() else "?" for c in word[:20])
    raise TimeIntervalError(f'"{shown}" is no day; {hint}')


def _parse_hours(text: str) -> tuple[time, time]:
    found = _HOUR_RANGE.fullmatch(text)
    if found is None:
        raise TimeIntervalError(f"this names no hours; {_VALID_HINT}")
    hours = [int(part) for part in found.groups()]
    for hour, minute in (hours[:2], hours[2:]):
        if hour > _LAST_HOUR or minute > _LAST_MINUTE or (hour == _LAST_HOUR and minute):
            raise TimeIntervalError(f"{hour:02}:{minute:02} is no time of day; valid: 00:00 to 24:00")
    start, end = time(hours[0] % 24, hours[1]), time(hours[2] % 24, hours[3])
    if start == end and hours != [0, 0, 24, 0]:
        raise TimeIntervalError("this begins and ends at the same time; leave the hours out for the whole day")
    return start, end


# --- Quiet hours: spans of wall time in a zone, over midnight and over both changes of the clock


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


# --- Is a rule's `active` span open at this instant? In wall time of its zone, whatever daylight saving does to it


_DAYS_PER_WEEK = 7


def is_active(interval: ActiveInterval, now: datetime, tz: tzinfo | None = None) -> bool:
    """Whether the span is open.

    Args:
        interval: days, and from when to when; a span that ends before it starts runs over midnight and belongs to the
            day on which it began; one that ends when it starts is the whole day.
        now: aware.
        tz: the machine's zone, where the span names none; None: what the system says.
    """
    local = now.astimezone(ZoneInfo(interval.tz) if interval.tz else tz)
    today, wall = local.weekday(), local.time()
    if interval.start == interval.end:
        return today in interval.days
    if interval.start < interval.end:
        return today in interval.days and interval.start <= wall < interval.end
    if wall >= interval.start:
        return today in interval.days
    return wall < interval.end and (today - 1) % _DAYS_PER_WEEK in interval.days
