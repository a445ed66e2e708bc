"""The user's config: `config.toml` and every `*.toml` in `rules/`, or all their mistakes at once.

Without a config file the default rules notify the desktop. Secrets are resolved at every load; they are in the settings
of channels and providers, and in `Config.secrets` for the redactor.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta, tzinfo
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct, structs

from watcher.config.file import (
    ConfigDocument,
    ConfigFile,
    NetworkTable,
    ProviderTable,
    make_unreadable_diagnostic,
    read_text,
)
from watcher.config.metrics import MetricsTable, resolve_metrics
from watcher.config.secrets import ConfigSecrets, SecretResolver, is_reference
from watcher.core.model import NetworkSettings, Pace, Severity, make_pace
from watcher.core.redaction import names_secret
from watcher.core.routing.messages import Formatter, ProviderInfo
from watcher.core.routing.planner import Routing
from watcher.core.rules import loader
from watcher.core.rules.diagnostics import Diagnostic, KeyPath, format_diagnostics, suggest_word
from watcher.core.rules.rule import Rule
from watcher.core.rules.rule_reader import format_toml_value
from watcher.core.rules.time_intervals import check_time_zone, parse_quiet_hours
from watcher.core.rules.vocabulary import parse_duration
from watcher.errors import ConfigError
from watcher.notifiers import NOTIFIERS, Channel, Notifier
from watcher.providers.registry import PROVIDERS, load_files
from watcher.system.clock import LocalZone
from watcher.system.paths import (
    Paths,
    expand_home,
    find_rule_packs,
    list_toml_files,
    may_exist,
    read_default_rules,
)

ConfigFingerprint = tuple[tuple[str, int, int, int], ...]
"""(path, mtime in ns, ctime in ns, size) of each file."""

T = TypeVar("T")


class ProviderSettings(ProviderTable, frozen=True, kw_only=True):
    """How one provider is polled: its table with secrets and paths resolved."""

    pace: Pace


class Config(Struct, frozen=True, kw_only=True):
    """All settings, checked."""

    providers: Mapping[str, ProviderSettings]  # of every provider
    channels: Mapping[str, Channel]
    routing: Routing
    rules: tuple[Rule, ...]
    rule_packs: tuple[str, ...]  # shipped, in force by `use`
    metrics: MetricsTable | None
    network: NetworkSettings
    status_pages: bool  # whether to ask a vendor's status page while its provider fails
    hints: bool  # whether to watch the tools' own folders for signs of use
    secrets: tuple[str, ...]  # every secret in use, for the redactor
    secret_files: tuple[Path, ...]  # read for `file:PATH`
    broken_channels: Mapping[str, str]  # name -> why its secret is not available; its messages wait
    fingerprint: ConfigFingerprint  # of all files, before they were read

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
    files = [paths.config_file]
    for folder in (paths.rules_dir, paths.providers_dir):
        try:
            files += list_toml_files(folder)
        except OSError:
            fingerprint.append((str(folder), 0, 0, -1))
    for path in files:
        try:
            status = path.stat()
        except OSError:
            continue
        fingerprint.append((str(path), status.st_mtime_ns, status.st_ctime_ns, status.st_size))
    return tuple(fingerprint)


def list_watched_paths(paths: Paths) -> set[Path]:
    """The folders and files where a change may be one of the config; a link counts with what it leads to."""
    folder = next((each for each in (paths.config_dir, *paths.config_dir.parents) if each.is_dir()), paths.config_dir)
    watched = {folder, paths.rules_dir, paths.providers_dir}
    for path in (paths.config_file, *paths.rules_dir.glob("*.toml"), *paths.providers_dir.glob("*.toml")):
        watched |= {path, path.resolve().parent}
    return watched


def load_providers(paths: Paths) -> list[Diagnostic]:
    """Put the user's own providers in force; returns every mistake in their files, which costs only the provider."""
    try:
        files = list_toml_files(paths.providers_dir)
    except OSError as error:
        return [make_unreadable_diagnostic(str(paths.providers_dir), error)]
    sources: list[tuple[str, str | Diagnostic]] = []
    for path in files:
        problems: list[Diagnostic] = []
        text = read_text(path, problems)
        sources.append((str(path), problems[0] if text is None else text))
    return load_files(sources)


class _ConfigLoader:
    """One load of all files; collects their problems."""

    def __init__(self, paths: Paths, resolve: SecretResolver, home: Path) -> None:
        self._paths, self._home = paths, home
        self._file = ConfigFile(paths.config_file)
        self._secrets = ConfigSecrets(self._file, resolve, home)

    def load(self) -> Config:
        before = fingerprint_config_files(self._paths)
        load_providers(self._paths)  # a mistake in one is reported at its polls, and costs no other
        document = self._read_document()
        metrics = resolve_metrics(document.metrics, self._file, self._secrets, self._home)
        channels = self._read_channels(document)
        config = Config(
            providers=self._read_providers(document),
            channels=channels,
            routing=self._read_routing(document, channels),
            rules=self._load_rules(document),
            rule_packs=tuple(document.rules.use),
            metrics=metrics,
            network=self._read_network(document.network),
            status_pages=document.network.status_pages,
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
                message = f"unknown provider `{name}`; {suggest_word(name, tuple(PROVIDERS))}"
                self._file.add_problem(("providers", name), message, at_key=True)
        every = self._parse(("poll", "every"), document.poll.every, _parse_interval)
        return {name: self._read_provider(name, document.providers.get(name, {}), every) for name in PROVIDERS}

    def _read_provider(self, provider: str, raw: Any, default_every: timedelta | None) -> ProviderSettings:
        facts, key_path = PROVIDERS[provider], ("providers", provider)
        if isinstance(raw, dict) and isinstance(raw.get("credentials"), str):
            raw["credentials"] = [raw["credentials"]]
        table = self._file.convert_table(raw, ProviderTable, key_path) or ProviderTable()
        for key in ("user_agent", "reset_credits"):
            if getattr(table, key) is not None and provider != "codex":
                message = f"`{key}` belongs under [providers.codex]; {provider} has no use for it"
                self._file.add_problem((*key_path, key), message, at_key=True)
        every = self._parse((*key_path, "every"), table.every, _parse_interval) or default_every
        floor = facts.pace.floor
        if table.base_url is not None:
            self._secrets.collect_url_password((*key_path, "base_url"), table.base_url)
            # the minimum interval spares the vendor's servers, not the user's own
            floor = min(floor, every or facts.pace.every)
        resolved = {
            "insecure": table.insecure or facts.insecure,
            "credentials": tuple(str(expand_home(path, self._home)) for path in table.credentials),
            "token": self._secrets.resolve_secret((*key_path, "token"), table.token),
            "database": self._expand_path(table.database),
            "accounts": self._expand_path(table.accounts),
        }
        pace = make_pace(floor, facts.pace.every, facts.pace.ceiling, every)
        return ProviderSettings(**structs.asdict(table) | resolved, pace=pace)

    def _expand_path(self, text: str | None) -> str | None:
        return None if text is None else str(expand_home(text, self._home))

    # --- network ----------------------------------------------------------------------------------------------------

    def _read_network(self, table: NetworkTable) -> NetworkSettings:
        if table.proxy is not None:
            self._secrets.collect_url_password(("network", "proxy"), table.proxy)
        bundle = self._paths.config_dir / expand_home(table.ca_bundle, self._home)
        ca_bundle = "" if table.ca_bundle == "system" else str(bundle)
        return NetworkSettings(proxy=table.proxy, no_proxy=table.no_proxy, ca_bundle=ca_bundle)

    # --- channels, routes, quiet hours ------------------------------------------------------------------------------

    def _read_channels(self, document: ConfigDocument) -> dict[str, Channel]:
        read = {name: self._read_channel(name, table) for name, table in document.channels.items()}
        return {name: channel for name, channel in read.items() if channel is not None}

    def _read_channel(self, name: str, table: dict[str, Any]) -> Channel | None:
        key_path = ("channels", name)
        kind = table.get("type", "")
        word = kind if isinstance(kind, str) else ""
        if word not in NOTIFIERS:
            problem = f"unknown type {format_toml_value(kind)}" if "type" in table else "`type` is missing"
            message = f"{problem}; {suggest_word(word, NOTIFIERS)}"
            self._file.add_problem((*key_path, "type"), message, at_key="type" not in table)
            return None
        notifier = NOTIFIERS[word]
        raw = {key: value for key, value in table.items() if key != "type"}
        settings = {key: self._resolve_setting((*key_path, key), value, notifier) for key, value in raw.items()}
        errors = [error for key, error in self._secrets.errors.items() if key.startswith(f"channels.{name}.")]
        if notifier.is_mirror and "metrics" in self._secrets.errors:  # its salt is in the label of each account
            errors.append(self._secrets.errors["metrics"])
        if errors:
            self._secrets.errors[name] = errors[0]
            return Channel(name=name, type=notifier.type, settings=None)  # nothing is sent until it is available
        converted = self._file.convert_table(settings, notifier.settings_class, key_path)
        return None if converted is None else Channel(name=name, type=notifier.type, settings=converted)

    def _resolve_setting(self, key_path: tuple[str, ...], value: Any, notifier: Notifier) -> Any:
        """A channel's setting with its secret resolved; in a table, each text may be one."""
        if key_path[-1] not in notifier.secret_settings:
            if isinstance(value, str):
                self._secrets.collect_url_password(key_path, value)
            return value
        if key_path[-1] in notifier.template_settings:
            return self._resolve_template(key_path, value)
        if isinstance(value, str):
            return self._secrets.resolve_secret(key_path, value) or ""
        if isinstance(value, dict):
            return {
                name: (self._secrets.resolve_secret((*key_path, name), one) or "") if isinstance(one, str) else one
                for name, one in value.items()
            }
        return value

    def _resolve_template(self, key_path: KeyPath, value: Any) -> Any:
        """The texts of a structure, secrets resolved and their braces doubled, so that no name is found in them.

        A text is a secret where it refers to one, is a header, or has a key such as `token`, unless it is all one name.
        """
        if isinstance(value, dict):
            return {key: self._resolve_template((*key_path, key), each) for key, each in value.items()}
        if isinstance(value, list):
            return [self._resolve_template((*key_path, index), each) for index, each in enumerate(value)]
        if not isinstance(value, str):
            return value
        if is_reference(value):
            secret = self._secrets.resolve_secret(tuple(map(str, key_path)), value) or ""
            return secret.replace("{", "{{").replace("}", "}}")
        is_placeholder = value.startswith("{") and value.endswith("}")
        if not is_placeholder and ("headers" in key_path or names_secret(str(key_path[-1]))):
            self._secrets.resolve_secret(tuple(map(str, key_path)), value)
        return value

    def _read_routing(self, document: ConfigDocument, channels: Mapping[str, Channel]) -> Routing:
        written = {key: names for key, names in structs.asdict(document.route).items() if names is not None}
        for key, names in written.items():
            for i, name in enumerate(names):
                if name not in document.channels:
                    hint = suggest_word(name, channels, f"there are: {', '.join(channels) or 'none'}")
                    self._file.add_problem(("route", key, i), f"no channel is called `{name}`; {hint}")
        default = written.pop("default", channels)
        hours, zone_name = (document.quiet.hours, document.quiet.tz) if document.quiet else (None, None)
        time_zone = self._parse(("quiet", "tz"), zone_name, _parse_time_zone)
        infos = {each.id: ProviderInfo(name=each.name, usage_page=each.usage_page) for each in PROVIDERS.values()}
        return Routing(
            default=tuple(default),
            routes={Severity(key): tuple(names) for key, names in written.items()},
            channels={name: channel.type for name, channel in channels.items()},
            mirrors=frozenset(name for name, channel in channels.items() if NOTIFIERS[channel.type].is_mirror),
            quiet_hours=self._parse(("quiet", "hours"), hours, parse_quiet_hours),
            formatter=Formatter(tz=time_zone or LocalZone(), providers=infos),
        )

    def _parse(self, key_path: KeyPath, text: str | None, parse: Callable[[str], T]) -> T | None:
        """A value that is written as text; None if there is none, or, with a problem, if it cannot be parsed."""
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as error:
            self._file.add_problem(key_path, str(error))
            return None

    # --- rules ------------------------------------------------------------------------------------------------------

    def _load_rules(self, document: ConfigDocument) -> tuple[Rule, ...]:
        try:
            files = self._paths.list_rule_files()
        except OSError as error:
            self._file.problems.append(make_unreadable_diagnostic(str(self._paths.rules_dir), error))
            files = []
        sources: list[tuple[str, str]] = []
        if self._file.text:
            sources.append((self._file.path, self._file.text))
        elif not (files or may_exist(self._paths.config_file)):
            path, text = read_default_rules()
            sources.append((str(path), text))
        sources += self._read_packs(document.rules.use)
        sources += [(str(path), read_text(path, self._file.problems) or "") for path in files]
        # Where no channel could be read, that is reported already, and not again for each rule that names one.
        channels = None if self._file.is_invalid else tuple(document.channels) or None
        rules, problems = loader.check_rule_files(sources, channels=channels, config_path=self._file.path)
        self._file.problems.extend(problems)
        return rules

    def _read_packs(self, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        """(path, text) of each shipped pack that `[rules] use` names."""
        packs = find_rule_packs()
        for index, name in enumerate(names):
            if name in packs:
                yield str(packs[name]), packs[name].read_text("utf-8")
            else:
                message = f"there is no pack `{name}`; {suggest_word(name, packs)}"
                self._file.add_problem(("rules", "use", index), message)


def _parse_interval(text: str) -> timedelta:
    try:
        span = parse_duration(text)
    except ValueError as error:
        raise ValueError(f"`every`: {error}") from error
    if span <= timedelta(0):
        raise ValueError("`every` must be longer than nothing: write one such as 5m")
    return span


def _parse_time_zone(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - 0.4 MB, only where the config names a zone

    check_time_zone(name)
    return ZoneInfo(name)
