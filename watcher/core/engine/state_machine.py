"""The state machine of one alert: one observation in, the alert's next state and its changes out.

`TRANSITION_TABLE` is the whole of it: every change of phase and every event goes through it. This drawing is checked
against the table by a test::

    phase      input                     next phase  event
    ok         holding                   pending     -
    ok         not active at this hour   pending     -
    ok         offline, said once        pending     -
    ok         above                     firing      firing
    pending    above                     firing      firing
    pending    below                     ok          -
    pending    reset                     ok          -
    firing     escalated                 firing      escalated
    firing     stepped down              firing      -
    firing     remind                    firing      reminder
    firing     recovered                 ok          resolved
    firing     reset                     ok          resolved

An input that is not in the table changes no phase. An input is named by the reason that `watcher rules explain` shows
for it. Unknown stops the `for` timers and changes nothing else. After a reset the same reading is evaluated once more,
for the new episode. An alert whose rule was edited, or whose rule or series is gone, is closed without an event.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from watcher.core.engine.state import AlertState
from watcher.core.model import AlertEvent, AlertPhase, Series
from watcher.core.rules.rule import Rule

MAX_GAP_POLLS = 3
"""A longer gap between two observations (sleep) adds nothing to the `for` timers."""

CONSECUTIVE_GAP_POLLS = 1.5
"""No poll was lost between two observations that are no further apart than this."""


class AlertInput(StrEnum):
    """What an observation means for an alert. The value is the reason that is shown for it."""

    MET = "holding"  # the condition holds, but not yet for as long as `for` asks
    INACTIVE = "not active at this hour"  # the condition holds outside of the rule's `active` hours
    INHIBITED = "offline, said once"  # another alert of this rule reports that this machine is offline
    MET_LONG_ENOUGH = "above"
    NOT_MET = "below"
    HIGHER_LEVEL = "escalated"
    LOWER_LEVEL = "stepped down"
    REMINDER_DUE = "remind"
    UNCHANGED = "unchanged"
    NOT_CLEARED = "hysteresis"  # neither the condition nor its clearing condition holds
    CLEARED = "recovered"
    RESET = "reset"
    UNKNOWN = "unknown"


TRANSITION_TABLE: dict[tuple[AlertPhase, AlertInput], tuple[AlertPhase, AlertEvent | None]] = {
    (AlertPhase.OK, AlertInput.MET): (AlertPhase.PENDING, None),
    (AlertPhase.OK, AlertInput.INACTIVE): (AlertPhase.PENDING, None),
    (AlertPhase.OK, AlertInput.INHIBITED): (AlertPhase.PENDING, None),
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
"""(phase, input) -> (next phase, event)."""


class Observation(Struct, frozen=True, kw_only=True):
    """One series seen through one rule. The tuples have one entry for each of the rule's levels."""

    levels_met: tuple[bool | None, ...]
    levels_cleared: tuple[bool | None, ...]  # only read while the alert fires and some level is not met
    episode: int
    resolves_on_reset: bool = True  # False for rules about missing readings: a new episode does not end their alerts
    active: bool = True  # inside the rule's `active` hours
    inhibited: bool = False  # another alert of this rule reports that this machine is offline
    every: timedelta  # the present polling interval of the series


class AlertChange(Struct, frozen=True, kw_only=True):
    """An event of an alert."""

    event: AlertEvent
    reason: str
    at: datetime
    alert: AlertState  # while it fires: after the change, or before it if the change ends the alert


class AlertUpdate(Struct, frozen=True):
    """The alert after an observation, its events, and the reason for the last event or for none."""

    alert: AlertState
    changes: tuple[AlertChange, ...]
    reason: str


def create_alert(rule: Rule, series: Series, episode: int, now: datetime) -> AlertState:
    """An alert in phase OK, with no history."""
    return AlertState(rule=rule.name, series=series, fingerprint=rule.fingerprint, changed_at=now, episode=episode)


def close_alert(alert: AlertState, now: datetime) -> AlertState | None:
    """What to keep of an alert whose rule or series is gone; None: nothing.

    The counts are kept until the next episode, so that a rule that comes back never repeats a message's key.
    """
    return replace(return_to_ok(alert, max(now, alert.changed_at)), fingerprint="") if alert.fired_count else None


def update_alert(rule: Rule, alert: AlertState, observation: Observation, now: datetime) -> AlertUpdate:
    """The alert after an observation, with its events.

    Args:
        rule: in force.
        alert: before the observation; from `create_alert` where there was none.
        observation: of the alert's series.
        now: the instant of the observation. If the clock was set back, no stored time goes back with it.
    """
    changes: list[AlertChange] = []
    was_edited = alert.fingerprint != rule.fingerprint
    if was_edited:
        alert = replace(return_to_ok(alert, alert.changed_at), fingerprint=rule.fingerprint)
    if alert.episode != observation.episode and observation.resolves_on_reset:
        alert = _apply_input(rule, alert, AlertInput.RESET, -1, now, changes)
        alert = replace(
            alert, episode=observation.episode, fired_count=0, reminder_count=0, changed_at=max(now, alert.changed_at)
        )
    elif alert.episode != observation.episode and alert.phase is not AlertPhase.FIRING:
        alert = replace(alert, episode=observation.episode)
    if rule.pending_for and (alert.phase is not AlertPhase.FIRING or alert.level_index < len(rule.levels) - 1):
        alert = update_timers(alert, observation.levels_met, now, every=observation.every)
    alert_input, level = _classify_observation(rule, alert, observation, now)
    alert = _apply_input(rule, alert, alert_input, level, now, changes)
    reason = "edited" if was_edited and alert_input is AlertInput.NOT_MET else str(alert_input)
    return AlertUpdate(alert, tuple(changes), reason)


def _classify_observation(
    rule: Rule, alert: AlertState, observation: Observation, now: datetime
) -> tuple[AlertInput, int]:
    """The input that the observation is, and the highest level that the alert has with it (-1: none)."""
    if all(is_met is None for is_met in observation.levels_met):
        return AlertInput.UNKNOWN, alert.level_index
    reached = max(
        (
            level
            for level, is_met in enumerate(observation.levels_met)
            if is_met and (not rule.pending_for or get_met_duration(alert, level) >= rule.pending_for)
        ),
        default=-1,
    )
    if alert.phase is not AlertPhase.FIRING:
        return _classify_not_firing(alert, observation, reached), reached
    return _classify_firing(rule, alert, observation, reached, now)


def _classify_not_firing(alert: AlertState, observation: Observation, reached_level: int) -> AlertInput:
    if not any(observation.levels_met):
        # Some levels are not met, others unknown: that keeps a pending alert pending, and makes no new one.
        is_unknown = None in observation.levels_met and alert.phase is AlertPhase.PENDING
        return AlertInput.UNKNOWN if is_unknown else AlertInput.NOT_MET
    if not observation.active:
        return AlertInput.INACTIVE
    if reached_level < 0:
        return AlertInput.MET
    return AlertInput.INHIBITED if observation.inhibited else AlertInput.MET_LONG_ENOUGH


def _classify_firing(
    rule: Rule, alert: AlertState, observation: Observation, reached_level: int, now: datetime
) -> tuple[AlertInput, int]:
    levels_met = observation.levels_met
    kept = range(min(alert.level_index, len(levels_met) - 1) + 1)
    level = max((each for each in kept if levels_met[each] or not observation.levels_cleared[each]), default=-1)
    level = max(level, reached_level)
    if level < 0:
        return AlertInput.CLEARED, level
    if not observation.active and level > alert.notified_level_index:
        level = alert.level_index
    if level > alert.notified_level_index:
        return AlertInput.HIGHER_LEVEL, level
    if rule.remind is not None and observation.active and alert.remind_at is not None and now >= alert.remind_at:
        return AlertInput.REMINDER_DUE, level
    if level < alert.level_index:
        return AlertInput.LOWER_LEVEL, level
    return AlertInput.UNCHANGED if any(levels_met) else AlertInput.NOT_CLEARED, level


def _apply_input(  # noqa: PLR0913, PLR0917 - the table's two keys, and what the next state is made of
    rule: Rule, alert: AlertState, alert_input: AlertInput, level: int, now: datetime, changes: list[AlertChange]
) -> AlertState:
    """The alert after an input, by the table; its event is added to `changes`."""
    phase, event = TRANSITION_TABLE.get((alert.phase, alert_input), (alert.phase, None))
    at = max(now, alert.changed_at)
    after = alert
    if alert_input is AlertInput.UNKNOWN:
        return alert
    if phase is AlertPhase.FIRING:
        after = (
            _continue_firing(rule, alert, level, event, now)
            if alert.phase is phase
            else _start_firing(rule, alert, level, now)
        )
    elif phase is AlertPhase.PENDING:
        inhibited = alert.inhibited or alert_input is AlertInput.INHIBITED
        if phase is not alert.phase or inhibited is not alert.inhibited:
            after = replace(alert, phase=phase, since=alert.since or at, changed_at=at, inhibited=inhibited)
    elif phase is not alert.phase:
        after = return_to_ok(alert, at)
    if event is not None:
        firing = alert if phase is AlertPhase.OK else after
        changes.append(AlertChange(event=event, reason=str(alert_input), at=at, alert=firing))
    return after


def return_to_ok(alert: AlertState, at: datetime) -> AlertState:
    """The alert in phase OK, with only its counts kept."""
    return AlertState(
        rule=alert.rule,
        series=alert.series,
        fingerprint=alert.fingerprint,
        changed_at=at,
        episode=alert.episode,
        fired_count=alert.fired_count,
        reminder_count=alert.reminder_count,
    )


def _start_firing(rule: Rule, alert: AlertState, level: int, now: datetime) -> AlertState:
    """The alert as it begins to fire. Its timers go on only where a higher level may follow."""
    at, severity = max(now, alert.changed_at), rule.levels[level].severity
    is_highest = level == len(rule.levels) - 1
    return replace(
        alert,
        phase=AlertPhase.FIRING,
        since=alert.since or at,
        changed_at=at,
        severity=severity,
        level_index=level,
        notified_level_index=level,
        notified_severities=(severity,),
        fired_count=alert.fired_count + 1,
        remind_at=None if rule.remind is None else now + rule.remind,
        timers_at=None if is_highest else alert.timers_at,
        met_for=() if is_highest else alert.met_for,
        inhibited=False,
    )


def _continue_firing(rule: Rule, alert: AlertState, level: int, event: AlertEvent | None, now: datetime) -> AlertState:
    """The alert as it goes on firing, on the same or another level."""
    severity = rule.levels[level].severity
    remind_at = None if rule.remind is None else now + rule.remind
    if event is None:
        # Where `remind` was edited or the clock was set back, a reminder is never further off than one interval.
        if remind_at is not None and alert.remind_at is not None:
            remind_at = min(alert.remind_at, remind_at)
        if (level, severity, remind_at) == (alert.level_index, alert.severity, alert.remind_at):
            return alert
    has_moved = event is not None or level != alert.level_index or severity is not alert.severity
    is_reported = event is AlertEvent.REMINDER or (event is AlertEvent.ESCALATED and event in rule.on)
    return replace(
        alert,
        changed_at=max(now, alert.changed_at) if has_moved else alert.changed_at,
        level_index=level,
        severity=severity,
        notified_level_index=level if event is AlertEvent.ESCALATED else alert.notified_level_index,
        notified_severities=(*alert.notified_severities, severity)
        if is_reported and severity not in alert.notified_severities
        else alert.notified_severities,
        reminder_count=alert.reminder_count + (event is AlertEvent.REMINDER),
        remind_at=remind_at,
    )


def get_met_duration(alert: AlertState, level: int) -> timedelta:
    """How long the condition of a level has held."""
    duration = alert.met_for[level] if level < len(alert.met_for) else None
    return timedelta(0) if duration is None else duration


def update_timers(
    alert: AlertState, levels_met: Sequence[bool | None], now: datetime, *, every: timedelta
) -> AlertState:
    """The alert with its `for` timers, one for each level, after an observation.

    Args:
        alert: before the observation.
        levels_met: whether each level's condition held in it; None: unknown.
        now: the instant of the observation.
        every: the present polling interval of the series.
    """
    if all(is_met is None for is_met in levels_met):
        if alert.timers_at is None or alert.unknown_since is not None:
            return alert
        return replace(alert, unknown_since=max(now, alert.timers_at))
    elapsed = _measure_elapsed(alert, every, now)
    timers = alert.met_for or (None,) * len(levels_met)
    held = tuple(_advance_timer(timer, is_met, elapsed) for timer, is_met in zip(timers, levels_met, strict=True))
    is_running = any(timer is not None for timer in held)
    return replace(alert, met_for=held if is_running else (), timers_at=now if is_running else None, unknown_since=None)


def _measure_elapsed(alert: AlertState, every: timedelta, now: datetime) -> timedelta:
    """The time since the last known observation, less the unknown time in between.

    An unknown observation between two answers one poll apart is no lost poll and takes nothing away. A gap that is too
    long counts for nothing, also where an unknown observation lies in it.
    """
    if alert.timers_at is None or now - alert.timers_at > MAX_GAP_POLLS * every:
        return timedelta(0)
    until = now
    if alert.unknown_since is not None and now - alert.timers_at > CONSECUTIVE_GAP_POLLS * every:
        until = alert.unknown_since
    return max(until - alert.timers_at, timedelta(0))


def _advance_timer(timer: timedelta | None, is_met: bool | None, elapsed: timedelta) -> timedelta | None:  # noqa: FBT001 - three-valued
    if is_met is None:
        return timer
    if not is_met:
        return None
    return timedelta(0) if timer is None else timer + elapsed
