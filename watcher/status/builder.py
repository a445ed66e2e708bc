"""How things stand, as one document: what fills `watcher status --json`.

Built from the store alone, so it answers at once. Never put words for people here.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from watcher.core.engine.metrics import SeriesMetrics
from watcher.core.engine.state import EngineState, SeriesState, Validity
from watcher.core.engine.windows import get_used_percent, get_window_length
from watcher.core.model import AlertPhase, Delivery, DeliveryState, PollFailure, Reading, Series, Snooze
from watcher.core.routing.muting import has_snooze_expired
from watcher.status.document import (
    SCHEMA_NAME,
    WAITING_STATE,
    AccountStatus,
    ActiveSnooze,
    AlertStatus,
    Problem,
    StatusDocument,
    UndeliveredMessage,
    WindowStatus,
)
from watcher.status.fast_reader import is_stale
from watcher.storage.store import HEARTBEAT_EVERY
from watcher.storage.records import Account
from watcher.storage.store import Store

MAX_MISSED_HEARTBEATS = 3  # heartbeats after which a daemon that did not say farewell is taken for dead
ON_PACE_MARGIN_PERCENT = 5.0  # points around the even use of a window that are still on pace


def build_status(store: Store, *, now: datetime) -> StatusDocument:
    """What the store knows, judged for freshness at `now`."""
    accounts = store.accounts.load()
    memory = store.alerts.load_state()
    heartbeat = store.facts.load("heartbeat")
    refused = find_config_error(store)
    every, polls = _decode_intervals(store.facts.load("every")), store.polls.load_next_polls()
    firing, waiting = _build_alert_statuses(memory, accounts, _decode_names(store.facts.load("waiting_rules")))
    return StatusDocument(
        schema=SCHEMA_NAME,
        generated_at=now,
        providers=[
            _build_account_status(each, memory.series_states, every.get(each.provider), polls.get(each.provider), now)
            for each in accounts
        ],
        alerts=firing,
        waiting=waiting,
        daemon_running=_is_daemon_running(heartbeat, now),
        daemon_seen_at=None if heartbeat is None else heartbeat[1],
        config_error=None if refused is None else refused[0],
        snoozes=_build_snoozes(store.snoozes.load(), memory, now),
        broken_channels=_decode_broken_channels(store.facts.load("broken_channels")),
        stopped_channels={stop.channel: stop.detail for stop in store.outbox.load_stops()},
        undelivered=[
            _build_undelivered(delivery)
            for delivery in [
                *store.outbox.load(),
                *store.outbox.load_finished(DeliveryState.DEAD, since=now - timedelta(days=7)),
            ]
        ],
    )


def find_config_error(store: Store) -> tuple[str, datetime] | None:
    """What was wrong with the config when it was last read, and when that was; None where nothing was."""
    found = (store.facts.load(name) for name in ("config_error", "config_refused"))
    return next((fact for fact in found if fact is not None and fact[0]), None)


def _build_alert_statuses(
    engine_state: EngineState, accounts: Sequence[Account], waiting_rules: Collection[str]
) -> tuple[list[AlertStatus], list[AlertStatus]]:
    """Every alert that is not at rest, by rule and series; and apart from them, those of the rules that only wait."""
    several = {a.provider for a in accounts if sum(b.provider == a.provider for b in accounts) > 1}
    names = {(account.provider, account.account): account.name for account in accounts}
    found: tuple[list[AlertStatus], list[AlertStatus]] = ([], [])
    for state in sorted(engine_state.alert_states.values(), key=lambda state: (state.rule, state.series)):
        waits = state.rule in waiting_rules
        if state.phase is AlertPhase.OK or (waits and state.phase is not AlertPhase.FIRING):
            continue
        found[waits].append(
            AlertStatus(
                rule=state.rule,
                series=format_series(state.series, several, names),
                state=WAITING_STATE if waits else state.phase.value,
                severity=None if state.severity is None else state.severity.value,
                since=state.since,
            )
        )
    return found


def format_series(
    series: Series, multi_account_providers: Collection[str], account_names: dict[tuple[str, str], str]
) -> str:
    """A series as a person writes it: the account, by its name, only where the provider has several."""
    if series.provider not in multi_account_providers:
        return f"{series.provider}.{series.window}"
    return (
        f"{series.provider}[{account_names.get((series.provider, series.account)) or series.account}].{series.window}"
    )


def _is_daemon_running(heartbeat: tuple[str, datetime] | None, now: datetime) -> bool:
    return (
        heartbeat is not None
        and heartbeat[0] == "running"
        and now - heartbeat[1] < MAX_MISSED_HEARTBEATS * HEARTBEAT_EVERY
    )


def _build_snoozes(snoozes: Iterable[Snooze], engine_state: EngineState, now: datetime) -> list[ActiveSnooze]:
    episodes = {str(series): state.episode for series, state in engine_state.series_states.items()}
    return [
        ActiveSnooze(target=each.target, until=each.until)
        for each in snoozes
        if not has_snooze_expired(each, now, episodes)
    ]


def _build_account_status(
    account: Account,
    series_states: Mapping[Series, SeriesState],
    every: timedelta | None,
    next_poll: tuple[datetime, str] | None,
    now: datetime,
) -> AccountStatus:
    """One account: `every` is how often it is asked as a rule, `next_poll` when next and why."""
    snapshot, failure = account.snapshot, account.failure
    readings = () if snapshot is None else snapshot.readings
    at, next_at = None if snapshot is None else snapshot.at, None if next_poll is None else next_poll[0]
    late = is_stale(at, every, next_at, now, failing=failure is not None)
    names = (Series(provider=account.provider, account=account.account, window=each.window) for each in readings)
    return AccountStatus(
        provider=account.provider,
        account=account.name or None,
        plan=None if snapshot is None else snapshot.plan,
        ok=failure is None and snapshot is not None,
        error=None if failure is None else _build_problem(failure, account.failing_since),
        fetched_at=at,
        stale=late or (bool(readings) and all(reading.stale for reading in readings)),
        note=None if snapshot is None else snapshot.note,
        next_poll_at=next_at,
        next_poll_reason=None if next_poll is None else next_poll[1],
        windows=[
            _build_window_status(each, series_states.get(name), now) for each, name in zip(readings, names, strict=True)
        ],
    )


def _build_problem(failure: PollFailure, since: datetime | None) -> Problem:
    return Problem(kind=failure.kind, message=failure.message, retry_at=failure.retry_at, since=since)


def _build_window_status(reading: Reading, state: SeriesState | None, now: datetime) -> WindowStatus:
    view = None if state is None else SeriesMetrics(state, now, use_last_reading=True)
    projected = None if view is None else view.value_of("projected")
    return WindowStatus(
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
        unconfirmed=state is not None and state.standing in (Validity.SUSPECT, Validity.FROZEN),
        projected_percent=projected if isinstance(projected, float) else None,
        pace=compute_pace(reading, now),
    )


def compute_pace(reading: Reading, now: datetime) -> str | None:
    """How the use of a window compares with an even use over its whole length; None where one of them is unknown."""
    used, whole = get_used_percent(reading), get_window_length(reading)
    if used is None or whole is None or reading.resets_at is None or not now < reading.resets_at <= now + whole:
        return None
    even = 100 * (1 - (reading.resets_at - now) / whole)
    return (
        "ahead" if used > even + ON_PACE_MARGIN_PERCENT else "behind" if used < even - ON_PACE_MARGIN_PERCENT else "on"
    )


def _build_undelivered(delivery: Delivery) -> UndeliveredMessage:
    waits = delivery.state is DeliveryState.QUEUED
    return UndeliveredMessage(
        channel=delivery.channel,
        title=delivery.message.title,
        state=delivery.state.value,
        outcome=delivery.outcome or delivery.reason,
        at=delivery.created_at,
        attempts=delivery.attempts,
        next_attempt_at=delivery.next_attempt_at if waits else None,
    )


def _decode_intervals(fact: tuple[str, datetime] | None) -> dict[str, timedelta]:
    found = {} if fact is None else msgspec.json.decode(fact[0], type=dict[str, float])
    return {provider: timedelta(seconds=each) for provider, each in found.items()}


def _decode_names(fact: tuple[str, datetime] | None) -> frozenset[str]:
    return frozenset() if fact is None else msgspec.json.decode(fact[0], type=frozenset[str])


def _decode_broken_channels(fact: tuple[str, datetime] | None) -> dict[str, str]:
    found = {} if fact is None else msgspec.json.decode(fact[0], type=dict[str, str])
    return {name: why for name, why in found.items() if not name.startswith("channels.")}
