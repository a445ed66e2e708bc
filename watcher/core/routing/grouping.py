"""Order in the outbox: a digest where many wait, one notice where the machine is offline, nobody ahead of his turn.

Works on a `Desk`, after everything else. Never decide here whether something may be said.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from hashlib import sha256

from msgspec import structs

from watcher.core.formatting import format_time
from watcher.core.model import Delivery, DeliveryState, Reading, Series, Severity, Transition
from watcher.core.routing import message_text, messages
from watcher.core.routing.deliveries import (
    DIGEST_HEADINGS,
    OUTBOX_STATES,
    RECONNECT_GRACE_FOR,
    clear_message,
    collect_alerts,
    compute_expiry,
    create_delivery,
    make_placeholder,
    refresh_transition,
    release_delivery,
)
from watcher.core.routing.muting import OFFLINE_REASON, Mute, find_quiet_hours_mute
from watcher.core.routing.outbox_changes import OutboxChanges
from watcher.core.routing.retry import DELIVERY_LIFETIME, MAX_RETRY_WAIT, mark_dead

MAX_SINGLE_MESSAGES = 3
"""As many alerts wait for a channel as single messages; more become a digest."""

_OFFLINE_KEY_PREFIX = "offline|"
_OFFLINE_BODY = "No provider can be reached; the last reading is from {since}."


def group_deliveries(changes: OutboxChanges) -> None:
    """One notice where the machine is offline, digests where many wait, and nobody ahead of a waiting channel."""
    _update_network_notices(changes)
    for channel in dict.fromkeys(row.channel for row in changes.rows):
        _group_waiting(changes, channel)
        _keep_retry_delay(changes, channel)


def _group_waiting(changes: OutboxChanges, channel: str) -> None:
    waiting = [
        index
        for index, row in enumerate(changes.rows)
        if row.channel == channel and row.state is DeliveryState.QUEUED and row.about and not row.in_doubt
    ]
    if len(waiting) > 1 and len(collect_alerts(changes.rows[index] for index in waiting)) > MAX_SINGLE_MESSAGES:
        merge_into_digest(changes, channel, waiting, "more than three at once")


def merge_into_digest(
    changes: OutboxChanges, channel: str, indexes: Sequence[int], reason: str, *, heading: str = ""
) -> None:
    """One digest in place of several rows. It waits as long as they had to and lives as long as the oldest."""
    rows = [changes.rows[index] for index in indexes]
    for index, row in zip(indexes, rows, strict=True):
        changes.rows[index] = structs.replace(row, state=DeliveryState.WITHDRAWN, outcome="part of a digest")
    about = [transition for row in rows for transition in row.about]
    row = create_digest(changes, channel, about, [row.key for row in rows], reason=reason, heading=heading)
    changes.rows.append(
        structs.replace(
            row,
            attempts=max(row.attempts for row in rows),
            next_attempt_at=max(row.next_attempt_at for row in rows),
            expires_at=min(compute_expiry(row, row.about) for row in rows),
        )
    )


def create_digest(  # noqa: PLR0913 - a message has this many sides
    changes: OutboxChanges,
    channel: str,
    about: Sequence[Transition],
    keys: Sequence[str],
    *,
    reason: str,
    heading: str = "",
) -> Delivery:
    """A digest whose key comes from those of the messages in whose place it is: each is replaced only once."""
    about = tuple(sorted(about, key=lambda transition: transition.alert_id))  # stable: an alert's own order is kept
    key = f"digest|{sha256('|'.join(keys).encode()).hexdigest()[:16]}"
    return create_delivery(
        key, channel, make_placeholder(changes.now, heading), changes.now, reason=reason, about=about
    )


def _keep_retry_delay(changes: OutboxChanges, channel: str) -> None:
    """A withdrawn message leaves its waiting time to the next: the far side asked for it, or needs it."""
    until = max(
        (row.next_attempt_at for row in changes.outbox_before if row.channel == channel and row.attempts),
        default=changes.now,
    )
    for index, row in enumerate(changes.rows):
        if row.channel == channel and row.state is DeliveryState.QUEUED:
            if row.next_attempt_at < until:
                changes.rows[index] = structs.replace(row, next_attempt_at=until)
            return


# --- the machine's own network ---


def _find_offline_channels(rows: Sequence[Delivery]) -> dict[str, Delivery]:
    held = (row for row in rows if row.state is DeliveryState.HELD and row.reason == OFFLINE_REASON)
    return {row.channel: row for row in held}


def _update_network_notices(changes: OutboxChanges) -> None:
    waited, waiting = _find_offline_channels(changes.outbox_before), _find_offline_channels(changes.rows)
    for channel, row in waiting.items():
        if channel not in waited:
            age = message_text.get_reading_age(row.about[0], changes.now)
            since = format_time(
                changes.now - age if age else row.about[0].since, changes.now, changes.routing.formatter.tz
            )
            _queue_notice(
                changes,
                channel,
                f"{_OFFLINE_KEY_PREFIX}{row.key}",
                "This machine is offline",
                _OFFLINE_BODY.format(since=since),
            )
    for channel, row in waited.items():
        if channel not in waiting and not changes.context.offline:
            _end_offline_notice(changes, channel, row)


def _end_offline_notice(changes: OutboxChanges, channel: str, offline_row: Delivery) -> None:
    """The end of the notice; where the notice itself never got out, neither is worth a word."""
    for index, row in enumerate(changes.rows):
        if (
            row.channel == channel
            and row.key.startswith(_OFFLINE_KEY_PREFIX)
            and row.state in OUTBOX_STATES
            and not row.in_doubt
        ):
            changes.rows[index] = structs.replace(row, state=DeliveryState.WITHDRAWN, outcome="online again")
            return
    _queue_notice(
        changes, channel, f"online|{offline_row.key}", "This machine is online again", "Providers can be reached again."
    )


def _queue_notice(changes: OutboxChanges, channel: str, key: str, title: str, body: str) -> None:
    message = messages.compose_notice(key, title, body, changes.now, Severity.INFO)
    changes.rows.append(
        create_delivery(
            key, channel, message, changes.now, reason="network", mute=find_quiet_hours_mute(changes.context)
        )
    )


# --- What time alone changes in the outbox: expiry, and the beginning and end of quiet hours, a snooze or an outage


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
