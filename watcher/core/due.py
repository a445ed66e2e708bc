"""When time alone may change what a rule says: the next moment at which to judge without news.

Only rules about silence need it, and alerts whose series are gone for good: everything else waits for a reading.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime, timedelta

from watcher.core.attention import GONE_AFTER, OVERDUE_POLLS
from watcher.core.binding import CompiledRule
from watcher.core.memory import AlertState, SeriesState
from watcher.core.model import AlertPhase

PAST_DUE_MARGIN = timedelta(seconds=1)
"""`age > 45m` does not hold at 45 minutes to the dot."""


def find_next_due(
    availability_rules: Collection[CompiledRule],
    states: Collection[SeriesState],
    alerts: Iterable[AlertState],
    is_subject: Callable[[CompiledRule, SeriesState], bool],
    now: datetime,
) -> datetime | None:
    """The earliest such moment after `now`; None where there is none.

    Args:
        availability_rules: the rules that speak of silence.
        states: of every series that is not gone.
        alerts: all of them.
        is_subject: whether a rule is about a series.
        now: this instant.
    """
    dues = [state.heard_at + GONE_AFTER + PAST_DUE_MARGIN for state in states]
    for bound in availability_rules:
        for state in states:
            if is_subject(bound, state):
                dues += _list_availability_deadlines(bound, state)
    if availability_rules:
        rules = {bound.rule.name: bound for bound in availability_rules}
        for alert in alerts:
            if alert.phase is not AlertPhase.OK and alert.rule in rules:
                dues += _list_alert_deadlines(rules[alert.rule], alert)
    return min((due for due in dues if due > now), default=None)


def _list_availability_deadlines(compiled: CompiledRule, state: SeriesState) -> Iterator[datetime]:
    """When each duration in the condition has gone by, and when a good answer is so old that it is silence."""
    since = state.heard_at if state.read_at is None else state.read_at
    if state.watched_from is not None:
        since = max(since, state.watched_from)
    for begun in {since, state.heard_at}:  # a tool's own file is silent from when it was last read, not written
        for wait in compiled.durations_s:
            yield begun + timedelta(seconds=wait) + PAST_DUE_MARGIN
    if state.standing.is_believed:
        yield state.heard_at + OVERDUE_POLLS * state.every + PAST_DUE_MARGIN


def _list_alert_deadlines(compiled: CompiledRule, alert: AlertState) -> Iterator[datetime]:
    if alert.phase is AlertPhase.FIRING and alert.remind_at is not None:
        yield alert.remind_at
    if alert.phase is AlertPhase.PENDING and alert.clock_at is not None:
        yield from (alert.clock_at + compiled.rule.pending_for - span for span in alert.held if span is not None)
