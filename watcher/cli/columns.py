"""Rows of words in columns, for commands that print a short table; `rich` would cost more than they do."""

from collections.abc import Iterator, Sequence


def columns(rows: Sequence[Sequence[str]], indent: str = "") -> Iterator[str]:
    """One line a row; each column is as wide as its longest word, and the last is left as it is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = [word.ljust(width) for word, width in zip(row, widths, strict=True)]
        yield (indent + "  ".join(padded)).rstrip()


def counted(number: int, noun: str) -> str:
    """`1 rule`, `2 rules`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
