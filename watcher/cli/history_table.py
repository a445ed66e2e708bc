"""What `watcher history` prints: a row a series, or the days or hours of a single one. Never open anything here."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from watcher.charts import TimeRange, Track, format_timestamp, sparkline
from watcher.cli.output import format_columns, wrap_line
from watcher.core import formatting
from watcher.core.engine.timeline import WindowPeriod, mean_used_percent
from watcher.core.model import AlertEvent

MIN_LINE_WIDTH, MAX_LINE_WIDTH = 12, 60
_DAILY_ROWS_ABOVE = timedelta(days=2)  # a longer span is told by days, a shorter by hours
_MAX_ROWS = 48
_BAR_WIDTH = 20
_FULL_PERCENT = 100.0
_UNKNOWN_TEXT = "?"


def format_overview(
    rows: Sequence[tuple[str, Track]], time_range: TimeRange, width: int, *, ascii_only: bool
) -> Iterator[str]:
    """One line a series: its course, and the numbers that matter."""
    signs = sparkline.ASCII_SYMBOLS if ascii_only else sparkline.UNICODE_SYMBOLS
    others = [_format_numbers(track) for _, track in rows]
    heads = ("now", "most", "resets", "spent", "alerts")
    taken = sum(max(map(len, column)) + 2 for column in zip(heads, *others, strict=True))
    named = max([len("series"), *(len(name) for name, _ in rows)])
    apart = named + 2 + MIN_LINE_WIDTH + taken > width  # then each name has a line of its own
    room = min(max(width - taken - (4 if apart else named + 2), MIN_LINE_WIDTH), MAX_LINE_WIDTH)
    table: list[tuple[str, ...]] = [("course".ljust(room), *heads)]
    for (_, track), numbers in zip(rows, others, strict=True):
        table.append(
            (sparkline.render_sparkline(_bin_values_for_sparkline(track, time_range, room), symbols=signs), *numbers)
        )
    names = ["series", *(name for name, _ in rows)]
    if apart:
        for name, line in zip(names, format_columns(table, "  "), strict=True):
            yield from (name, line)
    else:
        yield from format_columns([(name, *row) for name, row in zip(names, table, strict=True)])
    yield ""
    key = f"{format_timestamp(time_range.start, time_range.tz)} to {format_timestamp(time_range.end, time_range.tz)}; a gap: nothing read; spent: before a reset"
    yield from wrap_line(key, width, indent=4)


def format_details(name: str, track: Track, time_range: TimeRange, width: int, *, ascii_only: bool) -> Iterator[str]:
    """One series: its course as a line, then a row for each day or hour in which something was read."""
    signs = sparkline.ASCII_SYMBOLS if ascii_only else sparkline.UNICODE_SYMBOLS
    yield f"{name}  {track.name}"
    yield sparkline.render_sparkline(
        _bin_values_for_sparkline(track, time_range, min(width, MAX_LINE_WIDTH * 2)), symbols=signs
    )
    yield ""
    step = timedelta(days=1) if time_range.end - time_range.start > _DAILY_ROWS_ABOVE else timedelta(hours=1)
    table = [
        row
        for row in (
            _format_row(track, time_range, at, step, ascii_only=ascii_only) for at in _iter_row_starts(time_range, step)
        )
        if row
    ]
    dropped = len(table) - _MAX_ROWS
    if dropped > 0:
        yield f"({dropped} earlier rows left out; --csv has every reading)"
    yield from format_columns([("from", "", "most", "left", "what happened"), *table[-_MAX_ROWS:]], width=width)


def _format_numbers(track: Track) -> tuple[str, ...]:
    course = track.usage_history
    values = [value for _, value in track.iter_values() if value is not None]
    unlimited = course.points[-1].reading.unlimited
    spent = mean_used_percent(course.periods)
    fired = sum(each.event in (AlertEvent.FIRING, AlertEvent.ESCALATED) for each in track.alert_markers)
    last = course.last_believed
    now = (
        None
        if last is None
        else last.used_percent
        if track.is_in_percent
        else _convert_to_float(last.reading.remaining)
    )
    return (
        "unlimited" if unlimited else _UNKNOWN_TEXT if now is None else track.format_value(now),
        _UNKNOWN_TEXT if not values else track.format_value(max(values)),
        str(len(course.periods)),
        "" if spent is None else formatting.format_percent(spent),
        str(fired),
    )


def _convert_to_float(amount: object) -> float | None:
    return None if amount is None else float(str(amount))


def _bin_values_for_sparkline(track: Track, time_range: TimeRange, bin_count: int) -> list[float | None]:
    """In percent of the scale, so that what is left of a balance is a line too."""
    values = (
        (point.at, None if value is None else value / track.scale_max * _FULL_PERCENT)
        for point, value in track.iter_values()
    )
    return sparkline.bin_values(values, time_range.start, time_range.end, bin_count)


def _iter_row_starts(time_range: TimeRange, step: timedelta) -> Iterator[datetime]:
    at = time_range.start.astimezone(time_range.tz).replace(minute=0, second=0, microsecond=0)
    if step >= timedelta(days=1):
        at = at.replace(hour=0)
    while at < time_range.end:
        yield at
        at = (at.replace(tzinfo=None) + step).replace(tzinfo=at.tzinfo)


def _format_row(
    track: Track, time_range: TimeRange, start: datetime, step: timedelta, *, ascii_only: bool
) -> tuple[str, ...] | None:
    end = (start.replace(tzinfo=None) + step).replace(tzinfo=start.tzinfo)
    read = [(point, value) for point, value in track.iter_values() if start <= point.at < end]
    what = _describe_events(track, start, end)
    if not read and not what:
        return None
    values = [value for _, value in read if value is not None]
    remaining = read[-1][0].reading.remaining if read else None
    unit = read[-1][0].reading.unit if read else ""
    most = max(values, default=None)
    return (
        format_timestamp(start, time_range.tz)
        if step < timedelta(days=1)
        else format_timestamp(start, time_range.tz).rsplit(" ", 1)[0],
        "" if most is None else _render_bar(most / track.scale_max, ascii_only=ascii_only),
        _UNKNOWN_TEXT if most is None else track.format_value(most),
        "" if remaining is None or unit == "percent" else formatting.format_amount(remaining, unit),
        ", ".join(what),
    )


def _describe_events(track: Track, start: datetime, end: datetime) -> list[str]:
    turns = [turn for turn in track.usage_history.periods if start <= turn.ended_at < end]
    said = Counter(f"{moment.rule} {moment.event}" for moment in track.alert_markers if start <= moment.at < end)
    words = [what if times == 1 else f"{what} {times} times" for what, times in said.items()]
    silent = Counter(poll.kind for poll in track.failures if start <= poll.at < end)
    words += [
        f"no answer {times} times ({kind})" if times > 1 else f"no answer ({kind})" for kind, times in silent.items()
    ]
    return [_describe_resets(turns), *words] if turns else words


def _describe_resets(periods: Sequence[WindowPeriod]) -> str:
    spent = [turn.used_percent for turn in periods if turn.used_percent is not None]
    after = f" after {', '.join(formatting.format_percent(each) for each in spent)}" if spent else ""
    return ("reset" if len(periods) == 1 else f"{len(periods)} resets") + after


def _render_bar(fraction: float, *, ascii_only: bool) -> str:
    full = min(max(round(fraction * _BAR_WIDTH), 0), _BAR_WIDTH)
    return ("#" if ascii_only else "█") * full + ("." if ascii_only else "░") * (_BAR_WIDTH - full)
