"""`watcher history`: usage over time, as a table, a document or a picture."""

import shutil
import sys
from datetime import timedelta
from pathlib import Path

import click

from watcher import doors, past
from watcher.charts import Span, Track, svg, terminal
from watcher.charts.palette import Theme
from watcher.cli import complete, history_document, history_table, selection
from watcher.cli.columns import say
from watcher.cli.rule_files import in_force, own_paths
from watcher.cli.stored import opened
from watcher.clock import LocalZone
from watcher.clock import now as clock_now
from watcher.core import phrases
from watcher.core.model import Rule, Series
from watcher.core.units import read_duration
from watcher.errors import ConfigError, UsageError
from watcher.standing import written
from watcher.status_document import as_json

TERMINAL = ("terminal", "-")
Row = tuple[str, str, Track]
"""The series as a person writes it, the account's name, its track."""


@click.command()
@click.argument("series", nargs=-1, shell_complete=complete.series)
@click.option("--since", default="7d", show_default=True, metavar="SPAN", help="How far back: 12h, 7d, 30d.")
@click.option("--json", "as_document", is_flag=True, help="Every reading, reset and alert (watcher.history.v1).")
@click.option("--csv", "as_csv", is_flag=True, help="Every reading, one a line.")
@click.option(
    "--plot",
    "target",
    is_flag=False,
    flag_value="terminal",
    metavar="[FILE]",
    help="Draw it: FILE.svg, FILE.png, or here.",
)
@click.option(
    "--theme",
    type=click.Choice([each.value for each in Theme]),
    default="auto",
    help="Of the picture; auto: as whoever looks has set.",
)
def history(  # noqa: PLR0913 - one argument an option
    series: tuple[str, ...], *, since: str, as_document: bool, as_csv: bool, target: str | None, theme: str
) -> None:
    """Show usage over time as a table or a picture.

    SERIES chooses windows: claude, claude.five_hour, '*.weekly'. The picture has the thresholds of the rules in force,
    each reset, and the moments at which alerts fired. Readings are kept for 14 days, one an hour for a year.

    \b
    watcher history                                   the last 7 days
    watcher history claude.five_hour --since 24h      hour by hour
    watcher history claude --plot                     in the terminal
    watcher history claude --plot usage.png --theme dark
    watcher history --csv --since 30d > usage.csv
    watcher history --json | jq '.series[].resets'
    """
    if sum((as_document, as_csv, target is not None)) > 1:
        raise click.UsageError("give one of --json, --csv and --plot")
    _check_target(target)
    now = clock_now()
    span = Span(start=now - _span(since), end=now, tz=LocalZone())
    rows = _rows(series, span)
    tracks = [track for _, _, track in rows]
    if as_document:
        click.echo(as_json(history_document.document(rows, span.start, now)))
    elif as_csv:
        click.echo(history_document.as_csv(rows), nl=False)
    elif not rows:
        click.echo(_nothing(series, since))
    elif target in TERMINAL:
        _plot_here(rows, span)
    elif target is not None:
        _write(Path(target), tracks, span, Theme(theme))
    else:
        _print(rows, span, alone=len(rows) == 1 and bool(series))


def _span(text: str) -> timedelta:
    try:
        span = read_duration(text)
    except ValueError as error:
        raise click.UsageError(f"--since: {error}") from None
    if span < timedelta(minutes=1):
        raise click.UsageError(f"--since: {text} is too short a time; write one such as 12h, 7d or 30d")
    return span


def _check_target(target: str | None) -> None:
    if target is not None and target not in TERMINAL and Path(target).suffix.lower() not in (".svg", ".png"):
        raise click.UsageError(
            f"--plot: {target} is neither FILE.svg nor FILE.png; put --plot last to draw in the terminal"
        )


def _rows(texts: tuple[str, ...], span: Span) -> list[Row]:
    selectors = selection.parse(texts)
    store = opened(own_paths(), span.end)
    try:
        states = store.memory().series
        chosen = []
        for each in store.all_series():
            state = states.get(each)
            name, kind = past.account_name(store, each), "" if state is None else state.kind.value
            primary = state is not None and state.primary
            if not selectors or any(one.every_window.matches(each, name, kind, primary=primary) for one in selectors):
                chosen.append(each)
        names = {(each.provider, each.account): past.account_name(store, each) for each in chosen}
        several = store.crowded()
        return [
            (_written(track.course.series, several, names), names[_owner(track)], track)
            for track in past.tracks(store, _rules(), chosen, span.start)
        ]
    finally:
        store.close()


def _written(series: Series, several: frozenset[str], names: dict[tuple[str, str], str]) -> str:
    return "".join(sign for sign in written(series, several, names) if sign.isprintable())


def _owner(track: Track) -> tuple[str, str]:
    return track.course.series.provider, track.course.series.account


def _rules() -> tuple[Rule, ...]:
    """Those in force, for their thresholds; a mistake in them is no reason to show no history."""
    try:
        return in_force().rules
    except ConfigError:
        click.echo("the rules have a mistake, so their thresholds are left out: `watcher rules check`", err=True)
        return ()


def _nothing(series: tuple[str, ...], since: str) -> str:
    whom = f" of {', '.join(series)}" if series else ""
    return (
        f"nothing was read{whom} in the last {since}: `watcher history` shows what there is, --since goes further back"
    )


def _width() -> int:
    return shutil.get_terminal_size((80, 24)).columns


def _ascii_only() -> bool:
    try:
        "█▁┄⣿▲".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def _print(rows: list[Row], span: Span, *, alone: bool) -> None:
    poor, width = _ascii_only(), _width()
    if alone:
        lines = history_table.details(rows[0][0], rows[0][2], span, width, ascii_only=poor)
    else:
        lines = history_table.overview([(name, track) for name, _, track in rows], span, width, ascii_only=poor)
    for line in lines:
        say(line)


def _plot_here(rows: list[Row], span: Span) -> None:
    style = terminal.ASCII if _ascii_only() else terminal.DOTS
    for name, _, track in rows:
        say(f"{name}  {track.name}")
        for line in terminal.plot(track, span, style, width=_width()):
            say(line)
        say("")
    say(f"{style.alert} alert   {style.over} over   {style.turn} reset   {style.limit * 3} threshold of a rule")


def _write(path: Path, tracks: list[Track], span: Span, theme: Theme) -> None:
    title = f"AI usage, last {phrases.duration(span.end - span.start)}"
    drawing = svg.picture(tracks, span, theme=theme, title=title)
    if path.suffix.lower() == ".png":
        from watcher.cli import png  # noqa: PLC0415 - only where one is wanted

        if theme is Theme.AUTO:  # a bitmap cannot follow whoever looks at it
            drawing = svg.picture(tracks, span, theme=Theme.LIGHT, title=title)
        png.write(path, drawing, doors.real().run)
    else:
        try:
            path.write_text(drawing, "utf-8")
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from error
    click.echo(f"written: {path}", err=True)
