"""A course squeezed into a line of text: bins of time, and a sign for each.

Every bin says the fullest that was read in it, so that a short peak is not lost; a bin without a reading stays empty,
because unknown is neither zero nor what it was before. Never put colour here.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

UNICODE_SYMBOLS = "▁▂▃▄▅▆▇█"
ASCII_SYMBOLS = "_.-:=+*#"
_FULL_PERCENT = 100.0


def bin_values(
    values: Iterable[tuple[datetime, float | None]], start: datetime, end: datetime, bin_count: int
) -> list[float | None]:
    """The highest value of each of `bin_count` equal spans from `start` to `end`; None where nothing was read."""
    bins: list[float | None] = [None] * bin_count
    span = (end - start) / bin_count
    if span <= timedelta(0):
        return bins
    for at, value in values:
        if value is None or not start <= at <= end:
            continue
        place = min(int((at - start) / span), bin_count - 1)
        known = bins[place]
        bins[place] = value if known is None else max(known, value)
    return bins


def render_sparkline(values: Sequence[float | None], *, symbols: str = UNICODE_SYMBOLS) -> str:
    """One sign a value, 0 to 100 from low to high; a space where it is unknown."""
    return "".join(" " if value is None else symbols[_get_symbol_index(value, len(symbols))] for value in values)


def _get_symbol_index(value: float, symbol_count: int) -> int:
    return min(max(int(value / _FULL_PERCENT * symbol_count), 0), symbol_count - 1)
