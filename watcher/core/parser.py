"""Words to a checked tree, by the grammar in `watcher.core.expression`. Never put the reading of words here."""

from collections.abc import Callable
from typing import NoReturn

from msgspec import Struct

from watcher.core import vocabulary
from watcher.core.selector import Selector
from watcher.core.tokens import SPLIT, ExpressionError, Token, literal_of, selector_of, shown, tokens
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
    is_constant,
)
from watcher.core.units import Unit, common, scaled
from watcher.core.vocabulary import FIELDS

DEEPEST = 40
COMPARING = (">", ">=", "<", "<=", "==", "!=")
_WORDS = ("and", "or", "not", "true", "false", "level")


class Part(Struct, frozen=True):
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
        self.tokens = tokens(text)
        self.at = 0
        self.open = 0
        self.subject = subject or self._first_selector()

    @property
    def next(self) -> Token:
        """The word that is read next."""
        return self.tokens[self.at]

    def take(self) -> Token:
        """The next word, now read; the end again and again."""
        token = self.tokens[self.at]
        self.at = min(self.at + 1, len(self.tokens) - 1)
        return token

    def whole(self, measured: Part | None = None) -> Part:
        """The whole text as one condition; where `measured` is given, the text goes on after it.

        Raises:
            ExpressionError: it is none.
        """
        part = self._condition() if measured is None else self._compared(measured)
        left_over = self.next
        if left_over.kind != "end":
            hint = "valid here: `and`, `or`, a comparison, or the end"
            if measured is not None:
                hint = f"write the whole condition, beginning with {_name(measured)}"
            elif left_over.text.lower() in ("and", "or", "not"):
                hint = f"write `{left_over.text.lower()}` in lower case"
            elif left_over.text == ")":
                hint = "there is no `(` that it closes"
            self._wrong(f"unexpected {shown(left_over.text)}", left_over, hint)
        self._must_be_true_or_false(part)
        if is_constant(part.node):
            raise ExpressionError(
                "this is the same for all readings", part.start, part.end,
                "name a series, as in `claude.five_hour > 80%`",
            )  # fmt: skip
        return part

    def _condition(self) -> Part:
        return self._joined("or", self._all, Or)

    def _all(self) -> Part:
        return self._joined("and", self._one, And)

    def _joined(self, word: str, read: Callable[[], Part], join: type[And] | type[Or]) -> Part:
        parts = [read()]
        while self.next.text == word:
            self._must_be_true_or_false(parts[-1])
            self.take()
            parts.append(read())
            self._must_be_true_or_false(parts[-1])
        if len(parts) == 1:
            return parts[0]
        node = join(tuple(part.node for part in parts))
        return self._built(node, Unit.BOOLEAN, *parts)

    def _one(self) -> Part:
        if self.next.text != "not":
            return self._compared(self._sum())
        token = self.take()
        self._deeper(token)
        operand = self._one()
        self.open -= 1
        self._must_be_true_or_false(operand)
        part = self._built(Not(operand.node), Unit.BOOLEAN, operand)
        return Part(part.node, part.unit, token.start, part.end, part.depth)

    def _compared(self, left: Part) -> Part:
        if self.next.text not in COMPARING:
            return left
        operator = self.take()
        right = self._sum()
        unit = common(left.unit, right.unit)
        if unit is None:
            self._not_comparable(left, right)
        if unit in (Unit.BOOLEAN, Unit.TEXT) and operator.text not in ("==", "!="):
            self._wrong(f"{_name(left)} is {unit}, which has no order", operator, "valid: `==`, `!=`, or the bare word")
        if self.next.text in COMPARING:
            self._wrong("comparisons do not chain", self.next, "write `a > b and b > c`")
        return self._built(Comparison(left.node, operator.text, right.node, unit), Unit.BOOLEAN, left, right)

    def _sum(self) -> Part:
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
            part = self._built(Arithmetic(part.node, operator.text, right.node), unit, part, right)
        return part

    def _product(self) -> Part:
        part = self._factor()
        while self.next.text in ("*", "/"):
            operator = self.take()
            right = self._factor()
            unit = scaled(part.unit, operator.text, right.unit)
            if unit is None:
                verb = "multiplied" if operator.text == "*" else "divided"
                message = f"{_name(part)} is {part.unit} and cannot be {verb} by {right.unit}"
                raise ExpressionError(message, part.start, right.end, "valid: by a plain number such as `2`")
            if operator.text == "/" and isinstance(right.node, Literal) and not right.node.worth:
                message = "a quotient by zero is never known, so this could never hold"
                raise ExpressionError(message, right.start, right.end, "divide by something else")
            part = self._built(Arithmetic(part.node, operator.text, right.node), unit, part, right)
        return part

    def _factor(self) -> Part:
        token = self.take()
        if token.kind == "amount":
            literal = literal_of(token)
            return Part(literal, literal.unit, token.start, token.end)
        if token.kind == "selector":
            return self._word(token)
        if token.text == "-":
            self._deeper(token)
            operand = self._factor()
            self.open -= 1
            if operand.unit in (Unit.BOOLEAN, Unit.TEXT):
                self._wrong(f"{_name(operand)} is {operand.unit}, which has no minus", token)
            part = self._built(Negative(operand.node), operand.unit, operand)
            return Part(part.node, part.unit, token.start, part.end, part.depth)
        if token.text == "(":
            return self._parenthesised(token)
        if token.kind == "end":
            self._wrong("the condition ends too early", token, "valid here: a value such as `80%`, or a series")
        hint = "valid here: a value such as `80%`, or a series such as `claude.five_hour`"
        if token.text == "*":
            hint = "write `*.*` for every window, or `*.weekly` for every weekly one"
        raise ExpressionError(f"unexpected {shown(token.text)}", token.start, token.end, hint)

    def _parenthesised(self, token: Token) -> Part:
        self._deeper(token)
        part = self._condition()
        self.open -= 1
        if self.next.text != ")":
            self._wrong("this `(` is never closed", token)
        return Part(part.node, part.unit, token.start, self.take().end, part.depth)

    def _word(self, token: Token) -> Part:
        word = token.text
        if word in ("and", "or", "not"):
            self._wrong(f"unexpected {shown(word)}", token, "valid here: a value such as `80%`, or a series")
        if word in ("true", "false"):
            return Part(Literal(word, word == "true", Unit.BOOLEAN), Unit.BOOLEAN, token.start, token.end)
        if word == "level":
            if self.level is None:
                self._wrong("`level` stands for nothing here", token, "give the rule `levels`, or write the value")
            return Part(self.level, self.level.unit, token.start, token.end)
        if word in FIELDS:
            if self.subject is None:
                hint = f"name one, as in `claude.five_hour.{word}`"
                self._wrong(f"`{word}` belongs to the rule's first series, and there is none", token, hint)
            selector, field = self.subject, word
        else:
            selector, field = selector_of(token)
        field = field or "used_percent"
        unit = FIELDS[field]
        if unit is Unit.TEXT:
            self._wrong(f"`{field}` is text, for `title` and `message` only", token, "valid: such as `not up`")
        if unit is Unit.AMOUNT:
            unit = vocabulary.count_of(selector.provider, selector.window)
        return Part(Measure(word, selector, field), unit, token.start, token.end)

    def _first_selector(self) -> Selector | None:
        for token in self.tokens:
            if token.kind == "selector" and token.text not in FIELDS and token.text not in _WORDS:
                try:
                    return selector_of(token)[0]
                except ExpressionError:
                    return Selector("*")  # the same error is raised again, in its place
        return None

    def _not_comparable(self, left: Part, right: Part) -> NoReturn:
        measured, other = (right, left) if is_constant(left.node) else (left, right)
        message = f"{_name(measured)} is {measured.unit}, {_name(other)} is {other.unit}"
        hint = f"valid: such as `{measured.unit.example}`"
        if measured.unit is Unit.PERCENT and other.unit is Unit.NUMBER:
            hint = f"did you mean `{_as_percent(other.node)}`?" if isinstance(other.node, Literal) else hint
        elif isinstance(measured.node, Measure):
            selector = measured.node.selector
            units = {**FIELDS, **dict.fromkeys(COUNTED, vocabulary.count_of(selector.provider, selector.window))}
            fields = [name for name, unit in units.items() if common(unit, other.unit) is not None]
            if fields:
                series = _series_text(measured.node)
                hint += f", or another field: {', '.join(f'`{series}{name}`' for name in fields)}"
        raise ExpressionError(message, other.start, other.end, hint)

    def _built(self, node: Expression, unit: Unit, *parts: Part) -> Part:
        """A node over its parts.

        Raises:
            ExpressionError: the tree grew too deep.
        """
        depth = 1 + max(part.depth for part in parts)
        if depth > DEEPEST:
            raise ExpressionError(f"nested more than {DEEPEST} deep", parts[-1].start, parts[-1].end, SPLIT)
        return Part(node, unit, parts[0].start, parts[-1].end, depth)

    def _deeper(self, token: Token) -> None:
        """Counts what is still open, so that reading is bounded too."""
        self.open += 1
        if self.open > DEEPEST:
            self._wrong(f"nested more than {DEEPEST} deep", token, SPLIT)

    def _must_be_true_or_false(self, part: Part) -> None:
        if part.unit is not Unit.BOOLEAN:
            hint = f"compare it, as in `{part.node} > {part.unit.example.partition('`')[0]}`"
            if isinstance(part.node, Literal):
                series = self.subject or "claude.five_hour"
                fields = [f".{name}" for name, unit in FIELDS.items() if common(unit, part.unit) is not None]
                field = fields[0] if fields and part.unit is not Unit.PERCENT else ""
                hint = f"compare something with it, as in `{series}{field} < {part.node}`"
            message = f"{_name(part)} is {part.unit}, not a condition"
            raise ExpressionError(message, part.start, part.end, hint)

    def _wrong(self, message: str, token: Token, hint: str = "") -> NoReturn:
        raise ExpressionError(message, token.start, token.end, hint)


def _as_percent(literal: Literal) -> str:
    """The percent that was meant by a plain number: a part of one, as other programs write it, is so much of all."""
    worth = float(literal.worth)
    return f"{worth * 100:g}%" if 0 < worth < 1 else f"{literal}%"


def _name(part: Part) -> str:
    return shown(str(part.node))


def _series_text(measure: Measure) -> str:
    """What stands before the field: `claude.five_hour.`, or nothing for a bare one."""
    if measure.spelling in FIELDS:
        return ""
    return f"{measure.selector}."
