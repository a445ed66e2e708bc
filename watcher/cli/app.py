"""The group of all commands, `watcher help`, and errors: one line each, and an exit code that scripts can rely on."""

import errno
import os
import re
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

import click
from click.exceptions import NoArgsIsHelpError
from click.shell_completion import CompletionItem

from watcher import __version__
from watcher.cli import (
    COMMANDS,
    EXIT_CODES,
    EXIT_CONFIG,
    EXIT_INTERRUPTED,
    EXIT_SOFTWARE,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
)
from watcher.cli.output import echo_error, format_columns, get_output_width
from watcher.errors import ConfigError, NoReadingsError, TooNewError, UsageError, WatcherError, find_place

_EXIT_CODES_BY_ERROR = {
    ConfigError: EXIT_CONFIG,
    UsageError: EXIT_USAGE,
    NoReadingsError: EXIT_UNAVAILABLE,
    TooNewError: EXIT_CONFIG,
}
"""Exit codes by class of error; all others are 1."""

_CLOSED_PIPE_ERRNO = errno.EINVAL if sys.platform == "win32" else errno.EPIPE
_OUTPUT_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""Reasons why the output cannot be written."""

_UNKNOWN_COMMAND_PATTERN = re.compile("No such command '([^']*)'")
ISSUES_URL = "https://github.com/ai-usage-watcher/ai-usage-watcher/issues"
EPILOG = """\b
A first alert in a minute:
  watcher init            find logins, write a commented config
  watcher check           poll once, and say what fires
  watcher notify test     does a notification reach you?
  watcher agent install   watch from now on, and at every login

\b
Every day:
  watcher status                                  what is used, until when
  watcher guard "claude < 90%" && long-job        only while there is room
  watcher snooze session --until-reset            no more messages

\b
Examples: `watcher COMMAND --help`. Exit codes: `watcher help exit-codes`.
"""


class LazyGroup(click.Group):
    """A group that imports a command only when it is called."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """All commands, in the table's order."""
        return list(COMMANDS)

    def get_command(self, _context: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in COMMANDS.items()])

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names from the table: completing a command's name imports no command."""
        named = [CompletionItem(name) for name in COMMANDS if name.startswith(incomplete)]
        return named if named and not incomplete.startswith("-") else super().shell_complete(context, incomplete)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EPILOG)
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,  # read by `report_error`: after an error, click's context is gone
    help="Show the traceback of a defect.",
)
@click.version_option(__version__, "-V", "--version", prog_name="watcher")
def watcher() -> None:
    """Watch the quotas of AI coding tools, and notify once, at the right moment."""


MAX_WIDTH = 500
"""Columns of the output where COLUMNS says more."""


def run(args: Sequence[str]) -> int:
    """Run a command line and return its exit code. An error is one line on stderr."""
    columns = os.environ.get("COLUMNS", "")
    if columns == "0":  # some editors and containers set it; a table of no width is empty
        del os.environ["COLUMNS"]
    elif columns.isdecimal() and (len(columns) > len(str(MAX_WIDTH)) or int(columns) > MAX_WIDTH):
        os.environ["COLUMNS"] = str(MAX_WIDTH)
    try:
        code = watcher.main(list(args), prog_name="watcher", standalone_mode=False)
        if sys.stdout is not None:  # pythonw has none
            sys.stdout.flush()  # an error shows here, where it can still be caught
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last place where a defect can become a sentence
        return 1 if is_output_error(error) else report_error(error, args)  # 1, as click does where it notices first
    return code if isinstance(code, int) else 0


def is_output_error(error: Exception) -> bool:
    """Whether the output cannot be written; reports it on stderr, unless the reader closed the pipe."""
    if not isinstance(error, OSError) or error.filename is not None:
        return False
    is_closed = error.errno == _CLOSED_PIPE_ERRNO or isinstance(error, BrokenPipeError)
    if not is_closed and error.errno not in _OUTPUT_ERRNOS:
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that nothing that is still buffered fails again
    if not is_closed:
        echo_error(f"cannot write the output: {error.strerror}; make room, or send it elsewhere")
    return True


def report_error(error: Exception, args: Sequence[str]) -> int:
    """Print an error on stderr in one line and return its exit code."""
    if isinstance(error, NoArgsIsHelpError):
        click.echo(error.message, err=True)
        return EXIT_USAGE
    if isinstance(error, click.ClickException):
        echo_error(describe_usage_error(error))
        return EXIT_USAGE if isinstance(error, click.UsageError) else 1
    if isinstance(error, WatcherError):
        echo_error(str(error))
        return next((code for kind, code in _EXIT_CODES_BY_ERROR.items() if isinstance(error, kind)), 1)
    if "-v" in args or "--verbose" in args:
        traceback.print_exception(error)
    else:
        echo_error(describe_defect(error))
    return EXIT_SOFTWARE


def describe_usage_error(error: click.ClickException) -> str:
    """What click found wrong with a command line, in one line, with the command that explains it."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "watcher"
    message = " ".join(error.format_message().split()).rstrip(".")
    unknown = _UNKNOWN_COMMAND_PATTERN.match(message)
    if unknown and context is not None and isinstance(context.command, click.Group):
        from watcher.core.rules.diagnostics import suggest_word  # noqa: PLC0415 - only after a typo

        names = tuple(context.command.list_commands(context))
        hint = suggest_word(unknown.group(1), names, f"there are: {', '.join(names)}")
        message = f"no command is called `{unknown.group(1)}`; {hint}"
    return f"{path}: {message[:1].lower()}{message[1:]}; see `{path} --help`"


def describe_defect(error: Exception) -> str:
    """A defect in one line: what, where, what to do. The error's own text is left out: it may contain a secret."""
    return (
        f"watcher {__version__}: this is a defect ({type(error).__name__} at {find_place(error)}). Run it again with"
        f" `watcher -v ...` and report what it prints: {ISSUES_URL}"
    )


# --- `watcher help` --------------------------------------------------------------------------------------------------


ENVIRONMENT_VARIABLES = (
    ("WATCHER_CONFIG_DIR", "the folder of config.toml and rules/"),
    ("WATCHER_STATE_DIR", "the folder of the database, the log and the lock"),
    ("NO_COLOR", "any value: no colour"),
    ("COLUMNS", "how wide the output is, where the terminal does not say"),
)


@click.command("help")
@click.argument("words", nargs=-1, metavar="[COMMAND ... | exit-codes | environment]")
@click.pass_context
def help_command(context: click.Context, words: tuple[str, ...]) -> None:
    """Explain a command or a topic.

    \b
    watcher help guard
    watcher help rules check
    watcher help exit-codes
    """
    if words == ("exit-codes",):
        _print_table([(str(code), meaning) for code, meaning in EXIT_CODES])
    elif words == ("environment",):
        _print_table(ENVIRONMENT_VARIABLES)
    else:
        context.exit(run([*words, "--help"]))


def _print_table(rows: Sequence[tuple[str, str]]) -> None:
    click.echo("\n".join(format_columns(rows, width=get_output_width())))
