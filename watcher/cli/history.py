"""`watcher history`: usage over time, as a table, a picture, JSON or CSV.

`build_tracks` reads the store; `watcher report` draws the same tracks.
"""

import csv
import io
import shutil
import sys
from bisect import bisect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from watcher.cli import charts, completion
from watcher.cli.charts import TimeRange, Track, format_timestamp, svg
from watcher.cli.context import (
    describe_install,
    find_paths,
    load_effective_config,
    make_series_formatter,
    open_store,
    parse_duration_option,
    write_private_file,
)
from watcher.cli.output import echo, format_columns, wrap_line
from watcher.cli.status import parse_selectors, supports_blocks
from watcher.core import formatting
from watcher.core.engine import thresholds, timeline
from watcher.core.engine.timeline import Point, mean_used_percent
from watcher.core.engine.windows import get_used_percent, infer_length
from watcher.core.formatting import clean_text
from watcher.core.model import Series, Transition
from watcher.core.rules.rule import Rule
from watcher.errors import WatcherError
from watcher.providers.registry import PROVIDERS
from watcher.status.document import format_json
from watcher.storage.store import Store
from watcher.system import clock

MIN_LEAD = timedelta(days=1)
"""How much is read before the span: whether its first readings are believed depends on those before them."""
MAX_DETAILED_SERIES = 40
_MAX_NAME_LENGTH = 60


def build_tracks(
    store: Store,
    series: Collection[Series],
    since: datetime,
    rules: Sequence[Rule],
    *,
    every_reading: bool = False,
) -> list[Track]:
    """The tracks of these series since then, in the order of the providers; series without a reading are left out.

    Of many series the last reading of each hour is enough, unless every one is asked for. The thresholds are those of
    `rules`.
    """
    transitions = store.alerts.load_transitions(since=since)
    states = store.alerts.load_state().series_states
    failures = store.readings.load_failures(since=since)
    account_names = store.accounts.load_names()
    format_series, format_name = make_series_formatter(store), make_name_formatter(store)
    is_hourly = len(series) > MAX_DETAILED_SERIES and not every_reading
    tracks = []
    for each in sorted(series, key=lambda each: (get_provider_position(each.provider), each.account, each.window)):
        lead = MIN_LEAD if is_hourly else max(infer_length(each) or MIN_LEAD, MIN_LEAD)
        readings = store.readings.iter_history(each, since=since - lead, hourly=is_hourly)
        history = timeline.build_usage_history(each, list(readings))
        history = timeline.trim_before(history, since)
        if not history.points:
            continue
        tracks.append(
            Track(
                name=format_name(each, history.label),
                series_name=format_series(each),
                account_name=find_account_name(account_names, each),
                usage_history=history,
                threshold_lines=thresholds.find_threshold_lines(states[each], rules) if each in states else (),
                transitions=tuple(transition for transition in transitions if transition.series == each),
                failures=tuple(
                    poll for poll in failures if (poll.provider, poll.account) == (each.provider, each.account)
                ),
            )
        )
    return tracks


def make_name_formatter(store: Store) -> Callable[[Series, str], str]:
    """Writes the name of a window: `Claude, 5-hour window`; with the account where the provider has several."""
    account_names, several = store.accounts.load_names(), store.accounts.load_multi_account_providers()

    def format_name(series: Series, label: str) -> str:
        provider = PROVIDERS.get(series.provider)
        name = provider.name if provider else series.provider
        account = clean_text(find_account_name(account_names, series), _MAX_NAME_LENGTH)
        if account and series.provider in several:
            name += f" ({account})"
        return f"{name}, {clean_text(label or series.window, _MAX_NAME_LENGTH)}"

    return format_name


def get_provider_position(provider: str) -> int:
    """The position of a provider in the order of all; the last one if it is unknown."""
    return list(PROVIDERS).index(provider) if provider in PROVIDERS else len(PROVIDERS)


def find_account_name(account_names: Mapping[tuple[str, str], str], series: Series) -> str:
    """The name of the account of a series, for people."""
    return account_names.get((series.provider, series.account)) or series.account


_TERMINAL = "terminal"


@click.command()
@click.argument("series", nargs=-1, shell_complete=completion.complete_series)
@click.option("--since", default="7d", show_default=True, metavar="SPAN", help="How far back: 12h, 7d, 30d.")
@click.option("--json", "as_document", is_flag=True, help="Every reading, reset and alert (watcher.history.v1).")
@click.option("--csv", "as_csv", is_flag=True, help="Every reading, one a line.")
@click.option(
    "--plot",
    "target",
    is_flag=False,
    flag_value=_TERMINAL,
    metavar="[FILE]",
    help="Draw it: FILE.svg, FILE.png, or here.",
)
def history(series: tuple[str, ...], *, since: str, as_document: bool, as_csv: bool, target: str | None) -> None:
    """Show usage over time: a line for each window, and a chart of a single one.

    SERIES selects windows: claude, claude.five_hour, '*.weekly'. The picture has the thresholds of the rules in force,
    each reset, and the moments at which alerts fired. Readings are kept for 14 days, then one an
    hour, after 90 days one in three hours.

    \b
    watcher history                                   the last 7 days
    watcher history claude.five_hour --since 24h      one window, with its chart
    watcher history claude --plot                     in the terminal
    watcher history claude --plot usage.png
    watcher history --csv --since 30d > usage.csv
    watcher history --json | jq '.series[].resets'
    """
    if sum((as_document, as_csv, target is not None)) > 1:
        raise click.UsageError("give one of --json, --csv and --plot")
    _check_target(target)
    now = clock.utc_now()
    time_range = TimeRange(start=now - parse_duration_option("--since", since), end=now, tz=clock.LocalZone())
    tracks = _load_tracks(series, time_range, every_reading=as_document or as_csv)
    if as_document:
        click.echo(format_json(build_history_document(tracks, time_range)))
    elif as_csv:
        click.echo(format_csv(tracks), nl=False)
    elif not tracks:
        selected = f" of {', '.join(series)}" if series else ""
        click.echo(f"nothing was read{selected} in the last {since}: look further back with --since")
    elif target == _TERMINAL:
        _print_plots(tracks, time_range)
    elif target is not None:
        _write_picture(Path(target), tracks, time_range)
    else:
        _echo_lines(format_overview(tracks, time_range, _get_terminal_width()))
        if series and len(tracks) == 1:
            click.echo()
            _print_plots(tracks, time_range)


def _check_target(target: str | None) -> None:
    if target is not None and target != _TERMINAL and Path(target).suffix.lower() not in (".svg", ".png"):
        raise click.UsageError(
            f"--plot: {target} is neither FILE.svg nor FILE.png; put --plot last to draw in the terminal"
        )


def _load_tracks(selector_texts: Iterable[str], time_range: TimeRange, *, every_reading: bool) -> list[Track]:
    selectors, rules = parse_selectors(selector_texts), load_effective_config().rules
    with open_store(find_paths(), time_range.end) as store:
        states, account_names = store.alerts.load_state().series_states, store.accounts.load_names()
        chosen = []
        for series in store.readings.load_series():
            state, name = states.get(series), find_account_name(account_names, series)
            kind, is_primary = ("", False) if state is None else (state.kind.value, state.primary)
            if not selectors or any(
                each.for_all_windows.matches(series, name, kind, is_primary=is_primary) for each in selectors
            ):
                chosen.append(series)
        return build_tracks(store, chosen, time_range.start, rules, every_reading=every_reading)


# --- the table ------------------------------------------------------------------------------------------------------


MIN_SPARKLINE_WIDTH, MAX_SPARKLINE_WIDTH = 12, 60
_UNKNOWN_TEXT = "?"


def _get_terminal_width() -> int:
    return shutil.get_terminal_size((80, 24)).columns


def _echo_lines(lines: Iterable[str]) -> None:
    """Print lines, with other characters for blocks and dots where the terminal does not have them."""
    table = {} if supports_blocks(sys.stdout.encoding or "ascii") else charts.TO_ASCII
    for line in lines:
        echo(line.translate(table))


def format_overview(tracks: Sequence[Track], time_range: TimeRange, width: int) -> Iterator[str]:
    """One line a series: a sparkline, and the numbers that matter."""
    headers = ("now", "most", "resets", "spent", "alerts")
    numbers = [_format_numbers(track) for track in tracks]
    names = ["series", *(track.series_name for track in tracks)]
    numbers_width = sum(max(map(len, column)) + 2 for column in zip(headers, *numbers, strict=True))
    names_width = max(map(len, names)) + 2
    names_apart = names_width + MIN_SPARKLINE_WIDTH + numbers_width > width  # then each name has a line of its own
    room = width - numbers_width - (4 if names_apart else names_width)
    sparkline_width = min(max(room, MIN_SPARKLINE_WIDTH), MAX_SPARKLINE_WIDTH)
    table = [
        ("usage".ljust(sparkline_width), *headers),
        *(
            (*charts.draw_usage(track, time_range, sparkline_width), *cells)
            for track, cells in zip(tracks, numbers, strict=True)
        ),
    ]
    if names_apart:
        for name, line in zip(names, format_columns(table, "  "), strict=True):
            yield from (name, line)
    else:
        yield from format_columns([(name, *cells) for name, cells in zip(names, table, strict=True)])
    yield ""
    start, end = (format_timestamp(at, time_range.tz) for at in (time_range.start, time_range.end))
    yield from wrap_line(f"{start} to {end}; a gap: nothing read; spent: before a reset", width, indent=4)


def _format_numbers(track: Track) -> tuple[str, ...]:
    history = track.usage_history
    values = [value for _, value in track.values if value is not None]
    spent = mean_used_percent(history.periods)
    last = history.last_believed
    now = None if last is None else track.value_of(last.reading)
    is_unlimited = history.points[-1].reading.unlimited
    return (
        "unlimited" if is_unlimited else _UNKNOWN_TEXT if now is None else track.format_value(now),
        _UNKNOWN_TEXT if not values else track.format_value(max(values)),
        str(len(history.periods)),
        "" if spent is None else formatting.format_percent(spent),
        str(track.count_alerts()),
    )


# --- pictures -------------------------------------------------------------------------------------------------------


PNG_SCALE = 2  # as sharp as a screen of today


class NoConverterError(WatcherError):
    """The library that turns an SVG into a PNG is not installed, or it failed."""


def _print_plots(tracks: Sequence[Track], time_range: TimeRange) -> None:
    for track in tracks:
        _echo_lines([f"{track.series_name}  {track.name}"])
        _echo_lines([*charts.render_plot(track, time_range, width=_get_terminal_width()), ""])
    _echo_lines(wrap_line(charts.LEGEND, _get_terminal_width(), indent=2))


def _write_picture(path: Path, tracks: Sequence[Track], time_range: TimeRange) -> None:
    title = f"AI usage, last {formatting.format_duration(time_range.end - time_range.start)}"
    drawing = svg.render_svg(tracks, time_range, title=title)
    content = convert_to_png(drawing) if path.suffix.lower() == ".png" else drawing.encode()
    write_private_file(path, content)
    click.echo(f"written: {path}", err=True)


def convert_to_png(svg_text: str) -> bytes:
    """The picture as PNG, by the optional extra `png`.

    Raises:
        NoConverterError: it is not installed, or it failed.
    """
    try:
        import resvg_py  # noqa: PLC0415 - optional
    except ImportError:
        raise NoConverterError(
            f"a PNG needs a converter: `{describe_install('resvg-py')}`;"
            " FILE.svg needs nothing, and every browser shows it"
        ) from None
    try:
        return bytes(resvg_py.svg_to_bytes(svg_string=svg_text, zoom=PNG_SCALE))
    except Exception as error:
        raise NoConverterError(
            f"resvg_py cannot convert the picture ({type(error).__name__}); write FILE.svg"
        ) from error


# --- JSON -----------------------------------------------------------------------------------------------------------


SCHEMA_NAME = "watcher.history.v1"


def build_history_document(tracks: Sequence[Track], time_range: TimeRange) -> dict[str, Any]:
    """The document (contract: `watcher.history.v1`). None is unknown."""
    return {
        "schema": SCHEMA_NAME,
        "generated_at": time_range.end,
        "since": time_range.start,
        "series": [_convert_series(track) for track in tracks],
    }


def _convert_series(track: Track) -> dict[str, Any]:
    history, last = track.usage_history, track.usage_history.points[-1].reading
    return {
        "series": track.series_name,
        "provider": history.series.provider,
        "account": track.account_name or None,
        "window": history.series.window,
        "kind": last.kind,
        "label": history.label,
        "unit": last.unit,
        "window_seconds": last.window_seconds,
        "readings": [_convert_reading(point) for point in history.points],
        "resets": [
            {"at": period.ended_at, "spent_percent": period.used_percent, "early": period.ended_early}
            for period in history.periods
        ],
        "alerts": [_convert_alert(each) for each in track.transitions],
        "thresholds": track.threshold_lines,
        "outages": _group_failures(track),
    }


def _convert_reading(point: Point) -> dict[str, Any]:
    reading = point.reading
    return {
        "at": point.at,
        "used_percent": point.used_percent,
        "used": reading.used,
        "limit": reading.limit,
        "remaining": reading.remaining,
        "resets_at": reading.resets_at,
        "unlimited": reading.unlimited,
        "blocked": reading.blocked,
        "believed": point.believed,
        "source": reading.source,
    }


def _convert_alert(transition: Transition) -> dict[str, Any]:
    return {
        "at": transition.at,
        "rule": transition.rule,
        "event": transition.event,
        "severity": transition.severity,
        "used_percent": None if transition.reading is None else get_used_percent(transition.reading),
    }


def _group_failures(track: Track) -> list[dict[str, Any]]:
    """Failed polls in a row, with one reason and no reading in between."""
    read_at = [point.at for point in track.usage_history.points]
    groups = groupby(track.failures, key=lambda poll: (poll.kind, bisect(read_at, poll.at)))
    outages = [(kind, [poll.at for poll in polls]) for (kind, _), polls in groups]
    return [{"from": times[0], "to": times[-1], "kind": kind, "polls": len(times)} for kind, times in outages]


# --- CSV ------------------------------------------------------------------------------------------------------------


CSV_COLUMNS = ("at", "provider", "account", "window", "used_percent", "used", "limit", "remaining", "unit", "resets_at")
_FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r")


def format_csv(tracks: Sequence[Track]) -> str:
    """One line a reading, in time order within each series; an empty cell is unknown.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for track in tracks:
        series = _convert_series(track)
        for reading in series["readings"]:
            writer.writerow({key: _format_cell(value) for key, value in (series | reading).items()})
    return out.getvalue()


def _format_cell(value: object) -> object:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(value, str) and value.startswith(_FORMULA_PREFIXES):
        return f"'{value}"
    return value
