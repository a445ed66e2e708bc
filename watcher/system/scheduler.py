"""The daemon's timetable: named jobs, each due at an instant, driven by one private `schedule.Scheduler`.

The instants are kept here in UTC, because `schedule` counts in naive local time: a night in autumn, a clock that is
set, a laptop that slept would each move its jobs. They all show as a step between the wall clock and the monotonic
one; then every job is put anew. Jobs are wrapped so that nothing escapes. Never decide here *when* something is due.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

import schedule

from watcher.system.clock import Clock

CLOCK_STEP_THRESHOLD = timedelta(seconds=5)  # less is drift; more is a step
_MIN_WAIT_S = 0.001  # schedule loops for ever on an interval of 0


class _Job(NamedTuple):
    due_at: datetime
    job: Callable[[], None]
    is_relative: bool  # due after a span of this process' time, not at an instant: it moves along with the clock


class Scheduler:
    """Jobs by name; one name, one job: a later `put` replaces the earlier."""

    def __init__(self, clock: Clock, on_error: Callable[[str, Exception], None]) -> None:
        self._clock = clock
        self._on_error = on_error
        self._backend = schedule.Scheduler()
        self._jobs: dict[str, _Job] = {}
        self._wall_offset, self._utc_offset = clock.wall_offset(), clock.utc_offset()

    def schedule_after(self, name: str, delay: timedelta, job: Callable[[], None]) -> None:
        """Do `job` once when `delay` has passed for this process: neither a sleep nor a clock that is set counts."""
        self._schedule(name, _Job(self._clock.now() + delay, job, is_relative=True))

    def schedule_at(self, name: str, due_at: datetime, job: Callable[[], None]) -> None:
        """Do `job` once at `due_at`, or at the next run where that has passed."""
        self._schedule(name, _Job(due_at, job, is_relative=False))

    def _schedule(self, name: str, entry: "_Job") -> None:
        self._backend.clear(name)
        self._jobs[name] = entry
        wait_s = max(self._clock.to_real_seconds(entry.due_at - self._clock.now()), _MIN_WAIT_S)
        # a float is what timedelta wants; the library's annotation is narrower than its code
        self._backend.every(wait_s).seconds.do(self._run_job, name).tag(name)  # type: ignore[arg-type]

    def cancel(self, name: str) -> None:
        """Forget a job; nothing happens where there is none."""
        self._backend.clear(name)
        self._jobs.pop(name, None)

    def get_due_at(self, name: str) -> datetime | None:
        """When a job is due; None where there is none."""
        entry = self._jobs.get(name)
        return None if entry is None else entry.due_at

    def adjust_to_clock(self) -> timedelta:
        """Move the jobs where the wall clock stepped or the zone changed. Returns the step: nearly always zero."""
        ahead, zone = self._clock.wall_offset(), self._clock.utc_offset()
        step = ahead - self._wall_offset
        if abs(step) >= CLOCK_STEP_THRESHOLD or zone != self._utc_offset:
            back = min(step, timedelta(0))  # set back: the old instants lie an hour too late; on: overdue is overdue
            for name, entry in list(self._jobs.items()):
                self._schedule(name, entry._replace(due_at=entry.due_at + (step if entry.is_relative else back)))
        self._wall_offset, self._utc_offset = ahead, zone
        return step if abs(step) >= CLOCK_STEP_THRESHOLD else timedelta(0)

    def run_due_jobs(self) -> None:
        """Run the jobs that are due."""
        self._backend.run_pending()

    def idle_s(self) -> float | None:
        """Seconds of the machine's time until the next job; None where there is none."""
        idle_s = self._backend.idle_seconds
        return None if idle_s is None else max(idle_s, 0.0)

    def _run_job(self, name: str) -> type[schedule.CancelJob]:
        entry = self._jobs.get(name)
        if entry is not None:
            if entry.due_at > self._clock.now():  # rounded down by the library's clock: put it again for the rest
                self._schedule(name, entry)
            else:
                self.cancel(name)
                try:
                    entry.job()
                except Exception as error:  # noqa: BLE001 - the wrapper that keeps the loop alive
                    self._on_error(name, error)
        return schedule.CancelJob
