"""The outbox at work: one thread for each busy channel, everything kept before and after an attempt.

Runs on the loop's thread; only `outbox.attempt` runs elsewhere. Never decide here what is said or when it is tried
again: `core.plan` and `outbox` do.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import structs

from watcher import outbox, pipeline
from watcher.calls import Calls
from watcher.config import Config
from watcher.core import plan, wording
from watcher.core.backoff import LIFETIME
from watcher.core.model import Delivery, DeliveryState, Outcome
from watcher.doors import Doors
from watcher.losses import Losses
from watcher.paths import with_tilde
from watcher.store import Store
from watcher.timetable import Timetable

if TYPE_CHECKING:
    from watcher.notifiers import Channel

ATTEMPT_ENDS = timedelta(minutes=10)  # every attempt has its own limit; this one is for what none foresaw
GATHERED_IN = timedelta(minutes=1)  # after a sleep: time enough to hear from everybody, or from nobody


class Postman:
    """All delivering of one process."""

    def __init__(
        self,
        *,
        doors: Doors,
        store: Store,
        timetable: Timetable,
        calls: Calls,
        say: Callable[[str], None],
    ) -> None:
        self._doors, self._store, self._timetable = doors, store, timetable
        self._calls, self._say = calls, say
        self._config: Config | None = None
        self._busy: dict[str, Delivery] = {}  # channel -> what is being delivered there
        self._losses = Losses()
        self._failing: dict[str, str] = {}  # channel -> what is wrong: said when it begins and when it ends
        self._paced: dict[str, datetime] = {}
        self._gathering: tuple[Callable[[], bool], datetime] | None = None

    @property
    def busy(self) -> bool:
        """Whether an attempt is under way, or a first one about to begin."""
        return bool(self._busy) or outbox.is_about_to_begin(
            self._store.outbox(), self._now(), stopped=self._stopped(), paced=self._paced
        )

    def _stopped(self) -> set[str]:
        return {stop.channel for stop in self._store.stops()}

    def _now(self) -> datetime:
        return self._doors.clock.now()

    def use(self, config: Config) -> None:
        """Deliver by this config from now on; channels whose settings changed are tried again."""
        self._config = config
        now = self._now()
        resumed = outbox.resume(self._store.stops(), config.channels, self._store.outbox(), now)

        def work() -> None:
            for channel in resumed.channels:
                self._store.resume(channel)
            self._store.update(resumed.changed)

        self._store.write(work, now=now)
        for channel in resumed.channels:
            self._say(f"channel {channel}: its settings changed, it is used again")
        self.pump()

    def notice(self, title: str, body: str) -> None:
        """What the watcher says of itself, on the default route."""
        config, now = self._config, self._now()
        if config is None:
            return
        key, body = f"notice|{title}|{now.isoformat()}", with_tilde(body, self._doors.surroundings().home)
        deliveries = [
            Delivery(
                key=key,
                channel=channel,
                message=wording.notice(key, title, body, now),
                reason="notice",
                created_at=now,
                next_attempt_at=now,
                expires_at=now + LIFETIME,
            )
            for channel in config.routing.default
        ]
        self._store.write(lambda: self._store.enqueue(deliveries), now=now)
        self.pump()

    def release(self) -> None:
        """Let go what quiet hours or a snooze held back, if they are over."""
        if self._config is not None:
            pipeline.release(self._store, self._config, now=self._now())
            self.pump()

    def gather(self, *, busy: Callable[[], bool]) -> None:
        """Send nothing while everybody is asked at once, a minute at most: what comes together is told together."""
        self._gathering = busy, self._now() + GATHERED_IN

    def gathered(self) -> None:
        """Send what was gathered, if nobody is awaited any more."""
        if self._gathering is not None and not self._gathering[0]():
            self.pump()

    def pump(self) -> None:
        """Start an attempt at every delivery that is due, and see to it that the next is not missed."""
        config, now = self._config, self._now()
        if config is None:
            return
        if self._gathering is not None:
            busy, until = self._gathering
            if busy() and now < until:
                self._timetable.put("post", until, self.pump)
                return
            self._gathering = None
        waiting = self._store.outbox()
        stopped = self._stopped()
        for delivery in outbox.due(waiting, self._busy, now, stopped=stopped, paced=self._paced):
            self._start(delivery, config, now)
        again = outbox.next_due(waiting, self._busy, stopped=stopped, paced=self._paced)
        self._at("post", again, self.pump)
        self._at("release", plan.next_release(waiting, config.routing, self._store.snoozes(), now), self.release)

    def _at(self, name: str, at: datetime | None, job: Callable[[], None]) -> None:
        if at is None:
            self._timetable.take_away(name)
        else:
            self._timetable.put(name, at, job)

    def _start(self, delivery: Delivery, config: Config, now: datetime) -> None:
        rules = {rule.name: rule for rule in config.rules}
        begun = outbox.begin(delivery, rules, pipeline.routing(self._store, config), now)
        self._store.write(lambda: self._store.update([begun]), now=now)
        channel = config.channels.get(begun.channel)
        why_not = config.broken_channels.get(begun.channel)
        self._busy[begun.channel] = begun
        end = f"end of attempt {begun.channel}"
        self._timetable.put_after(end, ATTEMPT_ENDS, lambda: self._give_up(begun, channel))
        doors = self._doors

        def attempt() -> Outcome:
            if why_not is not None:
                return Outcome(delivered=False, detail=why_not)
            return outbox.attempt(begun, channel, send=doors.send, run=doors.run)

        self._calls.fetch(attempt, lambda outcome: self._ended(begun, channel, outcome))

    def _give_up(self, delivery: Delivery, channel: "Channel | None") -> None:
        """Count an attempt as one of unknown fate. Its thread cannot be ended: each that is lost doubles the pause."""
        if self._busy.get(delivery.channel) is not delivery:
            return
        name = delivery.channel
        detail = f"no end in {ATTEMPT_ENDS.seconds // 60} minutes; it is tried again later"
        self._ended(delivery, channel, Outcome(delivered=None, detail=detail))
        self._paced[name] = self._losses.lose(name, 1, self._now())
        self.pump()

    def _ended(self, delivery: Delivery, channel: "Channel | None", outcome: Outcome) -> None:
        if self._busy.get(delivery.channel) is not delivery:  # given up before; the thread at least is back
            self._losses.regain(delivery.channel)
            return
        del self._busy[delivery.channel]
        self._timetable.take_away(f"end of attempt {delivery.channel}")
        if self._config is None:
            return
        settled = self._settled(delivery, channel, outcome, pipeline.routing(self._store, self._config))
        self._tell(settled, outcome)
        if settled.state is not DeliveryState.SENT:
            self.release()  # quiet hours or a snooze may have begun meanwhile
        self.pump()

    def _settled(
        self, delivery: Delivery, channel: "Channel | None", outcome: Outcome, routing: plan.Routing
    ) -> Delivery:
        """What the attempt made of its delivery; that, and what it means to the channel, is kept."""
        now = self._now()
        jitter = abs(self._doors.jitter())
        kept = self._store.delivery(delivery.id) or delivery
        delivery = structs.replace(delivery, about=kept.about)  # its account may have another key since it was begun
        settled = outbox.settle(delivery, outcome, channel, routing, now, jitter=jitter, stopped=self._stopped())
        if channel is not None:
            self._paced[channel.name] = outbox.pace(channel, outcome, now)

        def work() -> None:
            self._store.update([settled.delivery])
            self._store.enqueue(settled.new)
            if settled.stop is not None:
                self._store.stop(settled.stop)

        self._store.write(work, now=now)
        return settled.delivery

    def _tell(self, delivery: Delivery, outcome: Outcome) -> None:
        """One line when a channel begins to fail, one when it delivers again, one for each message that is given up."""
        name, detail = delivery.channel, delivery.outcome or outcome.detail
        if delivery.state is DeliveryState.SENT:
            if self._failing.pop(name, None) is not None:
                self._say(f"channel {name}: delivers again")
        elif self._failing.get(name) != detail or delivery.state is DeliveryState.DEAD:
            self._failing[name] = detail
            self._say(f"channel {name}: {detail}")
