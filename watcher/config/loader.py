"""The person's files, read whole: `config.toml` and every `*.toml` in `rules/`, or all that is wrong with them at once.

Without a config file the desktop is told, under the rules that ship. Secrets are resolved here, at every load, and
leave only inside a channel's settings. Never put a default of the engine's or a provider's here.
"""

from collections.abc import Mapping
from datetime import timedelta, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

from watcher.config.file import (
    ConfigDocument,
    ConfigFile,
    ConfigSecrets,
    KeyPath,
    ProviderTable,
    make_unreadable_diagnostic,
    read_text,
)
from watcher.config.secrets import SecretResolver
from watcher.core.model import Pace, Severity, make_pace
from watcher.core.routing.messages import Formatter, ProviderInfo
from watcher.core.routing.planner import Routing
from watcher.core.rules import loader, time_intervals
from watcher.core.rules.diagnostics import find_close_match, format_diagnostics
from watcher.core.rules.rule import Rule
from watcher.core.rules.rule_reader import format_toml_value
from watcher.core.rules.time_intervals import TimeIntervalError, check_time_zone
from watcher.core.rules.units import parse_duration
from watcher.errors import ConfigError
from watcher.notifiers import NOTIFIERS, Channel, Notifier
from watcher.providers import Overrides
from watcher.providers.registry import PROVIDERS
from watcher.system import paths as shipped
from watcher.system.clock import LocalZone
from watcher.system.paths import Paths, expand_home, may_exist

ConfigFingerprint = tuple[tuple[str, int, int, int], ...]
"""(path, mtime in ns, ctime in ns, size) of each file."""

PROVIDER_SPECIFIC_KEYS = {"user_agent": "codex", "reset_credits": "codex"}


class ProviderSettings(Struct, frozen=True, kw_only=True):
    """How one provider is asked."""

    enabled: bool | None  # None: where a login is found
    pace: Pace
    base_url: str | None
    overrides: Overrides


class Config(Struct, frozen=True, kw_only=True):
    """Everything the person decided, checked."""

    providers: Mapping[str, ProviderSettings]  # every provider there is
    channels: Mapping[str, Channel]
    routing: Routing
    rules: tuple[Rule, ...]
    hints: bool  # whether to look at the tools' own folders for signs of use
    secrets: tuple[str, ...]  # every secret in use, for the redactor
    secret_files: tuple[Path, ...]  # where `file:PATH` found one
    broken_channels: Mapping[str, str]  # name -> why its secret could not be had; its messages wait
    fingerprint: ConfigFingerprint  # of every file read: has anything changed?

    def __repr__(self) -> str:
        return f"Config({len(self.rules)} rules, channels {', '.join(self.channels)})"


def load_config(paths: Paths, resolve: SecretResolver, home: Path) -> Config:
    """The config in force.

    Raises:
        ConfigError: its text holds every diagnostic, with file, line and caret.
    """
    return _ConfigLoader(paths, resolve, home).load()


def fingerprint_config_files(paths: Paths) -> ConfigFingerprint:
    """A value that differs after any change of the files, their modes included; costs one `stat` for each."""
    fingerprint = []
    try:
        rules = paths.list_rule_files()
    except OSError:
        rules = []
        fingerprint.append((str(paths.rules_dir), 0, 0, -1))
    for path in (paths.config_file, *rules):
        try:
            status = path.stat()
        except OSError:
            continue
        fingerprint.append((str(path), status.st_mtime_ns, status.st_ctime_ns, status.st_size))
    return tuple(fingerprint)


class _ConfigLoader:
    """One reading of all files; problems gather here."""

    def __init__(self, paths: Paths, resolve: SecretResolver, home: Path) -> None:
        self._paths, self._home = paths, home
        self._file = ConfigFile(paths.config_file)
        self._secrets = ConfigSecrets(self._file, resolve, home)

    def load(self) -> Config:
        before = fingerprint_config_files(self._paths)
        document = self._read_document()
        channels = self._read_channels(document)
        config = Config(
            providers=self._read_providers(document),
            channels=channels,
            routing=self._read_routing(document, channels),
            rules=self._load_rules(channels),
            hints=document.poll.hints,
            secrets=tuple(self._secrets.values),
            secret_files=tuple(self._secrets.files),
            broken_channels=self._secrets.errors,
            fingerprint=before,
        )
        if self._file.problems:
            raise ConfigError(format_diagnostics(self._file.problems))
        return config

    def _read_document(self) -> ConfigDocument:
        document = self._file.read() if may_exist(self._paths.config_file) else ConfigDocument()
        if not document.channels and not self._file.problems:
            document.channels = {"desktop": {"type": "desktop"}}
        return document

    # --- providers --------------------------------------------------------------------------------------------------

    def _read_providers(self, document: ConfigDocument) -> dict[str, ProviderSettings]:
        for name in document.providers:
            if name not in PROVIDERS:
                self._file.add_unknown_word(("providers", name), "provider", name, tuple(PROVIDERS))
        usual = self._parse_duration(("poll", "every"), document.poll.every)
        none = ProviderTable()
        return {
            provider: self._read_provider(provider, document.providers.get(provider) or none, usual)
            for provider in PROVIDERS
        }

    def _read_provider(self, provider: str, table: ProviderTable, default_every: timedelta | None) -> ProviderSettings:
        facts = PROVIDERS[provider]
        where = ("providers", provider)
        every = self._parse_duration((*where, "every"), table.every) or default_every
        floor = facts.min_interval
        if table.base_url is not None:
            self._check_base_url((*where, "base_url"), table.base_url)
            self._secrets.collect_url_password((*where, "base_url"), table.base_url)
            floor = min(
                floor, every or facts.default_interval
            )  # floors spare the vendor's servers, not the person's own
        self._check_provider_specific_keys(provider, table)
        return ProviderSettings(
            enabled=table.enabled,
            pace=make_pace(floor, facts.default_interval, facts.max_interval, every),
            base_url=table.base_url,
            overrides=Overrides(
                credentials=self._expand_path(table.credentials),
                token=self._secrets.resolve_secret((*where, "token"), table.token),
                database=self._expand_path(table.database),
                accounts=self._expand_path(table.accounts),
                base_url=table.base_url,
                source=table.source,
                user_agent=table.user_agent,
                reset_credits=table.reset_credits,
            ),
        )

    def _parse_duration(self, key_path: tuple[str, ...], text: str | None) -> timedelta | None:
        if text is None:
            return None
        try:
            span = parse_duration(text)
        except ValueError as error:
            self._file.add_problem(key_path, f"`{key_path[-1]}`: {error}")
            return None
        if span <= timedelta(0):
            self._file.add_problem(key_path, f"`{key_path[-1]}` must be longer than nothing: write one such as 5m")
            return None
        return span

    def _check_base_url(self, key_path: tuple[str, ...], text: str) -> None:
        scheme, separator, rest = text.partition("://")
        if scheme not in ("http", "https") or not separator or not rest.strip("/"):
            self._file.add_problem(key_path, '`base_url`: write scheme, host and port, such as "http://127.0.0.1:8080"')

    def _check_provider_specific_keys(self, provider: str, table: ProviderTable) -> None:
        """Keys that mean something to one provider alone are no silent nothing elsewhere."""
        for key, owner in PROVIDER_SPECIFIC_KEYS.items():
            if getattr(table, key) is not None and provider != owner:
                message = f"`{key}` belongs under [providers.{owner}]; {provider} has no use for it"
                self._file.add_problem(("providers", provider, key), message, at_key=True)
        agent = table.user_agent
        if agent is not None and not (agent.strip() and agent.isascii() and agent.isprintable()):
            self._file.add_problem(
                ("providers", provider, "user_agent"), '`user_agent`: write a name, such as "codex-cli"'
            )

    def _expand_path(self, text: str | None) -> str | None:
        return None if text is None else str(expand_home(text, self._home))

    # --- channels, routes, quiet hours ------------------------------------------------------------------------------

    def _read_channels(self, document: ConfigDocument) -> dict[str, Channel]:
        read = {name: self._read_channel(name, table) for name, table in document.channels.items()}
        return {name: channel for name, channel in read.items() if channel is not None}

    def _read_channel(self, name: str, table: dict[str, Any]) -> Channel | None:
        where = ("channels", name)
        notifier = self._find_notifier(where, table.get("type"))
        if notifier is None:
            return None
        settings = {
            key: self._resolve_setting((*where, key), value, notifier) for key, value in table.items() if key != "type"
        }
        broken = [why for key, why in self._secrets.errors.items() if key.startswith(f"channels.{name}.")]
        if broken:
            self._secrets.errors[name] = broken[0]
            return Channel(name=name, type=notifier.type, settings=None)  # nothing is sent meanwhile
        converted = self._file.convert_table(settings, notifier.settings_class, where)
        return None if converted is None else Channel(name=name, type=notifier.type, settings=converted)

    def _find_notifier(self, key_path: KeyPath, kind: Any) -> Notifier | None:
        """What the channel's `type` names; None where it names nothing, which is a problem."""
        if isinstance(kind, str) and kind in NOTIFIERS:
            return NOTIFIERS[kind]
        valid = f"valid: {', '.join(NOTIFIERS)}"
        if kind is None:
            self._file.add_problem(key_path, f"`type` is missing; {valid}", at_key=True)
            return None
        close = find_close_match(kind, tuple(NOTIFIERS)) if isinstance(kind, str) else None
        hint = f"did you mean `{close}`?" if close else valid
        self._file.add_problem((*key_path, "type"), f"unknown type {format_toml_value(kind)}; {hint}")
        return None

    def _resolve_setting(self, key_path: tuple[str, ...], value: Any, notifier: Notifier) -> Any:
        """A channel's setting, its secret resolved; of a table of headers, each value is one of its own."""
        if key_path[-1] not in notifier.secret_settings:
            if isinstance(value, str):
                self._secrets.collect_url_password(key_path, value)
            return value
        if isinstance(value, str):
            return self._secrets.resolve_secret(key_path, value) or ""
        if isinstance(value, dict):
            return {
                name: (self._secrets.resolve_secret((*key_path, name), one) or "") if isinstance(one, str) else one
                for name, one in value.items()
            }
        return value

    def _read_routing(self, document: ConfigDocument, channels: Mapping[str, Channel]) -> Routing:
        events = ("default", *Severity)
        routes: dict[str, tuple[str, ...]] = {}
        for key, names in document.route.items():
            if key not in events:
                self._file.add_unknown_word(("route", key), "route", key, events)
                continue
            for i, name in enumerate(names):
                if name not in document.channels:
                    self._report_unknown_channel(("route", key, i), name, channels)
            routes[key] = tuple(names)
        default = routes.pop("default", None)
        return Routing(
            default=tuple(channels) if default is None else default,
            routes={Severity(key): names for key, names in routes.items()},
            channels={name: channel.type for name, channel in channels.items()},
            quiet_hours=self._read_quiet_hours(document),
            formatter=Formatter(
                tz=self._read_timezone(document),
                providers={
                    each.id: ProviderInfo(name=each.name, usage_page=each.usage_page) for each in PROVIDERS.values()
                },
            ),
        )

    def _report_unknown_channel(self, key_path: KeyPath, name: str, channels: Mapping[str, Channel]) -> None:
        close = find_close_match(name, tuple(channels))
        hint = f"did you mean `{close}`?" if close else f"there are: {', '.join(channels) or 'none'}"
        self._file.add_problem(key_path, f"no channel is called `{name}`; {hint}")

    def _read_quiet_hours(self, document: ConfigDocument) -> time_intervals.TimeInterval | None:
        if document.quiet is None:
            return None
        try:
            return time_intervals.parse_quiet_hours(document.quiet.hours)
        except ValueError as error:
            self._file.add_problem(("quiet", "hours"), str(error))
            return None

    def _read_timezone(self, document: ConfigDocument) -> tzinfo:
        name = None if document.quiet is None else document.quiet.tz
        if name is None:
            return LocalZone()
        try:
            check_time_zone(name)
        except TimeIntervalError as error:
            self._file.add_problem(("quiet", "tz"), str(error))
            return LocalZone()
        return ZoneInfo(name)

    # --- rules ------------------------------------------------------------------------------------------------------

    def _load_rules(self, channels: Mapping[str, Channel]) -> tuple[Rule, ...]:
        sources: list[tuple[str, str]] = []
        files = self._list_rule_files()
        if self._file.text:
            sources.append((self._file.path, self._file.text))
        elif not (files or may_exist(self._paths.config_file)):
            path, text = shipped.read_default_rules()
            sources.append((str(path), text))
        for path in files:
            text = read_text(path, self._file.problems) or ""
            sources.append((str(path), text))
        rules, problems = loader.check_rule_files(sources, channels=tuple(channels), config_path=self._file.path)
        self._file.problems.extend(problems)
        return rules

    def _list_rule_files(self) -> list[Path]:
        try:
            return self._paths.list_rule_files()
        except OSError as error:
            folder = str(self._paths.rules_dir)
            self._file.problems.append(make_unreadable_diagnostic(folder, error))
            return []
