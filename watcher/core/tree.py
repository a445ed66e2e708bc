"""The tree that a rule's text becomes: it prints back to that text, and it is true, false or unknown.

Three-valued throughout: None is unknown, and unknown is neither true nor false (`None and False` is False, `None or
True` is True, all else that touches None is None). Never put a word of the language here: `watcher.core.expression`
reads text, and a tree holds only what was checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from watcher.core.units import Unit, is_money
from watcher.core.vocabulary import KINDS, PROVIDERS

if TYPE_CHECKING:
    from watcher.core.model import Series

TOLERANCE = 1e-6
"""Percents nearer than this are equal: float32 sources cannot hold 0.2 exactly."""

COUNTED = ("used", "limit", "remaining")
"""Fields that count what the window has: requests, credits, dollars."""


class Selector(Struct, frozen=True):
    """Which series a rule means."""

    provider: str  # an id, or "*"
    account: str = ""  # as the person wrote it; empty: every account
    window: str = ""  # a window id, a kind, or "*"; empty: the provider's primary window

    def __str__(self) -> str:
        account = f"[{self.account}]" if self.account else ""
        return f"{self.provider}{account}.{self.window}" if self.window else self.provider + account

    @property
    def kind(self) -> str | None:
        """The kind that the window word names; None where it names a window: `codex.weekly` is one, `*.weekly` many."""
        if self.window not in KINDS:
            return None
        windows = PROVIDERS.get(self.provider)
        return None if windows is not None and self.window in windows.known else self.window

    def matches(self, series: Series, account_name: str, kind: str, *, primary: bool) -> bool:
        """Whether this series is meant.

        Args:
            series: to be judged.
            account_name: the email or login of the series' account, which a selector may use in place of its key.
            kind: of the series' window.
            primary: whether the series is its provider's primary window at this moment.
        """
        if self.provider not in ("*", series.provider):
            return False
        if self.account and self.account != series.account and self.account.casefold() != account_name.casefold():
            return False
        if not self.window:
            return primary
        if self.window == "*":
            return True
        wanted = self.kind
        return series.window == self.window if wanted is None else kind == wanted


Value = Callable[[Selector, str], "float | bool | str | None"]
"""What the readings say: (selector, field) -> percents as 0..100, durations in seconds, None for unknown.

A bare field comes with the rule's first selector. Asked for "unit" it gives the reading's unit: so that a rule about
dollars never judges requests. May be infinite: a flat line never runs dry.
"""


class Expression(Struct, frozen=True):
    """One node of the tree. `str` gives its text; equal trees print equally."""

    @property
    def binding(self) -> int:
        """How tightly its parts hold together: a part that binds looser than its place demands needs parentheses."""
        return 8

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

    @property
    def binding(self) -> int:
        """Tighter than a product."""
        return 7

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

    @property
    def binding(self) -> int:
        """Tighter than `not`, looser than a sum."""
        return 4

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

    @property
    def binding(self) -> int:
        """Tighter than `and`, looser than a comparison."""
        return 3

    def __str__(self) -> str:
        return "not " + _within(self.operand, 3)

    def parts(self) -> tuple[Expression, ...]:
        """The operand."""
        return (self.operand,)

    def result(self, value: Value) -> bool | None:
        """The opposite; of unknown, unknown."""
        truth = self.operand.result(value)
        return None if truth is None else not truth


class And(Expression, frozen=True):
    """Conditions that must all hold."""

    terms: tuple[Expression, ...]

    @property
    def binding(self) -> int:
        """Tighter than `or`."""
        return 2

    def __str__(self) -> str:
        return " and ".join(_within(term, 3) for term in self.terms)

    def parts(self) -> tuple[Expression, ...]:
        """The terms."""
        return self.terms

    def result(self, value: Value) -> bool | None:
        """False as soon as one is false, else unknown if one is unknown."""
        known = True
        for term in self.terms:
            truth = term.result(value)
            if truth is None:
                known = False
            elif not truth:
                return False
        return True if known else None


class Or(Expression, frozen=True):
    """Conditions of which one must hold."""

    terms: tuple[Expression, ...]

    @property
    def binding(self) -> int:
        """Loosest of all."""
        return 1

    def __str__(self) -> str:
        return " or ".join(_within(term, 2) for term in self.terms)

    def parts(self) -> tuple[Expression, ...]:
        """The terms."""
        return self.terms

    def result(self, value: Value) -> bool | None:
        """True as soon as one is true, else unknown if one is unknown."""
        known = True
        for term in self.terms:
            truth = term.result(value)
            if truth is None:
                known = False
            elif truth:
                return True
        return False if known else None


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


def measures(expression: Expression) -> Iterator[Measure]:
    """Every field that the expression asks for, left to right, repeats included."""
    if isinstance(expression, Measure):
        yield expression
    for part in expression.parts():
        yield from measures(part)


def comparisons(expression: Expression) -> Iterator[Comparison]:
    """Every comparison in the expression, left to right."""
    if isinstance(expression, Comparison):
        yield expression
    for part in expression.parts():
        yield from comparisons(part)


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
