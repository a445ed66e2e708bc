"""Pictures of usage over time: the records that are drawn, and what every picture shares.

`svg` draws a picture file, `terminal` the same as text, `html` the page of `watcher report`. All are pure, and need no
drawing library.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, tzinfo

from msgspec import Struct

from watcher.core import formatting
from watcher.core.engine.thresholds import ThresholdLine
from watcher.core.engine.timeline import Point, UsageHistory
from watcher.core.engine.windows import get_used_percent
from watcher.core.model import AlertEvent, PollFailure, Series, Severity, Transition

FULL_PERCENT = 100.0


class AlertMarker(Struct, frozen=True, kw_only=True):
    """An alert changed."""

    at: datetime
    event: AlertEvent
    severity: Severity
    rule: str
    used_percent: float | None
    remaining: float | None = None

    @property
    def is_end(self) -> bool:
        """Whether the alert is over."""
        return self.event in (AlertEvent.RESOLVED, AlertEvent.RESET)


class Track(Struct, frozen=True, kw_only=True):
    """One series as it is drawn."""

    name: str  # for people: "Claude, 5-hour window"
    usage_history: UsageHistory
    threshold_lines: tuple[ThresholdLine, ...] = ()  # of the rules in force
    alert_markers: tuple[AlertMarker, ...] = ()
    failures: tuple[PollFailure, ...] = ()  # polls of its account that gave nothing, in time order

    @property
    def is_in_percent(self) -> bool:
        """Whether it is drawn as percent used; else as what is left."""
        return not any(_get_remaining(point) is not None for point in self.usage_history.points) or any(
            point.used_percent is not None for point in self.usage_history.points
        )

    def iter_values(self) -> Iterator[tuple[Point, float | None]]:
        """Each believed reading, and the height at which it is drawn; None where it is unknown or unlimited."""
        percent = self.is_in_percent
        for point in self.usage_history.points:
            if point.believed or (point.used_percent is None and not point.reading.unlimited):
                yield point, point.used_percent if percent else _get_remaining(point)

    @property
    def scale_max(self) -> float:
        """The highest value on the scale."""
        highest = max((value for _, value in self.iter_values() if value is not None), default=0.0)
        if self.is_in_percent:
            return FULL_PERCENT if highest <= FULL_PERCENT else highest * 1.05
        return max([highest, 0.0, *(line.value for line in self.threshold_lines)]) * 1.1 or 1.0

    @property
    def scale_min(self) -> float:
        """The lowest: zero, or below it for a debt."""
        return min((value for _, value in self.iter_values() if value is not None and value < 0), default=0.0) * 1.1

    def count_alerts(self) -> int:
        """How often an alert fired or escalated."""
        return sum(marker.event in (AlertEvent.FIRING, AlertEvent.ESCALATED) for marker in self.alert_markers)

    def format_value(self, value: float) -> str:
        """A value with its unit."""
        if self.is_in_percent:
            return formatting.format_percent(value)
        last = self.usage_history.points[-1].reading.unit if self.usage_history.points else ""
        return formatting.format_amount(value, last)


class TimeRange(Struct, frozen=True, kw_only=True):
    """The time that is drawn, and the zone of its labels."""

    start: datetime
    end: datetime
    tz: tzinfo

    def fraction_at(self, at: datetime) -> float:
        """0 at the start, 1 at the end."""
        return (at - self.start) / (self.end - self.start)


def build_alert_markers(series: Series, transitions: Sequence[Transition]) -> tuple[AlertMarker, ...]:
    """The changes of the alerts of one series."""
    return tuple(
        AlertMarker(
            at=each.at,
            event=each.event,
            severity=each.severity,
            rule=each.rule,
            used_percent=None if each.reading is None else get_used_percent(each.reading),
            remaining=None if each.reading is None or each.reading.remaining is None else float(each.reading.remaining),
        )
        for each in transitions
        if each.series == series
    )


def compute_ticks(time_range: TimeRange, max_count: int) -> list[tuple[datetime, str]]:
    """Round local times inside the range, at most `max_count`, each with its label."""
    whole = time_range.end - time_range.start
    steps_h = (1, 2, 3, 6, 12, 24, 48, 168, 336, 720, 2160)
    step_h = next((hours for hours in steps_h if whole / timedelta(hours=hours) <= max_count), steps_h[-1])
    at = time_range.start.astimezone(time_range.tz).replace(hour=0, minute=0, second=0, microsecond=0)
    found = []
    while at <= time_range.end:
        if at >= time_range.start:
            found.append((at, _tick_label(at, step_h)))
        at = _add_wall_hours(at, step_h)
    return found


def _add_wall_hours(at: datetime, hours: int) -> datetime:
    """Hours later in wall time: midnight stays midnight when the clocks change."""
    return (at.replace(tzinfo=None) + timedelta(hours=hours)).replace(tzinfo=at.tzinfo)


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY_H, _WEEK_H = 24, 168


def _tick_label(at: datetime, step_h: int) -> str:
    if step_h < _DAY_H and at.hour:
        return f"{at:%H:%M}"
    if step_h < _WEEK_H:
        return f"{_DAYS[at.weekday()]} {at.day}"
    return f"{at.day} {_MONTHS[at.month - 1]}"


def format_date(at: datetime, tz: tzinfo) -> str:
    """`22 Nov 2026`."""
    local = at.astimezone(tz)
    return f"{local.day} {_MONTHS[local.month - 1]} {local.year}"


def format_timestamp(at: datetime, tz: tzinfo) -> str:
    """`Sun 22 Nov 16:00`: clear in a document that is read on another day."""
    local = at.astimezone(tz)
    return f"{_DAYS[local.weekday()]} {local.day} {_MONTHS[local.month - 1]} {local:%H:%M}"


def summarize_track(track: Track) -> str:
    """The picture in words, for a screen reader: `82 % used at the end, 97 % at most, 12 resets, 3 alerts`."""
    history, parts = track.usage_history, []
    drawn = [(point, value) for point, value in track.iter_values() if value is not None]
    if drawn:
        parts.append(f"{track.format_value(drawn[-1][1])} {'used' if track.is_in_percent else 'left'} at the end")
        highest = max(value for _, value in drawn)
        parts.append(f"{track.format_value(highest)} at most")
    elif history.points:
        parts.append("unlimited" if history.points[-1].reading.unlimited else "unknown")
    else:
        parts.append("no reading")
    alerts = formatting.format_amount(track.count_alerts(), "alerts")
    parts += [formatting.format_amount(len(history.periods), "resets"), alerts]
    return ", ".join(parts)


def _get_remaining(point: Point) -> float | None:
    return None if point.reading.remaining is None else float(point.reading.remaining)
