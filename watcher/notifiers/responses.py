"""What an answer means for a delivery: arrived, try again (and when), or never again.

One table for every channel; a service that differs overrides a row, not the table. Each outcome is one line of the form
"what happened; what to do", and holds nothing of the answer's body: a server may send back the address it was asked at.
"""

import math
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import msgspec

from watcher.core.model import CommandResult, DeliveryOutcome, Response

MAX_RETRY_AFTER = timedelta(hours=24)
"""A delivery does not live longer, so that no wait needs to."""

EX_TEMPFAIL = 75
"""EX_TEMPFAIL of sysexits.h: a command says "not now"."""

_PERMANENT_HINTS = {
    400: "it was not understood; check that the address is for this type of channel",
    401: "the secret is wrong or withdrawn; make a new one and put it into the config",
    403: "the far side forbids it; check the secret and its permissions",
    404: "there is nothing at that address; check it, or make a new webhook",
    405: "that address takes no messages; check it",
    410: "that address has been closed for good; make a new webhook",
    413: "the message is too large for the far side",
}
"""Status -> what to do. Any other 4xx is permanent too, without such advice."""

_TEMPORARY_STATUSES = {407, 408, 409, 421, 423, 425, 429}
"""Client errors that pass by themselves, or with the network one is on."""


def interpret_result(result: Response | CommandResult) -> DeliveryOutcome:
    """The meaning of an HTTP answer or of a command's end."""
    return interpret_response(result) if isinstance(result, Response) else interpret_exit(result)


def interpret_response(response: Response) -> DeliveryOutcome:
    """2xx arrived; 429, 408 and 5xx come again, when the server says; all else is for a person to mend."""
    said = f"answered {format_status(response.status)}"
    if HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
        return DeliveryOutcome(delivered=True, detail=said)
    if response.status in _TEMPORARY_STATUSES or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        wait = parse_retry_after(response)
        when = "" if wait is None else f", not before {wait.total_seconds():g} s from now, as it asks"
        return DeliveryOutcome(delivered=False, detail=f"{said}; will be sent again{when}", retry_after=wait)
    if response.status < HTTPStatus.BAD_REQUEST:
        return DeliveryOutcome(
            delivered=False, detail=f"{said}; correct the address: redirects are not followed", permanent=True
        )
    advice = _PERMANENT_HINTS.get(response.status, "check the channel's settings")
    return DeliveryOutcome(delivered=False, detail=f"{said}; {advice}", permanent=True)


def interpret_exit(finished: CommandResult) -> DeliveryOutcome:
    """Exit 0 arrived; 75 comes again; a time limit leaves it open; all else is for a person to mend."""
    if finished.timed_out:
        return DeliveryOutcome(
            delivered=None, detail=f"{finished.stderr}, so it may have arrived; give it more time (timeout)"
        )
    if finished.exit_code is None:
        return DeliveryOutcome(delivered=False, detail=f"{finished.stderr}; check the channel's argv", permanent=True)
    if finished.exit_code == 0:
        return DeliveryOutcome(delivered=True, detail="ended with exit code 0")
    said = f"ended with exit code {finished.exit_code}"
    if finished.exit_code == EX_TEMPFAIL:
        return DeliveryOutcome(delivered=False, detail=f"{said} (not now); will be run again")
    return DeliveryOutcome(delivered=False, detail=f"{said}; run the command by hand to see why", permanent=True)


def format_status(status: int) -> str:
    """`429 Too Many Requests`; the bare number where it has no name."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def parse_retry_after(response: Response) -> timedelta | None:
    """How long the server asks to wait, in whichever form it says so; the longest where it says several."""
    forms = (
        _parse_retry_after_header(response.headers.get("retry-after", ""), response.received_at),
        _parse_seconds(response.headers.get("x-ratelimit-reset-after")),
        _parse_seconds(get_json_field(response.body, "retry_after")),
    )
    return max((wait for wait in forms if wait is not None), default=None)


def _parse_retry_after_header(value: str, at: datetime) -> timedelta | None:
    """RFC 9110 section 10.2.3: seconds, or a date."""
    seconds = _parse_seconds(value)
    if seconds is not None:
        return seconds
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, IndexError, TypeError):
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return min(MAX_RETRY_AFTER, max(timedelta(0), aware - at))


def _parse_seconds(value: object) -> timedelta | None:
    """Seconds as a number or its text, between 0 and a day; None for anything else."""
    try:
        seconds = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    if isinstance(value, bool) or not math.isfinite(seconds) or seconds < 0:
        return None
    return timedelta(seconds=min(seconds, MAX_RETRY_AFTER.total_seconds()))


def get_json_field(body: bytes, name: str) -> object:
    """`name` of a JSON object; None where the body is none or lacks it."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return decoded.get(name) if isinstance(decoded, dict) else None
