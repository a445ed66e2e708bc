"""The one queue between the loop and everything that takes its time. Never put anything but calls into it."""

from collections.abc import Callable
from datetime import datetime
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

from watcher.polling.interval import compute_hung_request_pause

T = TypeVar("T")
Callback = Callable[[], None]


class WorkQueue:
    """What other threads and signal handlers hand to the loop: calls to make, in order."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callback] = SimpleQueue()
        self.put: Callable[[Callback], None] = self._queue.put  # reentrant: safe in a signal handler

    def get(self, timeout_s: float | None) -> Callback | None:
        """The next call; None when the time is up. The only place where the daemon waits."""
        try:
            # Up to Python 3.12 the first wait after a call waits for ever where its time is over before it began to
            # wait: it finds the queue's lock free, and takes what is left, less than nothing, for no limit. Looking
            # without waiting takes that lock.
            return self._queue.get_nowait()
        except Empty:
            pass
        try:
            return self._queue.get(timeout=timeout_s)
        except Empty:
            return None

    def run_in_thread(self, work: Callable[[], T], on_done: Callable[[T], None]) -> None:
        """Do `work`, which never raises, in a thread of its own; then `on_done` with its result, on the loop's."""

        def body() -> None:
            result = work()
            self.put(lambda: on_done(result))

        self.start_thread(body)

    def start_thread(self, target: Callback) -> None:
        """A thread that holds nothing up: it ends with the process."""
        Thread(target=target, daemon=True).start()


# --- Threads that never came back, counted by what they were for: each doubles the pause before another one is risked


class Losses:
    """By provider, or by channel."""

    def __init__(self) -> None:
        self._lost: dict[str, int] = {}
        self._until: dict[str, datetime] = {}

    def lose(self, name: str, count: int, now: datetime) -> datetime:
        """So many more are lost; the instant until which no other is to be risked."""
        self._lost[name] = lost = self._lost.get(name, 0) + count
        self._until[name] = compute_hung_request_pause(lost, now)
        return self._until[name]

    def regain(self, name: str) -> None:
        """One is back after all: the pause is over."""
        self._lost[name] = max(self._lost.get(name, 0) - 1, 0)
        self._until.pop(name, None)

    def rests_until(self, name: str, now: datetime) -> datetime | None:
        """The end of the pause; None where there is none."""
        until = self._until.get(name, now)
        return until if until > now else None
