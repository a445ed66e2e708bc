"""Transitions and decisions: the records that an evaluation leaves.

A transition carries everything that its readers need, so that no reader looks up the present state. A decision says
for one rule, series and moment why there was a transition or none; `watcher rules explain` shows it.
"""

import math
from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from watcher.core.engine.metrics import SeriesMetrics
from watcher.core.engine.state import Validity
from watcher.core.engine.state_machine import AlertChange
from watcher.core.engine.windows import get_used_percent
from watcher.core.model import AlertEvent, AlertPhase, Facts, Series, Severity, Transition
from watcher.core.rules.rule import Rule

FULL_PERCENT = 100.0 - 1e-6

REASONS = {
    "above": "the condition has held for as long as the rule asks: fired",
    "escalated": "a higher level was reached: said",
    "remind": "still firing, and the reminder was due: reminded",
    "recovered": "the clearing condition holds: resolved",
    "reset": "the window was reset: resolved",
    "below": "the condition does not hold",
    "holding": "the condition holds, but not yet for as long as `for` asks",
    "unchanged": "still firing; nothing new to say",
    "hysteresis": "the condition no longer holds, but the clearing condition does not hold yet: still firing",
    "stepped down": "a lower level of the same alert: not reported",
    "unknown": "something that the condition asks for is unknown: the alert stays as it is",
    "suspect": "the reading rises or falls too far: not believed until a second one confirms it",
    "frozen": "the window has ended, but the answer is still the old one: polled again soon",
    "missing": "the answer came without this window: the alert stays as it is",
    "failed": "there was no answer: the alert stays as it is",
    "stale": "the reading is old, unreliable or without a value: the alert stays as it is",
    "ended": "the window has ended since the last reading: unknown until the next one",
    "not active at this hour": "the condition holds, but outside of the rule's `active` hours",
    "not asked for": "it changed, but the rule's `on` does not ask for this event",
    "offline, said once": "this machine is offline, and another alert of this rule reports it",
    "edited": "the condition was edited: the alert of the old one is closed",
    "rule removed": "the rule was removed: closed",
    "series gone": "no answer held this series for 7 days: closed",
}
"""Reason -> the sentence for it."""


class Decision(Struct, frozen=True, kw_only=True):
    """What was decided for one rule and one series at one moment, also if nothing happened."""

    rule: str
    series: Series
    at: datetime
    condition: bool | None  # whether it held on any level; None: unknown
    phase: AlertPhase  # afterwards
    reason: str  # one of `REASONS`
    used_percent: float | None = None  # as read, believed or not; None: unknown

    @property
    def text(self) -> str:
        """The reason as a sentence."""
        return REASONS[self.reason]


def make_decision(
    rule: str, metrics: SeriesMetrics, levels_met: tuple[bool | None, ...], phase: AlertPhase, reason: str
) -> Decision:
    """The record of one decision.

    Args:
        rule: its name.
        metrics: of the series.
        levels_met: whether each level's condition held.
        phase: of the alert, afterwards.
        reason: one of `REASONS`; "unknown" is made more precise.
    """
    state = metrics.state
    reading = state.reading if state.validity.is_believed or state.validity is Validity.FROZEN else None
    if state.validity is Validity.SUSPECT:
        reading = state.reading if state.suspect is None else state.suspect.reading
    if reason == "unknown":
        if not state.validity.is_believed:
            reason = "stale" if state.validity is Validity.UNKNOWN else str(state.validity)
        elif not metrics.is_current:
            reason = "ended"
    return Decision(
        rule=rule,
        series=state.series,
        at=metrics.now,
        condition=True if True in levels_met else None if None in levels_met or not levels_met else False,
        phase=phase,
        reason=reason,
        used_percent=None if reading is None else get_used_percent(reading),
    )


def choose_event(rule: Rule, change: AlertChange) -> AlertEvent | None:
    """The event that the rule's `on` makes of a change; None: it does not ask for it."""
    if change.event is AlertEvent.REMINDER:
        return change.event  # `remind` asks for it
    if change.event is AlertEvent.RESOLVED and change.reason == "reset" and AlertEvent.RESET in rule.on:
        return AlertEvent.RESET
    return change.event if change.event in rule.on else None


def make_transition(
    event: AlertEvent, rule: Rule, change: AlertChange, metrics: SeriesMetrics, exhausted: Iterable[SeriesMetrics]
) -> Transition:
    """The transition of one change.

    Args:
        event: from `choose_event`.
        rule: of the alert.
        change: of the alert.
        metrics: of the series.
        exhausted: the account's other series that are used up.
    """
    state, alert = metrics.state, change.alert
    return Transition(
        at=change.at,
        rule=rule.name,
        series=state.series,
        account_name=state.account_name,
        episode=alert.episode,
        event=event,
        severity=alert.severity or Severity.WARNING,
        reason=change.reason,
        since=alert.since or change.at,
        reading=state.reading,
        notified_severities=alert.notified_severities,
        occurrence=alert.reminder_count if change.event is AlertEvent.REMINDER else max(alert.fired_count, 1),
        facts=collect_facts(metrics, exhausted),
    )


def collect_facts(metrics: SeriesMetrics, exhausted: Iterable[SeriesMetrics]) -> Facts:
    """What is known beyond the reading."""
    state = metrics.state
    spent = sorted(
        (_make_exhausted_row(other) for other in exhausted), key=lambda row: (row[1] is None, row[1], row[0])
    )
    numbers = {name: metrics.value_of(name) for name in ("increase", "rate", "projected", "exhausts_in")}
    known = {name: value for name, value in numbers.items() if isinstance(value, float) and value != math.inf}
    return Facts(
        increase=known.get("increase"),
        rate=known.get("rate"),
        projected=known.get("projected"),
        exhausts_in_s=known.get("exhausts_in"),
        age_s=metrics.reading_age_s(),
        error=state.error,
        error_kind=state.error_kind,
        plan=state.plan,
        spent=tuple(spent) or None,
    )


def is_exhausted(metrics: SeriesMetrics) -> bool:
    """Whether the window is used up."""
    used = metrics.value_of("used_percent")
    return isinstance(used, float | int) and used >= FULL_PERCENT


def _make_exhausted_row(metrics: SeriesMetrics) -> tuple[str, datetime | None]:
    """(label, when it resets)."""
    reading = metrics.state.reading
    return (reading.label if reading else "") or metrics.state.series.window, metrics.state.boundary_at
