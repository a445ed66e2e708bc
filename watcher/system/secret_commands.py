"""Secrets that a command prints: `cmd:ARGV` in the config and in a provider's file."""

import shlex
from collections.abc import Callable

from watcher.core.model import Command, CommandResult

TIMEOUT_S = 20.0
"""A password manager may ask the user."""


class SecretUnavailableError(Exception):
    """A secret is not available now; the text says why and what to do, and holds no secret."""


def read_secret(line: str, run: Callable[[Command], CommandResult]) -> str:
    """What the command after `cmd:` prints, stripped.

    Raises:
        SecretUnavailableError: it failed; nothing of its output, which may hold the secret, is in the text.
    """
    try:
        argv = tuple(shlex.split(line))
    except ValueError as error:
        raise SecretUnavailableError(f"cmd: cannot be split into words ({error})") from None
    if not argv:
        raise SecretUnavailableError("cmd: names no command")
    result = run(Command(argv=argv, timeout_s=TIMEOUT_S))
    if result.timed_out:
        raise SecretUnavailableError(f"the command {argv[0]} did not end in time: run it by hand")
    if result.exit_code != 0:
        ended = "cannot be started" if result.exit_code is None else f"ended with {result.exit_code}"
        raise SecretUnavailableError(f"the command {argv[0]} {ended}: run it by hand")
    return result.stdout.strip()
