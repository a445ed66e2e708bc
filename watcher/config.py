"""The person's files, read whole: `config.toml` and every `*.toml` in `rules/`, or all that is wrong with them at once.

Without a config file the desktop is told, under the rules that ship. Secrets are resolved here, at every load, and
leave only inside a channel's settings. Never put a default of the engine's or a provider's here.
"""

import re
from collections.abc import Mapping
from datetime import timedelta, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct, field

from watcher import secrets, shipped
from watcher.clock import LocalZone
from watcher.core import cadence, quiet, rulebook
from watcher.core.diagnostics import Diagnostic, diagnose, listed
from watcher.core.model import Rule, Severity
from watcher.core.places import Place, Places
from watcher.core.plan import Routing
from watcher.core.units import read_duration
from watcher.core.vocabulary import near
from watcher.core.wording import About, Voice
from watcher.errors import ConfigError
from watcher.notifiers import Channel
from watcher.notifiers.registry import NOTIFIERS
from watcher.paths import Paths, expand
from watcher.providers import Overrides
from watcher.providers.registry import PROVIDERS
from watcher.secrets import Resolve

MOST_BYTES = 1_000_000  # of one file; more is not something a person wrote

# --- the shape of config.toml; docstrings become the editor's help --------------------------------------------------


class PollTable(Struct, forbid_unknown_fields=True):
    """How often to ask."""

    every: str | None = None
    hints: bool = True


class ProviderTable(Struct, forbid_unknown_fields=True):
    """One provider."""

    enabled: bool | None = None
    every: str | None = None
    base_url: str | None = None
    credentials: str | None = None
    token: str | None = None
    database: str | None = None
    accounts: str | None = None
    source: str | None = None


class QuietTable(Struct, forbid_unknown_fields=True):
    """When only what is critical is said."""

    hours: str
    tz: str | None = None


class Document(Struct, forbid_unknown_fields=True):
    """The whole file. Rules are read by the rulebook, channels by their notifiers."""

    poll: PollTable = field(default_factory=PollTable)
    providers: dict[str, ProviderTable] = field(default_factory=dict)
    channels: dict[str, dict[str, Any]] = field(default_factory=dict)
    route: dict[str, list[str]] = field(default_factory=dict)
    quiet: QuietTable | None = None
    rule: list[Any] = field(default_factory=list)


# --- what it comes to -----------------------------------------------------------------------------------------------


class ProviderSettings(Struct, frozen=True, kw_only=True):
    """How one provider is asked."""

    enabled: bool | None  # None: where a login is found
    pace: cadence.Pace
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
    broken_channels: Mapping[str, str]  # name -> why its secret could not be had; its messages wait
    stamp: tuple[tuple[str, int, int], ...]  # (path, mtime in ns, size) of every file read: has anything changed?

    def __repr__(self) -> str:
        return f"Config({len(self.rules)} rules, channels {', '.join(self.channels)})"


def load(paths: Paths, resolve: Resolve, home: Path) -> Config:
    """The config in force.

    Raises:
        ConfigError: its text holds every diagnostic, with file, line and caret.
    """
    return _Reader(paths, resolve, home).read()


def stamp(paths: Paths) -> tuple[tuple[str, int, int], ...]:
    """What tells whether any of the person's files changed; costs one `stat` a file."""
    found = []
    for path in (paths.config_file, *_rule_files(paths)):
        try:
            status = path.stat()
        except OSError:
            continue
        found.append((str(path), status.st_mtime_ns, status.st_size))
    return tuple(found)


def _rule_files(paths: Paths) -> list[Path]:
    return sorted(paths.rules_dir.glob("*.toml"))


class _Reader:
    """One reading of all files; problems gather here."""

    def __init__(self, paths: Paths, resolve: Resolve, home: Path) -> None:
        self._paths, self._resolve, self._home = paths, resolve, home
        self._problems: list[Diagnostic] = []
        self._secrets: list[str] = []
        self._broken: dict[str, str] = {}
        self._path = str(paths.config_file)
        self._text = ""
        self._places: Places | None = None

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
            secrets=tuple(self._secrets),
            broken_channels=self._broken,
            stamp=before,
        )
        if self._problems:
            raise ConfigError(listed(self._problems))
        return config

    def _problem(self, where: tuple[str | int, ...], message: str, *, at_key: bool = False) -> None:
        if self._places is None:
            place = Place(0, 1)
        else:
            place = self._places.key(where) if at_key else self._places.value(where)
        self._problems.append(diagnose(self._path, self._text, place, message))

    # --- files ------------------------------------------------------------------------------------------------------

    def _read(self, path: Path) -> str | None:
        """A file's text with line ends as newlines; None, and a problem, where it cannot be had."""
        try:
            data = path.read_bytes()
        except OSError as error:
            self._problems.append(
                Diagnostic(path=str(path), line=1, column=1, message=f"cannot be read: {error.strerror}")
            )
            return None
        if len(data) > MOST_BYTES:
            message = f"is {len(data):,} bytes; at most {MOST_BYTES:,} are read"
            self._problems.append(Diagnostic(path=str(path), line=1, column=1, message=message))
            return None
        try:
            return data.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            message = "is not UTF-8 text; save it as UTF-8"
            self._problems.append(Diagnostic(path=str(path), line=line, column=1, message=message))
            return None

    def _document(self) -> Document:
        if not self._paths.config_file.exists():
            return Document(channels={"desktop": {"type": "desktop"}}, route={"default": ["desktop"]})
        text = self._read(self._paths.config_file)
        if text is None:
            return Document()
        self._text = text
        found = rulebook.read_document(text, self._path)
        if isinstance(found, Diagnostic):
            return Document()  # the rulebook reads the same file, and says what and where
        raw, self._places = found
        document: Document = self._converted(raw, Document, ())
        return document

    def _converted(self, raw: Any, kind: type[Any], where: tuple[str | int, ...]) -> Any:
        """`raw` as a table of that kind; unknown keys and wrong types are problems, the rest is kept."""
        if not isinstance(raw, dict):
            self._problem(where, "must be a table")
            return kind() if kind is not QuietTable else None
        good = {}
        types = {each.encode_name: each for each in msgspec.structs.fields(kind)}
        for key, value in raw.items():
            if key not in types:
                self._unknown((*where, key), "key", key, tuple(types))
                continue
            try:
                good[key] = self._member(types[key].type, value, (*where, key))
            except msgspec.ValidationError as error:
                self._problem((*where, key), f"`{key}`: {str(error).split(' - at ')[0]}")
        missing = [name for name, each in types.items() if each.required and name not in good and name not in raw]
        for name in missing:
            self._problem(where, f"`{name}` is missing", at_key=True)
        if any(each.required and name not in good for name, each in types.items()):
            return None
        try:
            return kind(**good)
        except ValueError as error:  # what the record itself demands of its values; it names the key, never the value
            named = re.match(r"`(\w+)`", str(error))
            self._problem((*where, named[1]) if named and named[1] in raw else where, str(error))
            return None

    def _member(self, kind: Any, value: Any, where: tuple[str | int, ...]) -> Any:
        if isinstance(kind, type) and issubclass(kind, Struct):
            return self._converted(value, kind, where)
        if kind == QuietTable | None:
            return self._converted(value, QuietTable, where)
        if kind == dict[str, ProviderTable] and isinstance(value, dict):
            return {name: self._converted(table, ProviderTable, (*where, name)) for name, table in value.items()}
        return msgspec.convert(value, kind)

    def _unknown(self, where: tuple[str | int, ...], what: str, word: str, valid: tuple[str, ...]) -> None:
        close = near(word, valid)
        hint = f"did you mean `{close}`?" if close else f"valid: {', '.join(valid)}"
        self._problem(where, f"unknown {what} `{word}`; {hint}", at_key=True)

    # --- providers --------------------------------------------------------------------------------------------------

    def _providers(self, document: Document) -> dict[str, ProviderSettings]:
        for name in document.providers:
            if name not in PROVIDERS:
                self._unknown(("providers", name), "provider", name, tuple(PROVIDERS))
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
            floor = min(floor, every or facts.default)  # floors spare the vendor's servers, not the person's own
        return ProviderSettings(
            enabled=table.enabled,
            pace=cadence.pace(floor, facts.default, facts.ceiling, every),
            base_url=table.base_url,
            overrides=Overrides(
                credentials=self._path_of(table.credentials),
                token=self._secret((*where, "token"), table.token),
                database=self._path_of(table.database),
                accounts=self._path_of(table.accounts),
                source=table.source,
            ),
        )

    def _duration(self, where: tuple[str, ...], text: str | None) -> timedelta | None:
        if text is None:
            return None
        try:
            span = read_duration(text)
        except ValueError as error:
            self._problem(where, f"`{where[-1]}`: {error}")
            return None
        if span <= timedelta(0):
            self._problem(where, f"`{where[-1]}` must be longer than nothing: write one such as 5m")
            return None
        return span

    def _check_base_url(self, where: tuple[str, ...], text: str) -> None:
        scheme, separator, rest = text.partition("://")
        if scheme not in ("http", "https") or not separator or not rest.strip("/"):
            self._problem(where, '`base_url`: write scheme, host and port, such as "http://127.0.0.1:8080"')

    def _path_of(self, text: str | None) -> str | None:
        return None if text is None else str(expand(text, self._home))

    # --- secrets ----------------------------------------------------------------------------------------------------

    def _secret(self, where: tuple[str, ...], text: str | None) -> str | None:
        if text is None:
            return None
        try:
            secret = self._resolve(text)
        except secrets.Unavailable as error:
            self._broken[".".join(where)] = str(error)
            return None
        self._secrets.append(secret)
        if secrets.is_literal(text) and not secrets.is_harmless(text):
            self._demand_private(where)
        return secret

    def _demand_private(self, where: tuple[str, ...]) -> None:
        if secrets.readable_by_others(self._paths.config_file):
            self._problem(
                where,
                f"`{where[-1]}` holds a secret in a file that others can read: chmod 600 {self._paths.config_file},"
                " or use env:NAME, file:PATH or cmd:ARGV",
            )

    # --- channels, routes, quiet hours ------------------------------------------------------------------------------

    def _channels(self, document: Document) -> dict[str, Channel]:
        channels = {}
        for name, table in document.channels.items():
            where = ("channels", name)
            kind = table.get("type")
            notifier = NOTIFIERS.get(kind) if isinstance(kind, str) else None
            if notifier is None:
                if kind is None:
                    self._problem(where, f"`type` is missing; valid: {', '.join(NOTIFIERS)}", at_key=True)
                else:
                    self._problem((*where, "type"), f"unknown type {kind!r}; valid: {', '.join(NOTIFIERS)}")
                continue
            settings = {key: value for key, value in table.items() if key != "type"}
            for key in notifier.secrets:
                value = settings.get(key)
                if isinstance(value, str):
                    settings[key] = self._secret((*where, key), value) or ""
                elif isinstance(value, dict):  # headers: each value is a secret of its own
                    settings[key] = {
                        name: (self._secret((*where, key, name), one) or "") if isinstance(one, str) else one
                        for name, one in value.items()
                    }
            broken = [why for key, why in self._broken.items() if key.startswith(f"channels.{name}.")]
            if broken:
                self._broken[name] = broken[0]
                channels[name] = Channel(name=name, type=notifier.type, settings=None)  # nothing is sent meanwhile
                continue
            converted = self._converted(settings, notifier.settings, where)
            if converted is not None:
                channels[name] = Channel(name=name, type=notifier.type, settings=converted)
        return channels

    def _routing(self, document: Document, channels: Mapping[str, Channel]) -> Routing:
        events = ("default", *Severity)
        routes: dict[str, tuple[str, ...]] = {}
        for key, names in document.route.items():
            if key not in events:
                self._unknown(("route", key), "route", key, events)
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

    def _unknown_channel(self, where: tuple[str | int, ...], name: str, channels: Mapping[str, Channel]) -> None:
        close = near(name, tuple(channels))
        hint = f"did you mean `{close}`?" if close else f"there are: {', '.join(channels) or 'none'}"
        self._problem(where, f"no channel is called `{name}`; {hint}")

    def _quiet(self, document: Document) -> quiet.Quiet | None:
        if document.quiet is None:
            return None
        try:
            return quiet.parse(document.quiet.hours)
        except ValueError as error:
            self._problem(("quiet", "hours"), str(error))
            return None

    def _zone(self, document: Document) -> tzinfo:
        name = None if document.quiet is None else document.quiet.tz
        if name is None:
            return LocalZone()
        try:
            return ZoneInfo(name)
        except (OSError, ValueError):
            self._problem(("quiet", "tz"), f"no zone is called {name!r}; write one such as Europe/Berlin")
            return LocalZone()

    # --- rules ------------------------------------------------------------------------------------------------------

    def _rules(self, channels: Mapping[str, Channel]) -> tuple[Rule, ...]:
        sources: list[tuple[str, str]] = []
        if self._paths.config_file.exists():
            if self._text:
                sources.append((self._path, self._text))
        else:
            path, text = shipped.default_rules()
            if not _rule_files(self._paths):
                sources.append((str(path), text))
        for path in _rule_files(self._paths):
            text = self._read(path) or ""
            sources.append((str(path), text))
        rules, problems = rulebook.read_files(sources, channels=tuple(channels), config_path=self._path)
        self._problems.extend(problems)
        return rules
