"""`active = "Mon-Fri 09:00-18:00"`: the text of when a rule may fire, read.

Never put the question "is it active now?" here: that is the engine's, which knows the time.
"""

import re
from datetime import time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from watcher.core.model import ActiveInterval
from watcher.core.vocabulary import find_close_match

DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_HOUR_RANGE = re.compile(r"([0-9]{1,2}):([0-9]{2})-([0-9]{1,2}):([0-9]{2})")
_VALID_HINT = 'valid: "Mon-Fri 09:00-18:00", "Sat,Sun" or "22:00-06:00"'
_LAST_HOUR, _LAST_MINUTE = 24, 59


class TimeIntervalError(ValueError):
    """The text names no time span; the message says what would be valid."""


def parse_active_interval(text: str, tz: str | None = None) -> ActiveInterval:
    """The days and hours that the text names; days or hours left out mean all of them.

    Raises:
        ActiveError: with what would be valid.
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
    if tz is not None:
        check_time_zone(tz)
    return ActiveInterval(days=days, start=start, end=end, tz=tz)


def check_time_zone(name: str) -> None:
    """Refuses what is no time zone of the IANA database.

    Raises:
        ActiveError: with the nearest name, if any.
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
