"""A poll's result -> transitions -> deliveries, in one transaction: a crash loses nothing between seen and queued.

`process_result` is the whole of it: the engine evaluates, the planner decides what is sent, the store saves all three.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import structs

from watcher.config.loader import Config
from watcher.core.engine import evaluator
from watcher.core.engine.metrics import NETWORK_SOURCE, NOTED_SOURCES
from watcher.core.engine.state import SeriesState
from watcher.core.model import (
    FIRING_EVENTS,
    AlertEvent,
    AlertPhase,
    PollFailure,
    Series,
    Snapshot,
    Snooze,
    Transition,
)
from watcher.core.routing import muting, planner, retry
from watcher.core.rules.diagnostics import suggest_word
from watcher.core.rules.rule import Rule
from watcher.errors import UsageError
from watcher.storage.records import Account
from watcher.storage.store import KEEP_DELIVERIES, Store


def process_result(
    store: Store, config: Config, result: Snapshot | PollFailure | None, *, now: datetime, every: timedelta
) -> evaluator.EvaluationResult:
    """Evaluate a result, plan its deliveries and save all of it; `result` None: only time has passed."""

    def work() -> evaluator.EvaluationResult:
        if result is not None:
            store.readings.save_result(result)
        evaluation = evaluator.evaluate_poll(config.rules, store.alerts.load_state(), result, now, every=every)
        _plan_deliveries(store, config, evaluation.transitions, list_closed_alerts(evaluation), now)
        store.alerts.save_evaluation(evaluation)
        return evaluation

    return store.run_transaction(work, now=now)


def move_account(  # noqa: PLR0913 - which account, and the two keys
    store: Store, config: Config, provider: str, old: str, new: str, *, now: datetime
) -> None:
    """Give an account another key; its history, alerts and snoozes follow, and nothing is sent again.

    Where the account of that key has readings too, the two are joined, and the alerts of that one stay. Messages that
    wait about the other's alerts are withdrawn.
    """

    def work() -> None:
        known = store.accounts.find(provider, new)
        has_readings = known is not None and known.snapshot is not None
        ended = provider, old if has_readings else new
        alerts = store.alerts.load_state().alert_states
        closed = [key for key in alerts if (key[1].provider, key[1].account) == ended]
        _plan_deliveries(store, config, (), closed, now)
        (store.accounts.join if has_readings else store.accounts.rename)(provider, old, new)

    store.run_transaction(work, now=now)


def _plan_deliveries(
    store: Store,
    config: Config,
    transitions: Sequence[Transition],
    closed_alerts: Sequence[tuple[str, Series]],
    now: datetime,
) -> None:
    plan = planner.plan_deliveries(
        transitions,
        {rule.name: rule for rule in config.rules},
        store.outbox.load(),
        build_routing(store, config),
        store.snoozes.load(),
        now,
        closed_alerts=closed_alerts,
        offline=is_offline(store),
    )
    save_plan(store, plan)


def list_closed_alerts(evaluation: evaluator.EvaluationResult) -> list[tuple[str, Series]]:
    """The alerts that no longer fire, with or without a transition: messages that wait about them are outdated."""
    quiet = [(alert.rule, alert.series) for alert in evaluation.alert_states if alert.phase is not AlertPhase.FIRING]
    return [*evaluation.closed_alerts, *quiet]


def release_deliveries(store: Store, config: Config, *, now: datetime) -> None:
    """Update the outbox for the time that passed: quiet hours and snoozes end, messages expire."""

    def work() -> None:
        states = store.alerts.load_state().series_states
        planned = planner.plan_release(
            store.outbox.load(),
            {rule.name: rule for rule in config.rules},
            build_routing(store, config),
            store.snoozes.load(),
            now,
            offline=is_offline(store),
            latest_readings={series: state.reading for series, state in states.items() if state.reading is not None},
            episodes={str(series): state.episode for series, state in states.items()},
            history=_load_alert_history(store, config, now),
        )
        save_plan(store, planned)

    store.run_transaction(work, now=now)


def _load_alert_history(store: Store, config: Config, now: datetime) -> planner.AlertHistory:
    """What was delivered, and what was not, of the alerts that fire."""
    reported = {rule.name for rule in config.rules if AlertEvent.FIRING in rule.on}
    firing = {
        f"{alert.rule}|{alert.series}": (alert, alert.since)
        for alert in store.alerts.load_state().alert_states.values()
        if alert.phase is AlertPhase.FIRING and alert.rule in reported and alert.since is not None
    }
    counts: dict[tuple[str, str], int] = Counter()
    delivered: set[tuple[str, str]] = set()
    series = {alert.series for alert, _ in firing.values()}
    for channel, may_have_arrived, transition in store.outbox.load_history(series):
        counts[channel, transition.alert_id] += 1
        _, since = firing.get(transition.alert_id, (None, None))
        if since and may_have_arrived and transition.event in FIRING_EVENTS and transition.at >= since:
            delivered.add((channel, transition.alert_id))
    undelivered: dict[str, Transition] = {}
    for alert_id in firing.keys() - {alert for _, alert in delivered}:
        alert, since = firing[alert_id]
        if since > now - KEEP_DELIVERIES:  # of older ones it is forgotten whether they were delivered
            for transition in store.alerts.load_transitions(since=since, rule=alert.rule):
                if transition.series == alert.series and transition.event in {AlertEvent.FIRING, AlertEvent.ESCALATED}:
                    occurrence = undelivered.get(alert_id, transition).occurrence
                    undelivered[alert_id] = structs.replace(
                        transition, event=AlertEvent.FIRING, occurrence=occurrence, since=since
                    )
    stopped = {stop.channel for stop in store.outbox.load_stops()}
    return planner.AlertHistory(
        undelivered=tuple(undelivered.values()), delivered=delivered, counts=counts, stopped_channels=stopped
    )


def correct_clock(store: Store, *, now: datetime) -> None:
    """Shorten every wait that was noted while the clock was ahead of `now` to what it was meant to be."""

    def work() -> None:
        store.polls.correct_clock(now)
        store.accounts.correct_clock(now)
        outbox = [(each, retry.correct_clock(each, now)) for each in store.outbox.load()]
        store.outbox.update([corrected for each, corrected in outbox if corrected != each])
        for snooze in store.snoozes.load():
            if snooze.created_at > now:
                expires_at = snooze.expires_at and snooze.expires_at - (snooze.created_at - now)
                store.snoozes.save(structs.replace(snooze, created_at=now, expires_at=expires_at))

    store.run_transaction(work, now=now)


def build_routing(store: Store, config: Config) -> planner.Routing:
    """The config's routing, with the names of the accounts as they are now."""
    names = store.accounts.load_names()
    formatter = structs.replace(
        config.routing.formatter,
        multi_account_providers=store.accounts.load_multi_account_providers(),
        account_names={account: name for account, name in names.items() if name != account[1]},
    )
    return structs.replace(config.routing, formatter=formatter)


def is_offline(store: Store) -> bool:
    """Whether this machine is offline, by the last polls."""
    afar = (account for account in store.accounts.load() if _is_remote(account))
    return muting.is_machine_offline(None if account.failure is None else account.failure.kind for account in afar)


def _is_remote(account: Account) -> bool:
    """Whether its answers come over the network, not from a local file alone."""
    readings = () if account.snapshot is None else account.snapshot.readings
    return not readings or any(reading.source in {NETWORK_SOURCE, *NOTED_SOURCES} for reading in readings)


def save_plan(store: Store, planned: planner.OutboxPlan) -> None:
    """Save what a plan changes; inside a transaction."""
    store.outbox.enqueue(planned.new_deliveries)
    store.outbox.update(planned.changed_deliveries)
    store.outbox.save_suppressions(planned.suppressions)
    for snooze in planned.ended_snoozes:
        store.snoozes.delete(snooze.target)


def save_snooze(
    store: Store, rules: Sequence[Rule], target: str, expires_at: datetime | None, *, now: datetime
) -> Snooze:
    """Snooze a rule or a written series until an instant; `expires_at` None: until the reset.

    Raises:
        UsageError: there is no such rule or series, or no reset of it is known.
    """
    state, by_name = store.alerts.load_state(), {rule.name: rule for rule in rules}
    present = [each for each in state.series_states.values() if not each.gone]
    matching = [each for each in present if _matches_target(target, by_name.get(target), each)]
    is_rule = target in by_name or any(rule == target for rule, _ in state.alert_states)
    if not is_rule and not matching:
        series = [f"{each.series.provider}.{each.series.window}" for each in present]
        others = "`watcher status` lists series, `watcher rules list` rules"
        hint = suggest_word(target, (*by_name, *series), others)
        raise UsageError(f"snooze: neither a rule nor a series is called `{target}`; {hint}")
    snoozed_series = {each.series for each in matching}
    severities = [
        alert.severity
        for (rule, series), alert in state.alert_states.items()
        if alert.phase is AlertPhase.FIRING
        and alert.severity
        and (rule == target if is_rule else series in snoozed_series)
    ]
    snooze = Snooze(
        target=target,
        created_at=now,
        expires_at=expires_at,
        episodes=_find_episodes(target, matching) if expires_at is None else None,
        severity=max(severities, key=lambda severity: severity.rank, default=None),
    )
    store.run_transaction(lambda: store.snoozes.save(snooze), now=now)
    return snooze


def _matches_target(target: str, rule: Rule | None, state: SeriesState) -> bool:
    series, kind = state.series, str(state.kind)
    if rule is not None:
        return rule.subject.matches(series, state.account_name, kind, is_primary=state.primary)
    return muting.target_matches_series(target, series, state.account_name, kind)


def _find_episodes(target: str, states: Sequence[SeriesState]) -> dict[str, int]:
    """The present episode of each series that will reset."""
    episodes = {str(state.series): state.episode for state in states if state.boundary_at is not None}
    if not episodes:
        raise UsageError(f"snooze: no reset of `{target}` is known; give a duration: `--for 2h`")
    return episodes
