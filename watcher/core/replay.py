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
from watcher.core.history import News
from watcher.core.judge import Judgement
from watcher.core.memory import Alerts, Memory, SeriesState
from watcher.core.model import Failure, Rule, Series

USUALLY_EVERY = timedelta(minutes=5)
"""How often a provider is asked, where neither its history nor the caller can tell."""

SHORTEST = timedelta(seconds=30)
LEAST_PAUSES = 2


class Played(Struct, frozen=True):
    """One moment of a replay."""

    news: News | None  # None: only time had passed
    judgement: Judgement


def intervals(history: Iterable[News]) -> dict[str, timedelta]:
    """How often each provider was asked: the median pause between two answers about one series."""
    instants: dict[tuple[str, str], dict[str, list[datetime]]] = {}
    for news in history:
        windows = instants.setdefault((news.provider, news.account), {})
        if isinstance(news, Failure):
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
        provider: max(timedelta(seconds=median(found)), SHORTEST)
        for provider, found in pauses.items()
        if len(found) >= LEAST_PAUSES
    }


def play(  # noqa: PLR0913 - everything it depends on is an argument
    rules: Sequence[Rule],
    history: Sequence[News],
    *,
    usual: Mapping[str, timedelta] | None = None,
    tz: tzinfo | None = None,
    explain: bool = False,
    until: datetime | None = None,
) -> Iterator[Played]:
    """Each moment of the history, as these rules would have judged it.

    Args:
        rules: to be tried.
        history: answers and failures in time order.
        usual: provider -> how often it is asked, where the history is too short to tell.
        tz: the machine's zone, for `active` hours that name none.
        explain: give a decision also where nothing happened.
        until: the end, for rules about silence: time passes up to it after the last answer; None: it ends there.
    """
    paces = {**(usual or {}), **intervals(history)}
    slowest = max((paces.get(news.provider, USUALLY_EVERY) for news in history), default=USUALLY_EVERY)
    table = _Table(tuple(rules), tz, explain=explain)
    for news in history:
        yield from table.until(news.at, slowest)
        yield table.judged(news, news.at, paces.get(news.provider, USUALLY_EVERY))
    if until is not None:
        yield from table.until(until, slowest)
        yield table.judged(None, until, slowest)


class _Table:
    """What a replay has in hand: the states, and when time alone may change them."""

    def __init__(self, rules: tuple[Rule, ...], tz: tzinfo | None, *, explain: bool) -> None:
        self._rules, self._tz, self._explain = rules, tz, explain
        self._series: dict[Series, SeriesState] = {}
        self._alerts = Alerts()
        self._due: datetime | None = None

    def judged(self, news: News | None, at: datetime, every: timedelta) -> Played:
        """One moment; of the states what it changes is kept in place, for a history may be long."""
        memory = Memory(self._series, self._alerts)
        judgement = judge.judge(self._rules, memory, news, at, every=every, tz=self._tz, explain=self._explain)
        self._series.update((state.series, state) for state in judgement.series)
        self._alerts.learn(judgement.alerts, judgement.closed)
        self._due = judgement.next_due
        return Played(news, judgement)

    def until(self, at: datetime, every: timedelta) -> Iterator[Played]:
        """Every moment before that at which time alone may change something."""
        while self._due is not None and self._due < at:
            yield self.judged(None, self._due, every)
