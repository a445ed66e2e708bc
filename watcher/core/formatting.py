"""Formats values for people: "1 h 40 min", "Tue 09:00", "$4.20", "321 requests"; and cleans text from outside.

Always English, whatever the machine's locale, so that a message reads the same everywhere.
"""

import re
from datetime import datetime, timedelta, tzinfo

MAX_TEXT_LENGTH = 200
"""Characters of one text from outside: a plan's name, an account, an error message."""

TYPE_CHECKING = False  # as in `typing`, which takes a tenth of the time of a status line
if TYPE_CHECKING:
    from decimal import Decimal

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CURRENCY_SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£"}
_CURRENCIES_WITHOUT_CENTS = frozenset({"jpy", "krw", "vnd", "clp"})
_CURRENCY_CODE_LENGTH = 3  # other units are words such as "requests"
_UNIT_SYMBOLS = {"percent": "%", "nano": "NANO"}
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400
_MAX_HOURS = 48  # longer durations are given in days
_FULL_PERCENT = 100
_WEEKDAY_RANGE_DAYS = 6  # within these a weekday names one day

# C0 but tab and newline, DEL, C1, the marks that change the direction of what follows, and two noncharacters.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


def clean_text(text: str, max_length: int = MAX_TEXT_LENGTH) -> str:
    """The text on one line, clipped to `max_length`, without control characters and marks that change its direction.

    Call it once, where text from outside becomes a record; everything after that can print the text as it is.
    """
    printable = (c if c.isprintable() else " " if c.isspace() else "" for c in text)
    line = " ".join("".join(printable).split())
    return line if len(line) <= max_length else line[: max_length - 3].rstrip() + "..."


def clean_lines(text: str) -> str:
    """The text without control characters, direction marks and lone surrogates; its lines and blanks stay.

    A NUL makes D-Bus drop the connection, an escape sequence writes on terminals, a turned direction shows false
    numbers.
    """
    paired = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _UNPRINTABLE.sub("", paired.replace("\r\n", "\n").replace("\r", "\n")).strip()


def escape_markup(text: str) -> str:
    """The text with the three characters of markup escaped: otherwise `> 80 <` loses its middle."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def strip_provider_name(message: str, provider: str) -> str:
    """A failure's message without the provider's name in front: the line names it already."""
    name, colon, rest = message.partition(": ")
    is_name = name.casefold().replace(" ", "_").replace("-", "_") == provider
    return rest if colon and is_name else message


def format_failure(provider: str, kind: str, message: str) -> str:
    """A failure beside its provider's name, with its kind, each once: "expired: run `claude` once"."""
    text = strip_provider_name(message, provider)
    return text if text.startswith(kind) else f"{kind}: {text}"


def format_duration(duration: timedelta) -> str:
    """A duration in at most two units, rounded down: "1 h 40 min", "3 days 4 h"."""
    seconds = int(duration.total_seconds())
    if seconds < _MINUTE_S:
        return "less than a minute"
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S} min"
    if seconds < _MAX_HOURS * _HOUR_S:
        return _join_units(seconds // _HOUR_S, "h", seconds % _HOUR_S // _MINUTE_S, "min")
    days = seconds // _DAY_S
    return _join_units(days, "days", seconds % _DAY_S // _HOUR_S, "h") if days < _WEEKDAY_RANGE_DAYS else f"{days} days"


def format_short_duration(duration: timedelta) -> str:
    """A duration for a status bar, cut off in the same way; less than a minute is "1m": "40m", "1h40m", "3d4h"."""
    minutes = max(int(duration.total_seconds()) // _MINUTE_S, 1)
    hours = minutes // 60
    if hours >= _MAX_HOURS:
        return f"{hours // 24}d{hours % 24}h"
    return f"{hours}h{minutes % 60:02d}m" if hours else f"{minutes}m"


def format_time(at: datetime, now: datetime, tz: tzinfo) -> str:
    """A time of day, with the day if it is not today: "16:00", "Tue 16:00", "1 Dec 16:00"."""
    local, today = at.astimezone(tz), now.astimezone(tz).date()
    time, days = f"{local:%H:%M}", (local.date() - today).days
    if days == 0:
        return time
    if abs(days) <= _WEEKDAY_RANGE_DAYS:
        return f"{_DAYS[local.weekday()]} {time}"
    year = f" {local.year}" if local.year != today.year else ""
    return f"{local.day} {_MONTHS[local.month - 1]}{year} {time}"


def format_percent(value: float) -> str:
    """A percentage, with a tenth if it has one: "82 %", "99.6 %". A value below 100 is never rounded up to it."""
    tenths = round(value, 1)
    if value < _FULL_PERCENT <= tenths:
        tenths = _FULL_PERCENT - 0.1
    if tenths == round(tenths):
        return f"{tenths:.0f} %"
    return f"{tenths:.1f} %"


def draw_bar(percent: float, width: int) -> str:
    """A percentage as a row of blocks: at least one where it is above 0, all where it is 100 or more."""
    full = round(max(0.0, min(100.0, percent)) * width / 100)
    full = max(full, 1) if percent > 0 else full
    return "█" * full + "░" * (width - full)


def format_number(value: "Decimal | float") -> str:
    """A number with thousands separators and at most two decimals: "1,234.5"."""
    from decimal import Decimal  # noqa: PLC0415 - a tenth of the time of a status line, which has no amount

    text = f"{Decimal(str(value)):,.2f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_amount(value: "Decimal | float", unit: str) -> str:
    """A number with its unit: "$4.20", "12.50 CHF", "321 requests", "1 request"."""
    sign = _CURRENCY_SYMBOLS.get(unit)
    if sign:
        return f"{'-' if value < 0 else ''}{sign}{abs(value):,.2f}"
    if len(unit) == _CURRENCY_CODE_LENGTH and unit.isalpha():
        places = 0 if unit in _CURRENCIES_WITHOUT_CENTS else 2
        return f"{value:,.{places}f} {unit.upper()}"
    word = _UNIT_SYMBOLS.get(unit, unit)
    if abs(value) == 1 and word.endswith("s"):
        word = word[:-1]
    return f"{format_number(value)} {word}".rstrip()


def _join_units(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"
