"""When an alert is over: the default for `clear`, and whether a given `clear` overlaps `when`.

The default is the opposite of `when`, with every comparison against a percent moved back by five points:
`claude.five_hour > 80%` clears at `< 75%`; `a > 80% and b < 2h` clears at `a < 75% or b >= 2h`. If five points back
would be outside of 0 to 100, so that the alert could never end, the default is the plain opposite.
"""

from itertools import pairwise

from watcher.core.rules import ast
from watcher.core.rules.vocabulary import Unit

CLEAR_MARGIN_PERCENT = 5.0
_MAX_PERCENT = 100
_BOUNDED_PERCENT_FIELDS = {"used_percent", "remaining_percent"}  # others (`projected`, `rate`) are often above 100 %
NEGATED_OPERATORS = {">": "<=", ">=": "<", "<": ">=", "<=": ">", "==": "!=", "!=": "=="}
MIRRORED_OPERATORS = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "==": "==", "!=": "!="}

Threshold = tuple[ast.Expression, str, float]
"""A comparison against a constant: what is measured, the operator, the constant."""


def make_default_clear(when: ast.Expression) -> ast.Expression:
    """The condition that ends an alert on `when` if its rule has no `clear`."""
    match when:
        case ast.And(terms):
            return ast.Or(tuple(make_default_clear(term) for term in terms))
        case ast.Or(terms):
            return ast.And(tuple(make_default_clear(term) for term in terms))
        case ast.Not(operand) if not isinstance(operand, ast.FieldReference):
            return make_default_clear(negate_condition(operand))
        case ast.Comparison():
            return _move_back_by_margin(when) or negate_condition(when)
        case _:
            return negate_condition(when)


def negate_condition(condition: ast.Expression) -> ast.Expression:
    """The condition that holds exactly when this one does not; it avoids `not` if it can."""
    match condition:
        case ast.And(terms):
            return ast.Or(tuple(negate_condition(term) for term in terms))
        case ast.Or(terms):
            return ast.And(tuple(negate_condition(term) for term in terms))
        case ast.Not(operand):
            return operand
        case ast.Comparison(left, operator, right, unit):
            return ast.Comparison(left, NEGATED_OPERATORS[operator], right, unit)
        case _:
            return ast.Not(condition)


def extract_threshold(condition: ast.Expression) -> Threshold | None:
    """The threshold that a condition is; None if it is anything else."""
    if not isinstance(condition, ast.Comparison):
        return None
    left, operator, right = condition.left, condition.operator, condition.right
    if ast.is_constant(left):
        left, operator, right = right, MIRRORED_OPERATORS[operator], left
    limit = ast.evaluate_constant(right)
    return None if limit is None else (left, operator, float(limit))


def find_overlap(when: ast.Expression, clear: ast.Expression) -> float | None:
    """A value at which `when` and `clear` can both hold, so that the alert would flap; None if none is found.

    Only for a `clear` that is one comparison with a constant; `when` may have further terms that must hold.
    """
    clearing = extract_threshold(clear)
    if clearing is None:
        return None
    terms = when.terms if isinstance(when, ast.And) else (when,)
    limits = [each[1:] for each in map(extract_threshold, terms) if each and is_same_value(each[0], clearing[0])]
    return find_satisfying_value([*limits, clearing[1:]]) if limits else None


def find_satisfying_value(limits: list[tuple[str, float]]) -> float | None:
    """A value for which all of these comparisons hold; None if there is none."""
    edges = sorted({limit for _, limit in limits})
    between = [(low + high) / 2 for low, high in pairwise(edges)]
    for value in (*between, *edges, edges[0] - 1.0, edges[-1] + 1.0):
        if all(ast.compare(value, operator, limit, 0.0) for operator, limit in limits):
            return value
    return None


def _move_back_by_margin(when: ast.Comparison) -> ast.Comparison | None:
    """The opposite comparison, five points back; None if it compares no percent, or if no value could reach it."""
    threshold = extract_threshold(when)
    if threshold is None or when.unit is not Unit.PERCENT:
        return None
    measured, operator, limit = threshold
    if operator in (">", ">=") and limit > CLEAR_MARGIN_PERCENT:
        return ast.Comparison(measured, "<", _make_percent_literal(limit - CLEAR_MARGIN_PERCENT), Unit.PERCENT)
    if operator in ("<", "<="):
        limit += CLEAR_MARGIN_PERCENT
        is_bounded = {each.field for each in ast.iter_field_references(measured)} <= _BOUNDED_PERCENT_FIELDS
        if limit < _MAX_PERCENT or not is_bounded:
            return ast.Comparison(measured, ">", _make_percent_literal(limit), Unit.PERCENT)
    return None


def _make_percent_literal(value: float) -> ast.Expression:
    """The literal of a percent, with a minus before it if it is negative."""
    literal = ast.Literal(f"{abs(value):.10g}%", abs(value), Unit.PERCENT)
    return ast.Negative(literal) if value < 0 else literal


def is_same_value(left: ast.Expression, right: ast.Expression) -> bool:
    """Whether both measure the same, however it is written: `claude` is `claude.used_percent`."""
    if isinstance(left, ast.FieldReference) and isinstance(right, ast.FieldReference):
        return (left.selector, left.field) == (right.selector, right.field)
    return left == right
