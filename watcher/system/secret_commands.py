"""Secrets that a command prints: `cmd:ARGV` in the config and in a provider's file."""

import shlex
from collections.abc import Callable

from watcher.core.model import Command, CommandResult

TIMEOUT_S = 20.0
"""A password manager may ask the user."""


class CommandFailedError(Exception):
    """A command failed; the text has nothing of its output, which may contain the secret."""


def split_command_line(line: str) -> tuple[str, ...]:
    """The arguments in the part after `cmd:`. Raises `ValueError` if there are none."""
    try:
        argv = tuple(shlex.split(line))
    except ValueError as error:
        raise ValueError(f"cmd: cannot be split into words ({error})") from None
    if not argv:
        raise ValueError("cmd: names no command")
    return argv


def read_secret(argv: tuple[str, ...], run: Callable[[Command], CommandResult]) -> str:
    """The output of the command, stripped. Raises `CommandFailedError`."""
    result = run(Command(argv=argv, timeout_s=TIMEOUT_S))
    if result.exit_code != 0:
        ended = "did not end in time" if result.timed_out else f"ended with {result.exit_code}"
        if result.exit_code is None and not result.timed_out:
            ended = "cannot be started"
        raise CommandFailedError(f"the command {argv[0]} {ended}")
    return result.stdout.strip()
