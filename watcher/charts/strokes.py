"""From readings to lines: what is joined, what is left open, what is too fine to be seen. Numbers only; never text."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from watcher.charts import TimeRange, Track

PlotPoint = tuple[float, float]


def build_segments(track: Track, time_range: TimeRange) -> list[list[PlotPoint]]:
    """Pieces of the course as (share of time 0..1, value).

    A piece ends with the episode, where nothing was heard for long, and where a reading was unknown: what nobody saw
    is not drawn.
    """
    pieces: list[list[PlotPoint]] = []
    episode: int | None = None
    for point, value in track.iter_values():
        if not time_range.start <= point.at <= time_range.end:
            continue
        if value is None:
            episode = None
            continue
        if point.after_gap or point.episode != episode or not pieces:
            pieces.append([])
        pieces[-1].append((time_range.fraction_at(point.at), value))
        episode = point.episode
    return pieces


def downsample(segment: Sequence[PlotPoint], columns: int) -> list[PlotPoint]:
    """The same line with no more dots than can be seen: of each column first, lowest, highest and last."""
    kept: list[PlotPoint] = []
    for _, group in groupby(segment, key=lambda dot: int(dot[0] * columns)):
        dots = list(group)
        chosen = {dots[0], dots[-1], min(dots, key=_get_value), max(dots, key=_get_value)}
        kept += sorted(chosen)
    return list(_drop_flat_points(kept))


def _drop_flat_points(points: Sequence[PlotPoint]) -> Iterator[PlotPoint]:
    """Without the dots in the middle of a flat stretch."""
    last = len(points) - 1
    for index, dot in enumerate(points):
        if 0 < index < last and points[index - 1][1] == dot[1] == points[index + 1][1]:
            continue
        yield dot


def _get_value(point: PlotPoint) -> float:
    return point[1]
