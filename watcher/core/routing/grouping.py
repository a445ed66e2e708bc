"""What follows once everything is routed: digests, one notice for an offline machine, and the order of each channel."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

from watcher.core.formatting import format_time
from watcher.core.model import Delivery, DeliveryState, Severity, Transition
from watcher.core.routing import message_text
from watcher.core.routing.muting import OFFLINE_REASON, find_quiet_hours_mute
from watcher.core.routing.outbox_changes import OutboxChanges, Row, create_delivery, create_notice
from watcher.core.routing.retry import DELIVERY_LIFETIME

MAX_SINGLE_MESSAGES = 3
"""As many alerts wait for a channel as single messages; more become a digest."""

_OFFLINE_KEY_PREFIX = "offline|"


def group_deliveries(changes: OutboxChanges) -> None:
    """Add the notices about the network, make digests where many messages wait, and keep each channel's retry delay."""
    _update_network_notices(changes)
    for channel in dict.fromkeys(row.delivery.channel for row in changes.rows):
        queued = [row for row in changes.rows if _is_queued(row, channel)]
        waiting = [row for row in queued if row.about and not row.delivery.in_doubt]
        if len(waiting) > 1 and count_alerts(waiting) > MAX_SINGLE_MESSAGES:
            merge_into_digest(changes, waiting, "more than three at once")
        _keep_retry_delay(changes, channel)


def count_alerts(rows: Sequence[Row]) -> int:
    """How many alerts some rows are about."""
    return len({alert for row in rows for alert in row.about})


def merge_into_digest(changes: OutboxChanges, rows: Sequence[Row], reason: str) -> None:
    """Replace rows of a channel by one digest, which waits as long as they had to and lives as long as the oldest."""
    about = [transition for row in rows for transition in row.transitions]
    before = [row.delivery for row in rows]
    for row in rows:
        row.withdraw("part of a digest")
    digest = add_digest(changes, before[0].channel, about, [each.key for each in before], reason=reason)
    digest.update(
        created_at=min(each.created_at for each in before),
        attempts=max(each.attempts for each in before),
        next_attempt_at=max(each.next_attempt_at for each in before),
        expires_at=compute_expiry(min(each.expires_at for each in before), about),
    )


def add_digest(
    changes: OutboxChanges, channel: str, about: Sequence[Transition], keys: Sequence[str], *, reason: str
) -> Row:
    """Add a digest whose key is derived from those of the messages that it replaces: each is replaced only once."""
    about = tuple(sorted(about, key=lambda transition: transition.alert_id))  # stable: an alert's own order is kept
    key = f"digest|{sha256('|'.join(keys).encode()).hexdigest()[:16]}"
    return changes.add(create_delivery(key, channel, changes.now, reason=reason, about=about))


def compute_expiry(expires_at: datetime, about: Sequence[Transition]) -> datetime:
    """A day after the oldest transition, or `expires_at` if that is later."""
    return max(expires_at, min(transition.at for transition in about) + DELIVERY_LIFETIME)


def _is_queued(row: Row, channel: str) -> bool:
    return row.delivery.channel == channel and row.delivery.state is DeliveryState.QUEUED


def _keep_retry_delay(changes: OutboxChanges, channel: str) -> None:
    """Give the waiting time of a withdrawn message to the next: the far side asked for it, or needs it."""
    attempted = (row.before for row in changes.rows if row.before and row.before.channel == channel)
    until = max((each.next_attempt_at for each in attempted if each.attempts), default=changes.now)
    first = next((row for row in changes.rows if _is_queued(row, channel)), None)
    if first is not None and first.delivery.next_attempt_at < until:
        first.update(next_attempt_at=until)


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
    changes.add(
        create_notice(key, channel, title, body, changes.now, reason="network", severity=Severity.INFO, mute=mute)
    )
