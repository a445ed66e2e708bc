"""What every provider needs to read an answer: statuses into errors, and fields that may hold anything.

Here a status is given its meaning once, and a field of the wrong type becomes None (unknown), so that it loses its own
window and nothing else. Never put here what only one provider says, and never a body or an address into a message.
"""

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

from watcher.core.model import Kind, Reading, Response
from watcher.errors import (
    BlockedError,
    ExpiredError,
    ForbiddenError,
    RateLimitedError,
    ServerError,
    ShapeChangedError,
)

HOUR = 3600
DAY = 24 * HOUR
WEEK = 7 * DAY

_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d{1,3})?\s*", re.ASCII | re.IGNORECASE)
_ISO = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)"
    r"([T ](?P<time>\d\d:\d\d(:\d\d)?)([.,](?P<fraction>\d+))?\s*(?P<zone>Z|[-+]\d\d(:?\d\d)?)?)?",
    re.ASCII | re.IGNORECASE,
)
_LARGEST = 1e15  # beyond it a count is junk, and arithmetic on it misleads
_MILLISECONDS_FROM = 1e11  # as seconds this is the year 5138, as milliseconds 1973
_EARLIEST = 1_000_000_000  # 2001: a smaller number is a duration or junk, not an instant
_LATEST = 7_258_118_400  # 2200
_LONGEST_WAIT = timedelta(days=7)
_OK = range(200, 300)
_REDIRECT = range(300, 400)
_WALLS = {407: "a proxy asks for a password", 511: "the network asks for a login"}


# --- the answer as a whole ------------------------------------------------------------------------------------------


def read(response: Response, *, name: str, sign_in: str) -> dict[str, Any]:
    """The JSON object of a good answer; every other answer raises the error that its status means.

    Args:
        response: what came back.
        name: the provider as people know it; begins each message.
        sign_in: what a person does when the login is refused: "run `claude` once".
    """
    refuse(response, name=name, sign_in=sign_in)
    return body(response, name=name)


def refuse(response: Response, *, name: str, sign_in: str) -> None:
    """Raise what the status means; return where it is a success. A provider with its own meanings asks those first."""
    status = response.status
    if status in _OK:
        return
    if status == 401:  # noqa: PLR2004 - statuses are words
        raise ExpiredError(f"{name}: expired: {sign_in}")
    if status == 429:  # noqa: PLR2004
        raise RateLimitedError(f"{name}: asked too often (429): it is asked again later", retry_after(response))
    if status in _REDIRECT:
        raise BlockedError(f"{name}: redirected elsewhere ({status}): look for a network login page")
    if status in _WALLS:
        raise BlockedError(f"{name}: {_WALLS[status]} ({status}): see to it, or leave this network")
    if "cf-mitigated" in response.headers:
        raise BlockedError(f"{name}: a bot wall answered ({status}): try another network, or wait")
    if status == 403:  # noqa: PLR2004
        _refuse_forbidden(response, name, sign_in)
    if status == 402:  # noqa: PLR2004
        raise ForbiddenError(f"{name}: payment required (402): look at the account's billing page")
    if status == 404:  # noqa: PLR2004
        raise ServerError(f"{name}: the usage address is gone (404): look for a newer version of this program")
    raise ServerError(f"{name}: the server failed ({status}): it is asked again later")


def _refuse_forbidden(response: Response, name: str, sign_in: str) -> NoReturn:
    if is_html(response):
        raise BlockedError(f"{name}: a bot wall answered (403): try another network, or wait")
    if b"user:profile" in response.body:
        raise ForbiddenError(f"{name}: this token lacks the scope user:profile: {sign_in} to get one that has it")
    if "retry-after" in response.headers or response.headers.get("x-ratelimit-remaining") == "0":
        raise RateLimitedError(f"{name}: asked too often (403): it is asked again later", retry_after(response))
    raise ForbiddenError(f"{name}: this login may not read usage (403): {sign_in} with an account that may")


def body(response: Response, *, name: str) -> dict[str, Any]:
    """The answer's JSON object. NaN and Infinity, which JSON does not have, become None: unknown."""
    if not response.body.strip():
        raise ShapeChangedError(f"{name}: the answer is empty: it is asked again later")
    if is_html(response):
        raise BlockedError(f"{name}: a web page came instead of data: look for a network login page")
    try:
        value = json.loads(response.body, parse_constant=lambda _word: None)
    except (ValueError, RecursionError):
        raise ShapeChangedError(f"{name}: the answer is not JSON: it is asked again later") from None
    if not isinstance(value, dict):
        raise ShapeChangedError(f"{name}: the answer is not a JSON object: look for a newer version of this program")
    return value


def is_html(response: Response) -> bool:
    """Whether a web page came, whatever the content type claims."""
    start = response.body[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    return start.startswith(b"<") or "text/html" in response.headers.get("content-type", "").lower()


def retry_after(response: Response) -> timedelta | None:
    """What `Retry-After` says to wait, from seconds or an HTTP date; None where missing, zero, past or junk.

    Without it, GitHub's `x-ratelimit-reset` (epoch seconds) counts where nothing remains.
    """
    said = response.headers.get("retry-after", "").strip()
    seconds = number(said)
    reset = number(response.headers.get("x-ratelimit-reset"))
    if not said and reset is not None and response.headers.get("x-ratelimit-remaining") == "0":
        seconds = reset - response.at.timestamp()
    if seconds is None:
        try:
            until = parsedate_to_datetime(said)
        except (ValueError, OverflowError):
            return None
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        seconds = (until - response.at).total_seconds()
    return min(timedelta(seconds=min(seconds, _LARGEST / 1e6)), _LONGEST_WAIT) if seconds > 0 else None


# --- single fields --------------------------------------------------------------------------------------------------


def number(value: object) -> float | None:
    """A finite number from an int, a float or a numeric string; None from anything else, booleans included."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            return None
    elif not isinstance(value, (int, float, Decimal)):
        return None
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return None
    return result if math.isfinite(result) and abs(result) <= _LARGEST else None


def decimal(value: object) -> Decimal | None:
    """The same as an exact decimal: money and counts."""
    if number(value) is None:
        return None
    return Decimal(str(value).strip())


def count(value: object) -> int | None:
    """The same as a whole number that is not negative; None from a fraction."""
    result = number(value)
    return int(result) if result is not None and result >= 0 and result.is_integer() else None


def percent(value: object) -> float | None:
    """A percentage that is not negative; it may be above 100 in overage."""
    result = number(value)
    return result if result is not None and result >= 0 else None


def ratio(part: Decimal | None, whole: Decimal | None) -> float | None:
    """Part of whole in percent; None where either is unknown, the part negative, the whole not above zero."""
    if part is None or whole is None or part < 0 or whole <= 0:
        return None
    return finite(float(part * 100 / whole))


def finite(value: float) -> float | None:
    """The same, or None where it has grown beyond all reason."""
    return value if abs(value) <= _LARGEST else None


def text(value: object) -> str | None:
    """A string with something in it, without blanks around it and without control characters."""
    if not isinstance(value, str):
        return None
    return "".join(sign for sign in value if sign.isprintable()).strip() or None


def mapping(value: object) -> Mapping[str, Any]:
    """A JSON object, {} in place of anything else."""
    return value if isinstance(value, dict) else {}


def mappings(value: object) -> list[Mapping[str, Any]]:
    """The JSON objects of an array, junk between them left out; [] in place of anything else."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def slug(value: str) -> str:
    """The stable word for a name: lower case, every run of other characters one `_`. May come out empty."""
    return re.sub(r"[^a-z0-9]+", "_", value.lower()).strip("_")


def instant(value: object) -> datetime | None:
    """An instant, aware UTC, from any form that these APIs use.

    ISO 8601 with `Z`, an offset or nothing (read as UTC), with any number of fraction digits; a date alone (midnight
    UTC); epoch seconds or milliseconds as int, float or digits. None from blanks and junk, and outside 2001..2200.
    """
    epoch = number(value)
    if epoch is None:
        return _iso(value) if isinstance(value, str) else None
    if abs(epoch) >= _MILLISECONDS_FROM:
        epoch /= 1000
    return datetime.fromtimestamp(epoch, UTC) if _EARLIEST <= epoch <= _LATEST else None


def _iso(value: str) -> datetime | None:
    found = _ISO.fullmatch(value.strip())
    if found is None:
        return None
    zone = (found["zone"] or "Z").upper()
    fraction = (found["fraction"] or "0")[:6].ljust(6, "0")
    time = found["time"] or "00:00:00"
    time = time if time.count(":") == 2 else f"{time}:00"  # noqa: PLR2004 - hours, minutes, seconds
    try:
        result = datetime.fromisoformat(f"{found['day']}T{time}.{fraction}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return result if _EARLIEST <= result.timestamp() <= _LATEST else None


def later(at: datetime, seconds: object) -> datetime | None:
    """The instant so many seconds after the answer; None where that is not a number from 0 to a year."""
    wait = number(seconds)
    return at + timedelta(seconds=wait) if wait is not None and 0 <= wait <= 366 * DAY else None


def share(
    window: str, label: str, used_percent: object, seconds: int | None, resets_at: datetime | None
) -> Reading | None:
    """The reading of a window that is known by its percentage; None where it has no name or no percentage."""
    used = percent(used_percent)
    if used is None or not window:
        return None
    return Reading(
        window=window,
        kind=kind_of(seconds),
        label=label,
        used_percent=used,
        resets_at=resets_at,
        window_seconds=seconds,
    )


def kind_of(seconds: int | None) -> Kind:
    """A window's kind by its length."""
    if seconds is None or seconds <= 0:
        return Kind.OTHER
    if seconds <= 6 * HOUR:
        return Kind.SESSION
    for length, kind in ((DAY, Kind.DAILY), (WEEK, Kind.WEEKLY)):
        if seconds == length:
            return kind
    return Kind.MONTHLY if 28 * DAY <= seconds <= 31 * DAY else Kind.OTHER
