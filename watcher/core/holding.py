"""How long has the condition held? A clock for each step of an alert's ladder, for rules that say `for`.

Only time between two believed observations counts. Never decide here whether that was long enough.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from watcher.core.memory import AlertState

FEW_POLLS = 3
"""A longer gap between two observations was sleep, and nobody knows what was so meanwhile."""

ONE_POLL = 1.5
"""Two observations no further apart than this have no lost poll between them."""


def span(alert: AlertState, place: int) -> timedelta:
    """How long the condition of that step has held."""
    span = alert.held[place] if place < len(alert.held) else None
    return timedelta(0) if span is None else span


def timed(alert: AlertState, whens: Sequence[bool | None], now: datetime, *, every: timedelta) -> AlertState:
    """The `for` clocks, one a step: stopped by the unknown, not moved by a gap of more than three polls.

    Args:
        alert: before the observation.
        whens: whether each step's condition held in it; None: unknown.
        now: the instant of the observation.
        every: how often this series is asked at present.
    """
    if all(when is None for when in whens):
        if alert.clock_at is None or alert.silent_at is not None:
            return alert
        return replace(alert, silent_at=max(now, alert.clock_at))
    gone_by = _gone_by(alert, every, now)
    before = alert.held or (None,) * len(whens)
    held = tuple(_run(was, when, gone_by) for was, when in zip(before, whens, strict=True))
    running = any(span is not None for span in held)
    return replace(alert, held=held if running else (), clock_at=now if running else None, silent_at=None)


def _gone_by(alert: AlertState, every: timedelta, now: datetime) -> timedelta:
    """What the clocks move on by: the time since the last known observation, less the silence in between.

    What was unknown between two answers that came one poll apart was no lost poll, and takes nothing away. A gap that
    is too long to count at all counts for nothing also where something unknown was heard in it.
    """
    if alert.clock_at is None or now - alert.clock_at > FEW_POLLS * every:
        return timedelta(0)
    until = now
    if alert.silent_at is not None and now - alert.clock_at > ONE_POLL * every:
        until = alert.silent_at
    return max(until - alert.clock_at, timedelta(0))


def _run(was: timedelta | None, when: bool | None, gone_by: timedelta) -> timedelta | None:  # noqa: FBT001 - three-valued
    if when is None:
        return was
    if not when:
        return None
    return timedelta(0) if was is None else was + gone_by
