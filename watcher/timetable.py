"""The daemon's timetable: named jobs, each due at an instant, driven by one private `schedule.Scheduler`.

The instants are kept here in UTC, because `schedule` counts in naive local time: a night in autumn, a clock that is
set, a laptop that slept would each move its jobs. They all show as a step between the wall clock and the monotonic
one; then every job is put anew. Jobs are wrapped so that nothing escapes. Never decide here *when* something is due.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import schedule

from watcher.clock import Clock

STEP = timedelta(seconds=5)  # less is drift; more is a step
_SHORTEST_S = 0.001  # schedule loops for ever on an interval of 0


class Timetable:
    """Jobs by name; one name, one job: a later `put` replaces the earlier."""

    def __init__(self, clock: Clock, on_error: Callable[[str, Exception], None]) -> None:
        self._clock = clock
        self._on_error = on_error
        self._scheduler = schedule.Scheduler()
        self._due: dict[str, tuple[datetime, Callable[[], None]]] = {}
        self._spans: set[str] = set()  # jobs that come after a span of time, not at an instant
        self._ahead, self._zone = clock.ahead(), clock.zone()

    def put_after(self, name: str, span: timedelta, job: Callable[[], None]) -> None:
        """Do `job` once when `span` has passed for this process: neither a sleep nor a clock that is set counts."""
        self.put(name, self._clock.now() + span, job)
        self._spans.add(name)

    def put(self, name: str, due: datetime, job: Callable[[], None]) -> None:
        """Do `job` once at `due`, or at the next run where that has passed."""
        self._scheduler.clear(name)
        self._spans.discard(name)
        self._due[name] = due, job
        wait_s = max(self._clock.machine_s(due - self._clock.now()), _SHORTEST_S)
        # a float is what timedelta wants; the library's annotation is narrower than its code
        self._scheduler.every(wait_s).seconds.do(self._run, name).tag(name)  # type: ignore[arg-type]

    def take_away(self, name: str) -> None:
        """Forget a job; nothing happens where there is none."""
        self._scheduler.clear(name)
        self._due.pop(name, None)

    def due(self, name: str) -> datetime | None:
        """When a job is due; None where there is none."""
        entry = self._due.get(name)
        return None if entry is None else entry[0]

    def run_due(self) -> timedelta:
        """Run what is due. Returns how far the wall clock stepped since the last call: mostly nothing."""
        ahead, zone = self._clock.ahead(), self._clock.zone()
        step = ahead - self._ahead
        if abs(step) >= STEP or zone != self._zone:
            back = min(step, timedelta(0))  # set back: the old instants lie an hour too late; on: overdue is overdue
            for name, (due, job) in list(self._due.items()):
                if name in self._spans:
                    self.put_after(name, due + step - self._clock.now(), job)
                else:
                    self.put(name, due + back, job)
        self._ahead, self._zone = ahead, zone
        self._scheduler.run_pending()
        return step if abs(step) >= STEP else timedelta(0)

    def _put_again(self, name: str, due: datetime, job: Callable[[], None]) -> None:
        is_span = name in self._spans
        self.put(name, due, job)
        if is_span:
            self._spans.add(name)

    def idle_s(self) -> float | None:
        """Seconds of the machine's time until the next job; None where there is none."""
        idle_s = self._scheduler.idle_seconds
        return None if idle_s is None else max(idle_s, 0.0)

    def _run(self, name: str) -> type[schedule.CancelJob]:
        entry = self._due.get(name)
        if entry is not None:
            due, job = entry
            if due > self._clock.now():  # rounded down by the library's clock: put it again for the rest
                self._put_again(name, due, job)
            else:
                self.take_away(name)
                try:
                    job()
                except Exception as error:  # noqa: BLE001 - the wrapper that keeps the loop alive
                    self._on_error(name, error)
        return schedule.CancelJob
