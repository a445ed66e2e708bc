"""The JSON Schema of `config.toml`, for editors, made from the records that the file is read into."""

from typing import Any

import msgspec

from watcher.config.file import ConfigDocument, ProviderTable
from watcher.core.rules.rule import DURATION_PATTERN, JSON_SCHEMA_DIALECT, RuleEntry, strip_null
from watcher.notifiers import NOTIFIERS
from watcher.providers.registry import PROVIDERS

SECRET_DESCRIPTION = (
    "env:NAME, file:PATH, cmd:ARGV, or the value itself (then other users must not be able to read the file)."  # noqa: S105
)
DESCRIPTIONS = {
    "poll": "How often to poll, unless a provider has its own interval.",
    "poll.every": "The usual interval: 5m. Default: each provider's own.",
    "poll.hints": "Look at the tools' session files: poll sooner while a tool is in use, judged by when they changed,"
    " and read the limits that Codex notes in them. Default: true.",
    "providers": "What to poll. Default: every provider with a login.",
    "provider.enabled": "Whether to poll it. Default: if a login is found.",
    "provider.every": "The usual interval: 10m. Never shorter than the provider allows.",
    "provider.base_url": "Replaces scheme, host and port of its requests: http://127.0.0.1:8080.",
    "provider.credentials": "The file or folder with the login, instead of the usual ones; or a list of them.",
    "provider.token": f"The login itself: {SECRET_DESCRIPTION}",
    "provider.database": "antigravity: path of state.vscdb.",
    "provider.accounts": "gemini_cli, antigravity: path of antigravity-accounts.json.",
    "provider.source": "antigravity: cache, server or auto (default: its login, else the cache).",
    "provider.user_agent": "codex: the User-Agent of its requests, if a bot wall accepts only some.",
    "provider.reset_credits": "codex: whether to request, at most hourly, the reset credits and when they expire.",
    "provider.insecure": "Allow a base_url without TLS on another machine: the login goes there unencrypted.",
    "network": "How requests leave this machine: a login item does not see the shell's variables.",
    "network.proxy": "http://HOST:PORT or socks5://HOST:PORT. Default: HTTPS_PROXY or ALL_PROXY of the environment.",
    "network.no_proxy": "Hosts, domains and networks that need no proxy, separated by commas. Default: NO_PROXY.",
    "network.ca_bundle": "system (default), or the file or folder of certificates to trust instead.",
    "network.status_pages": "Ask the vendor's status page while a provider fails. Default: true.",
    "channels": "Where messages go, each under a name of your own: [channels.team].",
    "route": "The channels of alerts whose rule names none.",
    "route.default": "Channels of all other alerts. Default: every channel.",
    "route.info": "Channels for alerts that are info.",
    "route.warning": "Channels for alerts that are warning.",
    "route.critical": "Channels for alerts that are critical.",
    "quiet": "When only critical alerts are sent; the others wait for the end.",
    "quiet.hours": "From and to: 22:00-08:00.",
    "quiet.tz": "The time zone of the hours: Europe/Berlin. Default: local time.",
    "metrics": "Numbers for the Prometheus of a team. Off unless the table is there.",
    "metrics.listen": "Where GET /metrics is answered: 127.0.0.1:9188. Another host than this machine needs a token.",
    "metrics.token": f"What a scrape must send as Bearer token. {SECRET_DESCRIPTION}",
    "metrics.textfile": "A file for node_exporter's textfile collector: it ends in .prom.",
    "metrics.detail": "full (default), or lean: about half the samples.",
    "metrics.account": "The label `account`: hash (default), alias, name (an email leaves this machine) or none.",
    "metrics.aliases": "Account name -> label, with account = alias.",
    "metrics.salt": f"Secret of the team: the same account has the same hash on every machine. {SECRET_DESCRIPTION}",
    "metrics.labels": "Labels added to every sample: team = search.",
    "metrics.push": "Send the samples by remote write, for machines that cannot be scraped.",
    "push.url": "Address of the receiver: https://mimir.example/api/v1/push.",
    "push.type": "remote_write.",
    "push.every": "From 15s to 2m. Default: 1m.",
    "push.headers": "Headers of each push. Each value may be a secret: env:NAME, file:PATH, cmd:ARGV.",
    "push.instance": "The label `instance`: hash of the host name (default), name or none.",
    "push.insecure": "Send over a connection that is not encrypted.",
    "rules": "Shipped packs of rules.",
    "rules.use": "Packs in force beside the files in rules/: reset-reminders. `watcher rules list --packs` lists them.",
    "rule": "Rules; they may also be in files of their own in rules/.",
}
"""Key of the file, or record and its key -> description."""


def build_config_schema() -> dict[str, Any]:
    """The JSON Schema of `config.toml`."""
    (document_ref, provider, rule), parts = msgspec.json.schema_components(
        [ConfigDocument, ProviderTable, RuleEntry], ref_template="#/$defs/{name}"
    )
    parts = strip_null(parts)
    document = parts.pop(document_ref["$ref"].rpartition("/")[2])
    keys = document["properties"]
    keys["providers"] = {
        "type": "object",
        "properties": dict.fromkeys(PROVIDERS, provider),
        "additionalProperties": False,
    }
    channels = [_make_channel_schema(kind) for kind in NOTIFIERS]
    keys["channels"] = {"type": "object", "additionalProperties": {"oneOf": channels}}
    keys["rule"] = {"type": "array", "items": rule}
    texts = {"type": "array", "items": {"type": "string"}}
    parts["ProviderTable"]["properties"]["credentials"] = {"anyOf": [{"type": "string"}, texts]}
    for path, about in DESCRIPTIONS.items():
        table, _, key = path.partition(".")
        described = parts[f"{table.capitalize()}Table"]["properties"][key] if key else keys[table]
        described["description"] = about
    for table in ("PollTable", "ProviderTable"):
        parts[table]["properties"]["every"]["pattern"] = DURATION_PATTERN
    title = {"title": "Config of the AI usage watcher", "description": "All of it may be left out."}
    return {"$schema": JSON_SCHEMA_DIALECT, **document, **title, "$defs": parts}


def build_provider_schema() -> dict[str, Any]:
    """The JSON Schema of a provider's file."""
    from watcher.providers.definition import Definition  # noqa: PLC0415 - jmespath: only where such a file is read

    (ref,), parts = msgspec.json.schema_components([Definition], ref_template="#/$defs/{name}")
    document = strip_null(parts).pop(ref["$ref"].rpartition("/")[2])
    title = {"title": "A provider of the AI usage watcher", "description": "See docs/providers.md, Providers by file."}
    for name in ("every", "floor", "ceiling"):
        document["properties"][name]["pattern"] = DURATION_PATTERN
    return {"$schema": JSON_SCHEMA_DIALECT, **document, **title, "$defs": parts}


def _make_channel_schema(kind: str) -> dict[str, Any]:
    """The schema of a channel: its type, and the settings of that notifier."""
    notifier = NOTIFIERS[kind]
    _, parts = msgspec.json.schema_components([notifier.settings_class], ref_template="#/$defs/{name}")
    (table,) = strip_null(parts).values()
    properties = table.get("properties", {})
    for key in notifier.secret_settings:
        if properties.get(key, {}).get("type") == "string":
            properties[key]["description"] = SECRET_DESCRIPTION
    return {
        "type": "object",
        "title": kind,
        "description": table.get("description", ""),
        "properties": {"type": {"const": kind}, **properties},
        "required": ["type", *table.get("required", [])],
        "additionalProperties": False,
    }
