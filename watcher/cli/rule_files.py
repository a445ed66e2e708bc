"""Rules for the commands about rules: those in force, or those of some files. Never print here."""

from collections.abc import Sequence
from pathlib import Path

from watcher import config, doors, paths, secrets
from watcher.config import Config
from watcher.core import rulebook
from watcher.core.diagnostics import Diagnostic, listed
from watcher.core.model import Rule
from watcher.core.vocabulary import near
from watcher.errors import ConfigError, UsageError
from watcher.paths import Paths

_MOST_BYTES = 4 * rulebook.LARGEST_FILE + 1
"""More cannot be a file of rules, whatever its characters: what is cut off would be refused anyway."""


def own_paths() -> Paths:
    """Where the person's files are."""
    around = doors.surroundings()
    return paths.find(around.env, around.home)


def in_force(*, with_secrets: bool = False) -> Config:
    """The config and its rules.

    Args:
        with_secrets: resolve them, which may run commands; else every channel is without its settings.

    Raises:
        ConfigError: with every mistake in all of the person's files.
    """
    world = doors.real()
    around = world.surroundings()
    resolve = secrets.resolver(around.env, around.home, world.run) if with_secrets else _unasked
    return config.load(paths.find(around.env, around.home), resolve, around.home)


def in_files(names: Sequence[str]) -> tuple[Rule, ...]:
    """The rules of some files, of which one may be a whole `config.toml`.

    Raises:
        ConfigError: with every mistake in all of them.
        UsageError: a file cannot be read.
    """
    texts, wrong = [], []
    for name in names:
        try:
            texts.append((name, rulebook.decode(read_bounded(Path(name)), name)))
        except ConfigError as error:
            wrong.append(str(error))
    whole = next((name for name in names if Path(name).name == "config.toml"), None)
    found, mistakes = rulebook.read_files(texts, channels=known_channels(), config_path=whole)
    if mistakes or wrong:
        raise ConfigError("\n".join([*wrong, *([listed(mistakes)] if mistakes else [])]))
    return found


def read_bounded(path: Path) -> bytes:
    """A file's bytes, as far as they can matter.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; give files of rules") from error


def known_channels() -> tuple[str, ...] | None:
    """The channels that the config names; None where there is no config, or none that can be read."""
    path = own_paths().config_file
    try:
        found = rulebook.read_document(rulebook.decode(read_bounded(path), str(path)), str(path))
    except (UsageError, ConfigError):
        return None
    if isinstance(found, Diagnostic):
        return None
    channels = found[0].get("channels")
    return tuple(channels) if isinstance(channels, dict) else None


def named(rules: Sequence[Rule], name: str) -> Rule:
    """The rule of that name.

    Raises:
        UsageError: there is none; names the nearest.
    """
    names = tuple(rule.name for rule in rules)
    for rule in rules:
        if rule.name == name:
            return rule
    meant = near(name, names)
    hint = f"did you mean `{meant}`?" if meant else f"there are: {', '.join(names) or 'none'}"
    raise UsageError(f"no rule is called `{name}`; {hint}")


def _unasked(_text: str) -> str:
    raise secrets.Unavailable("not asked for: this command needs no secret")


def by_file(rules: Sequence[Rule]) -> dict[str, list[Rule]]:
    """The rules by the file that they are from, in their order."""
    files: dict[str, list[Rule]] = {}
    for rule in rules:
        files.setdefault(rule.path, []).append(rule)
    return files
