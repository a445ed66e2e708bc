"""Sends what is due in the outbox: one attempt at a time for each channel, everything saved before and after.

Runs on the loop's thread; only `attempts.attempt_delivery` runs in a thread of its own, so polling never waits for a
receiver.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import structs

from watcher import pipeline
from watcher.config.loader import Config
from watcher.core.model import Delivery, DeliveryOutcome, DeliveryState
from watcher.core.routing import planner
from watcher.core.routing.outbox_changes import create_notice
from watcher.delivery import attempts
from watcher.storage.store import Store
from watcher.system.environment import Environment
from watcher.system.paths import abbreviate_home
from watcher.system.scheduler import Scheduler
from watcher.system.work_queue import WorkQueue

if TYPE_CHECKING:
    from watcher.notifiers import Channel

ATTEMPT_TIMEOUT = timedelta(minutes=10)  # every channel has its own limit; this one is for what none foresaw
GATHER_FOR = timedelta(minutes=1)  # at the start and after a sleep: time enough for every provider to answer


class Dispatcher:
    """All delivering of one process."""

    def __init__(  # noqa: PLR0913 - the parts of a daemon, all named
        self,
        *,
        environment: Environment,
        store: Store,
        scheduler: Scheduler,
        work_queue: WorkQueue,
        is_polling: Callable[[], bool],
        log_warning: Callable[[str], None],
    ) -> None:
        self._environment, self._store, self._scheduler = environment, store, scheduler
        self._work_queue, self._is_polling, self._log_warning = work_queue, is_polling, log_warning
        self._config: Config | None = None
        self._in_flight: dict[str, Delivery] = {}  # channel -> what is being sent there
        self._hung_channels: set[str] = set()  # those whose attempt has passed its deadline and not returned
        self._channel_errors: dict[str, str] = {}  # channel -> what is wrong: logged when it begins and when it ends
        self._next_send_at: dict[str, datetime] = {}
        self._delayed_until: datetime | None = None

    @property
    def is_busy(self) -> bool:
        """Whether an attempt is under way, or a first one about to begin."""
        is_sending = bool(self._in_flight.keys() - self._hung_channels)
        return is_sending or attempts.is_first_attempt_due_soon(self._find_next_deliveries(), self._now())

    def _find_next_deliveries(self) -> list[tuple[Delivery, datetime]]:
        excluded = {*self._stopped_channels(), *self._in_flight}
        return attempts.find_next_deliveries(self._store.outbox.load(), excluded, self._next_send_at)

    def _stopped_channels(self) -> set[str]:
        return {stop.channel for stop in self._store.outbox.load_stops()}

    def _now(self) -> datetime:
        return self._environment.clock.now()

    def apply_config(self, config: Config) -> None:
        """Deliver by this config from now on; stopped channels whose settings changed are used again."""
        self._config = config
        now = self._now()
        resumed = attempts.find_reconfigured_channels(self._store.outbox.load_stops(), config.channels)
        self._store.run_transaction(lambda: attempts.resume_channels(self._store.outbox, resumed, now), now=now)
        for channel in resumed:
            self._log_warning(f"channel {channel}: its settings changed, it is used again")
        self.start_due_attempts()

    def queue_notice(self, title: str, body: str) -> None:
        """Queue a notice of the watcher itself on the default route."""
        config, now = self._config, self._now()
        if config is None:
            return
        key, body = f"notice|{title}|{now.isoformat()}", abbreviate_home(body, self._environment.read_host_info().home)
        notices = [create_notice(key, name, title, body, now, reason="notice") for name in config.routing.default]
        self._store.run_transaction(lambda: self._store.outbox.enqueue(notices), now=now)
        self.start_due_attempts()

    def release_deliveries(self) -> None:
        """Hold and release deliveries as quiet hours and snoozes begin and end."""
        if self._config is not None and not self._is_delayed():
            self._delayed_until = None
            pipeline.release_deliveries(self._store, self._config, now=self._now())
            self.start_due_attempts()

    def delay_sending(self) -> None:
        """Release and send nothing while all providers are polled at once, a minute at most.

        Their alerts are sent together, and a held message is not released for what is over by now.
        """
        self._delayed_until = self._now() + GATHER_FOR

    def send_if_idle(self) -> None:
        """Release and send what was gathered, if no poll is in flight any more."""
        if self._delayed_until is not None and not self._is_polling():
            self.release_deliveries()

    def _is_delayed(self) -> bool:
        return self._delayed_until is not None and self._is_polling() and self._now() < self._delayed_until

    def start_due_attempts(self) -> None:
        """Start an attempt at every delivery that is due, and schedule the next ones."""
        config, now = self._config, self._now()
        if config is None:
            return
        if self._delayed_until is not None:
            if self._is_delayed():
                self._scheduler.schedule_at("post", self._delayed_until, self.release_deliveries)
            else:
                self.release_deliveries()
            return
        following = None
        for delivery, ready_at in self._find_next_deliveries():
            if ready_at <= now:
                self._start_attempt(delivery, config, now)
            else:
                following = min(ready_at, following or ready_at)
        self._schedule("post", following, self.start_due_attempts)
        outbox, snoozes = self._store.outbox.load(), self._store.snoozes.load()
        release_at = planner.find_next_release(outbox, config.routing, snoozes, now)
        self._schedule("release", release_at, self.release_deliveries)

    def _schedule(self, name: str, at: datetime | None, job: Callable[[], None]) -> None:
        if at is None:
            self._scheduler.cancel(name)
        else:
            self._scheduler.schedule_at(name, at, job)

    def _start_attempt(self, delivery: Delivery, config: Config, now: datetime) -> None:
        rules = {rule.name: rule for rule in config.rules}
        begun = attempts.prepare_attempt(delivery, rules, pipeline.build_routing(self._store, config), now)
        self._store.run_transaction(lambda: self._store.outbox.update([begun]), now=now)
        name, environment = begun.channel, self._environment
        channel, error = config.channels.get(name), config.broken_channels.get(name)
        self._in_flight[name] = begun
        self._scheduler.schedule_after(_name_deadline(name), ATTEMPT_TIMEOUT, lambda: self._mark_hung(begun))

        def attempt() -> DeliveryOutcome:
            if error is not None:
                return DeliveryOutcome(delivered=False, detail=error)
            return attempts.attempt_delivery(begun, channel, send=environment.send, run=environment.run)

        self._work_queue.run_in_thread(attempt, lambda outcome: self._on_attempt_done(begun, channel, outcome))

    def _mark_hung(self, delivery: Delivery) -> None:
        """Report an attempt that has not returned. Nothing else is sent to its channel until it does."""
        minutes = ATTEMPT_TIMEOUT.seconds // 60
        detail = f"no end in {minutes} minutes; it is sent again when that attempt ends or the watcher starts again"
        self._hung_channels.add(delivery.channel)
        hung = structs.replace(self._store.outbox.find(delivery.id) or delivery, last_response=f"unknown: {detail}")
        self._store.run_transaction(lambda: self._store.outbox.update([hung]), now=self._now())
        self._log_outcome(hung, detail)

    def _on_attempt_done(self, delivery: Delivery, channel: "Channel | None", outcome: DeliveryOutcome) -> None:
        del self._in_flight[delivery.channel]
        self._hung_channels.discard(delivery.channel)
        self._scheduler.cancel(_name_deadline(delivery.channel))
        if self._config is None:
            return
        settled = self._apply_outcome(delivery, channel, outcome, pipeline.build_routing(self._store, self._config))
        self._log_outcome(settled, outcome.detail)
        if settled.state is not DeliveryState.SENT:
            self.release_deliveries()  # quiet hours or a snooze may have begun meanwhile
        self.start_due_attempts()

    def _apply_outcome(
        self, delivery: Delivery, channel: "Channel | None", outcome: DeliveryOutcome, routing: planner.Routing
    ) -> Delivery:
        """Save what the attempt made of its delivery and of the channel; returns the delivery."""
        now = self._now()
        jitter = abs(self._environment.jitter())
        kept = self._store.outbox.find(delivery.id) or delivery
        delivery = structs.replace(
            delivery, transitions=kept.transitions
        )  # its account may have been renamed meanwhile
        settled = attempts.apply_outcome(
            delivery, outcome, channel, routing, now, jitter=jitter, stopped_channels=self._stopped_channels()
        )
        if channel is not None:
            self._next_send_at[channel.name] = attempts.compute_next_send_at(channel, outcome, now)

        def work() -> None:
            self._store.outbox.update([settled.delivery])
            self._store.outbox.enqueue(settled.new_deliveries)
            if settled.stop is not None:
                self._store.outbox.save_stop(settled.stop)

        self._store.run_transaction(work, now=now)
        return settled.delivery

    def _log_outcome(self, delivery: Delivery, detail: str) -> None:
        """One line when a channel begins to fail, one when it delivers again, one for each message that is given up."""
        name, detail = delivery.channel, delivery.last_response or detail
        if delivery.state is DeliveryState.SENT:
            if self._channel_errors.pop(name, None) is not None:
                self._log_warning(f"channel {name}: delivers again")
        elif self._channel_errors.get(name) != detail or delivery.state is DeliveryState.DEAD:
            self._channel_errors[name] = detail
            self._log_warning(f"channel {name}: {detail}")


def _name_deadline(channel: str) -> str:
    return f"end of attempt {channel}"
