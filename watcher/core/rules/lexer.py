"""A rule's text to its words: numbers, durations, selectors, operators, each with its place.

Never put grammar here: which word may follow which is the parser's to know.
"""

import math
import re

from msgspec import Struct

from watcher.core.rules import fields
from watcher.core.rules.ast import Literal
from watcher.core.rules.diagnostics import find_close_match
from watcher.core.rules.fields import FIELD_UNITS, PROVIDER_WINDOWS, WINDOW_KINDS
from watcher.core.rules.selector import Selector
from watcher.core.rules.units import MAX_DURATION, MAX_NUMBER, Unit, parse_duration_s, parse_number

SPLIT_RULE_HINT = "split it into several rules"
MAX_CONDITION_LENGTH = 2000

_TOKEN_PATTERN = re.compile(
    r"""(?P<space>\s+)
    |(?P<amount>\$?[0-9][0-9.]*(?:[eE][+-]?[0-9]+)?[A-Za-z_0-9.]*(?:[ ]?%)?)
    |(?P<selector>(?:\*(?=[.\[])|[A-Za-z_][A-Za-z0-9_]*)(?:\[[^\]\n]*\])?(?:\.(?:\*|[A-Za-z0-9_]+))*)
    |(?P<strange>=>|=<|<>|===|&&?|\|\|?|!(?!=)|=(?!=)|[≥≤≠])
    |(?P<operator>>=|<=|==|!=|[-+*/()<>])
    """,
    re.VERBOSE,
)
_OPERATOR_CORRECTIONS = {
    "=>": ">=", "=<": "<=", "<>": "!=", "===": "==", "&": "and", "&&": "and", "|": "or", "||": "or",
    "!": "not", "=": "==", "≥": ">=", "≤": "<=", "≠": "!=",
}  # fmt: skip
_DASHED_NAME = re.compile(r"[A-Za-z*][A-Za-z0-9_.]*(?:-[A-Za-z][A-Za-z0-9_.]*)+")
_SELECTOR_PATTERN = re.compile(r"([^.\[]+)(?:\[([^\]]*)\])?((?:\..*)?)")


class ExpressionError(Exception):
    """Something in an expression is wrong.

    Attributes:
        message: what is wrong, one line.
        start: of the offending part, as an offset into the text.
        end: of the offending part; at least one past `start`.
        hint: what would be valid; empty where the message says it.
    """

    def __init__(self, message: str, start: int, end: int, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = max(end, start + 1)
        self.hint = hint


class Token(Struct, frozen=True):
    """A word, and where it stands. Kinds: amount, selector (every word is one), operator, end."""

    kind: str
    text: str
    start: int
    end: int


def tokenize(text: str) -> list[Token]:
    """The words of a text, and last one of kind `end`.

    Raises:
        ExpressionError: something in it is no word, or it is too long, or empty.
    """
    if len(text) > MAX_CONDITION_LENGTH:
        message = f"{len(text):,} characters long; a condition holds at most {MAX_CONDITION_LENGTH:,}"
        raise ExpressionError(message, 0, 1, SPLIT_RULE_HINT)
    tokens, at = [], 0
    while at < len(text):
        found = _TOKEN_PATTERN.match(text, at)
        if found is None:
            raise ExpressionError(f"unexpected {quote_text(text[at])}", at, at + 1, _suggest_fix(text, at))
        kind = found.lastgroup or ""
        if kind == "strange":
            meant = _OPERATOR_CORRECTIONS[found.group()]
            raise ExpressionError(
                f"unexpected {quote_text(found.group())}", at, found.end(), f"did you mean `{meant}`?"
            )
        if kind == "selector":
            _reject_dashes(text, found)
        if kind != "space":
            tokens.append(Token(kind, found.group(), at, found.end()))
        at = found.end()
    if not tokens:
        raise ExpressionError("there is no condition", 0, 1, "write one such as `claude.five_hour > 80%`")
    tokens.append(Token("end", "", len(text.rstrip()), len(text.rstrip()) + 1))
    return tokens


def _suggest_fix(text: str, offset: int) -> str:
    """What was probably meant by a character that begins no word."""
    match text[offset]:
        case "[":
            return "close the account with `]`"
        case "%" | "$":
            return "write a percent as `80%` and money as `$12.50`"
        case "." if text[offset + 1 : offset + 2].isdigit():
            return "write a zero before it: `0.5`"
        case ".":
            return "a series is written without blanks: `claude.five_hour`"
        case _:
            return ""


def _reject_dashes(text: str, match: re.Match[str]) -> None:
    """Refuses `claude.five-hour`, which would read as a difference, where underscores make a known word of it."""
    dashed = _DASHED_NAME.match(text, match.start())
    if dashed is None:
        return
    meant = dashed.group().replace("-", "_")
    last = meant.rpartition(".")[2]
    if last in (*PROVIDER_WINDOWS, *fields.known_windows("*"), *FIELD_UNITS):
        raise ExpressionError(
            f"unexpected `-` in {quote_text(dashed.group())}", *dashed.span(), f"did you mean `{meant}`?"
        )


def parse_literal_token(token: Token) -> Literal:
    """The value that a token of kind `amount` spells.

    Raises:
        ExpressionError: it is no value, or beyond all bounds.
    """
    text = token.text.replace(" ", "")
    if text.endswith("%"):
        unit, worth = Unit.PERCENT, parse_number(text[:-1])
    elif text.startswith("$"):
        unit, worth = Unit.MONEY, parse_number(text[1:])
    else:
        unit, worth = Unit.NUMBER, parse_number(text)
        if worth is None:
            unit, worth = Unit.DURATION, parse_duration_s(text)
    if worth is None:
        hint = "valid: `80%`, `45m`, `2h`, `7d`, `1h30m`, `$12.50` or `50`"
        raise ExpressionError(f"{quote_text(text)} is not a value", token.start, token.end, hint)
    if unit is Unit.DURATION and worth > MAX_DURATION.total_seconds():
        raise ExpressionError(f"{quote_text(text)} is longer than ten years", token.start, token.end)
    if not math.isfinite(worth) or worth > MAX_NUMBER:
        raise ExpressionError(f"{quote_text(text)} is too large", token.start, token.end, f"at most {MAX_NUMBER:.0e}")
    return Literal(text, worth, unit)


def parse_selector_token(token: Token) -> tuple[Selector, str]:
    """The selector that a token spells, and the field after it; empty where it names none.

    Raises:
        ExpressionError: a word in it is not known.
    """
    found = _SELECTOR_PATTERN.fullmatch(token.text)
    if found is None:
        raise ExpressionError(f"{quote_text(token.text)} is not a series", token.start, token.end)
    provider, account, rest = found.groups()
    _check_provider(provider, token)
    if account is not None and not account.strip():
        raise ExpressionError("the account is empty", token.start, token.end, f"leave it out for all: `{provider}`")
    words = rest.split(".")[1:]
    start = token.end - len(rest) + 1
    window, field = "", ""
    match words:
        case []:
            pass
        case [word] if word in FIELD_UNITS:
            field = word
        case [word]:
            window = word
        case [window, field]:
            pass
        case _:
            hint = "write provider.window.field, as in `claude.five_hour.resets_in`"
            raise ExpressionError(f"{quote_text(token.text)} has too many parts", token.start, token.end, hint)
    if window:
        _check_window(provider, window, start)
    if field and field not in FIELD_UNITS:
        meant = find_close_match(field, tuple(FIELD_UNITS))
        hint = f"did you mean `{meant}`?" if meant else f"valid: {', '.join(FIELD_UNITS)}"
        raise ExpressionError(f"unknown field {quote_text(field)}", token.end - len(field), token.end, hint)
    return Selector(provider, account or "", window), field


def _check_provider(provider: str, token: Token) -> None:
    if provider == "*" or provider in PROVIDER_WINDOWS:
        return
    alone = token.text == provider
    meant = find_close_match(provider, (*PROVIDER_WINDOWS, *(FIELD_UNITS if alone else ())))
    hint = f"did you mean `{meant}`?" if meant else f"valid: {', '.join(PROVIDER_WINDOWS)}"
    if provider.lower() in ("and", "or", "not"):
        hint = f"write `{provider.lower()}` in lower case"
    what = "unknown word" if alone else "unknown provider"
    raise ExpressionError(f"{what} {quote_text(provider)}", token.start, token.start + len(provider), hint)


def _check_window(provider: str, window: str, start: int) -> None:
    """Refuses what cannot be a window of that provider, and what is one slip away from a word that is known."""
    known = fields.known_windows(provider)
    if window == "*" or window in WINDOW_KINDS or window in known:
        return
    words = (*known, *WINDOW_KINDS, *FIELD_UNITS)
    possible = fields.is_window(provider, window)
    whose = "no provider has a window" if provider == "*" else f"{provider} has no window"
    # Where the API may name new windows, only an obvious slip is refused, and a new number is none: opus, opus_4.
    slack = (2 if len(window) > 8 else 1) if possible else None  # noqa: PLR2004 - longer words gather more slips
    meant = find_close_match(window, words, slack)
    if possible and (meant is None or _extract_digits(meant) != _extract_digits(window)):
        return
    hint = f"did you mean `{meant}`?" if meant else f"valid: {', '.join(known or WINDOW_KINDS)}"
    raise ExpressionError(f"{whose} or field {quote_text(window)}", start, start + len(window), hint)


def _extract_digits(word: str) -> str:
    return "".join(character for character in word if character.isdigit())


def quote_text(text: str) -> str:
    """The text as a message quotes it: short, on one line, harmless on a terminal."""
    longest = 60
    shown = text if len(text) <= longest else text[:longest] + "..."
    return f"`{''.join(c if c.isprintable() else c.encode('unicode_escape').decode('ascii') for c in shown)}`"
