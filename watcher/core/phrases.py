"""Numbers, times and durations as people read them: "1 h 40 min", "Tue 09:00", "$4.20", "321 requests".

English and without a locale, so that a message reads the same on every machine. Never put a sentence here.
"""

from datetime import datetime, timedelta, tzinfo
from decimal import Decimal

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SIGNS = {"usd": "$", "eur": "€", "gbp": "£"}
_CODE_LENGTH = 3  # of a currency: anything else is a word such as "requests"
_UNIT_WORDS = {"percent": "%", "nano": "NANO"}
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_HOURS_UP_TO = 48  # from here on hours are counted in days
_ALL = 100
_WEEK_DAYS = 6  # as far as a weekday's name says which day is meant


def duration(span: timedelta) -> str:
    """A duration in at most two units, cut off and never rounded up: "1 h 40 min", "3 days 4 h"."""
    seconds = int(span.total_seconds())
    if seconds < _MINUTE:
        return "less than a minute"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min"
    if seconds < _HOURS_UP_TO * _HOUR:
        return _two(seconds // _HOUR, "h", seconds % _HOUR // _MINUTE, "min")
    days = seconds // _DAY
    return _two(days, "days", seconds % _DAY // _HOUR, "h") if days < _WEEK_DAYS else f"{days} days"


def clock(at: datetime, now: datetime, tz: tzinfo) -> str:
    """An instant in wall time, as short as is still clear on the day of `now`: "16:00", "Tue 16:00", "1 Dec 16:00"."""
    local, today = at.astimezone(tz), now.astimezone(tz).date()
    time, apart = f"{local:%H:%M}", (local.date() - today).days
    if apart == 0:
        return time
    if abs(apart) <= _WEEK_DAYS:
        return f"{_DAYS[local.weekday()]} {time}"
    year = f" {local.year}" if local.year != today.year else ""
    return f"{local.day} {_MONTHS[local.month - 1]}{year} {time}"


def percent(value: float) -> str:
    """A percentage, with a tenth where it has one: "82 %", "99.6 %". It never says 100 of what is less."""
    tenths = round(value, 1)
    if value < _ALL <= tenths:
        tenths = _ALL - 0.1
    if tenths == round(tenths):
        return f"{tenths:.0f} %"
    return f"{tenths:.1f} %"


def number(value: Decimal | float) -> str:
    """A number with separated thousands and at most two decimals: "1,234.5"."""
    text = f"{Decimal(str(value)):,.2f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def amount(value: Decimal | float, unit: str) -> str:
    """A number with its unit: "$4.20", "12.50 CHF", "321 requests", "1 request"."""
    sign = _SIGNS.get(unit)
    if sign:
        return f"{'-' if value < 0 else ''}{sign}{abs(value):,.2f}"
    if len(unit) == _CODE_LENGTH and unit.isalpha():
        return f"{value:,.2f} {unit.upper()}"
    word = _UNIT_WORDS.get(unit, unit)
    if abs(value) == 1 and word.endswith("s"):
        word = word[:-1]
    return f"{number(value)} {word}".rstrip()


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"
