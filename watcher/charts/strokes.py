"""From readings to lines: what is joined, what is left open, what is too fine to be seen. Numbers only; never text."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from watcher.charts import Span, Track

Dot = tuple[float, float]


def strokes(track: Track, span: Span) -> list[list[Dot]]:
    """Pieces of the course as (share of time 0..1, value).

    A piece ends with the episode, where nothing was heard for long, and where a reading was unknown: what nobody saw
    is not drawn.
    """
    pieces: list[list[Dot]] = []
    episode: int | None = None
    for point, value in track.values():
        if not span.start <= point.at <= span.end:
            continue
        if value is None:
            episode = None
            continue
        if point.after_silence or point.episode != episode or not pieces:
            pieces.append([])
        pieces[-1].append((span.share(point.at), value))
        episode = point.episode
    return pieces


def thinned(piece: Sequence[Dot], columns: int) -> list[Dot]:
    """The same line with no more dots than can be seen: of each column first, lowest, highest and last."""
    kept: list[Dot] = []
    for _, group in groupby(piece, key=lambda dot: int(dot[0] * columns)):
        dots = list(group)
        chosen = {dots[0], dots[-1], min(dots, key=_height), max(dots, key=_height)}
        kept += sorted(chosen)
    return list(_bends(kept))


def _bends(dots: Sequence[Dot]) -> Iterator[Dot]:
    """Without the dots in the middle of a flat stretch."""
    last = len(dots) - 1
    for index, dot in enumerate(dots):
        if 0 < index < last and dots[index - 1][1] == dot[1] == dots[index + 1][1]:
            continue
        yield dot


def _height(dot: Dot) -> float:
    return dot[1]
