"""`watcher report`: one page about the last days, for a browser, a mail or a printer."""

import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import click

from watcher import __version__
from watcher.charts import TimeRange, Track, format_timestamp, html
from watcher.charts.html import AccountSection, Card, ReportPage, Table
from watcher.cli import status_text
from watcher.cli.context import find_paths, load_effective_config, open_store
from watcher.cli.status_text import StatusFormatter
from watcher.core import formatting
from watcher.core.engine.timeline import AlertPeriod, WindowPeriod, build_alert_periods, mean_used_percent
from watcher.core.model import AlertEvent, AlertPhase
from watcher.core.rules.rule import Rule
from watcher.errors import ConfigError, UsageError
from watcher.providers.registry import PROVIDERS
from watcher.status import tracks as past
from watcher.status.builder import ConfigFacts, build_status
from watcher.status.document import AccountStatus, StatusDocument, WindowStatus
from watcher.storage.records import Account
from watcher.system.clock import LocalZone
from watcher.system.clock import utc_now as clock_now

MAX_ALERTS = 200
_FULL_PERCENT = 100.0


@click.command()
@click.option("--days", type=click.IntRange(1, 365), default=7, show_default=True, help="How far back: 7, 30, ...")
@click.option("-o", "--output", metavar="FILE", help="Where to write it; - is the standard output.")
def report(days: int, output: str | None) -> None:
    """Write one HTML page about the last days.

    Windows with their pictures and pace, what was spent before each reset, alerts. The page is one file: it loads
    nothing, runs no script, and follows the reader's light or dark theme. Left out, the file is named after the day.

    \b
    watcher report
    watcher report --days 30 --output usage.html
    watcher report -o - | ssh me@example.com 'cat > usage.html'
    """
    now = clock_now()
    span = TimeRange(start=now - timedelta(days=days), end=now, tz=LocalZone())
    text = html.render_page(_build_page(span, days))
    if output == "-":
        sys.stdout.buffer.write(text.encode())
        return
    path = Path(output or f"ai-usage-{now.astimezone(span.tz):%Y-%m-%d}.html")
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}; give another place with --output") from error
    click.echo(f"written: {path}", err=True)


def _build_page(time_range: TimeRange, days: int) -> ReportPage:
    store = open_store(find_paths(), time_range.end)
    try:
        known = build_status(store, ConfigFacts(), now=time_range.end)
        accounts = store.accounts.load()
        tracks = past.build_tracks(store, _load_rules(), store.readings.load_series(), time_range.start)
        firing = [
            key for key, alert in store.alerts.load_state().alert_states.items() if alert.phase is AlertPhase.FIRING
        ]
        found = build_alert_periods(store.alerts.load_transitions(since=time_range.start), firing)
        names = {each: past.format_series_name(store, each, "") for each in {spell.series for spell in found}}
        crowded = store.accounts.load_multi_account_providers()
    finally:
        store.close()
    names |= {track.usage_history.series: track.name for track in tracks}
    told = [(spell, names[spell.series]) for spell in reversed(found)]
    return ReportPage(
        title=f"AI usage, last {formatting.format_amount(days, 'days')}",
        time_range=time_range,
        key_figures=_build_key_figures(tracks, found),
        sections=_build_sections(accounts, known, tracks, time_range, crowded),
        alerts=_build_alert_table(told[:MAX_ALERTS], time_range),
        footer=f"Made {format_timestamp(time_range.end, time_range.tz)} by AI usage watcher {__version__}. It loads nothing from anywhere.",
    )


def _load_rules() -> tuple[Rule, ...]:
    try:
        return load_effective_config().rules
    except ConfigError:
        click.echo("the rules have a mistake, so their thresholds are left out: `watcher rules check`", err=True)
        return ()


def _build_key_figures(tracks: Sequence[Track], alert_periods: Sequence[AlertPeriod]) -> tuple[tuple[str, str], ...]:
    turns = [turn for track in tracks for turn in track.usage_history.periods]
    spent = mean_used_percent(turns)
    peaks = [
        (point.used_percent or 0.0, track.name) for track in tracks if (point := track.usage_history.peak) is not None
    ]
    highest = max(peaks, default=None)
    figures = [
        (str(len(tracks)), "window watched" if len(tracks) == 1 else "windows watched"),
        (str(len(alert_periods)), "alert" if len(alert_periods) == 1 else "alerts"),
        (str(len(turns)), "reset" if len(turns) == 1 else "resets"),
    ]
    if spent is not None:
        figures.append((formatting.format_percent(spent), "spent before a reset, on average"))
    if highest is not None:
        figures.append((formatting.format_percent(highest[0]), f"at most: {highest[1]}"))
    return tuple(figures)


# --- accounts and windows -------------------------------------------------------------------------------------------


def _build_sections(
    accounts: Sequence[Account],
    document: StatusDocument,
    tracks: Sequence[Track],
    time_range: TimeRange,
    multi_account_providers: frozenset[str],
) -> tuple[AccountSection, ...]:
    order = list(PROVIDERS)
    both = sorted(zip(accounts, document.providers, strict=True), key=lambda pair: order.index(pair[0].provider))
    return tuple(
        _build_section(account, status, tracks, time_range, multi_account_providers) for account, status in both
    )


def _build_section(
    account: Account,
    status: AccountStatus,
    tracks: Sequence[Track],
    time_range: TimeRange,
    multi_account_providers: frozenset[str],
) -> AccountSection:
    tongue = StatusFormatter(time_range.end, time_range.tz)
    windows = {window.window: window for window in status.windows}
    mine = [
        track
        for track in tracks
        if (track.usage_history.series.provider, track.usage_history.series.account)
        == (account.provider, account.account)
    ]
    names = {provider.id: provider.name for provider in PROVIDERS.values()}
    return AccountSection(
        name=status_text.format_account_name(status, names, multi_account_providers),
        note=status.plan or "",
        error=tongue.format_problem(status),
        cards=tuple(
            _build_card(track, windows.get(track.usage_history.series.window), tongue, time_range) for track in mine
        ),
    )


def _build_card(track: Track, window: WindowStatus | None, formatter: StatusFormatter, time_range: TimeRange) -> Card:
    course, peak, spent = track.usage_history, track.usage_history.peak, mean_used_percent(track.usage_history.periods)
    facts = [
        ("at most", "" if peak is None else formatting.format_percent(peak.used_percent or 0.0)),
        ("spent before a reset, on average", "" if spent is None else formatting.format_percent(spent)),
        ("alerts", _format_alert_count(track)),
        ("read", formatting.format_amount(len(course.points), "times")),
    ]
    if window is not None:
        now = [
            ("now", status_text.format_used_percent(window)),
            ("left", status_text.format_remaining_amount(window).removesuffix(" left")),
        ]
        facts = [*now, ("pace", status_text.format_pace(window)), ("reset", formatter.format_reset(window)), *facts]
    return Card(
        title=course.label or course.series.window,
        track=track,
        facts=tuple((name, fact) for name, fact in facts if fact),
        resets=Table(
            headers=("reset", "spent", "left unused", "last read before it"),
            rows=tuple(_format_window_period(turn, time_range) for turn in reversed(course.periods)),
            numeric_columns=frozenset({1, 2}),
        ),
    )


def _format_alert_count(track: Track) -> str:
    fired = sum(moment.event in (AlertEvent.FIRING, AlertEvent.ESCALATED) for moment in track.alert_markers)
    return str(fired) if fired else ""


def _format_window_period(period: WindowPeriod, time_range: TimeRange) -> tuple[str, ...]:
    spent = period.used_percent
    return (
        format_timestamp(period.ended_at, time_range.tz) + (", early" if period.ended_early else ""),
        "unknown" if spent is None else formatting.format_percent(spent),
        "unknown" if spent is None else formatting.format_percent(max(_FULL_PERCENT - spent, 0.0)),
        "" if period.read_at is None else _format_reading_age(period.ended_at, period.read_at),
    )


def _format_reading_age(reset_at: datetime, read_at: datetime) -> str:
    return f"{formatting.format_duration(reset_at - read_at)} before" if reset_at > read_at else "at that moment"


# --- alerts ---------------------------------------------------------------------------------------------------------


def _build_alert_table(named_periods: Sequence[tuple[AlertPeriod, str]], time_range: TimeRange) -> Table:
    return Table(
        headers=("rule", "window", "from", "for", "used"),
        rows=tuple(_format_alert_period(spell, name, time_range) for spell, name in named_periods),
        severities=tuple(spell.severity.value for spell, _ in named_periods),
        numeric_columns=frozenset({4}),
    )


def _format_alert_period(period: AlertPeriod, name: str, time_range: TimeRange) -> tuple[str, ...]:
    if period.until is not None:
        lasted = formatting.format_duration(period.until - period.since) + (
            f", {period.reason}" if period.reason else ""
        )
    else:
        lasted = (
            f"{formatting.format_duration(time_range.end - period.since)}, fires now" if period.is_firing else "over"
        )
    used = "" if period.peak_used_percent is None else formatting.format_percent(period.peak_used_percent)
    return period.rule, name, format_timestamp(period.since, time_range.tz), lasted, used
