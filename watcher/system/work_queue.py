"""The queue between the main loop and its threads, and the work that runs in threads under a deadline."""

from collections.abc import Callable
from datetime import timedelta
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

from watcher.system.scheduler import Scheduler

T = TypeVar("T")
Callback = Callable[[], None]


class WorkQueue:
    """Callbacks from other threads and from signal handlers; the main loop calls them in order."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callback] = SimpleQueue()
        self.put: Callable[[Callback], None] = self._queue.put  # reentrant: safe in a signal handler

    def get(self, timeout_s: float | None) -> Callback | None:
        """The next callback; None after the timeout. This is the only place where the daemon waits."""
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

    def run_in_thread(self, work: Callable[[], T], on_done: Callable[[T], None]) -> None:
        """Run `work`, which never raises, in a new thread; the main loop then calls `on_done` with its result."""

        def target() -> None:
            result = work()
            self.put(lambda: on_done(result))

        self.start_thread(target)

    def start_thread(self, target: Callback) -> None:
        """Start a thread that ends with the process."""
        Thread(target=target, daemon=True).start()


class RequestRunner:
    """Requests in flight: each runs in a thread of its own, one at a time under each key, with a deadline.

    A thread cannot be ended. One that runs past its deadline stays in flight, and no other starts under its key until
    it returns.
    """

    def __init__(self, work_queue: WorkQueue, scheduler: Scheduler) -> None:
        self._work_queue, self._scheduler = work_queue, scheduler
        self._in_flight: set[str] = set()

    def start(
        self, key: str, request: Callable[[], T], on_done: Callable[[T | None], None], *, timeout: timedelta
    ) -> None:
        """Run `request`, which never raises; the main loop calls `on_done` once, with its result.

        `on_done` gets None after `timeout`, or at once if an earlier request under this key has not returned. A result
        after that is ignored.
        """
        if key in self._in_flight:
            self._work_queue.put(lambda: on_done(None))
            return
        self._in_flight.add(key)
        deadline, is_late = f"deadline {key}", False

        def time_out() -> None:
            nonlocal is_late
            is_late = True
            on_done(None)

        def finish(result: T) -> None:
            self._in_flight.discard(key)
            if not is_late:
                self._scheduler.cancel(deadline)
                on_done(result)

        self._scheduler.schedule_after(deadline, timeout, time_out)
        self._work_queue.run_in_thread(request, finish)
