"""How things stand, as one document: what fills `watcher status --json`.

Built from the store alone, so it answers at once. Never put words for people here.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from watcher.core.hold import over
from watcher.core.kinds import length, level
from watcher.core.memory import Memory, SeriesState, Standing
from watcher.core.model import Delivery, DeliveryState, Failure, Phase, Reading, Series, Snooze
from watcher.core.view import View
from watcher.glance import is_stale
from watcher.notebook import HEARTBEAT_EVERY
from watcher.rows import Account
from watcher.status_document import (
    SCHEMA,
    WAITING,
    AccountStatus,
    AlertStatus,
    Problem,
    Snoozed,
    Status,
    Undelivered,
    Window,
)
from watcher.store import Store

MISSED = 3  # heartbeats after which a daemon that did not say farewell is taken for dead
ON_PACE = 5.0  # points around the even use of a window that are still on pace


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
            _account(each, memory.series, every.get(each.provider), polls.get(each.provider), now) for each in accounts
        ],
        alerts=firing,
        waiting=waiting,
        daemon_running=_is_alive(heartbeat, now),
        daemon_seen_at=None if heartbeat is None else heartbeat[1],
        config_error=None if refused is None else refused[0],
        snoozes=_snoozes(store.snoozes(), memory, now),
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


def written(series: Series, several: Collection[str], names: dict[tuple[str, str], str]) -> str:
    """A series as a person writes it: the account, by its name, only where the provider has several."""
    if series.provider not in several:
        return f"{series.provider}.{series.window}"
    return f"{series.provider}[{names.get((series.provider, series.account)) or series.account}].{series.window}"


def _is_alive(heartbeat: tuple[str, datetime] | None, now: datetime) -> bool:
    return heartbeat is not None and heartbeat[0] == "running" and now - heartbeat[1] < MISSED * HEARTBEAT_EVERY


def _snoozes(known: Iterable[Snooze], memory: Memory, now: datetime) -> list[Snoozed]:
    episodes = {str(series): state.episode for series, state in memory.series.items()}
    return [Snoozed(target=each.target, until=each.until) for each in known if not over(each, now, episodes)]


def _account(
    account: Account,
    series: Mapping[Series, SeriesState],
    every: timedelta | None,
    poll: tuple[datetime, str] | None,
    now: datetime,
) -> AccountStatus:
    """One account: `every` is how often it is asked as a rule, `poll` when next and why."""
    snapshot, failure = account.snapshot, account.failure
    readings = () if snapshot is None else snapshot.readings
    at, next_at = None if snapshot is None else snapshot.at, None if poll is None else poll[0]
    late = is_stale(at, every, next_at, now, failing=failure is not None)
    names = (Series(provider=account.provider, account=account.account, window=each.window) for each in readings)
    return AccountStatus(
        provider=account.provider,
        account=account.name or None,
        plan=None if snapshot is None else snapshot.plan,
        ok=failure is None and snapshot is not None,
        error=None if failure is None else _problem(failure, account.failing_since),
        fetched_at=at,
        stale=late or (bool(readings) and all(reading.stale for reading in readings)),
        note=None if snapshot is None else snapshot.note,
        next_poll_at=next_at,
        next_poll_reason=None if poll is None else poll[1],
        windows=[_window(each, series.get(name), now) for each, name in zip(readings, names, strict=True)],
    )


def _problem(failure: Failure, since: datetime | None) -> Problem:
    return Problem(kind=failure.kind, message=failure.message, retry_at=failure.retry_at, since=since)


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
