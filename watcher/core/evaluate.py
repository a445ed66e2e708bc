"""One alert, one observation, one step: when to speak, when to hold still, when to take it back.

The phases and what moves them, drawn from `TABLE`. To change the engine, change the table first; a test holds this
drawing to it::

    phase      seen        becomes    says
    ok         holding     pending    -
    ok         held        firing     firing
    pending    held        firing     firing
    pending    not         ok         -
    pending    reset       ok         -
    firing     higher      firing     escalated
    firing     lower       firing     -
    firing     due         firing     reminder
    firing     clear       ok         resolved
    firing     reset       ok         resolved

What is not in the table changes nothing. *holding*: the condition holds, `for` has not run out (or the hour is not
`active`). *held*: it has held for `for` on believed readings. *not*: it does not hold. *higher*, *lower*: another step
of the ladder is reached, or left. *due*: the next reminder's time has come. *clear*: the clearing condition of every
step holds. *reset*: the window turned over; the same reading is then judged for the new episode. Unknown is none of
these: it stops the `for` clock and moves nothing.

Never put a clock, a channel or a word for people here.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from watcher.core import holding
from watcher.core.memory import AlertState
from watcher.core.model import Event, Phase, Rule, Series, Severity


class Seen(StrEnum):
    """What an observation means to an alert."""

    HOLDING = "holding"
    HELD = "held"
    NOT = "not"
    HIGHER = "higher"
    LOWER = "lower"
    DUE = "due"
    CLEAR = "clear"
    RESET = "reset"
    NOTHING = "nothing"  # between the thresholds, or as before
    UNKNOWN = "unknown"


TABLE: dict[tuple[Phase, Seen], tuple[Phase, Event | None]] = {
    (Phase.OK, Seen.HOLDING): (Phase.PENDING, None),
    (Phase.OK, Seen.HELD): (Phase.FIRING, Event.FIRING),
    (Phase.PENDING, Seen.HELD): (Phase.FIRING, Event.FIRING),
    (Phase.PENDING, Seen.NOT): (Phase.OK, None),
    (Phase.PENDING, Seen.RESET): (Phase.OK, None),
    (Phase.FIRING, Seen.HIGHER): (Phase.FIRING, Event.ESCALATED),
    (Phase.FIRING, Seen.LOWER): (Phase.FIRING, None),
    (Phase.FIRING, Seen.DUE): (Phase.FIRING, Event.REMINDER),
    (Phase.FIRING, Seen.CLEAR): (Phase.OK, Event.RESOLVED),
    (Phase.FIRING, Seen.RESET): (Phase.OK, Event.RESOLVED),
}
"""(phase, seen) -> (phase after it, what is said)."""


class Observation(Struct, frozen=True, kw_only=True):
    """What is seen of one series through one rule. The tuples go along with the rule's levels."""

    whens: tuple[bool | None, ...]
    clears: tuple[bool | None, ...]  # only looked at while firing
    episode: int
    cyclic: bool = True  # a new episode ends the alert; not so for rules about silence alone
    active: bool = True  # the rule may speak at this hour
    mute: bool = False  # if it fires now, another alert has said it already
    unmute: bool = False  # what was muted must be said by itself now
    every: timedelta


class Change(Struct, frozen=True, kw_only=True):
    """Something to say."""

    event: Event
    severity: Severity
    reason: str
    since: datetime
    nth: int
    episode: int
    at: datetime
    heard: tuple[Severity, ...] = ()


class Step(Struct, frozen=True):
    """What a step came to: the alert after it, what to say, and the reason for saying it or for saying nothing."""

    alert: AlertState
    changes: tuple[Change, ...]
    reason: str


def unseen(rule: Rule, series: Series, episode: int, now: datetime) -> AlertState:
    """The state of an alert of which nothing is known yet."""
    return AlertState(rule=rule.name, series=series, fingerprint=rule.fingerprint, at=now, episode=episode)


def retired(alert: AlertState, now: datetime) -> AlertState | None:
    """What is left of an alert whose rule or series is gone: closed without a word.

    The counts stay until the window turns over, so that the same rule, put back, may speak and is no repeat of itself.
    None: there is nothing to remember.
    """
    if not alert.fired:
        return None
    return _at_rest(alert, max(now, alert.at), fingerprint="")


def step(rule: Rule, alert: AlertState, seen: Observation, now: datetime) -> Step:
    """The alert after an observation, and what to say.

    Args:
        rule: in force.
        alert: before it; `unseen` where there was none.
        seen: through this rule.
        now: the instant of the observation; where the clock was set back, nothing is stored as earlier than before.
    """
    changes: tuple[Change, ...] = ()
    edited = alert.fingerprint != rule.fingerprint
    if edited:
        alert = _at_rest(alert, alert.at, fingerprint=rule.fingerprint)
    if alert.episode != seen.episode:
        alert, changes = _next_episode(alert, seen, now)
    known = any(when is not None for when in seen.whens)
    if rule.hold and (alert.phase is not Phase.FIRING or alert.step < len(rule.levels) - 1):
        alert = holding.timed(alert, seen.whens, now, every=seen.every)
    if not known:
        return Step(alert, changes, "unknown")
    verdict = _verdict(rule, alert, seen, now)
    after = _moved(rule, alert, verdict, seen, now)
    if edited and not after.changes and verdict[1] in (Seen.NOTHING, Seen.NOT):
        return Step(after.alert, changes, "edited")
    return Step(after.alert, changes + after.changes, after.reason)


def _at_rest(alert: AlertState, at: datetime, *, fingerprint: str) -> AlertState:
    return AlertState(
        rule=alert.rule,
        series=alert.series,
        fingerprint=fingerprint,
        at=at,
        episode=alert.episode,
        fired=alert.fired,
        reminded=alert.reminded,
    )


def _next_episode(alert: AlertState, seen: Observation, now: datetime) -> tuple[AlertState, tuple[Change, ...]]:
    """The window turned over: what was firing is over, whatever the new reading says."""
    if not seen.cyclic:
        return (alert if alert.phase is Phase.FIRING else replace(alert, episode=seen.episode)), ()
    changes: tuple[Change, ...] = ()
    if alert.phase is Phase.FIRING and not alert.muted:
        changes = (_change(alert, Event.RESOLVED, "reset", max(now, alert.at)),)
    fresh = AlertState(
        rule=alert.rule,
        series=alert.series,
        fingerprint=alert.fingerprint,
        at=max(now, alert.at),
        episode=seen.episode,
    )
    return fresh, changes


def _verdict(rule: Rule, alert: AlertState, seen: Observation, now: datetime) -> tuple[int, Seen]:
    """The ladder's step that is reached after all, and what that means."""
    held = [
        when and (not rule.hold or holding.span(alert, place) >= rule.hold) for place, when in enumerate(seen.whens)
    ]
    reached = max((place for place, long_enough in enumerate(held) if long_enough), default=-1)
    if alert.phase is not Phase.FIRING:
        return reached, _rising(alert, seen, reached)
    kept = max(
        (
            place
            for place in range(min(alert.step, len(seen.whens) - 1) + 1)
            if seen.whens[place] or not seen.clears[place]
        ),
        default=-1,
    )
    place = max(reached, kept)
    if place < 0:
        return place, Seen.CLEAR
    if not seen.active and place > alert.told:
        place = alert.step
    if place > alert.told or seen.unmute:
        return place, Seen.HIGHER
    if rule.remind is not None and seen.active and alert.remind_at is not None and now >= alert.remind_at:
        return place, Seen.DUE
    return place, Seen.LOWER if place < alert.step else Seen.NOTHING


def _rising(alert: AlertState, seen: Observation, reached: int) -> Seen:
    if reached >= 0 and seen.active:
        return Seen.HELD
    if any(seen.whens):
        return Seen.HOLDING
    if all(when is False for when in seen.whens):
        return Seen.NOT
    return Seen.NOTHING if alert.phase is Phase.OK else Seen.UNKNOWN


def _moved(rule: Rule, alert: AlertState, verdict: tuple[int, Seen], seen: Observation, now: datetime) -> Step:
    """The alert after what was seen, by the table."""
    place, meaning = verdict
    phase, event = TABLE.get((alert.phase, meaning), (alert.phase, None))
    if alert.phase is Phase.FIRING and phase is Phase.FIRING:
        return _lasting(rule, alert, verdict, seen, now)
    if phase is alert.phase:
        return Step(alert, (), _why_still(meaning, seen))
    at = max(now, alert.at)
    if phase is Phase.OK:
        changes = (_change(alert, Event.RESOLVED, "recovered", at),) if event and not alert.muted else ()
        return Step(_at_rest(alert, at, fingerprint=alert.fingerprint), changes, "recovered" if event else "below")
    since = alert.since or at
    if phase is Phase.PENDING:
        return Step(replace(alert, phase=phase, since=since, at=at), (), _why_still(meaning, seen))
    fired = _fired(rule, replace(alert, phase=phase, since=since, at=at), place, now)
    if seen.mute:
        return Step(replace(fired, muted=True), (), "offline, said once")
    return Step(fired, (_change(fired, Event.FIRING, "above", at),), "above")


def _fired(rule: Rule, alert: AlertState, place: int, now: datetime) -> AlertState:
    """An alert that begins to fire on a step of its ladder; the clocks run on only where a higher step may follow."""
    is_highest = place == len(rule.levels) - 1
    return replace(
        alert,
        severity=rule.levels[place].severity,
        step=place,
        told=place,
        heard=(rule.levels[place].severity,),
        fired=alert.fired + 1,
        remind_at=None if rule.remind is None else now + rule.remind,
        muted=False,
        clock_at=None if is_highest else alert.clock_at,
        held=() if is_highest else alert.held,
    )


def _lasting(rule: Rule, alert: AlertState, verdict: tuple[int, Seen], seen: Observation, now: datetime) -> Step:
    """An alert that goes on firing: a higher step, a lower one, a reminder, or nothing."""
    place, meaning = verdict
    severity = rule.levels[place].severity
    after = alert
    if place != alert.step or severity is not alert.severity:
        after = replace(alert, step=place, severity=severity, at=max(now, alert.at))
    after = _reminding(rule, after, now)
    if seen.unmute and alert.muted:
        spoken = replace(after, muted=False, told=max(place, after.told), heard=(severity,), at=max(now, alert.at))
        return Step(spoken, (_change(spoken, Event.FIRING, "above", spoken.at),), "above")
    if meaning not in (Seen.HIGHER, Seen.DUE):
        still = "unchanged" if any(seen.whens) else "hysteresis"
        return Step(after, (), "stepped down" if place < alert.step else still)
    at = max(now, alert.at)
    after = replace(after, remind_at=None if rule.remind is None else now + rule.remind, at=at)
    if meaning is Seen.DUE:
        after = replace(after, reminded=after.reminded + 1, heard=after.also_heard(severity))
        changes = (_change(after, Event.REMINDER, "remind", at),)
        return Step(after, () if alert.muted else changes, "remind")
    after = replace(after, told=place, heard=after.also_heard(severity) if Event.ESCALATED in rule.on else after.heard)
    changes = (_change(after, Event.ESCALATED, "escalated", at),)
    return Step(after, () if alert.muted else changes, "escalated")


def _reminding(rule: Rule, alert: AlertState, now: datetime) -> AlertState:
    """The next reminder where `remind` was edited or the clock was set back: never further off than one interval."""
    if rule.remind is None:
        return alert if alert.remind_at is None else replace(alert, remind_at=None)
    if alert.remind_at is None or alert.remind_at > now + rule.remind:
        return replace(alert, remind_at=now + rule.remind)
    return alert


def _why_still(verdict: Seen, seen: Observation) -> str:
    if verdict is Seen.HOLDING:
        return "holding" if seen.active else "not active at this hour"
    return "unknown" if verdict is Seen.UNKNOWN else "below"


def _change(alert: AlertState, event: Event, reason: str, at: datetime) -> Change:
    return Change(
        event=event,
        severity=alert.severity or Severity.WARNING,
        reason=reason,
        since=alert.since or at,
        heard=alert.heard,
        nth=alert.reminded if event is Event.REMINDER else max(alert.fired, 1),
        episode=alert.episode,
        at=at,
    )
