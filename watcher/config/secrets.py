"""How a secret is written in the config: `env:NAME`, `file:PATH`, `cmd:ARGV`, or the value itself.

Never keep, print or log a secret here.
"""

import base64
import os
import re
import shlex
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from watcher.core.model import Command, CommandResult
from watcher.system.paths import expand_home

SecretResolver = Callable[[str], str]
"""From the text in the config to the secret. Raises `SecretUnavailableError`."""

_REFERENCE_PATTERN = re.compile(r"(env|file|cmd):(.*)", re.DOTALL)
_COMMAND_TIMEOUT_S = 20.0  # a password manager may ask the person


class SecretUnavailableError(Exception):
    """A secret cannot be had now; the text says why and what to do, and holds no secret."""


def make_secret_resolver(env: Mapping[str, str], home: Path, run: Callable[[Command], CommandResult]) -> SecretResolver:
    """A function that finds secrets in this environment."""

    def resolve(text: str) -> str:
        found = _REFERENCE_PATTERN.fullmatch(text)
        if found is None:
            return text
        how, what = found.groups()
        if how == "env":
            secret = _read_secret_from_env(what, env)
        elif how == "file":
            secret = _read_secret_from_file(expand_home(what, home))
        else:
            secret = _read_secret_from_command(what, run)
        if not secret:
            raise SecretUnavailableError(f"{how}:{what} is empty")
        return secret

    return resolve


def find_secret_file(text: str, home: Path) -> Path | None:
    """The file that a secret is to be read from; None where it is had elsewhere."""
    found = _REFERENCE_PATTERN.fullmatch(text)
    return expand_home(found[2], home) if found is not None and found[1] == "file" else None


def _read_secret_from_env(name: str, env: Mapping[str, str]) -> str:
    if name not in env:
        raise SecretUnavailableError(f"the environment variable {name} is not set where the watcher runs")
    return env[name].strip()


def _read_secret_from_file(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SecretUnavailableError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or 'not text'}"
        ) from error


def _read_secret_from_command(line: str, run: Callable[[Command], CommandResult]) -> str:
    try:
        argv = tuple(shlex.split(line))
    except ValueError as error:
        raise SecretUnavailableError(f"cmd: cannot be split into words ({error})") from error
    if not argv:
        raise SecretUnavailableError("cmd: names no command")
    done = run(Command(argv=argv, timeout_s=_COMMAND_TIMEOUT_S))
    if done.exit_code != 0:
        ended = "did not end in time" if done.exit_code is None else f"ended with {done.exit_code}"
        raise SecretUnavailableError(f"the command {argv[0]} {ended}")  # its output may quote the secret
    return done.stdout.strip()


def extract_url_passwords(text: str) -> tuple[str, ...]:
    """The password in a web address (`https://name:password@host`): as it is written, meant and sent.

    A name without a password is one itself. Empty where there is none.
    """
    try:
        written = urlsplit(text).netloc.rpartition("@")[0] if "://" in text else ""
    except ValueError:
        return ()
    if not written:
        return ()
    name, _, password = written.partition(":")
    sent = base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
    return password or name, unquote(password or name), sent


def is_literal_secret(text: str) -> bool:
    """Whether the config holds the secret itself."""
    return _REFERENCE_PATTERN.fullmatch(text) is None


def is_loopback_url(text: str) -> bool:
    """Whether a literal is the address of a server on this machine: nothing that another person could use."""
    try:
        host = urlsplit(text).hostname if "://" in text else None
    except ValueError:
        return False
    return host in ("localhost", "::1") or (host is not None and host.startswith("127."))


def is_readable_by_others(path: Path) -> bool:
    """Whether anybody but the owner may read a file; always False on Windows, whose home folders are private."""
    try:
        return os.name == "posix" and bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError:
        return False
