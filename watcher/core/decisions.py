"""Why something was said, or was not: one record for each rule, series and moment, for `watcher rules explain`.

Never decide anything here.
"""

from datetime import datetime

from msgspec import Struct

from watcher.core.kinds import get_used_percent
from watcher.core.memory import Validity
from watcher.core.model import AlertPhase, Series
from watcher.core.view import SeriesMetrics

REASONS = {
    "above": "the condition has held for as long as the rule asks: fired",
    "escalated": "a higher level was reached: said",
    "remind": "still firing, and the reminder was due: said",
    "recovered": "the clearing condition holds: resolved",
    "reset": "the window turned over: resolved",
    "below": "the condition does not hold",
    "holding": "the condition holds, but not yet for as long as `for` asks",
    "unchanged": "still firing; nothing new to say",
    "hysteresis": "the condition no longer holds, but the clearing condition does not hold yet: still firing",
    "stepped down": "a lower level of the same alert: that is no news",
    "unknown": "something that the condition asks for is unknown: the alert stays as it is",
    "suspect": "the reading leaps or collapses: not believed until a second one confirms it",
    "frozen": "the window has ended, but the answer is still the old one: asked again soon",
    "missing": "the answer came without this window: the alert stays as it is",
    "failed": "there was no answer: the alert stays as it is",
    "stale": "the reading is old, unreliable or without a value: the alert stays as it is",
    "ended": "the window has ended since the last reading: nothing is claimed until a fresh one",
    "not active at this hour": "the condition holds, but outside of the rule's `active` hours",
    "not asked for": "it changed, but the rule's `on` does not ask to be told of that",
    "offline, said once": "this machine is offline, and another alert of this rule has said so",
    "edited": "the condition was edited: judged anew, without a word about the old one",
    "rule removed": "the rule is gone: closed without a word",
    "series gone": "nothing was heard of this series for 7 days: closed without a word",
}
"""Reason -> the sentence for it."""

_REASON_BY_VALIDITY = {
    Validity.SUSPECT: "suspect",
    Validity.FROZEN: "frozen",
    Validity.MISSING: "missing",
    Validity.FAILED: "failed",
    Validity.UNKNOWN: "stale",
}


class Decision(Struct, frozen=True, kw_only=True):
    """What was decided for one rule and one series at one moment, also where nothing was said."""

    rule: str
    series: Series
    at: datetime
    condition: bool | None  # whether it held, on any level; None: unknown
    phase: AlertPhase  # after it
    reason: str  # one of `REASONS`
    used_percent: float | None = None  # as read at that moment, believed or not; None: unknown

    @property
    def text(self) -> str:
        """One sentence for people."""
        return REASONS[self.reason]


def make_decision(
    rule: str, metrics: SeriesMetrics, levels_met: tuple[bool | None, ...], phase: AlertPhase, reason: str
) -> Decision:
    """The record of one decision.

    Args:
        rule: its name.
        metrics: of the series that was judged.
        levels_met: whether each level's condition held.
        phase: of the alert, afterwards.
        reason: one of `REASONS`; "unknown" is made more precise.
    """
    state = metrics.state
    doubted = state.doubt is not None and state.standing is Validity.SUSPECT
    reading = state.doubt.reading if doubted and state.doubt is not None else state.reading
    shown = reading if doubted or state.standing.is_believed or state.standing is Validity.FROZEN else None
    if reason == "unknown":
        reason = _explain_unknown(metrics)
    return Decision(
        rule=rule,
        series=state.series,
        at=metrics.now,
        condition=True if True in levels_met else None if None in levels_met or not levels_met else False,
        phase=phase,
        reason=reason,
        used_percent=None if shown is None else get_used_percent(shown),
    )


def _explain_unknown(metrics: SeriesMetrics) -> str:
    if not metrics.state.standing.is_believed:
        return _REASON_BY_VALIDITY[metrics.state.standing]
    return "unknown" if metrics.is_current else "ended"
