"""The history of a series and of its alerts: readings, resets, and from when to when each alert fired.

Recorded readings go through `reset_detection` as in the daemon, so a history has the same resets and the same suspect
readings as the alerts had.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

from msgspec import Struct
from msgspec.structs import replace

from watcher.core.engine import reset_detection
from watcher.core.engine.state import AlertKey, SeriesState, create_series_state
from watcher.core.engine.windows import get_used_percent
from watcher.core.model import FIRING_EVENTS, AlertEvent, Reading, Series, Severity, Transition

RecordedReadings = Sequence[tuple[datetime, Reading]]

GAP_POLLS = 4
"""After this many missing polls, charts draw no line between the two readings."""

MIN_GAP = timedelta(minutes=90)
OLD_AFTER, MIN_OLD_GAP = timedelta(days=80), timedelta(hours=7)  # of readings so old, one in three hours is kept


class Point(Struct, frozen=True, kw_only=True):
    """One reading in a history."""

    at: datetime
    reading: Reading
    used_percent: float | None  # None: unknown or unlimited
    believed: bool  # False: a glitch, or suspect and not confirmed yet
    episode: int  # counted from the first reading of this history
    after_gap: bool  # no line leads to it


class WindowPeriod(Struct, frozen=True, kw_only=True):
    """An episode that ended."""

    ended_at: datetime  # as far as is known
    used_percent: float | None  # last believed
    ended_early: bool  # well before its own date


class UsageHistory(Struct, frozen=True, kw_only=True):
    """A series over a span of time."""

    series: Series
    label: str
    points: tuple[Point, ...]
    periods: tuple[WindowPeriod, ...]

    @property
    def last_believed(self) -> Point | None:
        """The last believed reading."""
        return next((point for point in reversed(self.points) if point.believed), None)

    @property
    def peak(self) -> Point | None:
        """The believed reading with the most use; the latest of several."""
        known = [point for point in self.points if point.believed and point.used_percent is not None]
        return max(known, key=lambda point: (point.used_percent or 0.0, point.at), default=None)


def build_usage_history(series: Series, readings: RecordedReadings) -> UsageHistory:
    """The history of a series from its readings, which are in time order."""
    every = median_interval([at for at, _ in readings])
    gap = max(GAP_POLLS * every, MIN_GAP)
    state: SeriesState | None = None
    points: list[Point] = []
    periods: list[WindowPeriod] = []
    for at, reading in readings:
        before = state
        state = reset_detection.apply_reading(state or create_series_state(series, at), reading, at, every)
        if before is not None and state.episode > before.episode:
            periods.append(_make_window_period(before, state, at))
        is_old = readings[-1][0] - at > OLD_AFTER
        after_gap = bool(points) and at - points[-1].at > (max(gap, MIN_OLD_GAP) if is_old else gap)
        if before is not None and not after_gap and _is_suspect_confirmed(before, state, points[-1].at):
            points[-1] = replace(points[-1], believed=True, episode=state.episode)
        points.append(
            Point(
                at=at,
                reading=reading,
                used_percent=get_used_percent(reading),
                believed=state.validity.is_believed,
                episode=state.episode,
                after_gap=after_gap,
            )
        )
    label = readings[-1][1].label if readings else ""
    return UsageHistory(series=series, label=label, points=tuple(points), periods=tuple(periods))


def median_interval(instants: Sequence[datetime]) -> timedelta:
    """The median time between two neighbours; five minutes if there are none."""
    gaps = [later - earlier for earlier, later in pairwise(instants)]
    return timedelta(seconds=median(gap.total_seconds() for gap in gaps)) if gaps else timedelta(minutes=5)


def trim_before(usage_history: UsageHistory, instant: datetime) -> UsageHistory:
    """The history from an instant on."""
    return replace(
        usage_history,
        points=tuple(point for point in usage_history.points if point.at >= instant),
        periods=tuple(period for period in usage_history.periods if period.ended_at >= instant),
    )


def mean_used_percent(periods: Iterable[WindowPeriod]) -> float | None:
    """The mean percent used before a reset; None if none is known."""
    known = [period.used_percent for period in periods if period.used_percent is not None]
    return sum(known) / len(known) if known else None


def _make_window_period(before: SeriesState, after: SeriesState, at: datetime) -> WindowPeriod:
    ended_at = min(after.episode_at, at)
    return WindowPeriod(
        ended_at=ended_at,
        used_percent=None if before.reading is None else get_used_percent(before.reading),
        ended_early=before.boundary_at is not None
        and before.boundary_at - ended_at > reset_detection.CLOCK_SKEW_TOLERANCE,
    )


def _is_suspect_confirmed(before: SeriesState, after: SeriesState, last_at: datetime) -> bool:
    """Whether a reading made the last one, which was suspect, believable."""
    if before.suspect is None or before.suspect.received_at != last_at or before.reading is None:
        return False
    if not after.validity.is_believed or after.reading is None:
        return False
    return reset_detection.confirms_suspect(after.reading, before.suspect.reading, before.reading)


class AlertPeriod(Struct, frozen=True, kw_only=True):
    """One alert, from its beginning to its end."""

    rule: str
    series: Series
    severity: Severity  # the highest
    since: datetime
    until: datetime | None  # None: it still fires, or its end was not recorded
    is_firing: bool
    peak_used_percent: float | None  # the highest in a transition; None: unknown, or the rule is not about use
    reason: str = ""  # why it ended: recovered, reset, ...


def build_alert_periods(transitions: Sequence[Transition], firing: Collection[AlertKey]) -> tuple[AlertPeriod, ...]:
    """The alert periods in the order in which they began.

    Args:
        transitions: in time order.
        firing: the alerts that fire at the end of that time.
    """
    groups: list[list[Transition]] = []  # one for each period
    open_groups: dict[AlertKey, list[Transition]] = {}
    for each in transitions:
        if each.event is AlertEvent.RESET:
            continue
        key = each.rule, each.series
        if each.event is AlertEvent.FIRING or key not in open_groups:
            open_groups[key] = []
            groups.append(open_groups[key])
        open_groups[key].append(each)
        if each.event is AlertEvent.RESOLVED:
            del open_groups[key]
    last_groups = [open_groups[key] for key in firing if key in open_groups]
    periods = [_make_alert_period(group, is_firing=group in last_groups) for group in groups]
    return tuple(sorted(periods, key=lambda period: (period.since, period.rule, period.series)))


def _make_alert_period(transitions: Sequence[Transition], *, is_firing: bool) -> AlertPeriod:
    first, last = transitions[0], transitions[-1]
    is_over = last.event is AlertEvent.RESOLVED
    used = [get_used_percent(each.reading) for each in transitions if each.event in FIRING_EVENTS and each.reading]
    return AlertPeriod(
        rule=first.rule,
        series=first.series,
        severity=max((each.severity for each in transitions), key=lambda severity: severity.rank),
        since=first.since,
        until=last.at if is_over else None,
        is_firing=is_firing,
        peak_used_percent=max((percent for percent in used if percent is not None), default=None),
        reason=last.reason if is_over else "",
    )
