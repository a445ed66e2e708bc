"""One attempt at one delivery: when it is due, how it is made, and what its outcome means.

The dispatcher saves what `prepare_attempt` returns, runs `attempt_delivery` in a thread of its own, and saves what
`apply_outcome` returns. After a crash in between, the delivery is still in the outbox, marked as begun: it is sent
again under the same key, because twice is better than never and the reader can tell.
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
from watcher.core.routing.outbox_changes import Routing, create_notice
from watcher.core.rules.rule import Rule
from watcher.notifiers import Channel, Run, Send
from watcher.storage.outbox import Outbox

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
"""How long `watcher check` waits at most for a first attempt: the spacing of a channel, but no retry delay."""


class AttemptResult(Struct, frozen=True, kw_only=True):
    """What an attempt came to; to be saved in one transaction."""

    delivery: Delivery
    new_deliveries: tuple[Delivery, ...] = ()  # a notice that the channel has stopped
    stop: StoppedChannel | None = None


def find_next_deliveries(
    deliveries: Sequence[Delivery], excluded_channels: Collection[str], next_send_at: Mapping[str, datetime]
) -> list[tuple[Delivery, datetime]]:
    """The first queued delivery of each channel, with the instant from which it may be attempted.

    Args:
        deliveries: all deliveries that are queued or held, oldest first.
        excluded_channels: channels that are stopped or have an attempt in flight.
        next_send_at: channel -> the instant before which it takes no further message (see `compute_next_send_at`).
    """
    found: dict[str, tuple[Delivery, datetime]] = {}
    for delivery in deliveries:
        channel = delivery.channel
        if delivery.state is DeliveryState.QUEUED and channel not in excluded_channels and channel not in found:
            at = delivery.next_attempt_at
            found[channel] = delivery, max(at, next_send_at.get(channel, at))
    return list(found.values())


def is_first_attempt_due_soon(next_deliveries: Sequence[tuple[Delivery, datetime]], now: datetime) -> bool:
    """Whether a first attempt is due within `MAX_FIRST_ATTEMPT_WAIT`. `next_deliveries`: see `find_next_deliveries`."""
    latest = now + MAX_FIRST_ATTEMPT_WAIT
    return any(not delivery.attempts and ready_at <= latest for delivery, ready_at in next_deliveries)


def prepare_attempt(delivery: Delivery, rules: Mapping[str, Rule], routing: Routing, now: datetime) -> Delivery:
    """The delivery as it is to be saved before the attempt, and sent: marked as begun, and worded for `now`."""
    delivery = messages.write_message(delivery, rules, routing.formatter, now)
    return structs.replace(delivery, in_doubt=True, was_in_doubt=delivery.in_doubt)


def attempt_delivery(delivery: Delivery, channel: Channel | None, *, send: Send, run: Run) -> DeliveryOutcome:
    """Try once, over the network or by a program. Never raises. `channel` is None where it is no longer configured."""
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
    """What one attempt makes of its delivery, and of its channel where that refused permanently.

    Args:
        delivery: as `prepare_attempt` returned it.
        outcome: what `attempt_delivery` returned.
        channel: the channel as it was attempted; None where it is no longer configured.
        routing: where the notice of a stopped channel may go.
        now: the end of the attempt.
        jitter: 0..1, drawn for each attempt.
        stopped_channels: channels already known to be stopped: they cannot carry the notice.
    """
    if channel is None:
        gone = structs.replace(delivery, state=DeliveryState.DEAD, in_doubt=False, last_response=outcome.detail)
        return AttemptResult(delivery=gone)
    after = retry.apply_outcome(delivery, outcome, now, jitter)
    if outcome.delivered or not outcome.permanent:
        return AttemptResult(delivery=after)
    stop = StoppedChannel(
        channel=channel.name, settings_fingerprint=fingerprint_settings(channel), stopped_at=now, detail=outcome.detail
    )
    notices = _make_stop_notices(after, stop, routing, {*stopped_channels, channel.name}, now)
    return AttemptResult(delivery=after, new_deliveries=notices, stop=stop)


def compute_next_send_at(channel: Channel, outcome: DeliveryOutcome, now: datetime) -> datetime:
    """The instant before which a channel takes no further message, given that one has just been sent."""
    asked = outcome.retry_after if outcome.delivered and outcome.retry_after else timedelta(0)
    return now + max(asked, CHANNEL_SPACING.get(channel.type, _DEFAULT_SPACING))


def fingerprint_settings(channel: Channel) -> str:
    """A hash that changes with a channel's settings and reveals none of them."""
    settings = msgspec.json.encode([channel.name, channel.type, channel.settings], order="sorted")
    return sha256(settings).hexdigest()[:16]


def find_reconfigured_channels(stops: Sequence[StoppedChannel], channels: Mapping[str, Channel]) -> list[str]:
    """The stopped channels whose settings are no longer those that were refused, or that are gone."""
    return sorted(
        stop.channel
        for stop in stops
        if stop.channel not in channels or fingerprint_settings(channels[stop.channel]) != stop.settings_fingerprint
    )


def resume_channels(outbox: Outbox, channels: Collection[str], now: datetime) -> None:
    """Use stopped channels again and send what waits for them; inside a transaction."""
    for channel in channels:
        outbox.delete_stop(channel)
    outbox.update(make_due(outbox.load(), channels, now))


def make_due(deliveries: Sequence[Delivery], channels: Collection[str], now: datetime) -> list[Delivery]:
    """The deliveries that wait for some channels, due now."""
    waiting = [each for each in deliveries if each.channel in channels and each.state is DeliveryState.QUEUED]
    return [structs.replace(each, next_attempt_at=now) for each in waiting if each.next_attempt_at > now]


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
    key = f"stopped|{stop.channel}|{stop.settings_fingerprint}|{delivery.key}|{delivery.attempts}"
    title = f'Channel "{stop.channel}" has stopped'
    body = (
        f"{stop.detail}\n"
        f"Not delivered there: {delivery.message.title}\n"
        f"It waits for 24 h at most: change [channels.{stop.channel}] in the config, or fix the receiver and run "
        f"`watcher notify test {stop.channel}`, and it is sent."
    )
    mute = find_quiet_hours_mute(MutingContext(now=now, tz=routing.formatter.tz, quiet_hours=routing.quiet_hours))
    reason = "a channel refused permanently"
    return (create_notice(key, others[0], title, body, now, reason=reason, mute=mute),)
