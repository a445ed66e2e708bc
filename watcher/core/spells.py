"""Transitions told as spells: from when to when an alert fired, how high it went. Never judge anew what was decided.

A rule may be silent about beginnings or ends (`on`), and what is silent leaves no transition: so an end may not be
known although it is over, and its beginning is taken from the transition that ended it.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from watcher.core.kinds import level
from watcher.core.model import Event, Series, Severity, Transition

Alert = tuple[str, Series]


class Spell(Struct, frozen=True, kw_only=True):
    """One alert, from its beginning to its end."""

    rule: str
    series: Series
    severity: Severity  # the highest it reached
    since: datetime
    until: datetime | None  # None: it lasts, or its end was not recorded
    lasts: bool
    used_percent: float | None  # the highest that was told; None: unknown, or the rule is not about use
    reason: str = ""  # why it ended: recovered, reset, ...


def spells(transitions: Sequence[Transition], firing: Collection[Alert]) -> tuple[Spell, ...]:
    """The spells in the order in which they began.

    Args:
        transitions: in time order.
        firing: the alerts that fire at the end of that time.
    """
    done: list[Spell] = []
    begun: dict[Alert, Spell] = {}
    for each in transitions:
        alert = each.rule, each.series
        known = begun.get(alert)
        if each.event is Event.FIRING:
            if known is not None:
                done.append(begun.pop(alert))
            begun[alert] = _begun(each)
        elif each.event in (Event.ESCALATED, Event.REMINDER):
            begun[alert] = _risen(known or _begun(each), each)
        elif each.event is Event.RESOLVED:
            begun.pop(alert, None)
            done.append(replace(known or _begun(each), until=each.at, reason=each.reason))
    done += [replace(spell, lasts=alert in firing) for alert, spell in begun.items()]
    return tuple(sorted(done, key=lambda spell: (spell.since, spell.rule, spell.series)))


def _begun(transition: Transition) -> Spell:
    resolved = transition.event is Event.RESOLVED
    return Spell(
        rule=transition.rule,
        series=transition.series,
        severity=transition.severity,
        since=transition.since,
        until=None,
        lasts=False,
        used_percent=None if resolved else _percent(transition),
    )


def _risen(spell: Spell, transition: Transition) -> Spell:
    told = [value for value in (spell.used_percent, _percent(transition)) if value is not None]
    return replace(
        spell,
        severity=max(spell.severity, transition.severity, key=lambda severity: severity.rank),
        used_percent=max(told, default=None),
    )


def _percent(transition: Transition) -> float | None:
    return None if transition.reading is None else level(transition.reading)
