"""A clock that runs many times faster than the machine's, and stops while the daemon is working.

Everything in the demonstration uses this clock: providers, daemon, rules and display.
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
    """Starts at a given instant and never steps."""

    def __init__(self, starts_at: datetime, speed: float, machine_clock: Callable[[], float] = monotonic_s) -> None:
        self._starts_at, self._speed, self._monotonic_s = starts_at, speed, machine_clock
        self._lock = threading.Lock()
        self._started_s = machine_clock()
        self._paused_total_s = 0.0  # so far
        self._pause_count = 0
        self._paused_at_s = 0.0  # when the last pause began
        self._runs_until_s = math.inf  # it stops there, even if the next call comes later

    def now(self) -> datetime:
        """The simulated instant."""
        with self._lock:
            machine_s = self._paused_at_s if self._pause_count else self._read_machine_s()
            return self._starts_at + timedelta(
                seconds=(machine_s - self._started_s - self._paused_total_s) * self._speed
            )

    def to_real_seconds(self, span: timedelta) -> float:
        """How long the machine waits for `span`, apart from pauses."""
        return span.total_seconds() / self._speed

    def wall_offset(self) -> timedelta:
        """Zero: this clock is never set and never suspended."""
        return timedelta(0)

    def utc_offset(self) -> timedelta:
        """Zero: the zone does not change."""
        return timedelta(0)

    def pause(self) -> None:
        """Stop the clock; several callers may do so at once."""
        with self._lock:
            if not self._pause_count:
                self._paused_at_s = self._read_machine_s()
            self._pause_count += 1

    def resume(self, run_at_most_s: float | None = None) -> None:
        """Start the clock if no other caller holds it, for at most so many real seconds."""
        with self._lock:
            self._pause_count -= 1
            if not self._pause_count:
                machine_s = self._monotonic_s()
                self._paused_total_s += machine_s - self._paused_at_s
                self._runs_until_s = math.inf if run_at_most_s is None else machine_s + run_at_most_s

    def _read_machine_s(self) -> float:
        return min(self._monotonic_s(), self._runs_until_s)


class SimulatedWorkQueue(WorkQueue):
    """The daemon's queue, in which time passes only while the daemon waits, and at most as long as it intends to.

    Otherwise an answer of twenty milliseconds, or a busy machine, would take half a simulated hour.
    """

    def __init__(self, clock: FastClock) -> None:
        super().__init__()
        self._clock = clock
        clock.pause()

    def get(self, timeout_s: float | None) -> Callback | None:
        """As the daemon's own; the clock runs meanwhile, unless work is in progress."""
        self._clock.resume(timeout_s)
        try:
            return super().get(timeout_s)
        finally:
            self._clock.pause()

    def run_in_thread(self, work: Callable[[], T], on_done: Callable[[T], None]) -> None:
        """As the daemon's own; the clock stops until the work is done."""

        def finish(result: T) -> None:
            try:
                on_done(result)
            finally:
                self._clock.resume()

        self._clock.pause()
        super().run_in_thread(work, finish)
