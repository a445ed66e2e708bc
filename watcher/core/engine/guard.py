"""Evaluates the condition of `watcher guard` and `watcher wait`: does it hold now?

The language and the field values are those of rules, with three differences: a guard holds only if its condition holds
for every series that it means, a window without a limit counts as unused, and a reading older than the user allows is
unknown.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from watcher.core.engine.matching import combine_answers, compile_rule, evaluate_condition
from watcher.core.engine.metrics import AVAILABILITY_FIELDS, FieldValue, SeriesMetrics
from watcher.core.engine.state import SeriesState
from watcher.core.formatting import format_duration
from watcher.core.model import Series, Severity
from watcher.core.rules.ast import Expression, iter_field_references
from watcher.core.rules.parser import find_subject
from watcher.core.rules.rule import Level, Rule

_UNLIMITED_VALUES: Mapping[str, float] = {
    "used_percent": 0.0,
    "remaining_percent": 100.0,
    "remaining": float("inf"),
    "limit": float("inf"),
    "rate": 0.0,
    "projected": 0.0,
    "exhausts_in": float("inf"),
}
"""The field values of a window without a limit."""


class GuardResult(Struct, frozen=True, kw_only=True):
    """The answer of a guard. None is unknown."""

    result: bool | None
    series: Mapping[Series, bool | None]  # of the condition's subject, each by itself
    reasons: tuple[str, ...]  # why it is unknown, one line each; empty if it is known


class _GuardMetrics(SeriesMetrics):
    """A series as a guard sees it."""

    __slots__ = ("max_age",)

    def __init__(self, state: SeriesState, now: datetime, *, use_last_reading: bool, max_age: timedelta) -> None:
        super().__init__(state, now, use_last_reading=use_last_reading)
        self.max_age = max_age

    @property
    def is_old(self) -> bool:
        """Whether the last believed reading is older than allowed."""
        return self.state.read_at is None or self.now - self.state.read_at > self.max_age

    @property
    def is_current(self) -> bool:
        """As in a rule, and not older than allowed."""
        return not self.is_old and super().is_current

    @property
    def unlimited(self) -> bool:
        """Always False: the fields of a window without a limit have values here."""
        return False

    def value_of(self, field: str) -> FieldValue:
        """As in a rule, but a window without a limit is unused."""
        reading = self.state.reading
        if self.is_current and reading is not None and reading.unlimited and field in _UNLIMITED_VALUES:
            return _UNLIMITED_VALUES[field]
        return super().value_of(field)


def evaluate_guard(
    condition: Expression, states: Iterable[SeriesState], now: datetime, *, max_age: timedelta
) -> GuardResult:
    """Whether the condition holds for every series that it is about; unknown if there is none.

    Args:
        condition: checked, and true or false.
        states: of every series.
        now: this instant.
        max_age: of a reading.
    """
    level = Level(severity=Severity.INFO, when=condition, clear=condition)
    subject = find_subject(condition)
    rule = Rule(name="guard", path="", line=0, subject=subject, levels=(level,), on=frozenset(), fingerprint="")
    compiled = compile_rule(rule)
    all_metrics = [
        _GuardMetrics(state, now, use_last_reading=compiled.is_availability_rule, max_age=max_age)
        for state in states
        if not state.gone
    ]
    # With `clearing` it must hold with all other series that it refers to.
    series = {
        metrics.state.series: evaluate_condition(compiled, metrics, lambda _: all_metrics, clearing=True)[0]
        for metrics in all_metrics
        if metrics.state.matches(subject)
    }
    result = combine_answers(series.values(), needs_all=True) if series else None
    reasons = tuple(dict.fromkeys(_explain_unknown(condition, all_metrics))) if result is None else ()
    return GuardResult(result=result, series=series, reasons=reasons)


def _explain_unknown(condition: Expression, all_metrics: Sequence[_GuardMetrics]) -> Iterable[str]:
    for reference in iter_field_references(condition):
        matching = [metrics for metrics in all_metrics if metrics.state.matches(reference.selector)]
        if not matching:
            yield f"{reference.selector} was never read"
        for metrics in matching:
            if reference.field not in AVAILABILITY_FIELDS and metrics.value_of(reference.field) is None:
                yield f"{metrics.state.series}: {_explain_unknown_field(metrics, reference.field)}"


def _explain_unknown_field(metrics: _GuardMetrics, field: str) -> str:
    state = metrics.state
    if state.read_at is not None and metrics.is_old:
        age, max_age = format_duration(metrics.now - state.read_at), format_duration(metrics.max_age)
        return f"last read {age} ago, longer than the {max_age} allowed"
    return state.error or f"{field} is not known at present"
