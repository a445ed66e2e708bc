"""A change of an alert, dressed with everything that those who tell of it may need, so that nobody looks again.

Never decide here whether something changed: `watcher.core.evaluate` does.
"""

import math
from collections.abc import Iterable
from typing import Any

from watcher.core.evaluate import Change
from watcher.core.kinds import level
from watcher.core.memory import SeriesState
from watcher.core.model import Event, Rule, Transition
from watcher.core.view import View

FULL = 100.0 - 1e-6


def event_of(rule: Rule, change: Change) -> Event | None:
    """What the change is called for this rule; None where its `on` does not ask for it."""
    if change.event is Event.REMINDER:
        return change.event  # `remind` asks for it
    if change.event is Event.RESOLVED and change.reason == "reset" and Event.RESET in rule.on:
        return Event.RESET
    return change.event if change.event in rule.on else None


def dressed(event: Event, rule: Rule, change: Change, view: View, siblings: Iterable[View]) -> Transition:
    """The transition, with what is believed and known at this moment.

    Args:
        event: what it is called, from `event_of`.
        rule: whose alert changed.
        change: of it.
        view: of its series.
        siblings: the account's other series.
    """
    state = view.state
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
        heard=change.heard,
        nth=change.nth,
        facts=facts(view, siblings),
    )


def facts(view: View, siblings: Iterable[View]) -> dict[str, Any]:
    """What is known beyond the reading, as plain JSON values; what is unknown is left out."""
    state = view.state
    spent = [_row(sibling) for sibling in siblings if is_spent(sibling)]
    found = {
        "rate": view.worth("rate"),
        "projected": view.worth("projected"),
        "exhausts_in_s": view.worth("exhausts_in"),
        "age_s": view.read_s_ago(),
        "error": state.error,
        "error_kind": state.error_kind,
        "plan": state.plan,
        "spent": sorted(spent, key=lambda row: (row[1] is None, row[1], row[0])) or None,
    }
    return {name: value for name, value in found.items() if value is not None and value != math.inf}


def is_full(state: SeriesState) -> bool:
    """Whether the window was used up when it was last read; whether it still is, `is_spent` says."""
    used = None if state.reading is None or state.gone else level(state.reading)
    return used is not None and used >= FULL


def is_spent(view: View) -> bool:
    """Whether nothing is left in that window."""
    used = view.worth("used_percent")
    return isinstance(used, float | int) and used >= FULL


def _row(view: View) -> list[str | None]:
    reading, boundary = view.state.reading, view.state.boundary
    label = (reading.label if reading is not None else "") or view.state.series.window
    return [label, None if boundary is None else boundary.isoformat()]
