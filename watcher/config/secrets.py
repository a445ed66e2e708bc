"""Secrets in the config: `env:NAME`, `file:PATH`, `cmd:ARGV`, or the value itself.

`ConfigSecrets` collects those of one load; nothing here keeps, prints or logs one longer than that.
"""

import base64
import re
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from watcher.config.file import ConfigFile
from watcher.core.model import HostInfo, is_loopback
from watcher.core.rules.diagnostics import KeyPath
from watcher.system.files import find_write_problem, read_file
from watcher.system.paths import expand_home
from watcher.system.secret_commands import SecretUnavailableError, read_secret

SecretResolver = Callable[[str], str]
"""From the text in the config to the secret. Raises `SecretUnavailableError`."""

_REFERENCE_PATTERN = re.compile(r"(env|file|cmd):(.*)", re.DOTALL)
_MAX_SECRET_FILE_BYTES = 64 * 1024


def make_secret_resolver(host_info: HostInfo) -> SecretResolver:
    """A function that resolves secrets on this machine."""

    def resolve(text: str) -> str:
        reference = _REFERENCE_PATTERN.fullmatch(text)
        if reference is None:
            return text
        kind, target = reference.groups()
        if kind == "env":
            secret = _read_secret_from_env(target, host_info.env)
        elif kind == "file":
            secret = _read_secret_from_file(expand_home(target, host_info.home))
        else:
            secret = read_secret(target, host_info.run_command)
        if not secret:
            raise SecretUnavailableError(f"{kind}:{target} is empty")
        return secret

    return resolve


def _read_secret_from_env(name: str, env: Mapping[str, str]) -> str:
    if not re.fullmatch(r"\w+", name):
        raise SecretUnavailableError("env: takes the name of an environment variable, such as env:SLACK_URL")
    if name not in env:
        raise SecretUnavailableError(f"the environment variable {name} is not set where the watcher runs")
    return env[name].strip()


def _read_secret_from_file(path: Path) -> str:
    try:
        secret = read_file(path, _MAX_SECRET_FILE_BYTES).decode("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise SecretUnavailableError(f"{path} cannot be read: {reason}") from error
    problem = find_write_problem(path)
    if problem is not None:
        raise SecretUnavailableError(f"{path}: {problem}")
    return secret


def is_reference(text: str) -> bool:
    """Whether the text says where a secret is, instead of being one."""
    return _REFERENCE_PATTERN.fullmatch(text) is not None


class ConfigSecrets:
    """The secrets of one load of the config.

    Attributes:
        values: every secret in use, for the redactor.
        files: every file that one was read from.
        errors: dotted key -> why the secret is not available.
    """

    def __init__(self, file: ConfigFile, resolve: SecretResolver, home: Path) -> None:
        self._file, self._resolve, self._home = file, resolve, home
        self.values: list[str] = []
        self.files: list[Path] = []
        self.errors: dict[str, str] = {}

    def resolve_secret(self, key_path: tuple[str, ...], text: str | None) -> str | None:
        """The secret of that key; None if there is none, or if it is not available."""
        if text is None:
            return None
        reference = _REFERENCE_PATTERN.fullmatch(text)
        if reference is None and not is_loopback_url(text):
            self._require_private_file(key_path)
        try:
            secret = self._resolve(text)
        except SecretUnavailableError as error:
            self.errors[".".join(key_path)] = str(error)
            return None
        self.values += (secret, *extract_url_passwords(secret))
        if reference is not None and reference[1] == "file":
            self.files.append(expand_home(reference[2], self._home))
        return secret

    def collect_url_password(self, key_path: KeyPath, text: str) -> None:
        """Treat a password in an address as a secret."""
        passwords = extract_url_passwords(text)
        self.values += passwords
        if passwords and not is_loopback_url(text):
            self._require_private_file(key_path)

    def _require_private_file(self, key_path: KeyPath) -> None:
        path = Path(self._file.path)
        if _is_readable_by_others(path):
            self._file.add_problem(
                key_path,
                f"`{key_path[-1]}` holds a secret in a file that others can read: chmod 600 {path},"
                " or use env:NAME, file:PATH or cmd:ARGV",
            )


def extract_url_passwords(text: str) -> tuple[str, ...]:
    """The password in a URL (`https://name:password@host`) as written, decoded, and as sent; empty if there is none.

    A name without a password counts as one.
    """
    try:
        user_info = urlsplit(text).netloc.rpartition("@")[0] if "://" in text else ""
    except ValueError:
        return ()
    if not user_info:
        return ()
    name, _, password = user_info.partition(":")
    sent = base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
    return password or name, unquote(password or name), sent


def is_loopback_url(text: str) -> bool:
    """Whether the text is the address of a server on this machine, which is of no use to anyone else."""
    try:
        host = urlsplit(text).hostname if "://" in text else None
    except ValueError:
        return False
    return is_loopback(host or "")


def _is_readable_by_others(path: Path) -> bool:
    """Whether other users may read a file; always False on Windows, where home folders are private."""
    try:
        return sys.platform != "win32" and bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError:
        return False
