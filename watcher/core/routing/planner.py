"""Routes transitions to channels and queues them: digests, one notice for an offline machine, order per channel."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256

from msgspec import Struct, structs

from watcher.core.formatting import format_time
from watcher.core.model import (
    FIRING_EVENTS,
    AlertEvent,
    Delivery,
    DeliveryState,
    Facts,
    Reading,
    Series,
    Severity,
    Snooze,
    Transition,
)
from watcher.core.routing import message_text, messages
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
from watcher.core.routing.outbox_changes import (
    RECONNECT_GRACE_FOR,
    OutboxChanges,
    Routing,
    Row,
    Suppression,
    create_delivery,
)
from watcher.core.routing.retry import ATTEMPTS_BEFORE_MAX_WAIT, DELIVERY_LIFETIME, MAX_RETRY_WAIT, mark_dead
from watcher.core.rules.rule import Rule
from watcher.core.rules.time_intervals import find_next_interval_start

MAX_SINGLE_MESSAGES = 3
"""As many alerts wait for a channel as single messages; more become a digest."""

_OFFLINE_KEY_PREFIX = "offline|"


def group_deliveries(changes: OutboxChanges) -> None:
    """Add notices about the network, make digests, join what begins together, and keep each channel's retry delay."""
    _update_network_notices(changes)
    for channel in dict.fromkeys(row.delivery.channel for row in changes.rows):
        queued = [row for row in changes.rows if _is_queued(row, channel)]
        waiting = [row for row in queued if row.about and not row.delivery.in_doubt]
        if len(waiting) > 1 and count_alerts(waiting) > MAX_SINGLE_MESSAGES:
            merge_into_digest(changes, waiting, "more than three at once")
    _join_openings(changes)
    for channel in dict.fromkeys(row.delivery.channel for row in changes.rows):
        _keep_retry_delay(changes, channel)


def _is_new_opening(row: Row) -> bool:
    """Whether a row says of one alert that it began in this evaluation."""
    is_ready = row.before is None and row.delivery.state is DeliveryState.QUEUED and len(row.transitions) == 1
    return is_ready and row.transitions[0].event is AlertEvent.FIRING


def _join_openings(changes: OutboxChanges) -> None:
    """Make one message of the alerts that begin on one series in one evaluation: the most severe, with the others."""
    together: dict[tuple[str, Series], list[Row]] = defaultdict(list)
    for row in filter(_is_new_opening, changes.rows):
        together[row.delivery.channel, row.transitions[0].series].append(row)
    for rows in together.values():
        *others, last = rows  # in its place no end of an earlier alert follows
        if others:
            by_severity = sorted(rows, key=lambda row: -row.transitions[0].severity.rank)
            about = tuple(row.transitions[0] for row in by_severity)
            joined = structs.replace(by_severity[0].delivery, transitions=about)
            for row in others:
                row.withdraw("said with another alert")
            last.replace(joined)


def count_alerts(rows: Sequence[Row]) -> int:
    """How many alerts some rows are about; those that begin together on one series count once."""
    subjects: set[str | Series] = set()
    for row in rows:
        is_joined = _is_new_opening(row) or messages.began_together(row.delivery.key, row.transitions)
        subjects.update([row.transitions[0].series] if is_joined else row.about)
    return len(subjects)


def merge_into_digest(changes: OutboxChanges, rows: Sequence[Row], reason: str) -> None:
    """Replace rows of a channel by one digest, which waits as long as they had to and expires with the oldest."""
    about = [transition for row in rows for transition in row.transitions]
    before = [row.delivery for row in rows]
    for row in rows:
        row.withdraw("part of a digest")
    digest = add_digest(changes, before[0].channel, about, [each.key for each in before], reason=reason)
    digest.update(
        created_at=min(each.created_at for each in before),
        attempts=max(each.attempts for each in before),
        attempted_at=max((each.attempted_at for each in before if each.attempted_at), default=None),
        next_attempt_at=max(each.next_attempt_at for each in before),
        expires_at=compute_expiry(min(each.expires_at for each in before), about),
    )


def add_digest(
    changes: OutboxChanges, channel: str, about: Sequence[Transition], keys: Sequence[str], *, reason: str
) -> Row:
    """Add a digest whose key is derived from those of the messages that it replaces: each is replaced only once."""
    about = tuple(sorted(about, key=lambda transition: transition.alert_id))  # stable: an alert's own order is kept
    key = f"{messages.DIGEST_KEY_PREFIX}{sha256('|'.join(keys).encode()).hexdigest()[:16]}"
    return changes.add(create_delivery(key, channel, changes.now, reason=reason, about=about))


def compute_expiry(expires_at: datetime, about: Sequence[Transition]) -> datetime:
    """A day after the oldest transition, or `expires_at` if that is later."""
    return max(expires_at, min(transition.at for transition in about) + DELIVERY_LIFETIME)


def _is_queued(row: Row, channel: str) -> bool:
    return row.delivery.channel == channel and row.delivery.state is DeliveryState.QUEUED


def _keep_retry_delay(changes: OutboxChanges, channel: str) -> None:
    """Give the waiting time of a withdrawn message to the next: the receiver asked for it, or needs it."""
    before = (row.before for row in changes.rows if row.before and row.before.channel == channel)
    # One that was held waits for its mute to end, which is no concern of the channel's other messages.
    attempted = [each for each in before if each.attempts and each.state is DeliveryState.QUEUED]
    last = max(attempted, key=lambda each: each.next_attempt_at, default=None)
    first = next((row for row in changes.rows if _is_queued(row, channel)), None)
    until = changes.now if last is None else last.next_attempt_at
    if first is not None and first.delivery.next_attempt_at < until:
        attempted_at = first.delivery.attempted_at if last is None else last.attempted_at
        first.update(next_attempt_at=until, attempted_at=attempted_at)


def _update_network_notices(changes: OutboxChanges) -> None:
    """Say once on each channel that this machine is offline, and once that it is online again."""
    before = _find_offline_deliveries([row.before for row in changes.rows if row.before])
    after = _find_offline_deliveries([row.delivery for row in changes.rows])
    for channel, delivery in after.items():
        if channel not in before:
            opening, now = delivery.transitions[0], changes.now
            age = message_text.get_reading_age(opening, now)
            since = format_time(now - age if age else opening.since, now, changes.routing.formatter.tz)
            body = f"No provider can be reached; the last reading is from {since}."
            _add_notice(changes, channel, f"{_OFFLINE_KEY_PREFIX}{delivery.key}", "This machine is offline", body)
    for channel, delivery in before.items():
        if channel not in after and not changes.context.offline:
            _end_offline_notice(changes, delivery)


def _find_offline_deliveries(deliveries: Sequence[Delivery]) -> dict[str, Delivery]:
    """Channel -> a delivery that is held because the machine is offline."""
    held = (each for each in deliveries if each.state is DeliveryState.HELD and each.reason == OFFLINE_REASON)
    return {delivery.channel: delivery for delivery in held}


def _end_offline_notice(changes: OutboxChanges, offline: Delivery) -> None:
    """Say that the machine is online again; where the first notice was not sent, withdraw that instead."""
    for row in changes.rows:
        delivery = row.delivery
        is_notice = delivery.channel == offline.channel and delivery.key.startswith(_OFFLINE_KEY_PREFIX)
        if is_notice and row.is_open and not delivery.in_doubt:
            row.withdraw("online again")
            return
    title = "This machine is online again"
    _add_notice(changes, offline.channel, f"online|{offline.key}", title, "Providers can be reached again.")


def _add_notice(changes: OutboxChanges, channel: str, key: str, title: str, body: str) -> None:
    mute = find_quiet_hours_mute(changes.context)
    message = messages.compose_notice(key, title, body, changes.now, Severity.INFO)
    changes.add(create_delivery(key, channel, changes.now, reason="network", message=message, mute=mute))


__all__ = ["OutboxPlan", "Routing", "Suppression", "find_next_release", "plan_deliveries", "plan_release"]


class OutboxPlan(Struct, frozen=True, kw_only=True):
    """What changes in the outbox; to be saved in the transaction of the alert states that led to it."""

    new_deliveries: tuple[Delivery, ...] = ()  # in the order in which they are to be sent
    changed_deliveries: tuple[Delivery, ...] = ()  # known by `id`: withdrawn, held, released, moved into a digest
    ended_snoozes: tuple[Snooze, ...] = ()  # to be deleted
    suppressions: tuple[Suppression, ...] = ()


class AlertHistory(Struct, frozen=True, kw_only=True):
    """What became of the messages about the alerts that fire."""

    undelivered: tuple[Transition, ...] = ()  # the beginnings that were delivered on no channel
    delivered: Collection[tuple[str, str]] = ()  # (channel, alert) of those that were, or may have been
    counts: Mapping[tuple[str, str], int] = {}  # (channel, alert) -> deliveries of any state
    stopped_channels: Collection[str] = ()  # they get what fires when they are used again


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
    history: AlertHistory | None = None,
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
        history: of the alerts that fire.
    """
    ended = tuple(snooze for snooze in snoozes if has_snooze_expired(snooze, now, episodes))
    changes = _begin(outbox, rules, routing, [each for each in snoozes if each not in ended], now, offline=offline)
    _expire_deliveries(changes)
    _follow_routes(changes, history or AlertHistory(), latest_readings or {})
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


def _follow_routes(changes: OutboxChanges, history: AlertHistory, latest_readings: Mapping[Series, Reading]) -> None:
    """Move beginnings that wait on a channel outside of their route, and queue those that were never delivered."""
    wanted: dict[str, Transition] = {transition.alert_id: transition for transition in history.undelivered}
    for row in tuple(changes.rows):
        for alert, about in tuple(row.about.items()) if row.is_open and not row.delivery.in_doubt else ():
            channels = changes.list_usable_channels(about[-1])
            if about[-1].event in FIRING_EVENTS and channels and row.delivery.channel not in channels:
                changes.remove_alert(row, alert, "the route changed")
                wanted.setdefault(alert, about[-1])
    for alert, transition in wanted.items():
        present = _refresh_transition(transition, latest_readings, changes.now, redated=True)
        for channel in changes.list_usable_channels(transition):
            is_known = (channel, alert) in history.delivered or changes.is_waiting(alert, channel)
            if not is_known and channel not in history.stopped_channels:
                earlier = history.counts.get((channel, alert), 0)
                key = f"{transition.key}|{earlier + 1}" if earlier else transition.key
                mute = changes.find_mute(present)
                row = changes.add(
                    create_delivery(key, channel, changes.now, reason="late", about=(present,), mute=mute)
                )
                if earlier and transition in history.undelivered:  # it failed for a day: go on as slowly
                    row.update(attempts=ATTEMPTS_BEFORE_MAX_WAIT)


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
    _withdraw_overtaken(changes, rows)
    for row in filter(lambda row: row.is_open, rows):
        is_untried = row.is_untried
        row.release(changes.now)
        about = tuple(
            _refresh_transition(each, latest_readings, changes.now, redated=is_untried) for each in row.transitions
        )
        row.replace(structs.replace(row.delivery, transitions=about))
    certain = [row for row in rows if row.is_open and row.about and not row.delivery.in_doubt]
    if count_alerts(certain) > 1:
        causes = [cause for cause in RELEASE_REASONS if any(each.startswith(cause) for each in mute_reasons)]
        merge_into_digest(changes, certain, RELEASE_REASONS[causes[0]] if len(causes) == 1 else "what was held back")


def _withdraw_overtaken(changes: OutboxChanges, rows: Sequence[Row]) -> None:
    """Withdraw the held end of an alert that fires again."""
    fires_again: set[str] = set()
    for row in reversed(rows):
        ended = [alert for alert, about in row.about.items() if about[-1].event not in FIRING_EVENTS]
        fires_again.update(row.about.keys() - set(ended))
        for alert in fires_again.intersection(ended) if not row.delivery.in_doubt else ():
            changes.remove_alert(row, alert, "it fires again")


def _refresh_transition(
    transition: Transition, latest_readings: Mapping[Series, Reading], now: datetime, *, redated: bool
) -> Transition:
    """A transition with the latest reading and without what is past; `redated`: one of an alert that lasts."""
    reading = latest_readings.get(transition.series)
    if reading is None:
        return transition
    facts = transition.facts
    exhausted = tuple((label, until) for label, until in facts.spent or () if until and until > now)
    lasting = Facts(error=facts.error, error_kind=facts.error_kind, plan=facts.plan, spent=exhausted or None)
    at = now if redated and transition.event in FIRING_EVENTS else transition.at
    return structs.replace(transition, reading=reading, facts=lasting, at=at)
