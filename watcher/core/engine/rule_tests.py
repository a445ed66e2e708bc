"""Runs a rule's own examples.

An example's polls are as plain as possible: one series, one answer a step, a reset where the row says `reset`.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from watcher.core.engine import evaluator
from watcher.core.engine.state import EngineState
from watcher.core.engine.windows import infer_kind, infer_length
from watcher.core.model import AlertPhase, Reading, Series, Snapshot
from watcher.core.rules.parser import parse_selector
from watcher.core.rules.rule import Example, Rule
from watcher.core.rules.vocabulary import Unit, get_count_unit

DEFAULT_START_AT = datetime(2026, 1, 7, 12, tzinfo=UTC)
"""A Wednesday noon."""

PHASE_MARKS = {AlertPhase.OK: ".", AlertPhase.PENDING: "p", AlertPhase.FIRING: "F"}
RESET_MARK = "reset"
UNKNOWN_MARK = "?"
NO_MATCH_MARK = "-"

_BOUNDARY_MARGIN = timedelta(seconds=1)


class ExampleResult(Struct, frozen=True, kw_only=True):
    """The result of one example."""

    rule: str
    example: Example
    phases: tuple[str, ...]  # one mark a step, as in `expect`, or `NO_MATCH_MARK`

    @property
    def passed(self) -> bool:
        """Whether every step came out as expected."""
        return self.phases == self.example.expect

    @property
    def failed_steps(self) -> tuple[int, ...]:
        """The steps that did not, from 0."""
        pairs = zip(self.phases, self.example.expect, strict=False)
        return tuple(step for step, (phase, expected) in enumerate(pairs) if phase != expected)


def run_example(rule: Rule, example: Example) -> ExampleResult:
    """Runs an example of a rule."""
    engine_state, phases = EngineState({}, {}), []
    key = rule.name, get_example_series(example)
    for snapshot in make_snapshots(example):
        evaluation = evaluator.evaluate_poll((rule,), engine_state, snapshot, snapshot.at, every=example.every, tz=UTC)
        engine_state = evaluator.apply_evaluation(engine_state, evaluation)
        alert = engine_state.alert_states.get(key)
        phases.append(PHASE_MARKS[AlertPhase.OK if alert is None else alert.phase])
    states = engine_state.series_states.values()
    if states and not any(state.matches(rule.subject) for state in states):
        phases = [NO_MATCH_MARK] * len(phases)  # nothing is shown by a rule that stays quiet about another series
    return ExampleResult(rule=rule.name, example=example, phases=tuple(phases))


def get_example_series(example: Example) -> Series:
    """The example's series."""
    selector, _field = parse_selector(example.series)
    return Series(provider=selector.provider, window=selector.window, account=selector.account)


def make_snapshots(example: Example) -> Iterator[Snapshot]:
    """The polls of an example, one a step."""
    series = get_example_series(example)
    row = example.used or example.remaining
    start = (example.start or DEFAULT_START_AT).astimezone(UTC)
    for step, (value, boundary) in enumerate(zip(row, _compute_boundaries(example, row, start), strict=True)):
        reading = None if value == UNKNOWN_MARK else _make_reading(example, series, value, boundary)
        yield Snapshot(
            provider=series.provider,
            account=series.account,
            account_name=series.account,
            at=start + step * example.every,
            readings=() if reading is None else (reading,),
        )


def _compute_boundaries(example: Example, row: Sequence[float | str], start: datetime) -> list[datetime | None]:
    """For each step, when its window ends: just before the next `reset`, else after `resets_in` or its length."""
    length = example.window_length or infer_length(get_example_series(example))
    row_end = start + len(row) * example.every
    boundaries: list[datetime | None] = []
    opened = start
    for step, value in enumerate(row):
        if value == RESET_MARK:
            opened = start + step * example.every
        boundary = None if length is None else max(opened + length, row_end)
        next_reset = next((later for later in range(step + 1, len(row)) if row[later] == RESET_MARK), None)
        if next_reset is not None:
            boundary = start + next_reset * example.every - _BOUNDARY_MARGIN
        if example.resets_in is not None and opened == start:
            announced = start + example.resets_in
            boundary = announced if next_reset is None or boundary is None else min(announced, boundary)
        boundaries.append(boundary)
    return boundaries


def _make_reading(example: Example, series: Series, value: float | str, resets_at: datetime | None) -> Reading:
    seconds = None if example.window_length is None else int(example.window_length.total_seconds())
    reading = Reading(
        window=series.window, kind=infer_kind(series, seconds), resets_at=resets_at, window_seconds=seconds
    )
    if example.used:
        return replace(reading, used_percent=0.0 if value == RESET_MARK else float(value))
    limit = None if example.limit is None else Decimal(str(example.limit))
    remaining = limit if value == RESET_MARK else Decimal(str(value))
    return replace(
        reading,
        used_percent=float((limit - remaining) / limit * 100) if limit and remaining is not None else None,
        limit=limit,
        remaining=remaining,
        unit="usd" if get_count_unit(series.provider, series.window) is Unit.MONEY else "requests",
    )
