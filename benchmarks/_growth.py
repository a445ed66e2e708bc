"""The daemon through many polls: real threads, processes, sockets and files, under a clock that jumps from job to job.

A program for `benchmarks.footprint`, which runs it in an environment of its own: FOLDER polls N,..., or FOLDER hours
N,...; and a line of JSON at each of these marks. With hours, a process that sends requests ends when the clock jumps by
as much as it would have stayed idle; with polls, whose subject is the daemon's own memory, it stays.
"""

import json
import resource
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from msgspec import structs

from watcher.core.model import DatabaseQuery, NetworkSettings, QueryResult, Request, Response
from watcher.core.redaction import Redactor
from watcher.credentials import HostInfo
from watcher.daemon import Daemon
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import foreign_databases, process
from watcher.system.clock import Clock
from watcher.system.environment import Environment
from watcher.system.http_process import IDLE_FOR_S, HttpProcesses
from watcher.system.log import FileLog
from watcher.system.paths import Paths
from watcher.system.scheduler import Callback, WorkQueue

T = TypeVar("T")
SPEED = 100_000.0
USAGE = (
    "/api/oauth/usage",
    "/backend-api/wham/usage",
    "/copilot_internal/user",
    "/api/subscription/v1/usage",
    "/v1internal:retrieveUserQuota",
)


class Jumps(Clock):
    """Stands still while the daemon works, and jumps while it waits."""

    at = datetime(2026, 3, 2, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def to_real_seconds(self, span: timedelta) -> float:
        return span.total_seconds() / SPEED

    def wall_offset(self) -> timedelta:
        return timedelta(0)

    def utc_offset(self) -> timedelta:
        return timedelta(0)


class JumpCalls(WorkQueue):
    """The daemon's queue; with nobody to wait for, a wait moves the clock."""

    def __init__(self, clock: Jumps) -> None:
        super().__init__()
        self._clock, self._under_way = clock, 0
        self.on_jump: Callable[[float], None] = lambda _seconds: None

    def run_in_thread(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        def finish(result: T) -> None:
            self._under_way -= 1
            then(result)

        self._under_way += 1
        super().run_in_thread(work, finish)

    def get(self, timeout_s: float | None) -> Callback | None:
        if self._under_way:
            return super().get(None)
        call = super().get(timeout_s)
        if call is None and timeout_s is not None:
            self.on_jump(timeout_s * SPEED)
            self._clock.at += timedelta(seconds=timeout_s * SPEED)
        return call


class Counter:
    """Counts polls and requests, tells how the process stands at the marks, and ends the daemon at the last."""

    def __init__(self, clock: Jumps, database: Path, unit: str, marks: list[float]) -> None:
        self.clock, self.database, self.unit, self.marks = clock, database, unit, marks
        self.polls, self.requests, self.stop = 0, 0, lambda: None
        self.began, self.began_cpu_s = clock.now(), cpu_s()

    def check(self) -> None:
        hours = (self.clock.now() - self.began) / timedelta(hours=1)
        if not self.marks or (self.polls if self.unit == "polls" else hours) < self.marks[0]:
            return
        self.marks.pop(0)
        facts = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text("ascii").splitlines())
        mark = {
            "polls": self.polls,
            "requests": self.requests,
            "hours": round(hours, 1),
            "cpu_s": round(cpu_s() - self.began_cpu_s, 2),
            "rss_mb": round(int(facts["VmRSS"].split()[0]) / 1024, 1),
            "threads": int(facts["Threads"]),
            "fds": len(list(Path("/proc/self/fd").iterdir())),
            "database_mb": round(self.database.stat().st_size / 2**20, 2),
        }
        sys.stdout.write(json.dumps(mark) + "\n")
        sys.stdout.flush()
        if not self.marks:
            self.stop()


def cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def main() -> None:
    """Watch until the last mark."""
    folder, unit, marks = Path(sys.argv[1]), sys.argv[2], [float(word) for word in sys.argv[3].split(",")]
    clock, processes = Jumps(), HttpProcesses()
    own = Paths(config_dir=folder / "config", state_dir=folder / "state-of-growth")
    counter = Counter(clock, own.state_dir / DATABASE_FILE_NAME, unit, marks)
    network = NetworkSettings()

    def apply_network(settings: NetworkSettings) -> None:
        nonlocal network
        network = settings

    def jump(seconds: float) -> None:
        while unit == "hours" and seconds >= IDLE_FOR_S and processes._idle:  # noqa: SLF001 - as its timer does
            processes._end_idle(processes._idle[-1])  # noqa: SLF001 - likewise
        counter.check()

    def send(request: Request) -> Response:
        stamped = structs.replace(request, headers={**request.headers, "x-simulated-at": clock.now().isoformat()})
        try:
            return structs.replace(processes.send(stamped, network), received_at=clock.now())
        finally:
            counter.requests += 1
            counter.polls += any(path in request.url for path in USAGE)

    def read_database(question: DatabaseQuery) -> QueryResult:
        rows = foreign_databases.read_database(question, now=clock.now)
        counter.polls += 1
        return structs.replace(rows, modified_at=clock.now())

    surroundings = HostInfo(
        home=folder / "home",
        env={"GEMINI_CLIENT_ID": "demo-client", "GEMINI_CLIENT_SECRET": "demo-secret"},
        platform="linux",
        run_command=process.run_command,
        read_database=read_database,
    )
    doors = Environment(
        clock=clock,
        send=send,
        run=process.run_command,
        read_database=read_database,
        read_host_info=lambda: surroundings,
        jitter=lambda: 0.0,
        apply_network=apply_network,
    )
    redactor = Redactor()
    store = Store(own.state_dir / DATABASE_FILE_NAME, now=clock.now())
    log = FileLog(own.state_dir, redactor)
    queue = JumpCalls(clock)
    daemon = Daemon(paths=own, environment=doors, store=store, log=log, redactor=redactor, work_queue=queue)
    queue.on_jump = jump
    counter.stop = daemon.stop
    daemon.run()
    store.close()


main()
