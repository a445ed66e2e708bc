"""Sends due deliveries of the outbox: one attempt at a time for each channel, saved before and after.

The dispatcher saves what `prepare_attempt` returns, sends the message in a thread of its own, and saves what
`apply_outcome` returns. After a crash in between, the delivery is still in the outbox, marked as begun, and is sent
again with the same key: delivery is at least once.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256

import msgspec
from msgspec import Struct, structs

from watcher import notifiers, pipeline
from watcher.config.loader import Config
from watcher.core.model import Delivery, DeliveryOutcome, DeliveryState, StoppedChannel
from watcher.core.routing import messages, planner, retry
from watcher.core.routing.muting import MutingContext, find_quiet_hours_mute
from watcher.core.routing.outbox_changes import Routing, create_delivery
from watcher.core.rules.rule import Rule
from watcher.notifiers import Channel, OnAction
from watcher.storage.outbox import Outbox
from watcher.storage.store import Store
from watcher.system.environment import Environment
from watcher.system.paths import abbreviate_home
from watcher.system.scheduler import Scheduler, WorkQueue

CHANNEL_SPACING: Mapping[str, timedelta] = {
    "slack": timedelta(seconds=1),  # its documented limit: one a second
    "discord": timedelta(seconds=2),  # its limit: 30 a minute
    "ntfy": timedelta(seconds=5),  # its limit for anonymous use: one each 5 s
    "apprise": timedelta(seconds=1),  # whatever is behind it
}
"""Channel type -> the least time between two messages; others have none, and a 429 delays the next message."""

MAX_FIRST_ATTEMPT_WAIT = timedelta(seconds=10)
"""How long `watcher check` waits at most for a first attempt: the spacing of a channel, but no retry delay."""


class AttemptResult(Struct, frozen=True, kw_only=True):
    """The changes of an attempt, to be saved in one transaction."""

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
    """The delivery to save before the attempt and to send: marked as begun, with its text written for `now`."""
    delivery = messages.write_message(delivery, rules, routing.formatter, now)
    return structs.replace(delivery, in_doubt=True, was_in_doubt=delivery.in_doubt, attempted_at=now)


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
    """The changes after one attempt: its delivery, and the stop of a channel that refused permanently.

    Args:
        delivery: as `prepare_attempt` returned it.
        outcome: of the attempt.
        channel: the channel of the attempt; None if it is no longer configured.
        routing: the channels for the notice of a stop.
        now: the end of the attempt.
        jitter: 0..1, drawn for each attempt.
        stopped_channels: other stopped channels, which cannot send the notice.
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
    """The earliest time of the channel's next message, after one has just been sent."""
    asked = outcome.retry_after if outcome.delivered and outcome.retry_after else timedelta(0)
    return now + max(asked, CHANNEL_SPACING.get(channel.type, timedelta(0)))


def fingerprint_settings(channel: Channel) -> str:
    """A hash of a channel's settings."""
    settings = msgspec.json.encode([channel.name, channel.type, channel.settings], order="sorted")
    return sha256(settings).hexdigest()[:16]


def find_reconfigured_channels(stops: Sequence[StoppedChannel], channels: Mapping[str, Channel]) -> list[str]:
    """The stopped channels whose settings have changed, or that are no longer configured."""
    return sorted(
        stop.channel
        for stop in stops
        if stop.channel not in channels or fingerprint_settings(channels[stop.channel]) != stop.settings_fingerprint
    )


def resume_channels(outbox: Outbox, channels: Collection[str], now: datetime) -> None:
    """Delete the stops of channels and make their deliveries due; inside a transaction."""
    for channel in channels:
        outbox.delete_stop(channel)
    outbox.update(make_due(outbox.load(), channels, now))


def make_due(deliveries: Sequence[Delivery], channels: Collection[str], now: datetime) -> list[Delivery]:
    """The queued deliveries of some channels whose next attempt is later, with the next attempt now."""
    waiting = [each for each in deliveries if each.channel in channels and each.state is DeliveryState.QUEUED]
    return [structs.replace(each, next_attempt_at=now) for each in waiting if each.next_attempt_at > now]


def _make_stop_notices(
    delivery: Delivery, stop: StoppedChannel, routing: Routing, stopped_channels: Collection[str], now: datetime
) -> tuple[Delivery, ...]:
    """One notice, on the desktop if that is configured, else on the first other channel of the default route."""
    desktops = [name for name, kind in routing.channels.items() if kind == "desktop"]
    excluded = {*stopped_channels, *routing.mirrors}
    others = [name for name in (*desktops, *routing.default) if name in routing.channels and name not in excluded]
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
    message = messages.compose_notice(key, title, body, now)
    return (create_delivery(key, others[0], now, reason=reason, message=message, mute=mute),)


class Dispatcher:
    """Starts attempts, and holds and releases deliveries.

    While `is_waiting` is true, it does neither: after a start or a sleep the alerts of all providers are sent together,
    and no held message is released whose alert has ended meanwhile.
    """

    def __init__(  # noqa: PLR0913 - the parts of a daemon, all named
        self,
        *,
        environment: Environment,
        store: Store,
        config: Config,
        scheduler: Scheduler,
        work_queue: WorkQueue,
        is_waiting: Callable[[], bool],
        log_warning: Callable[[str], None],
    ) -> None:
        self._environment, self._store, self._scheduler = environment, store, scheduler
        self._work_queue, self._is_waiting, self._log_warning = work_queue, is_waiting, log_warning
        self.on_action: OnAction | None = None  # set by the daemon, which can listen for actions
        self._config = config
        self._in_flight: dict[str, Delivery] = {}  # channel -> delivery of the attempt
        self._channel_errors: dict[str, str] = {}  # channel -> error that was logged
        self._next_send_at: dict[str, datetime] = {}

    @property
    def is_busy(self) -> bool:
        """Whether an attempt is in flight, or a first one is due soon."""
        return bool(self._in_flight) or is_first_attempt_due_soon(self._find_next_deliveries(), self._now())

    def _find_next_deliveries(self) -> list[tuple[Delivery, datetime]]:
        excluded = {*self._stopped_channels(), *self._in_flight}
        return find_next_deliveries(self._store.outbox.load(), excluded, self._next_send_at)

    def _stopped_channels(self) -> set[str]:
        return {stop.channel for stop in self._store.outbox.load_stops()}

    def _now(self) -> datetime:
        return self._environment.clock.now()

    def apply_config(self, config: Config) -> None:
        """Use this config from now on, and stopped channels whose settings changed."""
        self._config = config
        now = self._now()
        resumed = find_reconfigured_channels(self._store.outbox.load_stops(), config.channels)
        self._store.run_transaction(lambda: resume_channels(self._store.outbox, resumed, now), now=now)
        for channel in resumed:
            self._log_warning(f"channel {channel}: its settings changed, it is used again")
        self.release_deliveries()  # the route may have changed

    def queue_notice(self, title: str, body: str) -> None:
        """Queue a notice about the watcher on the default route."""
        routing, now = self._config.routing, self._now()
        key, body = f"notice|{title}|{now.isoformat()}", abbreviate_home(body, self._environment.read_host_info().home)
        channels = [name for name in routing.default if name not in routing.mirrors]
        message = messages.compose_notice(key, title, body, now)
        notices = [create_delivery(key, name, now, reason="notice", message=message) for name in channels]
        self._store.run_transaction(lambda: self._store.outbox.enqueue(notices), now=now)
        self.start_due_attempts()

    def release_deliveries(self) -> None:
        """Hold and release deliveries by quiet hours and snoozes."""
        if not self._is_waiting():
            pipeline.release_deliveries(self._store, self._config, now=self._now())
            self.start_due_attempts()

    def on_clock_set_back(self, step: timedelta) -> None:
        """Keep the pauses of the channels at the same length; `step` is negative."""
        self._next_send_at = {channel: at + step for channel, at in self._next_send_at.items()}
        self.start_due_attempts()

    def start_due_attempts(self) -> None:
        """Start the due attempts, and schedule the next ones."""
        if self._is_waiting():
            return
        following, now = None, self._now()
        for delivery, ready_at in self._find_next_deliveries():
            if ready_at <= now:
                self._start_attempt(delivery, now)
            else:
                following = min(ready_at, following or ready_at)
        self._schedule("post", following, self.start_due_attempts)
        outbox, snoozes = self._store.outbox.load(), self._store.snoozes.load()
        release_at = planner.find_next_release(outbox, self._config.routing, snoozes, now)
        self._schedule("release", release_at, self.release_deliveries)

    def _schedule(self, name: str, at: datetime | None, job: Callable[[], None]) -> None:
        if at is None:
            self._scheduler.cancel(name)
        else:
            self._scheduler.schedule_at(name, at, job)

    def _start_attempt(self, delivery: Delivery, now: datetime) -> None:
        config = self._config
        rules = {rule.name: rule for rule in config.rules}
        routing = pipeline.build_routing(self._store, config)
        channel = config.channels.get(delivery.channel)
        if channel is not None and notifiers.is_read_elsewhere(channel):
            formatter = structs.replace(routing.formatter, host=self._environment.read_host_info().name)
            routing = structs.replace(routing, formatter=formatter)
        begun = prepare_attempt(delivery, rules, routing, now)
        self._store.run_transaction(lambda: self._store.outbox.update([begun]), now=now)
        name, environment = begun.channel, self._environment
        error = config.broken_channels.get(name)
        self._in_flight[name] = begun

        def attempt() -> DeliveryOutcome:
            if error is not None:
                return DeliveryOutcome(delivered=False, detail=error)
            if channel is None:
                return DeliveryOutcome(delivered=False, detail="the channel is no longer in the config", permanent=True)
            send, run = environment.send, environment.run
            return notifiers.send_message(begun.message, channel, send=send, run=run, on_action=self.on_action)

        self._work_queue.run_in_thread(attempt, lambda outcome: self._on_attempt_done(begun, channel, outcome))

    def _on_attempt_done(self, delivery: Delivery, channel: Channel | None, outcome: DeliveryOutcome) -> None:
        del self._in_flight[delivery.channel]
        now = self._now()
        kept = self._store.outbox.find(delivery.id) or delivery
        result = apply_outcome(
            structs.replace(delivery, transitions=kept.transitions),  # its account may have been renamed meanwhile
            outcome,
            channel,
            pipeline.build_routing(self._store, self._config),
            now,
            jitter=abs(self._environment.jitter()),
            stopped_channels=self._stopped_channels(),
        )
        if channel is not None:
            self._next_send_at[channel.name] = compute_next_send_at(channel, outcome, now)

        def work() -> None:
            self._store.outbox.update([result.delivery])
            self._store.outbox.enqueue(result.new_deliveries)
            if result.stop is not None:
                self._store.outbox.save_stop(result.stop)

        self._store.run_transaction(work, now=now)
        self._log_outcome(result.delivery, outcome.detail)
        if result.delivery.state is not DeliveryState.SENT:
            self.release_deliveries()  # quiet hours or a snooze may have begun meanwhile
        self.start_due_attempts()

    def _log_outcome(self, delivery: Delivery, detail: str) -> None:
        """Log when a channel begins to fail, when it delivers again, and each message that is given up."""
        name, detail = delivery.channel, delivery.last_response or detail
        if delivery.state is DeliveryState.SENT:
            if self._channel_errors.pop(name, None) is not None:
                self._log_warning(f"channel {name}: delivers again")
        elif self._channel_errors.get(name) != detail or delivery.state is DeliveryState.DEAD:
            self._channel_errors[name] = detail
            self._log_warning(f"channel {name}: {detail}")
