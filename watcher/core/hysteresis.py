"""When an alert is over: what `clear` says, or what stands for it where it is left out.

Left out, `clear` is the opposite of `when`, with every comparison against a percent moved back by five points:
`claude.five_hour > 80%` clears at `< 75%`; `a > 80% and b < 2h` clears at `a < 75% or b >= 2h`. Where five points back
would lie outside of 0 to 100, so that the alert could never end, the plain opposite stands.
Never put a rule's other keys here.
"""

from itertools import pairwise

from watcher.core.tree import (
    And,
    Comparison,
    Expression,
    Literal,
    Measure,
    Negative,
    Not,
    Or,
    compared,
    constant,
    is_constant,
    measures,
)
from watcher.core.units import Unit

POINTS_BACK = 5.0
_PARTS_OF_A_WHOLE = {"used_percent", "remaining_percent"}  # others (`projected`, `rate`) are often above 100 %
_OPPOSITE = {">": "<=", ">=": "<", "<": ">=", "<=": ">", "==": "!=", "!=": "=="}
_MIRRORED = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "==": "==", "!=": "!="}


def default_clear(when: Expression) -> Expression:
    """The condition under which an alert on `when` is over, where the rule does not say."""
    match when:
        case And(terms):
            return Or(tuple(default_clear(term) for term in terms))
        case Or(terms):
            return And(tuple(default_clear(term) for term in terms))
        case Not(operand):
            return operand if isinstance(operand, Measure) else default_clear(opposite(operand))
        case Comparison():
            return _stepped_back(when) or opposite(when)
        case _:
            return Not(when)


def opposite(condition: Expression) -> Expression:
    """The condition that holds exactly when this one does not, without a `not` where there is another way."""
    match condition:
        case And(terms):
            return Or(tuple(opposite(term) for term in terms))
        case Or(terms):
            return And(tuple(opposite(term) for term in terms))
        case Not(operand):
            return operand
        case Comparison(left, operator, right, unit):
            return Comparison(left, _OPPOSITE[operator], right, unit)
        case _:
            return Not(condition)


def threshold(condition: Expression) -> tuple[Expression, str, float] | None:
    """Of a single comparison against a constant: what is measured, the operator, the constant; else None."""
    if not isinstance(condition, Comparison):
        return None
    left, operator, right = condition.left, condition.operator, condition.right
    if is_constant(left):
        left, operator, right = right, _MIRRORED[operator], left
    limit = constant(right)
    return None if limit is None else (left, operator, float(limit))


def both_hold(when: Expression, clear: Expression) -> float | None:
    """A value at which `when` and `clear` may both be true, so that the alert would flap; None where none is found.

    Only what can be said for certain is said: a way for `clear` to hold (one term of an `or`) counts where all that it
    compares is compared in a way for `when` to hold too.
    """
    for fires in _ways(when):
        for ends in _ways(clear):
            meeting = _meeting(fires, ends)
            if meeting is not None:
                return meeting
    return None


def _ways(condition: Expression) -> list[list[tuple[Expression, str, float] | None]]:
    """Each way for a condition to hold, as the comparisons that must hold for it; None for what is no threshold."""
    ways = condition.terms if isinstance(condition, Or) else (condition,)
    return [[threshold(term) for term in (way.terms if isinstance(way, And) else (way,))] for way in ways]


def _meeting(
    fires: list[tuple[Expression, str, float] | None], ends: list[tuple[Expression, str, float] | None]
) -> float | None:
    """A value of the first thing compared at which both may hold; None where one of the things rules it out."""
    limits: dict[tuple[object, ...], list[tuple[str, float]]] = {}
    for each in fires:
        if each is not None:
            limits.setdefault(_meaning(each[0]), []).append(each[1:])
    shared = []
    for each in ends:
        if each is None or _meaning(each[0]) not in limits:
            return None
        shared.append(_meaning(each[0]))
        limits[shared[-1]].append(each[1:])
    values = [_value_within(limits[meaning]) for meaning in dict.fromkeys(shared)]
    return None if None in values else values[0]


def _value_within(limits: list[tuple[str, float]]) -> float | None:
    """A value for which all of these comparisons hold; None where there is none."""
    edges = sorted({limit for _, limit in limits})
    between = [(low + high) / 2 for low, high in pairwise(edges)]
    for value in (*between, *edges, edges[0] - 1.0, edges[-1] + 1.0):
        if all(compared(value, operator, limit, 0.0) for operator, limit in limits):
            return value
    return None


def _stepped_back(when: Comparison) -> Comparison | None:
    """The comparison five points back; None where it is none against a percent, or nothing could reach it."""
    found = threshold(when)
    if found is None or when.unit is not Unit.PERCENT:
        return None
    measured, operator, limit = found
    if operator in (">", ">="):
        limit, operator = limit - POINTS_BACK, "<"
        reachable = limit > 0
    elif operator in ("<", "<="):
        limit, operator = limit + POINTS_BACK, ">"
        reachable = limit < 100 or not {each.field for each in measures(measured)} <= _PARTS_OF_A_WHOLE  # noqa: PLR2004
    else:
        return None
    if not reachable:
        return None
    return Comparison(measured, operator, percent(limit), Unit.PERCENT)


def percent(value: float) -> Expression:
    """The literal of a percent, a minus before it where it is negative."""
    literal = Literal(f"{abs(value):.10g}%", abs(value), Unit.PERCENT)
    return Negative(literal) if value < 0 else literal


def _meaning(expression: Expression) -> tuple[object, ...]:
    """The expression without its spelling: `claude > 80%` and `claude.used_percent > 80%` measure one thing."""
    if isinstance(expression, Measure):
        return (expression.selector, expression.field)
    if isinstance(expression, Literal):
        return (expression.worth, expression.unit)
    operator = getattr(expression, "operator", "")
    return (type(expression).__name__, operator, *(_meaning(part) for part in expression.parts()))
