"""The way out: which deliveries are due, one attempt at one, and what came of it.

Polling never waits for a receiver: the daemon owns the store on one thread and gives each busy channel a thread of its
own that runs `attempt` and nothing else. For each delivery that is `due`: keep what `begin` gives, start `attempt`, and
when it returns keep what `settle` gives. A crash at any point between leaves the delivery in the outbox, marked as
begun: it is sent again under the same key, because twice is better than never and the reader can tell.

Per channel: the order of the outbox, one at a time, never faster than the far side likes. Never open a socket here.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256

import msgspec
from msgspec import Struct, structs

from watcher import notifiers
from watcher.core import backoff, wording
from watcher.core.hold import Situation, hold_quiet
from watcher.core.model import Delivery, DeliveryState, Outcome, Rule, Stop
from watcher.core.plan import Routing, freshen
from watcher.notifiers import Channel, Run, Send

SPACING: Mapping[str, timedelta] = {
    "desktop": timedelta(0),
    "command": timedelta(0),
    "webhook": timedelta(0),  # the person's own receiver: one at a time, and what it asks for with a 429
    "slack": timedelta(seconds=1),  # one a second, says its documentation
    "discord": timedelta(seconds=2),  # 30 a minute
    "ntfy": timedelta(seconds=5),  # a visitor's allowance is refilled by one each 5 s
}
"""Channel type -> the least time between two messages."""

_SPACING_ELSE = timedelta(seconds=1)
SOON = timedelta(seconds=10)
"""What `watcher check` waits for at most before it ends: the pace of a channel, but no back-off."""

_FRESH_FOR = timedelta(minutes=1)  # a message older than this is worded anew before it is sent


class Settled(Struct, frozen=True, kw_only=True):
    """What an attempt came to: all of it belongs in one transaction."""

    delivery: Delivery
    new: tuple[Delivery, ...] = ()  # a notice that the channel has stopped
    stop: Stop | None = None


class Resumed(Struct, frozen=True, kw_only=True):
    """Channels that may be used again, and what waited for that."""

    channels: tuple[str, ...] = ()  # their stops are to be forgotten
    changed: tuple[Delivery, ...] = ()


def due(
    outbox: Sequence[Delivery],
    busy: Collection[str],
    now: datetime,
    *,
    stopped: Collection[str] = (),
    paced: Mapping[str, datetime] | None = None,
) -> list[Delivery]:
    """The deliveries to attempt now: of each channel at most the first that waits.

    Args:
        outbox: all deliveries that are queued or held, oldest first. Only what is queued is sent, in that order.
        busy: channels with an attempt under way.
        now: the instant.
        stopped: channels that refused for good.
        paced: channel -> the instant before which it takes no further message (see `pace`).
    """
    heads = _heads(outbox, {*busy, *stopped}, paced or {})
    return [delivery for delivery, ready_at in heads if ready_at <= now]


def next_due(
    outbox: Sequence[Delivery],
    busy: Collection[str],
    *,
    stopped: Collection[str] = (),
    paced: Mapping[str, datetime] | None = None,
) -> datetime | None:
    """When `due` will next have something; None where only news or the end of an attempt can bring that about."""
    return min((ready_at for _, ready_at in _heads(outbox, {*busy, *stopped}, paced or {})), default=None)


def is_about_to_begin(
    outbox: Sequence[Delivery],
    now: datetime,
    *,
    stopped: Collection[str] = (),
    paced: Mapping[str, datetime] | None = None,
) -> bool:
    """Whether a first attempt is due within `SOON`; one behind a message that has to wait is not."""
    heads = _heads(outbox, stopped, paced or {})
    return any(not delivery.attempts and ready_at <= now + SOON for delivery, ready_at in heads)


def begin(delivery: Delivery, rules: Mapping[str, Rule], routing: Routing, now: datetime) -> Delivery:
    """The delivery as it is to be kept before the attempt, and attempted: marked, and worded for this instant."""
    if now - delivery.message.at >= _FRESH_FOR:
        delivery = freshen(delivery, rules, routing, now)
    return structs.replace(delivery, in_doubt=True, doubted=delivery.in_doubt)


def attempt(delivery: Delivery, channel: Channel | None, *, send: Send, run: Run) -> Outcome:
    """Try once; touches the network or runs a program, and nothing else. Never raises. `channel`: None is gone."""
    if channel is None:
        return Outcome(delivered=False, detail="the channel is no longer in the config", permanent=True)
    return notifiers.send(delivery.message, channel, send=send, run=run)


def settle(  # noqa: PLR0913 - an attempt has this many sides
    delivery: Delivery,
    outcome: Outcome,
    channel: Channel | None,
    routing: Routing,
    now: datetime,
    *,
    jitter: float,
    stopped: Collection[str] = (),
) -> Settled:
    """What one attempt makes of its delivery, and of its channel where that refused for good.

    Args:
        delivery: as `begin` gave it.
        outcome: what `attempt` gave.
        channel: the channel as it was attempted; None where it is no longer configured.
        routing: where the notice of a stopped channel may go.
        now: the end of the attempt.
        jitter: 0..1, drawn anew for each attempt.
        stopped: channels already known to be stopped: they cannot carry the notice.
    """
    if channel is None:
        gone = structs.replace(delivery, state=DeliveryState.DEAD, in_doubt=False, outcome=outcome.detail)
        return Settled(delivery=gone)
    after = backoff.after(delivery, outcome, now, jitter)
    if outcome.delivered or not outcome.permanent:
        return Settled(delivery=after)
    stop = Stop(channel=channel.name, settings=fingerprint(channel), at=now, detail=outcome.detail)
    return Settled(delivery=after, new=_notices(after, stop, routing, {*stopped, channel.name}, now), stop=stop)


def pace(channel: Channel, outcome: Outcome, now: datetime) -> datetime:
    """The instant before which a channel takes no further message, given that one has just gone out."""
    asked = outcome.retry_after if outcome.delivered and outcome.retry_after else timedelta(0)
    return now + max(asked, SPACING.get(channel.type, _SPACING_ELSE))


def fingerprint(channel: Channel) -> str:
    """What tells one state of a channel's settings from another, and gives none of them away."""
    settings = msgspec.json.encode([channel.name, channel.type, channel.settings], order="sorted")
    return sha256(settings).hexdigest()[:16]


def resume(
    stops: Sequence[Stop], channels: Mapping[str, Channel], outbox: Sequence[Delivery], now: datetime
) -> Resumed:
    """The stopped channels whose settings are no longer those that were refused; one that is gone is forgotten too."""
    mended = {
        stop.channel
        for stop in stops
        if stop.channel not in channels or fingerprint(channels[stop.channel]) != stop.settings
    }
    return _resumed(mended, outbox, now)


def resume_working(
    stops: Sequence[Stop], working: Collection[str], outbox: Sequence[Delivery], now: datetime
) -> Resumed:
    """The stopped channels that have just taken a test message: what was wrong was mended at the far side."""
    return _resumed({stop.channel for stop in stops if stop.channel in working}, outbox, now)


def _resumed(mended: Collection[str], outbox: Sequence[Delivery], now: datetime) -> Resumed:
    waiting = [row for row in outbox if row.channel in mended and row.state is DeliveryState.QUEUED]
    return Resumed(
        channels=tuple(sorted(mended)),
        changed=tuple(structs.replace(row, next_attempt_at=now) for row in waiting if row.next_attempt_at > now),
    )


def _heads(
    outbox: Sequence[Delivery], left_out: Collection[str], paced: Mapping[str, datetime]
) -> list[tuple[Delivery, datetime]]:
    """Of each channel the first delivery that is queued, with the instant from which it may be attempted."""
    heads: dict[str, tuple[Delivery, datetime]] = {}
    for delivery in outbox:
        channel = delivery.channel
        if delivery.state is DeliveryState.QUEUED and channel not in left_out and channel not in heads:
            at = delivery.next_attempt_at
            heads[channel] = delivery, max(at, paced.get(channel, at))
    return list(heads.values())


def _notices(
    delivery: Delivery, stop: Stop, routing: Routing, stopped: Collection[str], now: datetime
) -> tuple[Delivery, ...]:
    """One notice, on the desktop where there is one, else on the first other channel of the default route."""
    desktops = [name for name, kind in routing.channels.items() if kind == "desktop"]
    others = [name for name in (*desktops, *routing.default) if name in routing.channels and name not in stopped]
    if not others:
        return ()
    key = f"stopped|{stop.channel}|{stop.settings}|{delivery.key}|{delivery.attempts}"
    body = (
        f"{stop.detail}\n"
        f"Not delivered there: {delivery.message.title}\n"
        f"It waits for 24 h at most: change [channels.{stop.channel}] in the config, or mend the far side and run "
        f"`watcher notify test {stop.channel}`, and it is sent."
    )
    held = hold_quiet(Situation(now=now, tz=routing.voice.tz, quiet=routing.quiet))
    return (
        Delivery(
            key=key,
            channel=others[0],
            message=wording.notice(key, f'Channel "{stop.channel}" has stopped', body, now),
            reason=held.reason if held else "a channel refused for good",
            state=DeliveryState.HELD if held else DeliveryState.QUEUED,
            created_at=now,
            next_attempt_at=(held.until or now) if held else now,
            expires_at=now + backoff.LIFETIME,
        ),
    )
