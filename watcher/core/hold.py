"""Why a message is held back for now: a snooze, quiet hours, a machine that is offline. Never drop anything here.

What is held is not lost: it waits in the outbox, and `plan.release` lets it go. An alert's end is held even where its
beginning was critical: good news wakes nobody.
"""

from collections.abc import Mapping
from datetime import datetime, tzinfo
from functools import lru_cache

from msgspec import Struct

from watcher.core.expression import ExpressionError, parse_selector
from watcher.core.kinds import kind_of
from watcher.core.model import OPENING, Event, Series, Severity, Snooze, Transition
from watcher.core.phrases import clock
from watcher.core.quiet import Quiet, ends_at
from watcher.core.selector import Selector

OFFLINE = "this machine is offline"
SNOOZED = "snoozed"
QUIET = "quiet hours"


class Hold(Struct, frozen=True):
    """Why, and until when where that is known."""

    reason: str
    until: datetime | None = None


class Situation(Struct, frozen=True, kw_only=True):
    """All that can hold a message back, at one instant."""

    now: datetime
    tz: tzinfo
    quiet: Quiet | None = None
    snoozes: tuple[Snooze, ...] = ()
    offline: bool = False


def hold(transition: Transition, situation: Situation, *, silence: bool = False) -> Hold | None:
    """What holds a transition back; None where it may be said. `silence`: its rule is about missing readings."""
    if situation.offline and silence and transition.event in OPENING:
        return Hold(OFFLINE)
    for snooze in situation.snoozes:
        if snoozes(snooze, transition, situation.now):
            when = f"until {clock(snooze.until, situation.now, situation.tz)}" if snooze.until else "until the reset"
            return Hold(f"{SNOOZED} {when}: {snooze.target}", snooze.until)
    loud = transition.severity is Severity.CRITICAL and transition.event in OPENING
    return None if loud else hold_quiet(situation)


def hold_quiet(situation: Situation) -> Hold | None:
    """What quiet hours hold back: anything that is not critical."""
    if situation.quiet is None:
        return None
    until = ends_at(situation.quiet, situation.now, situation.tz)
    return Hold(f"{QUIET} until {clock(until, situation.now, situation.tz)}", until) if until else None


def snoozes(snooze: Snooze, transition: Transition, now: datetime) -> bool:
    """Whether a snooze holds a transition back. One until the reset lets the reset itself and all after it speak."""
    if over(snooze, now) or not covers(snooze.target, transition):
        return False
    if snooze.episodes is None:
        return True
    if transition.event is Event.RESET or transition.reason == "reset":
        return False
    return transition.episode <= snooze.episodes.get(str(transition.series), -1)


def ended_by(snooze: Snooze, transition: Transition) -> bool:
    """Whether a transition that a snooze covers ends it: a level higher than what was firing when it began."""
    if transition.event is Event.ESCALATED:
        return snooze.severity is None or transition.severity.rank > snooze.severity.rank
    higher = snooze.severity is not None and transition.severity.rank > snooze.severity.rank
    return transition.event is Event.FIRING and higher


def over(snooze: Snooze, now: datetime, episodes: Mapping[str, int] | None = None) -> bool:
    """Whether a snooze has run out. `episodes`: the present episode of each written series, where known."""
    if snooze.until is not None and now >= snooze.until:
        return True
    if not snooze.episodes or not episodes:
        return False
    return all(episodes.get(series, then) > then for series, then in snooze.episodes.items())


def covers(target: str, transition: Transition) -> bool:
    """Whether a snooze's target, a rule's name or a written series, means the alert of a transition."""
    if target == transition.rule:
        return True
    series, reading = transition.series, transition.reading
    return is_meant(target, series, transition.account_name, str(reading.kind if reading else kind_of(series)))


def is_meant(target: str, series: Series, account_name: str, kind: str) -> bool:
    """Whether a written series means this one: `claude`, `claude.five_hour`, `codex[me@example.com]`, `*.weekly`, `*`.

    A provider alone means all its windows. A text that names no series means none.
    """
    selector = _selector(target)
    named = selector is not None and selector.matches(series, account_name, kind, primary=False)
    return named or target == str(series)


@lru_cache(maxsize=64)
def _selector(target: str) -> Selector | None:
    if target == "*":
        return Selector("*", window="*")
    try:
        selector, field = parse_selector(target)
    except ExpressionError:
        return None
    return None if field else selector.every_window
