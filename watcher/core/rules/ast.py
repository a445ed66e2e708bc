"""Expressions: what the text of a condition is parsed into. `str` gives the text, `evaluate` the value for readings.

The logic has three values: None is unknown, neither true nor false. `None and False` is False, `None or True` is True,
everything else with None is None.
"""

from __future__ import annotations

import math
import operator as operators
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from watcher.core.rules.vocabulary import PROVIDER_WINDOWS, WINDOW_KINDS, Unit, is_currency

if TYPE_CHECKING:
    from watcher.core.model import Series

PERCENT_TOLERANCE = 1e-6
"""Percents closer than this are equal: float32 sources cannot hold 0.2 exactly."""

COUNT_FIELDS = ("used", "limit", "remaining", "increase")
"""Fields that count what the window has: requests, credits, dollars."""


class Selector(Struct, frozen=True):
    """Which series a rule means."""

    provider: str  # an id, or "*"
    account: str = ""  # as it is written; empty: every account
    window: str = ""  # a window id, a kind, or "*"; empty: the provider's primary window

    def __str__(self) -> str:
        account = f"[{self.account}]" if self.account else ""
        return f"{self.provider}{account}.{self.window}" if self.window else self.provider + account

    @property
    def kind(self) -> str | None:
        """The kind of window that is meant; None if one window is: `codex.weekly` is a window, `*.weekly` a kind."""
        if self.window not in WINDOW_KINDS:
            return None
        windows = PROVIDER_WINDOWS.get(self.provider)
        return None if windows is not None and self.window in windows.known else self.window

    @property
    def for_all_windows(self) -> Selector:
        """The selector as it is meant outside of rules: a provider alone is all its windows, not its primary one."""
        return self if self.window else Selector(self.provider, self.account, "*")

    def matches(self, series: Series, account_name: str, kind: str, *, is_primary: bool) -> bool:
        """Whether this series is meant.

        Args:
            series: a series.
            account_name: the email or login of its account, which a selector may use in place of the key.
            kind: of its window.
            is_primary: whether it is its provider's primary window now.
        """
        if self.provider not in ("*", series.provider):
            return False
        if self.account and self.account != series.account and self.account.casefold() != account_name.casefold():
            return False
        if not self.window:
            return is_primary
        if self.window == "*":
            return True
        wanted = self.kind
        return series.window == self.window if wanted is None else kind == wanted


FieldLookup = Callable[[Selector, str], "float | bool | str | None"]
"""Looks up a field of a series: percents as 0..100, durations in seconds, None for unknown; may be infinite.

A bare field comes with the rule's first selector. The field "unit" is the reading's unit, so that a condition about
money is never evaluated on requests.
"""

_ARITHMETIC = {"+": operators.add, "-": operators.sub, "*": operators.mul, "/": operators.truediv}


class Expression(Struct, frozen=True):
    """One node of the tree. Equal trees have equal texts."""

    def children(self) -> tuple[Expression, ...]:
        """The nodes directly below, left to right."""
        return ()

    def evaluate(self, lookup: FieldLookup) -> float | bool | None:
        """The value for these readings: a number, true or false; None for unknown."""
        raise NotImplementedError


class Literal(Expression, frozen=True):
    """A value as it is written: `80%`, `1h30m`, `$12.50`, `true`."""

    text: str
    value: float | bool
    unit: Unit

    def __str__(self) -> str:
        return self.text

    def evaluate(self, lookup: FieldLookup) -> float | bool | None:  # noqa: ARG002 - the same for all readings
        """The value; a duration in seconds."""
        return self.value


class FieldReference(Expression, frozen=True):
    """A field of a series: `claude.five_hour.resets_in`, or a bare `resets_in`."""

    text: str
    selector: Selector
    field: str

    def __str__(self) -> str:
        return self.text

    def evaluate(self, lookup: FieldLookup) -> float | bool | None:
        """The field's value; text and NaN are unknown."""
        value = lookup(self.selector, self.field)
        if value is None or isinstance(value, bool):
            return value
        return None if isinstance(value, str) or math.isnan(value) else float(value)


class _Unary(Expression, frozen=True):
    operand: Expression

    def children(self) -> tuple[Expression, ...]:
        """The operand."""
        return (self.operand,)


class _Binary(Expression, frozen=True):
    left: Expression
    operator: str
    right: Expression

    def children(self) -> tuple[Expression, ...]:
        """Left, right."""
        return (self.left, self.right)


class Negative(_Unary, frozen=True):
    """A minus sign before a value."""

    def __str__(self) -> str:
        return "-" + _parenthesize(self.operand, _get_precedence(self))

    def evaluate(self, lookup: FieldLookup) -> float | bool | None:
        """The operand's value, negated."""
        value = self.operand.evaluate(lookup)
        return None if value is None else -value


class Arithmetic(_Binary, frozen=True):
    """A sum, difference, product or quotient."""

    def __str__(self) -> str:
        precedence = _get_precedence(self)
        left, right = _parenthesize(self.left, precedence), _parenthesize(self.right, precedence + 1)
        return f"{left} {self.operator} {right}"

    def evaluate(self, lookup: FieldLookup) -> float | bool | None:
        """The value; unknown if a part is unknown, for a division by zero, and for infinity minus infinity."""
        left, right = self.left.evaluate(lookup), self.right.evaluate(lookup)
        if left is None or right is None or (self.operator == "/" and not right):
            return None
        value: float = _ARITHMETIC[self.operator](left, right)
        return None if math.isnan(value) else value


class Comparison(_Binary, frozen=True):
    """Two values of one unit, compared."""

    unit: Unit

    def __str__(self) -> str:
        precedence = _get_precedence(self) + 1
        return f"{_parenthesize(self.left, precedence)} {self.operator} {_parenthesize(self.right, precedence)}"

    def evaluate(self, lookup: FieldLookup) -> bool | None:
        """Whether it holds; unknown if a side is unknown, or if money is compared and the readings are not money."""
        left, right = self.left.evaluate(lookup), self.right.evaluate(lookup)
        if left is None or right is None:
            return None
        if self.unit is Unit.MONEY and not _has_only_money_fields(self, lookup):
            return None
        return compare(left, self.operator, right, PERCENT_TOLERANCE if self.unit is Unit.PERCENT else 0.0)


class Not(_Unary, frozen=True):
    """The opposite of a condition."""

    def __str__(self) -> str:
        return "not " + _parenthesize(self.operand, _get_precedence(self))

    def evaluate(self, lookup: FieldLookup) -> bool | None:
        """The opposite; of unknown, unknown."""
        value = self.operand.evaluate(lookup)
        return None if value is None else not value


class _BooleanOperation(Expression, frozen=True):
    """Conditions joined by one word. Evaluated from the left, and no further than is needed."""

    terms: tuple[Expression, ...]

    keyword: ClassVar[str]
    deciding_value: ClassVar[bool]  # one term with this value decides the whole

    def __str__(self) -> str:
        precedence = _get_precedence(self) + 1
        return f" {self.keyword} ".join(_parenthesize(term, precedence) for term in self.terms)

    def children(self) -> tuple[Expression, ...]:
        """The terms."""
        return self.terms

    def evaluate(self, lookup: FieldLookup) -> bool | None:
        """The deciding value as soon as one term has it; else unknown if one term is unknown; else the opposite."""
        is_known = True
        for term in self.terms:
            value = term.evaluate(lookup)
            if value is None:
                is_known = False
            elif bool(value) is self.deciding_value:
                return self.deciding_value
        return not self.deciding_value if is_known else None


class And(_BooleanOperation, frozen=True):
    """Conditions that must all hold."""

    keyword = "and"
    deciding_value = False


class Or(_BooleanOperation, frozen=True):
    """Conditions of which one must hold."""

    keyword = "or"
    deciding_value = True


def compare(left: float, operator: str, right: float, tolerance: float) -> bool:
    """Whether the comparison holds. `>` and `<=` are opposites, as are `<` and `>=`, `==` and `!=`."""
    if left == right or abs(left - right) <= tolerance:
        return operator in (">=", "<=", "==")
    if operator in (">", ">="):
        return left > right
    return left < right if operator in ("<", "<=") else operator == "!="


def evaluate_boolean(expression: Expression, lookup: FieldLookup) -> bool | None:
    """Whether the condition holds: True, False, or None for unknown."""
    value = expression.evaluate(lookup)
    return value if isinstance(value, bool) else None


def walk_expression(expression: Expression) -> Iterator[Expression]:
    """The expression and everything below it, left to right."""
    yield expression
    for part in expression.children():
        yield from walk_expression(part)


def iter_field_references(expression: Expression) -> Iterator[FieldReference]:
    """Every field in the expression, left to right, repeats included."""
    return (node for node in walk_expression(expression) if isinstance(node, FieldReference))


def iter_comparisons(expression: Expression) -> Iterator[Comparison]:
    """Every comparison in the expression, left to right."""
    return (node for node in walk_expression(expression) if isinstance(node, Comparison))


def is_constant(expression: Expression) -> bool:
    """Whether the value is the same for all readings."""
    return next(iter_field_references(expression), None) is None


def evaluate_constant(expression: Expression) -> float | bool | None:
    """The value of an expression without fields; None if it has some, or divides by zero."""
    return expression.evaluate(lambda _selector, _field: None)


_PRECEDENCE: dict[type[Expression], int] = {Or: 1, And: 2, Not: 3, Comparison: 4, Negative: 7}
_SUM_PRECEDENCE, _PRODUCT_PRECEDENCE, _MAX_PRECEDENCE = 5, 6, 8


def _get_precedence(expression: Expression) -> int:
    """How tightly the parts of an expression bind."""
    if isinstance(expression, Arithmetic):
        return _SUM_PRECEDENCE if expression.operator in ("+", "-") else _PRODUCT_PRECEDENCE
    return _PRECEDENCE.get(type(expression), _MAX_PRECEDENCE)


def _parenthesize(expression: Expression, min_precedence: int) -> str:
    text = str(expression)
    return text if _get_precedence(expression) >= min_precedence else f"({text})"


def _has_only_money_fields(expression: Expression, lookup: FieldLookup) -> bool:
    fields = (each for each in iter_field_references(expression) if each.field in COUNT_FIELDS)
    units = (lookup(each.selector, "unit") for each in fields)
    return all(is_currency(unit) for unit in units if isinstance(unit, str))
