"""The same picture in a terminal: braille dots, or stars where it has no such signs. Never put colour here."""

from collections.abc import Iterator
from itertools import pairwise

from msgspec import Struct

from watcher.charts import Moment, Span, Track, ticks
from watcher.charts.strokes import strokes
from watcher.core.model import Event

GUTTER = 9
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of U+2800, by row and column
_DOWN, _ACROSS = 4, 2
_ENDS = (Event.RESOLVED, Event.RESET)


class Style(Struct, frozen=True):
    """The signs that a terminal can show."""

    braille: bool
    limit: str
    axis: str
    turn: str
    alert: str
    over: str


DOTS = Style(braille=True, limit="┄", axis="─", turn="┊", alert="▲", over="○")
ASCII = Style(braille=False, limit="-", axis="-", turn="|", alert="^", over="o")


def plot(track: Track, span: Span, style: Style, *, width: int, height: int = 10) -> list[str]:
    """Lines of text, the last ones being the axis, what happened, and the times."""
    scale = [_scale(track, row, height) for row in range(height)]
    gutter = max(GUTTER, *map(len, scale))
    columns = max(width - gutter - 1, 10)
    canvas = _drawn(track, span, columns, height)
    limits = {_row(track, line.value, height) for line in track.lines if track.bottom <= line.value <= track.top}
    lines = []
    for row in range(height):
        cells = [_sign(canvas[row][column], style, limit=row in limits) for column in range(columns)]
        lines.append(f"{scale[row]:>{gutter}} {''.join(cells)}".rstrip())
    lines.append(f"{'':>{gutter}} {style.axis * columns}")
    happened = _happened(track, span, columns, style)
    if happened.strip():
        lines.append(f"{'':>{gutter}} {happened}".rstrip())
    lines.append(f"{'':>{gutter}} {_times(span, columns)}".rstrip())
    return lines


def _drawn(track: Track, span: Span, columns: int, height: int) -> list[list[int]]:
    """Braille bits of each cell."""
    canvas = [[0] * columns for _ in range(height)]
    low, high = track.bottom, track.top
    wide, tall = columns * _ACROSS - 1, height * _DOWN - 1
    for piece in strokes(track, span):
        dots = [
            (round(share * wide), round((1 - (min(max(value, low), high) - low) / (high - low)) * tall))
            for share, value in piece
        ]
        for x, y in _joined(dots):
            canvas[y // _DOWN][x // _ACROSS] |= _BITS[y % _DOWN][x % _ACROSS]
    return canvas


def _joined(dots: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Every dot on the line through these."""
    yield dots[0]
    for (x0, y0), (x1, y1) in pairwise(dots):
        steps = max(abs(x1 - x0), abs(y1 - y0))
        for step in range(1, steps + 1):
            yield round(x0 + (x1 - x0) * step / steps), round(y0 + (y1 - y0) * step / steps)


def _sign(bits: int, style: Style, *, limit: bool) -> str:
    if bits:
        return chr(0x2800 + bits) if style.braille else "*"
    return style.limit if limit else " "


def _row(track: Track, value: float, height: int) -> int:
    share = (value - track.bottom) / (track.top - track.bottom)
    return min(int((1 - share) * height), height - 1)


def _scale(track: Track, row: int, height: int) -> str:
    if row == 0:
        return track.worded(round(track.top, 2))
    if row == height - 1:
        return track.worded(round(track.bottom, 2))
    return track.worded(round((track.top + track.bottom) / 2, 2)) if row == height // 2 else ""


def _happened(track: Track, span: Span, columns: int, style: Style) -> str:
    signs = [" "] * columns
    for turn in track.course.turns:
        if span.start <= turn.at <= span.end:
            signs[_column(span.share(turn.at), columns)] = style.turn
    for moment in sorted(track.moments, key=lambda each: each.event not in _ENDS):  # where both fell, the alert shows
        if span.start <= moment.at <= span.end:
            signs[_column(span.share(moment.at), columns)] = _of_alert(moment, style)
    return "".join(signs)


def _of_alert(moment: Moment, style: Style) -> str:
    return style.over if moment.event in _ENDS else style.alert


def _times(span: Span, columns: int) -> str:
    line = ""
    for at, word in ticks(span, max(columns // 10, 1)):
        start = _column(span.share(at), columns)
        if start >= len(line) + bool(line) and start + len(word) <= columns:
            line = line.ljust(start) + word
    return line


def _column(share: float, columns: int) -> int:
    return min(int(share * columns), columns - 1)
