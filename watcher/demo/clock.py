"""A clock that runs many times faster than the machine's, and stands still while the daemon is at work.

Never read the machine's clock elsewhere in the demonstration: providers, daemon, rules and picture share this one.
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from watcher.calls import Calls
from watcher.clock import Clock, monotonic_s

T = TypeVar("T")


class FastClock(Clock):
    """Starts at an instant of its own and never steps."""

    def __init__(self, starts_at: datetime, speed: float, machine: Callable[[], float] = monotonic_s) -> None:
        self._starts_at, self._speed, self._machine = starts_at, speed, machine
        self._lock = threading.Lock()
        self._began_s = machine()
        self._held_s = 0.0  # stood still so far
        self._holders = 0
        self._since_s = 0.0  # when it last came to stand still

    def now(self) -> datetime:
        """This simulated instant."""
        with self._lock:
            machine_s = self._since_s if self._holders else self._machine()
            return self._starts_at + timedelta(seconds=(machine_s - self._began_s - self._held_s) * self._speed)

    def machine_s(self, span: timedelta) -> float:
        """How long the machine waits for `span`, standstills aside."""
        return span.total_seconds() / self._speed

    def ahead(self) -> timedelta:
        """Nobody sets this clock, and it does not sleep."""
        return timedelta(0)

    def zone(self) -> timedelta:
        """Nor does the zone change."""
        return timedelta(0)

    def hold(self) -> None:
        """Time stands still from here; several may hold it at once."""
        with self._lock:
            if not self._holders:
                self._since_s = self._machine()
            self._holders += 1

    def release(self) -> None:
        """Time goes on when the last holder lets go."""
        with self._lock:
            self._holders -= 1
            if not self._holders:
                self._held_s += self._machine() - self._since_s


class HeldCalls(Calls):
    """The daemon's queue, where time stands still from the beginning of a piece of work until its result is dealt with.

    Otherwise an answer of twenty milliseconds, or a thread that starts late, would take half a simulated minute.
    """

    def __init__(self, clock: FastClock) -> None:
        super().__init__()
        self._clock = clock

    def fetch(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """As the daemon's own, at one simulated instant."""

        def finish(result: T) -> None:
            try:
                then(result)
            finally:
                self._clock.release()

        self._clock.hold()
        super().fetch(work, finish)
