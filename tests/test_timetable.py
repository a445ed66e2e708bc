"""`schedule` has traps; each is sprung here, under a clock that does what clocks do."""

from datetime import UTC, datetime, timedelta

import pytest
from freezegun import freeze_time

from watcher.clock import Clock
from watcher.timetable import Timetable

MINUTE = timedelta(minutes=1)


class Machine(Clock):
    """A machine whose wall clock, zone and monotonic clock are set by hand; `schedule` sees the frozen wall clock."""

    def __init__(self, frozen, at):
        self.frozen = frozen
        self.utc = at
        self.local = timedelta(0)
        self.alive = timedelta(0)
        self._show()

    def _show(self):
        self.frozen.move_to((self.utc + self.local).replace(tzinfo=None))

    def now(self):
        return self.utc

    def ahead(self):
        return self.utc - datetime(1970, 1, 1, tzinfo=UTC) - self.alive

    def zone(self):
        return self.local

    def passes(self, span):
        self.utc += span
        self.alive += span
        self._show()

    def sleeps(self, span):
        self.utc += span
        self._show()

    def is_set(self, span):
        self.utc += span
        self._show()

    def changes_zone(self, span):
        self.local += span
        self._show()


@pytest.fixture
def machine():
    with freeze_time("2026-10-25 00:30:00") as frozen:
        yield Machine(frozen, datetime(2026, 10, 25, 0, 30, tzinfo=UTC))


@pytest.fixture
def failures():
    return []


@pytest.fixture
def timetable(machine, failures):
    return Timetable(machine, lambda name, error: failures.append((name, str(error))))


def test_a_job_runs_once_when_it_is_due(machine, timetable):
    ran = []
    timetable.put("poll", machine.now() + 5 * MINUTE, lambda: ran.append(machine.now()))
    timetable.run_due()
    assert ran == []
    assert timetable.idle_s() == pytest.approx(300)
    machine.passes(5 * MINUTE)
    timetable.run_due()
    timetable.run_due()
    assert len(ran) == 1
    assert timetable.idle_s() is None


def test_putting_a_job_again_replaces_it(machine, timetable):
    ran = []
    timetable.put("poll", machine.now() + 5 * MINUTE, lambda: ran.append("old"))
    timetable.put("poll", machine.now() + 1 * MINUTE, lambda: ran.append("new"))
    machine.passes(6 * MINUTE)
    timetable.run_due()
    assert ran == ["new"]


def test_a_job_may_put_itself_again(machine, timetable):
    ran = []

    def poll():
        ran.append(machine.now())
        timetable.put("poll", machine.now() + 5 * MINUTE, poll)

    timetable.put("poll", machine.now() + 5 * MINUTE, poll)
    for _ in range(3):
        machine.passes(5 * MINUTE)
        timetable.run_due()
    assert len(ran) == 3


def test_an_exception_in_one_job_is_reported_and_skips_no_other(machine, timetable, failures):
    ran = []

    def broken():
        raise ValueError("boom")

    timetable.put("a", machine.now() + MINUTE, broken)
    timetable.put("b", machine.now() + MINUTE, lambda: ran.append("b"))
    machine.passes(MINUTE)
    timetable.run_due()
    assert ran == ["b"]
    assert failures == [("a", "boom")]


def test_the_end_of_daylight_saving_delays_nothing(machine, timetable):
    machine.changes_zone(timedelta(hours=2))
    timetable.run_due()
    ran = []
    timetable.put("poll", machine.now() + 5 * MINUTE, lambda: ran.append(machine.now()))
    machine.passes(4 * MINUTE)
    machine.changes_zone(timedelta(hours=-1))  # local time says an hour earlier
    timetable.run_due()
    assert timetable.idle_s() == pytest.approx(60)
    machine.passes(1 * MINUTE)
    timetable.run_due()
    assert len(ran) == 1


def test_a_clock_set_back_an_hour_delays_nothing(machine, timetable):
    ran = []
    timetable.put("poll", machine.now() + 5 * MINUTE, lambda: ran.append(machine.now()))
    machine.is_set(timedelta(hours=-1))
    assert timetable.run_due() == timedelta(hours=-1)
    machine.passes(5 * MINUTE)
    timetable.run_due()
    assert len(ran) == 1


def test_after_a_suspend_of_eight_hours_everything_overdue_runs_once_at_once(machine, timetable):
    ran = []
    timetable.put("poll", machine.now() + 5 * MINUTE, lambda: ran.append("poll"))
    timetable.put("beat", machine.now() + 1 * MINUTE, lambda: ran.append("beat"))
    machine.sleeps(timedelta(hours=8))
    step = timetable.run_due()
    assert step == timedelta(hours=8)
    for _ in range(3):
        machine.passes(timedelta(seconds=1))
        timetable.run_due()
    assert sorted(ran) == ["beat", "poll"]


def test_a_job_long_overdue_never_loops(machine, timetable):
    ran = []
    timetable.put("poll", machine.now() - timedelta(days=1), lambda: ran.append("poll"))
    machine.passes(timedelta(seconds=1))
    timetable.run_due()
    assert ran == ["poll"]
