"""Parses the text of a condition into a checked expression.

Grammar, loosest first; units are checked while parsing::

    condition   and-part ("or" and-part)*
    and-part    not-part ("and" not-part)*
    not-part    "not" not-part | comparison
    comparison  sum [(">" | ">=" | "<" | "<=" | "==" | "!=") sum]
    sum         product (("+" | "-") product)*
    product     factor (("*" | "/") factor)*
    factor      literal | field | series | "true" | "false" | "level" | "-" factor | "(" condition ")"
"""

import math
import re
from collections.abc import Callable
from typing import NoReturn

from msgspec import Struct
from msgspec.structs import replace

from watcher.core.rules import ast
from watcher.core.rules.diagnostics import find_close_match, sanitize_for_terminal, suggest_word
from watcher.core.rules.vocabulary import (
    FIELD_UNITS,
    MAX_DURATION,
    MAX_NUMBER,
    PROVIDER_WINDOWS,
    WINDOW_KINDS,
    Unit,
    find_common_unit,
    find_scaled_unit,
    get_count_unit,
    is_window,
    known_windows,
    parse_duration_s,
    parse_number,
)

MAX_TOKENS = 100
"""Of one condition: keeps expressions shallow enough to evaluate by recursion."""

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
_SELECTOR_PATTERN = re.compile(r"([^.\[]+)(?:\[([^\]]*)\])?((?:\..*)?)")
_LONG_WORD_LENGTH = 9  # from here on two typos are an obvious slip
COMPARISON_OPERATORS = (">", ">=", "<", "<=", "==", "!=")
_KEYWORDS = ("and", "or", "not", "true", "false", "level")
_VALUE_HINT = "valid here: a value such as `80%`, or a series"


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


def parse_condition(text: str, *, level: ast.Literal | None = None) -> ast.Expression:
    """The condition that the text states.

    Args:
        text: one condition, as in a rule's `when`.
        level: the value of the word `level`; None: the word is an error.

    Raises:
        ExpressionError: with the position, and what would be valid.
    """
    return _Parser(text, level).parse_all().node


def parse_clear(text: str, when: ast.Expression, *, level: ast.Literal | None = None) -> ast.Expression:
    """The condition of a rule's `clear`: a whole one, or only an operator and a value such as `< 70%`.

    The latter compares the measured side of the first comparison in `when`.

    Raises:
        ExpressionError: with the position, and what would be valid.
    """
    parser = _Parser(text, level, find_subject(when))
    if parser.next_token.text not in COMPARISON_OPERATORS:
        return parser.parse_all().node
    first = next(ast.iter_comparisons(when), None)
    if first is None:
        message = "`when` has no comparison that this could belong to"
        raise ExpressionError(message, 0, len(text), "write a whole condition")
    measured = first.right if ast.is_constant(first.left) else first.left
    return parser.parse_all(_ParsedNode(measured, first.unit, 0, 0)).node


def parse_literal(text: str) -> ast.Literal:
    """One literal, as in a rule's `levels`.

    Raises:
        ExpressionError: it is no literal, or more than one.
    """
    tokens = tokenize(text)
    is_negative = tokens[0].text == "-"
    amount, *others = tokens[1:] if is_negative else tokens
    if amount.kind != "amount" or others[0].kind != "end":
        raise ExpressionError(f"{quote_text(text)} is not one value", 0, len(text), "valid: `80%`, `2h`, `$5` or `50`")
    literal = _parse_literal_token(amount)
    return ast.Literal("-" + literal.text, -literal.value, literal.unit) if is_negative else literal


def parse_selector(text: str) -> tuple[ast.Selector, str]:
    """A selector, and the field after it, empty if there is none: `claude[me].five_hour`.

    Raises:
        ExpressionError: it is no selector, or a word in it is unknown.
    """
    first, *others = tokenize(text)
    if first.kind != "selector" or others[0].kind != "end" or first.text in FIELD_UNITS:
        raise ExpressionError(f"{quote_text(text)} is not a series", 0, len(text), "valid: such as `claude.five_hour`")
    return parse_selector_token(first)


def find_subject(expression: ast.Expression) -> ast.Selector:
    """The selector that the rule is about: the first in the text. Every condition has one."""
    return next(ast.iter_field_references(expression)).selector


class _ParsedNode(Struct, frozen=True):
    """A node, and what is needed only while parsing."""

    node: ast.Expression
    unit: Unit
    start: int
    end: int

    @property
    def quoted(self) -> str:
        """The node as a message quotes it."""
        return quote_text(str(self.node))


class _Parser:
    """Parses one text from left to right, looking one token ahead."""

    def __init__(self, text: str, level: ast.Literal | None, subject: ast.Selector | None = None) -> None:
        self.level = level
        self.tokens = tokenize(text)
        self.position = 0
        self.subject = subject or self._find_first_selector()

    @property
    def next_token(self) -> Token:
        """The token that is read next."""
        return self.tokens[self.position]

    def _advance(self) -> Token:
        """Reads the next token; at the end, the end token again."""
        token = self.next_token
        self.position = min(self.position + 1, len(self.tokens) - 1)
        return token

    def parse_all(self, left_operand: _ParsedNode | None = None) -> _ParsedNode:
        """The whole text as one condition; `left_operand` precedes the text if it is given.

        Raises:
            ExpressionError: it is no condition.
        """
        parsed = self._parse_condition() if left_operand is None else self._parse_comparison(left_operand)
        token = self.next_token
        if token.kind != "end":
            hint = "valid here: `and`, `or`, a comparison, or the end"
            if left_operand is not None:
                hint = f"write the whole condition, beginning with {left_operand.quoted}"
            elif token.text.lower() in ("and", "or", "not"):
                hint = f"write `{token.text.lower()}` in lower case"
            elif token.text == ")":
                hint = "there is no `(` that it closes"
            _raise_error(f"unexpected {quote_text(token.text)}", token, hint)
        self._require_boolean(parsed)
        if ast.is_constant(parsed.node):
            _raise_error("this does not depend on any reading", parsed, "name a series, as in `claude.five_hour > 80%`")
        return parsed

    def _parse_condition(self) -> _ParsedNode:
        return self._parse_chain("or", self._parse_and, ast.Or)

    def _parse_and(self) -> _ParsedNode:
        return self._parse_chain("and", self._parse_not, ast.And)

    def _parse_chain(
        self, keyword: str, parse_operand: Callable[[], _ParsedNode], node_type: type[ast.And | ast.Or]
    ) -> _ParsedNode:
        parts = [parse_operand()]
        while self.next_token.text == keyword:
            self._require_boolean(parts[-1])
            self._advance()
            parts.append(parse_operand())
            self._require_boolean(parts[-1])
        if len(parts) == 1:
            return parts[0]
        return _make_node(node_type(tuple(part.node for part in parts)), Unit.BOOLEAN, *parts)

    def _parse_not(self) -> _ParsedNode:
        if self.next_token.text != "not":
            return self._parse_comparison(self._parse_sum())
        token = self._advance()
        operand = self._parse_not()
        self._require_boolean(operand)
        return replace(_make_node(ast.Not(operand.node), Unit.BOOLEAN, operand), start=token.start)

    def _parse_comparison(self, left: _ParsedNode) -> _ParsedNode:
        if self.next_token.text not in COMPARISON_OPERATORS:
            return left
        operator = self._advance()
        right = self._parse_sum()
        unit = find_common_unit(left.unit, right.unit)
        if unit is None:
            _raise_not_comparable(left, right)
        if unit in (Unit.BOOLEAN, Unit.TEXT) and operator.text not in ("==", "!="):
            hint = "valid: `==`, `!=`, or the bare word"
            _raise_error(f"{left.quoted} is {unit}, which has no order", operator, hint)
        if self.next_token.text in COMPARISON_OPERATORS:
            _raise_error("comparisons do not chain", self.next_token, "write `a > b and b > c`")
        return _make_node(ast.Comparison(left.node, operator.text, right.node, unit), Unit.BOOLEAN, left, right)

    def _parse_sum(self) -> _ParsedNode:
        left = self._parse_product()
        while self.next_token.text in ("+", "-"):
            operator = self._advance().text
            right = self._parse_product()
            unit = find_common_unit(left.unit, right.unit)
            if unit is None or unit in (Unit.BOOLEAN, Unit.TEXT):
                verb = "added to" if operator == "+" else "taken from"
                message = f"{right.quoted} is {right.unit} and {left.quoted} is {left.unit}"
                raise ExpressionError(f"{message}: one cannot be {verb} the other", left.start, right.end)
            left = _make_node(ast.Arithmetic(left.node, operator, right.node), unit, left, right)
        return left

    def _parse_product(self) -> _ParsedNode:
        left = self._parse_factor()
        while self.next_token.text in ("*", "/"):
            operator = self._advance().text
            right = self._parse_factor()
            unit = find_scaled_unit(left.unit, operator, right.unit)
            if unit is None:
                verb = "multiplied" if operator == "*" else "divided"
                message = f"{left.quoted} is {left.unit} and cannot be {verb} by {right.unit}"
                raise ExpressionError(message, left.start, right.end, "valid: by a plain number such as `2`")
            if operator == "/" and isinstance(right.node, ast.Literal) and not right.node.value:
                _raise_error("the result of a division by zero is unknown", right, "divide by something else")
            left = _make_node(ast.Arithmetic(left.node, operator, right.node), unit, left, right)
        return left

    def _parse_factor(self) -> _ParsedNode:
        token = self._advance()
        if token.kind == "amount":
            literal = _parse_literal_token(token)
            return _ParsedNode(literal, literal.unit, token.start, token.end)
        if token.kind == "selector":
            return self._parse_word(token)
        if token.text == "-":
            operand = self._parse_factor()
            if operand.unit in (Unit.BOOLEAN, Unit.TEXT):
                _raise_error(f"{operand.quoted} is {operand.unit}, which has no minus", token)
            return replace(_make_node(ast.Negative(operand.node), operand.unit, operand), start=token.start)
        if token.text == "(":
            inner = self._parse_condition()
            if self.next_token.text != ")":
                _raise_error("this `(` is never closed", token)
            return replace(inner, start=token.start, end=self._advance().end)
        if token.kind == "end":
            _raise_error("the condition ends too early", token, _VALUE_HINT)
        hint = f"{_VALUE_HINT} such as `claude.five_hour`"
        if token.text == "*":
            hint = "write `*.*` for every window, or `*.weekly` for every weekly one"
        raise ExpressionError(f"unexpected {quote_text(token.text)}", token.start, token.end, hint)

    def _parse_word(self, token: Token) -> _ParsedNode:
        word = token.text
        if word in ("and", "or", "not"):
            _raise_error(f"unexpected {quote_text(word)}", token, _VALUE_HINT)
        if word in ("true", "false"):
            return _ParsedNode(ast.Literal(word, word == "true", Unit.BOOLEAN), Unit.BOOLEAN, token.start, token.end)
        if word == "level":
            if self.level is None:
                _raise_error("`level` has no value here", token, "give the rule `levels`, or write the value")
            return _ParsedNode(self.level, self.level.unit, token.start, token.end)
        if word not in FIELD_UNITS:
            selector, field = parse_selector_token(token)
        elif self.subject is not None:
            selector, field = self.subject, word
        else:
            hint = f"name one, as in `claude.five_hour.{word}`"
            _raise_error(f"`{word}` belongs to the rule's first series, and there is none", token, hint)
        field = field or "used_percent"
        unit = FIELD_UNITS[field]
        if unit is Unit.TEXT:
            _raise_error(f"`{field}` is text, for `title` and `message` only", token, "valid: such as `not up`")
        if unit is Unit.AMOUNT:
            unit = get_count_unit(selector.provider, selector.window)
        return _ParsedNode(ast.FieldReference(word, selector, field), unit, token.start, token.end)

    def _find_first_selector(self) -> ast.Selector | None:
        for token in self.tokens:
            if token.kind == "selector" and token.text not in FIELD_UNITS and token.text not in _KEYWORDS:
                try:
                    return parse_selector_token(token)[0]
                except ExpressionError:
                    return ast.Selector("*")  # parsing meets the same error again, in its place
        return None

    def _require_boolean(self, part: _ParsedNode) -> None:
        if part.unit is Unit.BOOLEAN:
            return
        hint = f"compare it, as in `{part.node} > {part.unit.example.partition('`')[0]}`"
        if isinstance(part.node, ast.Literal):
            fields = [name for name, unit in FIELD_UNITS.items() if find_common_unit(unit, part.unit) is not None]
            field = f".{fields[0]}" if fields and part.unit is not Unit.PERCENT else ""
            hint = f"compare something with it, as in `{self.subject or 'claude.five_hour'}{field} < {part.node}`"
        _raise_error(f"{part.quoted} is {part.unit}, not a condition", part, hint)


def _parse_literal_token(token: Token) -> ast.Literal:
    """The literal of a token of kind `amount`.

    Raises:
        ExpressionError: it is no literal, or too large.
    """
    text = token.text.replace(" ", "")
    if text.endswith("%"):
        unit, value = Unit.PERCENT, parse_number(text[:-1])
    elif text.startswith("$"):
        unit, value = Unit.MONEY, parse_number(text[1:])
    else:
        unit, value = Unit.NUMBER, parse_number(text)
        if value is None:
            unit, value = Unit.DURATION, parse_duration_s(text)
    if value is None:
        _raise_error(
            f"{quote_text(text)} is not a value", token, "valid: `80%`, `45m`, `2h`, `7d`, `1h30m`, `$12.50` or `50`"
        )
    if unit is Unit.DURATION and value > MAX_DURATION.total_seconds():
        _raise_error(f"{quote_text(text)} is longer than ten years", token)
    if not math.isfinite(value) or value > MAX_NUMBER:
        _raise_error(f"{quote_text(text)} is too large", token, f"at most {MAX_NUMBER:.0e}")
    return ast.Literal(text, value, unit)


def _make_node(node: ast.Expression, unit: Unit, *parts: _ParsedNode) -> _ParsedNode:
    """A node above its parts."""
    return _ParsedNode(node, unit, parts[0].start, parts[-1].end)


def _raise_error(message: str, part: Token | _ParsedNode, hint: str = "") -> NoReturn:
    raise ExpressionError(message, part.start, part.end, hint)


def _raise_not_comparable(left: _ParsedNode, right: _ParsedNode) -> NoReturn:
    measured, other = (right, left) if ast.is_constant(left.node) else (left, right)
    hint = f"valid: such as `{measured.unit.example}`"
    if measured.unit is Unit.PERCENT and other.unit is Unit.NUMBER:
        if isinstance(other.node, ast.Literal):
            value = float(other.node.value)
            percent = f"{value * 100:g}%" if 0 < value < 1 else f"{other.node}%"  # 0.8 is meant as 80 %
            hint = f"did you mean `{percent}`?"
    elif isinstance(measured.node, ast.FieldReference):
        selector = measured.node.selector
        count_unit = get_count_unit(selector.provider, selector.window)
        units = FIELD_UNITS | dict.fromkeys(ast.COUNT_FIELDS, count_unit)
        prefix = "" if measured.node.text in FIELD_UNITS else f"{selector}."
        fields = [f"`{prefix}{name}`" for name, unit in units.items() if find_common_unit(unit, other.unit) is not None]
        if fields:
            hint += f", or another field: {', '.join(fields)}"
    _raise_error(f"{measured.quoted} is {measured.unit}, {other.quoted} is {other.unit}", other, hint)


def tokenize(text: str) -> list[Token]:
    """The tokens of a text; the last one has the kind `end`.

    Raises:
        ExpressionError: the text is empty or too long, or a part of it is no token.
    """
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
    if len(tokens) > MAX_TOKENS:
        message = f"longer than {MAX_TOKENS} words and signs"
        raise ExpressionError(message, tokens[MAX_TOKENS].start, tokens[MAX_TOKENS].end, "split it into several rules")
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


def parse_selector_token(token: Token) -> tuple[ast.Selector, str]:
    """The selector that a token names, and the field after it; the field is empty if there is none.

    Raises:
        ExpressionError: a word in it is unknown.
    """
    found = _SELECTOR_PATTERN.fullmatch(token.text)
    if found is None:
        raise ExpressionError(f"{quote_text(token.text)} is not a series", token.start, token.end)
    provider, account, rest = found.groups()
    _check_provider(provider, token)
    if account is not None and not account.strip():
        raise ExpressionError("the account is empty", token.start, token.end, f"leave it out for all: `{provider}`")
    window, field = "", ""
    match rest.split(".")[1:]:
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
        _check_window(provider, window, token.end - len(rest) + 1)
    if field and field not in FIELD_UNITS:
        hint = suggest_word(field, tuple(FIELD_UNITS))
        raise ExpressionError(f"unknown field {quote_text(field)}", token.end - len(field), token.end, hint)
    return ast.Selector(provider, account or "", window), field


def _check_provider(provider: str, token: Token) -> None:
    if provider == "*" or provider in PROVIDER_WINDOWS:
        return
    is_alone = token.text == provider
    close = find_close_match(provider, (*PROVIDER_WINDOWS, *(FIELD_UNITS if is_alone else ())))
    hint = f"did you mean `{close}`?" if close else f"valid: {', '.join(PROVIDER_WINDOWS)}"
    if provider.lower() in ("and", "or", "not"):
        hint = f"write `{provider.lower()}` in lower case"
    what = "unknown word" if is_alone else "unknown provider"
    raise ExpressionError(f"{what} {quote_text(provider)}", token.start, token.start + len(provider), hint)


def _check_window(provider: str, window: str, start: int) -> None:
    """Refuses what cannot be a window of that provider, and what is an obvious slip of a known word."""
    known = known_windows(provider)
    if window == "*" or window in WINDOW_KINDS or window in known:
        return
    is_possible = is_window(provider, window)
    # If the API may name new windows, only an obvious slip is refused; another number is a new window: opus, opus_4.
    max_typos = (2 if len(window) >= _LONG_WORD_LENGTH else 1) if is_possible else None
    close = find_close_match(window, (*known, *WINDOW_KINDS, *FIELD_UNITS), max_typos)
    if is_possible and (close is None or re.sub(r"\D", "", close) != re.sub(r"\D", "", window)):
        return
    whose = "no provider has a window" if provider == "*" else f"{provider} has no window"
    hint = f"did you mean `{close}`?" if close else f"valid: {', '.join(known or WINDOW_KINDS)}"
    raise ExpressionError(f"{whose} or field {quote_text(window)}", start, start + len(window), hint)
