"""A clock that runs many times faster than the machine's, and stands still while the daemon is at work.

Never read the machine's clock elsewhere in the demonstration: providers, daemon, rules and picture share this one.
"""

import math
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from watcher.calls import Call, Calls
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
        self._until_s = math.inf  # no further than this, however late the machine looks again

    def now(self) -> datetime:
        """This simulated instant."""
        with self._lock:
            machine_s = self._since_s if self._holders else self._moved_on()
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
                self._since_s = self._moved_on()
            self._holders += 1

    def release(self, at_most_s: float | None = None) -> None:
        """Time goes on when the last holder lets go, for so many seconds of the machine's at most."""
        with self._lock:
            self._holders -= 1
            if not self._holders:
                machine_s = self._machine()
                self._held_s += machine_s - self._since_s
                self._until_s = math.inf if at_most_s is None else machine_s + at_most_s

    def _moved_on(self) -> float:
        return min(self._machine(), self._until_s)


class HeldCalls(Calls):
    """The daemon's queue, where time passes only while the daemon waits, and never longer than it meant to.

    Otherwise an answer of twenty milliseconds, or a machine that is busy elsewhere, would take half a simulated hour.
    """

    def __init__(self, clock: FastClock) -> None:
        super().__init__()
        self._clock = clock
        clock.hold()

    def take(self, timeout_s: float | None) -> Call | None:
        """As the daemon's own; time goes on meanwhile, unless a piece of work is under way."""
        self._clock.release(timeout_s)
        try:
            return super().take(timeout_s)
        finally:
            self._clock.hold()

    def fetch(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """As the daemon's own, at one simulated instant."""

        def finish(result: T) -> None:
            try:
                then(result)
            finally:
                self._clock.release()

        self._clock.hold()
        super().fetch(work, finish)
