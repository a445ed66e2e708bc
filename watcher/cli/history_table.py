"""What `watcher history` prints: a row a series, or the days or hours of a single one. Never open anything here."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from watcher.charts import Span, Track, stamp
from watcher.cli.columns import columns, wrapped
from watcher.core import phrases, spark
from watcher.core.course import Turn, mean_spent
from watcher.core.model import Event

LINE_LEAST, LINE_MOST = 12, 60
_DAYS_FROM = timedelta(days=2)  # a longer span is told by days, a shorter by hours
_MOST_ROWS = 48
_BAR = 20
_FULL = 100.0
_UNKNOWN = "?"


def overview(rows: Sequence[tuple[str, Track]], span: Span, width: int, *, ascii_only: bool) -> Iterator[str]:
    """One line a series: its course, and the numbers that matter."""
    signs = spark.ASCII if ascii_only else spark.BLOCKS
    others = [_numbers(track) for _, track in rows]
    heads = ("now", "most", "resets", "spent", "alerts")
    taken = sum(max(map(len, column)) + 2 for column in zip(heads, *others, strict=True))
    named = max([len("series"), *(len(name) for name, _ in rows)])
    apart = named + 2 + LINE_LEAST + taken > width  # then each name has a line of its own
    room = min(max(width - taken - (4 if apart else named + 2), LINE_LEAST), LINE_MOST)
    table: list[tuple[str, ...]] = [("course".ljust(room), *heads)]
    for (_, track), numbers in zip(rows, others, strict=True):
        table.append((spark.sparkline(_bins(track, span, room), signs=signs), *numbers))
    names = ["series", *(name for name, _ in rows)]
    if apart:
        for name, line in zip(names, columns(table, "  "), strict=True):
            yield from (name, line)
    else:
        yield from columns([(name, *row) for name, row in zip(names, table, strict=True)])
    yield ""
    key = f"{stamp(span.start, span.tz)} to {stamp(span.end, span.tz)}; a gap: nothing read; spent: before a reset"
    yield from wrapped(key, width, indent=4)


def details(name: str, track: Track, span: Span, width: int, *, ascii_only: bool) -> Iterator[str]:
    """One series: its course as a line, then a row for each day or hour in which something was read."""
    signs = spark.ASCII if ascii_only else spark.BLOCKS
    yield f"{name}  {track.name}"
    yield spark.sparkline(_bins(track, span, min(width, LINE_MOST * 2)), signs=signs)
    yield ""
    step = timedelta(days=1) if span.end - span.start > _DAYS_FROM else timedelta(hours=1)
    table = [row for row in (_row(track, span, at, step, ascii_only=ascii_only) for at in _steps(span, step)) if row]
    dropped = len(table) - _MOST_ROWS
    if dropped > 0:
        yield f"({dropped} earlier rows left out; --csv has every reading)"
    yield from columns([("from", "", "most", "left", "what happened"), *table[-_MOST_ROWS:]], width=width)


def _numbers(track: Track) -> tuple[str, ...]:
    course = track.course
    values = [value for _, value in track.values() if value is not None]
    unlimited = course.points[-1].reading.unlimited
    spent = mean_spent(course.turns)
    fired = sum(each.event in (Event.FIRING, Event.ESCALATED) for each in track.moments)
    last = course.last
    now = None if last is None else last.used_percent if track.in_percent else _left(last.reading.remaining)
    return (
        "unlimited" if unlimited else _UNKNOWN if now is None else track.worded(now),
        _UNKNOWN if not values else track.worded(max(values)),
        str(len(course.turns)),
        "" if spent is None else phrases.percent(spent),
        str(fired),
    )


def _left(remaining: object) -> float | None:
    return None if remaining is None else float(str(remaining))


def _bins(track: Track, span: Span, count: int) -> list[float | None]:
    """In percent of the scale, so that what is left of a balance is a line too."""
    values = ((point.at, None if value is None else value / track.top * _FULL) for point, value in track.values())
    return spark.binned(values, span.start, span.end, count)


def _steps(span: Span, step: timedelta) -> Iterator[datetime]:
    at = span.start.astimezone(span.tz).replace(minute=0, second=0, microsecond=0)
    if step >= timedelta(days=1):
        at = at.replace(hour=0)
    while at < span.end:
        yield at
        at = (at.replace(tzinfo=None) + step).replace(tzinfo=at.tzinfo)


def _row(track: Track, span: Span, start: datetime, step: timedelta, *, ascii_only: bool) -> tuple[str, ...] | None:
    end = (start.replace(tzinfo=None) + step).replace(tzinfo=start.tzinfo)
    read = [(point, value) for point, value in track.values() if start <= point.at < end]
    what = _happened(track, start, end)
    if not read and not what:
        return None
    values = [value for _, value in read if value is not None]
    remaining = read[-1][0].reading.remaining if read else None
    unit = read[-1][0].reading.unit if read else ""
    most = max(values, default=None)
    return (
        stamp(start, span.tz) if step < timedelta(days=1) else stamp(start, span.tz).rsplit(" ", 1)[0],
        "" if most is None else _bar(most / track.top, ascii_only=ascii_only),
        _UNKNOWN if most is None else track.worded(most),
        "" if remaining is None or unit == "percent" else phrases.amount(remaining, unit),
        ", ".join(what),
    )


def _happened(track: Track, start: datetime, end: datetime) -> list[str]:
    turns = [turn for turn in track.course.turns if start <= turn.at < end]
    said = Counter(f"{moment.rule} {moment.event}" for moment in track.moments if start <= moment.at < end)
    words = [what if times == 1 else f"{what} {times} times" for what, times in said.items()]
    silent = Counter(poll.kind for poll in track.failures if start <= poll.at < end)
    words += [
        f"no answer {times} times ({kind})" if times > 1 else f"no answer ({kind})" for kind, times in silent.items()
    ]
    return [_turned(turns), *words] if turns else words


def _turned(turns: Sequence[Turn]) -> str:
    spent = [turn.spent_percent for turn in turns if turn.spent_percent is not None]
    after = f" after {', '.join(phrases.percent(each) for each in spent)}" if spent else ""
    return ("reset" if len(turns) == 1 else f"{len(turns)} resets") + after


def _bar(share: float, *, ascii_only: bool) -> str:
    full = min(max(round(share * _BAR), 0), _BAR)
    return ("#" if ascii_only else "█") * full + ("." if ascii_only else "░") * (_BAR - full)
