"""Transitions x routes x quiet hours x snoozes x outbox -> deliveries, each with a reason.

What a person gets to read is decided here, and nowhere else:

- A message that has surely not arrived may still be changed. A higher level takes the place of a lower one; an alert
  that ends before its beginning was said is withdrawn where it was held back, and becomes one message that says both
  where its channel was down. Where an attempt was begun and no refusal came back it may have arrived: then it stays.
- The end of an alert that was told of is always told, later where it is held back.
- More than three alerts that wait for one channel become one digest. So whatever happens, a channel that comes back
  after a week has a few messages to take and the outbox a few to keep.
- Each decision to be silent is recorded with its reason.

State goes in, changes come out. Never word a message here, never send one.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from watcher.core.model import Delivery, DeliveryState, Reading, Series, Snooze, Transition
from watcher.core.routing import grouping
from watcher.core.routing.deliveries import Routing, refresh_message
from watcher.core.routing.grouping import group_deliveries
from watcher.core.routing.muting import MutingContext, ends_snooze, has_snooze_expired, target_matches
from watcher.core.routing.outbox_changes import OutboxChanges, RoutingDecision
from watcher.core.rules.rule import Rule
from watcher.core.rules.time_intervals import find_next_quiet_hours_start as quiet_starts_at

__all__ = [
    "OutboxPlan",
    "Routing",
    "RoutingDecision",
    "find_next_release",
    "plan_deliveries",
    "plan_release",
    "refresh_message",
]


class OutboxPlan(Struct, frozen=True, kw_only=True):
    """What becomes of the outbox. All of it belongs in the transaction of the alert states that led to it."""

    new_deliveries: tuple[Delivery, ...] = ()  # in the order in which they are to be sent
    changed_deliveries: tuple[
        Delivery, ...
    ] = ()  # known by `id`: withdrawn, held, released, worded anew, moved into a digest
    ended_snoozes: tuple[Snooze, ...] = ()  # to be forgotten
    decisions: tuple[RoutingDecision, ...] = ()


def plan_deliveries(  # noqa: PLR0913, PLR0917 - the contract of the pipeline; the rare ones are named
    transitions: Sequence[Transition],
    rules: Mapping[str, Rule],
    outbox: Sequence[Delivery],
    routing: Routing,
    snoozes: Sequence[Snooze],
    now: datetime,
    *,
    closed_alerts: Collection[tuple[str, Series]] = (),
    offline: bool = False,
) -> OutboxPlan:
    """What one judgement changes in the outbox.

    Args:
        transitions: in the order in which they happened.
        rules: those in force, by name; a rule that is missing is one no longer in force.
        outbox: all deliveries that are queued or held, oldest first.
        routing: where messages go.
        snoozes: those not yet forgotten.
        now: the instant of the judgement.
        closed_alerts: alerts that no longer fire, whatever the reason: where no transition says so, nobody asked to hear of
            it or there is nothing true to say, and what waits of them is withdrawn.
        offline: no provider can be reached: alerts about missing readings wait behind one notice.
    """
    ended = tuple(
        snooze
        for snooze in snoozes
        if has_snooze_expired(snooze, now)
        or any(target_matches(snooze.target, one) and ends_snooze(snooze, one) for one in transitions)
    )
    desk = OutboxChanges(
        outbox, rules, routing, _make_context(routing, [s for s in snoozes if s not in ended], now, offline)
    )
    for transition in transitions:
        desk.route_transition(transition)
    spoken = {(transition.rule, transition.series) for transition in transitions}
    for rule, series in closed_alerts:
        if (rule, series) not in spoken:
            desk.withdraw_alert(f"{rule}|{series}")
    desk.apply_removals()
    group_deliveries(desk)
    return _make_plan(desk, ended)


def plan_release(  # noqa: PLR0913 - as `plan_deliveries`
    outbox: Sequence[Delivery],
    rules: Mapping[str, Rule],
    routing: Routing,
    snoozes: Sequence[Snooze],
    now: datetime,
    *,
    offline: bool = False,
    latest_readings: Mapping[Series, Reading] | None = None,
    episodes: Mapping[str, int] | None = None,
) -> OutboxPlan:
    """What time alone changes in the outbox: the end of quiet hours or of a snooze, their beginning, expiry.

    Args:
        outbox: as in `plan_deliveries`.
        rules: as in `plan_deliveries`.
        routing: as in `plan_deliveries`.
        snoozes: as in `plan_deliveries`.
        now: the instant.
        offline: as in `plan_deliveries`.
        latest_readings: the last believed reading of each series, so that what waited is told with the values of now.
        episodes: the present episode of each written series: ends snoozes that last until the reset.
    """
    ended = tuple(snooze for snooze in snoozes if has_snooze_expired(snooze, now, episodes))
    desk = OutboxChanges(
        outbox, rules, routing, _make_context(routing, [s for s in snoozes if s not in ended], now, offline)
    )
    grouping.expire_deliveries(desk)
    grouping.update_held_deliveries(desk, latest_readings or {})
    group_deliveries(desk)
    return _make_plan(desk, ended)


def find_next_release(
    outbox: Sequence[Delivery], routing: Routing, snoozes: Sequence[Snooze], now: datetime
) -> datetime | None:
    """When `plan_release` has something to do at the latest; None where only news can bring that about."""
    instants = [delivery.expires_at for delivery in outbox if delivery.state is DeliveryState.QUEUED]
    instants += [delivery.next_attempt_at for delivery in outbox if delivery.state is DeliveryState.HELD]
    instants += [snooze.until for snooze in snoozes if snooze.until]
    if outbox and routing.quiet_hours:
        instants.append(quiet_starts_at(routing.quiet_hours, now, routing.formatter.tz))
    return min((instant for instant in instants if instant > now), default=None)


def _make_context(routing: Routing, snoozes: Sequence[Snooze], now: datetime, offline: bool) -> MutingContext:  # noqa: FBT001
    return MutingContext(
        now=now, tz=routing.formatter.tz, quiet_hours=routing.quiet_hours, snoozes=tuple(snoozes), offline=offline
    )


def _make_plan(changes: OutboxChanges, ended_snoozes: tuple[Snooze, ...]) -> OutboxPlan:
    return OutboxPlan(
        new_deliveries=changes.new_deliveries,
        changed_deliveries=changes.changed_deliveries,
        ended_snoozes=ended_snoozes,
        decisions=tuple(changes.decisions),
    )
