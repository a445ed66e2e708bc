"""How things stand, as one document: the records behind `watcher status --json` (contract: `watcher.status.v1`).

Built from the store alone, so it answers at once. Never put words for people here.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec
from msgspec import Struct

from watcher.core.model import DeliveryState, Phase, Reading, Series
from watcher.rows import Account
from watcher.store import Store

SCHEMA = "watcher.status.v1"
FRESH_POLLS = 3  # a reading older than this many polls is stale
HEARTBEAT_EVERY = timedelta(minutes=5)


class Window(Struct, frozen=True, kw_only=True):
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
    windows: list[Window]


class AlertStatus(Struct, frozen=True, kw_only=True):
    """One alert that is not at rest."""

    rule: str
    series: str
    state: str
    severity: str | None
    since: datetime | None


class Undelivered(Struct, frozen=True, kw_only=True):
    """A message that waits or was given up."""

    channel: str
    title: str
    state: str
    outcome: str
    at: datetime


class Status(Struct, frozen=True, kw_only=True):
    """The whole document."""

    schema: str
    generated_at: datetime
    providers: list[AccountStatus]
    alerts: list[AlertStatus]
    daemon_seen_at: datetime | None
    config_error: str | None
    stopped_channels: dict[str, str]
    undelivered: list[Undelivered]


def status(store: Store, *, every: dict[str, timedelta], now: datetime) -> Status:
    """What the store knows, judged for freshness at `now`; `every` is each provider's poll interval."""
    accounts = store.accounts()
    several = {a.provider for a in accounts if sum(b.provider == a.provider for b in accounts) > 1}
    names = {(account.provider, account.account): account.name for account in accounts}
    polls = store.next_polls()
    heartbeat = store.fact("heartbeat")
    config_error = store.fact("config_error")
    return Status(
        schema=SCHEMA,
        generated_at=now,
        providers=[
            _account(account, every=every.get(account.provider), poll=polls.get(account.provider), now=now)
            for account in accounts
        ],
        alerts=[
            AlertStatus(
                rule=state.rule,
                series=written(state.series, several, names),
                state=state.phase.value,
                severity=None if state.severity is None else state.severity.value,
                since=state.since,
            )
            for state in sorted(store.memory().alerts.values(), key=lambda state: (state.rule, state.series))
            if state.phase is not Phase.OK
        ],
        daemon_seen_at=None if heartbeat is None else heartbeat[1],
        config_error=None if config_error is None else config_error[0] or None,
        stopped_channels={stop.channel: stop.detail for stop in store.stops()},
        undelivered=[
            Undelivered(
                channel=delivery.channel,
                title=delivery.message.title,
                state=delivery.state.value,
                outcome=delivery.outcome,
                at=delivery.created_at,
            )
            for delivery in [
                *store.outbox(),
                *store.deliveries(DeliveryState.DEAD, since=now - timedelta(days=7)),
            ]
        ],
    )


def written(series: Series, several: Collection[str], names: dict[tuple[str, str], str]) -> str:
    """A series as a person writes it: the account, by its name, only where the provider has several."""
    if series.provider not in several:
        return f"{series.provider}.{series.window}"
    return f"{series.provider}[{names.get((series.provider, series.account)) or series.account}].{series.window}"


def _account(
    account: Account, *, every: timedelta | None, poll: tuple[datetime, str] | None, now: datetime
) -> AccountStatus:
    snapshot, failure = account.snapshot, account.failure
    too_old = snapshot is None or (every is not None and now - snapshot.at > FRESH_POLLS * every)
    readings = () if snapshot is None else snapshot.readings
    return AccountStatus(
        provider=account.provider,
        account=account.name or None,
        plan=None if snapshot is None else snapshot.plan,
        ok=failure is None and snapshot is not None,
        error=None
        if failure is None
        else Problem(
            kind=failure.kind, message=failure.message, retry_at=failure.retry_at, since=account.failing_since
        ),
        fetched_at=None if snapshot is None else snapshot.at,
        stale=too_old or (bool(readings) and all(reading.stale for reading in readings)),
        note=None if snapshot is None else snapshot.note,
        next_poll_at=None if poll is None else poll[0],
        next_poll_reason=None if poll is None else poll[1],
        windows=[_window(reading) for reading in readings],
    )


def _window(reading: Reading) -> Window:
    return Window(
        window=reading.window,
        kind=reading.kind.value,
        label=reading.label,
        used_percent=reading.used_percent,
        used=reading.used,
        limit=reading.limit,
        remaining=reading.remaining,
        unit=reading.unit,
        unlimited=reading.unlimited,
        resets_at=reading.resets_at,
        window_seconds=reading.window_seconds,
        stale=reading.stale,
    )


def as_json(document: Struct) -> str:
    """A document as indented JSON: money and counts as numbers, instants in UTC with a `Z`."""
    return msgspec.json.format(msgspec.json.Encoder(decimal_format="number").encode(document), indent=2).decode()
