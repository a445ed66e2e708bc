"""Rows of words in columns, for commands that print a short table; `rich` would cost more than they do."""

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence

from watcher import notifiers
from watcher.core.routing import messages
from watcher.environment import Environment
from watcher.notifiers import NOTIFIERS, Channel

_UNLIMITED_WIDTH = 10_000
_MIN_SENTENCE_WIDTH = 24  # columns in which a sentence can still be read


def get_output_width() -> int:
    """The columns of the terminal; where a program or a file reads, as many as are wanted."""
    return shutil.get_terminal_size((_UNLIMITED_WIDTH, 24)).columns


def format_columns(rows: Sequence[Sequence[str]], indent: str = "", *, width: int = _UNLIMITED_WIDTH) -> Iterator[str]:
    """One line a row; each column is as wide as its longest word.

    Where a row is wider than `width`, its last column goes on below itself, or below the row where that is too narrow.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    before = len(indent) + sum(each + 2 for each in widths[:-1])
    hanging = before if width - before >= _MIN_SENTENCE_WIDTH else len(indent) + 4
    for row in rows:
        padded = [word.ljust(each) for word, each in zip(row, widths, strict=True)]
        line = (indent + "  ".join(padded)).rstrip()
        yield from [line] if len(line) <= width else wrap_line(line, width, indent=hanging)


def wrap_line(line: str, width: int, *, indent: int) -> list[str]:
    """A line that may be too long, broken at its words; what follows is indented. A word is never broken."""
    return textwrap.wrap(
        line,
        width,
        subsequent_indent=" " * indent,
        drop_whitespace=True,
        break_long_words=False,
        break_on_hyphens=False,
    )


def format_count(number: int, noun: str) -> str:
    """`1 rule`, `2 rules`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def echo(line: str) -> None:
    """Print a line, with `?` for every sign that the terminal does not have."""
    encoding = sys.stdout.encoding or "ascii"
    import click  # noqa: PLC0415 - the daemon prints errors without it

    click.echo(line.encode(encoding, "replace").decode(encoding))


# --- What several commands say


def format_already_running(process_id: int | None) -> str:
    """The word to a second instance."""
    who = f" (process {process_id})" if process_id else ""
    return f"a watcher is running already{who}: `watcher status` shows what it knows"


def print_error(line: str) -> None:
    """One line on stderr, where there is one: under `pythonw` there is not."""
    if sys.stderr is not None:
        sys.stderr.write(f"{line}\n")


def notify_desktop(title: str, body: str, environment: Environment) -> None:
    """One notification outside of the outbox, for what happens before there is one; best effort."""
    message = messages.compose_notice("start", title, body, environment.clock.now())
    desktop = Channel(name="desktop", type="desktop", settings=NOTIFIERS["desktop"].settings_class())
    notifiers.send_message(message, desktop, send=environment.send, run=environment.run)
