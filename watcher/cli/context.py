"""Rules for the commands about rules: those in force, or those of some files. Never print here."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from watcher import environment
from watcher.config import loader, secrets
from watcher.config.loader import Config
from watcher.core.rules import loader as rules_loader
from watcher.core.rules.diagnostics import Diagnostic, find_close_match, format_diagnostics
from watcher.core.rules.rule import Rule
from watcher.errors import ConfigError, UsageError
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import paths
from watcher.system.paths import Paths

_MAX_RULE_FILE_BYTES = 4 * rules_loader.MAX_FILE_LENGTH + 1
"""More cannot be a file of rules, whatever its characters: what is cut off would be refused anyway."""


def find_paths() -> Paths:
    """Where the person's files are."""
    around = environment.read_host_info()
    return paths.resolve_paths(around.env, around.home)


def load_effective_config(*, with_secrets: bool = False) -> Config:
    """The config and its rules.

    Args:
        with_secrets: resolve them, which may run commands; else every channel is without its settings.

    Raises:
        ConfigError: with every mistake in all of the person's files.
    """
    world = environment.create_environment()
    around = world.read_host_info()
    resolve = secrets.make_secret_resolver(around.env, around.home, world.run) if with_secrets else _refuse_secret
    return loader.load_config(paths.resolve_paths(around.env, around.home), resolve, around.home)


def load_rules_from_files(names: Sequence[str]) -> tuple[Rule, ...]:
    """The rules of some files, of which one may be a whole `config.toml`.

    Raises:
        ConfigError: with every mistake in all of them.
        UsageError: a file cannot be read.
    """
    texts, wrong = [], []
    for name in names:
        try:
            texts.append((name, rules_loader.decode_utf8(read_bounded(Path(name)), name)))
        except ConfigError as error:
            wrong.append(str(error))
    whole = next((name for name in names if Path(name).name == "config.toml"), None)
    found, mistakes = rules_loader.check_rule_files(texts, channels=read_channel_names(), config_path=whole)
    if mistakes or wrong:
        raise ConfigError("\n".join([*wrong, *([format_diagnostics(mistakes)] if mistakes else [])]))
    return found


def read_bounded(path: Path) -> bytes:
    """A file's bytes, as far as they can matter.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(_MAX_RULE_FILE_BYTES)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; give files of rules") from error


def read_channel_names() -> tuple[str, ...] | None:
    """The channels that the config names; None where there is no config, or none that can be read."""
    path = find_paths().config_file
    try:
        found = rules_loader.parse_toml_document(rules_loader.decode_utf8(read_bounded(path), str(path)), str(path))
    except (UsageError, ConfigError):
        return None
    if isinstance(found, Diagnostic):
        return None
    channels = found[0].get("channels")
    return tuple(channels) if isinstance(channels, dict) else None


def find_rule(rules: Sequence[Rule], name: str) -> Rule:
    """The rule of that name.

    Raises:
        UsageError: there is none; names the nearest.
    """
    names = tuple(rule.name for rule in rules)
    for rule in rules:
        if rule.name == name:
            return rule
    meant = find_close_match(name, names)
    hint = f"did you mean `{meant}`?" if meant else f"there are: {', '.join(names) or 'none'}"
    raise UsageError(f"no rule is called `{name}`; {hint}")


def _refuse_secret(_text: str) -> str:
    raise secrets.SecretUnavailableError("not asked for: this command needs no secret")


def group_rules_by_file(rules: Sequence[Rule]) -> dict[str, list[Rule]]:
    """The rules by the file that they are from, in their order."""
    files: dict[str, list[Rule]] = {}
    for rule in rules:
        files.setdefault(rule.path, []).append(rule)
    return files


# --- The store as commands look at it that change nothing. Never write here


def open_store(paths: Paths, now: datetime) -> Store:
    """The store, opened for reading.

    Raises:
        StoreError: it cannot be read; `NoReadingsError` where there is none.
    """
    return Store(paths.state_dir / DATABASE_FILE_NAME, now=now, read_only=True)
