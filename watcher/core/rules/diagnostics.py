"""Reports mistakes in TOML files: what is wrong, where, and what would be valid.

::

    rules/mine.toml:3:17: rule "claude": claude has no window or field `five_hours`; did you mean `five_hour`?
      3 | when = "claude.five_hours > 80%"
        |                ^^^^^^^^^^
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache

from msgspec import Struct

from watcher.core.redaction import redact_toml_line
from watcher.core.rules.toml_positions import TextSpan

MAX_DIAGNOSTICS = 50
"""The most that are shown; a file with more repeats one mistake."""

_MAX_WIDTH = 100
_MIN_WORD_LENGTH = 3  # shorter words match too much


class Diagnostic(Struct, frozen=True, order=True):
    """One mistake. Line and column count from 1; column and width in characters."""

    path: str
    line: int
    column: int
    message: str
    rule: str = ""  # the rule's name; empty outside of rules
    source: str = ""  # the line it is in
    width: int = 1

    def __str__(self) -> str:
        rule = f'rule "{sanitize_for_terminal(self.rule)}": ' if self.rule else ""
        head = f"{sanitize_for_terminal(self.path, 1000)}:{self.line}:{self.column}: {rule}{self.message}"
        if not self.source.strip():
            return head
        source, column, width = _clip_line(self.source, self.column - 1, self.width)
        margin = " " * len(str(self.line))
        return f"{head}\n  {self.line} | {source}\n  {margin} | {' ' * column}{'^' * width}"


def create_diagnostic(path: str, text: str, span: TextSpan, message: str, *, rule: str = "") -> Diagnostic:
    """The diagnostic that points at a place in a text."""
    start = min(span.start, len(text))
    starts = _find_line_starts(text)
    line = bisect_right(starts, start)
    line_start = starts[line - 1]
    line_end = starts[line] - 1 if line < len(starts) else len(text)
    return Diagnostic(
        path=path,
        line=line,
        column=start - line_start + 1,
        message=message,
        rule=rule,
        source=redact_toml_line(text, line_start, text[line_start:line_end]),
        width=max(1, min(span.end, line_end) - start),
    )


@lru_cache(maxsize=2)  # one file often has many mistakes
def _find_line_starts(text: str) -> list[int]:
    return [0, *(found.end() for found in re.finditer("\n", text))]


def format_diagnostics(diagnostics: Iterable[Diagnostic]) -> str:
    """All of them as one text, sorted by place; of more than `MAX_DIAGNOSTICS`, the first, and how many follow."""
    ordered = sorted(diagnostics)
    blocks = [str(each) for each in ordered[:MAX_DIAGNOSTICS]]
    if len(ordered) > MAX_DIAGNOSTICS:
        blocks.append(f"... and {len(ordered) - MAX_DIAGNOSTICS:,} more")
    return "\n".join(blocks)


def sanitize_for_terminal(text: str, max_length: int = 80) -> str:
    """The text on one line, clipped, with nothing in it that could move a terminal's cursor."""
    shown = text if len(text) <= max_length else text[: max_length - 3] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)


def _clip_line(source: str, column: int, width: int) -> tuple[str, int, int]:
    """The part of a long line around its mistake, with the caret moved along."""
    line = "".join(c if c.isprintable() else " " if c == "\t" else "?" for c in source)
    left = max(0, column - _MAX_WIDTH // 2) if len(line) > _MAX_WIDTH else 0
    right = left + _MAX_WIDTH
    before, after = "..." if left else "", "..." if right < len(line) else ""
    width = max(1, min(width, right - column))
    return before + line[left:right] + after, column - left + len(before), width


def suggest_word(word: str, valid: Sequence[str]) -> str:
    """A hint for an unknown word: "did you mean `weekly`?", or all that is valid."""
    close = find_close_match(word, valid)
    return f"did you mean `{close}`?" if close else f"valid: {', '.join(valid)}"


def find_close_match(word: str, candidates: Sequence[str], max_typos: int | None = None) -> str | None:
    """The candidate that was probably meant; None if none is close.

    Args:
        word: as it was written.
        candidates: what would be valid, likelier first.
        max_typos: how many typos (a wrong, missing, extra or swapped character) are allowed; None: a third of the
            word's length, or any number of missing characters at its end.
    """
    word = word.lower()
    if max_typos is None and len(word) >= _MIN_WORD_LENGTH:
        completed = next((each for each in candidates if each.startswith(word)), None)
        if completed is not None:
            return completed
    best, fewest = None, len(word) + 1
    for each in candidates:
        shorter = min(len(word), len(each))
        allowed = max(1, shorter // 3) if shorter >= _MIN_WORD_LENGTH else 0
        allowed = allowed if max_typos is None else max_typos
        if abs(len(each) - len(word)) <= allowed:
            typos = _count_typos(word, each.lower())
            if typos <= allowed and typos < fewest:
                best, fewest = each, typos
    return best


def _count_typos(left: str, right: str) -> int:
    """The edit distance of two words, with a swap of neighbours as one edit."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        last, row, older = row, [i], before
        for j, b in enumerate(right, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        before = last
    return row[-1]
