"""The daemon as a process that suffers, under a clock that leaps from job to job, and its parent's hold on it.

Never decide here what goes wrong.
"""

import faulthandler
import json
import os
import resource
import signal
import subprocess  # noqa: TID251 - what is killed must be another process
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from msgspec import structs

from benchmarks.footprint import cost
from benchmarks.hostile.faults import LIMIT_S
from benchmarks.hostile.receivers import channel_of
from watcher.core.model import Delivery, Request, Response
from watcher.core.redaction import Redactor
from watcher.daemon import Daemon
from watcher.demo import simulation
from watcher.demo.scenario import SimulatedDay
from watcher.errors import TimedOutError
from watcher.storage.outbox import Outbox
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system.clock import Clock
from watcher.system.log import Log
from watcher.system.scheduler import Callback, WorkQueue

if TYPE_CHECKING:
    from watcher.demo.simulation import FastClock

T = TypeVar("T")
CHILD = "--child"
SPEED = 200_000.0  # simulated seconds in a second of waiting
ENDS_WITHIN_S = 30
SHOWN_WITHIN_S = 0.5


class SteppedClock(Clock):
    """A clock that stands still while the daemon works and jumps while it waits; it can also be set."""

    def __init__(self, starts_at: datetime) -> None:
        self.at = starts_at
        self.set_by = timedelta(0)

    def now(self) -> datetime:
        """This simulated instant."""
        return self.at

    def to_real_seconds(self, span: timedelta) -> float:
        """The machine waits but a moment."""
        return span.total_seconds() / SPEED

    def wall_offset(self) -> timedelta:
        """By how much it was set."""
        return self.set_by

    def utc_offset(self) -> timedelta:
        """Never changes."""
        return timedelta(0)

    def passes(self, span: timedelta) -> None:
        """Time goes by while somebody waits for an answer."""
        self.at += span

    def is_set(self, step: timedelta) -> None:
        """Somebody sets it."""
        self.at += step
        self.set_by += step


class JumpingCalls(WorkQueue):
    """The daemon's queue; a wait in which nothing is under way moves the clock on."""

    def __init__(self, clock: SteppedClock) -> None:
        super().__init__()
        self.clock = clock
        self.under_way = 0

    def run_in_thread(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """As the daemon's own, and counted."""

        def finish(result: T) -> None:
            self.under_way -= 1
            then(result)

        self.under_way += 1
        super().run_in_thread(work, finish)

    def get(self, timeout_s: float | None) -> Callback | None:
        """The next call, or none once the time is over."""
        call = super().get(None if self.under_way else timeout_s)
        if call is None and timeout_s is not None:
            self.clock.passes(timedelta(seconds=timeout_s * SPEED))
        return call


class NotedOutbox(Outbox):
    """An outbox that remembers the message that each channel sends now, and what it is about, for the judge."""

    begun: dict[str, tuple[str, list[tuple[str, str]]]] = {}  # noqa: RUF012 - one a process

    def update(self, deliveries: Iterable[Delivery]) -> None:
        """As the store's own."""
        rows = list(deliveries)
        for row in rows:
            if row.in_doubt:
                about = [(str(one.series), one.event.value) for one in row.transitions]
                self.begun[row.channel] = row.key, about
        super().update(rows)


class Told(Log):
    """Lines for the parent: the disk below may be full."""

    def __init__(self) -> None:
        self.polls = 0

    def say(self, message: str) -> None:
        """One line of the log."""
        print(json.dumps({"log": message}), flush=True)

    info = warning = say

    def debug(self, message: str) -> None:
        """An answer came; now and then, what this process has grown to."""
        self.say(message)
        self.polls += 1
        if self.polls % 20 == 0:
            now = cost(os.getpid())
            print(json.dumps({"cost": [now.rss, now.fds, now.threads]}), flush=True)

    def report_error(self, where: str, error: BaseException) -> None:
        """What nobody expected."""
        self.say(f"CRASH {where}: {error!r} {' '.join(traceback.format_exception(error))}")


def child(folder: Path, starts_at: datetime) -> None:
    """One life of the daemon; lines on stdin set its clock, lines on stdout say how it fares."""
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)
    clock = SteppedClock(starts_at)
    own = simulation.make_paths(folder)
    doors = simulation.make_environment(folder, cast("FastClock", clock), SimulatedDay())  # it only asks for `now`
    store = Store(own.state_dir / DATABASE_FILE_NAME, now=clock.now(), memory_fallback=True)
    noted = NotedOutbox(store, store.accounts)
    store.outbox = noted
    calls = JumpingCalls(clock)
    doors = structs.replace(doors, send=_sender(doors.send, clock, calls, noted))
    daemon = Daemon(paths=own, environment=doors, store=store, log=Told(), redactor=Redactor(), work_queue=calls)

    def obey() -> None:
        for line in sys.stdin:
            if line == "stop\n":
                daemon.stop()
            else:
                calls.put(partial(clock.is_set, timedelta(seconds=float(line))))

    threading.Thread(target=obey, daemon=True).start()
    daemon.run()
    store.close()


def _sender(
    send_on: Callable[[Request], Response], clock: SteppedClock, calls: WorkQueue, outbox: NotedOutbox
) -> Callable[[Request], Response]:
    """The real door, with a shorter limit, and with what the judge needs in the headers."""
    life = str(os.getpid())

    def send(request: Request) -> Response:
        headers = {**request.headers, "x-simulated-at": clock.now().isoformat(), "x-life": life}
        channel = channel_of(request.url)
        if channel is not None:
            headers["x-key"], about = outbox.begun[channel]
            headers["x-about"] = json.dumps(about)
        try:
            return send_on(structs.replace(request, headers=headers, timeout_s=LIMIT_S))
        except TimedOutError:
            calls.put(partial(clock.passes, timedelta(seconds=request.timeout_s)))
            raise

    return send


class Life:
    """One process, as its parent sees it."""

    def __init__(self, folder: Path, starts_at: datetime) -> None:
        command = [sys.executable, "-m", "benchmarks", "chaos", CHILD, str(folder), starts_at.isoformat()]
        self.errors = (folder / "stderr.txt").open("ab")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True
        )
        self.samples: list[list[float]] = []
        self.log: list[str] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    @property
    def name(self) -> str:
        """As it signs its messages."""
        return str(self.process.pid)

    def is_over(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    def _read(self) -> None:
        for line in self.process.stdout or ():
            with suppress(ValueError):  # the last line of a process that was killed may be half a one
                said = json.loads(line)
                self.samples += [said["cost"]] if "cost" in said else []
                self.log += [said["log"]] if "log" in said else []

    def say(self, line: str) -> None:
        """Hand over a line; a process that has just died cannot take it."""
        if self.process.stdin is not None and not self.is_over():
            with suppress(BrokenPipeError):
                self.process.stdin.write(f"{line}\n")
                self.process.stdin.flush()

    def write_nothing(self, *, at_all: bool) -> None:
        """Every write to any file fails from now on (EFBIG), or none does."""
        most = 0 if at_all else resource.RLIM_INFINITY
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

    def show_stacks(self) -> None:
        """What each thread is at, into the file of errors."""
        self.process.send_signal(signal.SIGUSR1)
        threading.Event().wait(SHOWN_WITHIN_S)

    def end(self, how: signal.Signals | None) -> int:
        """Kill it, or let it stop by itself; its exit code."""
        if how is None:
            self.say("stop")
        else:
            self.process.send_signal(how)
        try:
            code = self.process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.show_stacks()
            self.process.kill()
            code = self.process.wait()
        self.reader.join(5)
        for pipe in (self.process.stdin, self.process.stdout, self.errors):
            with suppress(OSError):  # what was not yet taken by a dead process
                if pipe is not None:
                    pipe.close()
        return code
