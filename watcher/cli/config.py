"""`watcher config`: the config in force, its files, and the JSON Schema for editors."""

import json
import re
from collections import Counter
from datetime import timedelta
from typing import Any

import click
import msgspec

from watcher.cli.context import edit_and_check, find_paths, load_effective_config
from watcher.cli.output import format_count, format_toml
from watcher.config import json_schema
from watcher.config.file import ConfigFile
from watcher.config.loader import Config, ProviderSettings
from watcher.core.redaction import Redactor
from watcher.core.rules.rule import build_rules_schema
from watcher.errors import UsageError
from watcher.notifiers import NOTIFIERS, Channel
from watcher.providers import Overrides
from watcher.providers.registry import PROVIDERS
from watcher.system.paths import may_exist

MASK = "***"


@click.group()
def config() -> None:
    """Show what is in force, where the files are, and their JSON Schema.

    \b
    watcher config show
    watcher config path
    watcher config edit
    watcher config schema > ~/.config/ai-usage-watcher/watcher.schema.json
    """


@config.command(short_help="Print the config in force, secrets masked.")
def show() -> None:
    """Print the config in force, defaults filled in and secrets masked.

    A provider without `enabled` is polled where a login is found.
    """
    effective_config = load_effective_config(with_secrets=True)
    redact = Redactor(effective_config.secrets)
    click.echo(redact(format_toml(build_config_document(effective_config))))
    for path, count in Counter(rule.path for rule in effective_config.rules).items():
        click.echo(f"# {format_count(count, 'rule')} from {redact(path)}")
    click.echo("# `watcher rules list` shows them")


@config.command("path", short_help="Print the paths that are used.")
def path_command() -> None:
    """Print the paths that are used, one a line: config, rules, providers, state."""
    own = find_paths()
    named = {"config": own.config_file, "rules": own.rules_dir, "providers": own.providers_dir, "state": own.state_dir}
    for name, path in named.items():
        click.echo(f"{name:11}{path}")


@config.command(short_help="Open config.toml in your editor, then check it.")
def edit() -> None:
    """Open config.toml in $VISUAL or $EDITOR. Afterwards it is checked, and a running watcher loads it.

    \b
    Exit code:  0  no mistake
               78  it was saved with a mistake: file, line and caret are shown
    """
    path = find_paths().config_file
    if not may_exist(path):
        raise UsageError(f"there is no {path} yet: `watcher init` writes one")
    edit_and_check(path)


@config.command("schema", short_help="Print the JSON Schema for editors.")
@click.option("--rules", "of_rules", is_flag=True, help="Of a file in rules/ instead of config.toml.")
@click.option("--provider", "of_provider", is_flag=True, help="Of a file in providers/ instead of config.toml.")
def schema_command(*, of_rules: bool, of_provider: bool) -> None:
    """Print the JSON Schema of config.toml, for editors: put its path after `#:schema` in the first line."""
    build = json_schema.build_provider_schema if of_provider else json_schema.build_config_schema
    click.echo(format_schema(build_rules_schema() if of_rules else build()), nl=False)


def format_schema(content: dict[str, Any]) -> str:
    """A schema as the text of a file."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def build_config_document(effective_config: Config) -> dict[str, Any]:
    """The config as tables: what is not set is left out, every secret is `MASK`."""
    routing = effective_config.routing
    document: dict[str, Any] = {
        "poll": {"hints": effective_config.hints},
        "providers": {
            name: _build_provider_table(settings)
            for name, settings in effective_config.providers.items()
            if PROVIDERS[name].is_common
            or settings.enabled is not None
            or any(getattr(settings, key) for key in Overrides.__struct_fields__)
        },
        "channels": {
            name: _build_channel_table(channel, effective_config) for name, channel in effective_config.channels.items()
        },
        "route": {
            "default": list(routing.default),
            **{severity.value: list(names) for severity, names in routing.routes.items()},
        },
    }
    written = msgspec.to_builtins(ConfigFile(find_paths().config_file).read())
    if metrics := written["metrics"]:
        metrics.update({key: MASK for key in ("token", "salt") if metrics[key] is not None})
        if metrics["push"]:
            metrics["push"]["headers"] = _mask(metrics["push"]["headers"])
    document |= {name: written[name] for name in ("quiet", "metrics", "rules", "network")}
    return _drop_missing(document)


def _drop_missing(table: dict[str, Any]) -> dict[str, Any]:
    """A table without what is not set, which TOML cannot say."""
    whole = {key: _drop_missing(value) if isinstance(value, dict) else value for key, value in table.items()}
    return {key: value for key, value in whole.items() if value not in (None, {})}


def _format_every(every: timedelta) -> str:
    minutes, seconds = divmod(int(every.total_seconds()), 60)
    return f"{minutes * 60 + seconds}s" if seconds else f"{minutes}m"


def _build_provider_table(settings: ProviderSettings) -> dict[str, Any]:
    overrides = {key: getattr(settings, key) for key in Overrides.__struct_fields__}
    return {
        "enabled": settings.enabled,
        "every": _format_every(settings.pace.every),
        "insecure": settings.insecure or None,
        **overrides,
        "credentials": list(settings.credentials) if len(settings.credentials) > 1 else settings.login_path,
        "token": settings.token and MASK,
    }


def _build_channel_table(channel: Channel, effective_config: Config) -> dict[str, Any]:
    table: dict[str, Any] = {"type": channel.type}
    if channel.settings is None:
        error = effective_config.broken_channels.get(channel.name, "its settings are not available")
        return {**table, "unavailable": error}
    secret = NOTIFIERS[channel.type].secret_settings
    for key, value in msgspec.to_builtins(channel.settings).items():
        if key in secret:
            table[key] = _mask(value)
        elif key == "argv":
            table[key] = [*value[:1], *(MASK for _ in value[1:])]  # an argument may be a password
        else:
            table[key] = value
    return table


def _mask(value: Any) -> Any:
    """Every text masked but names in braces, such as `{title}`."""
    if isinstance(value, dict):
        return {key: _mask(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_mask(each) for each in value]
    is_open = not isinstance(value, str) or not re.search(r"\w", re.sub(r"\{\w+\}", "", value))
    return value if is_open else MASK
