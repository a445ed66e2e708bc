"""The tree that a rule's text becomes: it prints back to that text, and it is true, false or unknown.

Three-valued throughout: None is unknown, and unknown is neither true nor false (`None and False` is False, `None or
True` is True, all else that touches None is None). Never put a word of the language here: `watcher.core.rules.parser`
reads text, and a tree holds only what was checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import ClassVar

from msgspec import Struct

from watcher.core.rules.selector import Selector
from watcher.core.rules.units import Unit, is_currency

PERCENT_TOLERANCE = 1e-6
"""Percents nearer than this are equal: float32 sources cannot hold 0.2 exactly."""

COUNT_FIELDS = ("used", "limit", "remaining")
"""Fields that count what the window has: requests, credits, dollars."""

FieldLookup = Callable[[Selector, str], "float | bool | str | None"]
"""What the readings say: (selector, field) -> percents as 0..100, durations in seconds, None for unknown.

A bare field comes with the rule's first selector. Asked for "unit" it gives the reading's unit: so that a rule about
dollars never judges requests. May be infinite: a flat line never runs dry.
"""


class Expression(Struct, frozen=True):
    """One node of the tree. `str` gives its text; equal trees print equally."""

    base_precedence: ClassVar[int] = 8

    @property
    def precedence(self) -> int:
        """How tightly its parts hold together: a part that binds looser than its place demands needs parentheses."""
        return self.base_precedence

    def children(self) -> tuple[Expression, ...]:
        """The nodes directly below, left to right."""
        return ()

    def evaluate(self, lookup: FieldLookup) -> float | bool | None:
        """What it comes to, for these readings: a number, a truth, or None for unknown."""
        raise NotImplementedError


class Literal(Expression, frozen=True):
    """A value as the person wrote it: `80%`, `1h30m`, `$12.50`, `true`."""

    text: str
    value: float | bool
    unit: Unit

    def __str__(self) -> str:
        return self.text

    def evaluate(self, lookup: FieldLookup) -> float | bool | None:  # noqa: ARG002 - the same for all readings
        """What it says, durations in seconds."""
        return self.value


class FieldReference(Expression, frozen=True):
    """A field of a series: `claude.five_hour.resets_in`, or a bare `resets_in`."""

    text: str
    selector: Selector
    field: str

    def __str__(self) -> str:
        return self.text

    def evaluate(self, lookup: FieldLookup) -> float | bool | None:
        """What the readings say; text and what is not a number are unknown."""
        answer = lookup(self.selector, self.field)
        if answer is None or isinstance(answer, (bool, str)):
            return None if isinstance(answer, str) else answer
        amount = float(answer)
        return None if math.isnan(amount) else amount


class Negative(Expression, frozen=True):
    """Minus something."""

    operand: Expression

    base_precedence = 7  # tighter than a product

    def __str__(self) -> str:
        return "-" + _parenthesize(self.operand, 7)

    def children(self) -> tuple[Expression, ...]:
        """The operand."""
        return (self.operand,)

    def evaluate(self, lookup: FieldLookup) -> float | bool | None:
        """The operand's value, negated."""
        amount = self.operand.evaluate(lookup)
        return None if amount is None else -amount


class Arithmetic(Expression, frozen=True):
    """A sum, difference, product or quotient."""

    left: Expression
    operator: str
    right: Expression

    @property
    def precedence(self) -> int:
        """Products bind tighter than sums."""
        return 5 if self.operator in "+-" else 6

    def __str__(self) -> str:
        left, right = _parenthesize(self.left, self.precedence), _parenthesize(self.right, self.precedence + 1)
        return f"{left} {self.operator} {right}"

    def children(self) -> tuple[Expression, ...]:
        """Left, right."""
        return (self.left, self.right)

    def evaluate(self, lookup: FieldLookup) -> float | bool | None:
        """The value; unknown where a part is unknown, for a division by zero, and for infinity less infinity."""
        left, right = self.left.evaluate(lookup), self.right.evaluate(lookup)
        if left is None or right is None:
            return None
        match self.operator:
            case "+":
                amount = left + right
            case "-":
                amount = left - right
            case "*":
                amount = left * right
            case _:
                amount = left / right if right else math.nan
        return None if math.isnan(amount) else amount


class Comparison(Expression, frozen=True):
    """Two values of one unit, compared."""

    left: Expression
    operator: str
    right: Expression
    unit: Unit

    base_precedence = 4  # tighter than `not`, looser than a sum

    def __str__(self) -> str:
        return f"{_parenthesize(self.left, 5)} {self.operator} {_parenthesize(self.right, 5)}"

    def children(self) -> tuple[Expression, ...]:
        """Left, right."""
        return (self.left, self.right)

    def evaluate(self, lookup: FieldLookup) -> bool | None:
        """Whether it holds; unknown where a side is unknown, or where money is compared and the readings are none."""
        left, right = self.left.evaluate(lookup), self.right.evaluate(lookup)
        if left is None or right is None:
            return None
        if self.unit is Unit.MONEY and not _has_only_money_fields(self, lookup):
            return None
        return compare(left, self.operator, right, PERCENT_TOLERANCE if self.unit is Unit.PERCENT else 0.0)


class Not(Expression, frozen=True):
    """The opposite of a condition."""

    operand: Expression

    base_precedence = 3  # tighter than `and`, looser than a comparison

    def __str__(self) -> str:
        return "not " + _parenthesize(self.operand, 3)

    def children(self) -> tuple[Expression, ...]:
        """The operand."""
        return (self.operand,)

    def evaluate(self, lookup: FieldLookup) -> bool | None:
        """The opposite; of unknown, unknown."""
        truth = self.operand.evaluate(lookup)
        return None if truth is None else not truth


class BooleanOperation(Expression, frozen=True):
    """Conditions joined by one word. Evaluated from the left, and no further than is needed."""

    terms: tuple[Expression, ...]

    keyword: ClassVar[str]
    deciding_value: ClassVar[bool]  # one term of this truth decides the whole

    def __str__(self) -> str:
        return f" {self.keyword} ".join(_parenthesize(term, self.precedence + 1) for term in self.terms)

    def children(self) -> tuple[Expression, ...]:
        """The terms."""
        return self.terms

    def evaluate(self, lookup: FieldLookup) -> bool | None:
        """The deciding truth as soon as one term has it, else unknown if one is unknown, else the opposite."""
        known = True
        for term in self.terms:
            truth = term.evaluate(lookup)
            if truth is None:
                known = False
            elif bool(truth) is self.deciding_value:
                return self.deciding_value
        return not self.deciding_value if known else None


class And(BooleanOperation, frozen=True):
    """Conditions that must all hold: one that is false decides."""

    keyword = "and"
    deciding_value = False
    base_precedence = 2  # tighter than `or`


class Or(BooleanOperation, frozen=True):
    """Conditions of which one must hold: one that is true decides."""

    keyword = "or"
    deciding_value = True
    base_precedence = 1  # loosest of all


def compare(left: float, operator: str, right: float, tolerance: float) -> bool:
    """Whether the comparison holds. `>` and `<=` are opposites, as are `<` and `>=`, `==` and `!=`."""
    equal = left == right or abs(left - right) <= tolerance
    match operator:
        case ">":
            return left > right and not equal
        case ">=":
            return left > right or equal
        case "<":
            return left < right and not equal
        case "<=":
            return left < right or equal
        case "==":
            return equal
        case _:
            return not equal


def evaluate_boolean(expression: Expression, lookup: FieldLookup) -> bool | None:
    """Whether the condition holds: True, False, or None for unknown."""
    truth = expression.evaluate(lookup)
    return truth if isinstance(truth, bool) else None


def walk_expression(expression: Expression) -> Iterator[Expression]:
    """The expression and everything below it, left to right."""
    yield expression
    for part in expression.children():
        yield from walk_expression(part)


def iter_field_references(expression: Expression) -> Iterator[FieldReference]:
    """Every field that the expression asks for, left to right, repeats included."""
    return (node for node in walk_expression(expression) if isinstance(node, FieldReference))


def iter_comparisons(expression: Expression) -> Iterator[Comparison]:
    """Every comparison in the expression, left to right."""
    return (node for node in walk_expression(expression) if isinstance(node, Comparison))


def is_constant(expression: Expression) -> bool:
    """Whether it is the same for all readings."""
    return next(iter_field_references(expression), None) is None


def evaluate_constant(expression: Expression) -> float | bool | None:
    """The value of an expression without fields; None where it has some, or divides by zero."""
    return expression.evaluate(lambda _selector, _field: None)


def _parenthesize(expression: Expression, min_precedence: int) -> str:
    text = str(expression)
    return text if expression.precedence >= min_precedence else f"({text})"


def _has_only_money_fields(expression: Expression, lookup: FieldLookup) -> bool:
    for measure in iter_field_references(expression):
        if measure.field in COUNT_FIELDS:
            unit = lookup(measure.selector, "unit")
            if isinstance(unit, str) and not is_currency(unit):
                return False
    return True
