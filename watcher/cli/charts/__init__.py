"""Pictures of usage over time: the records that are drawn, and what every picture shares.

`svg` draws a picture file and the panels of `watcher report`; `render_plot` here draws the same as text. Both are pure
and need no drawing library.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, tzinfo
from functools import cached_property
from itertools import groupby, pairwise

from msgspec import Struct

from watcher.core import formatting
from watcher.core.engine.thresholds import ThresholdLine
from watcher.core.engine.timeline import Point, UsageHistory
from watcher.core.engine.windows import get_used_percent
from watcher.core.model import FIRING_EVENTS, AlertEvent, PollFailure, Reading, Transition

FULL_PERCENT = 100.0


class Track(Struct, frozen=True, kw_only=True, dict=True):
    """One series as it is drawn."""

    name: str  # for people: "Claude, 5-hour window"
    series_name: str = ""  # as the user writes it: "claude.five_hour"
    account_name: str = ""
    usage_history: UsageHistory
    threshold_lines: tuple[ThresholdLine, ...] = ()  # of the rules in force
    transitions: tuple[Transition, ...] = ()  # of its alerts
    failures: tuple[PollFailure, ...] = ()  # failed polls of its account, in time order

    @cached_property
    def is_in_percent(self) -> bool:
        """Whether it is drawn as percent used; else as what is left."""
        points = self.usage_history.points
        return any(point.used_percent is not None for point in points) or all(
            point.reading.remaining is None for point in points
        )

    def value_of(self, reading: Reading | None) -> float | None:
        """The value at which a reading is drawn; None: unknown or unlimited."""
        if reading is None or self.is_in_percent:
            return None if reading is None else get_used_percent(reading)
        return None if reading.remaining is None else float(reading.remaining)

    @cached_property
    def values(self) -> Sequence[tuple[Point, float | None]]:
        """Each believed reading with its value; None where it is unknown or unlimited."""
        return [
            (point, self.value_of(point.reading))
            for point in self.usage_history.points
            if point.believed or (point.used_percent is None and not point.reading.unlimited)
        ]

    @cached_property
    def scale_max(self) -> float:
        """The highest value on the scale."""
        highest = max((value for _, value in self.values if value is not None), default=0.0)
        if self.is_in_percent:
            return FULL_PERCENT if highest <= FULL_PERCENT else highest * 1.05
        return max([highest, 0.0, *(line.value for line in self.threshold_lines)]) * 1.1 or 1.0

    @cached_property
    def scale_min(self) -> float:
        """The lowest value on the scale: zero, or below it for a debt."""
        return min((value for _, value in self.values if value is not None and value < 0), default=0.0) * 1.1

    def fraction_of(self, value: float) -> float:
        """The place of a value on the scale: 0 at the lowest, 1 at the highest."""
        return (min(max(value, self.scale_min), self.scale_max) - self.scale_min) / (self.scale_max - self.scale_min)

    def count_alerts(self) -> int:
        """How often an alert fired or escalated."""
        return sum(each.event in (AlertEvent.FIRING, AlertEvent.ESCALATED) for each in self.transitions)

    def format_value(self, value: float) -> str:
        """A value with its unit."""
        if self.is_in_percent:
            return formatting.format_percent(value)
        return formatting.format_amount(value, self.usage_history.points[-1].reading.unit)


class TimeRange(Struct, frozen=True, kw_only=True):
    """The time that is drawn, and the zone of its labels."""

    start: datetime
    end: datetime
    tz: tzinfo

    def fraction_at(self, at: datetime) -> float:
        """0 at the start, 1 at the end."""
        return (at - self.start) / (self.end - self.start)


def build_segments(track: Track, time_range: TimeRange) -> list[list[tuple[float, float]]]:
    """The line of usage in segments, as fractions of the time and of the scale.

    A segment ends with the episode, at a gap, and where a reading is unknown.
    """
    segments: list[list[tuple[float, float]]] = []
    episode: int | None = None
    for point, value in track.values:
        if not time_range.start <= point.at <= time_range.end:
            continue
        if value is None:
            episode = None
            continue
        if point.after_gap or point.episode != episode:
            segments.append([])
        segments[-1].append((time_range.fraction_at(point.at), track.fraction_of(value)))
        episode = point.episode
    return segments


def compute_ticks(time_range: TimeRange, max_count: int) -> list[tuple[datetime, str]]:
    """Round local times inside the range, at most `max_count`, each with its label."""
    whole = time_range.end - time_range.start
    steps_h = (1, 2, 3, 6, 12, 24, 48, 168, 336, 720, 2160)
    step_h = next((hours for hours in steps_h if whole / timedelta(hours=hours) <= max_count), steps_h[-1])
    at = time_range.start.astimezone(time_range.tz).replace(hour=0, minute=0, second=0, microsecond=0)
    found = []
    while at <= time_range.end:
        if at >= time_range.start:
            found.append((at, _format_tick(at, step_h)))
        at += timedelta(hours=step_h)  # in wall time: midnight stays midnight when the clocks change
    return found


_DAY_H, _WEEK_H = 24, 168


def _format_tick(at: datetime, step_h: int) -> str:
    if step_h < _DAY_H and at.hour:
        return f"{at:%H:%M}"
    return f"{at:%a} {at.day}" if step_h < _WEEK_H else f"{at.day} {at:%b}"


def format_dates(time_range: TimeRange) -> str:
    """`22 Nov 2026 to 29 Nov 2026`."""
    start, end = (at.astimezone(time_range.tz) for at in (time_range.start, time_range.end))
    return f"{start.day} {start:%b %Y} to {end.day} {end:%b %Y}"


def format_timestamp(at: datetime, tz: tzinfo) -> str:
    """`Sun 22 Nov 16:00`: clear in a document that is read on another day."""
    local = at.astimezone(tz)
    return f"{local:%a} {local.day} {local:%b %H:%M}"


def summarize_track(track: Track) -> str:
    """The picture in words, for a screen reader: `82 % used at the end, 97 % at most, 12 resets, 3 alerts`."""
    history = track.usage_history
    drawn = [value for _, value in track.values if value is not None]
    if drawn:
        at_end = f"{track.format_value(drawn[-1])} {'used' if track.is_in_percent else 'left'} at the end"
        parts = [at_end, f"{track.format_value(max(drawn))} at most"]
    elif history.points:
        parts = ["unlimited" if history.points[-1].reading.unlimited else "unknown"]
    else:
        parts = ["no reading"]
    parts.append(formatting.format_amount(len(history.periods), "resets"))
    parts.append(formatting.format_amount(track.count_alerts(), "alerts"))
    return ", ".join(parts)


LEGEND = "▲ an alert fired, ○ it was over, ┊ a reset, ┄ a rule's threshold; a gap: nothing was read"


def downsample(segment: Iterable[tuple[float, float]], columns: int) -> list[tuple[float, float]]:
    """A line with at most one dot for each column of a picture: the highest. Fractions of four digits are enough."""
    groups = groupby(segment, key=lambda dot: int(dot[0] * columns))
    peaks = (max(dots, key=lambda dot: dot[1]) for _, dots in groups)
    return [(round(at, 4), round(value, 4)) for at, value in peaks]


# --- pictures as text -----------------------------------------------------------------------------------------------


MIN_GUTTER = 9
_BLOCKS = " ▁▂▃▄▅▆▇█"
_EIGHTHS = len(_BLOCKS) - 1  # of a cell
TO_ASCII = str.maketrans("▁▂▃▄▅▆▇█░┄─┊▲○", "_.-:=+*#.--|^o")
"""For `str.translate`: plots, sparklines and bars in a terminal without their characters."""


def draw_usage(track: Track, time_range: TimeRange, columns: int, height: int = 1) -> list[str]:
    """Usage as rows of blocks, the top one first: the highest value of each column; a space where nothing was read."""
    levels = [0] * columns
    for segment in build_segments(track, time_range):
        for (at, value), (until, _) in pairwise([*segment, segment[-1]]):
            level, first = max(round(value * height * _EIGHTHS), 1), _find_cell(at, columns)
            for column in range(first, max(_find_cell(until, columns), first + 1)):
                levels[column] = max(levels[column], level)
    return [
        "".join(_BLOCKS[min(max(level - row * _EIGHTHS, 0), _EIGHTHS)] for level in levels)
        for row in reversed(range(height))
    ]


def render_plot(track: Track, time_range: TimeRange, *, width: int, height: int = 10) -> list[str]:
    """Lines of text; the last ones are the axis, the events and the times."""
    values = {0: track.scale_max, height // 2: (track.scale_max + track.scale_min) / 2, height - 1: track.scale_min}
    labels = {row: track.format_value(round(value, 2)) for row, value in values.items()}
    gutter = max(MIN_GUTTER, *map(len, labels.values()))
    columns = max(width - gutter - 1, 10)
    threshold_rows = {
        _find_cell(1 - track.fraction_of(line.value), height)
        for line in track.threshold_lines
        if track.scale_min <= line.value <= track.scale_max
    }
    lines = []
    for row, blocks in enumerate(draw_usage(track, time_range, columns, height)):
        drawn = blocks.replace(" ", "┄") if row in threshold_rows else blocks
        lines.append(f"{labels.get(row, ''):>{gutter}} {drawn}".rstrip())
    events = _format_events(track, time_range, columns)
    below = ["─" * columns, *([events] if events else []), _format_time_axis(time_range, columns)]
    return lines + [f"{'':>{gutter}} {line}" for line in below]


def _format_events(track: Track, time_range: TimeRange, columns: int) -> str:
    """Resets and alerts; in one column, an alert hides the end of another, and both hide a reset."""
    events = [(period.ended_at, "┊") for period in track.usage_history.periods]
    events += [(each.at, "○") for each in track.transitions if each.event not in FIRING_EVENTS]
    events += [(each.at, "▲") for each in track.transitions if each.event in FIRING_EVENTS]
    row = [" "] * columns
    for at, symbol in events:
        if time_range.start <= at <= time_range.end:
            row[_find_cell(time_range.fraction_at(at), columns)] = symbol
    return "".join(row).rstrip()


def _format_time_axis(time_range: TimeRange, columns: int) -> str:
    line = ""
    for at, label in compute_ticks(time_range, max(columns // 10, 1)):
        start = _find_cell(time_range.fraction_at(at), columns)
        if start >= len(line) + bool(line) and start + len(label) <= columns:
            line = line.ljust(start) + label
    return line


def _find_cell(fraction: float, count: int) -> int:
    return min(int(fraction * count), count - 1)
