"""News in, transitions out: the one entry that the daemon, `replay`, `rules test` and `rules explain` share.

One call takes one account's news (or the passing of time) through the whole core: which readings are believed
(`cycle`), what each field is worth (`view`), which rules are concerned (`binding`), and what each alert does
(`evaluate`). Nothing that was given is changed. Never put a clock, a store or a channel here.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace

from watcher.core.engine import snapshots, staleness, state_machine
from watcher.core.engine import transitions as dressing
from watcher.core.engine.matching import CompiledRule, compile_rules, depends_on_provider, evaluate_condition
from watcher.core.engine.metrics import SeriesMetrics
from watcher.core.engine.state import AlertIndex, AlertKey, AlertState, EngineState, SeriesState
from watcher.core.engine.state_machine import Observation
from watcher.core.engine.transitions import Decision, make_decision
from watcher.core.model import AlertPhase, PollFailure, Series, Snapshot, Transition
from watcher.core.rules.rule import Rule
from watcher.core.rules.time_intervals import is_active


class EvaluationResult(Struct, frozen=True, kw_only=True):
    """What changed, what is to be said, and when to look again. What did not change is not in it."""

    series_states: tuple[SeriesState, ...] = ()
    alert_states: tuple[AlertState, ...] = ()
    closed_alerts: tuple[AlertKey, ...] = ()  # alerts of which nothing is left to remember
    transitions: tuple[Transition, ...] = ()
    decisions: tuple[Decision, ...] = ()
    next_due_at: datetime | None = None  # when time alone may change something: judge no news then


def evaluate_poll(  # noqa: PLR0913 - everything it depends on is an argument
    rules: Sequence[Rule],
    engine_state: EngineState,
    result: Snapshot | PollFailure | None,
    now: datetime,
    *,
    every: timedelta,
    tz: tzinfo | None = None,
    explain: bool = False,
) -> EvaluationResult:
    """What these rules make of this news.

    Args:
        rules: in force; a tuple that is passed again is not prepared again.
        engine_state: what the last call left.
        result: of one account; None: only time has passed.
        now: this instant.
        every: how often this provider is asked at present.
        tz: the machine's zone, for `active` hours that name none; None: what the system says.
        explain: give a decision also for each rule and series where nothing happened.
    """
    sitting = _Evaluation(rules, engine_state, now, every)
    sitting.tz, sitting.explain = tz, explain
    return sitting.run(result)


def apply_evaluation(engine_state: EngineState, evaluation: EvaluationResult) -> EngineState:
    """The memory with a judgement's changes in it."""
    alerts = AlertIndex(engine_state.alert_states.values())
    alerts.apply_changes(evaluation.alert_states, evaluation.closed_alerts)
    return EngineState(
        {**engine_state.series_states, **{state.series: state for state in evaluation.series_states}}, alerts
    )


class _Evaluation:
    """The work of one call."""

    def __init__(self, rules: Sequence[Rule], engine_state: EngineState, now: datetime, every: timedelta) -> None:
        self.compiled = compile_rules(rules)
        self.engine_state = engine_state
        self.previous_alerts = AlertIndex.from_mapping(engine_state.alert_states)  # before this call
        self.now = now
        self.every = every
        self.tz: tzinfo | None = None
        self.explain = False
        self.changed_series: dict[Series, SeriesState] = {}  # changed in this call
        self.changed_alerts: dict[AlertKey, AlertState] = {}  # changed in this call
        self.closed_alerts: list[AlertKey] = []
        self.transitions: list[Transition] = []
        self.decisions: list[Decision] = []
        self.suspended = False
        self.newly_gone: set[Series] = set()  # heard of for the last time in this call
        self._metrics_cache: tuple[dict[Series, SeriesMetrics], dict[Series, SeriesMetrics]] = ({}, {})
        self._exhausted_windows: dict[tuple[str, str], list[SeriesMetrics]] = {}

    def run(self, result: Snapshot | PollFailure | None) -> EvaluationResult:
        """Everything in its order."""
        self._clamp_future_times()
        self.suspended = staleness.was_suspended(self.engine_state.series_states.values(), self.now, self.every)
        heard = () if result is None else snapshots.apply_poll(self.engine_state.series_states, result, self.every)
        if result is not None:
            self.changed_series.update(
                (state.series, state)
                for state in snapshots.mark_provider_polled(self.engine_state.series_states, result)
            )
        self.changed_series.update((state.series, state) for state in heard)
        if result is not None and self.suspended:
            self._resume_after_suspend()
        self.newly_gone = {state.series for state in heard if state.gone}
        self._close_orphaned_alerts()
        heard = tuple(self.changed_series[state.series] for state in heard)
        for bound, state in self._select_affected(result, heard):
            self._evaluate_rule(bound, state, result)
        return EvaluationResult(
            series_states=tuple(self.changed_series.values()),
            alert_states=tuple(self.changed_alerts.values()),
            closed_alerts=tuple(self.closed_alerts),
            transitions=tuple(sorted(self.transitions, key=lambda each: (each.rule, each.series))),
            decisions=tuple(self.decisions),
            next_due_at=self._find_next_due(),
        )

    @cached_property
    def sorted_states(self) -> list[SeriesState]:
        """Every series, in order, once all news is in."""
        return sorted(self._all_states(), key=lambda state: state.series)

    def _all_states(self) -> Iterator[SeriesState]:
        """Every series as it is now, those of this news included."""
        for series, state in self.engine_state.series_states.items():
            yield self.changed_series.get(series, state)
        yield from (
            state for series, state in self.changed_series.items() if series not in self.engine_state.series_states
        )

    def _all_alerts(self) -> Iterator[AlertState]:
        """Every alert as it is now."""
        yield from (alert for key, alert in self.previous_alerts.items() if key not in self.changed_alerts)
        yield from self.changed_alerts.values()

    def _get_metrics(self, state: SeriesState, *, use_last_reading: bool) -> SeriesMetrics:
        views = self._metrics_cache[use_last_reading]
        view = views.get(state.series)
        if view is None:
            unasked = self.suspended or staleness.is_between_polls(state, self.now)
            view = views[state.series] = SeriesMetrics(
                state, self.now, use_last_reading=use_last_reading, not_polled=unasked
            )
        return view

    # --- what has ended ----------------------------------------------------------------------------------------------

    def _clamp_future_times(self) -> None:
        ahead = {
            state.series: state
            for state in staleness.clamp_future_times(self.engine_state.series_states.values(), self.now)
        }
        if ahead:
            self.engine_state = EngineState(
                {**self.engine_state.series_states, **ahead}, self.engine_state.alert_states
            )
            self.changed_series.update(ahead)

    def _resume_after_suspend(self) -> None:
        """Watching goes on: silence is counted from now."""
        for state in list(self._all_states()):
            self.changed_series[state.series] = replace(state, watched_from=self.now)
        self.suspended = False

    def _close_orphaned_alerts(self) -> None:
        """Close, without a word, the alerts of rules and series that are gone."""
        for state in [] if self.suspended else list(self._all_states()):
            if not state.gone and staleness.is_gone(state, self.now):
                self.changed_series[state.series] = replace(state, gone=True, samples=(), doubt=None)
        in_force = {bound.rule.name for bound in self.compiled}
        for series, alerts in self.previous_alerts.group_by_series():
            of = self.changed_series.get(series) or self.engine_state.series_states.get(series)
            gone = of is None or (of.gone and series not in self.newly_gone)
            if gone or not alerts.keys() <= in_force:
                for alert in [alert for alert in alerts.values() if gone or alert.rule not in in_force]:
                    self._close_alert(alert, of, "series gone" if alert.rule in in_force else "rule removed")

    def _close_alert(self, alert: AlertState, state: SeriesState | None, reason: str) -> None:
        if alert.fingerprint:
            remains = state_machine.close_alert(alert, self.now)
            if state is not None and (alert.phase is not AlertPhase.OK or self.explain):
                view = self._get_metrics(state, use_last_reading=False)
                self.decisions.append(make_decision(alert.rule, view, (), AlertPhase.OK, reason))
        else:
            remains = alert if state is not None and state.episode == alert.episode else None
        if remains is None:
            self.closed_alerts.append((alert.rule, alert.series))
        elif remains is not alert:
            self.changed_alerts[alert.rule, alert.series] = remains

    # --- who is concerned --------------------------------------------------------------------------------------------

    def _select_affected(
        self, result: Snapshot | PollFailure | None, updated: Sequence[SeriesState]
    ) -> Iterator[tuple[CompiledRule, SeriesState]]:
        """Every rule with every series of which this news may change what the rule says, each pair once."""
        for bound in self.compiled:
            if result is None:
                candidates: Iterable[SeriesState] = self.sorted_states if bound.is_availability_rule else ()
            elif not depends_on_provider(bound, result.provider):
                continue
            elif any(other.provider in ("*", result.provider) for other in bound.other_selectors):
                here = {state.series for state in updated}
                candidates = [
                    state
                    for state in self.sorted_states
                    if state.series in here or state.series.provider != result.provider
                ]
            else:
                candidates = updated
            for state in candidates:
                if self._is_subject(bound, state):
                    yield bound, state

    def _is_subject(self, compiled: CompiledRule, state: SeriesState) -> bool:
        if state.gone and state.series not in self.newly_gone:
            return False
        if compiled.subject.matches(state.series, state.account_name, state.kind, is_primary=state.primary):
            return True
        # A window that was the fullest when its alert fired must still be able to resolve it.
        alert = self.previous_alerts.for_series(state.series).get(compiled.rule.name)
        return alert is not None and alert.phase is not AlertPhase.OK and alert.fingerprint == compiled.rule.fingerprint

    # --- one rule, one series ----------------------------------------------------------------------------------------

    def _evaluate_rule(self, compiled: CompiledRule, state: SeriesState, result: Snapshot | PollFailure | None) -> None:
        rule = compiled.rule
        view = self._get_metrics(state, use_last_reading=compiled.is_availability_rule)
        whens = evaluate_condition(compiled, view, self._list_metrics, clearing=False)
        before = self.previous_alerts.for_series(state.series).get(rule.name)
        if before is None:
            if True not in whens:
                if self.explain:
                    self._record_decision(
                        compiled, view, whens, AlertPhase.OK, "below" if None not in whens else "unknown"
                    )
                return
            before = state_machine.create_alert(rule, state.series, state.episode, self.now)
        seen = Observation(
            levels_met=whens,
            levels_cleared=evaluate_condition(compiled, view, self._list_metrics, clearing=True)
            if before.phase is AlertPhase.FIRING
            else (),
            episode=state.episode,
            resolves_on_reset=compiled.resolves_on_reset,
            active=rule.active is None or is_active(rule.active, self.now, self.tz),
            inhibit=before.phase is not AlertPhase.FIRING
            and True in whens
            and self._is_already_reported(compiled, state),
            end_inhibit=before.muted and staleness.must_report(list(self._all_states()), state, result),
            every=self.every if result is not None else state.every,
        )
        done = state_machine.update_alert(rule, before, seen, self.now)
        self._record_alert(before, done.alert)
        self._record_update(compiled, view, whens, done)

    def _list_metrics(self, *, use_last_reading: bool) -> Iterable[SeriesMetrics]:
        """Every series, for conditions about more than one."""
        return [
            self._get_metrics(state, use_last_reading=use_last_reading)
            for state in self._all_states()
            if not state.gone
        ]

    def _is_already_reported(self, compiled: CompiledRule, state: SeriesState) -> bool:
        """Whether this alert would only say once more that this machine is offline."""
        if compiled.resolves_on_reset or state.error_kind != staleness.OFFLINE_KIND:
            return False
        said = [
            alert.series
            for alert in self._all_alerts()
            if alert.rule == compiled.rule.name and alert.phase is AlertPhase.FIRING and not alert.muted
        ]
        return staleness.is_already_reported(self._all_states(), state, said)

    def _record_alert(self, previous: AlertState, alert: AlertState) -> None:
        key = (alert.rule, alert.series)
        stored = alert.rule in self.previous_alerts.for_series(alert.series)
        if alert.phase is AlertPhase.OK and not alert.fired:
            if stored:
                self.closed_alerts.append(key)
        elif not stored or alert != previous:
            self.changed_alerts[key] = alert

    def _record_update(
        self,
        compiled: CompiledRule,
        metrics: SeriesMetrics,
        levels_met: tuple[bool | None, ...],
        update: state_machine.AlertUpdate,
    ) -> None:
        reason = update.reason
        for change in update.changes:
            event = dressing.choose_event(compiled.rule, change)
            if event is not None:
                siblings = self._find_exhausted_siblings(metrics.state)
                self.transitions.append(dressing.make_transition(event, compiled.rule, change, metrics, siblings))
            elif change.reason == reason:
                reason = "not asked for"
            if change.reason != update.reason:  # a reset, after which the same reading was judged anew
                self._record_decision(compiled, metrics, levels_met, AlertPhase.OK, change.reason)
        if self.explain or update.changes or reason not in ("unchanged", "hysteresis", "below"):
            self._record_decision(compiled, metrics, levels_met, update.alert.phase, reason)

    def _find_exhausted_siblings(self, state: SeriesState) -> list[SeriesMetrics]:
        """The account's other series, those that are used up: looked for once, however many alerts there are."""
        account = state.account_key
        if account not in self._exhausted_windows:
            full = (
                other for other in self.sorted_states if other.account_key == account and dressing.was_exhausted(other)
            )
            views = (self._get_metrics(other, use_last_reading=True) for other in full)
            self._exhausted_windows[account] = [view for view in views if dressing.is_exhausted(view)]
        return [view for view in self._exhausted_windows[account] if view.state.series != state.series]

    def _record_decision(
        self,
        compiled: CompiledRule,
        metrics: SeriesMetrics,
        levels_met: tuple[bool | None, ...],
        phase: AlertPhase,
        reason: str,
    ) -> None:
        self.decisions.append(make_decision(compiled.rule.name, metrics, levels_met, phase, reason))

    def _find_next_due(self) -> datetime | None:
        return staleness.find_next_due(
            [bound for bound in self.compiled if bound.is_availability_rule],
            [state for state in self._all_states() if not state.gone],
            self._all_alerts(),
            self._is_subject,
            self.now,
        )
