"""When an alert is over: what `clear` says, or what stands for it where it is left out.

Left out, `clear` is the opposite of `when`, with every comparison against a percent moved back by five points:
`claude.five_hour > 80%` clears at `< 75%`; `a > 80% and b < 2h` clears at `a < 75% or b >= 2h`. Where five points back
would lie outside of 0 to 100, so that the alert could never end, the plain opposite stands.
Never put a rule's other keys here.
"""

from itertools import pairwise

from watcher.core.rules.ast import (
    And,
    Comparison,
    Expression,
    FieldReference,
    Literal,
    Negative,
    Not,
    Or,
    compare,
    evaluate_constant,
    is_constant,
    iter_field_references,
)
from watcher.core.rules.units import Unit

CLEAR_MARGIN_PERCENT = 5.0
_BOUNDED_PERCENT_FIELDS = {"used_percent", "remaining_percent"}  # others (`projected`, `rate`) are often above 100 %
_NEGATED_OPERATORS = {">": "<=", ">=": "<", "<": ">=", "<=": ">", "==": "!=", "!=": "=="}
_MIRRORED_OPERATORS = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "==": "==", "!=": "!="}


def make_default_clear(when: Expression) -> Expression:
    """The condition under which an alert on `when` is over, where the rule does not say."""
    match when:
        case And(terms):
            return Or(tuple(make_default_clear(term) for term in terms))
        case Or(terms):
            return And(tuple(make_default_clear(term) for term in terms))
        case Not(operand):
            return operand if isinstance(operand, FieldReference) else make_default_clear(negate_condition(operand))
        case Comparison():
            return _move_back_by_margin(when) or negate_condition(when)
        case _:
            return Not(when)


def negate_condition(condition: Expression) -> Expression:
    """The condition that holds exactly when this one does not, without a `not` where there is another way."""
    match condition:
        case And(terms):
            return Or(tuple(negate_condition(term) for term in terms))
        case Or(terms):
            return And(tuple(negate_condition(term) for term in terms))
        case Not(operand):
            return operand
        case Comparison(left, operator, right, unit):
            return Comparison(left, _NEGATED_OPERATORS[operator], right, unit)
        case _:
            return Not(condition)


def extract_threshold(condition: Expression) -> tuple[Expression, str, float] | None:
    """Of a single comparison against a constant: what is measured, the operator, the constant; else None."""
    if not isinstance(condition, Comparison):
        return None
    left, operator, right = condition.left, condition.operator, condition.right
    if is_constant(left):
        left, operator, right = right, _MIRRORED_OPERATORS[operator], left
    limit = evaluate_constant(right)
    return None if limit is None else (left, operator, float(limit))


def find_overlap(when: Expression, clear: Expression) -> float | None:
    """A value at which `when` and `clear` may both be true, so that the alert would flap; None where none is found.

    Only what can be said for certain is said: a way for `clear` to hold (one term of an `or`) counts where all that it
    compares is compared in a way for `when` to hold too.
    """
    for fires in _list_alternatives(when):
        for ends in _list_alternatives(clear):
            meeting = _find_common_value(fires, ends)
            if meeting is not None:
                return meeting
    return None


def _list_alternatives(condition: Expression) -> list[list[tuple[Expression, str, float] | None]]:
    """Each way for a condition to hold, as the comparisons that must hold for it; None for what is no threshold."""
    ways = condition.terms if isinstance(condition, Or) else (condition,)
    return [[extract_threshold(term) for term in (way.terms if isinstance(way, And) else (way,))] for way in ways]


def _find_common_value(
    when_terms: list[tuple[Expression, str, float] | None], clear_terms: list[tuple[Expression, str, float] | None]
) -> float | None:
    """A value of the first thing compared at which both may hold; None where one of the things rules it out."""
    limits: dict[tuple[object, ...], list[tuple[str, float]]] = {}
    for each in when_terms:
        if each is not None:
            limits.setdefault(_semantic_key(each[0]), []).append(each[1:])
    shared = []
    for each in clear_terms:
        if each is None or _semantic_key(each[0]) not in limits:
            return None
        shared.append(_semantic_key(each[0]))
        limits[shared[-1]].append(each[1:])
    values = [_find_satisfying_value(limits[meaning]) for meaning in dict.fromkeys(shared)]
    return None if None in values else values[0]


def _find_satisfying_value(limits: list[tuple[str, float]]) -> float | None:
    """A value for which all of these comparisons hold; None where there is none."""
    edges = sorted({limit for _, limit in limits})
    between = [(low + high) / 2 for low, high in pairwise(edges)]
    for value in (*between, *edges, edges[0] - 1.0, edges[-1] + 1.0):
        if all(compare(value, operator, limit, 0.0) for operator, limit in limits):
            return value
    return None


def _move_back_by_margin(when: Comparison) -> Comparison | None:
    """The comparison five points back; None where it is none against a percent, or nothing could reach it."""
    found = extract_threshold(when)
    if found is None or when.unit is not Unit.PERCENT:
        return None
    measured, operator, limit = found
    if operator in (">", ">="):
        limit, operator = limit - CLEAR_MARGIN_PERCENT, "<"
        reachable = limit > 0
    elif operator in ("<", "<="):
        limit, operator = limit + CLEAR_MARGIN_PERCENT, ">"
        reachable = (
            limit < 100 or not {each.field for each in iter_field_references(measured)} <= _BOUNDED_PERCENT_FIELDS
        )
    else:
        return None
    if not reachable:
        return None
    return Comparison(measured, operator, make_percent_literal(limit), Unit.PERCENT)


def make_percent_literal(value: float) -> Expression:
    """The literal of a percent, a minus before it where it is negative."""
    literal = Literal(f"{abs(value):.10g}%", abs(value), Unit.PERCENT)
    return Negative(literal) if value < 0 else literal


def _semantic_key(expression: Expression) -> tuple[object, ...]:
    """The expression without its spelling: `claude > 80%` and `claude.used_percent > 80%` measure one thing."""
    if isinstance(expression, FieldReference):
        return (expression.selector, expression.field)
    if isinstance(expression, Literal):
        return (expression.value, expression.unit)
    operator = getattr(expression, "operator", "")
    return (type(expression).__name__, operator, *(_semantic_key(part) for part in expression.children()))
