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
from watcher.demo.clock import FastClock, HeldCalls
from watcher.demo.day import Day
from watcher.demo.server import Asked, Reply, Server
from watcher.doors import Doors
from watcher.log import Log
from watcher.notifiers import Channel
from watcher.notifiers.registry import NOTIFIERS
from watcher.standing import status as standing
from watcher.status_document import Status
from watcher.store import FILE_NAME, Store

FRAME_S = 0.1
BEGINS_WITHIN_S = 30.0
ENDS_WITHIN_S = 10.0


class Frame(Struct, frozen=True):
    """How things stand at one simulated instant."""

    at: datetime
    status: Status


class Notified(Struct, frozen=True):
    """A message arrived at the webhook."""

    at: datetime
    payload: dict[str, Any]


class Trouble(Struct, frozen=True):
    """Something that should not happen in a demonstration."""

    at: datetime
    text: str


Happening = Frame | Notified | Trouble


class Play:
    """One day, from `with Play(folder, speed) as play:`; iterate over `play.happenings()` to its end."""

    def __init__(self, folder: Path, day: Day, speed: float, *, desktop: bool) -> None:
        self._folder, self._day, self._desktop = folder, day, desktop
        self.clock = FastClock(day.starts_at, speed)
        self._queue: SimpleQueue[Happening] = SimpleQueue()
        self.server = Server(self._answer)
        self._begun, self._ended = threading.Event(), threading.Event()
        self._daemon: Daemon | None = None
        self._thread = threading.Thread(target=self._run, name="demo-daemon", daemon=True)

    def __enter__(self) -> Self:
        self.server.__enter__()
        machine.lay_out(self._folder, self.server.url, self._day, desktop=self._desktop)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self.server.__exit__()

    def happenings(self) -> Iterator[Happening]:
        """All that happens until the day ends, a frame at least every `FRAME_S` of the machine's time."""
        self._begun.wait(BEGINS_WITHIN_S)
        if self._daemon is None:
            yield from self._next(0)  # says why it did not begin
            return
        store = Store(machine.paths(self._folder).state_dir / FILE_NAME, now=self.clock.now(), read_only=True)
        try:
            while not self._ended.is_set() and self.clock.now() < self._day.ends_at:
                yield from self._next(FRAME_S)
                now = self.clock.now()
                yield Frame(now, standing(store, now=now))
            self._stop()
            yield from self._next(0)
        finally:
            store.close()

    def _next(self, wait_s: float) -> Iterator[Happening]:
        """All that waits, and the first that comes within `wait_s`."""
        try:
            yield self._queue.get(timeout=wait_s)
            while True:
                yield self._queue.get_nowait()
        except Empty:
            return

    def _answer(self, asked: Asked) -> Reply:
        if asked.path == machine.ALERTS:
            self._queue.put(Notified(self.clock.now(), json.loads(asked.body)))
            return Reply(status=204)
        return machine.answer(asked, self.clock, self._day)

    def _run(self) -> None:
        try:
            own = machine.paths(self._folder)
            store = Store(own.state_dir / FILE_NAME, now=self.clock.now())
            doors = machine.doors(self._folder, self.clock, self._day)
            self._daemon = Daemon(
                paths=own,
                doors=doors,
                store=store,
                log=_Told(self),
                redactor=Redactor(),
                calls=HeldCalls(self.clock),
            )
            self._begun.set()
            self._daemon.run()
            store.close()
        except Exception as error:  # noqa: BLE001 - said where somebody looks, not lost in a thread
            self.trouble(f"the daemon ended: {type(error).__name__}: {error}")
        finally:
            self._begun.set()
            self._ended.set()

    def _stop(self) -> None:
        if self._daemon is not None:
            self._daemon.stop()
        self._thread.join(ENDS_WITHIN_S)

    def trouble(self, text: str) -> None:
        """Tell whoever watches."""
        self._queue.put(Trouble(self.clock.now(), text))


class _Told(Log):
    """The daemon's warnings, passed on: in a demonstration there should be none."""

    def __init__(self, play: Play) -> None:
        self._play = play

    def warning(self, message: str) -> None:
        """Nothing should fail here."""
        self._play.trouble(message)

    def crash(self, where: str, error: BaseException) -> None:
        """Least of all this."""
        self._play.trouble(f"{where}: {type(error).__name__}: {error}")


def has_desktop(doors: Doors, now: datetime) -> bool:
    """Whether a first notification was taken: the only proof that there is somebody to show them."""
    message = wording.notice("demo", "AI usage watcher: demonstration", "Notifications appear here.", now)
    channel = Channel(name="desktop", type="desktop", settings=NOTIFIERS["desktop"].settings())
    outcome = notifiers.send(message, channel, send=doors.send, run=doors.run)
    return bool(outcome.delivered) or outcome.accepted
