"""`watcher report`: one page about the last days, for a browser, a mail or a printer."""

import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import click

from watcher import __version__, past
from watcher.charts import Span, Track, page, stamp
from watcher.charts.page import Card, Page, Part, Table
from watcher.cli import words
from watcher.cli.rule_files import in_force, own_paths
from watcher.cli.stored import opened
from watcher.cli.words import Tongue
from watcher.clock import LocalZone
from watcher.clock import now as clock_now
from watcher.core import phrases
from watcher.core.course import Turn, mean_spent
from watcher.core.model import Event, Phase, Rule
from watcher.core.spells import Spell, spells
from watcher.errors import ConfigError, UsageError
from watcher.providers.registry import PROVIDERS
from watcher.rows import Account
from watcher.standing import status as standing
from watcher.status_document import AccountStatus, Status, Window

MOST_ALERTS = 200
_FULL = 100.0


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
    span = Span(start=now - timedelta(days=days), end=now, tz=LocalZone())
    text = page.html(_page(span, days))
    if output == "-":
        sys.stdout.buffer.write(text.encode())
        return
    path = Path(output or f"ai-usage-{now.astimezone(span.tz):%Y-%m-%d}.html")
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}; give another place with --output") from error
    click.echo(f"written: {path}", err=True)


def _page(span: Span, days: int) -> Page:
    store = opened(own_paths(), span.end)
    try:
        known = standing(store, now=span.end)
        accounts = store.accounts()
        tracks = past.tracks(store, _rules(), store.all_series(), span.start)
        firing = [key for key, alert in store.memory().alerts.items() if alert.phase is Phase.FIRING]
        found = spells(store.transitions(since=span.start), firing)
        names = {each: past.name_of(store, each, "") for each in {spell.series for spell in found}}
        crowded = store.crowded()
    finally:
        store.close()
    names |= {track.course.series: track.name for track in tracks}
    told = [(spell, names[spell.series]) for spell in reversed(found)]
    return Page(
        title=f"AI usage, last {phrases.amount(days, 'days')}",
        span=span,
        figures=_figures(tracks, found),
        parts=_parts(accounts, known, tracks, span, crowded),
        alerts=_alerts(told[:MOST_ALERTS], span),
        made=f"Made {stamp(span.end, span.tz)} by AI usage watcher {__version__}. It loads nothing from anywhere.",
    )


def _rules() -> tuple[Rule, ...]:
    try:
        return in_force().rules
    except ConfigError:
        click.echo("the rules have a mistake, so their thresholds are left out: `watcher rules check`", err=True)
        return ()


def _figures(tracks: Sequence[Track], found: Sequence[Spell]) -> tuple[tuple[str, str], ...]:
    turns = [turn for track in tracks for turn in track.course.turns]
    spent = mean_spent(turns)
    peaks = [(point.used_percent or 0.0, track.name) for track in tracks if (point := track.course.peak) is not None]
    highest = max(peaks, default=None)
    figures = [
        (str(len(tracks)), "window watched" if len(tracks) == 1 else "windows watched"),
        (str(len(found)), "alert" if len(found) == 1 else "alerts"),
        (str(len(turns)), "reset" if len(turns) == 1 else "resets"),
    ]
    if spent is not None:
        figures.append((phrases.percent(spent), "spent before a reset, on average"))
    if highest is not None:
        figures.append((phrases.percent(highest[0]), f"at most: {highest[1]}"))
    return tuple(figures)


# --- accounts and windows -------------------------------------------------------------------------------------------


def _parts(
    accounts: Sequence[Account], known: Status, tracks: Sequence[Track], span: Span, crowded: frozenset[str]
) -> tuple[Part, ...]:
    order = list(PROVIDERS)
    both = sorted(zip(accounts, known.providers, strict=True), key=lambda pair: order.index(pair[0].provider))
    return tuple(_part(account, status, tracks, span, crowded) for account, status in both)


def _part(
    account: Account, status: AccountStatus, tracks: Sequence[Track], span: Span, crowded: frozenset[str]
) -> Part:
    tongue = Tongue(span.end, span.tz)
    windows = {window.window: window for window in status.windows}
    mine = [
        track
        for track in tracks
        if (track.course.series.provider, track.course.series.account) == (account.provider, account.account)
    ]
    names = {provider.id: provider.name for provider in PROVIDERS.values()}
    return Part(
        name=words.account_name(status, names, crowded),
        note=status.plan or "",
        trouble=tongue.problem(status),
        cards=tuple(_card(track, windows.get(track.course.series.window), tongue, span) for track in mine),
    )


def _card(track: Track, window: Window | None, tongue: Tongue, span: Span) -> Card:
    course, peak, spent = track.course, track.course.peak, mean_spent(track.course.turns)
    facts = [
        ("at most", "" if peak is None else phrases.percent(peak.used_percent or 0.0)),
        ("spent before a reset, on average", "" if spent is None else phrases.percent(spent)),
        ("alerts", _count(track)),
        ("read", phrases.amount(len(course.points), "times")),
    ]
    if window is not None:
        now = [("now", words.percent(window)), ("left", words.left(window).removesuffix(" left"))]
        facts = [*now, ("pace", words.pace(window)), ("reset", tongue.reset(window)), *facts]
    return Card(
        title=course.label or course.series.window,
        track=track,
        facts=tuple((name, fact) for name, fact in facts if fact),
        turns=Table(
            heads=("reset", "spent", "left unused", "last read before it"),
            rows=tuple(_turn(turn, span) for turn in reversed(course.turns)),
            numeric=frozenset({1, 2}),
        ),
    )


def _count(track: Track) -> str:
    fired = sum(moment.event in (Event.FIRING, Event.ESCALATED) for moment in track.moments)
    return str(fired) if fired else ""


def _turn(turn: Turn, span: Span) -> tuple[str, ...]:
    spent = turn.spent_percent
    return (
        stamp(turn.at, span.tz) + (", early" if turn.early else ""),
        "unknown" if spent is None else phrases.percent(spent),
        "unknown" if spent is None else phrases.percent(max(_FULL - spent, 0.0)),
        "" if turn.read_at is None else _before(turn.at, turn.read_at),
    )


def _before(at: datetime, read_at: datetime) -> str:
    return f"{phrases.duration(at - read_at)} before" if at > read_at else "at that moment"


# --- alerts ---------------------------------------------------------------------------------------------------------


def _alerts(told: Sequence[tuple[Spell, str]], span: Span) -> Table:
    return Table(
        heads=("rule", "window", "from", "for", "used"),
        rows=tuple(_spell(spell, name, span) for spell, name in told),
        severities=tuple(spell.severity.value for spell, _ in told),
        numeric=frozenset({4}),
    )


def _spell(spell: Spell, name: str, span: Span) -> tuple[str, ...]:
    if spell.until is not None:
        lasted = phrases.duration(spell.until - spell.since) + (f", {spell.reason}" if spell.reason else "")
    else:
        lasted = f"{phrases.duration(span.end - spell.since)}, fires now" if spell.lasts else "over"
    used = "" if spell.used_percent is None else phrases.percent(spell.used_percent)
    return spell.rule, name, stamp(spell.since, span.tz), lasted, used
