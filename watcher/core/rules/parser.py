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
from collections.abc import Callable
from typing import NoReturn

from msgspec import Struct
from msgspec.structs import replace

from watcher.core.rules.ast import (
    COUNT_FIELDS,
    And,
    Arithmetic,
    Comparison,
    Expression,
    FieldReference,
    Literal,
    Negative,
    Not,
    Or,
    is_constant,
    iter_comparisons,
    iter_field_references,
)
from watcher.core.rules.fields import FIELD_UNITS, get_count_unit
from watcher.core.rules.lexer import SPLIT_RULE_HINT, ExpressionError, Token, quote_text, tokenize
from watcher.core.rules.selector import Selector, parse_selector_token
from watcher.core.rules.units import (
    MAX_DURATION,
    MAX_NUMBER,
    Unit,
    find_common_unit,
    find_scaled_unit,
    parse_duration_s,
    parse_number,
)

MAX_DEPTH = 40
COMPARISON_OPERATORS = (">", ">=", "<", "<=", "==", "!=")
_KEYWORDS = ("and", "or", "not", "true", "false", "level")
_VALUE_HINT = "valid here: a value such as `80%`, or a series"


def parse_condition(text: str, *, level: Literal | None = None, subject: Selector | None = None) -> Expression:
    """The condition that the text states.

    Args:
        text: one condition, as in a rule's `when`.
        level: the value of the word `level`; None: the word is an error.
        subject: the series that bare fields belong to; None: the first selector in the text.

    Raises:
        ExpressionError: with the position, and what would be valid.
    """
    return _Parser(text, level, subject).parse_all().node


def parse_clear(text: str, when: Expression, *, level: Literal | None = None) -> Expression:
    """The condition of a rule's `clear`: a whole one, or only an operator and a value such as `< 70%`.

    The latter compares the measured side of the first comparison in `when`.

    Raises:
        ExpressionError: with the position, and what would be valid.
    """
    parser = _Parser(text, level, find_subject(when))
    if parser.next_token.text not in COMPARISON_OPERATORS:
        return parser.parse_all().node
    first = next(iter_comparisons(when), None)
    if first is None:
        message = "`when` has no comparison that this could belong to"
        raise ExpressionError(message, 0, len(text), "write a whole condition")
    measured = first.right if is_constant(first.left) else first.left
    return parser.parse_all(_ParsedNode(measured, first.unit, 0, 0)).node


def parse_literal(text: str) -> Literal:
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
    return Literal("-" + literal.text, -literal.value, literal.unit) if is_negative else literal


def parse_selector(text: str) -> tuple[Selector, str]:
    """A selector, and the field after it, empty if there is none: `claude[me].five_hour`.

    Raises:
        ExpressionError: it is no selector, or a word in it is unknown.
    """
    first, *others = tokenize(text)
    if first.kind != "selector" or others[0].kind != "end" or first.text in FIELD_UNITS:
        raise ExpressionError(f"{quote_text(text)} is not a series", 0, len(text), "valid: such as `claude.five_hour`")
    return parse_selector_token(first)


def find_subject(expression: Expression) -> Selector:
    """The selector that the rule is about: the first in the text. Every condition has one."""
    return next(iter_field_references(expression)).selector


class _ParsedNode(Struct, frozen=True):
    """A node, and what is needed only while parsing."""

    node: Expression
    unit: Unit
    start: int
    end: int
    depth: int = 1

    @property
    def quoted(self) -> str:
        """The node as a message quotes it."""
        return quote_text(str(self.node))


class _Parser:
    """Parses one text from left to right, looking one token ahead."""

    def __init__(self, text: str, level: Literal | None, subject: Selector | None) -> None:
        self.level = level
        self.tokens = tokenize(text)
        self.position = 0
        self.nesting = 0
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
        """The whole text as one condition; `left_operand` stands before the text if it is given.

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
        if is_constant(parsed.node):
            _raise_error("this does not depend on any reading", parsed, "name a series, as in `claude.five_hour > 80%`")
        return parsed

    def _parse_condition(self) -> _ParsedNode:
        return self._parse_chain("or", self._parse_and, Or)

    def _parse_and(self) -> _ParsedNode:
        return self._parse_chain("and", self._parse_not, And)

    def _parse_chain(
        self, keyword: str, parse_operand: Callable[[], _ParsedNode], node_type: type[And | Or]
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
        operand = self._parse_nested(token, self._parse_not)
        self._require_boolean(operand)
        return replace(_make_node(Not(operand.node), Unit.BOOLEAN, operand), start=token.start)

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
        return _make_node(Comparison(left.node, operator.text, right.node, unit), Unit.BOOLEAN, left, right)

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
            left = _make_node(Arithmetic(left.node, operator, right.node), unit, left, right)
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
            if operator == "/" and isinstance(right.node, Literal) and not right.node.value:
                _raise_error("the result of a division by zero is unknown", right, "divide by something else")
            left = _make_node(Arithmetic(left.node, operator, right.node), unit, left, right)
        return left

    def _parse_factor(self) -> _ParsedNode:
        token = self._advance()
        if token.kind == "amount":
            literal = _parse_literal_token(token)
            return _ParsedNode(literal, literal.unit, token.start, token.end)
        if token.kind == "selector":
            return self._parse_word(token)
        if token.text == "-":
            operand = self._parse_nested(token, self._parse_factor)
            if operand.unit in (Unit.BOOLEAN, Unit.TEXT):
                _raise_error(f"{operand.quoted} is {operand.unit}, which has no minus", token)
            return replace(_make_node(Negative(operand.node), operand.unit, operand), start=token.start)
        if token.text == "(":
            inner = self._parse_nested(token, self._parse_condition)
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
            return _ParsedNode(Literal(word, word == "true", Unit.BOOLEAN), Unit.BOOLEAN, token.start, token.end)
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
        return _ParsedNode(FieldReference(word, selector, field), unit, token.start, token.end)

    def _parse_nested(self, token: Token, parse: Callable[[], _ParsedNode]) -> _ParsedNode:
        """What `parse` returns, one level deeper; the levels are limited, so that parsing is bounded."""
        self.nesting += 1
        if self.nesting > MAX_DEPTH:
            _raise_error(f"nested more than {MAX_DEPTH} deep", token, SPLIT_RULE_HINT)
        parsed = parse()
        self.nesting -= 1
        return parsed

    def _find_first_selector(self) -> Selector | None:
        for token in self.tokens:
            if token.kind == "selector" and token.text not in FIELD_UNITS and token.text not in _KEYWORDS:
                try:
                    return parse_selector_token(token)[0]
                except ExpressionError:
                    return Selector("*")  # parsing meets the same error again, in its place
        return None

    def _require_boolean(self, part: _ParsedNode) -> None:
        if part.unit is Unit.BOOLEAN:
            return
        hint = f"compare it, as in `{part.node} > {part.unit.example.partition('`')[0]}`"
        if isinstance(part.node, Literal):
            fields = [name for name, unit in FIELD_UNITS.items() if find_common_unit(unit, part.unit) is not None]
            field = f".{fields[0]}" if fields and part.unit is not Unit.PERCENT else ""
            hint = f"compare something with it, as in `{self.subject or 'claude.five_hour'}{field} < {part.node}`"
        _raise_error(f"{part.quoted} is {part.unit}, not a condition", part, hint)


def _parse_literal_token(token: Token) -> Literal:
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
    return Literal(text, value, unit)


def _make_node(node: Expression, unit: Unit, *parts: _ParsedNode) -> _ParsedNode:
    """A node above its parts.

    Raises:
        ExpressionError: the expression is nested too deep.
    """
    depth = 1 + max(part.depth for part in parts)
    if depth > MAX_DEPTH:
        _raise_error(f"nested more than {MAX_DEPTH} deep", parts[-1], SPLIT_RULE_HINT)
    return _ParsedNode(node, unit, parts[0].start, parts[-1].end, depth)


def _raise_error(message: str, part: Token | _ParsedNode, hint: str = "") -> NoReturn:
    raise ExpressionError(message, part.start, part.end, hint)


def _raise_not_comparable(left: _ParsedNode, right: _ParsedNode) -> NoReturn:
    measured, other = (right, left) if is_constant(left.node) else (left, right)
    hint = f"valid: such as `{measured.unit.example}`"
    if measured.unit is Unit.PERCENT and other.unit is Unit.NUMBER:
        if isinstance(other.node, Literal):
            value = float(other.node.value)
            percent = f"{value * 100:g}%" if 0 < value < 1 else f"{other.node}%"  # 0.8 is meant as 80 %
            hint = f"did you mean `{percent}`?"
    elif isinstance(measured.node, FieldReference):
        selector = measured.node.selector
        count_unit = get_count_unit(selector.provider, selector.window)
        units = FIELD_UNITS | dict.fromkeys(COUNT_FIELDS, count_unit)
        prefix = "" if measured.node.text in FIELD_UNITS else f"{selector}."
        fields = [f"`{prefix}{name}`" for name, unit in units.items() if find_common_unit(unit, other.unit) is not None]
        if fields:
            hint += f", or another field: {', '.join(fields)}"
    _raise_error(f"{measured.quoted} is {measured.unit}, {other.quoted} is {other.unit}", other, hint)
