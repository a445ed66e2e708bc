"""What time alone changes in the outbox: expiry, and the beginning and end of quiet hours, a snooze or an outage.

Works on a `Desk`. Never decide here what becomes of news: `watcher.core.desk` does.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from msgspec import structs

from watcher.core.backoff import DELIVERY_LIFETIME, MAX_RETRY_WAIT, mark_dead
from watcher.core.desk import OutboxChanges
from watcher.core.digests import create_digest, merge_into_digest
from watcher.core.hold import OFFLINE_REASON, Mute, find_quiet_hours_mute
from watcher.core.model import Delivery, DeliveryState, Reading, Series, Severity
from watcher.core.parcels import (
    DIGEST_HEADINGS,
    OUTBOX_STATES,
    RECONNECT_GRACE_FOR,
    clear_message,
    collect_alerts,
    compute_expiry,
    refresh_transition,
    release_delivery,
)


def expire_deliveries(changes: OutboxChanges) -> None:
    """What waited its whole life is dead. Of a digest only what is that old; the younger rest goes on."""
    for index, row in enumerate(changes.rows[: len(changes.outbox_before)]):
        patience = MAX_RETRY_WAIT if row.in_doubt else timedelta(0)  # the last attempt may be under way
        if row.state is not DeliveryState.QUEUED or changes.now < row.expires_at + patience:
            continue
        young = tuple(transition for transition in row.about if transition.at + DELIVERY_LIFETIME > changes.now)
        if len(young) == len(row.about) > 0:  # the old ones have left it meanwhile
            changes.rows[index] = structs.replace(row, expires_at=compute_expiry(row, young))
            continue
        changes.rows[index] = mark_dead(row)
        if young:
            rest = create_digest(
                changes, row.channel, young, [row.key, "younger"], reason="the younger part of a digest"
            )
            changes.rows.append(structs.replace(rest, expires_at=compute_expiry(row, young)))


def update_held_deliveries(changes: OutboxChanges, latest_readings: Mapping[Series, Reading]) -> None:
    """Hold what has to wait from now on, and let go what no longer has to: one message a channel.

    What may have arrived is held too: if it did, a repeat would only disturb; if not, it may wait like any other.
    """
    freed: dict[str, list[int]] = {}
    for index, row in enumerate(changes.rows):
        if row.state not in OUTBOX_STATES:
            continue
        held = _find_row_mute(changes, row)
        if held is None and row.state is DeliveryState.HELD:
            freed.setdefault(row.channel, []).append(index)
        elif held is not None:
            changes.rows[index] = _apply_mute(changes, row, held)
    for channel, indexes in freed.items():
        _release_rows(changes, channel, indexes, latest_readings)


def _find_row_mute(changes: OutboxChanges, row: Delivery) -> Mute | None:
    if not row.about:
        return None if row.message.severity is Severity.CRITICAL else find_quiet_hours_mute(changes.context)
    if row.state is DeliveryState.HELD and row.reason == OFFLINE_REASON and changes.now < row.next_attempt_at:
        return Mute(OFFLINE_REASON, row.next_attempt_at)
    holds = [changes.find_mute(transition) for transition in row.about]
    return None if None in holds else holds[0]


def _apply_mute(changes: OutboxChanges, row: Delivery, mute: Mute) -> Delivery:
    until = mute.until or row.next_attempt_at
    if (
        mute.reason == OFFLINE_REASON
        and changes.context.offline
        and row.next_attempt_at < changes.now + RECONNECT_GRACE_FOR / 2
    ):
        until = changes.now + RECONNECT_GRACE_FOR
    if (row.state, row.reason, row.next_attempt_at) == (DeliveryState.HELD, mute.reason, until):
        return row
    if row.state is not DeliveryState.HELD:
        for transition in row.about:
            changes.record_decision(transition, row.channel, mute.reason, delivered_now=False)
    return structs.replace(row, state=DeliveryState.HELD, reason=mute.reason, next_attempt_at=until)


def _release_rows(
    changes: OutboxChanges, channel: str, indexes: Sequence[int], latest_readings: Mapping[Series, Reading]
) -> None:
    reasons = [changes.rows[index].reason for index in indexes]
    for index in indexes:
        row = changes.rows[index]
        about = tuple(refresh_transition(transition, latest_readings, changes.now) for transition in row.about)
        changes.rows[index] = clear_message(
            release_delivery(structs.replace(row, about=about), changes.now), changes.now
        )
    causes = {cause for cause in DIGEST_HEADINGS if any(reason.startswith(cause) for reason in reasons)}
    heading = DIGEST_HEADINGS[causes.pop()] if len(causes) == 1 else ""
    speaking = [index for index in indexes if changes.rows[index].about and not changes.rows[index].in_doubt]
    if len(collect_alerts(changes.rows[index] for index in speaking)) > 1:
        merge_into_digest(changes, channel, speaking, "what was held back", heading=heading)
