"""The daemon as a process that suffers, and its parent's hold on it.

Its clock leaps from job to job, or is the machine's own, which runs faster and is set under libfaketime.

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
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from msgspec import structs

from benchmarks.footprint import cost
from benchmarks.hostile.faults import LIMIT_S
from benchmarks.hostile.receivers import channel_of
from benchmarks.hostile.rules import name_alert
from benchmarks.hostile.world import PATHS
from watcher import pipeline
from watcher.core.engine.evaluator import EvaluationResult
from watcher.core.model import Delivery, DeliveryState, NetworkSettings, PollFailure, Request, Response, Snapshot
from watcher.core.redaction import Redactor
from watcher.daemon import Daemon
from watcher.demo import simulation
from watcher.demo.scenario import SimulatedDay
from watcher.errors import TimedOutError, UsageError
from watcher.storage.alerts import Alerts
from watcher.storage.outbox import Outbox
from watcher.storage.readings import Readings
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system.clock import Clock, monotonic_s, utc_now
from watcher.system.http_process import HttpProcesses
from watcher.system.log import Log
from watcher.system.scheduler import Callback, WorkQueue

if TYPE_CHECKING:
    from watcher.demo.simulation import FastClock

T = TypeVar("T")
CHILD = "--child"
SPEED = 200_000.0  # simulated seconds in a second of waiting
FAST = 120  # likewise of a clock under libfaketime
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
FAKETIME = {
    "LD_PRELOAD": str(LIBRARIES[0]) if LIBRARIES else "",
    "FAKETIME_NO_CACHE": "1",
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    "NO_FAKE_STAT": "1",
}
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


class RealClock(Clock):
    """The machine's own under libfaketime: it runs faster, and is set by the file that libfaketime reads.

    The monotonic clock is the true one, so that it goes on where the other is set.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def wall_offset(self) -> timedelta:
        """As the machine's, for a monotonic clock that runs as fast."""
        return utc_now() - datetime.fromtimestamp(monotonic_s() * FAST, UTC)

    def is_set(self, step: timedelta) -> None:
        """Somebody sets it; the daemon is not told."""
        set_clock(self._file, utc_now() + step)


class FastCalls(WorkQueue):
    """The daemon's queue beside a clock that runs faster."""

    def get(self, timeout_s: float | None) -> Callback | None:
        """The next call, or none once the time is over."""
        return super().get(None if timeout_s is None else timeout_s / FAST)


def set_clock(file: Path, at: datetime) -> None:
    """Let the clock of whoever runs by this file go on from that instant."""
    draft = file.with_name(f"{file.name}.draft")
    draft.write_text(f"@{at:%Y-%m-%d %H:%M:%S} x{FAST}\n", "ascii")
    draft.replace(file)


def emit(**record: Any) -> None:
    """One record for the judge, in the order in which things happen here."""
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


class NotedReadings(Readings):
    """Readings that note which answer was processed."""

    def __init__(self, store: Store, clock: Clock) -> None:
        super().__init__(store, store.accounts)
        self._store, self._clock = store, clock
        self.answers: dict[str, int] = {}  # provider -> the last

    def save_result(self, result: Snapshot | PollFailure) -> None:
        """As the store's own."""
        number = 0 if isinstance(result, PollFailure) else self.answers.get(result.provider, 0)
        super().save_result(result)
        at, in_memory = self._clock.now().isoformat(), self._store.uses_memory
        emit(processed=number, provider=result.provider, at=at, in_memory=in_memory)


class NotedAlerts(Alerts):
    """Alerts that note what is decided."""

    def save_evaluation(self, evaluation: EvaluationResult) -> None:
        """As the store's own."""
        super().save_evaluation(evaluation)
        for one in evaluation.transitions:
            reading = one.reading
            used = None if reading is None else reading.used_percent
            if reading is not None and used is None and reading.remaining is not None:
                used = 100.0 - float(reading.remaining)
            alert = name_alert(one.rule, str(one.series))
            emit(decided=alert, event=one.event, severity=one.severity, used=used)


class NotedOutbox(Outbox):
    """An outbox that remembers the message that each channel sends now, and what it is about, for the judge."""

    begun: dict[str, tuple[str, list[tuple[str, str, str]]]] = {}  # noqa: RUF012 - one a process
    attempts: set[tuple[str, str, datetime | None]] = set()  # noqa: RUF012 - likewise

    def update(self, deliveries: Iterable[Delivery]) -> None:
        """As the store's own."""
        rows = list(deliveries)
        for row in rows:
            if row.in_doubt:
                about = [(name_alert(one.rule, str(one.series)), one.event, one.severity) for one in row.transitions]
                self.begun[row.channel] = row.key, about
                attempt = row.channel, row.key, row.attempted_at
                if row.attempted_at and row.state is DeliveryState.QUEUED and attempt not in self.attempts:
                    self.attempts.add(attempt)
                    emit(trying=row.key, channel=row.channel, about=about, at=row.attempted_at.isoformat())
            elif row.state is DeliveryState.SENT:
                emit(sent=row.key, channel=row.channel)
        super().update(rows)


class Told(Log):
    """Lines for the parent: the disk below may be full."""

    def __init__(self) -> None:
        self.polls = 0

    def say(self, message: str) -> None:
        """One line of the log."""
        emit(log=message)

    info = warning = say

    def debug(self, message: str) -> None:
        """An answer came; now and then, what this process has grown to."""
        self.say(message)
        self.polls += 1
        if self.polls % 20 == 0:
            now = cost(os.getpid())
            emit(cost=[now.rss, now.fds, now.threads])

    def report_error(self, where: str, error: BaseException) -> None:
        """What nobody expected."""
        self.say(f"CRASH {where}: {error!r} {' '.join(traceback.format_exception(error))}")


def child(folder: Path, starts_at: datetime) -> None:
    """One life of the daemon; lines on stdin disturb it, lines on stdout say how it fares."""
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)
    own = simulation.make_paths(folder)
    clock: SteppedClock | RealClock
    calls: WorkQueue
    if os.environ.pop("LD_PRELOAD", ""):  # not for the processes of its requests
        clock, calls = RealClock(Path(os.environ["FAKETIME_TIMESTAMP_FILE"])), FastCalls()
    else:
        clock = SteppedClock(starts_at)
        calls = JumpingCalls(clock)
    doors = simulation.make_environment(folder, cast("FastClock", clock), SimulatedDay())  # it only asks for `now`
    if isinstance(clock, RealClock):  # from processes, as `watcher run` does
        transport, settings = HttpProcesses(), NetworkSettings()
        doors = structs.replace(doors, send=lambda request: transport.send(request, settings))
    store = Store(own.state_dir / DATABASE_FILE_NAME, now=clock.now(), memory_fallback=True)
    store.readings = noted = NotedReadings(store, clock)
    store.alerts, store.outbox = NotedAlerts(store, store.accounts), NotedOutbox(store, store.accounts)
    doors = structs.replace(doors, send=_sender(doors.send, clock, calls, noted))
    daemon = Daemon(paths=own, environment=doors, store=store, log=Told(), redactor=Redactor(), work_queue=calls)

    def snooze(target: str, hours: str) -> None:
        until = clock.now() + timedelta(hours=float(hours))
        with suppress(UsageError):  # a series that was never seen
            pipeline.save_snooze(store, daemon.config.rules, target, until, now=clock.now())
        emit(snoozed=target, until=until.isoformat())
        daemon.check_requests()  # as `watcher snooze` asks it to

    def set_by(seconds: str) -> None:
        step = timedelta(seconds=float(seconds))
        emit(step=seconds, at=(clock.now() + step).isoformat())
        clock.is_set(step)

    def obey() -> None:
        for line in sys.stdin:
            what, *details = line.split()
            if what == "stop":
                daemon.stop()
            elif what == "snooze":
                calls.put(partial(snooze, *details))
            elif isinstance(clock, RealClock):
                set_by(*details)
            else:
                calls.put(partial(set_by, *details))

    threading.Thread(target=obey, daemon=True).start()
    daemon.run()
    store.close()


def _sender(
    send_on: Callable[[Request], Response], clock: SteppedClock | RealClock, calls: WorkQueue, noted: NotedReadings
) -> Callable[[Request], Response]:
    """The real door, with a shorter limit, and with what the judge needs in the headers."""
    life = str(os.getpid())

    def send(request: Request) -> Response:
        headers = {**request.headers, "x-simulated-at": clock.now().isoformat(), "x-life": life}
        channel = channel_of(request.url)
        provider = next((name for name, path in PATHS.items() if request.url.endswith(path)), "")
        noted.answers[provider] = 0
        if channel is not None:
            headers["x-key"], about = NotedOutbox.begun[channel]
            headers["x-about"] = json.dumps(about)
        try:
            response = send_on(structs.replace(request, headers=headers, timeout_s=LIMIT_S))
        except TimedOutError:
            if isinstance(clock, SteppedClock):
                calls.put(partial(clock.passes, timedelta(seconds=request.timeout_s)))
            raise
        noted.answers[provider] = int(response.headers.get("x-answer", "0"))
        return structs.replace(response, received_at=clock.now())

    return send


class Life:
    """One process, as its parent sees it."""

    def __init__(self, folder: Path, starts_at: datetime, *, real_clock: bool = False) -> None:
        command = [sys.executable, "-m", "benchmarks", "chaos", CHILD, str(folder), starts_at.isoformat()]
        env = {**os.environ, "TZ": "UTC"}
        if real_clock:
            file = folder / "clock"
            set_clock(file, starts_at)
            env |= {**FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(file)}
        self.errors = (folder / "stderr.txt").open("ab")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=env
        )
        self.samples: list[list[float]] = []
        self.log: list[str] = []
        self.records: list[dict[str, Any]] = []  # what the judge looks at
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
                self.records += [] if "cost" in said else [said]

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
