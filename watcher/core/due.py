"""When time alone may change what a rule says: the next moment at which to judge without news.

Only rules about silence need it, and alerts whose series are gone for good: everything else waits for a reading.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime, timedelta

from watcher.core.attention import GONE_AFTER, OVERDUE_POLLS
from watcher.core.binding import Bound
from watcher.core.memory import AlertState, SeriesState
from watcher.core.model import Phase

SAFELY_PAST = timedelta(seconds=1)
"""`age > 45m` does not hold at 45 minutes to the dot."""


def next_due(
    silent: Collection[Bound],
    states: Collection[SeriesState],
    alerts: Iterable[AlertState],
    is_subject: Callable[[Bound, SeriesState], bool],
    now: datetime,
) -> datetime | None:
    """The earliest such moment after `now`; None where there is none.

    Args:
        silent: the rules that speak of silence.
        states: of every series that is not gone.
        alerts: all of them.
        is_subject: whether a rule is about a series.
        now: this instant.
    """
    dues = [state.heard_at + GONE_AFTER + SAFELY_PAST for state in states]
    for bound in silent:
        for state in states:
            if is_subject(bound, state):
                dues += _of_silence(bound, state)
    if silent:
        rules = {bound.rule.name: bound for bound in silent}
        for alert in alerts:
            if alert.phase is not Phase.OK and alert.rule in rules:
                dues += _of_alert(rules[alert.rule], alert)
    return min((due for due in dues if due > now), default=None)


def _of_silence(bound: Bound, state: SeriesState) -> Iterator[datetime]:
    """When each duration in the condition has gone by, and when a good answer is so old that it is silence."""
    since = state.heard_at if state.read_at is None else state.read_at
    if state.watched_from is not None:
        since = max(since, state.watched_from)
    for begun in {since, state.heard_at}:  # a tool's own file is silent from when it was last read, not written
        for wait in bound.waits_s:
            yield begun + timedelta(seconds=wait) + SAFELY_PAST
    if state.standing.is_believed:
        yield state.heard_at + OVERDUE_POLLS * state.every + SAFELY_PAST


def _of_alert(bound: Bound, alert: AlertState) -> Iterator[datetime]:
    if alert.phase is Phase.FIRING and alert.remind_at is not None:
        yield alert.remind_at
    if alert.phase is Phase.PENDING and alert.clock_at is not None:
        yield from (alert.clock_at + bound.rule.hold - span for span in alert.held if span is not None)
