"""Does a condition hold at this moment? For scripts that ask before they spend: `watcher guard`.

The same language and the same worths as in a rule, but asked the other way round: a rule fires when its condition holds
for some series, a guard lets pass only when it holds for all that are meant. What has no limit counts as unused, and a
reading older than the person allows is unknown. Never put a clock or a store here.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from watcher.core.engine.matching import CompiledRule, compile_rule, evaluate_condition, selector_matches
from watcher.core.engine.metrics import AVAILABILITY_FIELDS, FieldValue, SeriesMetrics
from watcher.core.engine.state import SeriesState
from watcher.core.formatting import format_duration
from watcher.core.model import Series, Severity
from watcher.core.rules.ast import Expression, iter_field_references
from watcher.core.rules.parser import find_subject
from watcher.core.rules.rule import Level, Rule
from watcher.core.rules.selector import Selector

_UNLIMITED_VALUES: Mapping[str, float] = {
    "used_percent": 0.0,
    "remaining_percent": 100.0,
    "remaining": float("inf"),
    "limit": float("inf"),
    "rate": 0.0,
    "projected": 0.0,
    "exhausts_in": float("inf"),
}
"""What the fields of a window without a limit are worth to a guard."""


class GuardResult(Struct, frozen=True, kw_only=True):
    """What a guard says. None is unknown."""

    result: bool | None
    series: Mapping[Series, bool | None]  # of the condition's subject, each by itself
    reasons: tuple[str, ...]  # what is not known, one line each; empty where the result is


class _GuardMetrics(SeriesMetrics):
    """A series as a guard sees it."""

    __slots__ = ("max_age",)

    def __init__(self, state: SeriesState, now: datetime, *, use_last_reading: bool, max_age: timedelta) -> None:
        super().__init__(state, now, use_last_reading=use_last_reading)
        self.max_age = max_age

    @property
    def is_old(self) -> bool:
        """Whether the last believed reading was made too long ago."""
        return self.state.read_at is None or self.now - self.state.read_at > self.max_age

    def _check_is_current(self) -> bool:
        return not self.is_old and super()._check_is_current()

    @property
    def unlimited(self) -> bool:
        """Never, to the engine: here its fields have a worth instead."""
        return False

    def value_of(self, field: str) -> FieldValue:
        """As in a rule, but what has no limit is unused."""
        reading = self.state.reading
        if self.is_current and reading is not None and reading.unlimited and field in _UNLIMITED_VALUES:
            return _UNLIMITED_VALUES[field]
        return super().value_of(field)


def evaluate_guard(
    condition: Expression, states: Iterable[SeriesState], now: datetime, *, max_age: timedelta
) -> GuardResult:
    """Whether the condition holds for every series that it is about; unknown where there is none.

    Args:
        condition: checked, and true or false.
        states: every series there is.
        now: this moment.
        max_age: how old a reading may be.
    """
    bound = _compile_condition(condition)
    sights = [
        _GuardMetrics(state, now, use_last_reading=bound.is_availability_rule, max_age=max_age)
        for state in states
        if not state.gone
    ]

    series = {
        sight.state.series: evaluate_condition(bound, sight, lambda _: sights, clearing=True)[0]
        for sight in sights
        if selector_matches(bound.subject, sight)
    }
    answers = set(series.values())
    result = None if not answers else False if False in answers else None if None in answers else True
    why = tuple(dict.fromkeys(_explain_unknown(condition, sights, now))) if result is None else ()
    return GuardResult(result=result, series=series, reasons=why)


def _compile_condition(condition: Expression) -> CompiledRule:
    """The condition as the engine takes it: `holds` with `clearing` asks whether it is so with all other series."""
    rule = Rule(
        name="guard",
        path="",
        line=0,
        subject=find_subject(condition),
        levels=(Level(severity=Severity.INFO, when=condition, clear=condition),),
        on=frozenset(),
        fingerprint="",
    )
    return compile_rule(rule)


def _explain_unknown(condition: Expression, all_metrics: Iterable[_GuardMetrics], now: datetime) -> Iterable[str]:
    """What a person must know of the series that could not answer."""
    everything = list(all_metrics)
    for measure in iter_field_references(condition):
        meant = [sight for sight in everything if selector_matches(measure.selector, sight)]
        if not meant:
            yield f"{_format_selector(measure.selector)} was never read"
        for sight in meant:
            if measure.field not in AVAILABILITY_FIELDS and sight.value_of(measure.field) is None:
                yield f"{sight.state.series}: {_explain_unknown_field(sight, measure.field, now)}"


def _format_selector(selector: Selector) -> str:
    return str(selector) if selector.window or selector.provider == "*" else f"{selector}'s primary window"


def _explain_unknown_field(metrics: _GuardMetrics, field: str, now: datetime) -> str:
    state = metrics.state
    if state.read_at is None:
        return state.error or "never read"
    if metrics.is_old:
        return f"last read {format_duration(now - state.read_at)} ago, longer than the {format_duration(metrics.max_age)} allowed"
    if state.error:
        return state.error
    if not metrics.is_current:
        return "its window has turned over, or its last reading is not confirmed yet"
    return f"{field} is not known"
