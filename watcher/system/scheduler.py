"""The queue between the main loop and its threads, and the jobs of the main loop."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import NamedTuple, TypeVar

import schedule

from watcher.system.clock import Clock

T = TypeVar("T")
Callback = Callable[[], None]

PATIENCE_S = 1.0  # with work that is slow or hangs, before another thread goes on with the rest


class WorkQueue:
    """Callbacks from other threads and from signal handlers; the main loop calls them in order."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callback] = SimpleQueue()
        self.put: Callable[[Callback], None] = self._queue.put  # reentrant: safe in a signal handler
        self._batch: SimpleQueue[Callback] | None = None  # collected by `share_thread`

    def get(self, timeout_s: float | None) -> Callback | None:
        """The next callback; None after the timeout. The daemon waits only here."""
        try:
            # Up to Python 3.12, `SimpleQueue.get(timeout)` may wait without limit if the timeout expires before the
            # wait begins: it computes a negative remaining time. `get_nowait` takes the free lock first.
            return self._queue.get_nowait()
        except Empty:
            pass
        try:
            return self._queue.get(timeout=timeout_s)
        except Empty:
            return None

    def is_empty(self) -> bool:
        """Whether no callback waits."""
        return self._queue.empty()

    def run_in_thread(self, work: Callable[[], T], on_done: Callable[[T], None]) -> None:
        """Run `work`, which never raises, in a new thread; the main loop then calls `on_done` with its result."""

        def target() -> None:
            result = work()
            self.put(lambda: on_done(result))

        if self._batch is None:
            self.start_thread(target)
        else:
            self._batch.put(target)

    @contextmanager
    def share_thread(self) -> Iterator[None]:
        """Inside, `run_in_thread` only collects work; one thread then does it all, in the same order.

        Work that takes longer than `PATIENCE_S`, or hangs, keeps the thread: another one goes on with the rest.
        """
        batch: SimpleQueue[Callback] = SimpleQueue()
        self._batch = batch
        try:
            yield
        finally:
            self._batch = None
            if not batch.empty():
                self.start_thread(partial(self._work_off, batch))

    def _work_off(self, batch: SimpleQueue[Callback]) -> None:
        while not batch.empty():
            is_done = Event()
            self.start_thread(partial(_run_all, batch, is_done))
            is_done.wait(PATIENCE_S)

    def start_thread(self, target: Callback) -> None:
        """Start a thread that ends with the process."""
        Thread(target=target, daemon=True).start()


def _run_all(batch: SimpleQueue[Callback], is_done: Event) -> None:
    with suppress(Empty):
        while True:
            batch.get_nowait()()
    is_done.set()


CLOCK_STEP_THRESHOLD = timedelta(seconds=5)  # less is drift; more is a step
_MIN_WAIT_S = 0.001  # schedule loops forever on an interval of 0


class _Job(NamedTuple):
    due_at: datetime
    job: Callable[[], None]
    is_relative: bool  # due after a span of this process' time: moves with the clock


class Scheduler:
    """Jobs by name; scheduling a name again replaces its job."""

    def __init__(self, clock: Clock, on_error: Callable[[str, Exception], None]) -> None:
        self._clock = clock
        self._on_error = on_error
        self._backend = schedule.Scheduler()
        self._jobs: dict[str, _Job] = {}
        self._wall_offset, self._utc_offset = clock.wall_offset(), clock.utc_offset()

    def schedule_after(self, name: str, delay: timedelta, job: Callable[[], None]) -> None:
        """Run `job` once after `delay` of monotonic time: without sleep and changes of the clock."""
        self._schedule(name, _Job(self._clock.now() + delay, job, is_relative=True))

    def schedule_at(self, name: str, due_at: datetime, job: Callable[[], None]) -> None:
        """Run `job` once at `due_at`, or at once if that has passed."""
        self._schedule(name, _Job(due_at, job, is_relative=False))

    def _schedule(self, name: str, entry: _Job) -> None:
        self._backend.clear(name)
        self._jobs[name] = entry
        wait_s = max(self._clock.to_real_seconds(entry.due_at - self._clock.now()), _MIN_WAIT_S)
        # a float is what timedelta wants; the library's annotation is narrower than its code
        self._backend.every(wait_s).seconds.do(self._run_job, name).tag(name)  # type: ignore[arg-type]

    def cancel(self, name: str) -> None:
        """Remove a job, if there is one."""
        self._backend.clear(name)
        self._jobs.pop(name, None)

    def get_due_at(self, name: str) -> datetime | None:
        """When a job is due; None if there is none."""
        entry = self._jobs.get(name)
        return None if entry is None else entry.due_at

    def adjust_to_clock(self) -> timedelta:
        """Move the jobs if the wall clock stepped or the zone changed. Returns the step, usually zero."""
        ahead, zone = self._clock.wall_offset(), self._clock.utc_offset()
        step = ahead - self._wall_offset
        if abs(step) >= CLOCK_STEP_THRESHOLD or zone != self._utc_offset:
            back = min(step, timedelta(0))  # set back: move jobs back too; ahead: they are overdue
            for name, entry in list(self._jobs.items()):
                self._schedule(name, entry._replace(due_at=entry.due_at + (step if entry.is_relative else back)))
        self._wall_offset, self._utc_offset = ahead, zone
        return step if abs(step) >= CLOCK_STEP_THRESHOLD else timedelta(0)

    def run_due_jobs(self) -> None:
        """Run the jobs that are due."""
        self._backend.run_pending()

    def idle_s(self) -> float | None:
        """Real seconds until the next job; None if there is none."""
        idle_s = self._backend.idle_seconds
        return None if idle_s is None else max(idle_s, 0.0)

    def _run_job(self, name: str) -> type[schedule.CancelJob]:
        entry = self._jobs.get(name)
        if entry is not None:
            if entry.due_at > self._clock.now():  # the library rounds down: wait for the rest
                self._schedule(name, entry)
            else:
                self.cancel(name)
                try:
                    entry.job()
                except Exception as error:  # noqa: BLE001 - the wrapper that keeps the loop alive
                    self._on_error(name, error)
        return schedule.CancelJob
