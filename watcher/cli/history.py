"""`watcher history`: usage over time, as a table, a document or a picture."""

import shutil
import sys
from datetime import timedelta
from pathlib import Path

import click

from watcher import environment
from watcher.charts import TimeRange, Track, svg, terminal
from watcher.charts.svg import Theme
from watcher.cli import completion, history_export, history_table, status
from watcher.cli.context import find_paths, load_effective_config, open_store
from watcher.cli.output import echo
from watcher.core import formatting
from watcher.core.model import Series
from watcher.core.rules.rule import Rule
from watcher.core.rules.units import parse_duration
from watcher.errors import ConfigError, UsageError
from watcher.status import tracks as past
from watcher.status.builder import format_series
from watcher.status.document import format_json
from watcher.system.clock import LocalZone
from watcher.system.clock import utc_now as clock_now

TERMINAL_TARGETS = ("terminal", "-")
HistoryRow = tuple[str, str, Track]
"""The series as a person writes it, the account's name, its track."""


@click.command()
@click.argument("series", nargs=-1, shell_complete=completion.complete_series)
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
    span = TimeRange(start=now - _parse_since(since), end=now, tz=LocalZone())
    rows = _load_rows(series, span)
    tracks = [track for _, _, track in rows]
    if as_document:
        click.echo(format_json(history_export.build_history_document(rows, span.start, now)))
    elif as_csv:
        click.echo(history_export.format_csv(rows), nl=False)
    elif not rows:
        click.echo(_format_no_readings(series, since))
    elif target in TERMINAL_TARGETS:
        _print_plots(rows, span)
    elif target is not None:
        _write_picture(Path(target), tracks, span, Theme(theme))
    else:
        _print_table(rows, span, is_single=len(rows) == 1 and bool(series))


def _parse_since(text: str) -> timedelta:
    try:
        span = parse_duration(text)
    except ValueError as error:
        raise click.UsageError(f"--since: {error}") from None
    if span < timedelta(minutes=1):
        raise click.UsageError(f"--since: {text} is too short a time; write one such as 12h, 7d or 30d")
    return span


def _check_target(target: str | None) -> None:
    if target is not None and target not in TERMINAL_TARGETS and Path(target).suffix.lower() not in (".svg", ".png"):
        raise click.UsageError(
            f"--plot: {target} is neither FILE.svg nor FILE.png; put --plot last to draw in the terminal"
        )


def _load_rows(selector_texts: tuple[str, ...], time_range: TimeRange) -> list[HistoryRow]:
    selectors = status.parse_selectors(selector_texts)
    store = open_store(find_paths(), time_range.end)
    try:
        states = store.alerts.load_state().series_states
        chosen = []
        for each in store.readings.load_series():
            state = states.get(each)
            name, kind = past.find_account_name(store, each), "" if state is None else state.kind.value
            primary = state is not None and state.primary
            if not selectors or any(
                one.for_all_windows.matches(each, name, kind, is_primary=primary) for one in selectors
            ):
                chosen.append(each)
        names = {(each.provider, each.account): past.find_account_name(store, each) for each in chosen}
        several = store.accounts.load_multi_account_providers()
        return [
            (_format_series_name(track.usage_history.series, several, names), names[_account_key(track)], track)
            for track in past.build_tracks(store, _load_rules(), chosen, time_range.start)
        ]
    finally:
        store.close()


def _format_series_name(
    series: Series, multi_account_providers: frozenset[str], account_names: dict[tuple[str, str], str]
) -> str:
    return "".join(sign for sign in format_series(series, multi_account_providers, account_names) if sign.isprintable())


def _account_key(track: Track) -> tuple[str, str]:
    return track.usage_history.series.provider, track.usage_history.series.account


def _load_rules() -> tuple[Rule, ...]:
    """Those in force, for their thresholds; a mistake in them is no reason to show no history."""
    try:
        return load_effective_config().rules
    except ConfigError:
        click.echo("the rules have a mistake, so their thresholds are left out: `watcher rules check`", err=True)
        return ()


def _format_no_readings(series: tuple[str, ...], since: str) -> str:
    whom = f" of {', '.join(series)}" if series else ""
    return (
        f"nothing was read{whom} in the last {since}: `watcher history` shows what there is, --since goes further back"
    )


def _get_terminal_width() -> int:
    return shutil.get_terminal_size((80, 24)).columns


def _is_ascii_only() -> bool:
    try:
        "█▁┄⣿▲".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def _print_table(rows: list[HistoryRow], time_range: TimeRange, *, is_single: bool) -> None:
    poor, width = _is_ascii_only(), _get_terminal_width()
    if is_single:
        lines = history_table.format_details(rows[0][0], rows[0][2], time_range, width, ascii_only=poor)
    else:
        lines = history_table.format_overview(
            [(name, track) for name, _, track in rows], time_range, width, ascii_only=poor
        )
    for line in lines:
        echo(line)


def _print_plots(rows: list[HistoryRow], time_range: TimeRange) -> None:
    style = terminal.ASCII_PLOT_SYMBOLS if _is_ascii_only() else terminal.BRAILLE_PLOT_SYMBOLS
    for name, _, track in rows:
        echo(f"{name}  {track.name}")
        for line in terminal.render_plot(track, time_range, style, width=_get_terminal_width()):
            echo(line)
        echo("")
    echo(
        f"{style.alert} alert   {style.alert_over} over   {style.reset} reset   {style.threshold * 3} threshold of a rule"
    )


def _write_picture(path: Path, tracks: list[Track], time_range: TimeRange, theme: Theme) -> None:
    title = f"AI usage, last {formatting.format_duration(time_range.end - time_range.start)}"
    drawing = svg.render_svg(tracks, time_range, theme=theme, title=title)
    if path.suffix.lower() == ".png":
        from watcher.cli import png  # noqa: PLC0415 - only where one is wanted

        if theme is Theme.AUTO:  # a bitmap cannot follow whoever looks at it
            drawing = svg.render_svg(tracks, time_range, theme=Theme.LIGHT, title=title)
        png.write_png(path, drawing, environment.create_environment().run)
    else:
        try:
            path.write_text(drawing, "utf-8")
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from error
    click.echo(f"written: {path}", err=True)
