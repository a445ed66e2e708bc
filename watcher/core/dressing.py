"""A change of an alert, dressed with everything that those who tell of it may need, so that nobody looks again.

Never decide here whether something changed: `watcher.core.evaluate` does.
"""

import math
from collections.abc import Iterable
from typing import Any

from watcher.core.evaluate import AlertChange
from watcher.core.kinds import get_used_percent
from watcher.core.memory import SeriesState
from watcher.core.model import AlertEvent, Rule, Transition
from watcher.core.view import SeriesMetrics

FULL_PERCENT = 100.0 - 1e-6


def choose_event(rule: Rule, change: AlertChange) -> AlertEvent | None:
    """What the change is called for this rule; None where its `on` does not ask for it."""
    if change.event is AlertEvent.REMINDER:
        return change.event  # `remind` asks for it
    if change.event is AlertEvent.RESOLVED and change.reason == "reset" and AlertEvent.RESET in rule.on:
        return AlertEvent.RESET
    return change.event if change.event in rule.on else None


def make_transition(
    event: AlertEvent, rule: Rule, change: AlertChange, metrics: SeriesMetrics, siblings: Iterable[SeriesMetrics]
) -> Transition:
    """The transition, with what is believed and known at this moment.

    Args:
        event: what it is called, from `choose_event`.
        rule: whose alert changed.
        change: of it.
        metrics: of its series.
        siblings: the account's other series.
    """
    state = metrics.state
    return Transition(
        at=change.at,
        rule=rule.name,
        series=state.series,
        account_name=state.account_name,
        episode=change.episode,
        event=event,
        severity=change.severity,
        reason=change.reason,
        since=change.since,
        reading=state.reading,
        heard=change.notified_severities,
        nth=change.occurrence,
        facts=collect_facts(metrics, siblings),
    )


def collect_facts(metrics: SeriesMetrics, siblings: Iterable[SeriesMetrics]) -> dict[str, Any]:
    """What is known beyond the reading, as plain JSON values; what is unknown is left out."""
    state = metrics.state
    spent = [_make_exhausted_row(sibling) for sibling in siblings if is_exhausted(sibling)]
    found = {
        "rate": metrics.value_of("rate"),
        "projected": metrics.value_of("projected"),
        "exhausts_in_s": metrics.value_of("exhausts_in"),
        "age_s": metrics.reading_age_s(),
        "error": state.error,
        "error_kind": state.error_kind,
        "plan": state.plan,
        "spent": sorted(spent, key=lambda row: (row[1] is None, row[1], row[0])) or None,
    }
    return {name: value for name, value in found.items() if value is not None and value != math.inf}


def was_exhausted(state: SeriesState) -> bool:
    """Whether the window was used up when it was last read; whether it still is, `is_exhausted` says."""
    used = None if state.reading is None or state.gone else get_used_percent(state.reading)
    return used is not None and used >= FULL_PERCENT


def is_exhausted(metrics: SeriesMetrics) -> bool:
    """Whether nothing is left in that window."""
    used = metrics.value_of("used_percent")
    return isinstance(used, float | int) and used >= FULL_PERCENT


def _make_exhausted_row(metrics: SeriesMetrics) -> list[str | None]:
    reading, boundary = metrics.state.reading, metrics.state.boundary
    label = (reading.label if reading is not None else "") or metrics.state.series.window
    return [label, None if boundary is None else boundary.isoformat()]
