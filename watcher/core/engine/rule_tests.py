"""A rule's own examples, run through the daemon's core, and the decisions that explain a rule.

An example's polls are as plain as they can be: one series, one answer a step, boundaries where the row says `reset`.
Never judge anything here.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal

from msgspec import Struct

from watcher.core.engine import evaluator
from watcher.core.engine.replay import replay_rules
from watcher.core.engine.state import EngineState
from watcher.core.engine.transitions import Decision
from watcher.core.engine.windows import infer_kind, infer_length
from watcher.core.model import AlertPhase, PollResult, Reading, Series, Snapshot
from watcher.core.rules.fields import PROVIDER_WINDOWS, get_count_unit
from watcher.core.rules.parser import parse_selector
from watcher.core.rules.rule import Example, Rule
from watcher.core.rules.units import Unit

DEFAULT_START_AT = datetime(2026, 1, 7, 12, tzinfo=UTC)
"""Some Wednesday noon."""

PHASE_MARKS = {AlertPhase.OK: ".", AlertPhase.PENDING: "p", AlertPhase.FIRING: "F"}
RESET_MARK = "reset"
UNKNOWN_MARK = "?"

_BOUNDARY_MARGIN = timedelta(seconds=1)


class ExampleResult(Struct, frozen=True, kw_only=True):
    """How one example went."""

    rule: str
    example: Example
    phases: tuple[str, ...]  # one mark a step, as in `expect`

    @property
    def passed(self) -> bool:
        """Whether every step came out as expected."""
        return self.phases == self.example.expect

    @property
    def failed_steps(self) -> tuple[int, ...]:
        """The steps that did not, from 0."""
        pairs = zip(self.phases, self.example.expect, strict=False)
        return tuple(step for step, (got, wanted) in enumerate(pairs) if got != wanted)


def run_example(rule: Rule, example: Example) -> ExampleResult:
    """The phases that the rule goes through in its example."""
    rules, memory, marks = (rule,), EngineState({}, {}), []
    series = get_example_series(example)
    for answer in make_snapshots(example):
        judged = evaluator.evaluate_poll(rules, memory, answer, answer.at, every=example.every, tz=UTC)
        memory = evaluator.apply_evaluation(memory, judged)
        alert = memory.alert_states.get((rule.name, series))
        marks.append(PHASE_MARKS[AlertPhase.OK if alert is None else alert.phase])
    return ExampleResult(rule=rule.name, example=example, phases=tuple(marks))


def get_example_series(example: Example) -> Series:
    """The series that the example is about; its provider's primary window where it names none."""
    selector, _field = parse_selector(example.series)
    windows = PROVIDER_WINDOWS.get(selector.provider)
    primary = windows.primary[0] if windows is not None and windows.primary else ""
    return Series(provider=selector.provider, window=selector.window or primary, account=selector.account)


def make_snapshots(example: Example) -> Iterator[Snapshot]:
    """The polls of an example, one a step."""
    series = get_example_series(example)
    row = example.used or example.remaining
    start = (example.start or DEFAULT_START_AT).astimezone(UTC)
    for step, (what, boundary) in enumerate(zip(row, _compute_boundaries(example, row, start), strict=True)):
        reading = None if what == UNKNOWN_MARK else _make_reading(example, series, what, boundary)
        yield Snapshot(
            provider=series.provider,
            account=series.account,
            account_name=series.account,
            at=start + step * example.every,
            readings=() if reading is None else (reading,),
        )


def _compute_boundaries(example: Example, row: Sequence[float | str], start: datetime) -> list[datetime | None]:
    """For each step, when the window ends that is open then: just before the next `reset`, else after its length."""
    resets = [step for step, what in enumerate(row) if what == RESET_MARK]
    length = example.window_length or infer_length(get_example_series(example))
    ends: list[datetime | None] = []
    opened = start
    for step in range(len(row)):
        if step in resets:
            opened = start + step * example.every
        coming = next((start + reset * example.every - _BOUNDARY_MARGIN for reset in resets if reset > step), None)
        announced = example.resets_in is not None and opened == start
        if announced and example.resets_in is not None:
            end: datetime | None = start + example.resets_in
        else:
            end = None if length is None else max(opened + length, start + len(row) * example.every)
        ends.append(end if coming is None or (announced and end is not None and end <= coming) else coming)
    return ends


def _make_reading(example: Example, series: Series, value: float | str, resets_at: datetime | None) -> Reading:
    seconds = None if example.window_length is None else int(example.window_length.total_seconds())
    kind = infer_kind(series, seconds)
    if example.used:
        percent = 0.0 if value == RESET_MARK else float(value)
        return Reading(
            window=series.window, kind=kind, used_percent=percent, resets_at=resets_at, window_seconds=seconds
        )
    limit = None if example.limit is None else Decimal(str(example.limit))
    remaining = limit if value == RESET_MARK else Decimal(str(value))
    money = get_count_unit(series.provider, series.window) is Unit.MONEY
    percent_used = float((limit - remaining) / limit * 100) if limit and remaining is not None else None
    return Reading(
        window=series.window,
        kind=kind,
        used_percent=percent_used,
        limit=limit,
        remaining=remaining,
        unit="usd" if money else "requests",
        resets_at=resets_at,
        window_seconds=seconds,
    )


def explain_rule(  # noqa: PLR0913 - likewise
    rules: Sequence[Rule],
    history: Sequence[PollResult],
    name: str,
    *,
    default_intervals: Mapping[str, timedelta] | None = None,
    tz: tzinfo | None = None,
    until: datetime | None = None,
) -> dict[Series, list[Decision]]:
    """Every decision of one rule over a history, by series, in time order.

    Args:
        rules: in force.
        history: answers and failures, in time order.
        name: of the rule.
        default_intervals: provider -> how often it is asked, where the history is too short to tell.
        tz: the machine's zone.
        until: this instant, for what time alone has changed since the last answer; None: that is not asked.
    """
    found: dict[Series, list[Decision]] = {}
    only = tuple(rule for rule in rules if rule.name == name)
    for moment in replay_rules(only, history, default_intervals=default_intervals, tz=tz, explain=True, until=until):
        for decision in moment.evaluation.decisions:
            found.setdefault(decision.series, []).append(decision)
    return dict(sorted(found.items()))
