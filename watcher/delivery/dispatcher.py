"""The outbox at work: one thread for each busy channel, everything kept before and after an attempt.

Runs on the loop's thread; only `outbox.attempt` runs elsewhere. Never decide here what is said or when it is tried
again: `core.plan` and `outbox` do.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import structs

from watcher import pipeline
from watcher.config.loader import Config
from watcher.core.model import Delivery, DeliveryOutcome, DeliveryState
from watcher.core.routing import messages, planner
from watcher.core.routing.retry import DELIVERY_LIFETIME
from watcher.delivery import outbox
from watcher.environment import Environment
from watcher.storage.store import Store
from watcher.system.paths import abbreviate_home
from watcher.system.scheduler import Scheduler
from watcher.system.work_queue import Losses, WorkQueue

if TYPE_CHECKING:
    from watcher.notifiers import Channel

ATTEMPT_TIMEOUT = timedelta(minutes=10)  # every attempt has its own limit; this one is for what none foresaw
GATHER_FOR = timedelta(minutes=1)  # after a sleep: time enough to hear from everybody, or from nobody


class Dispatcher:
    """All delivering of one process."""

    def __init__(
        self,
        *,
        environment: Environment,
        store: Store,
        scheduler: Scheduler,
        work_queue: WorkQueue,
        log_warning: Callable[[str], None],
    ) -> None:
        self._environment, self._store, self._scheduler = environment, store, scheduler
        self._work_queue, self._log_warning = work_queue, log_warning
        self._config: Config | None = None
        self._in_flight: dict[str, Delivery] = {}  # channel -> what is being delivered there
        self._losses = Losses()
        self._channel_errors: dict[str, str] = {}  # channel -> what is wrong: said when it begins and when it ends
        self._next_send_at: dict[str, datetime] = {}
        self._delay: tuple[Callable[[], bool], datetime] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether an attempt is under way, or a first one about to begin."""
        return bool(self._in_flight) or outbox.is_first_attempt_due_soon(
            self._store.outbox.load(),
            self._now(),
            stopped_channels=self._stopped_channels(),
            next_send_at=self._next_send_at,
        )

    def _stopped_channels(self) -> set[str]:
        return {stop.channel for stop in self._store.outbox.load_stops()}

    def _now(self) -> datetime:
        return self._environment.clock.now()

    def apply_config(self, config: Config) -> None:
        """Deliver by this config from now on; channels whose settings changed are tried again."""
        self._config = config
        now = self._now()
        resumed = outbox.resume_reconfigured_channels(
            self._store.outbox.load_stops(), config.channels, self._store.outbox.load(), now
        )

        def work() -> None:
            for channel in resumed.channels:
                self._store.outbox.delete_stop(channel)
            self._store.outbox.update(resumed.changed_deliveries)

        self._store.run_transaction(work, now=now)
        for channel in resumed.channels:
            self._log_warning(f"channel {channel}: its settings changed, it is used again")
        self.start_due_attempts()

    def queue_notice(self, title: str, body: str) -> None:
        """What the watcher says of itself, on the default route."""
        config, now = self._config, self._now()
        if config is None:
            return
        key, body = f"notice|{title}|{now.isoformat()}", abbreviate_home(body, self._environment.read_host_info().home)
        deliveries = [
            Delivery(
                key=key,
                channel=channel,
                message=messages.compose_notice(key, title, body, now),
                reason="notice",
                created_at=now,
                next_attempt_at=now,
                expires_at=now + DELIVERY_LIFETIME,
            )
            for channel in config.routing.default
        ]
        self._store.run_transaction(lambda: self._store.outbox.enqueue(deliveries), now=now)
        self.start_due_attempts()

    def release_deliveries(self) -> None:
        """Let go what quiet hours or a snooze held back, if they are over."""
        if self._config is not None:
            pipeline.release_deliveries(self._store, self._config, now=self._now())
            self.start_due_attempts()

    def delay_sending(self, *, is_busy: Callable[[], bool]) -> None:
        """Send nothing while everybody is asked at once, a minute at most: what comes together is told together."""
        self._delay = is_busy, self._now() + GATHER_FOR

    def send_if_idle(self) -> None:
        """Send what was gathered, if nobody is awaited any more."""
        if self._delay is not None and not self._delay[0]():
            self.start_due_attempts()

    def start_due_attempts(self) -> None:
        """Start an attempt at every delivery that is due, and see to it that the next is not missed."""
        config, now = self._config, self._now()
        if config is None:
            return
        if self._delay is not None:
            busy, until = self._delay
            if busy() and now < until:
                self._scheduler.schedule_at("post", until, self.start_due_attempts)
                return
            self._delay = None
        waiting = self._store.outbox.load()
        stopped = self._stopped_channels()
        for delivery in outbox.select_due_deliveries(
            waiting, self._in_flight, now, stopped_channels=stopped, next_send_at=self._next_send_at
        ):
            self._start_attempt(delivery, config, now)
        again = outbox.find_next_attempt_at(
            waiting, self._in_flight, stopped_channels=stopped, next_send_at=self._next_send_at
        )
        self._schedule("post", again, self.start_due_attempts)
        self._schedule(
            "release",
            planner.find_next_release(waiting, config.routing, self._store.snoozes.load(), now),
            self.release_deliveries,
        )

    def _schedule(self, name: str, at: datetime | None, job: Callable[[], None]) -> None:
        if at is None:
            self._scheduler.cancel(name)
        else:
            self._scheduler.schedule_at(name, at, job)

    def _start_attempt(self, delivery: Delivery, config: Config, now: datetime) -> None:
        rules = {rule.name: rule for rule in config.rules}
        begun = outbox.prepare_attempt(delivery, rules, pipeline.build_routing(self._store, config), now)
        self._store.run_transaction(lambda: self._store.outbox.update([begun]), now=now)
        channel = config.channels.get(begun.channel)
        why_not = config.broken_channels.get(begun.channel)
        self._in_flight[begun.channel] = begun
        end = f"end of attempt {begun.channel}"
        self._scheduler.schedule_after(end, ATTEMPT_TIMEOUT, lambda: self._time_out_attempt(begun, channel))
        doors = self._environment

        def attempt() -> DeliveryOutcome:
            if why_not is not None:
                return DeliveryOutcome(delivered=False, detail=why_not)
            return outbox.attempt_delivery(begun, channel, send=doors.send, run=doors.run)

        self._work_queue.run_in_thread(attempt, lambda outcome: self._on_attempt_done(begun, channel, outcome))

    def _time_out_attempt(self, delivery: Delivery, channel: "Channel | None") -> None:
        """Count an attempt as one of unknown fate. Its thread cannot be ended: each that is lost doubles the pause."""
        if self._in_flight.get(delivery.channel) is not delivery:
            return
        name = delivery.channel
        detail = f"no end in {ATTEMPT_TIMEOUT.seconds // 60} minutes; it is tried again later"
        self._on_attempt_done(delivery, channel, DeliveryOutcome(delivered=None, detail=detail))
        self._next_send_at[name] = self._losses.lose(name, 1, self._now())
        self.start_due_attempts()

    def _on_attempt_done(self, delivery: Delivery, channel: "Channel | None", outcome: DeliveryOutcome) -> None:
        if self._in_flight.get(delivery.channel) is not delivery:  # given up before; the thread at least is back
            self._losses.regain(delivery.channel)
            return
        del self._in_flight[delivery.channel]
        self._scheduler.cancel(f"end of attempt {delivery.channel}")
        if self._config is None:
            return
        settled = self._apply_outcome(delivery, channel, outcome, pipeline.build_routing(self._store, self._config))
        self._log_outcome(settled, outcome)
        if settled.state is not DeliveryState.SENT:
            self.release_deliveries()  # quiet hours or a snooze may have begun meanwhile
        self.start_due_attempts()

    def _apply_outcome(
        self, delivery: Delivery, channel: "Channel | None", outcome: DeliveryOutcome, routing: planner.Routing
    ) -> Delivery:
        """What the attempt made of its delivery; that, and what it means to the channel, is kept."""
        now = self._now()
        jitter = abs(self._environment.jitter())
        kept = self._store.outbox.find(delivery.id) or delivery
        delivery = structs.replace(delivery, about=kept.about)  # its account may have another key since it was begun
        settled = outbox.apply_outcome(
            delivery, outcome, channel, routing, now, jitter=jitter, stopped_channels=self._stopped_channels()
        )
        if channel is not None:
            self._next_send_at[channel.name] = outbox.compute_next_send_at(channel, outcome, now)

        def work() -> None:
            self._store.outbox.update([settled.delivery])
            self._store.outbox.enqueue(settled.new_deliveries)
            if settled.stop is not None:
                self._store.outbox.save_stop(settled.stop)

        self._store.run_transaction(work, now=now)
        return settled.delivery

    def _log_outcome(self, delivery: Delivery, outcome: DeliveryOutcome) -> None:
        """One line when a channel begins to fail, one when it delivers again, one for each message that is given up."""
        name, detail = delivery.channel, delivery.outcome or outcome.detail
        if delivery.state is DeliveryState.SENT:
            if self._channel_errors.pop(name, None) is not None:
                self._log_warning(f"channel {name}: delivers again")
        elif self._channel_errors.get(name) != detail or delivery.state is DeliveryState.DEAD:
            self._channel_errors[name] = detail
            self._log_warning(f"channel {name}: {detail}")
