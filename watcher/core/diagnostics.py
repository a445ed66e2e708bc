"""What is wrong with a text that a person wrote, where, and what would be valid: the form of every such message.

::

    rules/mine.toml:3:17: rule "claude": claude has no window or field `five_hours`; did you mean `five_hour`?
      3 | when = "claude.five_hours > 80%"
        |                ^^^^^^^^^^

Never put a check here.
"""

from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache

from msgspec import Struct

from watcher.core.places import Place
from watcher.core.redaction import concealed

MOST = 50
"""So many are shown; a file with more has one mistake many times."""

_WIDEST = 100


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
        rule = f'rule "{visible(self.rule)}": ' if self.rule else ""
        head = f"{visible(self.path, 1000)}:{self.line}:{self.column}: {rule}{self.message}"
        if not self.source.strip():
            return head
        source, column, width = _clipped(self.source, self.column - 1, self.width)
        margin = " " * len(str(self.line))
        return f"{head}\n  {self.line} | {source}\n  {margin} | {' ' * column}{'^' * width}"


def diagnose(path: str, text: str, place: Place, message: str, *, rule: str = "") -> Diagnostic:
    """The diagnostic that points at a place in a text."""
    start = min(place.start, len(text))
    starts = _line_starts(text)
    line = bisect_right(starts, start)
    line_start = starts[line - 1]
    line_end = starts[line] - 1 if line < len(starts) else len(text)
    return Diagnostic(
        path=path,
        line=line,
        column=start - line_start + 1,
        message=message,
        rule=rule,
        source=concealed(text, line_start, text[line_start:line_end]),
        width=max(1, min(place.end, line_end) - start),
    )


@lru_cache(maxsize=2)  # one file often has many mistakes
def _line_starts(text: str) -> list[int]:
    starts = [0]
    while (end := text.find("\n", starts[-1])) >= 0:
        starts.append(end + 1)
    return starts


def listed(diagnostics: Iterable[Diagnostic]) -> str:
    """All of them as one text, in the order of the files; at most `MOST`, and then how many more there are."""
    ordered = sorted(diagnostics)
    blocks = [str(each) for each in ordered[:MOST]]
    if len(ordered) > MOST:
        blocks.append(f"... and {len(ordered) - MOST:,} more")
    return "\n".join(blocks)


def visible(text: str, longest: int = 80) -> str:
    """The text on one line, clipped, with nothing in it that could move a terminal's cursor."""
    shown = text if len(text) <= longest else text[: longest - 3] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)


def _clipped(source: str, column: int, width: int) -> tuple[str, int, int]:
    """The part of a long line around its mistake, with the caret moved along."""
    line = "".join(c if c.isprintable() else " " if c == "\t" else "?" for c in source)
    left = max(0, column - _WIDEST // 2) if len(line) > _WIDEST else 0
    right = left + _WIDEST
    before, after = "..." if left else "", "..." if right < len(line) else ""
    width = max(1, min(width, right - column))
    return before + line[left:right] + after, column - left + len(before), width
