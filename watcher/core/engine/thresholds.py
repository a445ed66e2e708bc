"""The thresholds of the rules in force on a series, and how near and fast the series approaches them.

`build_outlook` is for the choice of the next poll, `find_threshold_lines` for charts.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from watcher.core.engine import forecast
from watcher.core.engine.state import EngineState, SeriesState
from watcher.core.engine.windows import get_used_percent, get_window_length
from watcher.core.model import AlertPhase, Severity
from watcher.core.rules.ast import FieldReference, Literal, iter_comparisons
from watcher.core.rules.rule import Level, Rule
from watcher.core.rules.vocabulary import Unit

_FULL_PERCENT = 100.0


class SeriesOutlook(Struct, frozen=True, kw_only=True):
    """What the choice of the next poll needs to know of one series. None is unknown."""

    name: str  # for the reason: "five_hour"
    used_percent: float | None = None  # last believed
    thresholds: tuple[float, ...] = ()  # percents used at which a rule changes its answer, in any order
    rate: float | None = None  # percent per hour
    changed_at: datetime | None = None  # when it last changed, as far as was seen
    resets_at: datetime | None = None
    rule_times: tuple[datetime, ...] = ()  # when a rule about `resets_in` changes its answer
    window_seconds: int | None = None
    pending: bool = False  # a rule's `for` is running: it needs readings
    fresh_for: timedelta | None = None  # a rule fires at this age: polling late must not be the cause


class AccountOutlook(Struct, frozen=True, kw_only=True):
    """What the choice of the next poll needs to know of one account."""

    series_outlooks: tuple[SeriesOutlook, ...] = ()
    suspect_count: int = 0  # answers in a row that were not believed, of the worst series


class ThresholdLine(Struct, frozen=True, kw_only=True):
    """A value at which a rule fires: percent used, or what is left where a series has no percent."""

    rule: str
    severity: Severity
    value: float


def build_outlook(engine_state: EngineState, rules: Sequence[Rule], provider: str, account: str) -> AccountOutlook:
    """The outlook of one account."""
    states = [
        state
        for state in engine_state.series_states.values()
        if state.account_key == (provider, account) and not state.gone
    ]
    pending = {alert.series for alert in engine_state.alert_states.values() if alert.phase is AlertPhase.PENDING}
    return AccountOutlook(
        series_outlooks=tuple(
            _build_series_outlook(state, rules, pending=state.series in pending) for state in states if state.reading
        ),
        suspect_count=max((state.suspect_count for state in states), default=0),
    )


def _build_series_outlook(state: SeriesState, rules: Sequence[Rule], *, pending: bool) -> SeriesOutlook:
    reading = state.reading
    length = None if reading is None else get_window_length(reading)
    # Only `when`: `clear` waits for less use, and only a reset brings that.
    limits = [(field, literal) for _rule, _level, field, literal in _list_limits(state, rules)]
    thresholds = {value for field, literal in limits for value in _convert_to_used_percent(field, literal, state)}
    ages = (timedelta(seconds=float(literal.value)) for field, literal in limits if field == "age")
    times = {
        state.boundary_at - timedelta(seconds=float(literal.value))
        for field, literal in limits
        if field == "resets_in" and state.boundary_at is not None
    }
    return SeriesOutlook(
        name=state.series.window,
        used_percent=None if reading is None else get_used_percent(reading),
        thresholds=tuple(sorted(thresholds)),
        rate=forecast.estimate_rate(state.samples, length),
        changed_at=state.changed_at or state.episode_at,
        resets_at=state.boundary_at,
        rule_times=tuple(sorted(times)),
        window_seconds=None if length is None else int(length.total_seconds()),
        pending=pending,
        fresh_for=min(ages, default=None),
    )


def find_threshold_lines(state: SeriesState, rules: Sequence[Rule]) -> tuple[ThresholdLine, ...]:
    """Where the rules would fire on this series, lowest first."""
    has_percent = state.reading is None or get_used_percent(state.reading) is not None
    lines = {
        ThresholdLine(rule=rule.name, severity=level.severity, value=value)
        for rule, level, field, literal in _list_limits(state, rules)
        for value in (
            _convert_to_used_percent(field, literal, state) if has_percent else _get_remaining(field, literal)
        )
    }
    return tuple(sorted(lines, key=lambda line: (line.value, line.severity.rank, line.rule)))


def _list_limits(state: SeriesState, rules: Sequence[Rule]) -> Iterator[tuple[Rule, Level, str, Literal]]:
    """Every comparison of a field of this series with a literal, in the conditions of the rules."""
    for rule in rules:
        for level in rule.levels:
            for comparison in iter_comparisons(level.when):
                sides = (comparison.left, comparison.right)
                reference = next((side for side in sides if isinstance(side, FieldReference)), None)
                literal = next((side for side in sides if isinstance(side, Literal)), None)
                if reference is not None and literal is not None and state.matches(reference.selector):
                    yield rule, level, reference.field, literal


def _convert_to_used_percent(field: str, literal: Literal, state: SeriesState) -> Iterator[float]:
    """The percent used at which the field reaches the literal; nothing where they do not compare."""
    value = float(literal.value)
    limit = None if state.reading is None else state.reading.limit
    if field == "used_percent":
        yield value
    elif field == "remaining_percent":
        yield _FULL_PERCENT - value
    elif limit and field in ("remaining", "used") and literal.unit is not Unit.DURATION:
        share = value / float(limit) * _FULL_PERCENT
        yield share if field == "used" else _FULL_PERCENT - share


def _get_remaining(field: str, literal: Literal) -> list[float]:
    """What is left when a rule about `remaining` fires, in the series' own unit."""
    return [float(literal.value)] if field == "remaining" else []
