"""The records of `watcher status --json` and `status.json` (contract: `watcher.status.v1`). None is unknown."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from watcher.status.bars import FILE_NAME, MAX_BYTES, SCHEMA_NAME, format_line, is_stale
from watcher.system.files import read_file

HEARTBEAT_EVERY = timedelta(minutes=5)  # how often a running daemon saves its heartbeat
MAX_MISSED_HEARTBEATS = 3  # heartbeats after which a daemon that did not report its end counts as dead
WAITING_STATE = "waiting"
NO_ROUTE = "[route]"  # among the broken channels: no route leads to any


class WindowStatus(Struct, frozen=True, kw_only=True):
    """One window of an account: a `Reading`, and what is known of its series."""

    window: str
    series: str = ""  # as `alerts` name it
    kind: str
    label: str
    used_percent: float | None
    used: Decimal | None
    limit: Decimal | None
    remaining: Decimal | None
    unit: str
    unlimited: bool
    resets_at: datetime | None
    window_seconds: int | None
    stale: bool
    blocked: bool | None = None  # whether the provider refuses requests
    primary: bool = False  # represents its account in a status bar
    unconfirmed: bool = False  # suspect: rules believe it only after a second reading confirms it
    projected_percent: float | None = None  # used at the reset if use goes on as in the last hours
    pace: str | None = None  # "ahead" of even use over the window (it may run dry), "on", "behind"


class Problem(Struct, frozen=True, kw_only=True):
    """Why the last poll of an account failed: a `PollFailure`, and since when polls fail."""

    kind: str
    message: str
    retry_at: datetime | None
    since: datetime | None = None
    incident: str | None = None  # what the vendor's status page reports; `message` says it too
    switched_away: bool = False  # another account is signed in where this one was


class AccountStatus(Struct, frozen=True, kw_only=True):
    """One account of one provider."""

    provider: str
    account: str | None
    plan: str | None
    ok: bool
    error: Problem | None
    fetched_at: datetime | None
    stale: bool
    note: str | None
    poll_every_seconds: float | None  # the provider's usual interval
    next_poll_at: datetime | None
    next_poll_reason: str | None
    windows: list[WindowStatus]
    provider_name: str = ""  # for people


class AlertStatus(Struct, frozen=True, kw_only=True):
    """One alert that is not OK: `pending` or `firing`; in the list `waiting`, only `waiting`."""

    rule: str
    series: str
    state: str
    severity: str | None
    since: datetime | None


class UndeliveredMessage(Struct, frozen=True, kw_only=True):
    """A message that waits in the outbox, or was given up."""

    channel: str
    title: str
    state: str
    outcome: str  # the receiver's last answer, else the reason why it waits
    at: datetime
    attempts: int
    next_attempt_at: datetime | None


class ActiveSnooze(Struct, frozen=True, kw_only=True):
    """A rule or a series that is snoozed."""

    target: str
    until: datetime | None  # None: until the reset


class AlertmanagerStatus(Struct, frozen=True, kw_only=True):
    """What one Alertmanager of a channel last answered."""

    channel: str
    address: str  # host, port and prefix
    delivered: bool
    answer: str
    since: datetime  # when it first answered so


class StatusDocument(Struct, frozen=True, kw_only=True):
    """The whole document."""

    schema: str = SCHEMA_NAME
    generated_at: datetime
    providers: list[AccountStatus] = []
    alerts: list[AlertStatus] = []
    waiting: list[AlertStatus] = []  # of rules that notify only at the end: their condition holds
    snoozes: list[ActiveSnooze] = []
    daemon_running: bool = False
    daemon_seen_at: datetime | None = None
    config_error: str | None = None
    database_error: str | None = None
    broken_channels: dict[str, str] = {}  # channels whose secret is not available, and why; their messages wait
    metrics_problems: dict[str, str] = {}  # export (listen, textfile, push, salt) -> problem
    alertmanagers: list[AlertmanagerStatus] = []
    stopped_channels: dict[str, str] = {}  # channels that refused permanently, and what they answered
    undelivered: list[UndeliveredMessage] = []
    line: str = ""  # the primary windows as one line of text


_ENCODER = msgspec.json.Encoder(decimal_format="number")
_DECODER = msgspec.json.Decoder(StatusDocument)
"""Made when this module is loaded: msgspec 0.22 crashes where two threads need a type of record for the first time."""


def encode_json(document: Struct | Mapping[str, Any]) -> bytes:
    """A document as JSON: money and counts as numbers, instants in UTC with a `Z`."""
    return _ENCODER.encode(document)


def format_json(document: Struct | Mapping[str, Any]) -> str:
    """The same, indented."""
    return msgspec.json.format(encode_json(document), indent=2).decode()


def update_status(document: StatusDocument, now: datetime) -> StatusDocument:
    """The document with what the time alone changes: staleness, expired snoozes, a daemon that stopped reporting."""
    seen = document.daemon_seen_at
    document = replace(
        document,
        generated_at=now,
        providers=[_update_account(account, now) for account in document.providers],
        snoozes=[each for each in document.snoozes if each.until is None or each.until > now],
        daemon_running=document.daemon_running and seen is not None and is_heartbeat_recent(seen, now),
    )
    return replace(document, line=format_line(json.loads(encode_json(document)), now))


def is_heartbeat_recent(at: datetime, now: datetime) -> bool:
    """Whether a daemon that reported at that instant, and has not reported its end, still runs."""
    return now - at < MAX_MISSED_HEARTBEATS * HEARTBEAT_EVERY


def _update_account(account: AccountStatus, now: datetime) -> AccountStatus:
    late = is_stale(
        account.fetched_at, account.poll_every_seconds, account.next_poll_at, now, failing=account.error is not None
    )
    return replace(
        account,
        stale=late or (bool(account.windows) and all(window.stale for window in account.windows)),
        windows=[
            window if window.resets_at is None or window.resets_at > now else replace(window, pace=None)
            for window in account.windows
        ],
    )


def read_status(state_dir: Path, *, now: datetime) -> StatusDocument | None:
    """The document, brought up to date; None if it is missing or of another version."""
    try:
        document = _DECODER.decode(read_file(state_dir / FILE_NAME, MAX_BYTES))
    except (OSError, msgspec.DecodeError):
        return None
    return update_status(document, now) if document.schema == SCHEMA_NAME else None
