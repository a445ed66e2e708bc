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

from watcher import shipped
from watcher.clock import LocalZone
from watcher.config_file import ConfigFile, Document, ProviderTable, Where, read_text, unreadable
from watcher.config_secrets import ConfigSecrets
from watcher.config_stamp import Stamp, is_there, rule_files, stamp
from watcher.core import cadence, quiet, rulebook
from watcher.core.active import ActiveError, check_zone
from watcher.core.diagnostics import listed
from watcher.core.model import Rule, Severity
from watcher.core.plan import Routing
from watcher.core.sight import Pace
from watcher.core.table import shown
from watcher.core.units import read_duration
from watcher.core.vocabulary import near
from watcher.core.wording import About, Voice
from watcher.errors import ConfigError
from watcher.notifiers import Channel, Notifier
from watcher.notifiers.registry import NOTIFIERS
from watcher.paths import Paths, expand
from watcher.providers import Overrides
from watcher.providers.registry import PROVIDERS
from watcher.secrets import Resolve

OWN_KEYS = {"user_agent": "codex", "reset_credits": "codex"}


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
    stamp: Stamp  # of every file read: has anything changed?

    def __repr__(self) -> str:
        return f"Config({len(self.rules)} rules, channels {', '.join(self.channels)})"


def load(paths: Paths, resolve: Resolve, home: Path) -> Config:
    """The config in force.

    Raises:
        ConfigError: its text holds every diagnostic, with file, line and caret.
    """
    return _Reader(paths, resolve, home).read()


class _Reader:
    """One reading of all files; problems gather here."""

    def __init__(self, paths: Paths, resolve: Resolve, home: Path) -> None:
        self._paths, self._home = paths, home
        self._file = ConfigFile(paths.config_file)
        self._secrets = ConfigSecrets(self._file, resolve, home)

    def read(self) -> Config:
        before = stamp(self._paths)
        document = self._document()
        channels = self._channels(document)
        config = Config(
            providers=self._providers(document),
            channels=channels,
            routing=self._routing(document, channels),
            rules=self._rules(channels),
            hints=document.poll.hints,
            secrets=tuple(self._secrets.found),
            secret_files=tuple(self._secrets.files),
            broken_channels=self._secrets.broken,
            stamp=before,
        )
        if self._file.problems:
            raise ConfigError(listed(self._file.problems))
        return config

    def _document(self) -> Document:
        document = self._file.read() if is_there(self._paths.config_file) else Document()
        if not document.channels and not self._file.problems:
            document.channels = {"desktop": {"type": "desktop"}}
        return document

    # --- providers --------------------------------------------------------------------------------------------------

    def _providers(self, document: Document) -> dict[str, ProviderSettings]:
        for name in document.providers:
            if name not in PROVIDERS:
                self._file.unknown(("providers", name), "provider", name, tuple(PROVIDERS))
        usual = self._duration(("poll", "every"), document.poll.every)
        none = ProviderTable()
        return {
            provider: self._provider(provider, document.providers.get(provider) or none, usual)
            for provider in PROVIDERS
        }

    def _provider(self, provider: str, table: ProviderTable, usual: timedelta | None) -> ProviderSettings:
        facts = PROVIDERS[provider]
        where = ("providers", provider)
        every = self._duration((*where, "every"), table.every) or usual
        floor = facts.floor
        if table.base_url is not None:
            self._check_base_url((*where, "base_url"), table.base_url)
            self._secrets.guard_address((*where, "base_url"), table.base_url)
            floor = min(floor, every or facts.default)  # floors spare the vendor's servers, not the person's own
        self._check_own_keys(provider, table)
        return ProviderSettings(
            enabled=table.enabled,
            pace=cadence.pace(floor, facts.default, facts.ceiling, every),
            base_url=table.base_url,
            overrides=Overrides(
                credentials=self._path_of(table.credentials),
                token=self._secrets.secret((*where, "token"), table.token),
                database=self._path_of(table.database),
                accounts=self._path_of(table.accounts),
                base_url=table.base_url,
                source=table.source,
                user_agent=table.user_agent,
                reset_credits=table.reset_credits,
            ),
        )

    def _duration(self, where: tuple[str, ...], text: str | None) -> timedelta | None:
        if text is None:
            return None
        try:
            span = read_duration(text)
        except ValueError as error:
            self._file.problem(where, f"`{where[-1]}`: {error}")
            return None
        if span <= timedelta(0):
            self._file.problem(where, f"`{where[-1]}` must be longer than nothing: write one such as 5m")
            return None
        return span

    def _check_base_url(self, where: tuple[str, ...], text: str) -> None:
        scheme, separator, rest = text.partition("://")
        if scheme not in ("http", "https") or not separator or not rest.strip("/"):
            self._file.problem(where, '`base_url`: write scheme, host and port, such as "http://127.0.0.1:8080"')

    def _check_own_keys(self, provider: str, table: ProviderTable) -> None:
        """Keys that mean something to one provider alone are no silent nothing elsewhere."""
        for key, owner in OWN_KEYS.items():
            if getattr(table, key) is not None and provider != owner:
                message = f"`{key}` belongs under [providers.{owner}]; {provider} has no use for it"
                self._file.problem(("providers", provider, key), message, at_key=True)
        agent = table.user_agent
        if agent is not None and not (agent.strip() and agent.isascii() and agent.isprintable()):
            self._file.problem(("providers", provider, "user_agent"), '`user_agent`: write a name, such as "codex-cli"')

    def _path_of(self, text: str | None) -> str | None:
        return None if text is None else str(expand(text, self._home))

    # --- channels, routes, quiet hours ------------------------------------------------------------------------------

    def _channels(self, document: Document) -> dict[str, Channel]:
        read = {name: self._channel(name, table) for name, table in document.channels.items()}
        return {name: channel for name, channel in read.items() if channel is not None}

    def _channel(self, name: str, table: dict[str, Any]) -> Channel | None:
        where = ("channels", name)
        notifier = self._notifier(where, table.get("type"))
        if notifier is None:
            return None
        settings = {key: self._setting((*where, key), value, notifier) for key, value in table.items() if key != "type"}
        broken = [why for key, why in self._secrets.broken.items() if key.startswith(f"channels.{name}.")]
        if broken:
            self._secrets.broken[name] = broken[0]
            return Channel(name=name, type=notifier.type, settings=None)  # nothing is sent meanwhile
        converted = self._file.table(settings, notifier.settings, where)
        return None if converted is None else Channel(name=name, type=notifier.type, settings=converted)

    def _notifier(self, where: Where, kind: Any) -> Notifier | None:
        """What the channel's `type` names; None where it names nothing, which is a problem."""
        if isinstance(kind, str) and kind in NOTIFIERS:
            return NOTIFIERS[kind]
        valid = f"valid: {', '.join(NOTIFIERS)}"
        if kind is None:
            self._file.problem(where, f"`type` is missing; {valid}", at_key=True)
            return None
        close = near(kind, tuple(NOTIFIERS)) if isinstance(kind, str) else None
        hint = f"did you mean `{close}`?" if close else valid
        self._file.problem((*where, "type"), f"unknown type {shown(kind)}; {hint}")
        return None

    def _setting(self, where: tuple[str, ...], value: Any, notifier: Notifier) -> Any:
        """A channel's setting, its secret resolved; of a table of headers, each value is one of its own."""
        if where[-1] not in notifier.secrets:
            if isinstance(value, str):
                self._secrets.guard_address(where, value)
            return value
        if isinstance(value, str):
            return self._secrets.secret(where, value) or ""
        if isinstance(value, dict):
            return {
                name: (self._secrets.secret((*where, name), one) or "") if isinstance(one, str) else one
                for name, one in value.items()
            }
        return value

    def _routing(self, document: Document, channels: Mapping[str, Channel]) -> Routing:
        events = ("default", *Severity)
        routes: dict[str, tuple[str, ...]] = {}
        for key, names in document.route.items():
            if key not in events:
                self._file.unknown(("route", key), "route", key, events)
                continue
            for i, name in enumerate(names):
                if name not in document.channels:
                    self._unknown_channel(("route", key, i), name, channels)
            routes[key] = tuple(names)
        default = routes.pop("default", None)
        return Routing(
            default=tuple(channels) if default is None else default,
            routes={Severity(key): names for key, names in routes.items()},
            channels={name: channel.type for name, channel in channels.items()},
            quiet=self._quiet(document),
            voice=Voice(
                tz=self._zone(document),
                providers={each.id: About(name=each.name, page=each.page) for each in PROVIDERS.values()},
            ),
        )

    def _unknown_channel(self, where: Where, name: str, channels: Mapping[str, Channel]) -> None:
        close = near(name, tuple(channels))
        hint = f"did you mean `{close}`?" if close else f"there are: {', '.join(channels) or 'none'}"
        self._file.problem(where, f"no channel is called `{name}`; {hint}")

    def _quiet(self, document: Document) -> quiet.Quiet | None:
        if document.quiet is None:
            return None
        try:
            return quiet.parse(document.quiet.hours)
        except ValueError as error:
            self._file.problem(("quiet", "hours"), str(error))
            return None

    def _zone(self, document: Document) -> tzinfo:
        name = None if document.quiet is None else document.quiet.tz
        if name is None:
            return LocalZone()
        try:
            check_zone(name)
        except ActiveError as error:
            self._file.problem(("quiet", "tz"), str(error))
            return LocalZone()
        return ZoneInfo(name)

    # --- rules ------------------------------------------------------------------------------------------------------

    def _rules(self, channels: Mapping[str, Channel]) -> tuple[Rule, ...]:
        sources: list[tuple[str, str]] = []
        files = self._rule_files()
        if self._file.text:
            sources.append((self._file.path, self._file.text))
        elif not (files or is_there(self._paths.config_file)):
            path, text = shipped.default_rules()
            sources.append((str(path), text))
        for path in files:
            text = read_text(path, self._file.problems) or ""
            sources.append((str(path), text))
        rules, problems = rulebook.read_files(sources, channels=tuple(channels), config_path=self._file.path)
        self._file.problems.extend(problems)
        return rules

    def _rule_files(self) -> list[Path]:
        try:
            return rule_files(self._paths)
        except OSError as error:
            folder = str(self._paths.rules_dir)
            self._file.problems.append(unreadable(folder, error))
            return []
