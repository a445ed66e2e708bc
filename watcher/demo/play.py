"""Plays the day: server, machine and daemon together, and what happens as a stream of events.

The daemon runs in a thread of its own, exactly as `watcher run` does; here it is only watched, through its store and
through the webhook that it posts to. Never print here.
"""

import json
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Self

from msgspec import Struct

from watcher import notifiers
from watcher.core import wording
from watcher.core.redaction import Redactor
from watcher.daemon import Daemon
from watcher.demo import machine
from watcher.demo.clock import FastClock, SimulatedWorkQueue
from watcher.demo.day import SimulatedDay
from watcher.demo.server import ReceivedRequest, Reply, Server
from watcher.doors import Environment
from watcher.log import Log
from watcher.notifiers import Channel
from watcher.notifiers.registry import NOTIFIERS
from watcher.standing import build_status as standing
from watcher.status_document import StatusDocument
from watcher.store import DATABASE_FILE_NAME, Store

FRAME_INTERVAL_S = 0.1
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0


class StatusFrame(Struct, frozen=True):
    """How things stand at one simulated instant."""

    at: datetime
    status: StatusDocument


class NotificationReceived(Struct, frozen=True):
    """A message arrived at the webhook."""

    at: datetime
    payload: dict[str, Any]


class DemoProblem(Struct, frozen=True):
    """Something that should not happen in a demonstration."""

    at: datetime
    text: str


DemoEvent = StatusFrame | NotificationReceived | DemoProblem


class DemoPlayer:
    """One day, from `with Play(folder, speed) as play:`; iterate over `play.happenings()` to its end."""

    def __init__(self, folder: Path, day: SimulatedDay, speed: float, *, desktop: bool) -> None:
        self._folder, self._day, self._desktop = folder, day, desktop
        self.clock = FastClock(day.starts_at, speed)
        self._queue: SimpleQueue[DemoEvent] = SimpleQueue()
        self.server = Server(self._answer_request)
        self._started, self._ended = threading.Event(), threading.Event()
        self._daemon: Daemon | None = None
        self._thread = threading.Thread(target=self._run, name="demo-daemon", daemon=True)

    def __enter__(self) -> Self:
        self.server.__enter__()
        machine.write_home(self._folder, self.server.url, self._day, desktop=self._desktop)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self.server.__exit__()

    def iter_events(self) -> Iterator[DemoEvent]:
        """All that happens until the day ends, a frame at least every `FRAME_INTERVAL_S` of the machine's time."""
        self._started.wait(START_TIMEOUT_S)
        if self._daemon is None:
            yield from self._drain_events(0)  # says why it did not begin
            return
        store = Store(
            machine.make_paths(self._folder).state_dir / DATABASE_FILE_NAME, now=self.clock.now(), read_only=True
        )
        try:
            while not self._ended.is_set() and self.clock.now() < self._day.ends_at:
                yield from self._drain_events(FRAME_INTERVAL_S)
                now = self.clock.now()
                yield StatusFrame(now, standing(store, now=now))
            self._stop()
            yield from self._drain_events(0)
        finally:
            store.close()

    def _drain_events(self, wait_s: float) -> Iterator[DemoEvent]:
        """All that waits, and the first that comes within `wait_s`."""
        try:
            yield self._queue.get(timeout=wait_s)
            while True:
                yield self._queue.get_nowait()
        except Empty:
            return

    def _answer_request(self, request: ReceivedRequest) -> Reply:
        if request.path == machine.WEBHOOK_PATH:
            self._queue.put(NotificationReceived(self.clock.now(), json.loads(request.body)))
            return Reply(status=204)
        return machine.answer_request(request, self.clock, self._day)

    def _run(self) -> None:
        try:
            own = machine.make_paths(self._folder)
            store = Store(own.state_dir / DATABASE_FILE_NAME, now=self.clock.now())
            doors = machine.make_environment(self._folder, self.clock, self._day)
            self._daemon = Daemon(
                paths=own,
                environment=doors,
                store=store,
                log=_EventLog(self),
                redactor=Redactor(),
                work_queue=SimulatedWorkQueue(self.clock),
            )
            self._started.set()
            self._daemon.run()
            store.close()
        except Exception as error:  # noqa: BLE001 - said where somebody looks, not lost in a thread
            self.report_problem(f"the daemon ended: {type(error).__name__}: {error}")
        finally:
            self._started.set()
            self._ended.set()

    def _stop(self) -> None:
        if self._daemon is not None:
            self._daemon.stop()
        self._thread.join(STOP_TIMEOUT_S)

    def report_problem(self, text: str) -> None:
        """Tell whoever watches."""
        self._queue.put(DemoProblem(self.clock.now(), text))


class _EventLog(Log):
    """The daemon's warnings, passed on: in a demonstration there should be none."""

    def __init__(self, player: DemoPlayer) -> None:
        self._player = player

    def warning(self, message: str) -> None:
        """Nothing should fail here."""
        self._player.report_problem(message)

    def exception(self, context: str, error: BaseException) -> None:
        """Least of all this."""
        self._player.report_problem(f"{context}: {type(error).__name__}: {error}")


def can_notify_desktop(environment: Environment, now: datetime) -> bool:
    """Whether a first notification was taken: the only proof that there is somebody to show them."""
    message = wording.compose_notice("demo", "AI usage watcher: demonstration", "Notifications appear here.", now)
    channel = Channel(name="desktop", type="desktop", settings=NOTIFIERS["desktop"].settings_class())
    outcome = notifiers.send_message(message, channel, send=environment.send, run=environment.run)
    return bool(outcome.delivered) or outcome.accepted
