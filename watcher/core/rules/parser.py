"""Words to a checked tree, by the grammar in `watcher.core.rules.parser`. Never put the reading of words here."""

from collections.abc import Callable
from typing import NoReturn

from msgspec import Struct

from watcher.core.rules import fields as vocabulary
from watcher.core.rules.ast import (
    COUNT_FIELDS,
    And,
    Arithmetic,
    Comparison,
    Expression,
    FieldLookup,
    FieldReference,
    Literal,
    Negative,
    Not,
    Or,
    evaluate_boolean,
    is_constant,
    iter_comparisons,
    iter_field_references,
)
from watcher.core.rules.fields import FIELD_UNITS
from watcher.core.rules.lexer import (
    MAX_CONDITION_LENGTH,
    SPLIT_RULE_HINT,
    ExpressionError,
    Token,
    parse_literal_token,
    parse_selector_token,
    quote_text,
    tokenize,
)
from watcher.core.rules.selector import Selector
from watcher.core.rules.units import Unit, find_common_unit, find_scaled_unit

MAX_DEPTH = 40
COMPARISON_OPERATORS = (">", ">=", "<", "<=", "==", "!=")
_KEYWORDS = ("and", "or", "not", "true", "false", "level")


class ParsedNode(Struct, frozen=True):
    """A node that was read, with what is only needed while reading."""

    node: Expression
    unit: Unit
    start: int
    end: int
    depth: int = 1


class Parser:
    """Reads one text, left to right, with one token of foresight."""

    def __init__(self, text: str, level: Literal | None, subject: Selector | None) -> None:
        self.text = text
        self.level = level
        self.tokens = tokenize(text)
        self.position = 0
        self.nesting = 0
        self.subject = subject or self._find_first_selector()

    @property
    def next_token(self) -> Token:
        """The word that is read next."""
        return self.tokens[self.position]

    def advance(self) -> Token:
        """The next word, now read; the end again and again."""
        token = self.tokens[self.position]
        self.position = min(self.position + 1, len(self.tokens) - 1)
        return token

    def parse_all(self, left_operand: ParsedNode | None = None) -> ParsedNode:
        """The whole text as one condition; where `left_operand` is given, the text goes on after it.

        Raises:
            ExpressionError: it is none.
        """
        part = self._parse_condition() if left_operand is None else self._parse_comparison(left_operand)
        left_over = self.next_token
        if left_over.kind != "end":
            hint = "valid here: `and`, `or`, a comparison, or the end"
            if left_operand is not None:
                hint = f"write the whole condition, beginning with {_quote_node(left_operand)}"
            elif left_over.text.lower() in ("and", "or", "not"):
                hint = f"write `{left_over.text.lower()}` in lower case"
            elif left_over.text == ")":
                hint = "there is no `(` that it closes"
            self._raise_error(f"unexpected {quote_text(left_over.text)}", left_over, hint)
        self._require_boolean(part)
        if is_constant(part.node):
            raise ExpressionError(
                "this is the same for all readings", part.start, part.end,
                "name a series, as in `claude.five_hour > 80%`",
            )  # fmt: skip
        return part

    def _parse_condition(self) -> ParsedNode:
        return self._parse_chain("or", self._parse_and, Or)

    def _parse_and(self) -> ParsedNode:
        return self._parse_chain("and", self._parse_not, And)

    def _parse_chain(
        self, keyword: str, parse_operand: Callable[[], ParsedNode], node_type: type[And] | type[Or]
    ) -> ParsedNode:
        parts = [parse_operand()]
        while self.next_token.text == keyword:
            self._require_boolean(parts[-1])
            self.advance()
            parts.append(parse_operand())
            self._require_boolean(parts[-1])
        if len(parts) == 1:
            return parts[0]
        node = node_type(tuple(part.node for part in parts))
        return self._make_node(node, Unit.BOOLEAN, *parts)

    def _parse_not(self) -> ParsedNode:
        if self.next_token.text != "not":
            return self._parse_comparison(self._parse_sum())
        token = self.advance()
        self._enter_nesting(token)
        operand = self._parse_not()
        self.nesting -= 1
        self._require_boolean(operand)
        part = self._make_node(Not(operand.node), Unit.BOOLEAN, operand)
        return ParsedNode(part.node, part.unit, token.start, part.end, part.depth)

    def _parse_comparison(self, left: ParsedNode) -> ParsedNode:
        if self.next_token.text not in COMPARISON_OPERATORS:
            return left
        operator = self.advance()
        right = self._parse_sum()
        unit = find_common_unit(left.unit, right.unit)
        if unit is None:
            self._raise_not_comparable(left, right)
        if unit in (Unit.BOOLEAN, Unit.TEXT) and operator.text not in ("==", "!="):
            self._raise_error(
                f"{_quote_node(left)} is {unit}, which has no order", operator, "valid: `==`, `!=`, or the bare word"
            )
        if self.next_token.text in COMPARISON_OPERATORS:
            self._raise_error("comparisons do not chain", self.next_token, "write `a > b and b > c`")
        return self._make_node(Comparison(left.node, operator.text, right.node, unit), Unit.BOOLEAN, left, right)

    def _parse_sum(self) -> ParsedNode:
        part = self._parse_product()
        while self.next_token.text in ("+", "-"):
            operator = self.advance()
            right = self._parse_product()
            unit = find_common_unit(part.unit, right.unit)
            if unit is None or unit in (Unit.BOOLEAN, Unit.TEXT):
                verb = "added to" if operator.text == "+" else "taken from"
                one, other = (right, part)
                message = f"{_quote_node(one)} is {one.unit} and {_quote_node(other)} is {other.unit}"
                raise ExpressionError(f"{message}: one cannot be {verb} the other", part.start, right.end)
            part = self._make_node(Arithmetic(part.node, operator.text, right.node), unit, part, right)
        return part

    def _parse_product(self) -> ParsedNode:
        part = self._parse_factor()
        while self.next_token.text in ("*", "/"):
            operator = self.advance()
            right = self._parse_factor()
            unit = find_scaled_unit(part.unit, operator.text, right.unit)
            if unit is None:
                verb = "multiplied" if operator.text == "*" else "divided"
                message = f"{_quote_node(part)} is {part.unit} and cannot be {verb} by {right.unit}"
                raise ExpressionError(message, part.start, right.end, "valid: by a plain number such as `2`")
            if operator.text == "/" and isinstance(right.node, Literal) and not right.node.value:
                message = "a quotient by zero is never known, so this could never hold"
                raise ExpressionError(message, right.start, right.end, "divide by something else")
            part = self._make_node(Arithmetic(part.node, operator.text, right.node), unit, part, right)
        return part

    def _parse_factor(self) -> ParsedNode:
        token = self.advance()
        if token.kind == "amount":
            literal = parse_literal_token(token)
            return ParsedNode(literal, literal.unit, token.start, token.end)
        if token.kind == "selector":
            return self._parse_word(token)
        if token.text == "-":
            self._enter_nesting(token)
            operand = self._parse_factor()
            self.nesting -= 1
            if operand.unit in (Unit.BOOLEAN, Unit.TEXT):
                self._raise_error(f"{_quote_node(operand)} is {operand.unit}, which has no minus", token)
            part = self._make_node(Negative(operand.node), operand.unit, operand)
            return ParsedNode(part.node, part.unit, token.start, part.end, part.depth)
        if token.text == "(":
            return self._parse_parenthesized(token)
        if token.kind == "end":
            self._raise_error("the condition ends too early", token, "valid here: a value such as `80%`, or a series")
        hint = "valid here: a value such as `80%`, or a series such as `claude.five_hour`"
        if token.text == "*":
            hint = "write `*.*` for every window, or `*.weekly` for every weekly one"
        raise ExpressionError(f"unexpected {quote_text(token.text)}", token.start, token.end, hint)

    def _parse_parenthesized(self, token: Token) -> ParsedNode:
        self._enter_nesting(token)
        part = self._parse_condition()
        self.nesting -= 1
        if self.next_token.text != ")":
            self._raise_error("this `(` is never closed", token)
        return ParsedNode(part.node, part.unit, token.start, self.advance().end, part.depth)

    def _parse_word(self, token: Token) -> ParsedNode:
        word = token.text
        if word in ("and", "or", "not"):
            self._raise_error(f"unexpected {quote_text(word)}", token, "valid here: a value such as `80%`, or a series")
        if word in ("true", "false"):
            return ParsedNode(Literal(word, word == "true", Unit.BOOLEAN), Unit.BOOLEAN, token.start, token.end)
        if word == "level":
            if self.level is None:
                self._raise_error(
                    "`level` stands for nothing here", token, "give the rule `levels`, or write the value"
                )
            return ParsedNode(self.level, self.level.unit, token.start, token.end)
        if word in FIELD_UNITS:
            if self.subject is None:
                hint = f"name one, as in `claude.five_hour.{word}`"
                self._raise_error(f"`{word}` belongs to the rule's first series, and there is none", token, hint)
            selector, field = self.subject, word
        else:
            selector, field = parse_selector_token(token)
        field = field or "used_percent"
        unit = FIELD_UNITS[field]
        if unit is Unit.TEXT:
            self._raise_error(f"`{field}` is text, for `title` and `message` only", token, "valid: such as `not up`")
        if unit is Unit.AMOUNT:
            unit = vocabulary.get_count_unit(selector.provider, selector.window)
        return ParsedNode(FieldReference(word, selector, field), unit, token.start, token.end)

    def _find_first_selector(self) -> Selector | None:
        for token in self.tokens:
            if token.kind == "selector" and token.text not in FIELD_UNITS and token.text not in _KEYWORDS:
                try:
                    return parse_selector_token(token)[0]
                except ExpressionError:
                    return Selector("*")  # the same error is raised again, in its place
        return None

    def _raise_not_comparable(self, left: ParsedNode, right: ParsedNode) -> NoReturn:
        measured, other = (right, left) if is_constant(left.node) else (left, right)
        message = f"{_quote_node(measured)} is {measured.unit}, {_quote_node(other)} is {other.unit}"
        hint = f"valid: such as `{measured.unit.example}`"
        if measured.unit is Unit.PERCENT and other.unit is Unit.NUMBER:
            hint = f"did you mean `{_suggest_percent(other.node)}`?" if isinstance(other.node, Literal) else hint
        elif isinstance(measured.node, FieldReference):
            selector = measured.node.selector
            units = {
                **FIELD_UNITS,
                **dict.fromkeys(COUNT_FIELDS, vocabulary.get_count_unit(selector.provider, selector.window)),
            }
            fields = [name for name, unit in units.items() if find_common_unit(unit, other.unit) is not None]
            if fields:
                series = _format_series_prefix(measured.node)
                hint += f", or another field: {', '.join(f'`{series}{name}`' for name in fields)}"
        raise ExpressionError(message, other.start, other.end, hint)

    def _make_node(self, node: Expression, unit: Unit, *parts: ParsedNode) -> ParsedNode:
        """A node over its parts.

        Raises:
            ExpressionError: the tree grew too deep.
        """
        depth = 1 + max(part.depth for part in parts)
        if depth > MAX_DEPTH:
            raise ExpressionError(f"nested more than {MAX_DEPTH} deep", parts[-1].start, parts[-1].end, SPLIT_RULE_HINT)
        return ParsedNode(node, unit, parts[0].start, parts[-1].end, depth)

    def _enter_nesting(self, token: Token) -> None:
        """Counts what is still open, so that reading is bounded too."""
        self.nesting += 1
        if self.nesting > MAX_DEPTH:
            self._raise_error(f"nested more than {MAX_DEPTH} deep", token, SPLIT_RULE_HINT)

    def _require_boolean(self, part: ParsedNode) -> None:
        if part.unit is not Unit.BOOLEAN:
            hint = f"compare it, as in `{part.node} > {part.unit.example.partition('`')[0]}`"
            if isinstance(part.node, Literal):
                series = self.subject or "claude.five_hour"
                fields = [
                    f".{name}" for name, unit in FIELD_UNITS.items() if find_common_unit(unit, part.unit) is not None
                ]
                field = fields[0] if fields and part.unit is not Unit.PERCENT else ""
                hint = f"compare something with it, as in `{series}{field} < {part.node}`"
            message = f"{_quote_node(part)} is {part.unit}, not a condition"
            raise ExpressionError(message, part.start, part.end, hint)

    def _raise_error(self, message: str, token: Token, hint: str = "") -> NoReturn:
        raise ExpressionError(message, token.start, token.end, hint)


def _suggest_percent(literal: Literal) -> str:
    """The percent that was meant by a plain number: a part of one, as other programs write it, is so much of all."""
    worth = float(literal.value)
    return f"{worth * 100:g}%" if 0 < worth < 1 else f"{literal}%"


def _quote_node(part: ParsedNode) -> str:
    return quote_text(str(part.node))


def _format_series_prefix(measure: FieldReference) -> str:
    """What stands before the field: `claude.five_hour.`, or nothing for a bare one."""
    if measure.text in FIELD_UNITS:
        return ""
    return f"{measure.selector}."


# --- The rule language: text to a checked tree. Small enough to read whole, and every mistake points at its place


__all__ = [
    "MAX_CONDITION_LENGTH",
    "MAX_DEPTH",
    "Expression",
    "ExpressionError",
    "FieldLookup",
    "Literal",
    "evaluate_boolean",
    "find_subject",
    "parse_clear",
    "parse_condition",
    "parse_literal",
    "parse_selector",
]


def parse_condition(text: str, *, level: Literal | None = None, subject: Selector | None = None) -> Expression:
    """The condition that the text states.

    Args:
        text: one condition, as in a rule's `when`.
        level: what the word `level` stands for; None: the word is an error.
        subject: whose fields the bare ones are; None: the first selector in the text.

    Raises:
        ExpressionError: with the place, and what would be valid.
    """
    parser = Parser(text, level, subject)
    return parser.parse_all().node


def parse_clear(text: str, when: Expression, *, level: Literal | None = None) -> Expression:
    """The condition of a rule's `clear`: a whole one, or a bare comparison such as `< 70%`.

    A bare comparison is about the measured side of the first comparison in `when`.

    Raises:
        ExpressionError: with the place, and what would be valid.
    """
    parser = Parser(text, level, find_subject(when))
    if parser.next_token.text not in COMPARISON_OPERATORS:
        return parser.parse_all().node
    first = next(iter_comparisons(when), None)
    if first is None:
        raise ExpressionError(
            "`when` compares nothing that this could be about", 0, len(text), "write a whole condition"
        )
    measured, unit = (first.right if is_constant(first.left) else first.left), first.unit
    return parser.parse_all(ParsedNode(measured, unit, 0, 0)).node


def parse_literal(text: str) -> Literal:
    """One literal, as in a rule's `levels`.

    Raises:
        ExpressionError: it is none, or more than one.
    """
    parser = Parser(text, None, None)
    token = parser.advance()
    negative = token.text == "-"
    token = parser.advance() if negative else token
    if token.kind != "amount" or parser.next_token.kind != "end":
        raise ExpressionError(f"{quote_text(text)} is not one value", 0, len(text), "valid: `80%`, `2h`, `$5` or `50`")
    literal = parse_literal_token(token)
    return Literal("-" + literal.text, -literal.value, literal.unit) if negative else literal


def parse_selector(text: str) -> tuple[Selector, str]:
    """A selector by itself, and the field after it, empty where none is named: `claude[me].five_hour`.

    Raises:
        ExpressionError: it is none, or names something unknown.
    """
    parser = Parser(text, None, None)
    token = parser.advance()
    if token.kind != "selector" or parser.next_token.kind != "end" or token.text in FIELD_UNITS:
        raise ExpressionError(f"{quote_text(text)} is not a series", 0, len(text), "valid: such as `claude.five_hour`")
    return parse_selector_token(token)


def find_subject(expression: Expression) -> Selector:
    """The selector that the rule is about: the first in the text. Every condition has one."""
    return next(iter_field_references(expression)).selector
