"""What a series went through: its readings in order, each reset, and what was spent before it.

The recorded readings are put through the same judgement as in the daemon (`watcher.core.engine.reset_detection`), so that a history
shows the same resets and disbelieves the same glitches as the alerts did. Never draw here, and never judge a rule.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

from msgspec import Struct
from msgspec.structs import replace

from watcher.core.engine import reset_detection
from watcher.core.engine.state import SeriesState, create_series_state
from watcher.core.engine.windows import get_used_percent
from watcher.core.model import AlertEvent, Reading, Series, Severity, Transition

RecordedReadings = Sequence[tuple[datetime, Reading]]

GAP_POLLS = 4
"""After a silence of this many polls nothing is known of what lay in between, and no line is drawn over it."""

MIN_GAP = timedelta(minutes=90)


class Point(Struct, frozen=True, kw_only=True):
    """One reading, and what became of it."""

    at: datetime
    reading: Reading
    used_percent: float | None  # None: unknown or unlimited
    believed: bool  # False: a glitch, or doubted and not confirmed yet
    episode: int  # which turn of the window, counted from the first of this history
    after_gap: bool  # nothing was heard for so long before it that no line leads to it


class WindowPeriod(Struct, frozen=True, kw_only=True):
    """A window turned over: what is known of the turn that ended."""

    ended_at: datetime  # when the new one began, as far as is known
    used_percent: float | None  # last believed before it
    read_at: datetime | None  # when that was: what was spent after it nobody saw
    ended_early: bool  # well before its own date
    complete: bool  # its beginning is in this history too


class UsageHistory(Struct, frozen=True, kw_only=True):
    """A series over a span of time."""

    series: Series
    label: str
    points: tuple[Point, ...]
    periods: tuple[WindowPeriod, ...]
    state: SeriesState | None  # at its end; None where there is no reading

    @property
    def last_believed(self) -> Point | None:
        """The last believed reading."""
        return next((point for point in reversed(self.points) if point.believed), None)

    @property
    def peak(self) -> Point | None:
        """The fullest that was believed; the latest of several."""
        known = [point for point in self.points if point.believed and point.used_percent is not None]
        return max(known, key=lambda point: (point.used_percent or 0.0, point.at), default=None)


def build_usage_history(series: Series, readings: RecordedReadings) -> UsageHistory:
    """The course that these readings, in time order, are the record of."""
    every = median_interval([at for at, _ in readings])
    silence = max(GAP_POLLS * every, MIN_GAP)
    state: SeriesState | None = None
    points: list[Point] = []
    turns: list[WindowPeriod] = []
    for at, reading in readings:
        before = state
        state = reset_detection.apply_reading(state or create_series_state(series, at), reading, at, every)
        if before is not None and state.episode > before.episode:
            turns.append(_make_window_period(before, state, at, complete=bool(turns)))
        points.append(
            Point(
                at=at,
                reading=reading,
                used_percent=get_used_percent(reading),
                believed=state.standing.is_believed,
                episode=state.episode,
                after_gap=bool(points) and at - points[-1].at > silence,
            )
        )
    return UsageHistory(
        series=series,
        label=readings[-1][1].label if readings else "",
        points=tuple(_confirm_suspects(points)),
        periods=tuple(turns),
        state=state,
    )


def median_interval(instants: Sequence[datetime]) -> timedelta:
    """The median time between two neighbours; five minutes where there are none."""
    gaps = [later - earlier for earlier, later in pairwise(instants)]
    return timedelta(seconds=median(gap.total_seconds() for gap in gaps)) if gaps else timedelta(minutes=5)


def trim_before(usage_history: UsageHistory, instant: datetime) -> UsageHistory:
    """The same from an instant on: what came before it still counts for what was believed."""
    points = tuple(point for point in usage_history.points if point.at >= instant)
    turns = tuple(turn for turn in usage_history.periods if turn.ended_at >= instant)
    return replace(usage_history, points=points, periods=turns)


def mean_used_percent(periods: Iterable[WindowPeriod]) -> float | None:
    """Percent that was spent on average before a reset; None where none is known."""
    known = [turn.used_percent for turn in periods if turn.used_percent is not None]
    return sum(known) / len(known) if known else None


def _make_window_period(before: SeriesState, after: SeriesState, at: datetime, *, complete: bool) -> WindowPeriod:
    began = min(after.episode_at, at)
    due = before.boundary
    return WindowPeriod(
        ended_at=began,
        used_percent=None if before.reading is None else get_used_percent(before.reading),
        read_at=before.read_at,
        ended_early=due is not None and due - began > reset_detection.CLOCK_SKEW_TOLERANCE,
        complete=complete,
    )


def _confirm_suspects(points: Sequence[Point]) -> Iterable[Point]:
    """A doubted reading that the next one confirmed was true after all, and belongs to that one's episode."""
    last: Point | None = None
    for index, point in enumerate(points):
        following = points[index + 1] if index + 1 < len(points) else None
        if not point.believed and following is not None and _is_confirmed_by(following, point, last):
            yield replace(point, believed=True, episode=following.episode)
        else:
            yield point
        last = point if point.believed else last


def _is_confirmed_by(following: Point, suspect: Point, last: Point | None) -> bool:
    if not following.believed or following.after_gap or last is None:
        return False
    now, then, was = following.used_percent, suspect.used_percent, last.used_percent
    if now is None or then is None or was is None:
        return False
    return abs(then - now) < abs(then - was)


# --- Transitions told as spells: from when to when an alert fired, how high it went. Never judge anew what was decided


AlertKey = tuple[str, Series]


class AlertPeriod(Struct, frozen=True, kw_only=True):
    """One alert, from its beginning to its end."""

    rule: str
    series: Series
    severity: Severity  # the highest it reached
    since: datetime
    until: datetime | None  # None: it lasts, or its end was not recorded
    is_firing: bool
    peak_used_percent: float | None  # the highest that was told; None: unknown, or the rule is not about use
    reason: str = ""  # why it ended: recovered, reset, ...


def build_alert_periods(transitions: Sequence[Transition], firing: Collection[AlertKey]) -> tuple[AlertPeriod, ...]:
    """The spells in the order in which they began.

    Args:
        transitions: in time order.
        firing: the alerts that fire at the end of that time.
    """
    done: list[AlertPeriod] = []
    begun: dict[AlertKey, AlertPeriod] = {}
    for each in transitions:
        alert = each.rule, each.series
        known = begun.get(alert)
        if each.event is AlertEvent.FIRING:
            if known is not None:
                done.append(begun.pop(alert))
            begun[alert] = _start_alert_period(each)
        elif each.event in (AlertEvent.ESCALATED, AlertEvent.REMINDER):
            begun[alert] = _extend_alert_period(known or _start_alert_period(each), each)
        elif each.event is AlertEvent.RESOLVED:
            begun.pop(alert, None)
            done.append(replace(known or _start_alert_period(each), until=each.at, reason=each.reason))
    done += [replace(spell, is_firing=alert in firing) for alert, spell in begun.items()]
    return tuple(sorted(done, key=lambda spell: (spell.since, spell.rule, spell.series)))


def _start_alert_period(transition: Transition) -> AlertPeriod:
    resolved = transition.event is AlertEvent.RESOLVED
    return AlertPeriod(
        rule=transition.rule,
        series=transition.series,
        severity=transition.severity,
        since=transition.since,
        until=None,
        is_firing=False,
        peak_used_percent=None if resolved else _get_used_percent(transition),
    )


def _extend_alert_period(period: AlertPeriod, transition: Transition) -> AlertPeriod:
    told = [value for value in (period.peak_used_percent, _get_used_percent(transition)) if value is not None]
    return replace(
        period,
        severity=max(period.severity, transition.severity, key=lambda severity: severity.rank),
        peak_used_percent=max(told, default=None),
    )


def _get_used_percent(transition: Transition) -> float | None:
    return None if transition.reading is None else get_used_percent(transition.reading)
