"""How things stand, as one document: the records behind `watcher status --json` (contract: `watcher.status.v1`).

Built from the store alone, so it answers at once. Never put words for people here.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec
from msgspec import Struct

from watcher.core.hold import over
from watcher.core.kinds import length, level
from watcher.core.memory import Memory, SeriesState, Standing
from watcher.core.model import Delivery, DeliveryState, Phase, Reading, Series
from watcher.core.view import View
from watcher.glance import is_stale
from watcher.rows import Account
from watcher.store import Store

SCHEMA = "watcher.status.v1"
WAITING = "waiting"
HEARTBEAT_EVERY = timedelta(minutes=5)
MISSED = 3  # heartbeats after which a daemon that did not say farewell is taken for dead
ON_PACE = 5.0  # points around the even use of a window that are still on pace


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
    windows: list[Window]


class AlertStatus(Struct, frozen=True, kw_only=True):
    """One alert that is not at rest: `pending`, `firing`; among `waiting` only `waiting`."""

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
    outcome: str  # what the far side said last, else why it waits
    at: datetime
    attempts: int
    next_attempt_at: datetime | None


class Snoozed(Struct, frozen=True, kw_only=True):
    """A rule or a series that says nothing for now."""

    target: str
    until: datetime | None  # None: until the reset


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
    waiting: list[AlertStatus] = []  # of rules that speak only of the end: the condition holds, and nothing fires
    snoozes: list[Snoozed] = []
    daemon_running: bool = False
    broken_channels: dict[str, str] = {}  # those whose secret cannot be had, and why; their messages wait


def status(store: Store, *, now: datetime) -> Status:
    """What the store knows, judged for freshness at `now`."""
    accounts = store.accounts()
    memory = store.memory()
    heartbeat = store.fact("heartbeat")
    refused = refusal(store)
    every, polls = _seconds(store.fact("every")), store.next_polls()
    firing, waiting = _alerts(memory, accounts, _names(store.fact("waiting_rules")))
    return Status(
        schema=SCHEMA,
        generated_at=now,
        providers=[
            _account(
                account,
                series=memory.series,
                every=every.get(account.provider),
                poll=polls.get(account.provider),
                now=now,
            )
            for account in accounts
        ],
        alerts=firing,
        waiting=waiting,
        daemon_running=heartbeat is not None
        and heartbeat[0] == "running"
        and now - heartbeat[1] < MISSED * HEARTBEAT_EVERY,
        daemon_seen_at=None if heartbeat is None else heartbeat[1],
        config_error=None if refused is None else refused[0],
        snoozes=[
            Snoozed(target=snooze.target, until=snooze.until)
            for snooze in store.snoozes()
            if not over(snooze, now, {str(series): state.episode for series, state in memory.series.items()})
        ],
        broken_channels=_broken(store.fact("broken_channels")),
        stopped_channels={stop.channel: stop.detail for stop in store.stops()},
        undelivered=[
            _undelivered(delivery)
            for delivery in [*store.outbox(), *store.deliveries(DeliveryState.DEAD, since=now - timedelta(days=7))]
        ],
    )


def refusal(store: Store) -> tuple[str, datetime] | None:
    """What was wrong with the config when it was last read, and when that was; None where nothing was."""
    found = (store.fact(name) for name in ("config_error", "config_refused"))
    return next((fact for fact in found if fact is not None and fact[0]), None)


def _alerts(
    memory: Memory, accounts: Sequence[Account], silent: Collection[str]
) -> tuple[list[AlertStatus], list[AlertStatus]]:
    """Every alert that is not at rest, by rule and series; and apart from them, those of the rules that only wait."""
    several = {a.provider for a in accounts if sum(b.provider == a.provider for b in accounts) > 1}
    names = {(account.provider, account.account): account.name for account in accounts}
    found: tuple[list[AlertStatus], list[AlertStatus]] = ([], [])
    for state in sorted(memory.alerts.values(), key=lambda state: (state.rule, state.series)):
        waits = state.rule in silent
        if state.phase is Phase.OK or (waits and state.phase is not Phase.FIRING):
            continue
        found[waits].append(
            AlertStatus(
                rule=state.rule,
                series=written(state.series, several, names),
                state=WAITING if waits else state.phase.value,
                severity=None if state.severity is None else state.severity.value,
                since=state.since,
            )
        )
    return found


def empty(now: datetime) -> Status:
    """The document of a machine that was never asked anything."""
    return Status(
        schema=SCHEMA,
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


def written(series: Series, several: Collection[str], names: dict[tuple[str, str], str]) -> str:
    """A series as a person writes it: the account, by its name, only where the provider has several."""
    if series.provider not in several:
        return f"{series.provider}.{series.window}"
    return f"{series.provider}[{names.get((series.provider, series.account)) or series.account}].{series.window}"


def _account(
    account: Account,
    *,
    series: Mapping[Series, SeriesState],
    every: timedelta | None,
    poll: tuple[datetime, str] | None,
    now: datetime,
) -> AccountStatus:
    snapshot, failure = account.snapshot, account.failure
    readings = () if snapshot is None else snapshot.readings
    at, next_at = None if snapshot is None else snapshot.at, None if poll is None else poll[0]
    key = account.provider, account.account
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
        fetched_at=at,
        stale=is_stale(at, every, next_at, now, failing=failure is not None)
        or (bool(readings) and all(reading.stale for reading in readings)),
        note=None if snapshot is None else snapshot.note,
        next_poll_at=next_at,
        next_poll_reason=None if poll is None else poll[1],
        windows=[
            _window(reading, series.get(Series(provider=key[0], account=key[1], window=reading.window)), now)
            for reading in readings
        ],
    )


def _window(reading: Reading, state: SeriesState | None, now: datetime) -> Window:
    view = None if state is None else View(state, now, lasting=True)
    projected = None if view is None else view.worth("projected")
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
        primary=state is not None and state.primary,
        unconfirmed=state is not None and state.standing in (Standing.SUSPECT, Standing.FROZEN),
        projected_percent=projected if isinstance(projected, float) else None,
        pace=pace(reading, now),
    )


def pace(reading: Reading, now: datetime) -> str | None:
    """How the use of a window compares with an even use over its whole length; None where one of them is unknown."""
    used, whole = level(reading), length(reading)
    if used is None or whole is None or reading.resets_at is None or not now < reading.resets_at <= now + whole:
        return None
    even = 100 * (1 - (reading.resets_at - now) / whole)
    return "ahead" if used > even + ON_PACE else "behind" if used < even - ON_PACE else "on"


def _undelivered(delivery: Delivery) -> Undelivered:
    waits = delivery.state is DeliveryState.QUEUED
    return Undelivered(
        channel=delivery.channel,
        title=delivery.message.title,
        state=delivery.state.value,
        outcome=delivery.outcome or delivery.reason,
        at=delivery.created_at,
        attempts=delivery.attempts,
        next_attempt_at=delivery.next_attempt_at if waits else None,
    )


def _seconds(fact: tuple[str, datetime] | None) -> dict[str, timedelta]:
    found = {} if fact is None else msgspec.json.decode(fact[0], type=dict[str, float])
    return {provider: timedelta(seconds=each) for provider, each in found.items()}


def _names(fact: tuple[str, datetime] | None) -> frozenset[str]:
    return frozenset() if fact is None else msgspec.json.decode(fact[0], type=frozenset[str])


def _broken(fact: tuple[str, datetime] | None) -> dict[str, str]:
    found = {} if fact is None else msgspec.json.decode(fact[0], type=dict[str, str])
    return {name: why for name, why in found.items() if not name.startswith("channels.")}


def as_json(document: Struct) -> str:
    """A document as indented JSON: money and counts as numbers, instants in UTC with a `Z`."""
    return msgspec.json.format(msgspec.json.Encoder(decimal_format="number").encode(document), indent=2).decode()
