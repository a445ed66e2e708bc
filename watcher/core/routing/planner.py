"""What a person gets to read, and when: plans the outbox after each poll and as time passes.

- A message that surely has not arrived may still change. A higher level replaces a lower one; an alert that ends before
  its beginning was sent is withdrawn where it was held back, and becomes one message that says both where its channel
  was down. Where an attempt was begun and no refusal came back it may have arrived: then it stays.
- The end of an alert that was delivered is always delivered, later where it is held back.
- More than three alerts that wait for one channel become one digest, so a channel that was down for a week gets a few
  messages, and the outbox stays small.
- What is not sent, now or at all, is recorded with its reason.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct, structs

from watcher.core.model import FIRING_EVENTS, Delivery, DeliveryState, Reading, Series, Severity, Snooze, Transition
from watcher.core.routing.grouping import add_digest, compute_expiry, count_alerts, group_deliveries, merge_into_digest
from watcher.core.routing.muting import (
    OFFLINE_REASON,
    RELEASE_REASONS,
    Mute,
    MutingContext,
    ends_snooze,
    find_quiet_hours_mute,
    has_snooze_expired,
    target_matches,
)
from watcher.core.routing.outbox_changes import RECONNECT_GRACE_FOR, OutboxChanges, Routing, Row, Suppression
from watcher.core.routing.retry import DELIVERY_LIFETIME, MAX_RETRY_WAIT, mark_dead
from watcher.core.rules.rule import Rule
from watcher.core.rules.time_intervals import find_next_interval_start

__all__ = ["OutboxPlan", "Routing", "Suppression", "find_next_release", "plan_deliveries", "plan_release"]

_STALE_FACTS = ("rate", "projected", "exhausts_in_s", "age_s")


class OutboxPlan(Struct, frozen=True, kw_only=True):
    """What changes in the outbox; to be saved in the transaction of the alert states that led to it."""

    new_deliveries: tuple[Delivery, ...] = ()  # in the order in which they are to be sent
    changed_deliveries: tuple[Delivery, ...] = ()  # known by `id`: withdrawn, held, released, moved into a digest
    ended_snoozes: tuple[Snooze, ...] = ()  # to be deleted
    suppressions: tuple[Suppression, ...] = ()


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
    """What one evaluation changes in the outbox.

    Args:
        transitions: in the order in which they happened.
        rules: those in force, by name; a rule that is missing is one no longer in force.
        outbox: all deliveries that are queued or held, oldest first.
        routing: where messages go.
        snoozes: those in the store.
        now: the instant of the evaluation.
        closed_alerts: alerts that no longer fire, whatever the reason. Where no transition says so, what waits of them
            is withdrawn.
        offline: no provider can be reached: alerts about missing readings wait behind one notice.
    """
    ended = tuple(
        snooze
        for snooze in snoozes
        if has_snooze_expired(snooze, now)
        or any(target_matches(snooze.target, one) and ends_snooze(snooze, one) for one in transitions)
    )
    changes = _begin(outbox, rules, routing, [each for each in snoozes if each not in ended], now, offline=offline)
    for transition in transitions:
        changes.route_transition(transition)
    routed = {(transition.rule, transition.series) for transition in transitions}
    for rule, series in closed_alerts:
        if (rule, series) not in routed:
            changes.withdraw_alert(f"{rule}|{series}")
    return _complete(changes, ended)


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
    """What time alone changes in the outbox: quiet hours, snoozes and outages begin and end, messages expire.

    Args:
        outbox: as in `plan_deliveries`.
        rules: as in `plan_deliveries`.
        routing: as in `plan_deliveries`.
        snoozes: as in `plan_deliveries`.
        now: the instant.
        offline: as in `plan_deliveries`.
        latest_readings: the last believed reading of each series, for messages that are released.
        episodes: the present episode of each written series: ends snoozes that last until the reset.
    """
    ended = tuple(snooze for snooze in snoozes if has_snooze_expired(snooze, now, episodes))
    changes = _begin(outbox, rules, routing, [each for each in snoozes if each not in ended], now, offline=offline)
    _expire_deliveries(changes)
    _hold_and_release(changes, latest_readings or {})
    return _complete(changes, ended)


def find_next_release(
    outbox: Sequence[Delivery], routing: Routing, snoozes: Sequence[Snooze], now: datetime
) -> datetime | None:
    """When `plan_release` has something to do next; None where only a poll or a command can bring that about."""
    instants = [delivery.expires_at for delivery in outbox if delivery.state is DeliveryState.QUEUED]
    instants += [delivery.next_attempt_at for delivery in outbox if delivery.state is DeliveryState.HELD]
    instants += [snooze.expires_at for snooze in snoozes if snooze.expires_at]
    if outbox and routing.quiet_hours:
        instants.append(find_next_interval_start(routing.quiet_hours, now, routing.formatter.tz))
    return min((instant for instant in instants if instant > now), default=None)


def _begin(  # noqa: PLR0913 - as `plan_deliveries`
    outbox: Sequence[Delivery],
    rules: Mapping[str, Rule],
    routing: Routing,
    snoozes: Sequence[Snooze],
    now: datetime,
    *,
    offline: bool,
) -> OutboxChanges:
    tz, quiet_hours = routing.formatter.tz, routing.quiet_hours
    context = MutingContext(now=now, tz=tz, quiet_hours=quiet_hours, snoozes=tuple(snoozes), offline=offline)
    return OutboxChanges(outbox, rules, routing, context)


def _complete(changes: OutboxChanges, ended_snoozes: tuple[Snooze, ...]) -> OutboxPlan:
    group_deliveries(changes)
    return OutboxPlan(
        new_deliveries=changes.list_new_deliveries(),
        changed_deliveries=changes.list_changed_deliveries(),
        ended_snoozes=ended_snoozes,
        suppressions=tuple(changes.suppressions),
    )


def _expire_deliveries(changes: OutboxChanges) -> None:
    """Mark as dead what was queued for its whole lifetime. Of a digest only what is that old; the rest goes on."""
    for row in tuple(changes.rows):
        delivery = row.delivery
        patience = MAX_RETRY_WAIT if delivery.in_doubt else timedelta(0)  # the last attempt may be under way
        if delivery.state is not DeliveryState.QUEUED or changes.now < delivery.expires_at + patience:
            continue
        young = [one for one in delivery.transitions if one.at + DELIVERY_LIFETIME > changes.now]
        if len(young) == len(delivery.transitions) > 0:  # the older ones have left it
            row.update(expires_at=compute_expiry(delivery.expires_at, young))
            continue
        row.delivery = mark_dead(delivery)
        if young:
            keys, reason = [delivery.key, "younger"], "the younger part of a digest"
            rest = add_digest(changes, delivery.channel, young, keys, reason=reason)
            rest.update(expires_at=compute_expiry(delivery.expires_at, young))


def _hold_and_release(changes: OutboxChanges, latest_readings: Mapping[Series, Reading]) -> None:
    """Hold what has to wait from now on, and release what no longer has to: one message a channel.

    What may have arrived is held too: if it did, a repeat would only disturb; if not, it may wait like any other.
    """
    released: dict[str, list[Row]] = {}
    for row in changes.rows:
        if not row.is_open:
            continue
        mute = _find_row_mute(changes, row)
        if mute is not None:
            _hold(changes, row, mute)
        elif row.is_held:
            released.setdefault(row.delivery.channel, []).append(row)
    for rows in released.values():
        _release(changes, rows, latest_readings)


def _find_row_mute(changes: OutboxChanges, row: Row) -> Mute | None:
    delivery = row.delivery
    if not row.about:
        return None if delivery.message.severity is Severity.CRITICAL else find_quiet_hours_mute(changes.context)
    if row.is_held and delivery.reason == OFFLINE_REASON and changes.now < delivery.next_attempt_at:
        return Mute(OFFLINE_REASON, delivery.next_attempt_at)
    mutes = [changes.find_mute(transition) for transition in row.transitions]
    return None if None in mutes else mutes[0]


def _hold(changes: OutboxChanges, row: Row, mute: Mute) -> None:
    until = mute.until or row.delivery.next_attempt_at
    if mute.reason == OFFLINE_REASON and changes.context.offline and until < changes.now + RECONNECT_GRACE_FOR / 2:
        until = changes.now + RECONNECT_GRACE_FOR
    if not row.is_held:
        for transition in row.transitions:
            changes.record_suppression(transition, row.delivery.channel, mute.reason)
    row.update(state=DeliveryState.HELD, reason=mute.reason, next_attempt_at=until)


def _release(changes: OutboxChanges, rows: Sequence[Row], latest_readings: Mapping[Series, Reading]) -> None:
    """Release the held rows of a channel, with the readings of now; several alerts become a digest."""
    mute_reasons = [row.delivery.reason for row in rows]
    for row in rows:
        at = changes.now if row.is_untried else None
        row.release(changes.now)
        about = tuple(_refresh_transition(each, latest_readings, at or each.at) for each in row.transitions)
        row.replace(structs.replace(row.delivery, transitions=about))
    certain = [row for row in rows if row.about and not row.delivery.in_doubt]
    if count_alerts(certain) > 1:
        causes = [cause for cause in RELEASE_REASONS if any(each.startswith(cause) for each in mute_reasons)]
        merge_into_digest(changes, certain, RELEASE_REASONS[causes[0]] if len(causes) == 1 else "what was held back")


def _refresh_transition(transition: Transition, latest_readings: Mapping[Series, Reading], at: datetime) -> Transition:
    """A transition of an alert that lasts, dated `at`, with the latest reading and without the old forecast."""
    reading = latest_readings.get(transition.series)
    if reading is None or transition.event not in FIRING_EVENTS:
        return transition
    facts = {name: value for name, value in transition.facts.items() if name not in _STALE_FACTS}
    return structs.replace(transition, reading=reading, facts=facts, at=at)
