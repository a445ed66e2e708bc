"""What rules would have said to a history: the daemon's own core, fed with what was recorded.

Time passes as it did: between two answers, rules about silence are asked whenever they fall due. Never put a rule's
meaning here: if replay and the daemon could differ, neither could be trusted.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from statistics import median

from msgspec import Struct

from watcher.core import judge
from watcher.core.history import PollResult
from watcher.core.judge import EvaluationResult
from watcher.core.memory import AlertIndex, EngineState, SeriesState
from watcher.core.model import PollFailure, Rule, Series

DEFAULT_INTERVAL = timedelta(minutes=5)
"""How often a provider is asked, where neither its history nor the caller can tell."""

MIN_INTERVAL = timedelta(seconds=30)
MIN_PAUSES = 2


class ReplayStep(Struct, frozen=True):
    """One moment of a replay."""

    result: PollResult | None  # None: only time had passed
    evaluation: EvaluationResult


def measure_intervals(history: Iterable[PollResult]) -> dict[str, timedelta]:
    """How often each provider was asked: the median pause between two answers about one series."""
    instants: dict[tuple[str, str], dict[str, list[datetime]]] = {}
    for news in history:
        windows = instants.setdefault((news.provider, news.account), {})
        if isinstance(news, PollFailure):
            for moments in windows.values():
                moments.append(news.at)
            continue
        for reading in news.readings:
            windows.setdefault(reading.window, []).append(news.at)
    pauses: dict[str, list[float]] = {}
    for (provider, _account), windows in instants.items():
        for moments in windows.values():
            found = [(later - earlier).total_seconds() for earlier, later in pairwise(moments) if later > earlier]
            pauses.setdefault(provider, []).extend(found)
    return {
        provider: max(timedelta(seconds=median(found)), MIN_INTERVAL)
        for provider, found in pauses.items()
        if len(found) >= MIN_PAUSES
    }


def replay_rules(  # noqa: PLR0913 - everything it depends on is an argument
    rules: Sequence[Rule],
    history: Sequence[PollResult],
    *,
    default_intervals: Mapping[str, timedelta] | None = None,
    tz: tzinfo | None = None,
    explain: bool = False,
    until: datetime | None = None,
) -> Iterator[ReplayStep]:
    """Each moment of the history, as these rules would have judged it.

    Args:
        rules: to be tried.
        history: answers and failures in time order.
        default_intervals: provider -> how often it is asked, where the history is too short to tell.
        tz: the machine's zone, for `active` hours that name none.
        explain: give a decision also where nothing happened.
        until: the end, for rules about silence: time passes up to it after the last answer; None: it ends there.
    """
    paces = {**(default_intervals or {}), **measure_intervals(history)}
    slowest = max((paces.get(news.provider, DEFAULT_INTERVAL) for news in history), default=DEFAULT_INTERVAL)
    table = _Replay(tuple(rules), tz, explain=explain)
    for news in history:
        yield from table.evaluate_due_before(news.at, slowest)
        yield table.evaluate_at(news, news.at, paces.get(news.provider, DEFAULT_INTERVAL))
    if until is not None:
        yield from table.evaluate_due_before(until, slowest)
        yield table.evaluate_at(None, until, slowest)


class _Replay:
    """What a replay has in hand: the states, and when time alone may change them."""

    def __init__(self, rules: tuple[Rule, ...], tz: tzinfo | None, *, explain: bool) -> None:
        self._rules, self._tz, self._explain = rules, tz, explain
        self._series_states: dict[Series, SeriesState] = {}
        self._alert_states = AlertIndex()
        self._next_due_at: datetime | None = None

    def evaluate_at(self, result: PollResult | None, at: datetime, every: timedelta) -> ReplayStep:
        """One moment; of the states what it changes is kept in place, for a history may be long."""
        memory = EngineState(self._series_states, self._alert_states)
        judgement = judge.evaluate_poll(
            self._rules, memory, result, at, every=every, tz=self._tz, explain=self._explain
        )
        self._series_states.update((state.series, state) for state in judgement.series_states)
        self._alert_states.apply_changes(judgement.alert_states, judgement.closed_alerts)
        self._next_due_at = judgement.next_due_at
        return ReplayStep(result, judgement)

    def evaluate_due_before(self, at: datetime, every: timedelta) -> Iterator[ReplayStep]:
        """Every moment before that at which time alone may change something."""
        while self._next_due_at is not None and self._next_due_at < at:
            yield self.evaluate_at(None, self._next_due_at, every)
