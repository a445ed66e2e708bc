"""What the cadence must know of one account's series: how near they are to a rule's threshold, and how they move.

Between the engine's memory and `cadence`, which knows neither rules nor series. Never choose an instant here.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from msgspec import Struct

from watcher.core import forecast
from watcher.core.kinds import length, level
from watcher.core.memory import Memory, SeriesState
from watcher.core.model import Phase, Rule, Severity
from watcher.core.sight import Watch
from watcher.core.tree import Comparison, Literal, Measure, comparisons
from watcher.core.units import Unit

_EXHAUSTED = 100.0


class Outlook(Struct, frozen=True, kw_only=True):
    """One account, as the cadence sees it."""

    watches: tuple[Watch, ...] = ()
    doubts: int = 0  # answers in a row that were not believed, of the most doubted series


def look(memory: Memory, rules: Sequence[Rule], provider: str, account: str) -> Outlook:
    """What matters to the next poll of one account."""
    states = [
        state
        for state in memory.series.values()
        if state.series.provider == provider and state.series.account == account and not state.gone
    ]
    pending = {alert.series for alert in memory.alerts.values() if alert.phase is Phase.PENDING}
    return Outlook(
        watches=tuple(_watch(state, rules, pending=state.series in pending) for state in states if state.reading),
        doubts=max((state.doubts for state in states), default=0),
    )


class Line(Struct, frozen=True, kw_only=True):
    """A value at which a rule fires: a percent used, or what is left where a series counts no percent."""

    rule: str
    severity: Severity
    value: float


def lines(state: SeriesState, rules: Sequence[Rule]) -> tuple[Line, ...]:
    """Where the rules in force would fire on this series, lowest first: what a picture of it draws."""
    read = _threshold if state.reading is None or level(state.reading) is not None else _least_left
    found = {
        Line(rule=rule.name, severity=one.severity, value=value)
        for rule in rules
        for one in rule.levels
        for comparison in comparisons(one.when)
        for value in read(comparison, state)
    }
    return tuple(sorted(found, key=lambda line: (line.value, line.severity.rank, line.rule)))


def _watch(state: SeriesState, rules: Sequence[Rule], *, pending: bool) -> Watch:
    reading = state.reading
    whole = None if reading is None else length(reading)
    return Watch(
        name=state.series.window,
        used_percent=None if reading is None else level(reading),
        thresholds=tuple(sorted(set(_thresholds(state, rules)))),
        rate=forecast.rate(state.samples, whole),
        changed_at=state.changed_at or state.episode_at,  # what never changed has stood still since it was first seen
        resets_at=state.boundary,
        window_seconds=None if whole is None else int(whole.total_seconds()),
        pending=pending,
        fresh_for=min(_ages(state, rules), default=None),
    )


def _thresholds(state: SeriesState, rules: Sequence[Rule]) -> Iterator[float]:
    """Percents at which more use may change a rule's answer. `clear` waits for less use, which only a reset brings."""
    for rule in rules:
        for one in rule.levels:
            for comparison in comparisons(one.when):
                yield from _threshold(comparison, state)


def _ages(state: SeriesState, rules: Sequence[Rule]) -> Iterator[timedelta]:
    """How old the reading may grow before a rule about silence changes its answer."""
    for rule in rules:
        for one in rule.levels:
            for comparison in comparisons(one.when):
                for measure, literal in _sides(comparison, state):
                    if measure.field == "age":
                        yield timedelta(seconds=float(literal.worth))


def _parted(comparison: Comparison) -> tuple[Measure, Literal] | tuple[None, None]:
    """The field and the value that it is compared with, whichever way round; nothing where it is otherwise."""
    one, other = comparison.left, comparison.right
    if isinstance(one, Literal):
        one, other = other, one
    return (one, other) if isinstance(one, Measure) and isinstance(other, Literal) else (None, None)


def _is_of(measure: Measure, state: SeriesState) -> bool:
    return measure.selector.matches(state.series, state.account_name, state.kind, primary=state.primary)


def _threshold(comparison: Comparison, state: SeriesState) -> Iterator[float]:
    for measure, literal in _sides(comparison, state):
        yield from _percent(measure, literal, state)


def _least_left(comparison: Comparison, state: SeriesState) -> Iterator[float]:
    """What must be left, in the series' own unit."""
    for measure, literal in _sides(comparison, state):
        if measure.field == "remaining":
            yield float(literal.worth)


def _sides(comparison: Comparison, state: SeriesState) -> Iterator[tuple[Measure, Literal]]:
    """The measure and what it is compared with, where the measure is of this series."""
    measure, literal = _parted(comparison)
    if measure is not None and literal is not None and _is_of(measure, state):
        yield measure, literal


def _percent(measure: Measure, literal: Literal, state: SeriesState) -> Iterator[float]:
    worth = float(literal.worth)
    if measure.field == "used_percent":
        yield worth
    elif measure.field == "remaining_percent":
        yield _EXHAUSTED - worth
    elif measure.field in ("remaining", "used") and literal.unit is not Unit.DURATION:
        limit = None if state.reading is None else state.reading.limit
        if limit:
            share = worth / float(limit) * 100
            yield share if measure.field == "used" else _EXHAUSTED - share
