"""The way out: which deliveries are due, one attempt at one, and what came of it.

Polling never waits for a receiver: the daemon owns the store on one thread and gives each busy channel a thread of its
own that runs `attempt_delivery` and nothing else. For each delivery that is `select_due_deliveries`: keep what `prepare_attempt` gives, start `attempt_delivery`, and
when it returns keep what `apply_outcome` gives. A crash at any point between leaves the delivery in the outbox, marked as
begun: it is sent again under the same key, because twice is better than never and the reader can tell.

Per channel: the order of the outbox, one at a time, never faster than the far side likes. Never open a socket here.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256

import msgspec
from msgspec import Struct, structs

from watcher import notifiers
from watcher.core.model import Delivery, DeliveryOutcome, DeliveryState, StoppedChannel
from watcher.core.routing import messages, retry
from watcher.core.routing.muting import MutingContext, find_quiet_hours_mute
from watcher.core.routing.outbox_changes import Routing
from watcher.core.rules.rule import Rule
from watcher.notifiers import Channel, Run, Send

CHANNEL_SPACING: Mapping[str, timedelta] = {
    "desktop": timedelta(0),
    "command": timedelta(0),
    "webhook": timedelta(0),  # the person's own receiver: one at a time, and what it asks for with a 429
    "slack": timedelta(seconds=1),  # one a second, says its documentation
    "discord": timedelta(seconds=2),  # 30 a minute
    "ntfy": timedelta(seconds=5),  # a visitor's allowance is refilled by one each 5 s
}
"""Channel type -> the least time between two messages."""

_DEFAULT_SPACING = timedelta(seconds=1)
MAX_FIRST_ATTEMPT_WAIT = timedelta(seconds=10)
"""What `watcher check` waits for at most before it ends: the pace of a channel, but no back-off."""


class AttemptResult(Struct, frozen=True, kw_only=True):
    """What an attempt came to: all of it belongs in one transaction."""

    delivery: Delivery
    new_deliveries: tuple[Delivery, ...] = ()  # a notice that the channel has stopped
    stop: StoppedChannel | None = None


class ResumedChannels(Struct, frozen=True, kw_only=True):
    """Channels that may be used again, and what waited for that."""

    channels: tuple[str, ...] = ()  # their stops are to be forgotten
    changed_deliveries: tuple[Delivery, ...] = ()


def select_due_deliveries(
    deliveries: Sequence[Delivery],
    busy_channels: Collection[str],
    now: datetime,
    *,
    stopped_channels: Collection[str] = (),
    next_send_at: Mapping[str, datetime] | None = None,
) -> list[Delivery]:
    """The deliveries to attempt now: of each channel at most the first that waits.

    Args:
        deliveries: all deliveries that are queued or held, oldest first. Only what is queued is sent, in that order.
        busy_channels: channels with an attempt under way.
        now: the instant.
        stopped_channels: channels that refused for good.
        next_send_at: channel -> the instant before which it takes no further message (see `compute_next_send_at`).
    """
    heads = _find_queue_heads(deliveries, {*busy_channels, *stopped_channels}, next_send_at or {})
    return [delivery for delivery, ready_at in heads if ready_at <= now]


def find_next_attempt_at(
    deliveries: Sequence[Delivery],
    busy_channels: Collection[str],
    *,
    stopped_channels: Collection[str] = (),
    next_send_at: Mapping[str, datetime] | None = None,
) -> datetime | None:
    """When `select_due_deliveries` will next have something; None where only news or the end of an attempt can bring that about."""
    return min(
        (
            ready_at
            for _, ready_at in _find_queue_heads(deliveries, {*busy_channels, *stopped_channels}, next_send_at or {})
        ),
        default=None,
    )


def is_first_attempt_due_soon(
    deliveries: Sequence[Delivery],
    now: datetime,
    *,
    stopped_channels: Collection[str] = (),
    next_send_at: Mapping[str, datetime] | None = None,
) -> bool:
    """Whether a first attempt is due within `MAX_FIRST_ATTEMPT_WAIT`; one behind a message that has to wait is not."""
    heads = _find_queue_heads(deliveries, stopped_channels, next_send_at or {})
    return any(not delivery.attempts and ready_at <= now + MAX_FIRST_ATTEMPT_WAIT for delivery, ready_at in heads)


def prepare_attempt(delivery: Delivery, rules: Mapping[str, Rule], routing: Routing, now: datetime) -> Delivery:
    """The delivery as it is to be kept before the attempt, and attempted: marked, and worded for this instant."""
    delivery = messages.write_message(delivery, rules, routing.formatter, now)
    return structs.replace(delivery, in_doubt=True, doubted=delivery.in_doubt)


def attempt_delivery(delivery: Delivery, channel: Channel | None, *, send: Send, run: Run) -> DeliveryOutcome:
    """Try once; touches the network or runs a program, and nothing else. Never raises. `channel`: None is gone."""
    if channel is None:
        return DeliveryOutcome(delivered=False, detail="the channel is no longer in the config", permanent=True)
    return notifiers.send_message(delivery.message, channel, send=send, run=run)


def apply_outcome(  # noqa: PLR0913 - an attempt has this many sides
    delivery: Delivery,
    outcome: DeliveryOutcome,
    channel: Channel | None,
    routing: Routing,
    now: datetime,
    *,
    jitter: float,
    stopped_channels: Collection[str] = (),
) -> AttemptResult:
    """What one attempt makes of its delivery, and of its channel where that refused for good.

    Args:
        delivery: as `prepare_attempt` gave it.
        outcome: what `attempt_delivery` gave.
        channel: the channel as it was attempted; None where it is no longer configured.
        routing: where the notice of a stopped channel may go.
        now: the end of the attempt.
        jitter: 0..1, drawn anew for each attempt.
        stopped_channels: channels already known to be stopped: they cannot carry the notice.
    """
    if channel is None:
        gone = structs.replace(delivery, state=DeliveryState.DEAD, in_doubt=False, outcome=outcome.detail)
        return AttemptResult(delivery=gone)
    after = retry.apply_outcome(delivery, outcome, now, jitter)
    if outcome.delivered or not outcome.permanent:
        return AttemptResult(delivery=after)
    stop = StoppedChannel(channel=channel.name, settings=fingerprint_settings(channel), at=now, detail=outcome.detail)
    return AttemptResult(
        delivery=after,
        new_deliveries=_make_stop_notices(after, stop, routing, {*stopped_channels, channel.name}, now),
        stop=stop,
    )


def compute_next_send_at(channel: Channel, outcome: DeliveryOutcome, now: datetime) -> datetime:
    """The instant before which a channel takes no further message, given that one has just gone out."""
    asked = outcome.retry_after if outcome.delivered and outcome.retry_after else timedelta(0)
    return now + max(asked, CHANNEL_SPACING.get(channel.type, _DEFAULT_SPACING))


def fingerprint_settings(channel: Channel) -> str:
    """What tells one state of a channel's settings from another, and gives none of them away."""
    settings = msgspec.json.encode([channel.name, channel.type, channel.settings], order="sorted")
    return sha256(settings).hexdigest()[:16]


def resume_reconfigured_channels(
    stops: Sequence[StoppedChannel], channels: Mapping[str, Channel], deliveries: Sequence[Delivery], now: datetime
) -> ResumedChannels:
    """The stopped channels whose settings are no longer those that were refused; one that is gone is forgotten too."""
    mended = {
        stop.channel
        for stop in stops
        if stop.channel not in channels or fingerprint_settings(channels[stop.channel]) != stop.settings
    }
    return _resume_channels(mended, deliveries, now)


def resume_tested_channels(
    stops: Sequence[StoppedChannel], tested_channels: Collection[str], deliveries: Sequence[Delivery], now: datetime
) -> ResumedChannels:
    """The stopped channels that have just taken a test message: what was wrong was mended at the far side."""
    return _resume_channels({stop.channel for stop in stops if stop.channel in tested_channels}, deliveries, now)


def _resume_channels(fixed_channels: Collection[str], deliveries: Sequence[Delivery], now: datetime) -> ResumedChannels:
    waiting = [row for row in deliveries if row.channel in fixed_channels and row.state is DeliveryState.QUEUED]
    return ResumedChannels(
        channels=tuple(sorted(fixed_channels)),
        changed_deliveries=tuple(
            structs.replace(row, next_attempt_at=now) for row in waiting if row.next_attempt_at > now
        ),
    )


def _find_queue_heads(
    deliveries: Sequence[Delivery], excluded_channels: Collection[str], next_send_at: Mapping[str, datetime]
) -> list[tuple[Delivery, datetime]]:
    """Of each channel the first delivery that is queued, with the instant from which it may be attempted."""
    heads: dict[str, tuple[Delivery, datetime]] = {}
    for delivery in deliveries:
        channel = delivery.channel
        if delivery.state is DeliveryState.QUEUED and channel not in excluded_channels and channel not in heads:
            at = delivery.next_attempt_at
            heads[channel] = delivery, max(at, next_send_at.get(channel, at))
    return list(heads.values())


def _make_stop_notices(
    delivery: Delivery, stop: StoppedChannel, routing: Routing, stopped_channels: Collection[str], now: datetime
) -> tuple[Delivery, ...]:
    """One notice, on the desktop where there is one, else on the first other channel of the default route."""
    desktops = [name for name, kind in routing.channels.items() if kind == "desktop"]
    others = [
        name for name in (*desktops, *routing.default) if name in routing.channels and name not in stopped_channels
    ]
    if not others:
        return ()
    key = f"stopped|{stop.channel}|{stop.settings}|{delivery.key}|{delivery.attempts}"
    body = (
        f"{stop.detail}\n"
        f"Not delivered there: {delivery.message.title}\n"
        f"It waits for 24 h at most: change [channels.{stop.channel}] in the config, or mend the far side and run "
        f"`watcher notify test {stop.channel}`, and it is sent."
    )
    held = find_quiet_hours_mute(MutingContext(now=now, tz=routing.formatter.tz, quiet_hours=routing.quiet_hours))
    return (
        Delivery(
            key=key,
            channel=others[0],
            message=messages.compose_notice(key, f'Channel "{stop.channel}" has stopped', body, now),
            reason=held.reason if held else "a channel refused for good",
            state=DeliveryState.HELD if held else DeliveryState.QUEUED,
            created_at=now,
            next_attempt_at=(held.until or now) if held else now,
            expires_at=now + retry.DELIVERY_LIFETIME,
        ),
    )
