"""`watcher history --json` and `--csv`: what was read, for other programs. Never put words for people here."""

import csv
import io
from bisect import bisect
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from watcher.charts import AlertMarker, Track
from watcher.core.engine.timeline import Point

SCHEMA_NAME = "watcher.history.v1"
CSV_COLUMNS = ("at", "provider", "account", "window", "used_percent", "used", "limit", "remaining", "unit", "resets_at")
_FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r")


class HistoryReading(Struct, frozen=True, kw_only=True):
    """One reading. None is unknown."""

    at: datetime
    used_percent: float | None
    used: Decimal | None
    limit: Decimal | None
    remaining: Decimal | None
    resets_at: datetime | None
    unlimited: bool
    believed: bool  # False: too unlike its neighbours, and not confirmed by the next; no rule judged it
    source: str


class HistoryReset(Struct, frozen=True, kw_only=True):
    """The window turned over."""

    at: datetime
    spent_percent: float | None
    early: bool


class HistoryAlert(Struct, frozen=True, kw_only=True):
    """An alert changed."""

    at: datetime
    rule: str
    event: str
    severity: str
    used_percent: float | None


class HistoryOutage(Struct, frozen=True, kw_only=True, rename={"began_at": "from", "ended_at": "to"}):
    """Polls of the account in a row that gave nothing, for one reason; between two of them was no answer."""

    began_at: datetime
    ended_at: datetime
    kind: str
    polls: int


class HistoryThreshold(Struct, frozen=True, kw_only=True):
    """Where a rule in force would fire: percent used, or what is left where the window counts no percent."""

    rule: str
    severity: str
    value: float


class HistorySeries(Struct, frozen=True, kw_only=True):
    """One series."""

    series: str
    provider: str
    account: str | None
    window: str
    kind: str
    label: str
    unit: str
    window_seconds: int | None
    readings: list[HistoryReading]
    resets: list[HistoryReset]
    alerts: list[HistoryAlert]
    thresholds: list[HistoryThreshold]
    outages: list[HistoryOutage]


class HistoryDocument(Struct, frozen=True, kw_only=True):
    """The whole document."""

    schema: str
    generated_at: datetime
    since: datetime
    series: list[HistorySeries]


def build_history_document(rows: Sequence[tuple[str, str, Track]], since: datetime, now: datetime) -> HistoryDocument:
    """The document; rows are (series as written, account's name, track)."""
    return HistoryDocument(
        schema=SCHEMA_NAME, generated_at=now, since=since, series=[_build_series(*row) for row in rows]
    )


def format_csv(rows: Sequence[tuple[str, str, Track]]) -> str:
    """One line a reading, in time order within each series; an empty cell is unknown.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for _, account, track in rows:
        series = track.usage_history.series
        for point in track.usage_history.points:
            read = point.reading
            writer.writerow(
                [
                    _format_time(point.at),
                    series.provider,
                    _escape_formula(account),
                    _escape_formula(series.window),
                    "" if point.used_percent is None else point.used_percent,
                    *("" if value is None else value for value in (read.used, read.limit, read.remaining)),
                    _escape_formula(read.unit),
                    "" if read.resets_at is None else _format_time(read.resets_at),
                ]
            )
    return out.getvalue()


def _format_time(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _escape_formula(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA_PREFIXES) else text


def _build_series(series_name: str, account: str, track: Track) -> HistorySeries:
    course, last = track.usage_history, track.usage_history.points[-1].reading
    return HistorySeries(
        series=series_name,
        provider=course.series.provider,
        account=account or None,
        window=course.series.window,
        kind=last.kind.value,
        label=course.label,
        unit=last.unit,
        window_seconds=last.window_seconds,
        readings=[_build_reading(point) for point in course.points],
        resets=[
            HistoryReset(at=turn.ended_at, spent_percent=turn.used_percent, early=turn.ended_early)
            for turn in course.periods
        ],
        alerts=[_build_alert(moment) for moment in track.alert_markers],
        thresholds=[
            HistoryThreshold(rule=line.rule, severity=line.severity.value, value=line.value)
            for line in track.threshold_lines
        ],
        outages=_build_outages(track),
    )


def _build_outages(track: Track) -> list[HistoryOutage]:
    answered = [point.at for point in track.usage_history.points]
    found: list[HistoryOutage] = []
    for poll in track.failures:
        last = found[-1] if found else None
        if last is None or last.kind != poll.kind or bisect(answered, last.ended_at) != bisect(answered, poll.at):
            found.append(HistoryOutage(began_at=poll.at, ended_at=poll.at, kind=poll.kind, polls=1))
        else:
            found[-1] = replace(last, ended_at=poll.at, polls=last.polls + 1)
    return found


def _build_reading(point: Point) -> HistoryReading:
    reading = point.reading
    return HistoryReading(
        at=point.at,
        used_percent=point.used_percent,
        used=reading.used,
        limit=reading.limit,
        remaining=reading.remaining,
        resets_at=reading.resets_at,
        unlimited=reading.unlimited,
        believed=point.believed,
        source=reading.source,
    )


def _build_alert(marker: AlertMarker) -> HistoryAlert:
    return HistoryAlert(
        at=marker.at,
        rule=marker.rule,
        event=marker.event.value,
        severity=marker.severity.value,
        used_percent=marker.used_percent,
    )
