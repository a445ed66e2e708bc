"""The records that all packages share: series and readings, requests, alerts, deliveries.

Glossary, the same words in TOML, code, commands, database and documents:

- **provider**: a service with quotas (`claude`, `codex`, ...).
- **account**: one login of a provider. Its key is stable: account id, else email, else a short token hash.
- **window**: one quota of an account, with or without a length (`five_hour`, `premium_interactions`, `balance_usd`).
- **series**: provider + account + window: what is measured over time.
- **reading**: the values of one series at one instant. Any of them may be None: unknown, neither 0 nor 100.
- **snapshot**: all readings of one account from one poll. A poll without readings is a **failure**.
- **episode**: the number of resets of a series so far.
- **rule**: a condition, with what to do when it holds.
- **alert**: the state of one rule for one series: ok, pending or firing, with a severity.
- **transition**: a change of an alert, and its reason. Everything downstream uses this record.
- **delivery**: one message to one channel; the **outbox** is all that are not yet done.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping  # noqa: TC003 - msgspec reads these annotations when it decodes
from datetime import UTC, datetime, timedelta
from decimal import Decimal  # noqa: TC003 - likewise
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path  # noqa: TC003 - likewise
from typing import Any

from msgspec import Struct, field

# --- series and readings ---


class Series(Struct, frozen=True, order=True, cache_hash=True):
    """What is measured over time.

    `account` is the account's stable key; empty for the only account of a provider that names none. `window` is empty
    only for a provider that has not answered yet and whose windows are unknown until then.
    """

    provider: str
    window: str
    account: str = ""

    def __str__(self) -> str:
        account = f"[{self.account}]" if self.account else ""
        return f"{self.provider}{account}.{self.window}" if self.window else self.provider + account


class WindowKind(StrEnum):
    """A window's kind by its length; a selector may use it: `*.weekly`."""

    SESSION = "session"  # up to 6 hours
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    BALANCE = "balance"  # money or credits that do not reset
    OTHER = "other"  # any other length, or none known


class Reading(Struct, frozen=True, kw_only=True):
    """The values of one window at one instant. None is unknown, which is never 0 and never 100."""

    window: str
    kind: WindowKind
    label: str = ""  # for people: "5-hour window"
    used_percent: float | None = None  # 0..100, more in overage
    used: Decimal | None = None
    limit: Decimal | None = None
    remaining: Decimal | None = None  # negative in overage
    unit: str = "percent"  # percent, requests, tokens, credits, images, usd or another currency, ...
    resets_at: datetime | None = None  # aware UTC
    window_seconds: int | None = None
    unlimited: bool = False
    blocked: bool | None = None  # whether the provider refuses work that this window counts
    stale: bool = False  # the source itself says that the value is old (a cache past its reset)
    provisional: bool = False  # of a name that tells nothing: only a rule that names it counts it, until it was used
    low_confidence: bool = False  # known to be unreliable (Gemini without a project): shown, not evaluated
    source: str = "api"  # api, cache, server; statusline, session: what a tool noted of the API's answers


class Snapshot(Struct, frozen=True, kw_only=True):
    """All readings of one account from one poll, in the order of the answer."""

    provider: str
    account: str = ""  # stable key
    account_name: str = ""  # for people and selectors: the email or login if known, else the key
    plan: str | None = None
    at: datetime  # when the answer was received, aware UTC
    readings: tuple[Reading, ...] = ()
    note: str | None = None  # one line for `status`: "grace period until ...", "no project: low confidence"
    complete: bool = True  # False: part of an answer; windows that are not in it may still exist


class PollFailure(Struct, frozen=True, kw_only=True):
    """A poll without readings. `kind` is `error.kind` of `status --json`."""

    provider: str
    account: str = ""
    account_name: str = ""
    at: datetime
    kind: str
    message: str  # one line, no secret, says what to do
    retry_at: datetime | None = None  # do not poll again before
    status: int = 0  # the HTTP status where the server failed
    incident: str | None = None  # what the vendor's status page reports; `message` says it too
    switched_away: bool = False  # another account is signed in where this one was


PollResult = Snapshot | PollFailure
"""The result of a poll of one account."""


class Pace(Struct, frozen=True, kw_only=True):
    """How often a provider may and should be polled."""

    floor: timedelta  # never faster
    every: timedelta  # the usual interval
    ceiling: timedelta  # never slower, except after refusals and in cooldowns

    @property
    def requests_per_hour(self) -> int:
        """The requests that one token may make in an hour: twice the usual number, for short bursts at the floor."""
        return max(int(timedelta(hours=1) / self.every * 2), 4)


def make_pace(floor: timedelta, default: timedelta, ceiling: timedelta, every: timedelta | None = None) -> Pace:
    """A provider's pace with the configured `every`, which cannot be below the floor but may exceed the ceiling."""
    usual = max(default if every is None else every, floor)
    return Pace(floor=floor, every=usual, ceiling=max(ceiling, usual))


# --- what a provider yields and receives ---


class Request(Struct, frozen=True, kw_only=True):
    """An HTTP request. Providers and notifiers build it; `watcher.system.http` sends it."""

    method: str = "GET"
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None  # body as JSON, or
    form: Mapping[str, str] | None = None  # body as a form, or
    body: bytes | None = None  # body as it is
    allow_self_signed: bool = False  # accept a self-signed certificate; only for a loopback address
    timeout_s: float = 20.0  # for the whole response
    status_decides: bool = False  # the body may be long, slow or broken: only its beginning is read

    @property
    def host(self) -> str:
        """The host with its port."""
        return re.split(r"[/?#]", self.url.partition("://")[2])[0].rpartition("@")[2]

    def __repr__(self) -> str:
        return f"Request({self.method} {self.host})"  # the rest may be a secret


class Mail(Request, frozen=True, kw_only=True):
    """A mail to submit to the server `smtp://HOST:PORT`, or `smtps://` where TLS comes first; `body` is RFC 5322.

    The `Response` has the SMTP code as its status, and the server's words as its body.
    """

    sender: str
    recipients: tuple[str, ...]
    username: str = ""  # empty: no login
    password: str = ""
    allow_plain: bool = False  # where the server offers no STARTTLS


class NetworkSettings(Struct, frozen=True, kw_only=True):
    """`[network]` of the config. None or empty: what the environment says, else the system."""

    proxy: str | None = None
    no_proxy: str | None = None
    ca_bundle: str = ""  # a file or folder of certificates; empty: the environment's, else the system's

    def find_ca_bundle(self, env: Mapping[str, str]) -> tuple[str, str]:
        """What names the trusted certificates, and their file or folder; both empty: the system's."""
        if self.ca_bundle:
            return "`ca_bundle` under [network]", self.ca_bundle
        return next(((name, env[name]) for name in CA_BUNDLE_VARIABLES if env.get(name)), ("", ""))


CA_BUNDLE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Each names a file or folder that is trusted in place of the system's certificates; the first counts."""


def is_loopback(host: str) -> bool:
    """Whether that host is this machine by its address or `localhost`; names are not looked up."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def parse_http_date(text: str) -> datetime | None:
    """The aware instant of an HTTP header; None if it names none."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - sockets and more, only where a response was received

    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


class Response(Struct, frozen=True, kw_only=True):
    """The response to a `Request`, with any status; redirects to another host are not followed."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    body: bytes = b""  # at most 2 MiB, decompressed
    received_at: datetime  # aware UTC
    clock_ahead: timedelta | None = None  # how far this machine's clock is ahead of the server's


class DatabaseQuery(Struct, frozen=True, kw_only=True):
    """A read-only query of another program's SQLite file. The answer is a `QueryResult`."""

    path: str
    sql: str
    parameters: tuple[str, ...] = ()


class QueryResult(Struct, frozen=True, kw_only=True):
    """The result of a `DatabaseQuery`: rows of SQLite values; none if the table is missing."""

    rows: tuple[tuple[Any, ...], ...]
    modified_at: datetime  # the newer of the modification times of the file and its WAL
    received_at: datetime


class Command(Struct, frozen=True, kw_only=True):
    """A program to run, as an argument list without a shell. `watcher.system.process` runs it."""

    argv: tuple[str, ...]
    stdin: str = ""
    env: Mapping[str, str] = field(default_factory=dict)  # added to a small allow-list
    timeout_s: float = 10.0
    max_output_bytes: int = 64 * 1024  # kept of each of stdout and stderr

    def __repr__(self) -> str:
        return f"Command({', '.join(self.argv[:1])})"  # the rest may be a secret


class CommandResult(Struct, frozen=True, kw_only=True):
    """How a `Command` ended. `exit_code` is None if it was killed at its time limit or could not be started."""

    exit_code: int | None
    stdout: str = ""
    stderr: str = ""  # also says why it could not be started
    timed_out: bool = False  # it was killed at its time limit, and may have done its work


class HostInfo(Struct, frozen=True, kw_only=True):
    """This machine, passed in so that tests can provide one."""

    home: Path
    env: Mapping[str, str]
    platform: str  # as sys.platform: linux, darwin, win32
    name: str = ""  # for people: "laptop"
    run_command: Callable[[Command], CommandResult]  # for the macOS Keychain
    read_database: Callable[[DatabaseQuery], QueryResult]  # for OpenCode 2 and Antigravity
    force_refresh: bool = False  # a token was just refused: do not rely on what a Keychain gave a minute ago
    proc_path: Path | None = None  # Linux's /proc; None: running programs are not searched for files
    read_credential: Callable[[str], bytes] = lambda _target: b""  # of the Windows Credential Manager; empty: none


# --- alerts ---


class Severity(StrEnum):
    """How much an alert matters."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0, 1, 2: least first."""
        return ("info", "warning", "critical").index(self.value)


class AlertPhase(StrEnum):
    """The phase of an alert."""

    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"


class AlertEvent(StrEnum):
    """What happened to an alert."""

    FIRING = "firing"
    ESCALATED = "escalated"
    REMINDER = "reminder"
    RESOLVED = "resolved"
    RESET = "reset"  # the window was reset; only for rules with `on = ["reset"]`


FIRING_EVENTS = frozenset({AlertEvent.FIRING, AlertEvent.ESCALATED, AlertEvent.REMINDER})
"""The events after which an alert is firing; after the others it is over."""


class Facts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What messages may use beyond the reading, as of a transition. None is unknown."""

    increase: float | None = None  # of `used` in this episode
    rate: float | None = None  # percent per hour
    projected: float | None = None  # percent at the reset
    exhausts_in_s: float | None = None
    age_s: float | None = None  # of the last reading
    error: str | None = None  # one line
    error_kind: str | None = None
    plan: str | None = None
    spent: tuple[tuple[str, datetime | None], ...] | None = None  # other windows that are used up: label, reset


class Transition(Struct, frozen=True, kw_only=True):
    """One change of one alert. Everything downstream uses this record and never reads the current state again."""

    at: datetime  # when it was decided
    rule: str
    series: Series
    account_name: str = ""
    episode: int
    event: AlertEvent
    severity: Severity
    reason: str  # "above", "escalated", "remind", "recovered", "reset", ...
    since: datetime  # when the condition became true, which may be before `at`
    reading: Reading | None = None  # the last believed reading
    notified_severities: tuple[Severity, ...] = ()  # of the alert's earlier messages: its end goes to their channels
    occurrence: int = 1  # counts this event in the episode: firing again after a recovery is 2, a second reminder is 2
    facts: Facts = Facts()

    @property
    def alert_id(self) -> str:
        """The identity of the alert. A later message of the same alert may replace an earlier one."""
        return f"{self.rule}|{self.series}"

    @property
    def key(self) -> str:
        """The identity of the transition across restarts: it contains no time, value or text."""
        level = f"|{self.severity}" if self.event is AlertEvent.ESCALATED else ""
        repeat = f"|{self.occurrence}" if self.occurrence > 1 else ""
        return f"{self.rule}|{self.series}|{self.episode}|{self.event}{level}{repeat}"


# --- deliveries ---


class Message(Struct, frozen=True, kw_only=True):
    """A complete message: a notifier needs nothing else. Plain text; each channel escapes it for itself."""

    id: str  # the delivery's key: the same in every attempt, so that a receiver can recognize a repeat
    thread: str  # the alert's identity: on some channels a message replaces the last one with the same thread
    event: str  # firing, escalated, reminder, resolved, reset, digest, notice, test
    severity: Severity
    title: str
    body: str
    rule: str = ""
    provider: str = ""
    account: str = ""
    window: str = ""
    label: str = ""
    used_percent: float | None = None
    remaining: Decimal | None = None
    unit: str = ""
    resets_at: datetime | None = None
    at: datetime
    since: datetime
    link: str = ""  # the provider's usage page


class DeliveryState(StrEnum):
    """The state of a delivery. Only `queued` and `held` are in the outbox."""

    QUEUED = "queued"
    HELD = "held"  # until the end of quiet hours or of a snooze
    SENT = "sent"
    WITHDRAWN = "withdrawn"  # no longer true before it was sent
    DEAD = "dead"  # expired, or its channel is no longer configured


class Delivery(Struct, frozen=True, kw_only=True):
    """One message to one channel."""

    id: int = 0  # given by the store
    key: str  # unique with the channel
    channel: str
    message: Message
    reason: str  # why it is sent, or held
    transitions: tuple[Transition, ...] = ()  # one; several for a digest; none for a notice
    state: DeliveryState = DeliveryState.QUEUED
    attempts: int = 0
    in_doubt: bool = False  # the result of an attempt is unknown: the message may have arrived
    was_in_doubt: bool = False  # the current attempt follows one with an unknown result, so its failure proves nothing
    created_at: datetime
    next_attempt_at: datetime
    expires_at: datetime
    last_response: str = ""  # what the channel answered last
    attempted_at: datetime | None = None  # of the attempt that `next_attempt_at` follows


class DeliveryOutcome(Struct, frozen=True, kw_only=True):
    """How one attempt at a delivery ended."""

    delivered: bool | None  # None: unknown (no answer came, or the system gives none)
    detail: str  # one line, no secret
    permanent: bool = False
    retry_after: timedelta | None = None  # if delivered: the pause that the channel asks for before the next message
    accepted: bool = False  # with `delivered=None`: the system accepted it and never confirms, so it is not resent


class Snooze(Struct, frozen=True, kw_only=True):
    """Mutes a rule or a series for a while; `watcher.core.routing.planner` applies it."""

    target: str  # a rule's name, or a series as written: `claude.five_hour`, `claude`, `*.weekly`
    created_at: datetime
    expires_at: datetime | None = None  # None: until a reset or a higher level
    episodes: Mapping[str, int] | None = None  # until the reset: series as text -> its episode when it was snoozed
    severity: Severity | None = None  # the highest that was firing when snoozed; a higher one ends the snooze


class StoppedChannel(Struct, frozen=True, kw_only=True):
    """A channel that failed permanently. It gets no messages until its settings change."""

    channel: str
    settings_fingerprint: str  # fingerprint of the settings that failed
    stopped_at: datetime
    detail: str  # what the channel answered, no secret
