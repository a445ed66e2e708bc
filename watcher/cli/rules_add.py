"""`watcher rules add`: one rule, from flags to a file of its own, checked before it is written."""

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from watcher.cli.context import find_paths, load_effective_config
from watcher.core.model import Severity
from watcher.core.rules import loader
from watcher.core.rules.diagnostics import create_diagnostic, format_diagnostics
from watcher.core.rules.rule import Rule
from watcher.core.rules.toml_positions import TomlPositions
from watcher.errors import ConfigError, UsageError
from watcher.system.paths import may_exist

SCHEMA_LINE = "#:schema ./rules.schema.json\n"
_MAX_NAME_BYTES = 60  # bytes
_DEVICE_NAME_PATTERN = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]")  # no file on Windows can be called so


@click.command(short_help="Write one rule into a file of its own.")
@click.argument("name")
@click.option("--when", required=True, help='What fires it: "claude.five_hour > 80%".')
@click.option("--clear", help='What ends it: "< 70%". Left out: five points back from a percent.')
@click.option("--severity", help="info, warning or critical. Left out: warning.")
@click.option(
    "--level", "levels", multiple=True, metavar="SEVERITY=VALUE", help="A step of a ladder; `level` in --when is it."
)
@click.option("--notify", multiple=True, metavar="CHANNEL", help="Who is told. Left out: the default route.")
@click.option("--for", "hold", metavar="TIME", help="How long it must hold first: 10m.")
@click.option("--remind", metavar="TIME", help="Say it again this often while it lasts: 2h.")
@click.option("--on", multiple=True, metavar="EVENT", help="firing, escalated, resolved or reset.")
@click.option("--active", help='When it may fire at all: "Mon-Fri 09:00-18:00".')
@click.option("--tz", help="The zone of --active: Europe/Berlin. Left out: local time.")
@click.option("--title", help='In place of the usual title: "{provider} at {used_percent:.0f} %".')
@click.option("--message", help="In place of the usual text.")
@click.option("--dry-run", is_flag=True, help="Print the file instead of writing it.")
def add(*, name: str, dry_run: bool, **flags: Any) -> None:
    """Write one rule called NAME into a file of its own in the rules folder. Nothing is overwritten.

    \b
    watcher rules add mine --when "claude.five_hour > 80%" --clear "< 70%"
    watcher rules add ladder --when "*.weekly > level" \\
      --level warning=80% --level critical=95%
    """
    own = find_paths()
    path = own.rules_dir / f"{make_slug(name)}.toml"
    text = format_rule_toml(name, flags)
    for alike in _validate_rule(str(path), text):
        click.echo(f"{alike.name} ({alike.path}, line {alike.line}) has the same condition: both will speak", err=True)
    if dry_run:
        click.echo(text, nl=False)
        return
    were_shipped = not may_exist(own.config_file) and not own.list_rule_files()
    _write_new_file(path, text)
    click.echo(f"written: {path}")
    if were_shipped:
        click.echo("the default rules, in force while there were no others, no longer are: `watcher init` writes them")


def make_slug(name: str) -> str:
    """The file name for a rule's name: lower case, letters of any script, every run of other characters one `-`."""
    word = re.sub(r"[\W_]+", "-", unicodedata.normalize("NFC", name).lower()).strip("-")
    while len(word.encode(errors="replace")) > _MAX_NAME_BYTES:
        word = word[:-1].rstrip("-")
    return f"rule-{word}" if _DEVICE_NAME_PATTERN.fullmatch(word) else word or "rule"


def format_rule_toml(name: str, flags: dict[str, Any]) -> str:
    """The file; flags that were not given are left out.

    Raises:
        UsageError: a level is not `SEVERITY=VALUE`, or a text is none that TOML can hold.
    """
    levels = _parse_levels(flags["levels"])
    given = {
        "name": name,
        "when": flags["when"],
        "clear": flags["clear"],
        "severity": flags["severity"],
        "notify": list(flags["notify"]) or None,
        "for": flags["hold"],
        "remind": flags["remind"],
        "on": list(flags["on"]) or None,
        "active": flags["active"],
        "tz": flags["tz"],
        "title": flags["title"],
        "message": flags["message"],
    }
    rule = {key: value for key, value in given.items() if value is not None}
    try:
        text = f"{SCHEMA_LINE}\n[[rule]]\n{format_toml(rule)}"
        if levels:
            text += f"\n{format_toml({'rule': {'levels': levels}})}"
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError("a flag holds bytes that are not UTF-8 text") from error
    return text


def _parse_levels(level_options: Sequence[str]) -> dict[str, str]:
    """Severity -> value, of `warning=80%` and the like."""
    levels: dict[str, str] = {}
    for each in level_options:
        severity, equals, value = each.partition("=")
        if not equals or severity not in list(Severity):
            raise UsageError(f"--level {each}: write it as warning=80%; severities are {', '.join(Severity)}")
        if severity in levels:
            raise UsageError(f"--level {each}: {severity} is given twice")
        levels[severity] = value
    return levels


def _validate_rule(path: str, text: str) -> list[Rule]:
    """Refuses what would not load beside everything that is in force; the rules in force that fire with it.

    Raises:
        ConfigError: with every mistake, of the rule or of the files that are there already.
    """
    config = load_effective_config()
    found, mistakes = loader.check_rules(text, path, channels=tuple(config.channels))
    taken = {rule.name: rule for rule in config.rules}
    for rule in found:
        if rule.name in taken:
            first = taken[rule.name]
            message = f"this name is taken by the rule in {first.path}, line {first.line}; rename or remove one"
            place = TomlPositions(text).find_value(("rule", 0, "name"))
            mistakes.append(create_diagnostic(path, text, place, message, rule=rule.name))
    if mistakes:
        raise ConfigError(f"{format_diagnostics(mistakes)}\nnothing was written")
    conditions = [_condition_key(rule) for rule in found]
    return [rule for rule in config.rules if _condition_key(rule) in conditions]


def _condition_key(rule: Rule) -> tuple[tuple[str, ...], timedelta]:
    """What makes two rules fire at the same moments, however they are written."""
    return tuple(str(level.when) for level in rule.levels), rule.pending_for


def _write_new_file(path: Path, text: str) -> None:
    """Writes a new file, for its owner alone.

    Raises:
        UsageError: there is one of that name, or it cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise UsageError(f"{path} is there already; give the rule another name, or edit that file") from error
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        path.unlink()  # half a rule would be in force, or stop the others
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


# --- TOML as a person would write it. Never put what is written here


_MULTILINE_ARRAY_PATTERN = re.compile(r"^([^\n=]+ = )\[\n((?:    [^\n]*,\n)+)\]$", re.MULTILINE)
_MAX_ARRAY_LINE_LENGTH = 100


def format_toml(document: Mapping[str, Any]) -> str:
    """The document by tomli-w, which gives each item of a list a line of its own; short lists are one line here."""
    import tomli_w  # noqa: PLC0415 - only where something is written

    return _MULTILINE_ARRAY_PATTERN.sub(_join_array, tomli_w.dumps(document))


def _join_array(array: re.Match[str]) -> str:
    items = [line.strip().removesuffix(",") for line in array[2].splitlines()]
    line = f"{array[1]}[{', '.join(items)}]"
    return line if len(line) <= _MAX_ARRAY_LINE_LENGTH else array[0]
