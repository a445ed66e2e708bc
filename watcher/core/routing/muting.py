"""Why a message is held back for now: a snooze, quiet hours, a machine that is offline.

What is held waits in the outbox until `planner.plan_release` releases it. Quiet hours hold the end of an alert even
where its beginning was critical and was not held.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, tzinfo
from functools import lru_cache

from msgspec import Struct

from watcher.core.engine.staleness import OFFLINE_KIND
from watcher.core.engine.windows import infer_kind
from watcher.core.formatting import format_time
from watcher.core.model import FIRING_EVENTS, AlertEvent, Series, Severity, Snooze, Transition
from watcher.core.rules.ast import Selector
from watcher.core.rules.parser import ExpressionError, parse_selector
from watcher.core.rules.time_intervals import TimeInterval, find_interval_end

OFFLINE_REASON = "this machine is offline"
SNOOZED_REASON = "snoozed"
QUIET_HOURS_REASON = "quiet hours"

RELEASE_REASONS = {
    QUIET_HOURS_REASON: "after quiet hours",
    SNOOZED_REASON: "after a snooze",
    OFFLINE_REASON: "back online",
}
"""What held messages back -> the reason of the digest that follows, whose title begins with it."""


INCONCLUSIVE_KINDS = frozenset({"expired", "not_signed_in", "unsupported"})
"""Failures that are found without the network: they say nothing about it."""


class Mute(Struct, frozen=True):
    """Why, and until when where that is known."""

    reason: str
    until: datetime | None = None


class MutingContext(Struct, frozen=True, kw_only=True):
    """Everything that can hold a message back at one instant."""

    now: datetime
    tz: tzinfo
    quiet_hours: TimeInterval | None = None
    snoozes: tuple[Snooze, ...] = ()
    offline: bool = False


def is_machine_offline(kinds: Iterable[str | None]) -> bool:
    """Whether nothing that was polled over the network could be reached.

    `kinds`: the kind of each such account's present failure; None: it answered.
    """
    return set(kinds) - INCONCLUSIVE_KINDS == {OFFLINE_KIND}


def find_mute(transition: Transition, context: MutingContext, *, about_availability: bool = False) -> Mute | None:
    """What holds a transition back, if anything. `about_availability`: its rule is about missing readings."""
    if context.offline and about_availability and transition.event in FIRING_EVENTS:
        return Mute(OFFLINE_REASON)
    for snooze in context.snoozes:
        if is_snoozed_by(snooze, transition, context.now):
            when = (
                f"until {format_time(snooze.expires_at, context.now, context.tz)}"
                if snooze.expires_at
                else "until the reset"
            )
            return Mute(f"{SNOOZED_REASON} {when}: {snooze.target}", snooze.expires_at)
    is_urgent = transition.severity is Severity.CRITICAL and transition.event in FIRING_EVENTS
    return None if is_urgent else find_quiet_hours_mute(context)


def find_quiet_hours_mute(context: MutingContext) -> Mute | None:
    """The mute of quiet hours for what is not critical; None outside them."""
    if context.quiet_hours is None:
        return None
    until = find_interval_end(context.quiet_hours, context.now, context.tz)
    return Mute(f"{QUIET_HOURS_REASON} until {format_time(until, context.now, context.tz)}", until) if until else None


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
