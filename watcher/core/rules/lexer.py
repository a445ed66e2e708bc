"""Splits the text of a condition into tokens, each with its position."""

import re

from msgspec import Struct

from watcher.core.rules.diagnostics import sanitize_for_terminal
from watcher.core.rules.fields import FIELD_UNITS, PROVIDER_WINDOWS, known_windows

SPLIT_RULE_HINT = "split it into several rules"
MAX_CONDITION_LENGTH = 2000

_TOKEN_PATTERN = re.compile(
    r"""(?P<space>\s+)
    |(?P<amount>\$?[0-9][0-9.]*(?:[eE][+-]?[0-9]+)?[A-Za-z_0-9.]*(?:[ ]?%)?)
    |(?P<selector>(?:\*(?=[.\[])|[A-Za-z_][A-Za-z0-9_]*)(?:\[[^\]\n]*\])?(?:\.(?:\*|[A-Za-z0-9_]+))*)
    |(?P<wrong_operator>=>|=<|<>|===|&&?|\|\|?|!(?!=)|=(?!=)|[≥≤≠])
    |(?P<operator>>=|<=|==|!=|[-+*/()<>])
    """,
    re.VERBOSE,
)
_OPERATOR_CORRECTIONS = {
    "=>": ">=", "=<": "<=", "<>": "!=", "===": "==", "&": "and", "&&": "and", "|": "or", "||": "or",
    "!": "not", "=": "==", "≥": ">=", "≤": "<=", "≠": "!=",
}  # fmt: skip
_CHARACTER_HINTS = {
    "[": "close the account with `]`",
    "%": "write a percent as `80%` and money as `$12.50`",
    "$": "write a percent as `80%` and money as `$12.50`",
    ".": "a series is written without blanks: `claude.five_hour`",
}
_DASHED_NAME = re.compile(r"[A-Za-z*][A-Za-z0-9_.]*(?:-[A-Za-z][A-Za-z0-9_.]*)+")


class ExpressionError(Exception):
    """A mistake in an expression.

    Attributes:
        message: what is wrong, one line.
        start: of the wrong part, as an offset into the text.
        end: of the wrong part; at least one past `start`.
        hint: what would be valid; empty if the message says it.
    """

    def __init__(self, message: str, start: int, end: int, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = max(end, start + 1)
        self.hint = hint


class Token(Struct, frozen=True):
    """A word or sign, and its position. Kinds: amount, selector (every word is one), operator, end."""

    kind: str
    text: str
    start: int
    end: int


def tokenize(text: str) -> list[Token]:
    """The tokens of a text; the last one has the kind `end`.

    Raises:
        ExpressionError: the text is empty or too long, or a part of it is no token.
    """
    if len(text) > MAX_CONDITION_LENGTH:
        message = f"{len(text):,} characters long; a condition holds at most {MAX_CONDITION_LENGTH:,}"
        raise ExpressionError(message, 0, 1, SPLIT_RULE_HINT)
    tokens: list[Token] = []
    offset = 0
    while offset < len(text):
        found = _TOKEN_PATTERN.match(text, offset)
        if found is None:
            character = text[offset]
            hint = _CHARACTER_HINTS.get(character, "")
            if character == "." and text[offset + 1 : offset + 2].isdigit():
                hint = "write a zero before it: `0.5`"
            raise ExpressionError(f"unexpected {quote_text(character)}", offset, offset + 1, hint)
        kind, word = found.lastgroup or "", found.group()
        if kind == "wrong_operator":
            hint = f"did you mean `{_OPERATOR_CORRECTIONS[word]}`?"
            raise ExpressionError(f"unexpected {quote_text(word)}", *found.span(), hint)
        if kind == "selector":
            _reject_dashes(text, offset)
        if kind != "space":
            tokens.append(Token(kind, word, *found.span()))
        offset = found.end()
    if not tokens:
        raise ExpressionError("there is no condition", 0, 1, "write one such as `claude.five_hour > 80%`")
    end = len(text.rstrip())
    return [*tokens, Token("end", "", end, end + 1)]


def _reject_dashes(text: str, offset: int) -> None:
    """Refuses `claude.five-hour`, which would be a difference, if it is a known word with underscores."""
    dashed = _DASHED_NAME.match(text, offset)
    if dashed is None:
        return
    name = dashed.group().replace("-", "_")
    if name.rpartition(".")[2] in (*PROVIDER_WINDOWS, *known_windows("*"), *FIELD_UNITS):
        message = f"unexpected `-` in {quote_text(dashed.group())}"
        raise ExpressionError(message, *dashed.span(), f"did you mean `{name}`?")


def quote_text(text: str) -> str:
    """The text as a message quotes it: short and on one line."""
    return f"`{sanitize_for_terminal(text, 63)}`"
