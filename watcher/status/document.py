"""The document of `watcher status --json` (contract: `watcher.status.v1`): its records, and how they are written.

Never ask the store here: `watcher.status.builder` fills it.
"""

from datetime import datetime
from decimal import Decimal

import msgspec
from msgspec import Struct

SCHEMA_NAME = "watcher.status.v1"
WAITING_STATE = "waiting"


class WindowStatus(Struct, frozen=True, kw_only=True):
    """One window, as the contract has it. None is unknown."""

    window: str
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
    primary: bool = False  # stands for its account at this moment
    unconfirmed: bool = False  # so unlike the last reading that a second one must confirm it before rules believe it
    projected_percent: float | None = None  # used at the reset, if it goes on as in the last hours
    pace: str | None = None  # "ahead" of even use over the window (it may run dry), "on", "behind"


class Problem(Struct, frozen=True, kw_only=True):
    """Why a provider gave nothing at the last poll."""

    kind: str
    message: str
    retry_at: datetime | None
    since: datetime | None


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
    next_poll_at: datetime | None
    next_poll_reason: str | None
    windows: list[WindowStatus]


class AlertStatus(Struct, frozen=True, kw_only=True):
    """One alert that is not at rest: `pending`, `firing`; among `waiting` only `waiting`."""

    rule: str
    series: str
    state: str
    severity: str | None
    since: datetime | None


class UndeliveredMessage(Struct, frozen=True, kw_only=True):
    """A message that waits or was given up."""

    channel: str
    title: str
    state: str
    outcome: str  # what the far side said last, else why it waits
    at: datetime
    attempts: int
    next_attempt_at: datetime | None


class ActiveSnooze(Struct, frozen=True, kw_only=True):
    """A rule or a series that says nothing for now."""

    target: str
    until: datetime | None  # None: until the reset


class StatusDocument(Struct, frozen=True, kw_only=True):
    """The whole document."""

    schema: str
    generated_at: datetime
    providers: list[AccountStatus]
    alerts: list[AlertStatus]
    daemon_seen_at: datetime | None
    config_error: str | None
    stopped_channels: dict[str, str]
    undelivered: list[UndeliveredMessage]
    waiting: list[AlertStatus] = []  # of rules that speak only of the end: the condition holds, and nothing fires
    snoozes: list[ActiveSnooze] = []
    daemon_running: bool = False
    broken_channels: dict[str, str] = {}  # those whose secret cannot be had, and why; their messages wait


def make_empty_status(now: datetime) -> StatusDocument:
    """The document of a machine that was never asked anything."""
    return StatusDocument(
        schema=SCHEMA_NAME,
        generated_at=now,
        providers=[],
        alerts=[],
        daemon_running=False,
        daemon_seen_at=None,
        config_error=None,
        broken_channels={},
        stopped_channels={},
        undelivered=[],
    )


def format_json(document: Struct) -> str:
    """A document as indented JSON: money and counts as numbers, instants in UTC with a `Z`."""
    return msgspec.json.format(msgspec.json.Encoder(decimal_format="number").encode(document), indent=2).decode()
