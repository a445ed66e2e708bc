"""`watcher config`: what is in force, where its files are, and what editors need to check them while you type."""

import json
from datetime import timedelta
from typing import Any

import click
import msgspec

from watcher import config_schema
from watcher.cli import toml
from watcher.cli.columns import counted
from watcher.cli.rule_files import by_file, in_force, own_paths
from watcher.config import Config, ProviderSettings
from watcher.core import entries
from watcher.core.redaction import Redactor
from watcher.notifiers import Channel
from watcher.notifiers.registry import NOTIFIERS

MASK = "***"
WHERE_FOUND = "where a login is found"
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


@click.group(short_help="The config in force, its files, its schema.")
def config() -> None:
    """Show what is in force, where the files are, and their JSON Schema.

    \b
    watcher config show
    watcher config path
    watcher config schema > ~/.config/ai-usage-watcher/watcher.schema.json
    """


@config.command(short_help="Print the config in force, secrets masked.")
@click.option("--json", "as_document", is_flag=True, help="One JSON object instead of TOML.")
def show(*, as_document: bool) -> None:
    """Print the config in force, defaults filled in and secrets masked."""
    found = in_force(with_secrets=True)
    clean = Redactor()
    clean.learn(found.secrets)
    document = resolved(found)
    if as_document:
        click.echo(clean(json.dumps({**document, "rules": _rules(found)}, ensure_ascii=False)))
        return
    click.echo(clean(toml.dumps(document)).replace(f'enabled = "{WHERE_FOUND}"', f"# enabled {WHERE_FOUND}"), nl=False)
    click.echo("")
    for path, count in _rules(found).items():
        click.echo(f"# {counted(count, 'rule')} from {clean(path)}")
    click.echo("# `watcher rules list` shows them")


@config.command("path", short_help="Print the places that are used.")
def path_command() -> None:
    """Print the places that are used, one a line: config, rules, state."""
    own = own_paths()
    for name, path in (("config", own.config_file), ("rules", own.rules_dir), ("state", own.state_dir)):
        click.echo(f"{name:8}{path}")


@config.command("schema", short_help="Print the JSON Schema for editors.")
@click.option("--rules", "of_rules", is_flag=True, help="Of a file in rules/ instead of config.toml.")
def schema_command(*, of_rules: bool) -> None:
    """Print the JSON Schema of config.toml, for editors: put its path after `#:schema` in the first line."""
    click.echo(as_json(entries.schema() if of_rules else config_schema.schema()), nl=False)


def as_json(schema: dict[str, Any]) -> str:
    """A schema as the text of a file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def resolved(found: Config) -> dict[str, Any]:
    """The config as tables: what is not set is left out, every secret is `MASK`."""
    routing = found.routing
    document: dict[str, Any] = {
        "poll": {"hints": found.hints},
        "providers": {name: _provider(settings) for name, settings in found.providers.items()},
        "channels": {name: _channel(channel, found) for name, channel in found.channels.items()},
        "route": {
            "default": list(routing.default),
            **{severity.value: list(names) for severity, names in routing.routes.items()},
        },
    }
    if routing.quiet is not None:
        document["quiet"] = {"hours": f"{routing.quiet.start:%H:%M}-{routing.quiet.end:%H:%M}"}
        zone = getattr(routing.voice.tz, "key", None)
        if zone:
            document["quiet"]["tz"] = zone
    return document


def span(length: timedelta) -> str:
    """A duration as it is written in the config: `1h30m`."""
    rest, text = int(length.total_seconds()), ""
    for unit, seconds in _UNITS:
        count, rest = divmod(rest, seconds)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def _provider(settings: ProviderSettings) -> dict[str, Any]:
    places = msgspec.structs.asdict(settings.overrides)
    if places.get("token") is not None:
        places["token"] = MASK
    enabled = WHERE_FOUND if settings.enabled is None else settings.enabled
    known = {"enabled": enabled, "every": span(settings.pace.every), "base_url": settings.base_url, **places}
    return {key: value for key, value in known.items() if value is not None}


def _channel(channel: Channel, found: Config) -> dict[str, Any]:
    table: dict[str, Any] = {"type": channel.type}
    if channel.settings is None:
        return {**table, "unavailable": found.broken_channels.get(channel.name, "its settings cannot be had")}
    secret = NOTIFIERS[channel.type].secrets
    for key, value in msgspec.to_builtins(channel.settings).items():
        if key in secret:
            table[key] = dict.fromkeys(value, MASK) if isinstance(value, dict) else MASK if value else ""
        elif key == "argv":
            table[key] = [*value[:1], *(MASK for _ in value[1:])]  # an argument may be a password
        elif value is not None:
            table[key] = value
    return table


def _rules(found: Config) -> dict[str, int]:
    """File -> how many rules in force are from it."""
    return {path: len(rules) for path, rules in by_file(found.rules).items()}
