"""A picture of usage over time as text in braille dots."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from watcher.cli.charts import TimeRange, Track, build_segments, compute_ticks
from watcher.core.model import FIRING_EVENTS

MIN_GUTTER = 9
LEGEND = "▲ alert   ○ over   ┊ reset   ┄┄┄ threshold of a rule"
_BRAILLE = 0x2800
_BRAILLE_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # by row and column of a cell
_CELL_ROWS, _CELL_COLUMNS = 4, 2
TO_ASCII = str.maketrans("▁▂▃▄▅▆▇█░┄─┊▲○", "_.-:=+*#.--|^o") | {_BRAILLE + bits: "*" for bits in range(1, 256)}
"""For `str.translate`: plots, sparklines and bars in a terminal without their characters."""


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
    for row, cells in enumerate(_draw_canvas(track, time_range, columns, height)):
        empty = "┄" if row in threshold_rows else " "
        drawn = "".join(chr(_BRAILLE + bits) if bits else empty for bits in cells)
        lines.append(f"{labels.get(row, ''):>{gutter}} {drawn}".rstrip())
    events = _format_events(track, time_range, columns)
    below = ["─" * columns, *([events] if events else []), _format_time_axis(time_range, columns)]
    return lines + [f"{'':>{gutter}} {line}" for line in below]


def _draw_canvas(track: Track, time_range: TimeRange, columns: int, height: int) -> list[list[int]]:
    """Braille bits of each cell."""
    canvas = [[0] * columns for _ in range(height)]
    wide, tall = columns * _CELL_COLUMNS - 1, height * _CELL_ROWS - 1
    for segment in build_segments(track, time_range):
        for x, y in _interpolate([(round(right * wide), round((1 - up) * tall)) for right, up in segment]):
            canvas[y // _CELL_ROWS][x // _CELL_COLUMNS] |= _BRAILLE_BITS[y % _CELL_ROWS][x % _CELL_COLUMNS]
    return canvas


def _interpolate(points: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Every dot on the line through the points."""
    yield points[0]
    for (x0, y0), (x1, y1) in pairwise(points):
        steps = max(abs(x1 - x0), abs(y1 - y0))
        for step in range(1, steps + 1):
            yield round(x0 + (x1 - x0) * step / steps), round(y0 + (y1 - y0) * step / steps)


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
