"""The person's config, rules and store, as the commands need them."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import click

from watcher.config import loader, secrets
from watcher.config.loader import Config
from watcher.core.model import Series
from watcher.core.rules import loader as rules_loader
from watcher.core.rules.diagnostics import Diagnostic, find_close_match, format_diagnostics, sanitize_for_terminal
from watcher.core.rules.rule import Rule
from watcher.core.rules.units import parse_duration
from watcher.errors import ConfigError, UsageError
from watcher.status import builder
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import environment, paths
from watcher.system.paths import Paths

_MAX_RULE_FILE_BYTES = 4 * rules_loader.MAX_FILE_LENGTH + 1  # a longer file is refused, whatever its characters
_MAX_NAME_LENGTH = 200


def find_paths() -> Paths:
    """Where the person's files are."""
    host_info = environment.read_host_info()
    return paths.resolve_paths(host_info.env, host_info.home)


def load_effective_config(*, with_secrets: bool = False) -> Config:
    """The config and its rules.

    Args:
        with_secrets: resolve them, which may run commands; else every channel with a secret is without its settings.

    Raises:
        ConfigError: with every mistake in all of the person's files.
    """
    host_info = environment.read_host_info()
    resolve = secrets.make_secret_resolver(host_info) if with_secrets else _refuse_secret
    return loader.load_config(paths.resolve_paths(host_info.env, host_info.home), resolve, host_info.home)


def _refuse_secret(_text: str) -> str:
    raise secrets.SecretUnavailableError("not resolved: this command needs no secret")


def open_store(paths: Paths, now: datetime) -> Store:
    """The store, read-only.

    Raises:
        StoreError: it cannot be read; `NoReadingsError` where there is none.
    """
    return Store(paths.state_dir / DATABASE_FILE_NAME, now=now, read_only=True)


def make_series_formatter(store: Store) -> Callable[[Series], str]:
    """Writes a series as a person does, for a terminal."""
    format_series = builder.make_series_formatter(store)
    return lambda series: sanitize_for_terminal(format_series(series), _MAX_NAME_LENGTH)


def parse_duration_option(option: str, text: str) -> timedelta:
    """The duration that was given for an option.

    Raises:
        click.UsageError: it is none; says what would be valid.
    """
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None


def load_rules_from_files(names: Sequence[str]) -> tuple[Rule, ...]:
    """The rules of some files, of which one may be a whole `config.toml`.

    Raises:
        ConfigError: with every mistake in all of them.
        UsageError: a file cannot be read.
    """
    texts, errors = [], []
    for name in names:
        try:
            texts.append((name, rules_loader.decode_utf8(read_bounded(Path(name)), name)))
        except ConfigError as error:
            errors.append(str(error))
    config_path = next((name for name in names if Path(name).name == "config.toml"), None)
    found, mistakes = rules_loader.check_rule_files(texts, channels=_read_channel_names(), config_path=config_path)
    if mistakes or errors:
        raise ConfigError("\n".join([*errors, *([format_diagnostics(mistakes)] if mistakes else [])]))
    return found


def read_bounded(path: Path) -> bytes:
    """The bytes of a rule file; what is beyond the longest valid one is cut off.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(_MAX_RULE_FILE_BYTES)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; give files of rules") from error


def _read_channel_names() -> tuple[str, ...] | None:
    """The channels of the config; None where there is no config that can be read."""
    path = find_paths().config_file
    try:
        found = rules_loader.parse_toml_document(rules_loader.decode_utf8(read_bounded(path), str(path)), str(path))
    except (UsageError, ConfigError):
        return None
    if isinstance(found, Diagnostic):
        return None
    channels = found[0].get("channels")
    return tuple(channels) if isinstance(channels, dict) else None


def create_private_file(path: Path, text: str) -> None:
    """Write a new file that only its owner can read.

    Errors: FileExistsError where there is one of that name, OSError where it cannot be written whole.
    """
    with suppress(FileExistsError):  # if that is no folder, opening the file says so
        path.parent.mkdir(mode=0o700, parents=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        path.unlink()  # half a file of rules would be in force, or disable the others
        raise


def find_rule(rules: Sequence[Rule], name: str) -> Rule:
    """The rule of that name.

    Raises:
        UsageError: there is none; names the nearest.
    """
    names = tuple(rule.name for rule in rules)
    for rule in rules:
        if rule.name == name:
            return rule
    close = find_close_match(name, names)
    hint = f"did you mean `{close}`?" if close else f"there are: {', '.join(names) or 'none'}"
    raise UsageError(f"no rule is called `{name}`; {hint}")
