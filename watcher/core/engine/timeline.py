"""The history of a series and of its alerts: readings, resets, and from when to when each alert fired.

Recorded readings go through `reset_detection` as in the daemon, so a history shows the same resets and disbelieves the
same glitches as the alerts did.
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
from watcher.core.model import AlertEvent, Reading, Series, Severity, Transition

RecordedReadings = Sequence[tuple[datetime, Reading]]

GAP_POLLS = 4
"""After so many missing polls nothing is known of the time in between, and charts draw no line over it."""

MIN_GAP = timedelta(minutes=90)


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
    read_at: datetime | None  # of `used_percent`: use after it is unknown
    ended_early: bool  # well before its own date


class UsageHistory(Struct, frozen=True, kw_only=True):
    """A series over a span of time."""

    series: Series
    label: str
    points: tuple[Point, ...]
    periods: tuple[WindowPeriod, ...]
    state: SeriesState | None  # at the end; None without readings

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
        points.append(
            Point(
                at=at,
                reading=reading,
                used_percent=get_used_percent(reading),
                believed=state.validity.is_believed,
                episode=state.episode,
                after_gap=bool(points) and at - points[-1].at > gap,
            )
        )
    return UsageHistory(
        series=series,
        label=readings[-1][1].label if readings else "",
        points=tuple(_confirm_suspects(points)),
        periods=tuple(periods),
        state=state,
    )


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
        read_at=before.read_at,
        ended_early=before.boundary_at is not None
        and before.boundary_at - ended_at > reset_detection.CLOCK_SKEW_TOLERANCE,
    )


def _confirm_suspects(points: Sequence[Point]) -> Iterable[Point]:
    """The points, where a suspect reading that the next one confirms is believed and belongs to that one's episode."""
    last: Point | None = None
    for point, following in zip(points, (*points[1:], None), strict=False):
        if not point.believed and following is not None and _is_confirmed_by(following, point, last):
            yield replace(point, believed=True, episode=following.episode)
        else:
            yield point
        last = point if point.believed else last


def _is_confirmed_by(following: Point, suspect: Point, last: Point | None) -> bool:
    if not following.believed or following.after_gap or last is None:
        return False
    now, suspected, before = following.used_percent, suspect.used_percent, last.used_percent
    if now is None or suspected is None or before is None:
        return False
    return abs(suspected - now) < abs(suspected - before)


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
    ended: list[AlertPeriod] = []
    open_periods: dict[AlertKey, AlertPeriod] = {}
    for each in transitions:
        key = each.rule, each.series
        known = open_periods.get(key)
        if each.event is AlertEvent.FIRING:
            if known is not None:
                ended.append(known)
            open_periods[key] = _start_alert_period(each)
        elif each.event in (AlertEvent.ESCALATED, AlertEvent.REMINDER):
            open_periods[key] = _extend_alert_period(known or _start_alert_period(each), each)
        elif each.event is AlertEvent.RESOLVED:
            open_periods.pop(key, None)
            ended.append(replace(known or _start_alert_period(each), until=each.at, reason=each.reason))
    ended += [replace(period, is_firing=key in firing) for key, period in open_periods.items()]
    return tuple(sorted(ended, key=lambda period: (period.since, period.rule, period.series)))


def _start_alert_period(transition: Transition) -> AlertPeriod:
    return AlertPeriod(
        rule=transition.rule,
        series=transition.series,
        severity=transition.severity,
        since=transition.since,
        until=None,
        is_firing=False,
        peak_used_percent=None if transition.event is AlertEvent.RESOLVED else _get_used_percent(transition),
    )


def _extend_alert_period(period: AlertPeriod, transition: Transition) -> AlertPeriod:
    used = [value for value in (period.peak_used_percent, _get_used_percent(transition)) if value is not None]
    return replace(
        period,
        severity=max(period.severity, transition.severity, key=lambda severity: severity.rank),
        peak_used_percent=max(used, default=None),
    )


def _get_used_percent(transition: Transition) -> float | None:
    return None if transition.reading is None else get_used_percent(transition.reading)
