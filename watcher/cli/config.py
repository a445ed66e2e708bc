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
from watcher.config.loader import Config, ProviderSettings
from watcher.config.metrics import MetricsTable
from watcher.core.redaction import Redactor
from watcher.core.rules.rule import build_rules_schema
from watcher.errors import UsageError
from watcher.notifiers import NOTIFIERS, Channel
from watcher.providers import Overrides
from watcher.providers.registry import PROVIDERS
from watcher.system.paths import may_exist

MASK = "***"
ENABLED_IF_FOUND = "where a login is found"
_DURATION_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


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
@click.option("--json", "as_document", is_flag=True, help="One JSON object instead of TOML.")
def show(*, as_document: bool) -> None:
    """Print the config in force, defaults filled in and secrets masked."""
    effective_config = load_effective_config(with_secrets=True)
    redact = Redactor(effective_config.secrets)
    document = build_config_document(effective_config)
    rule_counts = Counter(rule.path for rule in effective_config.rules)
    if as_document:
        click.echo(redact(json.dumps({**document, "rules": rule_counts}, ensure_ascii=False)))
        return
    text = redact(format_toml(document))
    click.echo(text.replace(f'enabled = "{ENABLED_IF_FOUND}"', f"# enabled {ENABLED_IF_FOUND}"))
    for path, count in rule_counts.items():
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
            if PROVIDERS[name].is_common or settings.enabled is not None or settings.overrides != Overrides()
        },
        "channels": {
            name: _build_channel_table(channel, effective_config) for name, channel in effective_config.channels.items()
        },
        "route": {
            "default": list(routing.default),
            **{severity.value: list(names) for severity, names in routing.routes.items()},
        },
    }
    if effective_config.metrics is not None:
        document["metrics"] = _build_metrics_table(effective_config.metrics)
    if routing.quiet_hours is not None:
        document["quiet"] = {"hours": f"{routing.quiet_hours.start:%H:%M}-{routing.quiet_hours.end:%H:%M}"}
        zone = getattr(routing.formatter.tz, "key", None)
        if zone:
            document["quiet"]["tz"] = zone
    if effective_config.rule_packs:
        document["rules"] = {"use": list(effective_config.rule_packs)}
    document["network"] = _build_network_table(effective_config)
    return document


def format_config_duration(duration: timedelta) -> str:
    """A duration as it is written in the config: `1h30m`."""
    rest, text = int(duration.total_seconds()), ""
    for unit, seconds in _DURATION_UNITS:
        count, rest = divmod(rest, seconds)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def _build_metrics_table(settings: MetricsTable) -> dict[str, Any]:
    table = msgspec.to_builtins(settings)
    for secret in ("token", "salt"):
        table[secret] = MASK if table[secret] else None
    if settings.push is not None and settings.push.headers:
        table["push"]["headers"] = dict.fromkeys(settings.push.headers, MASK)
    return {key: value for key, value in table.items() if value not in (None, {})}


def _build_network_table(effective_config: Config) -> dict[str, Any]:
    network = effective_config.network
    known = {"proxy": network.proxy, "no_proxy": network.no_proxy, "ca_bundle": network.ca_bundle or "system"}
    return {
        **{key: value for key, value in known.items() if value is not None},
        "status_pages": effective_config.status_pages,
    }


def _build_provider_table(settings: ProviderSettings) -> dict[str, Any]:
    overrides = msgspec.structs.asdict(settings.overrides)
    paths = settings.overrides.credentials
    overrides["credentials"] = list(paths) if len(paths) > 1 else settings.overrides.login_path
    if overrides.get("token") is not None:
        overrides["token"] = MASK
    enabled = ENABLED_IF_FOUND if settings.enabled is None else settings.enabled
    known = {
        "enabled": enabled,
        "every": format_config_duration(settings.pace.every),
        "base_url": settings.base_url,
        "insecure": settings.insecure or None,
        **overrides,
    }
    return {key: value for key, value in known.items() if value is not None}


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
        elif value is not None:
            table[key] = value
    return {key: value for key, value in table.items() if value is not None}


def _mask(value: Any) -> Any:
    """Every text masked but names in braces, such as `{title}`."""
    if isinstance(value, dict):
        return {key: _mask(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_mask(each) for each in value]
    is_open = not isinstance(value, str) or not re.search(r"\w", re.sub(r"\{\w+\}", "", value))
    return value if is_open else MASK
