"""What commands print with: lines of limited width, columns, TOML."""

import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

_UNLIMITED_WIDTH = 10_000
_MIN_SENTENCE_WIDTH = 24  # columns in which a sentence can still be read
_MULTILINE_ARRAY_PATTERN = re.compile(r"^([^\n=]+ = )\[\n((?:    [^\n]*,\n)+)\]$", re.MULTILINE)
_MAX_ARRAY_LINE_LENGTH = 100


def get_output_width() -> int:
    """The columns of the terminal; unlimited where a program or a file reads."""
    import shutil  # noqa: PLC0415 - three kinds of compression, which many commands do not need

    return shutil.get_terminal_size((_UNLIMITED_WIDTH, 24)).columns


def echo(line: str) -> None:
    """Print a line, with `?` for every character that the terminal does not have."""
    encoding = sys.stdout.encoding or "ascii"
    click.echo(line.encode(encoding, "replace").decode(encoding))


def echo_wrapped(text: str, *, err: bool = False) -> None:
    """Print a line, broken at its words where the terminal ends."""
    is_unlimited = err and not (sys.stderr is not None and sys.stderr.isatty())  # a program or a log gets whole lines
    width = _UNLIMITED_WIDTH if is_unlimited else get_output_width()
    for line in wrap_line(text, width, indent=len(text) - len(text.lstrip()) + 4):
        click.echo(line, err=err)


def echo_error(text: str) -> None:
    """Print an error on stderr: sentences as `echo_wrapped` does, and the quoted lines of a file as they are."""
    for line in text.split("\n"):
        if not line or line.startswith(" "):
            click.echo(line, err=True)
        else:
            echo_wrapped(line, err=True)


def wrap_line(line: str, width: int, *, indent: int) -> list[str]:
    """A line that may be too long, broken at its words; what follows is indented. A word is never broken."""
    return textwrap.wrap(
        line, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )  # fmt: skip


def format_columns(rows: Sequence[Sequence[str]], indent: str = "", *, width: int = _UNLIMITED_WIDTH) -> Iterator[str]:
    """One line a row; each column is as wide as its longest cell.

    Where a row is wider than `width`, its last column goes on below itself, or below the row where that is too narrow.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    before = len(indent) + sum(each + 2 for each in widths[:-1])
    hanging = before if width - before >= _MIN_SENTENCE_WIDTH else len(indent) + 4
    for row in rows:
        padded = [cell.ljust(each) for cell, each in zip(row, widths, strict=True)]
        line = (indent + "  ".join(padded)).rstrip()
        yield from [line] if len(line) <= width else wrap_line(line, width, indent=hanging)


def format_count(number: int, noun: str) -> str:
    """`1 rule`, `2 rules`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_toml(document: Mapping[str, Any]) -> str:
    """TOML as the user would write it: `tomli_w` gives each item of a list a line; here a short list is one line."""
    import tomli_w  # noqa: PLC0415 - only where something is written

    return _MULTILINE_ARRAY_PATTERN.sub(_join_array, tomli_w.dumps(document))


def _join_array(array: re.Match[str]) -> str:
    items = [line.strip().removesuffix(",") for line in array[2].splitlines()]
    line = f"{array[1]}[{', '.join(items)}]"
    return line if len(line) <= _MAX_ARRAY_LINE_LENGTH else array[0]
