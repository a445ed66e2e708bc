"""`watcher report`: one HTML page about the last days, for a browser, a mail or a printer.

The page is one file for light, dark and print, without scripts. A policy in its head forbids it to load anything.
"""

import sys
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from string import Template

import click

from watcher import __version__
from watcher.cli import status_text
from watcher.cli.charts import FULL_PERCENT, LEGEND, TimeRange, Track, format_dates, format_timestamp
from watcher.cli.charts.svg import (
    CHART_CSS,
    DARK,
    FONT_FAMILY,
    LIGHT,
    Markup,
    element,
    format_colour_variables,
    render_panel,
)
from watcher.cli.context import find_paths, load_effective_config, open_store, write_private_file
from watcher.cli.history import build_tracks, get_provider_position, make_name_formatter
from watcher.cli.status_text import StatusFormatter
from watcher.core import formatting
from watcher.core.engine.timeline import AlertPeriod, WindowPeriod, build_alert_periods, mean_used_percent
from watcher.core.model import AlertPhase, Series
from watcher.status.builder import ConfigFacts, build_status
from watcher.status.document import AccountStatus, WindowStatus
from watcher.system import clock
from watcher.system.process import open_in_browser

_MIN_SPAN = timedelta(hours=6)
_NUMERIC_HEADERS = {"spent", "left unused", "used"}


@click.command()
@click.option("--days", type=click.IntRange(1, 365), default=7, show_default=True, help="How far back: 7, 30, ...")
@click.option("-o", "--output", metavar="FILE", help="Where to write it; - is the standard output.")
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
def report(days: int, output: str | None, *, opens: bool) -> None:
    """Write one HTML page about the last days.

    Windows with their pictures and pace, what was spent before each reset, alerts. The page is one file: it loads
    nothing, runs no script, and follows the reader's light or dark theme. Without --output, the file is named after
    the day.

    \b
    watcher report --open
    watcher report --days 30 --output usage.html
    watcher report -o - | ssh me@example.com 'cat > usage.html'
    """
    if opens and output == "-":
        raise click.UsageError("--open needs a file; leave out `--output -`")
    now = clock.utc_now()
    time_range = TimeRange(start=now - timedelta(days=days), end=now, tz=clock.LocalZone())
    text = _render_report(time_range, days)
    if output == "-":
        sys.stdout.buffer.write(text.encode())
        return
    path = Path(output or f"ai-usage-{now.astimezone(time_range.tz):%Y-%m-%d}.html")
    write_private_file(path, text.encode())
    click.echo(f"written: {path}", err=True)
    if opens and not open_in_browser(path.absolute().as_uri()):
        click.echo("no browser could be opened; open that file yourself", err=True)


def _render_report(time_range: TimeRange, days: int) -> str:
    with open_store(find_paths(), time_range.end) as store:
        statuses = build_status(store, ConfigFacts(), now=time_range.end).providers
        keys = [(account.provider, account.account) for account in store.accounts.load()]
        drawn = build_tracks(store, store.readings.load_series(), time_range.start, load_effective_config().rules)
        states = store.alerts.load_state().alert_states
        firing = [key for key, alert in states.items() if alert.phase is AlertPhase.FIRING]
        periods = build_alert_periods(store.alerts.load_transitions(since=time_range.start), firing)
        format_name = make_name_formatter(store)
        names = {period.series: format_name(period.series, "") for period in periods}
        several = store.accounts.load_multi_account_providers()
    names |= {track.usage_history.series: track.name for track in drawn}
    accounts = sorted(zip(keys, statuses, strict=True), key=lambda pair: get_provider_position(pair[1].provider))
    title = f"AI usage, last {formatting.format_amount(days, 'days')}"
    made_at = format_timestamp(time_range.end, time_range.tz)
    latest_first = [(period, names[period.series]) for period in reversed(periods)]
    time_range, dates = _fit_range(drawn, time_range), format_dates(time_range)
    body = element(
        "body",
        element("header", element("h1", title), element("p", dates)),
        element(
            "main",
            _render_alerts("Fires now", [each for each in latest_first if each[0].is_firing], time_range),
            _render_next([(key, status) for key, status in accounts if status.ok], drawn, time_range),
            _render_alerts("Alerts", latest_first, time_range),
            *([element("p", LEGEND, class_="key")] if drawn else []),
            *(_render_account(key, status, drawn, time_range, several) for key, status in accounts),
        ),
        element(
            "footer",
            element("p", f"Made {made_at} by AI usage watcher {__version__}. It loads nothing from anywhere."),
        ),
    )
    head = element("head", _META, element("title", title), element("style", Markup(_make_style_sheet())))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _fit_range(drawn: Sequence[Track], time_range: TimeRange) -> TimeRange:
    """The time from the first reading on: a new watcher's pictures are not empty for days."""
    first = min((track.usage_history.points[0].at for track in drawn), default=time_range.start)
    start = max(time_range.start, min(first, time_range.end - _MIN_SPAN))
    return TimeRange(start=start, end=time_range.end, tz=time_range.tz)


def _render_account(
    key: tuple[str, str],
    status: AccountStatus,
    drawn: Sequence[Track],
    time_range: TimeRange,
    multi_account_providers: Collection[str],
) -> Markup:
    name = status.provider_name or status.provider
    if status.account and status.provider in multi_account_providers:
        name += f" ({status.account})"
    problem = StatusFormatter(time_range.end, time_range.tz).format_problem(status)
    windows = {window.window: window for window in status.windows}
    own = [track for track in drawn if (track.usage_history.series.provider, track.usage_history.series.account) == key]
    unlimited = [track for track in own if all(point.reading.unlimited for point in track.usage_history.points)]
    cards = [
        render_window(track, windows.get(track.usage_history.series.window), time_range)
        for track in own
        if track not in unlimited
    ]
    if unlimited:
        labels = [track.usage_history.label or track.usage_history.series.window for track in unlimited]
        cards.append(element("p", f"Unlimited: {', '.join(labels)}."))
    return element(
        "section",
        element("h2", name, *([element("small", status.plan)] if status.plan else [])),
        *([element("p", element("b", "Problem:"), problem, class_="problem")] if problem else []),
        *(cards or [element("p", "Nothing was read in this time.")]),
    )


def render_window(track: Track, window: WindowStatus | None, time_range: TimeRange) -> Markup:
    """One window: its picture, its present state where it is known, what was spent before each reset."""
    history = track.usage_history
    peak, spent, alerts = history.peak, mean_used_percent(history.periods), track.count_alerts()
    facts = {
        "at most": "" if peak is None else formatting.format_percent(peak.used_percent or 0.0),
        "spent before a reset, on average": "" if spent is None else formatting.format_percent(spent),
        "alerts": str(alerts) if alerts else "",
        "read": formatting.format_amount(len(history.points), "times"),
    }
    if window is not None:
        facts = {
            "now": status_text.format_used_percent(window),
            "left": status_text.format_remaining_amount(window).removesuffix(" left"),
            "pace": status_text.format_pace(window),
            "reset": StatusFormatter(time_range.end, time_range.tz).format_reset(window),
        } | facts
    parts = [
        element("h3", history.label or history.series.window),
        element("div", render_panel(track, time_range), class_="wide newest"),
        element(
            "dl", *(element("div", element("dt", name), element("dd", fact)) for name, fact in facts.items() if fact)
        ),
    ]
    count = len(history.periods)
    if count:
        which = "the reset" if count == 1 else f"each of {count} resets"
        rows = [_format_reset(period, time_range) for period in reversed(history.periods)]
        table = _render_table(("reset", "spent", "left unused"), rows)
        parts.append(element("details", element("summary", f"Spent before {which}"), table))
    return element("article", *parts)


def _format_reset(period: WindowPeriod, time_range: TimeRange) -> tuple[str, ...]:
    spent = period.used_percent
    return (
        format_timestamp(period.ended_at, time_range.tz) + (", early" if period.ended_early else ""),
        "unknown" if spent is None else formatting.format_percent(spent),
        "unknown" if spent is None else formatting.format_percent(max(FULL_PERCENT - spent, 0.0)),
    )


def _render_next(
    accounts: Sequence[tuple[tuple[str, str], AccountStatus]], drawn: Sequence[Track], time_range: TimeRange
) -> Markup:
    """The windows that run out before their reset if use goes on as in the last hours, the next one first."""
    names = {track.usage_history.series: track.name for track in drawn}
    formatter = StatusFormatter(time_range.end, time_range.tz)
    found = []
    for (provider, account), status in accounts:
        for window in status.windows:
            at = _estimate_exhaustion(window, time_range.end)
            name = names.get(Series(provider=provider, account=account, window=window.window))
            if at is not None and name is not None:
                runs_out = f"{formatter.format_until(at)} ({formatter.format_time(at)})"
                found.append(
                    (at, (name, status_text.format_used_percent(window), runs_out, formatter.format_reset(window)))
                )
    rows = [row for _, row in sorted(found)]
    nothing = element("p", "At the present rate, no window runs out before its reset.")
    table = _render_table(("window", "used", "runs out", "reset"), rows) if rows else nothing
    return element("section", element("h2", "Runs out next"), table)


def _estimate_exhaustion(window: WindowStatus, now: datetime) -> datetime | None:
    """When a window is used up, by its projection; None: not before its reset, or unknown."""
    used, projected, resets_at = window.used_percent, window.projected_percent, window.resets_at
    if used is None or projected is None or resets_at is None or window.stale or window.unlimited:
        return None
    if not used < FULL_PERCENT < projected or resets_at <= now:
        return None
    return now + (resets_at - now) * ((FULL_PERCENT - used) / (projected - used))


def _render_alerts(title: str, named_periods: Sequence[tuple[AlertPeriod, str]], time_range: TimeRange) -> Markup:
    rows = []
    for period, name in named_periods:
        if period.until is not None:
            lasted = formatting.format_duration(period.until - period.since)
            lasted += f", {period.reason}" if period.reason else ""
        elif period.is_firing:
            lasted = f"{formatting.format_duration(time_range.end - period.since)}, fires now"
        else:
            lasted = "over"
        badge = element("span", period.severity, class_=f"badge {period.severity}")
        used = "" if period.peak_used_percent is None else formatting.format_percent(period.peak_used_percent)
        at = format_timestamp(period.since, time_range.tz)
        rows.append((element("span", badge, period.rule), name, at, lasted, used))
    table = _render_table(("rule", "window", "from", "for", "used"), rows)
    nothing = "Nothing fires now." if title == "Fires now" else "No alert fired in this time."
    return element("section", element("h2", title), table if rows else element("p", nothing))


def _render_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    classes = ["n" if header in _NUMERIC_HEADERS else None for header in headers]
    heads = [element("th", header, scope="col", class_=each) for header, each in zip(headers, classes, strict=True)]
    body = [
        element("tr", *(element("td", cell, class_=each) for cell, each in zip(row, classes, strict=True)))
        for row in rows
    ]
    return element(
        "div", element("table", element("thead", element("tr", *heads)), element("tbody", *body)), class_="wide"
    )


_META = Markup(
    '<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="'
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n"
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">'
)


def _make_style_sheet() -> str:
    light, dark = map(format_colour_variables, (LIGHT, DARK))
    template = Template(Path(__file__).with_name("report.css").read_text("utf-8"))
    return template.substitute(light=light, dark=dark, font=FONT_FAMILY, chart=CHART_CSS)
