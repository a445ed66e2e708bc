"""The one queue between the loop and everything that takes its time. Never put anything but calls into it."""

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

T = TypeVar("T")
Call = Callable[[], None]


class Calls:
    """What other threads and signal handlers hand to the loop: calls to make, in order."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Call] = SimpleQueue()
        self.put: Callable[[Call], None] = self._calls.put  # reentrant: safe in a signal handler

    def take(self, timeout_s: float | None) -> Call | None:
        """The next call; None when the time is up. The only place where the daemon waits."""
        try:
            # Up to Python 3.12 the first wait after a call waits for ever where its time is over before it began to
            # wait: it finds the queue's lock free, and takes what is left, less than nothing, for no limit. Looking
            # without waiting takes that lock.
            return self._calls.get_nowait()
        except Empty:
            pass
        try:
            return self._calls.get(timeout=timeout_s)
        except Empty:
            return None

    def fetch(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Do `work`, which never raises, in a thread of its own; then `then` with its result, on the loop's."""

        def body() -> None:
            result = work()
            self.put(lambda: then(result))

        self.start(body)

    def start(self, body: Call) -> None:
        """A thread that holds nothing up: it ends with the process."""
        Thread(target=body, daemon=True).start()
