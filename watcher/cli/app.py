"""The group of all commands, and what becomes of an error: one line, and an exit code that scripts can rely on.

Never put a command here.
"""

import errno
import os
import re
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from watcher import __version__
from watcher.cli import (
    COMMANDS,
    EXIT_CONFIG,
    EXIT_INTERRUPTED,
    EXIT_SOFTWARE,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
)
from watcher.errors import ConfigError, NoReadingsError, UsageError, WatcherError

_EXIT_CODES_BY_ERROR = {ConfigError: EXIT_CONFIG, UsageError: EXIT_USAGE, NoReadingsError: EXIT_UNAVAILABLE}
"""What an error's kind means to a script; all others are 1."""

_OUTPUT_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""Why what a program says cannot be written."""

_UNKNOWN_COMMAND_PATTERN = re.compile("No such command '([^']*)'")
ISSUES_URL = "https://github.com/ai-usage-watcher/ai-usage-watcher/issues"
EPILOG = """\b
A first alert in a minute:
  watcher init            find logins, write a commented config
  watcher check           ask once, and say what fires
  watcher notify test     does a notification reach you?
  watcher agent install   watch from now on, and at every login

\b
Every day:
  watcher status                                  what is used, until when
  watcher guard "claude < 90%" && long-job        only while there is room
  watcher snooze session --until-reset            enough said

\b
Examples: `watcher COMMAND --help`. Exit codes: `watcher help exit-codes`.
"""


class LazyGroup(click.Group):
    """A group that imports a command only when it is called, so that each pays for itself alone."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """All commands, in the table's order."""
        return list(COMMANDS)

    def get_command(self, _context: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; None where there is none."""
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, _, attribute = target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but a word that is no command is told what was probably meant."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            context.fail(describe_unknown_command(args[0], tuple(COMMANDS)))
        return super().resolve_command(context, args)

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names from the table: completing a command's name imports none of them."""
        named = [CompletionItem(name) for name in COMMANDS if name.startswith(incomplete)]
        return named if named and not incomplete.startswith("-") else super().shell_complete(context, incomplete)


def describe_unknown_command(word: str, valid_words: tuple[str, ...]) -> str:
    """What is said to a word that is no command."""
    from watcher.core.rules.diagnostics import find_close_match  # noqa: PLC0415 - only where somebody mistyped

    meant = find_close_match(word, valid_words)
    return f"no command is called `{word}`; " + (
        f"did you mean `{meant}`?" if meant else f"there are: {', '.join(valid_words)}"
    )


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EPILOG)
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,  # read by `wants_traceback`: when a defect is explained, click's context is gone
    help="Show the traceback of a defect (so does WATCHER_DEBUG=1).",
)
@click.version_option(__version__, "-V", "--version", prog_name="watcher")
def watcher() -> None:
    """Watch the quotas of AI coding tools, and tell once, at the right moment."""


def run(args: Sequence[str]) -> int:
    """Run a command line; the exit code. Whatever goes wrong is one line on stderr."""
    if os.environ.get("COLUMNS") == "0":  # as some editors and containers set it: a table of no width is empty
        del os.environ["COLUMNS"]
    try:
        code = watcher.main(list(args), prog_name="watcher", standalone_mode=False)
        if sys.stdout is not None:  # pythonw has none
            sys.stdout.flush()  # a reader that is gone shows here, where it can still be caught
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last place where a defect can become a sentence
        return 1 if _is_output_error(error) else report_error(error, args)  # 1, as click says where it notices first
    return code if isinstance(code, int) else 0


def _is_output_error(error: Exception) -> bool:
    """Whether what was to be said cannot be written; said on stderr, but of a reader that has had enough."""
    is_gone = isinstance(error, BrokenPipeError)
    if not isinstance(error, OSError) or not (is_gone or (error.filename is None and error.errno in _OUTPUT_ERRNOS)):
        return False
    # what is still buffered has nowhere to go: the interpreter must not complain while it ends
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not is_gone:
        click.echo(f"cannot write the output: {error.strerror}; make room, or send it elsewhere", err=True)
    return True


def report_error(error: Exception, args: Sequence[str]) -> int:
    """Say an error on stderr in its shortest true form; its exit code."""
    if isinstance(error, click.UsageError) and error.ctx is not None and is_missing_subcommand(error):
        click.echo(error.ctx.get_help(), err=True)
        return EXIT_USAGE
    if isinstance(error, click.ClickException):
        click.echo(describe_usage_error(error), err=True)
        return EXIT_USAGE if isinstance(error, click.UsageError) else 1
    if isinstance(error, WatcherError):
        click.echo(str(error), err=True)
        return next((code for kind, code in _EXIT_CODES_BY_ERROR.items() if isinstance(error, kind)), 1)
    if wants_traceback(args):
        traceback.print_exception(error)
    else:
        click.echo(describe_defect(error), err=True)
    return EXIT_SOFTWARE


def is_missing_subcommand(error: click.UsageError) -> bool:
    """Whether a group was called without a word: its help is what was missing. Before click 8.2 help was no error."""
    return type(error).__name__ == "NoArgsIsHelpError"


def describe_usage_error(error: click.ClickException) -> str:
    """What click found wrong with a command line, in one line, with where to read on."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "watcher"
    message = " ".join(error.format_message().split()).rstrip(".")
    word = _UNKNOWN_COMMAND_PATTERN.match(message)
    if word and context is not None and isinstance(context.command, click.Group):
        message = describe_unknown_command(word.group(1), tuple(context.command.list_commands(context)))
    return f"{path}: {message[:1].lower()}{message[1:]}; see `{path} --help`"


def wants_traceback(args: Sequence[str]) -> bool:
    """Whether the person asked for what only a developer reads."""
    return "-v" in args or "--verbose" in args or os.environ.get("WATCHER_DEBUG", "0") not in ("", "0")


def describe_defect(error: Exception) -> str:
    """A defect in one line: what, where, what to do. The error's own text is left out: it may quote a secret."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "watcher" in Path(frame.filename).parts] or list(frames)
    where = f" at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    return (
        f"watcher {__version__}: this is a defect ({type(error).__name__}{where}). Run it again with `watcher -v ...`"
        f" and report what it prints: {ISSUES_URL}"
    )
