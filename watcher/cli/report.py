"""`watcher report`: one page about the last days, for a browser, a mail or a printer."""

import sys
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import click

from watcher import __version__
from watcher.cli import status_text, tracks
from watcher.cli.charts import TimeRange, Track, format_timestamp, html
from watcher.cli.charts.html import AccountSection, Card, ReportPage, Table
from watcher.cli.context import find_paths, open_store
from watcher.cli.status_text import StatusFormatter
from watcher.core import formatting
from watcher.core.engine.timeline import AlertPeriod, WindowPeriod, build_alert_periods, mean_used_percent
from watcher.core.model import AlertPhase
from watcher.errors import UsageError
from watcher.providers.registry import PROVIDERS
from watcher.status.builder import ConfigFacts, build_status
from watcher.status.document import AccountStatus, StatusDocument, WindowStatus
from watcher.storage.records import Account
from watcher.system import clock

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
    now = clock.utc_now()
    time_range = TimeRange(start=now - timedelta(days=days), end=now, tz=clock.LocalZone())
    text = html.render_page(_build_page(time_range, days))
    if output == "-":
        sys.stdout.buffer.write(text.encode())
        return
    path = Path(output or f"ai-usage-{now.astimezone(time_range.tz):%Y-%m-%d}.html")
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}; give another place with --output") from error
    click.echo(f"written: {path}", err=True)


def _build_page(time_range: TimeRange, days: int) -> ReportPage:
    store = open_store(find_paths(), time_range.end)
    try:
        document = build_status(store, ConfigFacts(), now=time_range.end)
        accounts = store.accounts.load()
        series = store.readings.load_series()
        found = tracks.build_tracks(store, tracks.load_rules_for_thresholds(), series, time_range.start)
        states = store.alerts.load_state().alert_states
        firing = [key for key, alert in states.items() if alert.phase is AlertPhase.FIRING]
        periods = build_alert_periods(store.alerts.load_transitions(since=time_range.start), firing)
        names = {each: tracks.format_series_name(store, each, "") for each in {period.series for period in periods}}
        several = store.accounts.load_multi_account_providers()
    finally:
        store.close()
    names |= {track.usage_history.series: track.name for track in found}
    latest_first = [(period, names[period.series]) for period in reversed(periods)]
    made_at = format_timestamp(time_range.end, time_range.tz)
    return ReportPage(
        title=f"AI usage, last {formatting.format_amount(days, 'days')}",
        time_range=time_range,
        key_figures=_build_key_figures(found, periods),
        sections=_build_sections(accounts, document, found, time_range, several),
        alerts=_build_alert_table(latest_first[:MAX_ALERTS], time_range),
        footer=f"Made {made_at} by AI usage watcher {__version__}. It loads nothing from anywhere.",
    )


def _build_key_figures(found: Sequence[Track], alert_periods: Sequence[AlertPeriod]) -> tuple[tuple[str, str], ...]:
    resets = [period for track in found for period in track.usage_history.periods]
    spent = mean_used_percent(resets)
    peaks = [(point.used_percent or 0.0, track.name) for track in found if (point := track.usage_history.peak)]
    figures = [
        (str(len(found)), "window watched" if len(found) == 1 else "windows watched"),
        (str(len(alert_periods)), "alert" if len(alert_periods) == 1 else "alerts"),
        (str(len(resets)), "reset" if len(resets) == 1 else "resets"),
    ]
    if spent is not None:
        figures.append((formatting.format_percent(spent), "spent before a reset, on average"))
    if peaks:
        percent, name = max(peaks)
        figures.append((formatting.format_percent(percent), f"at most: {name}"))
    return tuple(figures)


# --- accounts and windows -------------------------------------------------------------------------------------------


def _build_sections(
    accounts: Sequence[Account],
    document: StatusDocument,
    found: Sequence[Track],
    time_range: TimeRange,
    multi_account_providers: Collection[str],
) -> tuple[AccountSection, ...]:
    order = list(PROVIDERS)
    names = {provider.id: provider.name for provider in PROVIDERS.values()}
    formatter = StatusFormatter(time_range.end, time_range.tz)
    pairs = sorted(zip(accounts, document.providers, strict=True), key=lambda pair: order.index(pair[0].provider))
    return tuple(
        AccountSection(
            name=status_text.format_account_name(status, names, multi_account_providers),
            note=status.plan or "",
            error=formatter.format_problem(status),
            cards=_build_cards(account, status, found, formatter, time_range),
        )
        for account, status in pairs
    )


def _build_cards(
    account: Account,
    status: AccountStatus,
    found: Sequence[Track],
    formatter: StatusFormatter,
    time_range: TimeRange,
) -> tuple[Card, ...]:
    windows = {window.window: window for window in status.windows}
    cards = []
    for track in found:
        series = track.usage_history.series
        if (series.provider, series.account) == (account.provider, account.account):
            cards.append(_build_card(track, windows.get(series.window), formatter, time_range))
    return tuple(cards)


def _build_card(track: Track, window: WindowStatus | None, formatter: StatusFormatter, time_range: TimeRange) -> Card:
    history = track.usage_history
    peak, spent, alerts = history.peak, mean_used_percent(history.periods), track.count_alerts()
    facts = [
        ("at most", "" if peak is None else formatting.format_percent(peak.used_percent or 0.0)),
        ("spent before a reset, on average", "" if spent is None else formatting.format_percent(spent)),
        ("alerts", str(alerts) if alerts else ""),
        ("read", formatting.format_amount(len(history.points), "times")),
    ]
    if window is not None:
        facts = [
            ("now", status_text.format_used_percent(window)),
            ("left", status_text.format_remaining_amount(window).removesuffix(" left")),
            ("pace", status_text.format_pace(window)),
            ("reset", formatter.format_reset(window)),
            *facts,
        ]
    return Card(
        title=history.label or history.series.window,
        track=track,
        facts=tuple((name, fact) for name, fact in facts if fact),
        resets=Table(
            headers=("reset", "spent", "left unused", "last read before it"),
            rows=tuple(_format_window_period(period, time_range) for period in reversed(history.periods)),
            numeric_columns=frozenset({1, 2}),
        ),
    )


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
        rows=tuple(_format_alert_period(period, name, time_range) for period, name in named_periods),
        severities=tuple(period.severity.value for period, _ in named_periods),
        numeric_columns=frozenset({4}),
    )


def _format_alert_period(period: AlertPeriod, name: str, time_range: TimeRange) -> tuple[str, ...]:
    if period.until is not None:
        reason = f", {period.reason}" if period.reason else ""
        lasted = formatting.format_duration(period.until - period.since) + reason
    elif period.is_firing:
        lasted = f"{formatting.format_duration(time_range.end - period.since)}, fires now"
    else:
        lasted = "over"
    used = "" if period.peak_used_percent is None else formatting.format_percent(period.peak_used_percent)
    return period.rule, name, format_timestamp(period.since, time_range.tz), lasted, used
