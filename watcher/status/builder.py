"""Builds the status document from the store, writes it to `status.json`, and brings one that was read up to date."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from watcher.core.engine.metrics import SeriesMetrics
from watcher.core.engine.state import EngineState, SeriesState, Validity
from watcher.core.engine.windows import get_used_percent, get_window_length
from watcher.core.model import AlertPhase, Delivery, DeliveryState, PollFailure, Reading, Series, Snooze
from watcher.core.routing.muting import has_snooze_expired
from watcher.status.bars import FILE_NAME
from watcher.status.document import (
    NO_ROUTE,
    WAITING_STATE,
    AccountStatus,
    ActiveSnooze,
    AlertmanagerStatus,
    AlertStatus,
    Problem,
    StatusDocument,
    UndeliveredMessage,
    WindowStatus,
    encode_json,
    read_status,
    update_status,
)
from watcher.storage.records import Account
from watcher.storage.store import ALERTMANAGER_FACT, METRICS_PROBLEMS_FACT, Store
from watcher.system.files import replace_private_file

if TYPE_CHECKING:
    from watcher.config.loader import Config  # slow to import: every provider and channel

ON_PACE_MARGIN_PERCENT = 5.0  # points around the even use of a window that are still on pace
SHOW_DEAD_FOR = timedelta(days=7)  # how long a message that was given up is listed


class ConfigFacts(Struct, frozen=True, kw_only=True):
    """What the document takes from the config."""

    poll_every_s: Mapping[str, float] = {}  # by provider
    waiting_rules: Collection[str] = frozenset()  # names of the rules that notify only at the end
    broken_channels: Mapping[str, str] = {}


def collect_config_facts(config: "Config") -> ConfigFacts:
    """The facts of a config in force."""
    return ConfigFacts(
        poll_every_s={name: each.pace.every.total_seconds() for name, each in config.providers.items()},
        waiting_rules={rule.name for rule in config.rules if rule.notifies_only_at_end},
        broken_channels={name: error for name, error in config.broken_channels.items() if name in config.channels}
        | ({} if _sends_alerts(config) else {NO_ROUTE: "no alert is sent: `watcher channels add` adds a channel"}),
    )


def _sends_alerts(config: "Config") -> bool:
    """Whether some rule's alerts go to a channel."""
    routes = (config.routing.default, *config.routing.routes.values(), *(rule.notify or () for rule in config.rules))
    return any(routes)


def recover_config_facts(document: StatusDocument) -> ConfigFacts:
    """The same from the document of a process that had the config."""
    return ConfigFacts(
        poll_every_s={
            account.provider: account.poll_every_seconds
            for account in document.providers
            if account.poll_every_seconds is not None
        },
        waiting_rules={alert.rule for alert in document.waiting},
        broken_channels=document.broken_channels,
    )


def build_status(store: Store, config: ConfigFacts, *, now: datetime) -> StatusDocument:
    """What the store knows, judged at `now`."""
    accounts, state, polls = store.accounts.load(), store.alerts.load_state(), store.polls.load_next_polls()
    format_series = make_series_formatter(store)
    heartbeat, config_error = store.facts.load("heartbeat"), store.facts.load("config_error")
    firing, waiting = _build_alert_statuses(state, format_series, config.waiting_rules)
    return update_status(
        StatusDocument(
            generated_at=now,
            providers=[
                _build_account_status(
                    account,
                    [
                        build_window_status(reading, format_series(series), state.series_states.get(series), now)
                        for series, reading in _list_readings(account)
                    ],
                    poll_every_s=config.poll_every_s.get(account.provider),
                    next_poll=polls.get(account.provider),
                )
                for account in accounts
            ],
            alerts=firing,
            waiting=waiting,
            snoozes=_build_snoozes(store.snoozes.load(), state, now),
            daemon_running=heartbeat is not None and heartbeat[0] == "running",
            daemon_seen_at=None if heartbeat is None else heartbeat[1],
            config_error=None if config_error is None else config_error[0] or None,
            database_error=store.disk_error,
            broken_channels=dict(config.broken_channels),
            metrics_problems=_load_metrics_problems(store),
            alertmanagers=_load_alertmanagers(store),
            stopped_channels={stop.channel: stop.detail for stop in store.outbox.load_stops()},
            undelivered=_list_undelivered(store, now),
        ),
        now,
    )


def make_series_formatter(store: Store) -> Callable[[Series], str]:
    """Writes a series as the user does: with its account, by name, where the provider has several."""
    several = store.accounts.load_multi_account_providers()
    names = store.accounts.load_names()

    def format_series(series: Series) -> str:
        if series.provider not in several:
            return f"{series.provider}.{series.window}"
        return f"{series.provider}[{names.get((series.provider, series.account)) or series.account}].{series.window}"

    return format_series


def _load_metrics_problems(store: Store) -> dict[str, str]:
    fact = store.facts.load(METRICS_PROBLEMS_FACT)
    return json.loads(fact[0]) if fact is not None else {}


def _load_alertmanagers(store: Store) -> list[AlertmanagerStatus]:
    fact = store.facts.load(ALERTMANAGER_FACT)
    return [
        AlertmanagerStatus(
            channel=channel,
            address=address,
            delivered=answer["delivered"],
            answer=answer["detail"],
            since=datetime.fromisoformat(answer["since"]),
        )
        for channel, mirror in (json.loads(fact[0]) if fact is not None else {}).items()
        for address, answer in mirror["answers"].items()
    ]


def _build_alert_statuses(
    engine_state: EngineState, format_series: Callable[[Series], str], waiting_rules: Collection[str]
) -> tuple[list[AlertStatus], list[AlertStatus]]:
    """Every alert that is not OK, by rule and series; separately, those of the rules that notify only at the end."""
    found: tuple[list[AlertStatus], list[AlertStatus]] = ([], [])
    for state in sorted(engine_state.alert_states.values(), key=lambda state: (state.rule, state.series)):
        waits = state.rule in waiting_rules
        if state.phase is AlertPhase.OK or (waits and state.phase is not AlertPhase.FIRING):
            continue
        found[waits].append(
            AlertStatus(
                rule=state.rule,
                series=format_series(state.series),
                state=WAITING_STATE if waits else state.phase.value,
                severity=None if state.severity is None else state.severity.value,
                since=state.since,
            )
        )
    return found


def _build_snoozes(snoozes: Iterable[Snooze], engine_state: EngineState, now: datetime) -> list[ActiveSnooze]:
    episodes = {str(series): state.episode for series, state in engine_state.series_states.items()}
    return [
        ActiveSnooze(target=each.target, until=each.expires_at)
        for each in snoozes
        if not has_snooze_expired(each, now, episodes)
    ]


def _list_readings(account: Account) -> list[tuple[Series, Reading]]:
    readings = () if account.snapshot is None else account.snapshot.readings
    return [(Series(provider=account.provider, account=account.account, window=each.window), each) for each in readings]


def _build_account_status(
    account: Account,
    windows: list[WindowStatus],
    *,
    poll_every_s: float | None,
    next_poll: tuple[datetime, str] | None,
) -> AccountStatus:
    from watcher.providers.registry import PROVIDERS  # noqa: PLC0415 - every provider, which the daemon has anyway

    snapshot, failure, provider = account.snapshot, account.failure, PROVIDERS.get(account.provider)
    return AccountStatus(
        provider=account.provider,
        account=account.name or None,
        plan=None if snapshot is None else snapshot.plan,
        ok=failure is None and snapshot is not None,
        error=None if failure is None else _build_problem(failure, account.failing_since),
        fetched_at=None if snapshot is None else snapshot.at,
        stale=False,  # see `update_status`
        note=None if snapshot is None else snapshot.note,
        poll_every_seconds=poll_every_s,
        next_poll_at=None if next_poll is None else next_poll[0],
        next_poll_reason=None if next_poll is None else next_poll[1],
        windows=windows,
        provider_name="" if provider is None else provider.name,
    )


def _build_problem(failure: PollFailure, since: datetime | None) -> Problem:
    return replace(msgspec.convert(failure, Problem, from_attributes=True), since=since)


def build_window_status(reading: Reading, series_name: str, state: SeriesState | None, now: datetime) -> WindowStatus:
    """A reading as the document has it; `state`: what is known of its series, if it has one."""
    metrics = None if state is None else SeriesMetrics(state, now, use_last_reading=True)
    projected = None if metrics is None else metrics.value_of("projected")
    return replace(
        msgspec.convert(reading, WindowStatus, from_attributes=True),
        series=series_name,
        primary=state is not None and state.primary,
        unconfirmed=state is not None and state.validity in (Validity.SUSPECT, Validity.FROZEN),
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


def _list_undelivered(store: Store, now: datetime) -> list[UndeliveredMessage]:
    """What waits, and what was given up; an alert that will be sent again is listed once for a channel."""
    waiting, dead = store.outbox.load(), store.outbox.load_finished(DeliveryState.DEAD, since=now - SHOW_DEAD_FOR)
    again = {(each.channel, transition.alert_id) for each in waiting for transition in each.transitions}
    given_up = [
        each
        for each in dead
        if not each.transitions or any((each.channel, one.alert_id) not in again for one in each.transitions)
    ]
    return [_build_undelivered(each) for each in [*waiting, *given_up]]


def _build_undelivered(delivery: Delivery) -> UndeliveredMessage:
    waits = delivery.state is DeliveryState.QUEUED
    return UndeliveredMessage(
        channel=delivery.channel,
        title=delivery.message.title,
        state=delivery.state.value,
        outcome=delivery.last_response or delivery.reason,
        at=delivery.created_at,
        attempts=delivery.attempts,
        next_attempt_at=delivery.next_attempt_at if waits else None,
    )


def write_status(store: Store, config: "Config | None", *, now: datetime) -> None:
    """Write what the store knows, atomically, readable by its owner alone.

    Where that fails, the file is removed: readers then ask the store.

    Args:
        store: it says in which folder, too.
        config: the one in force; None: what the last file took from it is kept.
        now: this moment.
    """
    state_dir = store.path.parent
    if config is not None:
        facts = collect_config_facts(config)
    else:
        last = read_status(state_dir, now=now)
        facts = ConfigFacts() if last is None else recover_config_facts(last)
    content = encode_json(build_status(store, facts, now=now))
    path = state_dir / FILE_NAME
    try:
        replace_private_file(path, content)
    except OSError:
        with suppress(OSError):
            path.unlink()
