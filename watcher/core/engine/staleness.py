"""Was anybody watching? Silence is news only while providers were being asked.

After a sleep, a holiday or a shutdown nothing was asked, and no rule may take that for a provider's silence. Never
decide here what silence means to a rule.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime, timedelta

from msgspec.structs import replace

from watcher.core.engine.matching import CompiledRule
from watcher.core.engine.metrics import NETWORK_SOURCE
from watcher.core.engine.reset_detection import SHORT_GAP_POLLS
from watcher.core.engine.state import AlertState, SeriesState
from watcher.core.model import AlertPhase, Series

SUSPENDED_AFTER = timedelta(minutes=20)
"""Longer than any usual pause between polls: when nothing at all was asked for so long, nobody watched."""

RESUME_GRACE_FOR = timedelta(hours=1)
"""So long after such a gap every account has been asked again."""

OVERDUE_POLLS = 5
"""A provider that answered well may be asked up to four times later than usual while nothing changes."""

GONE_AFTER = timedelta(days=7)
"""A series that was not heard of for so long is gone for good."""


def clamp_future_times(states: Iterable[SeriesState], now: datetime) -> list[SeriesState]:
    """States with what they saw "later" than now seen just now: the clock was set back, and no silence may wait for it.

    Two kinds of instants are stored. History never runs backwards: when an alert changed, when an episode began,
    the order of samples. What is a last sight follows the clock, or nobody would be late until it has caught up.
    """
    return [_clamp_times(state, now) for state in states if _latest_seen_at(state) > now]


def was_suspended(states: Collection[SeriesState], now: datetime, every: timedelta) -> bool:
    """Whether no account at all was asked for longer than any usual pause. What was told to wait is no gap."""
    if not states:
        return False
    asked = max(state.asked_at if state.retry_at is None else max(state.asked_at, state.retry_at) for state in states)
    if now - asked <= SUSPENDED_AFTER:
        return False
    usual = max(every, *(state.every for state in states))
    return now - asked > SHORT_GAP_POLLS * usual


def is_between_polls(state: SeriesState, now: datetime) -> bool:
    """Whether the last answer was good, and the next is simply not due: it is not silent, nobody has asked."""
    return state.standing.is_believed and state.every < now - state.heard_at <= OVERDUE_POLLS * state.every


def is_overdue(state: SeriesState, now: datetime) -> bool:
    """Whether the series should have been heard of by now, even if it was asked as seldom as that may happen."""
    return now - state.heard_at > OVERDUE_POLLS * state.every


def is_gone(state: SeriesState, now: datetime) -> bool:
    """Whether the series has left for good; never right after a gap, when its account was not asked yet."""
    awake = state.watched_from is None or now - state.watched_from > RESUME_GRACE_FOR
    return awake and now - state.heard_at > GONE_AFTER


def _latest_seen_at(state: SeriesState) -> datetime:
    seen = (state.heard_at, state.asked_at, state.read_at, state.watched_from, state.failing_since)
    return max(at for at in seen if at is not None)


def _clamp_times(state: SeriesState, now: datetime) -> SeriesState:
    return replace(
        state,
        heard_at=min(state.heard_at, now),
        asked_at=min(state.asked_at, now),
        read_at=None if state.read_at is None else min(state.read_at, now),
        changed_at=None if state.changed_at is None else min(state.changed_at, now),
        watched_from=None if state.watched_from is None else min(state.watched_from, now),
        failing_since=None if state.failing_since is None else min(state.failing_since, now),
    )


# --- When time alone may change what a rule says: the next moment at which to judge without news


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


# --- Is it the provider that is silent, or this machine? When nothing can be reached, that is one notice, not six


OFFLINE_KIND = "offline"
"""The contract's word for a failure to reach anything."""

INCONCLUSIVE_KINDS = frozenset({"expired", "not_signed_in", "unsupported"})
"""Failures that are found without the network, or stay as they are: they say nothing of it."""


def is_machine_offline(kinds: Iterable[str | None]) -> bool:
    """Whether this machine itself seems cut off: of all that was asked over the network nothing could be reached.

    `kinds`: of each such account's present failure; None: it answered.
    """
    return set(kinds) - INCONCLUSIVE_KINDS == {OFFLINE_KIND}


def is_outage_reported(states: Iterable[SeriesState], reported: Collection[Series]) -> bool:
    """Whether an alert already reports that this machine is offline.

    Args:
        states: of every series.
        reported: the series of the other alerts that fire by the same rule.
    """
    known = list(states)
    unreachable = [each for each in known if each.series in reported and each.error_kind == OFFLINE_KIND]
    return any(each.failing_since is not None and not is_network_up(known, each.failing_since) for each in unreachable)


def is_network_up(states: Iterable[SeriesState], since: datetime) -> bool:
    """Whether a provider has answered over the network after an instant. Files on this machine prove nothing."""
    return any(
        state.error_kind is None
        and state.reading is not None
        and state.reading.source == NETWORK_SOURCE
        and state.heard_at > since
        for state in states
    )
