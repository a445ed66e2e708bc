"""The person's config and store, as the commands need them."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from watcher.core.model import Series
from watcher.core.rules.diagnostics import sanitize_for_terminal
from watcher.core.rules.vocabulary import parse_duration
from watcher.errors import ConfigError, UsageError
from watcher.system import paths
from watcher.system.paths import Paths
from watcher.system.process import format_command

if TYPE_CHECKING:
    from watcher.config.loader import Config
    from watcher.storage.store import Store

T = TypeVar("T")
_MAX_NAME_LENGTH = 200


def find_paths() -> Paths:
    """Where the user's files are."""
    return paths.resolve_paths(os.environ, paths.find_home())


def load_effective_config(*, with_secrets: bool = False) -> "Config":
    """The config and its rules.

    Args:
        with_secrets: resolve them, which may run commands; else every channel with a secret is without its settings.

    Raises:
        ConfigError: with every mistake in all of the user's files.
    """
    from watcher.config import loader, secrets  # noqa: PLC0415 - slow to import: every provider and channel
    from watcher.system import environment, secret_commands  # noqa: PLC0415 - likewise

    def refuse(_text: str) -> str:
        raise secret_commands.SecretUnavailableError("not resolved: this command needs no secret")

    host_info = environment.read_host_info()
    resolve = secrets.make_secret_resolver(host_info) if with_secrets else refuse
    return loader.load_config(paths.resolve_paths(host_info.env, host_info.home), resolve, host_info.home)


def parse_with_providers(parse: Callable[[str], T], text: str) -> T:
    """Parse an expression; only one that names no built-in provider costs the import of all others."""
    from watcher.core.rules.parser import ExpressionError  # noqa: PLC0415 - not every command reads an expression

    try:
        return parse(text)
    except ExpressionError:
        load_own_providers()
        return parse(text)


def load_own_providers() -> None:
    """Let expressions name every provider, those of the user's own files too."""
    own = find_paths()
    with suppress(OSError):
        if not paths.list_toml_files(own.providers_dir):
            from watcher.providers import registry  # noqa: F401, PLC0415 - importing it names the shipped ones

            return
    from watcher.config import loader  # noqa: PLC0415 - slow to import, as above

    loader.load_providers(own)


def open_store(paths: Paths, now: datetime) -> "Store":
    """The store, read-only.

    Raises:
        StoreError: it cannot be read; `NoReadingsError` where there is none.
    """
    from watcher.storage.store import DATABASE_FILE_NAME, Store  # noqa: PLC0415 - SQLite, only where it is read

    return Store(paths.state_dir / DATABASE_FILE_NAME, now=now, read_only=True)


def change_store(paths: Paths, now: datetime, work: "Callable[[Store], T]", config: "Config | None" = None) -> T:
    """The result of `work`, which changes the store in one transaction; `status.json` shows the change.

    Args:
        paths: of this machine.
        now: this moment.
        work: what to do.
        config: one that this command has changed.

    Raises:
        StoreError: it cannot be written.
    """
    from watcher.status.builder import write_status  # noqa: PLC0415 - the engine, only where it changes something
    from watcher.storage.store import DATABASE_FILE_NAME, Store  # noqa: PLC0415 - likewise

    with Store(paths.state_dir / DATABASE_FILE_NAME, now=now) as store:
        result = store.run_transaction(lambda: work(store), now=now)
        write_status(store, config, now=now)
    return result


def make_series_formatter(store: "Store") -> Callable[[Series], str]:
    """Writes a series as the user does, for a terminal."""
    from watcher.status import builder  # noqa: PLC0415 - the engine

    format_series = builder.make_series_formatter(store)
    return lambda series: sanitize_for_terminal(format_series(series), _MAX_NAME_LENGTH)


def parse_duration_option(option: str, text: str) -> timedelta:
    """The duration that was given for an option.

    Raises:
        click.UsageError: it is none, or zero; says what would be valid.
    """
    try:
        duration = parse_duration(text)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None
    if not duration:
        raise click.UsageError(f"{option}: {text} is over at once: write a duration such as 45m, 2h or 7d")
    return duration


def write_private_file(path: Path, content: bytes) -> None:
    """Write a file that, if it is new, only its owner can read. Raises UsageError where it cannot be written."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}; give another place") from error


def edit_and_check(path: Path) -> None:
    """Open one of the user's files in their editor, check all of them afterwards, and let a running watcher load them.

    Raises:
        UsageError: no editor can be started, or it failed.
        ConfigError: there are mistakes; the file is as the user saved it.
    """
    from watcher.system.lock import Lock  # noqa: PLC0415 - only here

    try:
        click.edit(filename=str(path))
    except (click.ClickException, ValueError) as error:
        raise UsageError(f"{path} could not be edited ({error}); set VISUAL or EDITOR to your editor") from None
    try:
        load_effective_config()
    except ConfigError as error:
        message = f"{error}\n{path} is saved with this mistake; a running watcher keeps what it loaded before"
        raise ConfigError(message) from None
    is_told = Lock(find_paths().state_dir).signal_holder()
    click.echo(f"{path}: no mistake{'; the running watcher uses it from now on' if is_told else ''}")


def describe_install(package: str) -> str:
    """The command that adds a package to this installation."""
    prefix = Path(sys.prefix)
    if (prefix / "pipx_metadata.json").exists():
        return f"pipx inject ai-usage-watcher {package}"
    if (prefix / "uv-receipt.toml").exists():
        return f"uv pip install --python {format_command(sys.executable)} {package}"
    return f"{format_command(sys.executable)} -m pip install {package}"


def create_private_file(path: Path, text: str) -> None:
    """Write a new file that only its owner can read.

    Errors: FileExistsError where there is one of that name, OSError where it cannot be written whole.
    """
    with suppress(FileExistsError):  # if that is no folder, opening the file says so
        path.parent.mkdir(mode=0o700, parents=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError:
        path.unlink()  # half a file of rules would be in force, or disable the others
        raise
