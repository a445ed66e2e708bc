"""Transitions told as spells: from when to when an alert fired, how high it went. Never judge anew what was decided.

A rule may be silent about beginnings or ends (`on`), and what is silent leaves no transition: so an end may not be
known although it is over, and its beginning is taken from the transition that ended it.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from watcher.core.kinds import get_used_percent
from watcher.core.model import AlertEvent, Series, Severity, Transition

AlertKey = tuple[str, Series]


class AlertPeriod(Struct, frozen=True, kw_only=True):
    """One alert, from its beginning to its end."""

    rule: str
    series: Series
    severity: Severity  # the highest it reached
    since: datetime
    until: datetime | None  # None: it lasts, or its end was not recorded
    is_firing: bool
    peak_used_percent: float | None  # the highest that was told; None: unknown, or the rule is not about use
    reason: str = ""  # why it ended: recovered, reset, ...


def build_alert_periods(transitions: Sequence[Transition], firing: Collection[AlertKey]) -> tuple[AlertPeriod, ...]:
    """The spells in the order in which they began.

    Args:
        transitions: in time order.
        firing: the alerts that fire at the end of that time.
    """
    done: list[AlertPeriod] = []
    begun: dict[AlertKey, AlertPeriod] = {}
    for each in transitions:
        alert = each.rule, each.series
        known = begun.get(alert)
        if each.event is AlertEvent.FIRING:
            if known is not None:
                done.append(begun.pop(alert))
            begun[alert] = _start_alert_period(each)
        elif each.event in (AlertEvent.ESCALATED, AlertEvent.REMINDER):
            begun[alert] = _extend_alert_period(known or _start_alert_period(each), each)
        elif each.event is AlertEvent.RESOLVED:
            begun.pop(alert, None)
            done.append(replace(known or _start_alert_period(each), until=each.at, reason=each.reason))
    done += [replace(spell, is_firing=alert in firing) for alert, spell in begun.items()]
    return tuple(sorted(done, key=lambda spell: (spell.since, spell.rule, spell.series)))


def _start_alert_period(transition: Transition) -> AlertPeriod:
    resolved = transition.event is AlertEvent.RESOLVED
    return AlertPeriod(
        rule=transition.rule,
        series=transition.series,
        severity=transition.severity,
        since=transition.since,
        until=None,
        is_firing=False,
        peak_used_percent=None if resolved else _get_used_percent(transition),
    )


def _extend_alert_period(period: AlertPeriod, transition: Transition) -> AlertPeriod:
    told = [value for value in (period.peak_used_percent, _get_used_percent(transition)) if value is not None]
    return replace(
        period,
        severity=max(period.severity, transition.severity, key=lambda severity: severity.rank),
        peak_used_percent=max(told, default=None),
    )


def _get_used_percent(transition: Transition) -> float | None:
    return None if transition.reading is None else get_used_percent(transition.reading)
