"""Why a message is held back for now: a snooze or quiet hours.

What is held waits in the outbox until `planner.plan_release` releases it. Quiet hours hold the end of an alert even
where its beginning was critical and was not held.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, tzinfo
from functools import lru_cache

from msgspec import Struct

from watcher.core.engine.windows import infer_kind
from watcher.core.formatting import format_time
from watcher.core.model import FIRING_EVENTS, AlertEvent, Series, Severity, Snooze, Transition
from watcher.core.rules.ast import Selector
from watcher.core.rules.parser import ExpressionError, parse_selector
from watcher.core.rules.time_intervals import TimeInterval, find_interval_end

SNOOZED_REASON = "snoozed"
QUIET_HOURS_REASON = "quiet hours"

RELEASE_REASONS = {
    QUIET_HOURS_REASON: "after quiet hours",
    SNOOZED_REASON: "after a snooze",
}
"""What held messages back -> the reason of the digest that follows, whose title begins with it."""


class Mute(Struct, frozen=True):
    """Why, and until when where that is known."""

    reason: str
    until: datetime | None = None


def find_mute(
    transition: Transition, snoozes: Iterable[Snooze], quiet_hours: TimeInterval | None, now: datetime, tz: tzinfo
) -> Mute | None:
    """What holds a transition back, if anything."""
    for snooze in snoozes:
        if is_snoozed_by(snooze, transition, now):
            until = f"until {format_time(snooze.expires_at, now, tz)}" if snooze.expires_at else "until the reset"
            return Mute(f"{SNOOZED_REASON} {until}: {snooze.target}", snooze.expires_at)
    is_urgent = transition.severity is Severity.CRITICAL and transition.event in FIRING_EVENTS
    return None if is_urgent else find_quiet_hours_mute(quiet_hours, now, tz)


def find_quiet_hours_mute(quiet_hours: TimeInterval | None, now: datetime, tz: tzinfo) -> Mute | None:
    """The mute of quiet hours for what is not critical; None outside them."""
    until = None if quiet_hours is None else find_interval_end(quiet_hours, now, tz)
    return Mute(f"{QUIET_HOURS_REASON} until {format_time(until, now, tz)}", until) if until else None


def is_snoozed_by(snooze: Snooze, transition: Transition, now: datetime) -> bool:
    """Whether a snooze holds a transition back. One until the reset does not hold the reset nor what follows it."""
    if has_snooze_expired(snooze, now) or not target_matches(snooze.target, transition):
        return False
    if snooze.episodes is None:
        return True
    if transition.event is AlertEvent.RESET or transition.reason == "reset":
        return False
    return transition.episode <= snooze.episodes.get(str(transition.series), -1)


def ends_snooze(snooze: Snooze, transition: Transition) -> bool:
    """Whether a transition that a snooze covers ends it: a level higher than what was firing when it began."""
    if snooze.severity is None:
        return transition.event is AlertEvent.ESCALATED
    is_higher = transition.severity.rank > snooze.severity.rank
    return is_higher and transition.event in {AlertEvent.ESCALATED, AlertEvent.FIRING}


def has_snooze_expired(snooze: Snooze, now: datetime, episodes: Mapping[str, int] | None = None) -> bool:
    """Whether a snooze has run out. `episodes`: the present episode of each written series, where known."""
    if snooze.expires_at is not None and now >= snooze.expires_at:
        return True
    if not snooze.episodes or not episodes:
        return False
    return all(episodes.get(series, then) > then for series, then in snooze.episodes.items())


def target_matches(target: str, transition: Transition) -> bool:
    """Whether a snooze's target, a rule's name or a written series, means the alert of a transition."""
    if target == transition.rule:
        return True
    series, reading = transition.series, transition.reading
    return target_matches_series(
        target, series, transition.account_name, str(reading.kind if reading else infer_kind(series))
    )


def target_matches_series(target: str, series: Series, account_name: str, kind: str) -> bool:
    """Whether a written series means this one: `claude`, `claude.five_hour`, `codex[me@example.com]`, `*.weekly`, `*`.

    A provider alone means all its windows. A text that names no series means none.
    """
    selector = _parse_target(target)
    named = selector is not None and selector.matches(series, account_name, kind, is_primary=False)
    return named or target == str(series)


@lru_cache(maxsize=64)
def _parse_target(target: str) -> Selector | None:
    if target == "*":
        return Selector("*", window="*")
    try:
        selector, field = parse_selector(target)
    except ExpressionError:
        return None
    return None if field else selector.for_all_windows
