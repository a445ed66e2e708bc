"""The same picture as text: braille dots, or stars in a terminal without them."""

from collections.abc import Iterator
from itertools import pairwise

from msgspec import Struct

from watcher.cli.charts import TimeRange, Track, compute_ticks
from watcher.cli.charts.svg import build_segments

MIN_GUTTER = 9
_BRAILLE_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of U+2800, by row and column
_CELL_ROWS, _CELL_COLUMNS = 4, 2


class PlotSymbols(Struct, frozen=True):
    """The characters that a terminal can show."""

    braille: bool
    threshold: str
    axis: str
    reset: str
    alert: str
    alert_over: str


BRAILLE_PLOT_SYMBOLS = PlotSymbols(braille=True, threshold="┄", axis="─", reset="┊", alert="▲", alert_over="○")
ASCII_PLOT_SYMBOLS = PlotSymbols(braille=False, threshold="-", axis="-", reset="|", alert="^", alert_over="o")


def render_plot(
    track: Track, time_range: TimeRange, symbols: PlotSymbols, *, width: int, height: int = 10
) -> list[str]:
    """Lines of text; the last ones are the axis, the events and the times."""
    scale = [_format_scale_label(track, row, height) for row in range(height)]
    gutter = max(MIN_GUTTER, *map(len, scale))
    columns = max(width - gutter - 1, 10)
    canvas = _draw_canvas(track, time_range, columns, height)
    limits = {
        _find_row(track, line.value, height)
        for line in track.threshold_lines
        if track.scale_min <= line.value <= track.scale_max
    }
    lines = []
    for row in range(height):
        cells = [_choose_symbol(canvas[row][column], symbols, is_threshold=row in limits) for column in range(columns)]
        lines.append(f"{scale[row]:>{gutter}} {''.join(cells)}".rstrip())
    lines.append(f"{'':>{gutter}} {symbols.axis * columns}")
    events = _format_event_row(track, time_range, columns, symbols)
    if events.strip():
        lines.append(f"{'':>{gutter}} {events}".rstrip())
    lines.append(f"{'':>{gutter}} {_format_time_axis(time_range, columns)}".rstrip())
    return lines


def _draw_canvas(track: Track, time_range: TimeRange, columns: int, height: int) -> list[list[int]]:
    """Braille bits of each cell."""
    canvas = [[0] * columns for _ in range(height)]
    low, high = track.scale_min, track.scale_max
    wide, tall = columns * _CELL_COLUMNS - 1, height * _CELL_ROWS - 1
    for piece in build_segments(track, time_range):
        dots = [
            (round(share * wide), round((1 - (min(max(value, low), high) - low) / (high - low)) * tall))
            for share, value in piece
        ]
        for x, y in _interpolate(dots):
            canvas[y // _CELL_ROWS][x // _CELL_COLUMNS] |= _BRAILLE_BITS[y % _CELL_ROWS][x % _CELL_COLUMNS]
    return canvas


def _interpolate(points: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Every dot on the line through these."""
    yield points[0]
    for (x0, y0), (x1, y1) in pairwise(points):
        steps = max(abs(x1 - x0), abs(y1 - y0))
        for step in range(1, steps + 1):
            yield round(x0 + (x1 - x0) * step / steps), round(y0 + (y1 - y0) * step / steps)


def _choose_symbol(bits: int, symbols: PlotSymbols, *, is_threshold: bool) -> str:
    if bits:
        return chr(0x2800 + bits) if symbols.braille else "*"
    return symbols.threshold if is_threshold else " "


def _find_row(track: Track, value: float, height: int) -> int:
    share = (value - track.scale_min) / (track.scale_max - track.scale_min)
    return min(int((1 - share) * height), height - 1)


def _format_scale_label(track: Track, row: int, height: int) -> str:
    if row == 0:
        return track.format_value(round(track.scale_max, 2))
    if row == height - 1:
        return track.format_value(round(track.scale_min, 2))
    return track.format_value(round((track.scale_max + track.scale_min) / 2, 2)) if row == height // 2 else ""


def _format_event_row(track: Track, time_range: TimeRange, columns: int, symbols: PlotSymbols) -> str:
    """Resets and alerts; where both fall into one column, the later of: reset, end of an alert, alert."""
    events = [(period.ended_at, symbols.reset) for period in track.usage_history.periods]
    events += [(marker.at, symbols.alert_over) for marker in track.alert_markers if marker.is_end]
    events += [(marker.at, symbols.alert) for marker in track.alert_markers if not marker.is_end]
    row = [" "] * columns
    for at, symbol in events:
        if time_range.start <= at <= time_range.end:
            row[_find_column(time_range.fraction_at(at), columns)] = symbol
    return "".join(row)


def _format_time_axis(time_range: TimeRange, columns: int) -> str:
    line = ""
    for at, label in compute_ticks(time_range, max(columns // 10, 1)):
        start = _find_column(time_range.fraction_at(at), columns)
        if start >= len(line) + bool(line) and start + len(label) <= columns:
            line = line.ljust(start) + label
    return line


def _find_column(fraction: float, columns: int) -> int:
    return min(int(fraction * columns), columns - 1)
