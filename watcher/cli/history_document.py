"""`watcher history --json` and `--csv`: what was read, for other programs. Never put words for people here."""

import csv
import io
from bisect import bisect
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from watcher.charts import Moment, Track
from watcher.core.course import Point

SCHEMA = "watcher.history.v1"
COLUMNS = ("at", "provider", "account", "window", "used_percent", "used", "limit", "remaining", "unit", "resets_at")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Read(Struct, frozen=True, kw_only=True):
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


class Reset(Struct, frozen=True, kw_only=True):
    """The window turned over."""

    at: datetime
    spent_percent: float | None
    early: bool


class Alert(Struct, frozen=True, kw_only=True):
    """An alert changed."""

    at: datetime
    rule: str
    event: str
    severity: str
    used_percent: float | None


class Outage(Struct, frozen=True, kw_only=True, rename={"began_at": "from", "ended_at": "to"}):
    """Polls of the account in a row that gave nothing, for one reason; between two of them was no answer."""

    began_at: datetime
    ended_at: datetime
    kind: str
    polls: int


class Threshold(Struct, frozen=True, kw_only=True):
    """Where a rule in force would fire: percent used, or what is left where the window counts no percent."""

    rule: str
    severity: str
    value: float


class Series(Struct, frozen=True, kw_only=True):
    """One series."""

    series: str
    provider: str
    account: str | None
    window: str
    kind: str
    label: str
    unit: str
    window_seconds: int | None
    readings: list[Read]
    resets: list[Reset]
    alerts: list[Alert]
    thresholds: list[Threshold]
    outages: list[Outage]


class History(Struct, frozen=True, kw_only=True):
    """The whole document."""

    schema: str
    generated_at: datetime
    since: datetime
    series: list[Series]


def document(rows: Sequence[tuple[str, str, Track]], since: datetime, now: datetime) -> History:
    """The document; rows are (series as written, account's name, track)."""
    return History(schema=SCHEMA, generated_at=now, since=since, series=[_series(*row) for row in rows])


def as_csv(rows: Sequence[tuple[str, str, Track]]) -> str:
    """One line a reading, in time order within each series; an empty cell is unknown.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for _, account, track in rows:
        series = track.course.series
        for point in track.course.points:
            read = point.reading
            writer.writerow(
                [
                    _instant(point.at),
                    series.provider,
                    _text(account),
                    _text(series.window),
                    "" if point.used_percent is None else point.used_percent,
                    *("" if value is None else value for value in (read.used, read.limit, read.remaining)),
                    _text(read.unit),
                    "" if read.resets_at is None else _instant(read.resets_at),
                ]
            )
    return out.getvalue()


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _text(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _series(written: str, account: str, track: Track) -> Series:
    course, last = track.course, track.course.points[-1].reading
    return Series(
        series=written,
        provider=course.series.provider,
        account=account or None,
        window=course.series.window,
        kind=last.kind.value,
        label=course.label,
        unit=last.unit,
        window_seconds=last.window_seconds,
        readings=[_read(point) for point in course.points],
        resets=[Reset(at=turn.at, spent_percent=turn.spent_percent, early=turn.early) for turn in course.turns],
        alerts=[_alert(moment) for moment in track.moments],
        thresholds=[Threshold(rule=line.rule, severity=line.severity.value, value=line.value) for line in track.lines],
        outages=_outages(track),
    )


def _outages(track: Track) -> list[Outage]:
    answered = [point.at for point in track.course.points]
    found: list[Outage] = []
    for poll in track.failures:
        last = found[-1] if found else None
        if last is None or last.kind != poll.kind or bisect(answered, last.ended_at) != bisect(answered, poll.at):
            found.append(Outage(began_at=poll.at, ended_at=poll.at, kind=poll.kind, polls=1))
        else:
            found[-1] = replace(last, ended_at=poll.at, polls=last.polls + 1)
    return found


def _read(point: Point) -> Read:
    reading = point.reading
    return Read(
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


def _alert(moment: Moment) -> Alert:
    return Alert(
        at=moment.at,
        rule=moment.rule,
        event=moment.event.value,
        severity=moment.severity.value,
        used_percent=moment.used_percent,
    )
