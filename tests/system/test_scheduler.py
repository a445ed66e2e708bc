"""`schedule` has traps; each is sprung here, under a clock that does what clocks do."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
import schedule
from freezegun import freeze_time

from tests.world import Machine
from watcher.system.scheduler import Scheduler, WorkQueue

MINUTE = timedelta(minutes=1)


@pytest.fixture
def machine():
    with freeze_time("2026-10-25 00:30:00") as frozen:
        yield Machine(frozen, datetime(2026, 10, 25, 0, 30, tzinfo=UTC))


@pytest.fixture
def failures():
    return []


@pytest.fixture
def timetable(machine, failures):
    return Scheduler(machine, lambda name, error: failures.append((name, str(error))))


def run_due(timetable):
    step = timetable.adjust_to_clock()
    timetable.run_due_jobs()
    return step


def test_a_job_runs_once_when_it_is_due(machine, timetable):
    ran = []
    timetable.schedule_at("poll", machine.now() + 5 * MINUTE, lambda: ran.append(machine.now()))
    run_due(timetable)
    assert ran == []
    assert timetable.idle_s() == pytest.approx(300)
    machine.passes(5 * MINUTE)
    run_due(timetable)
    run_due(timetable)
    assert len(ran) == 1
    assert timetable.idle_s() is None


def test_putting_a_job_again_replaces_it(machine, timetable):
    ran = []
    timetable.schedule_at("poll", machine.now() + 5 * MINUTE, lambda: ran.append("old"))
    timetable.schedule_at("poll", machine.now() + 1 * MINUTE, lambda: ran.append("new"))
    machine.passes(6 * MINUTE)
    run_due(timetable)
    assert ran == ["new"]


def test_a_job_may_put_itself_again(machine, timetable):
    ran = []

    def poll():
        ran.append(machine.now())
        timetable.schedule_at("poll", machine.now() + 5 * MINUTE, poll)

    timetable.schedule_at("poll", machine.now() + 5 * MINUTE, poll)
    for _ in range(3):
        machine.passes(5 * MINUTE)
        run_due(timetable)
    assert len(ran) == 3


def test_an_exception_in_one_job_is_reported_and_skips_no_other(machine, timetable, failures):
    ran = []

    def broken():
        raise ValueError("boom")

    timetable.schedule_at("a", machine.now() + MINUTE, broken)
    timetable.schedule_at("b", machine.now() + MINUTE, lambda: ran.append("b"))
    machine.passes(MINUTE)
    run_due(timetable)
    assert ran == ["b"]
    assert failures == [("a", "boom")]


def test_the_end_of_daylight_saving_delays_nothing(machine, timetable):
    machine.changes_zone(timedelta(hours=2))
    run_due(timetable)
    ran = []
    timetable.schedule_at("poll", machine.now() + 5 * MINUTE, lambda: ran.append(machine.now()))
    machine.passes(4 * MINUTE)
    machine.changes_zone(timedelta(hours=-1))  # local time says an hour earlier
    run_due(timetable)
    assert timetable.idle_s() == pytest.approx(60)
    machine.passes(1 * MINUTE)
    run_due(timetable)
    assert len(ran) == 1


def test_a_clock_set_back_an_hour_delays_nothing(machine, timetable):
    ran = []
    timetable.schedule_at("poll", machine.now() + 5 * MINUTE, lambda: ran.append(machine.now()))
    machine.set_by(timedelta(hours=-1))
    assert run_due(timetable) == timedelta(hours=-1)
    machine.passes(5 * MINUTE)
    run_due(timetable)
    assert len(ran) == 1


def test_after_a_suspend_of_eight_hours_everything_overdue_runs_once_at_once(machine, timetable):
    ran = []
    timetable.schedule_at("poll", machine.now() + 5 * MINUTE, lambda: ran.append("poll"))
    timetable.schedule_at("beat", machine.now() + 1 * MINUTE, lambda: ran.append("beat"))
    machine.sleeps(timedelta(hours=8))
    step = run_due(timetable)
    assert step == timedelta(hours=8)
    for _ in range(3):
        machine.passes(timedelta(seconds=1))
        run_due(timetable)
    assert sorted(ran) == ["beat", "poll"]


@pytest.mark.parametrize("moved", ["sleeps", "set_by"])
def test_what_comes_after_a_span_waits_for_that_span_whatever_the_clock_does(machine, timetable, moved):
    ran = []
    timetable.schedule_after("end of round claude", 10 * MINUTE, lambda: ran.append("given up"))
    machine.passes(4 * MINUTE)
    getattr(machine, moved)(timedelta(hours=8))
    run_due(timetable)
    machine.passes(5 * MINUTE)
    run_due(timetable)
    assert ran == []
    machine.passes(1 * MINUTE)
    run_due(timetable)
    assert ran == ["given up"]


def test_a_job_long_overdue_never_loops(machine, timetable):
    ran = []
    timetable.schedule_at("poll", machine.now() - timedelta(days=1), lambda: ran.append("poll"))
    machine.passes(timedelta(seconds=1))
    run_due(timetable)
    assert ran == ["poll"]


def test_the_start_of_daylight_saving_brings_nothing_forward(machine, timetable):
    ran = []
    timetable.schedule_at("poll", machine.now() + 30 * MINUTE, lambda: ran.append(machine.now()))
    machine.changes_zone(timedelta(hours=1))  # local time says an hour later
    run_due(timetable)
    assert ran == []
    assert timetable.idle_s() == pytest.approx(30 * 60)
    machine.passes(30 * MINUTE)
    run_due(timetable)
    assert len(ran) == 1


def test_a_clock_set_on_an_hour_runs_what_is_overdue_once(machine, timetable):
    ran = []
    timetable.schedule_at("poll", machine.now() + 5 * MINUTE, lambda: ran.append("poll"))
    timetable.schedule_at("later", machine.now() + 90 * MINUTE, lambda: ran.append("later"))
    machine.set_by(timedelta(hours=1))
    assert run_due(timetable) == timedelta(hours=1)
    machine.passes(timedelta(seconds=1))
    run_due(timetable)
    run_due(timetable)
    assert ran == ["poll"]
    machine.passes(30 * MINUTE)
    run_due(timetable)
    assert ran == ["poll", "later"]


@pytest.mark.parametrize("due_in", [timedelta(0), timedelta(microseconds=1), timedelta(days=-400)])
def test_no_interval_is_too_short_for_the_library(machine, timetable, due_in):
    ran = []
    timetable.schedule_at("now", machine.now() + due_in, lambda: ran.append("now"))
    machine.passes(timedelta(milliseconds=2))
    run_due(timetable)
    assert ran == ["now"]


def test_the_wait_is_none_without_jobs_and_never_negative(machine, timetable):
    assert timetable.idle_s() is None
    timetable.schedule_at("poll", machine.now() + MINUTE, lambda: None)
    machine.passes(timedelta(hours=3))
    assert timetable.idle_s() == 0
    timetable.cancel("poll")
    timetable.cancel("poll")
    assert timetable.idle_s() is None


def test_a_job_that_takes_long_delays_the_others_and_piles_nothing_up(machine, timetable):
    ran = []

    def slow():
        ran.append("slow")
        machine.passes(20 * MINUTE)

    def often():
        ran.append("often")
        timetable.schedule_at("often", machine.now() + MINUTE, often)

    timetable.schedule_at("slow", machine.now() + MINUTE, slow)
    timetable.schedule_at("often", machine.now() + 2 * MINUTE, often)
    machine.passes(MINUTE)
    for _ in range(3):
        run_due(timetable)
    assert ran == ["slow", "often"]
    assert timetable.idle_s() == pytest.approx(60)


def test_a_job_that_is_put_again_by_a_job_of_the_same_tick_runs_once(machine, timetable):
    ran = []
    timetable.schedule_at(
        "a", machine.now() + MINUTE, lambda: timetable.schedule_at("b", machine.now(), lambda: ran.append("new"))
    )
    timetable.schedule_at("b", machine.now() + 2 * MINUTE, lambda: ran.append("old"))
    machine.passes(3 * MINUTE)
    run_due(timetable)
    machine.passes(timedelta(milliseconds=2))
    run_due(timetable)
    run_due(timetable)
    assert ran == ["new"]


def test_a_job_taken_away_by_another_of_the_same_tick_does_not_run(machine, timetable):
    ran = []
    timetable.schedule_at("a", machine.now() + MINUTE, lambda: timetable.cancel("b"))
    timetable.schedule_at("b", machine.now() + 2 * MINUTE, lambda: ran.append("b"))
    machine.passes(3 * MINUTE)
    run_due(timetable)
    assert ran == []


def test_the_librarys_own_scheduler_is_left_to_others(machine, timetable):
    timetable.schedule_at("poll", machine.now() + MINUTE, lambda: None)
    assert schedule.get_jobs() == []


def test_what_threads_find_is_dealt_with_on_the_loops_own_thread():
    calls, here = WorkQueue(), []
    calls.run_in_thread(threading.get_ident, lambda there: here.extend([there, threading.get_ident()]))
    calls.get(10)()
    assert here[0] != here[1] == threading.get_ident()
