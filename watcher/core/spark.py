"""A course squeezed into a line of text: bins of time, and a sign for each.

Every bin says the fullest that was read in it, so that a short peak is not lost; a bin without a reading stays empty,
because unknown is neither zero nor what it was before. Never put colour here.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-:=+*#"
_FULL = 100.0


def binned(
    values: Iterable[tuple[datetime, float | None]], start: datetime, end: datetime, count: int
) -> list[float | None]:
    """The highest value of each of `count` equal spans from `start` to `end`; None where nothing was read."""
    bins: list[float | None] = [None] * count
    span = (end - start) / count
    if span <= timedelta(0):
        return bins
    for at, value in values:
        if value is None or not start <= at <= end:
            continue
        place = min(int((at - start) / span), count - 1)
        known = bins[place]
        bins[place] = value if known is None else max(known, value)
    return bins


def sparkline(values: Sequence[float | None], *, signs: str = BLOCKS) -> str:
    """One sign a value, 0 to 100 from low to high; a space where it is unknown."""
    return "".join(" " if value is None else signs[_step(value, len(signs))] for value in values)


def _step(value: float, steps: int) -> int:
    return min(max(int(value / _FULL * steps), 0), steps - 1)
