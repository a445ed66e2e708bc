"""One alert, one observation, one step: when to speak, when to hold still, when to take it back.

The phases and what moves them, drawn from `TRANSITION_TABLE`. To change the engine, change the table first; a test holds this
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

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from watcher.core.engine.state import AlertState
from watcher.core.model import AlertEvent, AlertPhase, Series, Severity
from watcher.core.rules.rule import Rule


class AlertInput(StrEnum):
    """What an observation means to an alert."""

    MET = "holding"
    MET_LONG_ENOUGH = "held"
    NOT_MET = "not"
    HIGHER_LEVEL = "higher"
    LOWER_LEVEL = "lower"
    REMINDER_DUE = "due"
    CLEARED = "clear"
    RESET = "reset"
    UNCHANGED = "nothing"  # between the thresholds, or as before
    UNKNOWN = "unknown"


TRANSITION_TABLE: dict[tuple[AlertPhase, AlertInput], tuple[AlertPhase, AlertEvent | None]] = {
    (AlertPhase.OK, AlertInput.MET): (AlertPhase.PENDING, None),
    (AlertPhase.OK, AlertInput.MET_LONG_ENOUGH): (AlertPhase.FIRING, AlertEvent.FIRING),
    (AlertPhase.PENDING, AlertInput.MET_LONG_ENOUGH): (AlertPhase.FIRING, AlertEvent.FIRING),
    (AlertPhase.PENDING, AlertInput.NOT_MET): (AlertPhase.OK, None),
    (AlertPhase.PENDING, AlertInput.RESET): (AlertPhase.OK, None),
    (AlertPhase.FIRING, AlertInput.HIGHER_LEVEL): (AlertPhase.FIRING, AlertEvent.ESCALATED),
    (AlertPhase.FIRING, AlertInput.LOWER_LEVEL): (AlertPhase.FIRING, None),
    (AlertPhase.FIRING, AlertInput.REMINDER_DUE): (AlertPhase.FIRING, AlertEvent.REMINDER),
    (AlertPhase.FIRING, AlertInput.CLEARED): (AlertPhase.OK, AlertEvent.RESOLVED),
    (AlertPhase.FIRING, AlertInput.RESET): (AlertPhase.OK, AlertEvent.RESOLVED),
}
"""(phase, seen) -> (phase after it, what is said)."""


class Observation(Struct, frozen=True, kw_only=True):
    """What is seen of one series through one rule. The tuples go along with the rule's levels."""

    levels_met: tuple[bool | None, ...]
    levels_cleared: tuple[bool | None, ...]  # only looked at while firing
    episode: int
    resolves_on_reset: bool = True  # a new episode ends the alert; not so for rules about silence alone
    active: bool = True  # the rule may speak at this hour
    inhibit: bool = False  # if it fires now, another alert has said it already
    end_inhibit: bool = False  # what was muted must be said by itself now
    every: timedelta


class AlertChange(Struct, frozen=True, kw_only=True):
    """Something to say."""

    event: AlertEvent
    severity: Severity
    reason: str
    since: datetime
    occurrence: int
    episode: int
    at: datetime
    notified_severities: tuple[Severity, ...] = ()


class AlertUpdate(Struct, frozen=True):
    """What a step came to: the alert after it, what to say, and the reason for saying it or for saying nothing."""

    alert: AlertState
    changes: tuple[AlertChange, ...]
    reason: str


def create_alert(rule: Rule, series: Series, episode: int, now: datetime) -> AlertState:
    """The state of an alert of which nothing is known yet."""
    return AlertState(rule=rule.name, series=series, fingerprint=rule.fingerprint, at=now, episode=episode)


def close_alert(alert: AlertState, now: datetime) -> AlertState | None:
    """What is left of an alert whose rule or series is gone: closed without a word.

    The counts stay until the window turns over, so that the same rule, put back, may speak and is no repeat of itself.
    None: there is nothing to remember.
    """
    if not alert.fired:
        return None
    return _return_to_ok(alert, max(now, alert.at), fingerprint="")


def update_alert(rule: Rule, alert: AlertState, observation: Observation, now: datetime) -> AlertUpdate:
    """The alert after an observation, and what to say.

    Args:
        rule: in force.
        alert: before it; `create_alert` where there was none.
        observation: through this rule.
        now: the instant of the observation; where the clock was set back, nothing is stored as earlier than before.
    """
    changes: tuple[AlertChange, ...] = ()
    edited = alert.fingerprint != rule.fingerprint
    if edited:
        alert = _return_to_ok(alert, alert.at, fingerprint=rule.fingerprint)
    if alert.episode != observation.episode:
        alert, changes = _start_episode(alert, observation, now)
    known = any(when is not None for when in observation.levels_met)
    if rule.pending_for and (alert.phase is not AlertPhase.FIRING or alert.step < len(rule.levels) - 1):
        alert = update_timers(alert, observation.levels_met, now, every=observation.every)
    if not known:
        return AlertUpdate(alert, changes, "unknown")
    verdict = _classify_observation(rule, alert, observation, now)
    after = _apply_input(rule, alert, verdict, observation, now)
    if edited and not after.changes and verdict[1] in (AlertInput.UNCHANGED, AlertInput.NOT_MET):
        return AlertUpdate(after.alert, changes, "edited")
    return AlertUpdate(after.alert, changes + after.changes, after.reason)


def _return_to_ok(alert: AlertState, at: datetime, *, fingerprint: str) -> AlertState:
    return AlertState(
        rule=alert.rule,
        series=alert.series,
        fingerprint=fingerprint,
        at=at,
        episode=alert.episode,
        fired=alert.fired,
        reminded=alert.reminded,
    )


def _start_episode(
    alert: AlertState, observation: Observation, now: datetime
) -> tuple[AlertState, tuple[AlertChange, ...]]:
    """The window turned over: what was firing is over, whatever the new reading says."""
    if not observation.resolves_on_reset:
        return (alert if alert.phase is AlertPhase.FIRING else replace(alert, episode=observation.episode)), ()
    changes: tuple[AlertChange, ...] = ()
    if alert.phase is AlertPhase.FIRING and not alert.muted:
        changes = (_make_change(alert, AlertEvent.RESOLVED, "reset", max(now, alert.at)),)
    fresh = AlertState(
        rule=alert.rule,
        series=alert.series,
        fingerprint=alert.fingerprint,
        at=max(now, alert.at),
        episode=observation.episode,
    )
    return fresh, changes


def _classify_observation(
    rule: Rule, alert: AlertState, observation: Observation, now: datetime
) -> tuple[int, AlertInput]:
    """The ladder's step that is reached after all, and what that means."""
    held = [
        when and (not rule.pending_for or get_met_duration(alert, place) >= rule.pending_for)
        for place, when in enumerate(observation.levels_met)
    ]
    reached = max((place for place, long_enough in enumerate(held) if long_enough), default=-1)
    if alert.phase is not AlertPhase.FIRING:
        return reached, _classify_not_firing(alert, observation, reached)
    kept = max(
        (
            place
            for place in range(min(alert.step, len(observation.levels_met) - 1) + 1)
            if observation.levels_met[place] or not observation.levels_cleared[place]
        ),
        default=-1,
    )
    place = max(reached, kept)
    if place < 0:
        return place, AlertInput.CLEARED
    if not observation.active and place > alert.told:
        place = alert.step
    if place > alert.told or observation.end_inhibit:
        return place, AlertInput.HIGHER_LEVEL
    if rule.remind is not None and observation.active and alert.remind_at is not None and now >= alert.remind_at:
        return place, AlertInput.REMINDER_DUE
    return place, AlertInput.LOWER_LEVEL if place < alert.step else AlertInput.UNCHANGED


def _classify_not_firing(alert: AlertState, observation: Observation, reached_level: int) -> AlertInput:
    if reached_level >= 0 and observation.active:
        return AlertInput.MET_LONG_ENOUGH
    if any(observation.levels_met):
        return AlertInput.MET
    if all(when is False for when in observation.levels_met):
        return AlertInput.NOT_MET
    return AlertInput.UNCHANGED if alert.phase is AlertPhase.OK else AlertInput.UNKNOWN


def _apply_input(
    rule: Rule, alert: AlertState, classified: tuple[int, AlertInput], observation: Observation, now: datetime
) -> AlertUpdate:
    """The alert after what was seen, by the table."""
    place, meaning = classified
    phase, event = TRANSITION_TABLE.get((alert.phase, meaning), (alert.phase, None))
    if alert.phase is AlertPhase.FIRING and phase is AlertPhase.FIRING:
        return _continue_firing(rule, alert, classified, observation, now)
    if phase is alert.phase:
        return AlertUpdate(alert, (), _explain_unchanged(meaning, observation))
    at = max(now, alert.at)
    if phase is AlertPhase.OK:
        changes = (_make_change(alert, AlertEvent.RESOLVED, "recovered", at),) if event and not alert.muted else ()
        return AlertUpdate(
            _return_to_ok(alert, at, fingerprint=alert.fingerprint), changes, "recovered" if event else "below"
        )
    since = alert.since or at
    if phase is AlertPhase.PENDING:
        return AlertUpdate(
            replace(alert, phase=phase, since=since, at=at), (), _explain_unchanged(meaning, observation)
        )
    fired = _fire(rule, replace(alert, phase=phase, since=since, at=at), place, now)
    if observation.inhibit:
        return AlertUpdate(replace(fired, muted=True), (), "offline, said once")
    return AlertUpdate(fired, (_make_change(fired, AlertEvent.FIRING, "above", at),), "above")


def _fire(rule: Rule, alert: AlertState, level_index: int, now: datetime) -> AlertState:
    """An alert that begins to fire on a step of its ladder; the clocks run on only where a higher step may follow."""
    is_highest = level_index == len(rule.levels) - 1
    return replace(
        alert,
        severity=rule.levels[level_index].severity,
        step=level_index,
        told=level_index,
        heard=(rule.levels[level_index].severity,),
        fired=alert.fired + 1,
        remind_at=None if rule.remind is None else now + rule.remind,
        muted=False,
        clock_at=None if is_highest else alert.clock_at,
        held=() if is_highest else alert.held,
    )


def _continue_firing(
    rule: Rule, alert: AlertState, classified: tuple[int, AlertInput], observation: Observation, now: datetime
) -> AlertUpdate:
    """An alert that goes on firing: a higher step, a lower one, a reminder, or nothing."""
    place, meaning = classified
    severity = rule.levels[place].severity
    after = alert
    if place != alert.step or severity is not alert.severity:
        after = replace(alert, step=place, severity=severity, at=max(now, alert.at))
    after = _schedule_reminder(rule, after, now)
    if observation.end_inhibit and alert.muted:
        spoken = replace(after, muted=False, told=max(place, after.told), heard=(severity,), at=max(now, alert.at))
        return AlertUpdate(spoken, (_make_change(spoken, AlertEvent.FIRING, "above", spoken.at),), "above")
    if meaning not in (AlertInput.HIGHER_LEVEL, AlertInput.REMINDER_DUE):
        still = "unchanged" if any(observation.levels_met) else "hysteresis"
        return AlertUpdate(after, (), "stepped down" if place < alert.step else still)
    at = max(now, alert.at)
    after = replace(after, remind_at=None if rule.remind is None else now + rule.remind, at=at)
    if meaning is AlertInput.REMINDER_DUE:
        after = replace(after, reminded=after.reminded + 1, heard=after.with_notified_severity(severity))
        changes = (_make_change(after, AlertEvent.REMINDER, "remind", at),)
        return AlertUpdate(after, () if alert.muted else changes, "remind")
    after = replace(
        after,
        told=place,
        heard=after.with_notified_severity(severity) if AlertEvent.ESCALATED in rule.on else after.heard,
    )
    changes = (_make_change(after, AlertEvent.ESCALATED, "escalated", at),)
    return AlertUpdate(after, () if alert.muted else changes, "escalated")


def _schedule_reminder(rule: Rule, alert: AlertState, now: datetime) -> AlertState:
    """The next reminder where `remind` was edited or the clock was set back: never further off than one interval."""
    if rule.remind is None:
        return alert if alert.remind_at is None else replace(alert, remind_at=None)
    if alert.remind_at is None or alert.remind_at > now + rule.remind:
        return replace(alert, remind_at=now + rule.remind)
    return alert


def _explain_unchanged(alert_input: AlertInput, observation: Observation) -> str:
    if alert_input is AlertInput.MET:
        return "holding" if observation.active else "not active at this hour"
    return "unknown" if alert_input is AlertInput.UNKNOWN else "below"


def _make_change(alert: AlertState, event: AlertEvent, reason: str, at: datetime) -> AlertChange:
    return AlertChange(
        event=event,
        severity=alert.severity or Severity.WARNING,
        reason=reason,
        since=alert.since or at,
        notified_severities=alert.heard,
        occurrence=alert.reminded if event is AlertEvent.REMINDER else max(alert.fired, 1),
        episode=alert.episode,
        at=at,
    )


# --- How long has the condition held? A clock for each step of an alert's ladder, for rules that say `for`


MAX_GAP_POLLS = 3
"""A longer gap between two observations was sleep, and nobody knows what was so meanwhile."""

CONSECUTIVE_GAP_POLLS = 1.5
"""Two observations no further apart than this have no lost poll between them."""


def get_met_duration(alert: AlertState, level_index: int) -> timedelta:
    """How long the condition of that step has held."""
    span = alert.held[level_index] if level_index < len(alert.held) else None
    return timedelta(0) if span is None else span


def update_timers(
    alert: AlertState, levels_met: Sequence[bool | None], now: datetime, *, every: timedelta
) -> AlertState:
    """The `for` clocks, one a step: stopped by the unknown, not moved by a gap of more than three polls.

    Args:
        alert: before the observation.
        levels_met: whether each step's condition held in it; None: unknown.
        now: the instant of the observation.
        every: how often this series is asked at present.
    """
    if all(when is None for when in levels_met):
        if alert.clock_at is None or alert.silent_at is not None:
            return alert
        return replace(alert, silent_at=max(now, alert.clock_at))
    gone_by = _measure_elapsed(alert, every, now)
    before = alert.held or (None,) * len(levels_met)
    held = tuple(_advance_timer(was, when, gone_by) for was, when in zip(before, levels_met, strict=True))
    running = any(span is not None for span in held)
    return replace(alert, held=held if running else (), clock_at=now if running else None, silent_at=None)


def _measure_elapsed(alert: AlertState, every: timedelta, now: datetime) -> timedelta:
    """What the clocks move on by: the time since the last known observation, less the silence in between.

    What was unknown between two answers that came one poll apart was no lost poll, and takes nothing away. A gap that
    is too long to count at all counts for nothing also where something unknown was heard in it.
    """
    if alert.clock_at is None or now - alert.clock_at > MAX_GAP_POLLS * every:
        return timedelta(0)
    until = now
    if alert.silent_at is not None and now - alert.clock_at > CONSECUTIVE_GAP_POLLS * every:
        until = alert.silent_at
    return max(until - alert.clock_at, timedelta(0))


def _advance_timer(timer: timedelta | None, is_met: bool | None, elapsed: timedelta) -> timedelta | None:  # noqa: FBT001 - three-valued
    if is_met is None:
        return timer
    if not is_met:
        return None
    return timedelta(0) if timer is None else timer + elapsed
