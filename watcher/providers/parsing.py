"""Reads answers for every provider: a status becomes an error, a field of any type a value or None.

A field of the wrong type is unknown (None), so that it costs its own window and nothing else. No message contains a
body or an address.
"""

import json
import math
import re
from collections.abc import Callable, Generator, Iterable, Mapping, MutableMapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NoReturn, TypeVar

from msgspec.structs import replace

from watcher.core.engine.windows import classify_length
from watcher.core.formatting import MAX_TEXT_LENGTH, clean_text
from watcher.core.model import Reading, Request, Response, Snapshot, WindowKind, parse_http_date
from watcher.errors import (
    BlockedError,
    ExpiredError,
    ForbiddenError,
    OfflineError,
    ProviderError,
    RateLimitedError,
    ServerError,
    ShapeChangedError,
)

T = TypeVar("T")

HOUR_S = 3600
DAY_S = 24 * HOUR_S
WEEK_S = 7 * DAY_S

_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d{1,3})?\s*", re.ASCII | re.IGNORECASE)
_MAX_MAGNITUDE = 1e15  # a larger count is junk
_MIN_EPOCH_MS = 1e11  # as seconds this is the year 5138, as milliseconds 1973
_MIN_EPOCH_S = 1_000_000_000  # 2001: a smaller number is a duration or junk, not an instant
_MAX_EPOCH_S = 7_258_118_400  # 2200
_MAX_RETRY_AFTER = timedelta(days=7)
_SUCCESS_STATUSES = range(200, 300)
_REDIRECT_STATUSES = range(300, 400)
_NETWORK_LOGIN_REASONS = {407: "a proxy asks for a password", 511: "the network asks for a login"}


# --- the whole answer ------------------------------------------------------------------------------------------


def parse_response(response: Response, *, name: str, sign_in_hint: str) -> dict[str, Any]:
    """The JSON object of a good answer; any other answer raises the error for its status.

    Args:
        response: the answer.
        name: the provider's name for people; begins each message.
        sign_in_hint: what to do when the login is refused: "run `claude` once".
    """
    raise_for_status(response, name=name, sign_in_hint=sign_in_hint)
    return parse_body(response, name=name)


def raise_for_status(response: Response, *, name: str, sign_in_hint: str) -> None:
    """Raise the error for the status, if it is not a success. A provider handles its own special statuses before."""
    status = response.status
    if status in _SUCCESS_STATUSES:
        return
    if status == 401:  # noqa: PLR2004 - statuses are words
        raise ExpiredError(f"{name}: expired: {sign_in_hint}")
    if status == 429:  # noqa: PLR2004
        raise RateLimitedError(f"{name}: asked too often (429): it is asked again later", parse_retry_after(response))
    if status in _REDIRECT_STATUSES:
        raise BlockedError(f"{name}: redirected elsewhere ({status}): look for a network login page")
    if status in _NETWORK_LOGIN_REASONS:
        raise BlockedError(f"{name}: {_NETWORK_LOGIN_REASONS[status]} ({status}): see to it, or leave this network")
    if "cf-mitigated" in response.headers:
        raise BlockedError(f"{name}: a bot wall answered ({status}): try another network, or wait")
    if status == 403:  # noqa: PLR2004
        _raise_forbidden(response, name, sign_in_hint)
    if status == 402:  # noqa: PLR2004
        raise ForbiddenError(f"{name}: payment required (402): look at the account's billing page")
    if status == 404:  # noqa: PLR2004
        raise ServerError(f"{name}: the usage address is gone (404): look for a newer version of this program")
    raise ServerError(f"{name}: the server failed ({status}): it is asked again later", status)


def _raise_forbidden(response: Response, name: str, sign_in_hint: str) -> NoReturn:
    if is_html(response):
        raise BlockedError(f"{name}: a bot wall answered (403): try another network, or wait")
    if b"user:profile" in response.body:
        raise ForbiddenError(f"{name}: this token lacks the scope user:profile: {sign_in_hint} to get one that has it")
    if "retry-after" in response.headers or response.headers.get("x-ratelimit-remaining") == "0":
        raise RateLimitedError(f"{name}: asked too often (403): it is asked again later", parse_retry_after(response))
    raise ForbiddenError(f"{name}: this login may not read usage (403): {sign_in_hint} with an account that may")


def parse_body(response: Response, *, name: str) -> dict[str, Any]:
    """The answer's JSON object. NaN and Infinity, which are not JSON, become None."""
    value = decode_body(response, name=name)
    if not isinstance(value, dict):
        raise ShapeChangedError(f"{name}: the answer is not a JSON object: look for a newer version of this program")
    return value


def decode_body(response: Response, *, name: str) -> Any:
    """As `parse_body`, any JSON."""
    if not response.body.strip():
        raise ShapeChangedError(f"{name}: the answer is empty: it is asked again later")
    if is_html(response):
        raise BlockedError(f"{name}: a web page came instead of data: look for a network login page")
    try:
        return json.loads(response.body, parse_constant=lambda _word: None)
    except (ValueError, RecursionError):
        raise ShapeChangedError(f"{name}: the answer is not JSON: it is asked again later") from None


def is_html(response: Response) -> bool:
    """Whether the answer is a web page, by its first bytes or its content type."""
    start = response.body[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    return start.startswith(b"<") or "text/html" in response.headers.get("content-type", "").lower()


def parse_retry_after(response: Response) -> timedelta | None:
    """The wait that `Retry-After` asks for, as seconds or as an HTTP date; None if missing, zero, past or junk.

    Without it, GitHub's `x-ratelimit-reset` (epoch seconds) counts if nothing remains.
    """
    value = response.headers.get("retry-after", "").strip()
    seconds = parse_number(value)
    reset = parse_number(response.headers.get("x-ratelimit-reset"))
    if not value and reset is not None and response.headers.get("x-ratelimit-remaining") == "0":
        seconds = reset - response.received_at.timestamp()
    if seconds is None:
        until = parse_http_date(value)
        if until is None:
            return None
        seconds = (until - response.received_at).total_seconds()
    return min(timedelta(seconds=min(seconds, _MAX_MAGNITUDE / 1e6)), _MAX_RETRY_AFTER) if seconds > 0 else None


def fetch_owner(
    state: MutableMapping[str, Any], token: str, requests: Iterable[Request], read: Callable[[Mapping[str, Any]], T]
) -> Generator[Request, Response, T | None]:
    """What `read` makes of the first of these answers that names a token's owner; None if none does.

    Requested once for each token, and again after a request that could not be sent. It costs no reading.
    """
    if state.get("owner_of") != token:
        state.update(owner_of=token, owner=None)
        for request in requests:
            try:
                state["owner"] = read(parse_response((yield request), name="", sign_in_hint=""))
            except OfflineError:
                del state["owner_of"]
                break
            except RateLimitedError:
                break
            except ProviderError:
                continue
            if state["owner"]:
                break
    owner: T | None = state["owner"]
    return owner


# --- single fields --------------------------------------------------------------------------------------------------


def parse_number(value: object) -> float | None:
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
    return result if math.isfinite(result) and abs(result) <= _MAX_MAGNITUDE else None


def parse_decimal(value: object) -> Decimal | None:
    """The same as an exact decimal, for money and counts."""
    return None if parse_number(value) is None else Decimal(str(value).strip())


def parse_count(value: object) -> int | None:
    """The same as a whole number that is not negative; None from a fraction."""
    result = parse_number(value)
    return int(result) if result is not None and result >= 0 and result.is_integer() else None


def parse_percent(value: object) -> float | None:
    """A percentage that is not negative; it may be above 100 in overage."""
    result = parse_number(value)
    return result if result is not None and result >= 0 else None


def compute_percent(part: Decimal | None, whole: Decimal | None) -> float | None:
    """Part of whole in percent; None if either is unknown, the part negative or the whole not above zero."""
    if part is None or whole is None or part < 0 or whole <= 0:
        return None
    return discard_huge(float(part * 100 / whole))


def discard_huge(value: float) -> float | None:
    """The value, or None if it is too large to be meant."""
    return value if abs(value) <= _MAX_MAGNITUDE else None


def as_mapping(value: object) -> Mapping[str, Any]:
    """A JSON object; {} for anything else."""
    return value if isinstance(value, dict) else {}


def as_mappings(value: object) -> list[Mapping[str, Any]]:
    """The JSON objects in an array, without anything else in it; [] for anything but an array."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def parse_first(parse: Callable[[object], T | None], content: Mapping[str, Any], *names: str) -> T | None:
    """The first of those fields that `parse` can read."""
    return next((found for name in names if (found := parse(content.get(name))) is not None), None)


def slugify(value: str) -> str:
    """The stable word for a name: lower case, every run of other characters becomes one `_`. It may be empty."""
    return re.sub(r"[^a-z0-9]+", "_", value.lower()).strip("_")


def parse_timestamp(value: object) -> datetime | None:
    """An instant, aware UTC, in any form that these APIs use.

    ISO 8601 with `Z`, an offset or nothing (read as UTC), with any number of fraction digits; a date alone (midnight
    UTC); epoch seconds or milliseconds as int, float or digits. None for junk, and outside 2001..2200.
    """
    epoch = parse_number(value)
    if epoch is None:
        return _parse_iso_8601(value) if isinstance(value, str) else None
    if abs(epoch) >= _MIN_EPOCH_MS:
        epoch /= 1000
    return datetime.fromtimestamp(epoch, UTC) if _MIN_EPOCH_S <= epoch <= _MAX_EPOCH_S else None


def _parse_iso_8601(value: str) -> datetime | None:
    text = re.sub(r"\s+(?=Z$|[-+][\d:]+$)", "", value.strip().upper())
    try:
        result = datetime.fromisoformat(text)
        result = (result if result.tzinfo else result.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return result if _MIN_EPOCH_S <= result.timestamp() <= _MAX_EPOCH_S else None


def add_seconds(at: datetime, seconds: object) -> datetime | None:
    """The instant so many seconds after the answer; None unless that is a number from 0 to a year."""
    wait = parse_number(seconds)
    return at + timedelta(seconds=wait) if wait is not None and 0 <= wait <= 366 * DAY_S else None


def make_percent_reading(
    window: str, label: str, used_percent: object, seconds: int | None, resets_at: datetime | None
) -> Reading | None:
    """The reading of a window with a percentage; None if it has no name or no percentage."""
    used = parse_percent(used_percent)
    if used is None or not window:
        return None
    return Reading(
        window=window,
        kind=classify_length(seconds or 0),
        label=label,
        used_percent=used,
        resets_at=resets_at,
        window_seconds=seconds,
    )


def get_fullness(reading: Reading | None, nothing: float = -1.0) -> float:
    """Percent used, to compare readings of one window: unknown is less than zero, no reading is `nothing`."""
    return nothing if reading is None else -1.0 if reading.used_percent is None else reading.used_percent


# --- the snapshot -----------------------------------------------------------------------------------------------------


def clean_snapshot(snapshot: Snapshot) -> Snapshot:
    """The snapshot with every text printable and at most 200 characters long, and each window once.

    The one place where an answer's text is cleaned: nothing after it has to.
    """
    readings = {
        window: replace(
            reading, window=window, label=clean_text(reading.label), unit=clean_text(reading.unit) or "units"
        )
        for reading in snapshot.readings
        if (window := reading.window[:MAX_TEXT_LENGTH])
    }
    return replace(
        snapshot,
        account_name=clean_text(snapshot.account_name),
        plan=clean_text(snapshot.plan or "") or None,
        note=clean_text(snapshot.note or "", 2 * MAX_TEXT_LENGTH) or None,
        readings=tuple(readings.values()),
    )


# --- Quotas that Google gives for each model as the fraction that is left: shared by Gemini CLI and Antigravity -------


def compute_used_percent(remaining_fraction: float | None) -> float | None:
    """Percent used, 0..100, from the fraction left; None if that is unknown or not finite."""
    if remaining_fraction is None or not math.isfinite(remaining_fraction):
        return None
    return float((1 - min(max(Decimal(str(remaining_fraction)), Decimal(0)), Decimal(1))) * 100)


def make_reading(name: str, remaining_fraction: float | None, resets_at: datetime | None, **fields: Any) -> Reading:
    """The reading of one model or pool; its label is its name unless `fields` has one."""
    return Reading(
        window=slugify(name) or "unnamed",
        used_percent=compute_used_percent(remaining_fraction),
        resets_at=resets_at,
        **{"kind": WindowKind.OTHER, "label": name, **fields},
    )


def parse_reading(name: str, quota: Mapping[str, Any], **fields: Any) -> Reading:
    """The reading of an object `{remainingFraction, resetTime}`, either of which may be anything."""
    return make_reading(
        name, parse_number(quota.get("remainingFraction")), parse_timestamp(quota.get("resetTime")), **fields
    )


def describe_unknown(readings: Iterable[Reading]) -> list[str]:
    """At most one sentence for a note, about readings without a value."""
    unknown = [each.label for each in readings if each.used_percent is None]
    return [f"not said how much is left (possibly exhausted): {', '.join(unknown)}"] if unknown else []
