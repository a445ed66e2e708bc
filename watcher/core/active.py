"""`active = "Mon-Fri 09:00-18:00"`: the text of when a rule may fire, read.

Never put the question "is it active now?" here: that is the engine's, which knows the time.
"""

import re
from datetime import time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from watcher.core.model import Active
from watcher.core.vocabulary import near

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_SPAN = re.compile(r"([0-9]{1,2}):([0-9]{2})-([0-9]{1,2}):([0-9]{2})")
_VALID = 'valid: "Mon-Fri 09:00-18:00", "Sat,Sun" or "22:00-06:00"'
_LAST_HOUR, _LAST_MINUTE = 24, 59


class ActiveError(ValueError):
    """The text names no time span; the message says what would be valid."""


def parse_active(text: str, tz: str | None = None) -> Active:
    """The days and hours that the text names; days or hours left out mean all of them.

    Raises:
        ActiveError: with what would be valid.
    """
    words = text.split()
    days: frozenset[int] = frozenset(range(7))
    start = end = time(0)
    match words:
        case [only] if _SPAN.fullmatch(only):
            start, end = _hours(only)
        case [only]:
            days = _days(only)
        case [first, second]:
            days, (start, end) = _days(first), _hours(second)
        case _:
            raise ActiveError(f"this names no days and hours; {_VALID}")
    if tz is not None:
        check_zone(tz)
    return Active(days=days, start=start, end=end, tz=tz)


def check_zone(name: str) -> None:
    """Refuses what is no time zone of the IANA database.

    Raises:
        ActiveError: with the nearest name, if any.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        names = sorted(available_timezones())
        last = {each.rpartition("/")[2]: each for each in reversed(names)}
        meant = near(name, names, 2) or last.get(name.replace(" ", "_"))
        hint = f'did you mean "{meant}"?' if meant else 'valid: such as "Europe/Berlin" or "UTC"'
        raise ActiveError(f"this is no time zone; {hint}") from None


def _days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        begin = _day(first)
        finish = _day(last) if dash else begin
        days.update((begin + offset) % 7 for offset in range((finish - begin) % 7 + 1))
    return frozenset(days)


def _day(word: str) -> int:
    for index, day in enumerate(DAYS):
        if word.lower() == day.lower():
            return index
    meant = near(word[:3], DAYS, 1) if word else None
    hint = f"did you mean {meant}?" if meant else f"valid: {', '.join(DAYS)}"
    shown = "".join(c if c.isprintable() else "?" for c in word[:20])
    raise ActiveError(f'"{shown}" is no day; {hint}')


def _hours(text: str) -> tuple[time, time]:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ActiveError(f"this names no hours; {_VALID}")
    hours = [int(part) for part in found.groups()]
    for hour, minute in (hours[:2], hours[2:]):
        if hour > _LAST_HOUR or minute > _LAST_MINUTE or (hour == _LAST_HOUR and minute):
            raise ActiveError(f"{hour:02}:{minute:02} is no time of day; valid: 00:00 to 24:00")
    start, end = time(hours[0] % 24, hours[1]), time(hours[2] % 24, hours[3])
    if start == end and hours != [0, 0, 24, 0]:
        raise ActiveError("this begins and ends at the same time; leave the hours out for the whole day")
    return start, end
