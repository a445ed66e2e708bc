"""Times of the week in wall time: a rule's `active`, such as "Mon-Fri 09:00-18:00", and quiet hours."""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from msgspec import Struct

from watcher.core.rules.diagnostics import VERY_CLOSE, find_close_match, sanitize_for_terminal

DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
ALL_DAYS = frozenset(range(7))
_HOURS = re.compile(r"(\d{1,2}):(\d{2})\s*(?:-|\u2013|to)\s*(\d{1,2}):(\d{2})")
_DAYS_AND_HOURS = re.compile(r"(?P<days>[^\s\d]\S*)?\s*(?P<hours>\d.*)?")
_VALID_HINT = 'valid: "Mon-Fri 09:00-18:00", "Sat,Sun" or "22:00-06:00"'
_SHORT_HOURS = re.compile(r"(\d{1,2})(?::(\d\d))?\s*[-–]\s*(\d{1,2})(?::(\d\d))?")  # noqa: RUF001 - a dash that people write
_LAST_HOUR, _LAST_MINUTE = 24, 59
_ONE_DAY = timedelta(days=1)


class TimeInterval(Struct, frozen=True, kw_only=True):
    """A time of the week in wall time. If `end` is not after `start`, it ends on the next day."""

    days: frozenset[int] = ALL_DAYS  # on which it starts: 0 Monday .. 6 Sunday
    start: time
    end: time
    tz: str | None = None  # IANA name; None: the machine's local zone


def parse_active_interval(text: str, tz: str | None = None) -> TimeInterval:
    """The interval of a rule's `active`; if days or hours are left out, all of them.

    Raises:
        ValueError: with what would be valid.
    """
    found = _DAYS_AND_HOURS.fullmatch(text.strip())
    if found is None or not found[0]:
        raise ValueError(f"this names no days and hours; {_VALID_HINT}")
    days = _parse_days(found["days"]) if found["days"] else ALL_DAYS
    hours = found["hours"] or "00:00-24:00"
    start, end = _parse_hours(hours, _VALID_HINT)
    if start == end and hours != "00:00-24:00":
        raise ValueError("this begins and ends at the same time; leave the hours out for the whole day")
    return TimeInterval(days=days, start=start, end=end, tz=tz)


def parse_quiet_hours(text: str) -> TimeInterval:
    """The quiet hours written as "22:00-08:00", every day in the machine's zone.

    Raises:
        ValueError: with what would be valid.
    """
    start, end = _parse_hours(text.strip(), 'write them as "22:00-08:00"')
    if start == end:
        raise ValueError("this begins and ends at the same time; to mute everything, use `watcher snooze`")
    return TimeInterval(start=start, end=end)


def check_time_zone(name: str) -> None:
    """Refuses what is no time zone of the IANA database.

    Raises:
        ValueError: with the closest name, if there is one.
    """
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones  # noqa: PLC0415 - 0.4 MB, rarely needed

    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        names = sorted(available_timezones())
        cities = {each.rpartition("/")[2]: each for each in reversed(names)}
        close = find_close_match(name, names, VERY_CLOSE) or cities.get(name.replace(" ", "_"))
        hint = f'did you mean "{close}"?' if close else 'valid: such as "Europe/Berlin" or "UTC"'
        raise ValueError(f"this is no time zone; {hint}") from None


def is_active(interval: TimeInterval, now: datetime, tz: tzinfo | None = None) -> bool:
    """Whether `now`, aware, is in the interval. `tz` is the machine's zone; None: as the system says."""
    if interval.tz:
        from zoneinfo import ZoneInfo  # noqa: PLC0415 - likewise

        tz = ZoneInfo(interval.tz)
    local = now.astimezone(tz)
    today, wall_time = local.weekday(), local.time()
    if interval.start < interval.end:
        return today in interval.days and interval.start <= wall_time < interval.end
    started_today = today in interval.days and wall_time >= interval.start
    return started_today or ((today - 1) % 7 in interval.days and wall_time < interval.end)


def find_interval_end(interval: TimeInterval, now: datetime, tz: tzinfo) -> datetime | None:
    """When the daily interval that `now` is in ends, aware UTC; None if `now` is in none."""
    today = now.astimezone(tz).date()
    for day in (today, today - _ONE_DAY):
        start, end = _resolve_interval(interval, day, tz)
        if start <= now < end:
            return end
    return None


def find_next_interval_start(interval: TimeInterval, now: datetime, tz: tzinfo) -> datetime:
    """When the daily interval next starts after `now`, aware UTC."""
    today = now.astimezone(tz).date()
    starts = (_resolve_interval(interval, today + _ONE_DAY * offset, tz)[0] for offset in range(-1, 3))
    return min(start for start in starts if start > now)


def _parse_days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        start = _parse_day(first)
        length = (_parse_day(last) - start) % 7 if dash else 0
        days.update((start + offset) % 7 for offset in range(length + 1))
    return frozenset(days)


def _parse_day(word: str) -> int:
    if word.capitalize() in DAY_NAMES:
        return DAY_NAMES.index(word.capitalize())
    close = find_close_match(word[:3], DAY_NAMES)
    hint = f"did you mean {close}?" if close else f"valid: {', '.join(DAY_NAMES)}"
    raise ValueError(f'"{sanitize_for_terminal(word, 20)}" is no day; {hint}')


def _parse_hours(text: str, hint: str) -> tuple[time, time]:
    found = _HOURS.fullmatch(text)
    if found is None:
        short = _SHORT_HOURS.fullmatch(text)
        if short is not None:
            start, end = (
                f"{int(hour):02}:{minute or '00'}" for hour, minute in (short.groups()[:2], short.groups()[2:])
            )
            hint = f'write them as "{start}-{end}"'
        raise ValueError(f"this names no hours; {hint}")
    numbers = [int(part) for part in found.groups()]
    times = []
    for hour, minute in (numbers[:2], numbers[2:]):
        if hour > _LAST_HOUR or minute > _LAST_MINUTE or (hour == _LAST_HOUR and minute):
            raise ValueError(f"{hour:02}:{minute:02} is no time of day; valid: 00:00 to 24:00")
        times.append(time(hour % 24, minute))
    return times[0], times[1]


def _resolve_interval(interval: TimeInterval, day: date, tz: tzinfo) -> tuple[datetime, datetime]:
    """The instants of the interval that starts on this day, with both changes of the clock."""
    last = day if interval.start < interval.end else day + _ONE_DAY
    return _resolve_wall_time(day, interval.start, tz, fold=0), _resolve_wall_time(last, interval.end, tz, fold=1)


def _resolve_wall_time(day: date, wall_time: time, tz: tzinfo, *, fold: int) -> datetime:
    """The instant of a wall time. If it comes twice, `fold` chooses; if the clock skips it, the end of the gap."""
    wall = datetime.combine(day, wall_time, tz)
    instant = wall.replace(fold=fold).astimezone(UTC)
    if instant.astimezone(tz).replace(tzinfo=None) == wall.replace(tzinfo=None):
        return instant
    before = wall.replace(fold=0).utcoffset() or timedelta(0)  # in a gap, fold 0 gives the offset before it
    after = wall.replace(fold=1).utcoffset() or timedelta(0)
    low, high = wall.replace(tzinfo=UTC) - max(before, after), wall.replace(tzinfo=UTC) - min(before, after)
    while high - low > timedelta(seconds=1):  # the gap is between the two readings of this wall time
        middle = low + (high - low) / 2
        low, high = (low, middle) if middle.astimezone(tz).utcoffset() == after else (middle, high)
    return high.replace(microsecond=0)
