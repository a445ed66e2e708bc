"""The rule language: text to a checked tree. Small enough to read whole, and every mistake points at its place.

::

    condition  = all { "or" all }
    all        = one { "and" one }
    one        = "not" one | comparison
    comparison = sum [ ( ">" | ">=" | "<" | "<=" | "==" | "!=" ) sum ]
    sum        = product { ( "+" | "-" ) product }
    product    = factor { ( "*" | "/" ) factor }
    factor     = "-" factor | "(" condition ")" | literal | "level" | field | selector
    literal    = 80% | 45m | 1h30m | $12.50 | 50 | true | false
    selector   = provider [ "[" account "]" ] [ "." window ] [ "." field ]        provider and window may be "*"

Units are checked while reading, so a tree that exists has a meaning. Never put IO or a reading here.
"""

import math
import re
from collections.abc import Callable
from typing import NoReturn

from msgspec import Struct

from watcher.core import vocabulary
from watcher.core.tree import (
    COUNTED,
    And,
    Arithmetic,
    Comparison,
    Expression,
    Literal,
    Measure,
    Negative,
    Not,
    Or,
    Selector,
    Value,
    comparisons,
    evaluate,
    is_constant,
    measures,
)
from watcher.core.units import LARGEST, LONGEST, Unit, common, duration_s, number, scaled
from watcher.core.vocabulary import FIELDS, KINDS, PROVIDERS, near

__all__ = [
    "Expression",
    "ExpressionError",
    "Literal",
    "Selector",
    "Value",
    "evaluate",
    "parse",
    "parse_clear",
    "parse_literal",
    "parse_selector",
    "subject_of",
]

LONGEST_TEXT = 2000
DEEPEST = 40

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<amount>\$?[0-9][0-9.]*(?:[eE][+-]?[0-9]+)?[A-Za-z_0-9.]*(?:[ ]?%)?)
    |(?P<selector>(?:\*(?=[.\[])|[A-Za-z_][A-Za-z0-9_]*)(?:\[[^\]\n]*\])?(?:\.(?:\*|[A-Za-z0-9_]+))*)
    |(?P<strange>=>|=<|<>|===|&&?|\|\|?|!(?!=)|=(?!=)|[≥≤≠])
    |(?P<operator>>=|<=|==|!=|[-+*/()<>])
    """,
    re.VERBOSE,
)
_COMPARING = (">", ">=", "<", "<=", "==", "!=")
_MEANT = {
    "=>": ">=", "=<": "<=", "<>": "!=", "===": "==", "&": "and", "&&": "and", "|": "or", "||": "or",
    "!": "not", "=": "==", "≥": ">=", "≤": "<=", "≠": "!=",
}  # fmt: skip
_DASHED = re.compile(r"[A-Za-z*][A-Za-z0-9_.]*(?:-[A-Za-z][A-Za-z0-9_.]*)+")
_SELECTOR = re.compile(r"([^.\[]+)(?:\[([^\]]*)\])?((?:\..*)?)")


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


class _Token(Struct, frozen=True):
    kind: str
    text: str
    start: int
    end: int


class _Part(Struct, frozen=True):
    """A node that was read, with what is only needed while reading."""

    node: Expression
    unit: Unit
    start: int
    end: int
    depth: int = 1


def parse(text: str, *, level: Literal | None = None, subject: Selector | None = None) -> Expression:
    """The condition that the text states.

    Args:
        text: one condition, as in a rule's `when`.
        level: what the word `level` stands for; None: the word is an error.
        subject: whose fields the bare ones are; None: the first selector in the text.

    Raises:
        ExpressionError: with the place, and what would be valid.
    """
    parser = _Parser(text, level, subject)
    return parser.whole().node


def parse_clear(text: str, when: Expression, *, level: Literal | None = None) -> Expression:
    """The condition of a rule's `clear`: a whole one, or a bare comparison such as `< 70%`.

    A bare comparison is about the measured side of the first comparison in `when`.

    Raises:
        ExpressionError: with the place, and what would be valid.
    """
    parser = _Parser(text, level, subject_of(when))
    if parser.next.text not in _COMPARING:
        return parser.whole().node
    first = next(comparisons(when), None)
    if first is None:
        raise ExpressionError(
            "`when` compares nothing that this could be about", 0, len(text), "write a whole condition"
        )
    measured, unit = (first.right if is_constant(first.left) else first.left), first.unit
    return parser.whole(_Part(measured, unit, 0, 0)).node


def parse_literal(text: str) -> Literal:
    """One literal, as in a rule's `levels`.

    Raises:
        ExpressionError: it is none, or more than one.
    """
    parser = _Parser(text, None, None)
    token = parser.take()
    negative = token.text == "-"
    token = parser.take() if negative else token
    if token.kind != "amount" or parser.next.kind != "end":
        raise ExpressionError(f"{_shown(text)} is not one value", 0, len(text), "valid: `80%`, `2h`, `$5` or `50`")
    literal = _literal(token)
    return Literal("-" + literal.text, -literal.worth, literal.unit) if negative else literal


def parse_selector(text: str) -> tuple[Selector, str]:
    """A selector by itself, and the field after it, empty where none is named: `claude[me].five_hour`.

    Raises:
        ExpressionError: it is none, or names something unknown.
    """
    parser = _Parser(text, None, None)
    token = parser.take()
    if token.kind != "selector" or parser.next.kind != "end" or token.text in FIELDS:
        raise ExpressionError(f"{_shown(text)} is not a series", 0, len(text), "valid: such as `claude.five_hour`")
    return _selector(token)


def subject_of(expression: Expression) -> Selector:
    """The selector that the rule is about: the first in the text. Every condition has one."""
    return next(measures(expression)).selector


class _Parser:
    """Reads one text, left to right, with one token of foresight."""

    def __init__(self, text: str, level: Literal | None, subject: Selector | None) -> None:
        self.text = text
        self.level = level
        self.tokens = _tokens(text)
        self.at = 0
        self.open = 0
        self.subject = subject or self._first_selector()

    @property
    def next(self) -> _Token:
        return self.tokens[self.at]

    def take(self) -> _Token:
        token = self.tokens[self.at]
        self.at = min(self.at + 1, len(self.tokens) - 1)
        return token

    def whole(self, measured: _Part | None = None) -> _Part:
        part = self.condition() if measured is None else self._compared(measured)
        left_over = self.next
        if left_over.kind != "end":
            hint = "valid here: `and`, `or`, a comparison, or the end"
            if left_over.text.lower() in ("and", "or", "not"):
                hint = f"write `{left_over.text.lower()}` in lower case"
            elif left_over.text == ")":
                hint = "there is no `(` that it closes"
            self.wrong(f"unexpected {_shown(left_over.text)}", left_over, hint)
        self.must_be_true_or_false(part)
        if is_constant(part.node):
            raise ExpressionError(
                "this is the same for all readings", part.start, part.end,
                "name a series, as in `claude.five_hour > 80%`",
            )  # fmt: skip
        return part

    def condition(self) -> _Part:
        return self._joined("or", self._all, Or)

    def _all(self) -> _Part:
        return self._joined("and", self._one, And)

    def _joined(self, word: str, read: Callable[[], _Part], join: type[And] | type[Or]) -> _Part:
        parts = [read()]
        while self.next.text == word:
            self.must_be_true_or_false(parts[-1])
            self.take()
            parts.append(read())
            self.must_be_true_or_false(parts[-1])
        if len(parts) == 1:
            return parts[0]
        node = join(tuple(part.node for part in parts))
        return self.built(node, Unit.BOOLEAN, *parts)

    def _one(self) -> _Part:
        if self.next.text != "not":
            return self._compared(self._sum())
        token = self.take()
        self.deeper(token)
        operand = self._one()
        self.open -= 1
        self.must_be_true_or_false(operand)
        part = self.built(Not(operand.node), Unit.BOOLEAN, operand)
        return _Part(part.node, part.unit, token.start, part.end, part.depth)

    def _compared(self, left: _Part) -> _Part:
        if self.next.text not in _COMPARING:
            return left
        operator = self.take()
        right = self._sum()
        unit = common(left.unit, right.unit)
        if unit is None:
            self._not_comparable(left, right)
        if unit in (Unit.BOOLEAN, Unit.TEXT) and operator.text not in ("==", "!="):
            self.wrong(f"{_name(left)} is {unit}, which has no order", operator, "valid: `==`, `!=`, or the bare word")
        if self.next.text in _COMPARING:
            self.wrong("comparisons do not chain", self.next, "write `a > b and b > c`")
        return self.built(Comparison(left.node, operator.text, right.node, unit), Unit.BOOLEAN, left, right)

    def _sum(self) -> _Part:
        part = self._product()
        while self.next.text in ("+", "-"):
            operator = self.take()
            right = self._product()
            unit = common(part.unit, right.unit)
            if unit is None or unit in (Unit.BOOLEAN, Unit.TEXT):
                verb = "added to" if operator.text == "+" else "taken from"
                one, other = (right, part)
                message = f"{_name(one)} is {one.unit} and {_name(other)} is {other.unit}"
                raise ExpressionError(f"{message}: one cannot be {verb} the other", part.start, right.end)
            part = self.built(Arithmetic(part.node, operator.text, right.node), unit, part, right)
        return part

    def _product(self) -> _Part:
        part = self._factor()
        while self.next.text in ("*", "/"):
            operator = self.take()
            right = self._factor()
            unit = scaled(part.unit, operator.text, right.unit)
            if unit is None:
                verb = "multiplied" if operator.text == "*" else "divided"
                message = f"{_name(part)} is {part.unit} and cannot be {verb} by {right.unit}"
                raise ExpressionError(message, part.start, right.end, "valid: by a plain number such as `2`")
            part = self.built(Arithmetic(part.node, operator.text, right.node), unit, part, right)
        return part

    def _factor(self) -> _Part:
        token = self.take()
        if token.kind == "amount":
            literal = _literal(token)
            return _Part(literal, literal.unit, token.start, token.end)
        if token.kind == "selector":
            return self._word(token)
        if token.text == "-":
            self.deeper(token)
            operand = self._factor()
            self.open -= 1
            if operand.unit in (Unit.BOOLEAN, Unit.TEXT):
                self.wrong(f"{_name(operand)} is {operand.unit}, which has no minus", token)
            part = self.built(Negative(operand.node), operand.unit, operand)
            return _Part(part.node, part.unit, token.start, part.end, part.depth)
        if token.text == "(":
            return self._parenthesised(token)
        if token.kind == "end":
            self.wrong("the condition ends too early", token, "valid here: a value such as `80%`, or a series")
        hint = "valid here: a value such as `80%`, or a series such as `claude.five_hour`"
        if token.text == "*":
            hint = "write `*.*` for every window, or `*.weekly` for every weekly one"
        raise ExpressionError(f"unexpected {_shown(token.text)}", token.start, token.end, hint)

    def _parenthesised(self, token: _Token) -> _Part:
        self.deeper(token)
        part = self.condition()
        self.open -= 1
        if self.next.text != ")":
            self.wrong("this `(` is never closed", token)
        return _Part(part.node, part.unit, token.start, self.take().end, part.depth)

    def _word(self, token: _Token) -> _Part:
        word = token.text
        if word in ("and", "or", "not"):
            self.wrong(f"unexpected {_shown(word)}", token, "valid here: a value such as `80%`, or a series")
        if word in ("true", "false"):
            return _Part(Literal(word, word == "true", Unit.BOOLEAN), Unit.BOOLEAN, token.start, token.end)
        if word == "level":
            if self.level is None:
                self.wrong("`level` stands for nothing here", token, "give the rule `levels`, or write the value")
            return _Part(self.level, self.level.unit, token.start, token.end)
        if word in FIELDS:
            if self.subject is None:
                hint = f"name one, as in `claude.five_hour.{word}`"
                self.wrong(f"`{word}` belongs to the rule's first series, and there is none", token, hint)
            selector, field = self.subject, word
        else:
            selector, field = _selector(token)
        field = field or "used_percent"
        unit = FIELDS[field]
        if unit is Unit.TEXT:
            self.wrong(f"`{field}` is text, for `title` and `message` only", token, "valid: such as `not up`")
        if unit is Unit.AMOUNT:
            unit = vocabulary.count_of(selector.provider, selector.window)
        return _Part(Measure(word, selector, field), unit, token.start, token.end)

    def _first_selector(self) -> Selector | None:
        for token in self.tokens:
            if token.kind == "selector" and token.text not in FIELDS and token.text not in _WORDS:
                try:
                    return _selector(token)[0]
                except ExpressionError:
                    return Selector("*")  # the same error is raised again, in its place
        return None

    def _not_comparable(self, left: _Part, right: _Part) -> NoReturn:
        measured, other = (right, left) if is_constant(left.node) else (left, right)
        message = f"{_name(measured)} is {measured.unit}, {_name(other)} is {other.unit}"
        hint = f"valid: such as `{measured.unit.example}`"
        if measured.unit is Unit.PERCENT and other.unit is Unit.NUMBER:
            hint = f"did you mean `{other.node}%`?" if isinstance(other.node, Literal) else hint
        elif isinstance(measured.node, Measure):
            selector = measured.node.selector
            units = {**FIELDS, **dict.fromkeys(COUNTED, vocabulary.count_of(selector.provider, selector.window))}
            fields = [name for name, unit in units.items() if common(unit, other.unit) is not None]
            if fields:
                series = _series_text(measured.node)
                hint += f", or another field: {', '.join(f'`{series}{name}`' for name in fields)}"
        raise ExpressionError(message, other.start, other.end, hint)

    def built(self, node: Expression, unit: Unit, *parts: _Part) -> _Part:
        """A node over its parts.

        Raises:
            ExpressionError: the tree grew too deep.
        """
        depth = 1 + max(part.depth for part in parts)
        if depth > DEEPEST:
            raise ExpressionError(f"nested more than {DEEPEST} deep", parts[-1].start, parts[-1].end, _SPLIT)
        return _Part(node, unit, parts[0].start, parts[-1].end, depth)

    def deeper(self, token: _Token) -> None:
        """Counts what is still open, so that reading is bounded too."""
        self.open += 1
        if self.open > DEEPEST:
            self.wrong(f"nested more than {DEEPEST} deep", token, _SPLIT)

    def must_be_true_or_false(self, part: _Part) -> None:
        if part.unit is not Unit.BOOLEAN:
            hint = f"compare it, as in `{part.node} > {part.unit.example.partition('`')[0]}`"
            message = f"{_name(part)} is {part.unit}, not a condition"
            raise ExpressionError(message, part.start, part.end, hint)

    def wrong(self, message: str, token: _Token, hint: str = "") -> NoReturn:
        raise ExpressionError(message, token.start, token.end, hint)


_WORDS = ("and", "or", "not", "true", "false", "level")
_SPLIT = "split it into several rules"


def _tokens(text: str) -> list[_Token]:
    if len(text) > LONGEST_TEXT:
        message = f"{len(text):,} characters long; a condition holds at most {LONGEST_TEXT:,}"
        raise ExpressionError(message, 0, 1, _SPLIT)
    tokens, at = [], 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            character = text[at]
            hint = "close the account with `]`" if character == "[" else ""
            if character in "%$":
                hint = "write a percent as `80%` and money as `$12.50`"
            elif character == ".":
                hint = "a series is written without blanks: `claude.five_hour`"
            raise ExpressionError(f"unexpected {_shown(character)}", at, at + 1, hint)
        kind = found.lastgroup or ""
        if kind == "strange":
            meant = _MEANT[found.group()]
            raise ExpressionError(f"unexpected {_shown(found.group())}", at, found.end(), f"did you mean `{meant}`?")
        if kind == "selector":
            _refuse_dashes(text, found)
        if kind != "space":
            tokens.append(_Token(kind, found.group(), at, found.end()))
        at = found.end()
    if not tokens:
        raise ExpressionError("there is no condition", 0, 1, "write one such as `claude.five_hour > 80%`")
    tokens.append(_Token("end", "", len(text.rstrip()), len(text.rstrip()) + 1))
    return tokens


def _refuse_dashes(text: str, found: re.Match[str]) -> None:
    """Refuses `claude.five-hour`, which would read as a difference, where underscores make a known word of it."""
    dashed = _DASHED.match(text, found.start())
    if dashed is None:
        return
    meant = dashed.group().replace("-", "_")
    last = meant.rpartition(".")[2]
    if last in (*PROVIDERS, *vocabulary.known_windows("*"), *FIELDS):
        raise ExpressionError(f"unexpected `-` in {_shown(dashed.group())}", *dashed.span(), f"did you mean `{meant}`?")


def _literal(token: _Token) -> Literal:
    text = token.text.replace(" ", "")
    if text.endswith("%"):
        unit, worth = Unit.PERCENT, number(text[:-1])
    elif text.startswith("$"):
        unit, worth = Unit.MONEY, number(text[1:])
    else:
        unit, worth = Unit.NUMBER, number(text)
        if worth is None:
            unit, worth = Unit.DURATION, duration_s(text)
    if worth is None:
        hint = "valid: `80%`, `45m`, `2h`, `7d`, `1h30m`, `$12.50` or `50`"
        raise ExpressionError(f"{_shown(text)} is not a value", token.start, token.end, hint)
    if unit is Unit.DURATION and worth > LONGEST.total_seconds():
        raise ExpressionError(f"{_shown(text)} is longer than ten years", token.start, token.end)
    if not math.isfinite(worth) or worth > LARGEST:
        raise ExpressionError(f"{_shown(text)} is too large", token.start, token.end, f"at most {LARGEST:.0e}")
    return Literal(text, worth, unit)


def _selector(token: _Token) -> tuple[Selector, str]:
    """The selector that a token spells, and the field after it; empty where it names none."""
    found = _SELECTOR.fullmatch(token.text)
    if found is None:
        raise ExpressionError(f"{_shown(token.text)} is not a series", token.start, token.end)
    provider, account, rest = found.groups()
    _known_provider(provider, token)
    if account is not None and not account.strip():
        raise ExpressionError("the account is empty", token.start, token.end, f"leave it out for all: `{provider}`")
    words = rest.split(".")[1:]
    start = token.end - len(rest) + 1
    window, field = "", ""
    match words:
        case []:
            pass
        case [word] if word in FIELDS:
            field = word
        case [word]:
            window = word
        case [window, field]:
            pass
        case _:
            hint = "write provider.window.field, as in `claude.five_hour.resets_in`"
            raise ExpressionError(f"{_shown(token.text)} has too many parts", token.start, token.end, hint)
    if window:
        _known_window(provider, window, start)
    if field and field not in FIELDS:
        meant = near(field, tuple(FIELDS))
        hint = f"did you mean `{meant}`?" if meant else f"valid: {', '.join(FIELDS)}"
        raise ExpressionError(f"unknown field {_shown(field)}", token.end - len(field), token.end, hint)
    return Selector(provider, account or "", window), field


def _known_provider(provider: str, token: _Token) -> None:
    if provider == "*" or provider in PROVIDERS:
        return
    alone = token.text == provider
    meant = near(provider, (*PROVIDERS, *(FIELDS if alone else ())))
    hint = f"did you mean `{meant}`?" if meant else f"valid: {', '.join(PROVIDERS)}"
    if provider.lower() in ("and", "or", "not"):
        hint = f"write `{provider.lower()}` in lower case"
    what = "unknown word" if alone else "unknown provider"
    raise ExpressionError(f"{what} {_shown(provider)}", token.start, token.start + len(provider), hint)


def _known_window(provider: str, window: str, start: int) -> None:
    """Refuses what cannot be a window of that provider, and what is one slip away from a word that is known."""
    known = vocabulary.known_windows(provider)
    if window == "*" or window in KINDS or window in known:
        return
    words = (*known, *KINDS, *FIELDS)
    possible = vocabulary.is_window(provider, window)
    whose = "no provider has a window" if provider == "*" else f"{provider} has no window"
    # Where the API may name new windows, only an obvious slip is refused, and a new number is none: opus, opus_4.
    slack = (2 if len(window) > 8 else 1) if possible else None  # noqa: PLR2004 - longer words gather more slips
    meant = near(window, words, slack)
    if possible and (meant is None or _digits(meant) != _digits(window)):
        return
    hint = f"did you mean `{meant}`?" if meant else f"valid: {', '.join(known or KINDS)}"
    raise ExpressionError(f"{whose} or field {_shown(window)}", start, start + len(window), hint)


def _digits(word: str) -> str:
    return "".join(character for character in word if character.isdigit())


def _name(part: _Part) -> str:
    return _shown(str(part.node))


def _series_text(measure: Measure) -> str:
    """What stands before the field: `claude.five_hour.`, or nothing for a bare one."""
    if measure.spelling in FIELDS:
        return ""
    return f"{measure.selector}."


def _shown(text: str) -> str:
    """The text, in a message: short, on one line, harmless on a terminal."""
    longest = 60
    shown = text if len(text) <= longest else text[:longest] + "..."
    return f"`{''.join(c if c.isprintable() else c.encode('unicode_escape').decode('ascii') for c in shown)}`"
