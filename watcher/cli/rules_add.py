"""`watcher rules add`: one rule, from flags to a file of its own, checked before it is written."""

import os
import re
import unicodedata
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from watcher.cli import toml
from watcher.cli.rule_files import in_force, own_paths
from watcher.config_stamp import is_there, rule_files
from watcher.core import rulebook
from watcher.core.diagnostics import diagnose, listed
from watcher.core.model import Rule, Severity
from watcher.core.places import Places
from watcher.errors import ConfigError, UsageError

SCHEMA_LINE = "#:schema ./rules.schema.json\n"
_MOST_IN_NAME = 60  # bytes
_IS_DEVICE = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]")  # no file on Windows can be called so


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
    own = own_paths()
    path = own.rules_dir / f"{slug(name)}.toml"
    text = as_toml(name, flags)
    for alike in _check(str(path), text):
        click.echo(f"{alike.name} ({alike.path}, line {alike.line}) has the same condition: both will speak", err=True)
    if dry_run:
        click.echo(text, nl=False)
        return
    were_shipped = not is_there(own.config_file) and not rule_files(own)
    _write(path, text)
    click.echo(f"written: {path}")
    if were_shipped:
        click.echo("the default rules, in force while there were no others, no longer are: `watcher init` writes them")


def slug(name: str) -> str:
    """The file name for a rule's name: lower case, letters of any script, every run of other characters one `-`."""
    word = re.sub(r"[\W_]+", "-", unicodedata.normalize("NFC", name).lower()).strip("-")
    while len(word.encode(errors="replace")) > _MOST_IN_NAME:
        word = word[:-1].rstrip("-")
    return f"rule-{word}" if _IS_DEVICE.fullmatch(word) else word or "rule"


def as_toml(name: str, flags: dict[str, Any]) -> str:
    """The file; flags that were not given are left out.

    Raises:
        UsageError: a level is not `SEVERITY=VALUE`, or a text is none that TOML can hold.
    """
    levels = _levels(flags["levels"])
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
        text = f"{SCHEMA_LINE}\n[[rule]]\n{toml.dumps(rule)}"
        if levels:
            text += f"\n{toml.dumps({'rule': {'levels': levels}})}"
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError("a flag holds bytes that are not UTF-8 text") from error
    return text


def _levels(given: Sequence[str]) -> dict[str, str]:
    """Severity -> value, of `warning=80%` and the like."""
    levels: dict[str, str] = {}
    for each in given:
        severity, equals, value = each.partition("=")
        if not equals or severity not in list(Severity):
            raise UsageError(f"--level {each}: write it as warning=80%; severities are {', '.join(Severity)}")
        if severity in levels:
            raise UsageError(f"--level {each}: {severity} is given twice")
        levels[severity] = value
    return levels


def _check(path: str, text: str) -> list[Rule]:
    """Refuses what would not load beside everything that is in force; the rules in force that fire with it.

    Raises:
        ConfigError: with every mistake, of the rule or of the files that are there already.
    """
    config = in_force()
    found, mistakes = rulebook.read_rules(text, path, channels=tuple(config.channels))
    taken = {rule.name: rule for rule in config.rules}
    for rule in found:
        if rule.name in taken:
            first = taken[rule.name]
            message = f"this name is taken by the rule in {first.path}, line {first.line}; rename one, or take one out"
            place = Places(text).value(("rule", 0, "name"))
            mistakes.append(diagnose(path, text, place, message, rule=rule.name))
    if mistakes:
        raise ConfigError(f"{listed(mistakes)}\nnothing was written")
    conditions = [_condition(rule) for rule in found]
    return [rule for rule in config.rules if _condition(rule) in conditions]


def _condition(rule: Rule) -> tuple[tuple[str, ...], timedelta]:
    """What makes two rules fire at the same moments, however they are written."""
    return tuple(str(level.when) for level in rule.levels), rule.hold


def _write(path: Path, text: str) -> None:
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
