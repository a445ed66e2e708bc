"""`watcher rules list`: the rules in force, as a table where there is room, else one below the other."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import click
import msgspec

from watcher.cli.columns import columns, room, wrapped
from watcher.cli.rule_files import in_force
from watcher.core.model import Event, Rule
from watcher.core.phrases import duration

_HEADER = ("RULE", "SEVERITY", "FIRES WHEN", "ENDS WHEN", "TELLS", "FILE")
_FOLDS = (10_000, 60, 48, 36)  # how wide a cell may be: as wide as it is, else as wide as fits


@click.command("list", short_help="List the rules in force.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each rule.")
def list_rules(*, as_json: bool) -> None:
    """List the rules in force: what fires each, what ends it, who is told."""
    found = in_force().rules
    if as_json:
        for rule in found:
            click.echo(msgspec.json.encode(as_object(rule)).decode())
    elif found:
        for line in listed(found, room()):
            click.echo(line)
    else:
        click.echo("no rule is in force: `watcher init` writes some, `watcher rules add` writes one")


def listed(rules: Sequence[Rule], width: int) -> list[str]:
    """A table with a row for each level, where it fits into the width, long cells folded; else lines for each rule."""
    rows = [row for rule in rules for row in _rows(rule)]
    for most in _FOLDS:
        table = list(columns([_HEADER, *(line for row in rows for line in _folded(row, most))]))
        if max(map(len, table)) <= width:
            return table
    stacked: list[str] = []
    for rule in rules:
        stacked += [*([""] if stacked else []), *_stacked(rule, width)]
    return stacked


def _folded(row: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    """A row as several, no cell wider than `most`; a file's place stays whole, to be copied."""
    *cells, place = row
    lines = [wrapped(cell, most, indent=2) or [""] for cell in cells]
    return zip_longest(*lines, [place], fillvalue="")


def as_object(rule: Rule) -> dict[str, Any]:
    """A rule for `--json`: conditions as texts, spans in seconds, None for what was left out."""
    return {
        "rule": rule.name,
        "file": rule.path,
        "line": rule.line,
        "series": str(rule.subject),
        "levels": [
            {"severity": level.severity, "when": str(level.when), "clear": str(level.clear)} for level in rule.levels
        ],
        "for_seconds": rule.hold.total_seconds(),
        "remind_seconds": None if rule.remind is None else rule.remind.total_seconds(),
        "on": _events(rule),
        "notify": rule.notify,
    }


def _events(rule: Rule) -> list[str]:
    return [event.value for event in Event if event in rule.on and event is not Event.REMINDER]


def _told(rule: Rule) -> str:
    again = f", again every {duration(rule.remind)}" if rule.remind is not None else ""
    return f"{', '.join(rule.notify) if rule.notify else 'the usual route'} ({', '.join(_events(rule))}){again}"


def _held(rule: Rule) -> str:
    return f" for {duration(rule.hold)}" if rule.hold else ""


def _place(rule: Rule) -> str:
    return f"{rule.path}:{rule.line}"


def _rows(rule: Rule) -> Iterator[Sequence[str]]:
    """A row for each level; what they share stands in the first."""
    shared = (rule.name, _told(rule), _place(rule))
    for level in rule.levels:
        name, tells, place = shared
        yield name, level.severity.value, f"{level.when}{_held(rule)}", str(level.clear), tells, place
        shared = ("", "", "")


def _stacked(rule: Rule, width: int) -> Iterator[str]:
    """The same below each other: the name, two lines for each level, who is told, and the file in one piece."""
    yield rule.name
    for level in rule.levels:
        yield from wrapped(f"  {level.severity:<8}  fires when {level.when}{_held(rule)}", width, indent=14)
        yield from wrapped(f"  {'':<8}  ends when {level.clear}", width, indent=14)
    yield from wrapped(f"  tells {_told(rule)}", width, indent=8)
    yield f"  in {_place(rule)}"
