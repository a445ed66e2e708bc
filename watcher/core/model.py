"""The nouns, each a frozen record. Never put behaviour here beyond what a noun says of itself.

One file although it is a long one: almost every line is a field with its meaning and unit, and whoever looks for a
noun looks in one place.

Glossary, the same words in TOML, code, commands, database and documents:

- **provider**: a service with quotas (`claude`, `codex`, ...).
- **account**: one login of a provider. Its key is stable: account id, else email, else a short token hash.
- **window**: one quota of an account, with or without a length (`five_hour`, `premium_interactions`, `balance_usd`).
- **series**: provider + account + window: what is followed over time.
- **reading**: what one answer says of one series at one instant. Any field may be None: unknown, neither 0 nor 100.
- **snapshot**: all readings of one account from one poll. A poll that gave none is a **failure**.
- **episode**: the count of a series' resets so far: which turn of the window this is.
- **rule**: a condition that a person wrote, with what to do when it holds.
- **alert**: one rule held against one series: ok, pending or firing, with a severity.
- **transition**: an alert changed, and why. The record that everything after it uses.
- **delivery**: one message on its way to one channel; the **outbox** is all that are not yet done.
- **silence**: why something was not said: snooze, quiet hours, hysteresis, suspect, frozen, duplicate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003 - msgspec reads these annotations when it decodes
from datetime import datetime, timedelta
from decimal import Decimal  # noqa: TC003 - likewise
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

# --- what is followed -------------------------------------------------------------------------------------------


class Series(Struct, frozen=True, order=True, cache_hash=True):
    """What is followed over time.

    `account` is the account's stable key, empty where there is only one, nameless. `window` is empty only for a
    provider that has not answered yet and whose windows nobody can know.
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
    BALANCE = "balance"  # money or credits that do not come back by themselves
    OTHER = "other"  # a length that has no name, or none known


class Reading(Struct, frozen=True, kw_only=True):
    """What one answer says of one window at one instant. None is unknown, which is never 0 and never 100."""

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
    stale: bool = False  # the source itself says that this is old (a cache past its reset)
    low_confidence: bool = False  # known to be unreliable (Gemini without a project): shown, never judged
    source: str = "api"  # api, cache, server, statusline


class Snapshot(Struct, frozen=True, kw_only=True):
    """All readings of one account from one poll, in the order of the answer."""

    provider: str
    account: str = ""  # stable key
    account_name: str = ""  # for people and for selectors: the email or login where known, else the key
    plan: str | None = None
    at: datetime  # when the answer was received, aware UTC
    readings: tuple[Reading, ...] = ()
    note: str | None = None  # one line for `status`: "grace period until ...", "no project: low confidence"
    whole: bool = True  # a window that is not in it is missing; False: part of an answer, it says nothing of the rest


class PollFailure(Struct, frozen=True, kw_only=True):
    """A poll that gave no reading. `kind` is one of the contract's words (`status --json`: `error.kind`)."""

    provider: str
    account: str = ""
    account_name: str = ""
    at: datetime
    kind: str
    message: str  # one line, no secret, says what to do
    retry_at: datetime | None = None  # not to be asked again before


PollResult = Snapshot | PollFailure
"""What a poll of one account gave."""


class Pace(Struct, frozen=True, kw_only=True):
    """How often one provider may and should be asked."""

    floor: timedelta  # never faster
    every: timedelta  # the usual interval
    ceiling: timedelta  # never slower, refusals and cooldowns aside

    @property
    def requests_per_hour(self) -> int:
        """Requests one token may make in an hour: bursts at the floor are short, twice the usual is enough for them."""
        return max(int(timedelta(hours=1) / self.every * 2), 4)


def make_pace(floor: timedelta, default: timedelta, ceiling: timedelta, every: timedelta | None = None) -> Pace:
    """A provider's pace with the person's own `every`, which never undercuts the floor and may exceed the ceiling."""
    usual = max(default if every is None else every, floor)
    return Pace(floor=floor, every=usual, ceiling=max(ceiling, usual))


# --- conversation with a source: what a provider yields and receives -----------------------------------------------


class Request(Struct, frozen=True, kw_only=True):
    """An HTTP request. Providers and notifiers build it; `watcher.system.http` sends it."""

    method: str = "GET"
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None  # body as JSON, or
    form: Mapping[str, str] | None = None  # body as a form, or
    body: bytes | None = None  # body as it is
    allow_self_signed: bool = False  # accept a self-signed certificate; refused unless the host is a loopback address
    timeout_s: float = 20.0  # whole answer

    def __repr__(self) -> str:
        host = re.split(r"[/?#]", self.url.partition("://")[2])[0].rpartition("@")[2]
        return f"Request({self.method} {host})"  # the rest may be a secret


class Response(Struct, frozen=True, kw_only=True):
    """The answer to a `Request`. Any status; redirects to another host are not followed."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    body: bytes = b""  # at most 2 MiB, decompressed
    received_at: datetime  # when it was received, aware UTC


class DatabaseQuery(Struct, frozen=True, kw_only=True):
    """A question to another program's SQLite file, asked read-only. Answered by `QueryResult`."""

    path: str
    sql: str
    parameters: tuple[str, ...] = ()
    known_version: str = ""  # the stamp of an earlier answer: an unchanged file is not opened again


class QueryResult(Struct, frozen=True, kw_only=True):
    """The answer to a `DatabaseQuery`: rows of SQLite values; none where the table is missing."""

    rows: tuple[tuple[Any, ...], ...]
    modified_at: datetime  # the newest of the file's and its WAL's modification times
    received_at: datetime
    version: str = ""  # stands for the file and its WAL as they were read; empty where they were changed just then
    unchanged: bool = False  # the file is as the question's `known` says, and was not opened: `rows` is empty


class Command(Struct, frozen=True, kw_only=True):
    """Another program, as an argument list; never a shell. `watcher.system.process` runs it."""

    argv: tuple[str, ...]
    stdin: str = ""
    env: Mapping[str, str] = field(default_factory=dict)  # added to a small allow-list
    timeout_s: float = 10.0

    def __repr__(self) -> str:
        return f"Command({', '.join(self.argv[:1])})"  # the rest may be a secret


class CommandResult(Struct, frozen=True, kw_only=True):
    """How a `Command` ended. `exit_code` is None where it was killed at its time limit or could not be started."""

    exit_code: int | None
    stdout: str = ""
    stderr: str = ""  # also says why it could not be started
    timed_out: bool = False  # it ran until its limit, so it may have done its work


# --- alerts ----------------------------------------------------------------------------------------------------------


class Severity(StrEnum):
    """How much an alert matters, least first."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0, 1, 2: least first."""
        return ("info", "warning", "critical").index(self.value)


class AlertPhase(StrEnum):
    """Where an alert stands."""

    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"


class AlertEvent(StrEnum):
    """What happened to an alert."""

    FIRING = "firing"
    ESCALATED = "escalated"
    REMINDER = "reminder"
    RESOLVED = "resolved"
    RESET = "reset"  # a window turned over; only for rules that ask (`on = ["reset"]`)


FIRING_EVENTS = frozenset({AlertEvent.FIRING, AlertEvent.ESCALATED, AlertEvent.REMINDER})
"""The events after which an alert lasts; after the others it is over."""


class Transition(Struct, frozen=True, kw_only=True):
    """One change of one alert: what everything downstream uses, so that nobody re-reads the present status."""

    at: datetime  # when it was decided
    rule: str
    series: Series
    account_name: str = ""
    episode: int
    event: AlertEvent
    severity: Severity
    reason: str  # "above", "escalated", "remind", "recovered", "reset", ...
    since: datetime  # when it became true, not when it was noticed
    reading: Reading | None = None  # what was believed at that moment
    heard: tuple[Severity, ...] = ()  # under which severities this alert was told of: its end goes where those went
    nth: int = 1  # which one of its event in this episode: firing anew after a recovery is 2, a second reminder is 2
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What templates and wording may use beyond the reading. Plain JSON values, each one left out where unknown:
    `rate` (percent per hour), `projected` (percent at reset), `exhausts_in_s`, `age_s` (seconds), `error` (one line),
    `error_kind` (the contract's words), `spent` (labels of other windows of the account that are used up, each with
    the instant of its reset as ISO text or None: `[["7-day window", "2026-01-05T09:00:00+00:00"], ...]`)."""

    @property
    def alert_id(self) -> str:
        """Identity of the alert: what a later message of the same alert may replace."""
        return f"{self.rule}|{self.series}"

    @property
    def key(self) -> str:
        """Identity across restarts: no timestamp, value or text is part of it. A level and a repeat add theirs."""
        level = f"|{self.severity}" if self.event is AlertEvent.ESCALATED else ""
        repeat = f"|{self.nth}" if self.nth > 1 else ""
        return f"{self.rule}|{self.series}|{self.episode}|{self.event}{level}{repeat}"


# --- delivery ---------------------------------------------------------------------------------------------------------


class Message(Struct, frozen=True, kw_only=True):
    """What a person is told, complete: a sender needs nothing else. Plain text; channels escape for themselves."""

    id: str  # the delivery's key: the same in every attempt, so that a reader can tell a repeat
    thread: str  # the alert's identity: a later message of the same thread replaces the earlier where a channel can
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
    """Where a delivery stands. Only `queued` and `held` are in the outbox."""

    QUEUED = "queued"
    HELD = "held"  # waits for the end of quiet hours or of a snooze
    SENT = "sent"
    WITHDRAWN = "withdrawn"  # overtaken before it was sent
    DEAD = "dead"  # given up: its lifetime is over, or its channel is no longer configured


class Delivery(Struct, frozen=True, kw_only=True):
    """One message on its way to one channel."""

    id: int = 0  # given by the store
    key: str  # unique with the channel
    channel: str
    message: Message
    reason: str  # why it is said, or held
    about: tuple[Transition, ...] = ()  # what the message says: one, several for a digest, none for a notice
    state: DeliveryState = DeliveryState.QUEUED
    attempts: int = 0
    in_doubt: bool = False  # an attempt was begun and no refusal came back: the message may have arrived
    doubted: bool = False  # the attempt under way is another one after such: a refusal of it proves nothing
    created_at: datetime
    next_attempt_at: datetime
    expires_at: datetime
    outcome: str = ""  # what the far side said last


class DeliveryOutcome(Struct, frozen=True, kw_only=True):
    """How one attempt at a delivery ended."""

    delivered: bool | None  # None: nobody can tell (the answer never came, or the system gives none)
    detail: str  # one line in words, no secret
    permanent: bool = False
    retry_after: timedelta | None = None  # when delivered: the pause asked for before the next message
    accepted: bool = False  # with `delivered=None`: the system took it and never says more, so it is not sent again


class Snooze(Struct, frozen=True, kw_only=True):
    """A person's wish not to hear of a rule or a series for a while. `watcher.core.routing.planner` says what it holds back."""

    target: str  # a rule's name, or a series as written: `claude.five_hour`, `claude`, `*.weekly`
    created_at: datetime
    until: datetime | None = None  # None: only a reset or a higher level ends it
    episodes: Mapping[str, int] | None = None  # until the reset: written series -> its episode when snoozed
    severity: Severity | None = None  # the highest level that was firing then; a higher one ends the snooze


class StoppedChannel(Struct, frozen=True, kw_only=True):
    """A channel that refused for good. It takes nothing until its settings change."""

    channel: str
    settings: str  # fingerprint of the settings that were refused, never the settings themselves
    at: datetime
    detail: str  # what the far side said, in words, no secret
