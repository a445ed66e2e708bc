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

from watcher.core.model import Command, Finished
from watcher.paths import expand

Resolve = Callable[[str], str]
"""From the text in the config to the secret. Raises `Unavailable`."""

_INDIRECT = re.compile(r"(env|file|cmd):(.*)", re.DOTALL)
_ASK_S = 20.0  # a password manager may ask the person


class Unavailable(Exception):  # noqa: N818 - a state of the world, not a mistake of ours
    """A secret cannot be had now; the text says why and what to do, and holds no secret."""


def resolver(env: Mapping[str, str], home: Path, run: Callable[[Command], Finished]) -> Resolve:
    """A function that finds secrets in this environment."""

    def resolve(text: str) -> str:
        found = _INDIRECT.fullmatch(text)
        if found is None:
            return text
        how, what = found.groups()
        if how == "env":
            secret = _from_env(what, env)
        elif how == "file":
            secret = _from_file(expand(what, home))
        else:
            secret = _from_command(what, run)
        if not secret:
            raise Unavailable(f"{how}:{what} is empty")
        return secret

    return resolve


def file_of(text: str, home: Path) -> Path | None:
    """The file that a secret is to be read from; None where it is had elsewhere."""
    found = _INDIRECT.fullmatch(text)
    return expand(found[2], home) if found is not None and found[1] == "file" else None


def _from_env(name: str, env: Mapping[str, str]) -> str:
    if name not in env:
        raise Unavailable(f"the environment variable {name} is not set where the watcher runs")
    return env[name].strip()


def _from_file(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'not text'}") from error


def _from_command(line: str, run: Callable[[Command], Finished]) -> str:
    try:
        argv = tuple(shlex.split(line))
    except ValueError as error:
        raise Unavailable(f"cmd: cannot be split into words ({error})") from error
    if not argv:
        raise Unavailable("cmd: names no command")
    done = run(Command(argv=argv, timeout_s=_ASK_S))
    if done.exit_code != 0:
        ended = "did not end in time" if done.exit_code is None else f"ended with {done.exit_code}"
        raise Unavailable(f"the command {argv[0]} {ended}")  # its output may quote the secret
    return done.stdout.strip()


def in_address(text: str) -> tuple[str, ...]:
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


def is_literal(text: str) -> bool:
    """Whether the config holds the secret itself."""
    return _INDIRECT.fullmatch(text) is None


def is_harmless(text: str) -> bool:
    """Whether a literal is the address of a server on this machine: nothing that another person could use."""
    try:
        host = urlsplit(text).hostname if "://" in text else None
    except ValueError:
        return False
    return host in ("localhost", "::1") or (host is not None and host.startswith("127."))


def readable_by_others(path: Path) -> bool:
    """Whether anybody but the owner may read a file; always False on Windows, whose home folders are private."""
    try:
        return os.name == "posix" and bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError:
        return False
