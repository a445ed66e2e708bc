"""When an alert is over: what `clear` says, or what stands for it where it is left out.

Left out, `clear` is the opposite of `when`, with every comparison against a percent moved back by five points:
`claude.five_hour > 80%` clears at `< 75%`; `a > 80% and b < 2h` clears at `a < 75% or b >= 2h`. Where five points back
would lie outside of 0 to 100, so that the alert could never end, the plain opposite stands.
Never put a rule's other keys here.
"""

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
)
from watcher.core.units import Unit

POINTS_BACK = 5.0
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
    """A value at which `when` and `clear` are both true, so that the alert would flap; None where there is none.

    Only single comparisons of one measured thing are judged; of all others None.
    """
    fires, ends = threshold(when), threshold(clear)
    if fires is None or ends is None or _meaning(fires[0]) != _meaning(ends[0]):
        return None
    step = abs(fires[2] - ends[2]) / 2 or 1.0
    for value in (fires[2], ends[2], (fires[2] + ends[2]) / 2, fires[2] + step, fires[2] - step, ends[2] + step,
                  ends[2] - step):  # fmt: skip
        if compared(value, fires[1], fires[2], 0.0) and compared(value, ends[1], ends[2], 0.0):
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
        reachable = limit < 100  # noqa: PLR2004 - the whole
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
