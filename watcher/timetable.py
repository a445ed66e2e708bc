"""The daemon's timetable: named jobs, each due at an instant, driven by one private `schedule.Scheduler`.

The instants are kept here in UTC, because `schedule` counts in naive local time: a night in autumn, a clock that is
set, a laptop that slept would each move its jobs. They all show as a step between the wall clock and the monotonic
one; then every job is put anew. Jobs are wrapped so that nothing escapes. Never decide here *when* something is due.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

import schedule

from watcher.clock import Clock

STEP = timedelta(seconds=5)  # less is drift; more is a step
_SHORTEST_S = 0.001  # schedule loops for ever on an interval of 0


class _Job(NamedTuple):
    due: datetime
    job: Callable[[], None]
    is_span: bool  # due after a span of this process' time, not at an instant: it moves along with the clock


class Timetable:
    """Jobs by name; one name, one job: a later `put` replaces the earlier."""

    def __init__(self, clock: Clock, on_error: Callable[[str, Exception], None]) -> None:
        self._clock = clock
        self._on_error = on_error
        self._scheduler = schedule.Scheduler()
        self._jobs: dict[str, _Job] = {}
        self._ahead, self._zone = clock.ahead(), clock.zone()

    def put_after(self, name: str, span: timedelta, job: Callable[[], None]) -> None:
        """Do `job` once when `span` has passed for this process: neither a sleep nor a clock that is set counts."""
        self._put(name, _Job(self._clock.now() + span, job, is_span=True))

    def put(self, name: str, due: datetime, job: Callable[[], None]) -> None:
        """Do `job` once at `due`, or at the next run where that has passed."""
        self._put(name, _Job(due, job, is_span=False))

    def _put(self, name: str, entry: "_Job") -> None:
        self._scheduler.clear(name)
        self._jobs[name] = entry
        wait_s = max(self._clock.machine_s(entry.due - self._clock.now()), _SHORTEST_S)
        # a float is what timedelta wants; the library's annotation is narrower than its code
        self._scheduler.every(wait_s).seconds.do(self._run, name).tag(name)  # type: ignore[arg-type]

    def take_away(self, name: str) -> None:
        """Forget a job; nothing happens where there is none."""
        self._scheduler.clear(name)
        self._jobs.pop(name, None)

    def due(self, name: str) -> datetime | None:
        """When a job is due; None where there is none."""
        entry = self._jobs.get(name)
        return None if entry is None else entry.due

    def run_due(self) -> timedelta:
        """Run what is due. Returns how far the wall clock stepped since the last call: mostly nothing."""
        ahead, zone = self._clock.ahead(), self._clock.zone()
        step = ahead - self._ahead
        if abs(step) >= STEP or zone != self._zone:
            back = min(step, timedelta(0))  # set back: the old instants lie an hour too late; on: overdue is overdue
            for name, entry in list(self._jobs.items()):
                self._put(name, entry._replace(due=entry.due + (step if entry.is_span else back)))
        self._ahead, self._zone = ahead, zone
        self._scheduler.run_pending()
        return step if abs(step) >= STEP else timedelta(0)

    def idle_s(self) -> float | None:
        """Seconds of the machine's time until the next job; None where there is none."""
        idle_s = self._scheduler.idle_seconds
        return None if idle_s is None else max(idle_s, 0.0)

    def _run(self, name: str) -> type[schedule.CancelJob]:
        entry = self._jobs.get(name)
        if entry is not None:
            if entry.due > self._clock.now():  # rounded down by the library's clock: put it again for the rest
                self._put(name, entry)
            else:
                self.take_away(name)
                try:
                    entry.job()
                except Exception as error:  # noqa: BLE001 - the wrapper that keeps the loop alive
                    self._on_error(name, error)
        return schedule.CancelJob
