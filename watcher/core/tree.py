"""The tree that a rule's text becomes: it prints back to that text, and it is true, false or unknown.

Three-valued throughout: None is unknown, and unknown is neither true nor false (`None and False` is False, `None or
True` is True, all else that touches None is None). Never put a word of the language here: `watcher.core.expression`
reads text, and a tree holds only what was checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import ClassVar

from msgspec import Struct

from watcher.core.selector import Selector
from watcher.core.units import Unit, is_money

TOLERANCE = 1e-6
"""Percents nearer than this are equal: float32 sources cannot hold 0.2 exactly."""

COUNTED = ("used", "limit", "remaining")
"""Fields that count what the window has: requests, credits, dollars."""

Value = Callable[[Selector, str], "float | bool | str | None"]
"""What the readings say: (selector, field) -> percents as 0..100, durations in seconds, None for unknown.

A bare field comes with the rule's first selector. Asked for "unit" it gives the reading's unit: so that a rule about
dollars never judges requests. May be infinite: a flat line never runs dry.
"""


class Expression(Struct, frozen=True):
    """One node of the tree. `str` gives its text; equal trees print equally."""

    tightness: ClassVar[int] = 8

    @property
    def binding(self) -> int:
        """How tightly its parts hold together: a part that binds looser than its place demands needs parentheses."""
        return self.tightness

    def parts(self) -> tuple[Expression, ...]:
        """The nodes directly below, left to right."""
        return ()

    def result(self, value: Value) -> float | bool | None:
        """What it comes to, for these readings: a number, a truth, or None for unknown."""
        raise NotImplementedError


class Literal(Expression, frozen=True):
    """A value as the person wrote it: `80%`, `1h30m`, `$12.50`, `true`."""

    text: str
    worth: float | bool
    unit: Unit

    def __str__(self) -> str:
        return self.text

    def result(self, value: Value) -> float | bool | None:  # noqa: ARG002 - the same for all readings
        """What it says, durations in seconds."""
        return self.worth


class Measure(Expression, frozen=True):
    """A field of a series: `claude.five_hour.resets_in`, or a bare `resets_in`."""

    spelling: str
    selector: Selector
    field: str

    def __str__(self) -> str:
        return self.spelling

    def result(self, value: Value) -> float | bool | None:
        """What the readings say; text and what is not a number are unknown."""
        answer = value(self.selector, self.field)
        if answer is None or isinstance(answer, (bool, str)):
            return None if isinstance(answer, str) else answer
        amount = float(answer)
        return None if math.isnan(amount) else amount


class Negative(Expression, frozen=True):
    """Minus something."""

    operand: Expression

    tightness = 7  # tighter than a product

    def __str__(self) -> str:
        return "-" + _within(self.operand, 7)

    def parts(self) -> tuple[Expression, ...]:
        """The operand."""
        return (self.operand,)

    def result(self, value: Value) -> float | bool | None:
        """The operand's value, negated."""
        amount = self.operand.result(value)
        return None if amount is None else -amount


class Arithmetic(Expression, frozen=True):
    """A sum, difference, product or quotient."""

    left: Expression
    operator: str
    right: Expression

    @property
    def binding(self) -> int:
        """Products bind tighter than sums."""
        return 5 if self.operator in "+-" else 6

    def __str__(self) -> str:
        left, right = _within(self.left, self.binding), _within(self.right, self.binding + 1)
        return f"{left} {self.operator} {right}"

    def parts(self) -> tuple[Expression, ...]:
        """Left, right."""
        return (self.left, self.right)

    def result(self, value: Value) -> float | bool | None:
        """The value; unknown where a part is unknown, for a division by zero, and for infinity less infinity."""
        left, right = self.left.result(value), self.right.result(value)
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

    tightness = 4  # tighter than `not`, looser than a sum

    def __str__(self) -> str:
        return f"{_within(self.left, 5)} {self.operator} {_within(self.right, 5)}"

    def parts(self) -> tuple[Expression, ...]:
        """Left, right."""
        return (self.left, self.right)

    def result(self, value: Value) -> bool | None:
        """Whether it holds; unknown where a side is unknown, or where money is compared and the readings are none."""
        left, right = self.left.result(value), self.right.result(value)
        if left is None or right is None:
            return None
        if self.unit is Unit.MONEY and not _all_money(self, value):
            return None
        return compared(left, self.operator, right, TOLERANCE if self.unit is Unit.PERCENT else 0.0)


class Not(Expression, frozen=True):
    """The opposite of a condition."""

    operand: Expression

    tightness = 3  # tighter than `and`, looser than a comparison

    def __str__(self) -> str:
        return "not " + _within(self.operand, 3)

    def parts(self) -> tuple[Expression, ...]:
        """The operand."""
        return (self.operand,)

    def result(self, value: Value) -> bool | None:
        """The opposite; of unknown, unknown."""
        truth = self.operand.result(value)
        return None if truth is None else not truth


class Junction(Expression, frozen=True):
    """Conditions joined by one word. Evaluated from the left, and no further than is needed."""

    terms: tuple[Expression, ...]

    word: ClassVar[str]
    decisive: ClassVar[bool]  # one term of this truth decides the whole

    def __str__(self) -> str:
        return f" {self.word} ".join(_within(term, self.binding + 1) for term in self.terms)

    def parts(self) -> tuple[Expression, ...]:
        """The terms."""
        return self.terms

    def result(self, value: Value) -> bool | None:
        """The deciding truth as soon as one term has it, else unknown if one is unknown, else the opposite."""
        known = True
        for term in self.terms:
            truth = term.result(value)
            if truth is None:
                known = False
            elif bool(truth) is self.decisive:
                return self.decisive
        return not self.decisive if known else None


class And(Junction, frozen=True):
    """Conditions that must all hold: one that is false decides."""

    word = "and"
    decisive = False
    tightness = 2  # tighter than `or`


class Or(Junction, frozen=True):
    """Conditions of which one must hold: one that is true decides."""

    word = "or"
    decisive = True
    tightness = 1  # loosest of all


def compared(left: float, operator: str, right: float, tolerance: float) -> bool:
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


def evaluate(expression: Expression, value: Value) -> bool | None:
    """Whether the condition holds: True, False, or None for unknown."""
    truth = expression.result(value)
    return truth if isinstance(truth, bool) else None


def nodes(expression: Expression) -> Iterator[Expression]:
    """The expression and everything below it, left to right."""
    yield expression
    for part in expression.parts():
        yield from nodes(part)


def measures(expression: Expression) -> Iterator[Measure]:
    """Every field that the expression asks for, left to right, repeats included."""
    return (node for node in nodes(expression) if isinstance(node, Measure))


def comparisons(expression: Expression) -> Iterator[Comparison]:
    """Every comparison in the expression, left to right."""
    return (node for node in nodes(expression) if isinstance(node, Comparison))


def is_constant(expression: Expression) -> bool:
    """Whether it is the same for all readings."""
    return next(measures(expression), None) is None


def constant(expression: Expression) -> float | bool | None:
    """The value of an expression without fields; None where it has some, or divides by zero."""
    return expression.result(lambda _selector, _field: None)


def _within(expression: Expression, place: int) -> str:
    text = str(expression)
    return text if expression.binding >= place else f"({text})"


def _all_money(expression: Expression, value: Value) -> bool:
    for measure in measures(expression):
        if measure.field in COUNTED:
            unit = value(measure.selector, "unit")
            if isinstance(unit, str) and not is_money(unit):
                return False
    return True
