"""Was anybody watching? Silence is news only while providers were being asked.

After a sleep, a holiday or a shutdown nothing was asked, and no rule may take that for a provider's silence. Never
decide here what silence means to a rule.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from msgspec.structs import replace

from watcher.core.cycle import SHORT_GAP_POLLS
from watcher.core.memory import SeriesState

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
