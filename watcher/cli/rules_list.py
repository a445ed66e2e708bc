"""`watcher rules list`: the rules in force, as a table where there is room, else one below the other."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import click
import msgspec

from watcher.cli.context import load_effective_config
from watcher.cli.output import format_columns, get_output_width, wrap_line
from watcher.core.formatting import format_duration
from watcher.core.model import AlertEvent
from watcher.core.rules.rule import Rule

_HEADER = ("RULE", "SEVERITY", "FIRES WHEN", "ENDS WHEN", "TELLS", "FILE")
_MAX_CELL_WIDTHS = (10_000, 60, 48, 36)  # how wide a cell may be: as wide as it is, else as wide as fits


@click.command("list", short_help="List the rules in force.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each rule.")
def list_rules(*, as_json: bool) -> None:
    """List the rules in force: what fires each, what ends it, who is told."""
    found = load_effective_config().rules
    if as_json:
        for rule in found:
            click.echo(msgspec.json.encode(convert_rule(rule)).decode())
    elif found:
        for line in format_rules(found, get_output_width()):
            click.echo(line)
    else:
        click.echo("no rule is in force: `watcher init` writes some, `watcher rules add` writes one")


def format_rules(rules: Sequence[Rule], width: int) -> list[str]:
    """A table with a row for each level, where it fits into the width, long cells folded; else lines for each rule."""
    rows = [row for rule in rules for row in _build_rows(rule)]
    for most in _MAX_CELL_WIDTHS:
        table = list(format_columns([_HEADER, *(line for row in rows for line in _fold_row(row, most))]))
        if max(map(len, table)) <= width:
            return table
    stacked: list[str] = []
    for rule in rules:
        stacked += [*([""] if stacked else []), *_format_stacked(rule, width)]
    return stacked


def _fold_row(row: Sequence[str], max_width: int) -> Iterator[Sequence[str]]:
    """A row as several, no cell wider than `max_width`; a file's place stays whole, to be copied."""
    *cells, place = row
    lines = [wrap_line(cell, max_width, indent=2) or [""] for cell in cells]
    return zip_longest(*lines, [place], fillvalue="")


def convert_rule(rule: Rule) -> dict[str, Any]:
    """A rule for `--json`: conditions as texts, spans in seconds, None for what was left out."""
    return {
        "rule": rule.name,
        "file": rule.path,
        "line": rule.line,
        "series": str(rule.subject),
        "levels": [
            {"severity": level.severity, "when": str(level.when), "clear": str(level.clear)} for level in rule.levels
        ],
        "for_seconds": rule.pending_for.total_seconds(),
        "remind_seconds": None if rule.remind is None else rule.remind.total_seconds(),
        "on": _list_events(rule),
        "notify": rule.notify,
    }


def _list_events(rule: Rule) -> list[str]:
    return [event.value for event in AlertEvent if event in rule.on and event is not AlertEvent.REMINDER]


def _format_recipients(rule: Rule) -> str:
    again = f", again every {format_duration(rule.remind)}" if rule.remind is not None else ""
    return f"{', '.join(rule.notify) if rule.notify else 'the usual route'} ({', '.join(_list_events(rule))}){again}"


def _format_hold(rule: Rule) -> str:
    return f" for {format_duration(rule.pending_for)}" if rule.pending_for else ""


def _format_location(rule: Rule) -> str:
    return f"{rule.path}:{rule.line}"


def _build_rows(rule: Rule) -> Iterator[Sequence[str]]:
    """A row for each level; what they share stands in the first."""
    shared = (rule.name, _format_recipients(rule), _format_location(rule))
    for level in rule.levels:
        name, tells, place = shared
        yield name, level.severity.value, f"{level.when}{_format_hold(rule)}", str(level.clear), tells, place
        shared = ("", "", "")


def _format_stacked(rule: Rule, width: int) -> Iterator[str]:
    """The same below each other: the name, two lines for each level, who is told, and the file in one piece."""
    yield rule.name
    for level in rule.levels:
        yield from wrap_line(f"  {level.severity:<8}  fires when {level.when}{_format_hold(rule)}", width, indent=14)
        yield from wrap_line(f"  {'':<8}  ends when {level.clear}", width, indent=14)
    yield from wrap_line(f"  tells {_format_recipients(rule)}", width, indent=8)
    yield f"  in {_format_location(rule)}"
