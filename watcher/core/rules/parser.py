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
from watcher.core.rules.diagnostics import CLOSE, VERY_CLOSE, find_close_match, sanitize_for_terminal, suggest_word
from watcher.core.rules.vocabulary import (
    FIELD_UNITS,
    MAX_DURATION,
    MAX_NUMBER,
    PROVIDER_WINDOWS,
    WINDOW_KINDS,
    Unit,
    find_arithmetic_unit,
    find_common_unit,
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
_DASHED_NAME = re.compile(r"[A-Za-z*][A-Za-z0-9_.]*(?:-[A-Za-z][A-Za-z0-9_.]*)+")
_SELECTOR_PATTERN = re.compile(r"([^.\[]+)(?:\[([^\]]*)\])?((?:\..*)?)")
COMPARISON_OPERATORS = (">", ">=", "<", "<=", "==", "!=")
_KEYWORDS = ("and", "or", "not", "true", "false", "level")
_VALUE_HINT = "valid here: a value such as `80%` or `$12.50`, or a series such as `claude.five_hour`"
_LITERAL_HINT = "valid: `80%`, `45m`, `2h`, `7d`, `1h30m`, `$12.50` or `50`"


class ExpressionError(Exception):
    """A mistake in an expression, and what would be valid: one line. `start` and `end` are offsets into the text."""

    def __init__(self, message: str, start: int, end: int) -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = max(end, start + 1)


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
        message = "`when` has no comparison that this could belong to; write a whole condition"
        raise ExpressionError(message, 0, len(text))
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
        raise ExpressionError(f"{quote_text(text)} is not one value; {_LITERAL_HINT}", 0, len(text))
    literal = _parse_literal_token(amount)
    return ast.Literal("-" + literal.text, -literal.value, literal.unit) if is_negative else literal


def parse_selector(text: str) -> tuple[ast.Selector, str]:
    """A selector, and the field after it, empty if there is none: `claude[me].five_hour`.

    Raises:
        ExpressionError: it is no selector, or a word in it is unknown.
    """
    first, *others = tokenize(text)
    if first.kind != "selector" or others[0].kind != "end" or first.text in FIELD_UNITS:
        raise ExpressionError(f"{quote_text(text)} is not a series such as `claude.five_hour`", 0, len(text))
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
            hint = "`and`, `or`, a comparison, or the end" if left_operand is None else "the end, or a whole condition"
            _raise_error(f"unexpected {quote_text(token.text)}; valid here: {hint}", token)
        self._require_boolean(parsed)
        if ast.is_constant(parsed.node):
            _raise_error("this does not depend on any reading; write such as `claude.five_hour > 80%`", parsed)
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
            _raise_error(f"{left.quoted} is {unit}, which has no order; valid: `==` or `!=`", operator)
        if self.next_token.text in COMPARISON_OPERATORS:
            _raise_error("comparisons do not chain; write `a > b and b > c`", self.next_token)
        return _make_node(ast.Comparison(left.node, operator.text, right.node, unit), Unit.BOOLEAN, left, right)

    def _parse_sum(self) -> _ParsedNode:
        return self._parse_arithmetic(("+", "-"), self._parse_product)

    def _parse_product(self) -> _ParsedNode:
        return self._parse_arithmetic(("*", "/"), self._parse_factor)

    def _parse_arithmetic(self, operators: tuple[str, ...], parse_operand: Callable[[], _ParsedNode]) -> _ParsedNode:
        left = parse_operand()
        while self.next_token.text in operators:
            operator = self._advance().text
            right = parse_operand()
            unit = find_arithmetic_unit(left.unit, operator, right.unit)
            if unit is None:
                message = f"`{operator}` cannot join {left.quoted}, {left.unit}, and {right.quoted}, {right.unit}"
                raise ExpressionError(message, left.start, right.end)
            if operator == "/" and isinstance(right.node, ast.Literal) and not right.node.value:
                _raise_error("the result of a division by zero is unknown; divide by something else", right)
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
            _raise_error(f"the condition ends too early; {_VALUE_HINT}", token)
        hint = "`*.*` is every window, `*.weekly` every weekly one" if token.text == "*" else _VALUE_HINT
        raise ExpressionError(f"unexpected {quote_text(token.text)}; {hint}", token.start, token.end)

    def _parse_word(self, token: Token) -> _ParsedNode:
        word = token.text
        if word in ("and", "or", "not"):
            _raise_error(f"unexpected {quote_text(word)}; {_VALUE_HINT}", token)
        if word in ("true", "false"):
            return _ParsedNode(ast.Literal(word, word == "true", Unit.BOOLEAN), Unit.BOOLEAN, token.start, token.end)
        if word == "level":
            if self.level is None:
                _raise_error("`level` has no value here; give the rule `levels`, or write the value", token)
            return _ParsedNode(self.level, self.level.unit, token.start, token.end)
        if word not in FIELD_UNITS:
            selector, field = parse_selector_token(token)
        elif self.subject is not None:
            selector, field = self.subject, word
        else:
            _raise_error(f"`{word}` of which series? write such as `claude.five_hour.{word}`", token)
        field = field or "used_percent"
        unit = FIELD_UNITS[field]
        if unit is Unit.TEXT:
            _raise_error(f"`{field}` is text, for `title` and `message` only; valid: such as `not up`", token)
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
        example = f"{part.node} > {part.unit.example}"
        if ast.is_constant(part.node):
            example = f"{self.subject or 'claude.five_hour'} < {part.node if part.unit is Unit.PERCENT else '80%'}"
        _raise_error(f"{part.quoted} is {part.unit}, not a condition; compare it, as in `{example}`", part)


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
        _raise_error(f"{quote_text(text)} is not a value; {_LITERAL_HINT}", token)
    if unit is Unit.DURATION and value > MAX_DURATION.total_seconds():
        _raise_error(f"{quote_text(text)} is longer than ten years", token)
    if not math.isfinite(value) or value > MAX_NUMBER:
        _raise_error(f"{quote_text(text)} is too large; at most {MAX_NUMBER:.0e}", token)
    return ast.Literal(text, value, unit)


def _make_node(node: ast.Expression, unit: Unit, *parts: _ParsedNode) -> _ParsedNode:
    """A node above its parts."""
    return _ParsedNode(node, unit, parts[0].start, parts[-1].end)


def _raise_error(message: str, part: Token | _ParsedNode) -> NoReturn:
    raise ExpressionError(message, part.start, part.end)


def _raise_not_comparable(left: _ParsedNode, right: _ParsedNode) -> NoReturn:
    measured, other = (right, left) if ast.is_constant(left.node) else (left, right)
    hint = f"valid: such as `{measured.unit.example}`"
    if measured.unit is Unit.PERCENT and other.unit is Unit.NUMBER and isinstance(other.node, ast.Literal):
        value = float(other.node.value)
        percent = f"{value * 100:g}%" if 0 < value < 1 else f"{other.node}%"  # 0.8 is meant as 80 %
        hint = f"did you mean `{percent}`?"
    elif isinstance(measured.node, ast.FieldReference):
        selector = measured.node.selector
        units = FIELD_UNITS | dict.fromkeys(ast.COUNT_FIELDS, get_count_unit(selector.provider, selector.window))
        fields = [name for name, unit in units.items() if find_common_unit(unit, other.unit) is not None]
        hint += f", or another field: {', '.join(fields)}" if fields else ""
    _raise_error(f"{measured.quoted} is {measured.unit}, {other.quoted} is {other.unit}; {hint}", other)


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
            raise ExpressionError(f"unexpected {quote_text(text[offset])}; {_VALUE_HINT}", offset, offset + 1)
        kind, word = found.lastgroup or "", found.group()
        if kind == "wrong_operator":
            meant = _OPERATOR_CORRECTIONS[word]
            raise ExpressionError(f"unexpected {quote_text(word)}; did you mean `{meant}`?", *found.span())
        if kind == "selector":
            _reject_dashes(text, offset)
        if kind != "space":
            tokens.append(Token(kind, word, *found.span()))
        offset = found.end()
    if not tokens:
        raise ExpressionError("there is no condition; write one such as `claude.five_hour > 80%`", 0, 1)
    if len(tokens) > MAX_TOKENS:
        _raise_error(f"longer than {MAX_TOKENS} words and signs; split it into several rules", tokens[MAX_TOKENS])
    end = len(text.rstrip())
    return [*tokens, Token("end", "", end, end + 1)]


def _reject_dashes(text: str, offset: int) -> None:
    """Refuses `claude.five-hour`, which would be a difference, if it is a known word with underscores."""
    dashed = _DASHED_NAME.match(text, offset)
    if dashed is None:
        return
    name = dashed.group().replace("-", "_")
    if name.rpartition(".")[2] in (*PROVIDER_WINDOWS, *known_windows("*"), *FIELD_UNITS):
        message = f"unexpected `-` in {quote_text(dashed.group())}; did you mean `{name}`?"
        raise ExpressionError(message, *dashed.span())


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
        _raise_error(f"{quote_text(token.text)} is not a series", token)
    provider, account, rest = found.groups()
    _check_provider(provider, token)
    if account is not None and not account.strip():
        _raise_error(f"the account is empty; leave it out for all: `{provider}`", token)
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
            _raise_error(f"{quote_text(token.text)} has too many parts; {hint}", token)
    if window:
        _check_window(provider, window, token.end - len(rest) + 1)
    if field and field not in FIELD_UNITS:
        hint = suggest_word(field, tuple(FIELD_UNITS))
        raise ExpressionError(f"unknown field {quote_text(field)}; {hint}", token.end - len(field), token.end)
    return ast.Selector(provider, account or "", window), field


def _check_provider(provider: str, token: Token) -> None:
    if provider == "*" or provider in PROVIDER_WINDOWS:
        return
    what, others = ("word", (*FIELD_UNITS, *_KEYWORDS)) if token.text == provider else ("provider", ())
    hint = suggest_word(provider, (*PROVIDER_WINDOWS, *others), f"valid: {', '.join(PROVIDER_WINDOWS)}")
    message = f"unknown {what} {quote_text(provider)}; {hint}"
    raise ExpressionError(message, token.start, token.start + len(provider))


def _check_window(provider: str, window: str, start: int) -> None:
    """Refuses what cannot be a window of that provider, and what is an obvious slip of a known word."""
    known = known_windows(provider)
    if window == "*" or window in WINDOW_KINDS or window in known:
        return
    is_possible = is_window(provider, window)
    # If the API may name new windows, only an obvious slip is refused; another number is a new window: opus, opus_4.
    close = find_close_match(window, (*known, *WINDOW_KINDS, *FIELD_UNITS), VERY_CLOSE if is_possible else CLOSE)
    if is_possible and (close is None or re.sub(r"\D", "", close) != re.sub(r"\D", "", window)):
        return
    whose = "no provider has a window" if provider == "*" else f"{provider} has no window"
    hint = f"did you mean `{close}`?" if close else f"valid: {', '.join(known or WINDOW_KINDS)}"
    raise ExpressionError(f"{whose} or field {quote_text(window)}; {hint}", start, start + len(window))
