"""The daemon through thousands of polls: real threads, sockets and files, under a clock that jumps from job to job.

A program for `benchmarks.footprint`, which runs it in an environment of its own: FOLDER MARKS, and a line of JSON at
each mark.
"""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from msgspec import structs

from watcher.core.model import DatabaseQuery, QueryResult, Request, Response
from watcher.core.redaction import Redactor
from watcher.credentials import HostInfo
from watcher.daemon import Daemon
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import foreign_databases, http, process
from watcher.system.clock import Clock
from watcher.system.environment import Environment
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

    at = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)

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
            self._clock.at += timedelta(seconds=timeout_s * SPEED)
        return call


class Counter:
    """Counts polls, tells how the process stands at the marks, and ends the daemon at the last."""

    def __init__(self, clock: Jumps, database: Path, marks: list[int]) -> None:
        self.clock, self.database, self.marks, self.polls, self.stop = clock, database, marks, 0, lambda: None
        self.began, self.began_cpu_s = clock.now(), cpu_s()

    def count(self) -> None:
        self.polls += 1
        if not self.marks or self.polls < self.marks[0]:
            return
        self.marks.pop(0)
        facts = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text("ascii").splitlines())
        hours = (self.clock.now() - self.began) / timedelta(hours=1)
        mark = {
            "polls": self.polls,
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
    """CPU seconds of this process, all threads."""
    fields = Path("/proc/self/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def main() -> None:
    """Watch until the last mark."""
    folder, marks = Path(sys.argv[1]), [int(word) for word in sys.argv[2].split(",")]
    clock = Jumps()
    own = Paths(config_dir=folder / "config", state_dir=folder / "state-of-growth")
    counter = Counter(clock, own.state_dir / DATABASE_FILE_NAME, marks)

    def send(request: Request) -> Response:
        stamped = structs.replace(request, headers={**request.headers, "x-simulated-at": clock.now().isoformat()})
        try:
            return http.send_request(stamped, now=clock.now)
        finally:
            if any(path in request.url for path in USAGE):
                counter.count()

    def read_database(question: DatabaseQuery) -> QueryResult:
        rows = foreign_databases.read_database(question, now=clock.now)
        counter.count()
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
    )
    redactor = Redactor()
    store = Store(own.state_dir / DATABASE_FILE_NAME, now=clock.now())
    log = FileLog(own.state_dir, redactor)
    daemon = Daemon(paths=own, environment=doors, store=store, log=log, redactor=redactor, work_queue=JumpCalls(clock))
    counter.stop = daemon.stop
    daemon.run()
    store.close()


main()
