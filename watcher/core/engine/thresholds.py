"""What the cadence must know of one account's series: how near they are to a rule's threshold, and how they move.

Between the engine's memory and `cadence`, which knows neither rules nor series. Never choose an instant here.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from watcher.core.engine import forecast
from watcher.core.engine.state import EngineState, SeriesState
from watcher.core.engine.windows import get_used_percent, get_window_length
from watcher.core.model import AlertPhase, Severity
from watcher.core.rules.ast import Comparison, FieldReference, Literal, iter_comparisons
from watcher.core.rules.rule import Rule
from watcher.core.rules.units import Unit

_FULL_PERCENT = 100.0


class SeriesOutlook(Struct, frozen=True, kw_only=True):
    """What matters of one series to its next poll. None is unknown."""

    name: str  # for the reason: "five_hour"
    used_percent: float | None = None  # last believed
    thresholds: tuple[float, ...] = ()  # percents used at which a rule in force changes its answer, any order
    rate: float | None = None  # percent per hour
    changed_at: datetime | None = None  # since when it stands still, as far as was seen
    resets_at: datetime | None = None
    window_seconds: int | None = None
    pending: bool = False  # a rule's `for` is running: it needs readings to go on
    fresh_for: timedelta | None = None  # a rule speaks when it was not read for so long: asking late must not be why


class AccountOutlook(Struct, frozen=True, kw_only=True):
    """One account, as the cadence sees it."""

    series_outlooks: tuple[SeriesOutlook, ...] = ()
    suspect_count: int = 0  # answers in a row that were not believed, of the most doubted series


def build_outlook(engine_state: EngineState, rules: Sequence[Rule], provider: str, account: str) -> AccountOutlook:
    """What matters to the next poll of one account."""
    states = [
        state
        for state in engine_state.series_states.values()
        if state.series.provider == provider and state.series.account == account and not state.gone
    ]
    pending = {alert.series for alert in engine_state.alert_states.values() if alert.phase is AlertPhase.PENDING}
    return AccountOutlook(
        series_outlooks=tuple(
            _build_series_outlook(state, rules, pending=state.series in pending) for state in states if state.reading
        ),
        suspect_count=max((state.doubts for state in states), default=0),
    )


class ThresholdLine(Struct, frozen=True, kw_only=True):
    """A value at which a rule fires: a percent used, or what is left where a series counts no percent."""

    rule: str
    severity: Severity
    value: float


def find_threshold_lines(state: SeriesState, rules: Sequence[Rule]) -> tuple[ThresholdLine, ...]:
    """Where the rules in force would fire on this series, lowest first: what a picture of it draws."""
    read = (
        _find_used_thresholds
        if state.reading is None or get_used_percent(state.reading) is not None
        else _find_remaining_thresholds
    )
    found = {
        ThresholdLine(rule=rule.name, severity=one.severity, value=value)
        for rule in rules
        for one in rule.levels
        for comparison in iter_comparisons(one.when)
        for value in read(comparison, state)
    }
    return tuple(sorted(found, key=lambda line: (line.value, line.severity.rank, line.rule)))


def _build_series_outlook(state: SeriesState, rules: Sequence[Rule], *, pending: bool) -> SeriesOutlook:
    reading = state.reading
    whole = None if reading is None else get_window_length(reading)
    return SeriesOutlook(
        name=state.series.window,
        used_percent=None if reading is None else get_used_percent(reading),
        thresholds=tuple(sorted(set(_find_thresholds(state, rules)))),
        rate=forecast.estimate_rate(state.samples, whole),
        changed_at=state.changed_at or state.episode_at,  # what never changed has stood still since it was first seen
        resets_at=state.boundary,
        window_seconds=None if whole is None else int(whole.total_seconds()),
        pending=pending,
        fresh_for=min(_find_max_ages(state, rules), default=None),
    )


def _find_thresholds(state: SeriesState, rules: Sequence[Rule]) -> Iterator[float]:
    """Percents at which more use may change a rule's answer. `clear` waits for less use, which only a reset brings."""
    for rule in rules:
        for one in rule.levels:
            for comparison in iter_comparisons(one.when):
                yield from _find_used_thresholds(comparison, state)


def _find_max_ages(state: SeriesState, rules: Sequence[Rule]) -> Iterator[timedelta]:
    """How old the reading may grow before a rule about silence changes its answer."""
    for rule in rules:
        for one in rule.levels:
            for comparison in iter_comparisons(one.when):
                for measure, literal in _match_comparison(comparison, state):
                    if measure.field == "age":
                        yield timedelta(seconds=float(literal.value))


def _split_comparison(comparison: Comparison) -> tuple[FieldReference, Literal] | tuple[None, None]:
    """The field and the value that it is compared with, whichever way round; nothing where it is otherwise."""
    one, other = comparison.left, comparison.right
    if isinstance(one, Literal):
        one, other = other, one
    return (one, other) if isinstance(one, FieldReference) and isinstance(other, Literal) else (None, None)


def _is_about_series(measure: FieldReference, state: SeriesState) -> bool:
    return measure.selector.matches(state.series, state.account_name, state.kind, is_primary=state.primary)


def _find_used_thresholds(comparison: Comparison, state: SeriesState) -> Iterator[float]:
    for measure, literal in _match_comparison(comparison, state):
        yield from _convert_to_used_percent(measure, literal, state)


def _find_remaining_thresholds(comparison: Comparison, state: SeriesState) -> Iterator[float]:
    """What must be left, in the series' own unit."""
    for measure, literal in _match_comparison(comparison, state):
        if measure.field == "remaining":
            yield float(literal.value)


def _match_comparison(comparison: Comparison, state: SeriesState) -> Iterator[tuple[FieldReference, Literal]]:
    """The measure and what it is compared with, where the measure is of this series."""
    measure, literal = _split_comparison(comparison)
    if measure is not None and literal is not None and _is_about_series(measure, state):
        yield measure, literal


def _convert_to_used_percent(measure: FieldReference, literal: Literal, state: SeriesState) -> Iterator[float]:
    worth = float(literal.value)
    if measure.field == "used_percent":
        yield worth
    elif measure.field == "remaining_percent":
        yield _FULL_PERCENT - worth
    elif measure.field in ("remaining", "used") and literal.unit is not Unit.DURATION:
        limit = None if state.reading is None else state.reading.limit
        if limit:
            share = worth / float(limit) * 100
            yield share if measure.field == "used" else _FULL_PERCENT - share
