"""`watcher init`: look around, write a commented config, say what was found. Never overwrites, never asks a server."""

import os
from pathlib import Path

import click

from watcher import config_schema, doors, paths, shipped
from watcher.cli.config import as_json
from watcher.core import entries
from watcher.poll import find
from watcher.providers import Overrides
from watcher.providers.registry import PROVIDERS

CONFIG = """\
#:schema ./watcher.schema.json
# What the watcher does. Everything here may be left out; `watcher config show` prints what is in force.

[poll]
# every = "5m"                  # left out: each provider's own; sooner near a threshold, later when nothing moves

# A provider is watched when a login of it is found. One may be switched off, or asked at its own pace:
# [providers.claude]
# enabled = false
# every = "10m"

[channels.desktop]
type = "desktop"

# More channels; `watcher notify test team` sends a test message.
# [channels.team]
# type = "slack"                  # also: discord, webhook, ntfy, command, apprise
# url = "env:SLACK_WEBHOOK_URL"   # env:NAME, file:PATH, cmd:ARGV, or the address itself

[route]
default = ["desktop"]
# critical = ["desktop", "team"]  # what matters most may go further

# [quiet]
# hours = "22:00-08:00"           # held back until the morning, all but critical
"""


def _create(path: Path, text: str) -> bool:
    """Write a file that only its owner may read; False where it is there already."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return True


@click.command()
def init() -> None:
    """Look for logins, write a commented config and the default rules, and say what was found.

    Nothing is overwritten and nothing is asked: run it again whenever you like.
    """
    surroundings = doors.surroundings()
    own = paths.find(surroundings.env, surroundings.home)
    click.echo("Logins:")
    found_any = False
    for provider in PROVIDERS.values():
        found = find(provider, surroundings, Overrides())
        for credential in found.credentials:
            found_any = True
            who = f" ({credential.account_name})" if credential.account_name else ""
            click.echo(f"  {provider.name:15} found in {credential.place}{who}")
        for failure in found.failures:
            click.echo(f"  {provider.name:15} {failure.message}")
        if not found.credentials and not found.failures:
            click.echo(f"  {provider.name:15} not found")
    click.echo("\nFiles:")
    _, rules = shipped.default_rules()
    written = {
        own.config_file: CONFIG,
        own.rules_dir / "default.toml": rules,
        own.config_dir / "watcher.schema.json": as_json(config_schema.schema()),
        own.rules_dir / "rules.schema.json": as_json(entries.schema()),
    }
    for path, text in written.items():
        click.echo(f"  {'written' if _create(path, text) else 'kept, it was there already'}: {path}")
    if not found_any:
        click.echo("\nNo login was found: sign in to one of the tools first, then run `watcher init` again.")
    click.echo("\nNext:\n  watcher check           one poll, and what it says")
    click.echo("  watcher notify test     does a notification reach you?")
    click.echo("  watcher agent install   watch from now on, and at every login")
