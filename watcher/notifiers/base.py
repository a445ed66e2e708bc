"""What every channel is made of: its record, its settings, and what a response means for a delivery.

One table of status codes and exit codes serves all channels; a service that differs overrides a row. Each outcome is
one line of the form "what happened; what to do" without anything of the response's body: a server may send back the
address of the request, which is a secret.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from watcher.core.formatting import clean_text, draw_bar, format_amount, format_percent
from watcher.core.model import (
    FIRING_EVENTS,
    Command,
    CommandResult,
    DeliveryOutcome,
    Message,
    Request,
    Response,
    Severity,
    is_loopback,
    parse_http_date,
)
from watcher.errors import ProviderError

Send = Callable[[Request], Response]
Run = Callable[[Command], CommandResult]
OnAction = Callable[[Message, str], None]
"""Called from any thread with a message and `SNOOZE` or `OPEN_PAGE`: what the user chose on its notification."""

SNOOZE, OPEN_PAGE = "snooze", "open"
SettingsClass = type[Struct]

MAX_RETRY_AFTER = timedelta(hours=24)
"""The lifetime of a delivery."""

EX_TEMPFAIL = 75
"""Of sysexits.h: a command cannot do it now."""

_PERMANENT_HINTS = {
    400: "it was not understood; check that the address is for this type of channel",
    401: "the secret is wrong or withdrawn; make a new one and put it into the config",
    403: "the receiver forbids it; check the secret and its permissions",
    404: "there is nothing at that address; check it, or make a new webhook",
    405: "that address takes no messages; check it",
    410: "that address has been closed; make a new webhook",
    413: "the message is too large for the receiver",
}
"""Status -> what to do. Any other 4xx is permanent too, without such advice."""

_TEMPORARY_STATUSES = {407, 408, 409, 421, 423, 425, 429}
"""Client errors that pass by themselves or on another network."""


class ChannelSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of a channel; their `repr` shows no value."""

    def __repr__(self) -> str:
        return f"Settings({', '.join(self.__struct_fields__)})"


class SettingError(ValueError):
    """A mistake inside a setting: `path` leads to it from the channel's table, `start` and `end` into its text."""

    def __init__(self, message: str, path: tuple[str | int, ...], span: tuple[int, int] | None = None) -> None:
        super().__init__(message)
        self.path, self.span = path, span


class Channel(Struct, frozen=True, kw_only=True):
    """One `[channels.NAME]` of the config: its name, its type, and the settings of that type."""

    name: str
    type: str
    settings: Any  # the notifier's own record, secrets resolved

    def __repr__(self) -> str:
        return f"Channel({self.name}, {self.type})"  # never the settings: a webhook's address is its password


WEB_SCHEMES = ("https", "http")


def check_url(value: str, key: str = "url", schemes: tuple[str, ...] = WEB_SCHEMES, *, is_secret: bool = False) -> None:
    """Raise ValueError unless `value` is an address with such a scheme, and https where it is a secret itself."""
    try:
        parts = urlsplit(value)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in schemes or re.search(r"[\s\x00-\x1f\x7f]", value):
        if schemes == WEB_SCHEMES:
            raise ValueError(f"`{key}` must be a web address that begins with https://")
        valid = ", ".join(schemes)
        raise ValueError(f'`{key}`: write scheme, host and port, such as "http://127.0.0.1:8080"; valid: {valid}')
    if is_secret and parts.scheme == "http" and not is_loopback(host):
        raise ValueError(f"`{key}` must begin with https://: anyone who sees this address can write to the channel")


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise ValueError unless all of the setting `headers` can be sent."""
    for name, value in headers.items():
        check_header(name, "headers")
        check_header(value, f"headers.{name}")


def check_header(value: str, key: str) -> None:
    """Raise ValueError unless `value` can stand in an HTTP header."""
    if not value.isascii() or not value.isprintable():
        raise ValueError(f"`{key}` must be plain ASCII without line ends")


def interpret_result(result: Response | CommandResult, _settings: object = None) -> DeliveryOutcome:
    """The meaning of an HTTP answer or of a command's end."""
    return interpret_response(result) if isinstance(result, Response) else interpret_exit(result)


def interpret_response(response: Response) -> DeliveryOutcome:
    """2xx: delivered. 429, 408, 5xx: retried, not before the server says. Anything else: the user has to fix it."""
    answered = f"answered {format_status(response.status)}"
    if HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
        return DeliveryOutcome(delivered=True, detail=answered)
    if response.status in _TEMPORARY_STATUSES or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        wait = parse_retry_after(response)
        when = "" if wait is None else f", not before {wait.total_seconds():g} s from now, as it asks"
        return DeliveryOutcome(delivered=False, detail=f"{answered}; will be sent again{when}", retry_after=wait)
    if response.status < HTTPStatus.BAD_REQUEST:
        return DeliveryOutcome(
            delivered=False, detail=f"{answered}; correct the address: redirects are not followed", permanent=True
        )
    advice = _PERMANENT_HINTS.get(response.status, "check the channel's settings")
    return DeliveryOutcome(delivered=False, detail=f"{answered}; {advice}", permanent=True)


def interpret_exit(finished: CommandResult) -> DeliveryOutcome:
    """0: delivered. 75: retried. A timeout: unknown. Anything else: the user has to fix it."""
    if finished.timed_out:
        return DeliveryOutcome(
            delivered=None, detail=f"{finished.stderr}, so it may have arrived; give it more time (timeout)"
        )
    if finished.exit_code is None:
        return DeliveryOutcome(delivered=False, detail=f"{finished.stderr}; check the channel's argv", permanent=True)
    if finished.exit_code == 0:
        return DeliveryOutcome(delivered=True, detail="ended with exit code 0")
    ended = f"ended with exit code {finished.exit_code}"
    if finished.exit_code == EX_TEMPFAIL:
        return DeliveryOutcome(delivered=False, detail=f"{ended} (not now); will be run again")
    return DeliveryOutcome(delivered=False, detail=f"{ended}; run the command by hand to see why", permanent=True)


def format_status(status: int) -> str:
    """`429 Too Many Requests`; only the number where it has no name."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def parse_retry_after(response: Response) -> timedelta | None:
    """How long the server asks to wait, in any of the usual forms; the longest where there are several."""
    forms = (
        _parse_retry_after_header(response.headers.get("retry-after", ""), response.received_at),
        _parse_seconds(response.headers.get("x-ratelimit-reset-after")),
        _parse_seconds(get_json_field(response.body, "retry_after")),
        _parse_seconds(get_json_field(response.body, "parameters", "retry_after")),  # Telegram
    )
    return max((wait for wait in forms if wait is not None), default=None)


def _parse_retry_after_header(value: str, at: datetime) -> timedelta | None:
    """RFC 9110 section 10.2.3: seconds, or a date."""
    seconds = _parse_seconds(value)
    if seconds is not None:
        return seconds
    until = parse_http_date(value)
    return None if until is None else min(MAX_RETRY_AFTER, max(timedelta(0), until - at))


def _parse_seconds(value: object) -> timedelta | None:
    """Seconds as a number or its text, between 0 and a day; None for anything else."""
    try:
        seconds = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    if isinstance(value, bool) or not math.isfinite(seconds) or seconds < 0:
        return None
    return timedelta(seconds=min(seconds, MAX_RETRY_AFTER.total_seconds()))


def get_json_field(body: bytes, *path: str) -> object:
    """The value at that path of names in a JSON object; None where the body is none or lacks it."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def explain_error(error: Exception) -> str:
    """Why nothing was sent, in one line; the text of an unknown error may hold a secret."""
    if isinstance(error, ProviderError):
        return str(error).replace("it is asked again later", "it will be sent again")  # the text is for a poll
    return f"failed with {type(error).__name__}; please report this"


class Notifier(Struct, frozen=True, kw_only=True):
    """One type of channel, with `build_request` or `deliver`."""

    type: str  # the word in TOML: `type = "slack"`
    settings_class: SettingsClass  # the channel's keys in TOML, beside `type`
    build_request: Callable[[Message, Any], Request | Command] | None = None
    interpret_result: Callable[[Any, Any], DeliveryOutcome] = interpret_result  # of a request or command; settings
    deliver: Callable[[Message, Any, Send, Run, OnAction | None], DeliveryOutcome] | None = None  # may try several ways
    is_mirror: bool = False  # shows what fires, again and again; its only message is a test
    secret_settings: tuple[str, ...] = ()  # names of the settings that hold secrets
    template_settings: tuple[str, ...] = ()  # names of those with names in braces; secrets in them are escaped


# --- What several channels need: texts clipped to a limit, usage bars, colours and links ------------------------------


SEVERITY_COLOURS = {Severity.INFO: 0x2F81F7, Severity.WARNING: 0xD29922, Severity.CRITICAL: 0xDA3633}
"""Severity -> 0xRRGGBB, the same on every channel."""

GREEN = 0x2DA44E
"""For alerts that are resolved and windows that were reset."""

APP_NAME = "AI usage watcher"
BAR_WIDTH = 10


def clip(
    text: str,
    limit: int,
    *,
    escape: Callable[[str], str] = str,
    measure: Callable[[str], int] = len,
) -> str:
    """`text` escaped, and ending in an ellipsis where that would measure more than `limit`; never half an escape."""
    whole = escape(text)
    if measure(whole) <= limit:
        return whole
    low, high = 0, len(text)
    while low < high:  # the longest start that fits together with its ellipsis
        middle = (low + high + 1) // 2
        if measure(escape(text[:middle]) + "…") <= limit:
            low = middle
        else:
            high = middle - 1
    return escape(text[:low].rstrip(" \n\u200d\ufe0f")) + "…" if limit > 0 else ""


def count_utf16_units(text: str) -> int:
    """Length as Windows and JavaScript count it."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def count_utf8_bytes(text: str) -> int:
    """Length in bytes."""
    return len(text.encode("utf-8", "replace"))


def get_colour(message: Message) -> int:
    """0xRRGGBB: green where the alert is over, else by severity."""
    return GREEN if message.event in {"resolved", "reset"} else SEVERITY_COLOURS[message.severity]


def format_usage(message: Message) -> str:
    """A bar and the percent used; empty where it is unknown."""
    return (
        ""
        if message.used_percent is None
        else f"{draw_bar(message.used_percent, BAR_WIDTH)} {format_percent(message.used_percent)}"
    )


def format_remaining(message: Message) -> str:
    """What is left, with its unit; empty where it is unknown or repeats the percent."""
    if message.remaining is None or message.unit in {"", "percent"}:
        return ""
    return format_amount(message.remaining, message.unit)


def get_safe_link(message: Message) -> str:
    """The provider's usage page; empty where it is no plain web address."""
    return message.link if re.fullmatch(r"https?://[\w.:-]+(/[\w./?=&%#~+,:@-]*)?", message.link, re.ASCII) else ""


# --- The result of a desktop backend, and what several backends need --------------------------------------------------


TITLE_LIMIT = 200
BODY_LIMIT = 1000
TIMEOUT_S = 2.0
"""For one backend's whole attempt on Linux, where a notification daemon may hang."""


class BackendResult(Struct, frozen=True, kw_only=True):
    """Delivered (True), failed (False) or unknown (None), and why."""

    delivered: bool | None
    reason: str  # one line, no text of the message
    accepted: bool = False  # unknown, but the system took it: sending again would only repeat it
    is_bus_hung: bool = False  # failed, and so would every backend that uses the session bus


def get_urgency(message: Message) -> int:
    """0 low, 1 normal, 2 critical, by severity. An ended alert is never critical: that would stay until clicked."""
    good = message.event in {"resolved", "reset"}
    return min(message.severity.rank, 1) if good else message.severity.rank


def get_icon(message: Message) -> str:
    """The icon of the severity, by its name in every icon theme."""
    return ("dialog-information", "dialog-warning", "dialog-error")[get_urgency(message)]


def list_actions(message: Message) -> dict[str, str]:
    """What a notification offers: `SNOOZE` or `OPEN_PAGE` -> its words on the button."""
    can_snooze = message.event in FIRING_EVENTS and message.resets_at is not None
    snooze = {SNOOZE: "Snooze until reset"} if can_snooze else {}
    return snooze | ({OPEN_PAGE: "Open usage page"} if get_safe_link(message) else {})


def run_backend(command: Command, run: Run) -> tuple[CommandResult, BackendResult | None]:
    """Run a backend's program. The second value is its failure, None where the exit code is 0."""
    finished = run(command)
    if finished.timed_out:
        return finished, BackendResult(delivered=None, reason=f"{finished.stderr}, so it may have been shown")
    if finished.exit_code is None:
        return finished, BackendResult(delivered=False, reason=finished.stderr)
    if finished.exit_code != 0:
        return finished, BackendResult(
            delivered=False, reason=f"exit code {finished.exit_code}{_format_last_line(finished.stderr)}"
        )
    return finished, None


def _format_last_line(stderr: str) -> str:
    lines = stderr.strip().splitlines()
    return f" ({clean_text(lines[-1], 160)})" if lines else ""
