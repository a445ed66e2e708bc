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

from watcher.core import attention, dressing, due, evaluate, households, offline, shortlist
from watcher.core.binding import Bound, bind, holds, touches
from watcher.core.decisions import Decision, decision
from watcher.core.evaluate import Observation
from watcher.core.hours import is_active
from watcher.core.memory import Alerts, AlertState, Key, Memory, SeriesState
from watcher.core.model import Failure, Phase, Rule, Series, Snapshot, Transition
from watcher.core.view import View


class Judgement(Struct, frozen=True, kw_only=True):
    """What changed, what is to be said, and when to look again. What did not change is not in it."""

    series: tuple[SeriesState, ...] = ()
    alerts: tuple[AlertState, ...] = ()
    closed: tuple[Key, ...] = ()  # alerts of which nothing is left to remember
    transitions: tuple[Transition, ...] = ()
    decisions: tuple[Decision, ...] = ()
    next_due: datetime | None = None  # when time alone may change something: judge no news then


def judge(  # noqa: PLR0913 - everything it depends on is an argument
    rules: Sequence[Rule],
    memory: Memory,
    news: Snapshot | Failure | None,
    now: datetime,
    *,
    every: timedelta,
    tz: tzinfo | None = None,
    explain: bool = False,
) -> Judgement:
    """What these rules make of this news.

    Args:
        rules: in force; a tuple that is passed again is not prepared again.
        memory: what the last call left.
        news: of one account; None: only time has passed.
        now: this instant.
        every: how often this provider is asked at present.
        tz: the machine's zone, for `active` hours that name none; None: what the system says.
        explain: give a decision also for each rule and series where nothing happened.
    """
    sitting = _Sitting(rules, memory, now, every)
    sitting.tz, sitting.explain = tz, explain
    return sitting.held(news)


def after(memory: Memory, judgement: Judgement) -> Memory:
    """The memory with a judgement's changes in it."""
    alerts = Alerts(memory.alerts.values())
    alerts.learn(judgement.alerts, judgement.closed)
    return Memory({**memory.series, **{state.series: state for state in judgement.series}}, alerts)


class _Sitting:
    """The work of one call."""

    def __init__(self, rules: Sequence[Rule], memory: Memory, now: datetime, every: timedelta) -> None:
        self.bindings = bind(rules)
        self.memory = memory
        self.known = Alerts.grouped(memory.alerts)  # before this call
        self.now = now
        self.every = every
        self.tz: tzinfo | None = None
        self.explain = False
        self.series: dict[Series, SeriesState] = {}  # changed in this call
        self.alerts: dict[Key, AlertState] = {}  # changed in this call
        self.closed: list[Key] = []
        self.transitions: list[Transition] = []
        self.decisions: list[Decision] = []
        self.asleep = False
        self.leaving: set[Series] = set()  # heard of for the last time in this call
        self._views: tuple[dict[Series, View], dict[Series, View]] = ({}, {})
        self._spent: dict[tuple[str, str], list[View]] = {}

    def held(self, news: Snapshot | Failure | None) -> Judgement:
        """Everything in its order."""
        self._put_clock_right()
        self.asleep = attention.nobody_watched(self.memory.series.values(), self.now, self.every)
        heard = () if news is None else households.told(self.memory.series, news, self.every)
        if news is not None:
            self.series.update((state.series, state) for state in households.looked_for(self.memory.series, news))
        self.series.update((state.series, state) for state in heard)
        if news is not None and self.asleep:
            self._wake()
        self.leaving = {state.series for state in heard if state.gone}
        self._close_what_is_gone()
        heard = tuple(self.series[state.series] for state in heard)
        for bound, state in self._concerned(news, heard):
            self._judge(bound, state, news)
        return Judgement(
            series=tuple(self.series.values()),
            alerts=tuple(self.alerts.values()),
            closed=tuple(self.closed),
            transitions=tuple(sorted(self.transitions, key=lambda each: (each.rule, each.series))),
            decisions=tuple(self.decisions),
            next_due=self._next_due(),
        )

    @cached_property
    def everything(self) -> list[SeriesState]:
        """Every series, in order, once all news is in."""
        return sorted(self._all(), key=lambda state: state.series)

    def _all(self) -> Iterator[SeriesState]:
        """Every series as it is now, those of this news included."""
        for series, state in self.memory.series.items():
            yield self.series.get(series, state)
        yield from (state for series, state in self.series.items() if series not in self.memory.series)

    def _alerts(self) -> Iterator[AlertState]:
        """Every alert as it is now."""
        yield from (alert for key, alert in self.known.items() if key not in self.alerts)
        yield from self.alerts.values()

    def _view(self, state: SeriesState, *, lasting: bool) -> View:
        views = self._views[lasting]
        view = views.get(state.series)
        if view is None:
            unasked = self.asleep or attention.is_left_alone(state, self.now)
            view = views[state.series] = View(state, self.now, lasting=lasting, unasked=unasked)
        return view

    # --- what has ended ----------------------------------------------------------------------------------------------

    def _put_clock_right(self) -> None:
        ahead = {state.series: state for state in attention.put_right(self.memory.series.values(), self.now)}
        if ahead:
            self.memory = Memory({**self.memory.series, **ahead}, self.memory.alerts)
            self.series.update(ahead)

    def _wake(self) -> None:
        """Watching goes on: silence is counted from now."""
        for state in list(self._all()):
            self.series[state.series] = replace(state, watched_from=self.now)
        self.asleep = False

    def _close_what_is_gone(self) -> None:
        """Close, without a word, the alerts of rules and series that are gone."""
        for state in [] if self.asleep else list(self._all()):
            if not state.gone and attention.is_gone(state, self.now):
                self.series[state.series] = replace(state, gone=True, samples=(), doubt=None)
        in_force = self.bindings.places.keys()
        for series, alerts in self.known.by_series():
            of = self.series.get(series) or self.memory.series.get(series)
            gone = of is None or (of.gone and series not in self.leaving)
            if gone or not alerts.keys() <= in_force:
                for alert in [alert for alert in alerts.values() if gone or alert.rule not in in_force]:
                    self._retire(alert, of, "series gone" if alert.rule in in_force else "rule removed")

    def _retire(self, alert: AlertState, state: SeriesState | None, reason: str) -> None:
        if alert.fingerprint:
            remains = evaluate.retired(alert, self.now)
            if state is not None and (alert.phase is not Phase.OK or self.explain):
                view = self._view(state, lasting=False)
                self.decisions.append(decision(alert.rule, view, (), Phase.OK, reason))
        else:
            remains = alert if state is not None and state.episode == alert.episode else None
        if remains is None:
            self.closed.append((alert.rule, alert.series))
        elif remains is not alert:
            self.alerts[alert.rule, alert.series] = remains

    # --- who is concerned --------------------------------------------------------------------------------------------

    def _concerned(
        self, news: Snapshot | Failure | None, heard: Sequence[SeriesState]
    ) -> Iterator[tuple[Bound, SeriesState]]:
        """Every rule with every series of which this news may change what the rule says, each pair once."""
        bounds = self.bindings.bound
        views = [self._view(state, lasting=False) for state in heard]
        chosen = {} if self.explain else shortlist.chosen(self.bindings, views, self.known)
        for place in range(len(bounds)) if self.explain else sorted(self.bindings.unshelved | chosen.keys()):
            bound = bounds[place]
            if news is None:
                candidates: Iterable[SeriesState] = self.everything if bound.speaks_of_silence else ()
            elif place in chosen:
                candidates = chosen[place]
            elif not touches(bound, news.provider):
                continue
            elif any(other.provider in ("*", news.provider) for other in bound.others):
                here = {state.series for state in heard}
                candidates = [
                    state for state in self.everything if state.series in here or state.series.provider != news.provider
                ]
            else:
                candidates = heard
            for state in candidates:
                if self._is_subject(bound, state):
                    yield bound, state

    def _is_subject(self, bound: Bound, state: SeriesState) -> bool:
        if state.gone and state.series not in self.leaving:
            return False
        if bound.subject.matches(state.series, state.account_name, state.kind, primary=state.primary):
            return True
        # A window that was the fullest when its alert fired must still be able to resolve it.
        alert = self.known.of(state.series).get(bound.rule.name)
        return alert is not None and alert.phase is not Phase.OK and alert.fingerprint == bound.rule.fingerprint

    # --- one rule, one series ----------------------------------------------------------------------------------------

    def _judge(self, bound: Bound, state: SeriesState, news: Snapshot | Failure | None) -> None:
        rule = bound.rule
        view = self._view(state, lasting=bound.speaks_of_silence)
        whens = holds(bound, view, self._others, clearing=False)
        before = self.known.of(state.series).get(rule.name)
        if before is None:
            if True not in whens:
                if self.explain:
                    self._decide(bound, view, whens, Phase.OK, "below" if None not in whens else "unknown")
                return
            before = evaluate.unseen(rule, state.series, state.episode, self.now)
        seen = Observation(
            whens=whens,
            clears=holds(bound, view, self._others, clearing=True) if before.phase is Phase.FIRING else (),
            episode=state.episode,
            cyclic=bound.is_cyclic,
            active=rule.active is None or is_active(rule.active, self.now, self.tz),
            mute=before.phase is not Phase.FIRING and True in whens and self._is_said(bound, state),
            unmute=before.muted and offline.must_speak(list(self._all()), state, news),
            every=self.every if news is not None else state.every,
        )
        done = evaluate.step(rule, before, seen, self.now)
        self._keep(before, done.alert)
        self._say(bound, view, whens, done)

    def _others(self, *, lasting: bool) -> Iterable[View]:
        """Every series, for conditions about more than one."""
        return [self._view(state, lasting=lasting) for state in self._all() if not state.gone]

    def _is_said(self, bound: Bound, state: SeriesState) -> bool:
        """Whether this alert would only say once more that this machine is offline."""
        if bound.is_cyclic or state.error_kind != offline.KIND:
            return False
        said = [
            alert.series
            for alert in self._alerts()
            if alert.rule == bound.rule.name and alert.phase is Phase.FIRING and not alert.muted
        ]
        return offline.is_said(self._all(), state, said)

    def _keep(self, before: AlertState, alert: AlertState) -> None:
        key = (alert.rule, alert.series)
        stored = alert.rule in self.known.of(alert.series)
        if alert.phase is Phase.OK and not alert.fired:
            if stored:
                self.closed.append(key)
        elif not stored or alert != before:
            self.alerts[key] = alert

    def _say(self, bound: Bound, view: View, whens: tuple[bool | None, ...], done: evaluate.Step) -> None:
        reason = done.reason
        for change in done.changes:
            event = dressing.event_of(bound.rule, change)
            if event is not None:
                siblings = self._siblings(view.state)
                self.transitions.append(dressing.dressed(event, bound.rule, change, view, siblings))
            elif change.reason == reason:
                reason = "not asked for"
            if change.reason != done.reason:  # a reset, after which the same reading was judged anew
                self._decide(bound, view, whens, Phase.OK, change.reason)
        if self.explain or done.changes or reason not in ("unchanged", "hysteresis", "below"):
            self._decide(bound, view, whens, done.alert.phase, reason)

    def _siblings(self, state: SeriesState) -> list[View]:
        """The account's other series, those that are used up: looked for once, however many alerts there are."""
        account = state.owner
        if account not in self._spent:
            full = (other for other in self.everything if other.owner == account and dressing.is_full(other))
            views = (self._view(other, lasting=True) for other in full)
            self._spent[account] = [view for view in views if dressing.is_spent(view)]
        return [view for view in self._spent[account] if view.state.series != state.series]

    def _decide(self, bound: Bound, view: View, whens: tuple[bool | None, ...], phase: Phase, reason: str) -> None:
        self.decisions.append(decision(bound.rule.name, view, whens, phase, reason))

    def _next_due(self) -> datetime | None:
        return due.next_due(
            [bound for bound in self.bindings.bound if bound.speaks_of_silence],
            [state for state in self._all() if not state.gone],
            self._alerts(),
            self._is_subject,
            self.now,
        )
