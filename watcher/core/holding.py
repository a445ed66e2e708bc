"""How long has the condition held? A clock for each step of an alert's ladder, for rules that say `for`.

Only time between two believed observations counts. Never decide here whether that was long enough.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from watcher.core.memory import AlertState

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
