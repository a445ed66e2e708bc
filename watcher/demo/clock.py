"""A clock that runs many times faster than the machine's, and stands still while the daemon is at work.

Never read the machine's clock elsewhere in the demonstration: providers, daemon, rules and picture share this one.
"""

import math
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from watcher.system.clock import Clock, monotonic_s
from watcher.system.work_queue import Callback, WorkQueue

T = TypeVar("T")


class FastClock(Clock):
    """Starts at an instant of its own and never steps."""

    def __init__(self, starts_at: datetime, speed: float, machine_clock: Callable[[], float] = monotonic_s) -> None:
        self._starts_at, self._speed, self._monotonic_s = starts_at, speed, machine_clock
        self._lock = threading.Lock()
        self._started_s = machine_clock()
        self._paused_total_s = 0.0  # stood still so far
        self._pause_count = 0
        self._paused_at_s = 0.0  # when it last came to stand still
        self._runs_until_s = math.inf  # no further than this, however late the machine looks again

    def now(self) -> datetime:
        """This simulated instant."""
        with self._lock:
            machine_s = self._paused_at_s if self._pause_count else self._read_machine_s()
            return self._starts_at + timedelta(
                seconds=(machine_s - self._started_s - self._paused_total_s) * self._speed
            )

    def to_real_seconds(self, span: timedelta) -> float:
        """How long the machine waits for `span`, standstills aside."""
        return span.total_seconds() / self._speed

    def wall_offset(self) -> timedelta:
        """Nobody sets this clock, and it does not sleep."""
        return timedelta(0)

    def utc_offset(self) -> timedelta:
        """Nor does the zone change."""
        return timedelta(0)

    def pause(self) -> None:
        """Time stands still from here; several may hold it at once."""
        with self._lock:
            if not self._pause_count:
                self._paused_at_s = self._read_machine_s()
            self._pause_count += 1

    def resume(self, run_at_most_s: float | None = None) -> None:
        """Time goes on when the last holder lets go, for so many seconds of the machine's at most."""
        with self._lock:
            self._pause_count -= 1
            if not self._pause_count:
                machine_s = self._monotonic_s()
                self._paused_total_s += machine_s - self._paused_at_s
                self._runs_until_s = math.inf if run_at_most_s is None else machine_s + run_at_most_s

    def _read_machine_s(self) -> float:
        return min(self._monotonic_s(), self._runs_until_s)


class SimulatedWorkQueue(WorkQueue):
    """The daemon's queue, where time passes only while the daemon waits, and never longer than it meant to.

    Otherwise an answer of twenty milliseconds, or a machine that is busy elsewhere, would take half a simulated hour.
    """

    def __init__(self, clock: FastClock) -> None:
        super().__init__()
        self._clock = clock
        clock.pause()

    def get(self, timeout_s: float | None) -> Callback | None:
        """As the daemon's own; time goes on meanwhile, unless a piece of work is under way."""
        self._clock.resume(timeout_s)
        try:
            return super().get(timeout_s)
        finally:
            self._clock.pause()

    def run_in_thread(self, work: Callable[[], T], on_done: Callable[[T], None]) -> None:
        """As the daemon's own, at one simulated instant."""

        def finish(result: T) -> None:
            try:
                on_done(result)
            finally:
                self._clock.resume()

        self._clock.pause()
        super().run_in_thread(work, finish)
