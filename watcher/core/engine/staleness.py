"""What missing readings mean: suspended machines, overdue and gone series, outages, and when to evaluate next.

They count only while providers are polled: after sleep or a shutdown, no rule takes the gap for a provider that does
not answer. When no provider can be reached, this machine is offline, and one alert of a rule reports that for all.
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
"""No poll at all for so long, which is more than any usual pause: the machine was suspended."""

RESUME_GRACE_FOR = timedelta(hours=1)
"""So long after a suspension every account has been polled again."""

OVERDUE_POLLS = 5
"""A provider that answered well may be polled up to four times later than usual while nothing changes."""

GONE_AFTER = timedelta(days=7)
"""A series that no answer held for so long is gone."""

PAST_DUE_MARGIN = timedelta(seconds=1)
"""`age > 45m` does not hold at exactly 45 minutes."""

OFFLINE_KIND = "offline"
"""The contract's word for a provider that cannot be reached."""

_OBSERVED_TIMES = ("last_seen_at", "polled_at", "read_at", "changed_at", "resumed_at", "failing_since")


def clamp_future_times(states: Iterable[SeriesState], now: datetime) -> list[SeriesState]:
    """The states that were last seen "later" than now, as seen now: the clock was set back.

    When an alert changed, when an episode began and the order of samples stay as they are.
    """
    clamped = []
    for state in states:
        late = {name: now for name in _OBSERVED_TIMES if (getattr(state, name) or now) > now}
        if late:
            clamped.append(replace(state, **late))
    return clamped


def was_suspended(states: Collection[SeriesState], now: datetime, every: timedelta) -> bool:
    """Whether no account was polled for longer than any usual pause, cooldowns aside."""
    if not states:
        return False
    gap = now - max(max(state.polled_at, state.retry_at or state.polled_at) for state in states)
    return gap > SUSPENDED_AFTER and gap > SHORT_GAP_POLLS * max(every, *(state.every for state in states))


def is_between_polls(state: SeriesState, now: datetime) -> bool:
    """Whether the last answer was good and the next poll is not due yet."""
    return state.validity.is_believed and state.every < now - state.last_seen_at <= OVERDUE_POLLS * state.every


def is_overdue(state: SeriesState, now: datetime) -> bool:
    """Whether an answer should have held the series by now, even at the slowest pace."""
    return now - state.last_seen_at > OVERDUE_POLLS * state.every


def is_gone(state: SeriesState, now: datetime) -> bool:
    """Whether the series is gone; never just after a suspension, when its account was not polled yet."""
    is_awake = state.resumed_at is None or now - state.resumed_at > RESUME_GRACE_FOR
    return is_awake and now - state.last_seen_at > GONE_AFTER


def find_next_due(
    availability_rules: Collection[CompiledRule],
    states: Collection[SeriesState],
    alerts: Iterable[AlertState],
    is_subject: Callable[[CompiledRule, SeriesState], bool],
    now: datetime,
) -> datetime | None:
    """The next moment at which time alone may change an alert; None if there is none.

    Args:
        availability_rules: the rules about missing readings.
        states: of every series that is not gone.
        alerts: all of them.
        is_subject: whether a rule is about a series.
        now: this instant.
    """
    dues = [state.last_seen_at + GONE_AFTER + PAST_DUE_MARGIN for state in states]
    for compiled in availability_rules:
        for state in states:
            if is_subject(compiled, state):
                dues += _list_availability_deadlines(compiled, state)
    by_name = {compiled.rule.name: compiled for compiled in availability_rules}
    for alert in alerts if by_name else ():
        if alert.rule in by_name:
            dues += _list_alert_deadlines(by_name[alert.rule], alert)
    return min((due for due in dues if due > now), default=None)


def _list_availability_deadlines(compiled: CompiledRule, state: SeriesState) -> Iterator[datetime]:
    """When each duration of the condition has passed, and when a good answer is overdue."""
    since = state.read_at or state.last_seen_at
    if state.resumed_at is not None:
        since = max(since, state.resumed_at)
    for start in {since, state.last_seen_at}:  # the age of a tool's own file counts from when it was last read
        for duration_s in compiled.durations_s:
            yield start + timedelta(seconds=duration_s) + PAST_DUE_MARGIN
    if state.validity.is_believed:
        yield state.last_seen_at + OVERDUE_POLLS * state.every + PAST_DUE_MARGIN


def _list_alert_deadlines(compiled: CompiledRule, alert: AlertState) -> Iterator[datetime]:
    if alert.phase is AlertPhase.FIRING and alert.remind_at is not None:
        yield alert.remind_at
    if alert.phase is AlertPhase.PENDING and alert.timers_at is not None:
        yield from (alert.timers_at + compiled.rule.pending_for - span for span in alert.met_for if span is not None)


def is_outage_reported(states: Collection[SeriesState], reported: Collection[Series]) -> bool:
    """Whether an alert already reports that this machine is offline.

    Args:
        states: of every series.
        reported: the series of the other alerts that fire by the same rule.
    """
    return any(
        state.series in reported
        and state.error_kind == OFFLINE_KIND
        and state.failing_since is not None
        and not is_network_up(states, state.failing_since)
        for state in states
    )


def is_network_up(states: Iterable[SeriesState], since: datetime) -> bool:
    """Whether a provider has answered over the network after an instant. Files on this machine prove nothing."""
    return any(
        state.error_kind is None
        and state.reading is not None
        and state.reading.source == NETWORK_SOURCE
        and state.last_seen_at > since
        for state in states
    )
