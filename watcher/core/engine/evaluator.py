"""Evaluates a poll's result: the one entry that the daemon, `replay`, `rules test` and `rules explain` share.

One call applies the result of one account's poll (or the passing of time) to the series' states, finds the rules that
it affects, and moves their alerts. What it is given stays unchanged.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, tzinfo

from msgspec import Struct
from msgspec.structs import replace

from watcher.core.engine import snapshots, staleness, state_machine, transitions
from watcher.core.engine.matching import CompiledRule, compile_rule, evaluate_condition
from watcher.core.engine.metrics import SeriesMetrics
from watcher.core.engine.state import AlertKey, AlertState, EngineState, SeriesState
from watcher.core.engine.state_machine import AlertUpdate, Observation
from watcher.core.engine.transitions import Decision, make_decision
from watcher.core.model import AlertPhase, PollFailure, PollResult, Series, Transition
from watcher.core.rules.rule import Rule
from watcher.core.rules.time_intervals import is_active


class EvaluationResult(Struct, frozen=True, kw_only=True):
    """What changed, the transitions, and when to evaluate again. What did not change is left out."""

    series_states: tuple[SeriesState, ...] = ()
    alert_states: tuple[AlertState, ...] = ()
    closed_alerts: tuple[AlertKey, ...] = ()  # alerts to delete: nothing of them is left to remember
    transitions: tuple[Transition, ...] = ()
    decisions: tuple[Decision, ...] = ()
    next_due_at: datetime | None = None  # when time alone may change something: evaluate without a result then


def evaluate_poll(  # noqa: PLR0913 - everything it depends on is an argument
    rules: Sequence[Rule],
    engine_state: EngineState,
    result: PollResult | None,
    now: datetime,
    *,
    every: timedelta,
    tz: tzinfo | None = None,
    explain: bool = False,
) -> EvaluationResult:
    """Evaluates the rules after a poll.

    Args:
        rules: in force.
        engine_state: from the last call.
        result: of one account's poll; None: only time has passed.
        now: the instant of the evaluation.
        every: the provider's present polling interval.
        tz: the machine's zone, for `active` hours that name none; None: the system's.
        explain: record a decision also for each rule and series where nothing happened.
    """
    return _Evaluation(
        rules=[compile_rule(rule) for rule in rules],
        states=dict(engine_state.series_states),
        alerts=dict(engine_state.alert_states),
        result=result,
        now=now,
        every=every,
        tz=tz,
        explain=explain,
    ).run()


def apply_evaluation(engine_state: EngineState, evaluation: EvaluationResult) -> EngineState:
    """The engine state with an evaluation's changes."""
    alerts = {
        **engine_state.alert_states,
        **{(alert.rule, alert.series): alert for alert in evaluation.alert_states},
    }
    for key in evaluation.closed_alerts:
        alerts.pop(key, None)
    return EngineState(
        {**engine_state.series_states, **{state.series: state for state in evaluation.series_states}}, alerts
    )


class _Evaluation(Struct, kw_only=True):
    """The work of one call."""

    rules: Sequence[CompiledRule]
    states: dict[Series, SeriesState]
    alerts: dict[AlertKey, AlertState]
    result: PollResult | None
    now: datetime
    every: timedelta
    tz: tzinfo | None
    explain: bool
    changed_series: dict[Series, SeriesState] = {}
    changed_alerts: dict[AlertKey, AlertState] = {}
    closed_alerts: list[AlertKey] = []
    transitions: list[Transition] = []
    decisions: list[Decision] = []
    suspended: bool = False
    newly_gone: frozenset[Series] = frozenset()  # this result is the last that says anything about them
    metrics: dict[tuple[Series, bool], SeriesMetrics] = {}
    exhausted: defaultdict[tuple[str, str], list[SeriesMetrics]] | None = None  # by account

    def run(self) -> EvaluationResult:
        """Everything in its order."""
        result = self.result
        updated: Sequence[SeriesState] = ()
        self._update_series(staleness.clamp_future_times(self.states.values(), self.now))
        self.suspended = staleness.was_suspended(self.states.values(), self.now, self.every)
        if result is not None:
            updated = snapshots.apply_poll(self.states, result, self.every)
            self._update_series(snapshots.mark_provider_polled(self.states, result))
            self._update_series(updated)
            if self.suspended:
                self._update_series([replace(state, resumed_at=self.now) for state in self.states.values()])
                self.suspended = False
            self.newly_gone = frozenset(state.series for state in updated if state.gone)
        self._close_orphaned_alerts()
        self._evaluate_rules(updated)
        return EvaluationResult(
            series_states=tuple(self.changed_series.values()),
            alert_states=tuple(self.changed_alerts.values()),
            closed_alerts=tuple(self.closed_alerts),
            transitions=tuple(sorted(self.transitions, key=lambda each: (each.rule, each.series))),
            decisions=tuple(self.decisions),
            next_due_at=staleness.find_next_due(
                [rule for rule in self.rules if rule.is_availability_rule],
                [state for state in self.states.values() if not state.gone],
                self.alerts.values(),
                self._is_subject,
                self.now,
            ),
        )

    def _update_series(self, states: Iterable[SeriesState]) -> None:
        for state in states:
            self.states[state.series] = self.changed_series[state.series] = state

    def _update_alert(self, key: AlertKey, alert: AlertState | None) -> None:
        """Keeps an alert's new state; None: deletes it."""
        if alert is not None:
            self.alerts[key] = self.changed_alerts[key] = alert
        elif self.alerts.pop(key, None) is not None:
            self.closed_alerts.append(key)

    def _get_metrics(self, state: SeriesState, *, use_last_reading: bool) -> SeriesMetrics:
        key = state.series, use_last_reading
        metrics = self.metrics.get(key)
        if metrics is None:
            not_polled = self.suspended or staleness.is_between_polls(state, self.now)
            metrics = self.metrics[key] = SeriesMetrics(
                state, self.now, use_last_reading=use_last_reading, not_polled=not_polled
            )
        return metrics

    def _list_metrics(self, like: SeriesMetrics) -> list[SeriesMetrics]:
        """Every series, seen in the same way as `like`."""
        present = (state for state in self.states.values() if not state.gone)
        return [self._get_metrics(state, use_last_reading=like.use_last_reading) for state in present]

    def _close_orphaned_alerts(self) -> None:
        """Closes the alerts of rules and series that are gone, without a transition."""
        if not self.suspended:
            left = [state for state in self.states.values() if not state.gone and staleness.is_gone(state, self.now)]
            self._update_series([replace(state, gone=True, samples=(), suspect=None) for state in left])
        in_force = {compiled.rule.name for compiled in self.rules}
        for alert in list(self.alerts.values()):
            state = self.states.get(alert.series)
            if state is None or (state.gone and state.series not in self.newly_gone) or alert.rule not in in_force:
                self._close_alert(alert, state, "series gone" if alert.rule in in_force else "rule removed")

    def _close_alert(self, alert: AlertState, state: SeriesState | None, reason: str) -> None:
        key = alert.rule, alert.series
        if alert.fingerprint:
            self._update_alert(key, state_machine.close_alert(alert, self.now))
            if state is not None and (alert.phase is not AlertPhase.OK or self.explain):
                metrics = self._get_metrics(state, use_last_reading=False)
                self.decisions.append(make_decision(alert.rule, metrics, (), AlertPhase.OK, reason))
        elif state is None or state.episode != alert.episode:
            self._update_alert(key, None)

    def _evaluate_rules(self, updated: Sequence[SeriesState]) -> None:
        """Evaluates every rule on every series where the result may change its alert, each pair once."""
        everything = sorted(self.states.values(), key=lambda state: state.series)
        updated = [self.states[state.series] for state in updated]
        series = {state.series for state in updated}
        provider = "" if self.result is None else self.result.provider
        # A rule that refers to this provider may be about series of others.
        referring = [state for state in everything if state.series in series or state.series.provider != provider]
        for compiled in self.rules:
            if self.result is None:
                candidates = everything if compiled.is_availability_rule else []
            elif any(other.provider in ("*", provider) for other in compiled.other_selectors):
                candidates = referring
            else:
                candidates = updated
            for state in candidates:
                if self._is_subject(compiled, state):
                    self._evaluate_rule(compiled, state)

    def _is_subject(self, compiled: CompiledRule, state: SeriesState) -> bool:
        if state.gone and state.series not in self.newly_gone:
            return False
        if state.is_unproven and compiled.rule.subject.window != state.series.window:
            return False
        if state.matches(compiled.rule.subject):
            return True
        # A window that was its provider's primary one when the alert fired must still be able to resolve it.
        alert = self.alerts.get((compiled.rule.name, state.series))
        return alert is not None and alert.phase is not AlertPhase.OK and alert.fingerprint == compiled.rule.fingerprint

    def _evaluate_rule(self, compiled: CompiledRule, state: SeriesState) -> None:
        """Moves the alert of one rule on one series."""
        rule, key = compiled.rule, (compiled.rule.name, state.series)
        metrics = self._get_metrics(state, use_last_reading=compiled.is_availability_rule)
        levels_met = evaluate_condition(compiled, metrics, self._list_metrics, clearing=False)
        stored = self.alerts.get(key)
        if stored is None and True not in levels_met:
            if self.explain:
                reason = "below" if None not in levels_met else "unknown"
                self.decisions.append(make_decision(rule.name, metrics, levels_met, AlertPhase.OK, reason))
            return
        before = stored or state_machine.create_alert(rule, state.series, state.episode, self.now)
        is_firing = before.phase is AlertPhase.FIRING
        observation = Observation(
            levels_met=levels_met,
            levels_cleared=evaluate_condition(compiled, metrics, self._list_metrics, clearing=True)
            if is_firing and not all(levels_met)
            else (),
            episode=state.episode,
            resolves_on_reset=compiled.resolves_on_reset,
            active=rule.active is None or is_active(rule.active, self.now, self.tz),
            inhibited=not is_firing and True in levels_met and self._is_inhibited(compiled, state, before),
            every=state.every if self.result is None else self.every,
        )
        update = state_machine.update_alert(rule, before, observation, self.now)
        if update.alert.phase is AlertPhase.OK and not update.alert.fired_count:
            self._update_alert(key, None)
        elif update.alert != stored:
            self._update_alert(key, update.alert)
        self._record_update(compiled, metrics, levels_met, update)

    def _is_inhibited(self, compiled: CompiledRule, state: SeriesState, alert: AlertState) -> bool:
        """Whether the alert would only repeat that this machine is offline."""
        if compiled.resolves_on_reset:
            return False
        if alert.inhibited:
            return not self._has_failed_by_itself(state)
        reported = {
            each.series
            for each in self.alerts.values()
            if each.rule == alert.rule and each.phase is AlertPhase.FIRING and each.series != alert.series
        }
        is_offline = state.error_kind == staleness.OFFLINE_KIND
        return is_offline and staleness.is_outage_reported(self.states.values(), reported)

    def _has_failed_by_itself(self, state: SeriesState) -> bool:
        """Whether this poll failed although the network is up, or for a reason that has nothing to do with it."""
        if not isinstance(self.result, PollFailure) or self.result.provider != state.series.provider:
            return False
        is_up = state.failing_since is not None and staleness.is_network_up(self.states.values(), state.failing_since)
        return is_up or state.error_kind != staleness.OFFLINE_KIND

    def _record_update(
        self,
        compiled: CompiledRule,
        metrics: SeriesMetrics,
        levels_met: tuple[bool | None, ...],
        update: AlertUpdate,
    ) -> None:
        """Records an alert's transitions and decisions."""
        rule, reason = compiled.rule, update.reason
        for change in update.changes:
            event = transitions.choose_event(rule, change)
            if event is not None:
                exhausted = self._list_exhausted(metrics.state)
                self.transitions.append(transitions.make_transition(event, rule, change, metrics, exhausted))
            elif change.reason == reason:
                reason = "not asked for"
            if change.reason != update.reason:  # a reset, after which the same reading was evaluated again
                self.decisions.append(make_decision(rule.name, metrics, levels_met, AlertPhase.OK, change.reason))
        if self.explain or update.changes or reason not in ("unchanged", "hysteresis", "below"):
            self.decisions.append(make_decision(rule.name, metrics, levels_met, update.alert.phase, reason))

    def _list_exhausted(self, state: SeriesState) -> list[SeriesMetrics]:
        """The other series of the account that are used up."""
        if self.exhausted is None:
            self.exhausted = defaultdict(list)
            for other in self.states.values():
                metrics = self._get_metrics(other, use_last_reading=True)
                if not other.gone and transitions.is_exhausted(metrics):
                    self.exhausted[other.account_key].append(metrics)
        return [metrics for metrics in self.exhausted[state.account_key] if metrics.state.series != state.series]
