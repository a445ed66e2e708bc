from datetime import UTC, datetime, timedelta
from queue import SimpleQueue

import pytest

from watcher.demo.clock import FastClock, HeldCalls

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Machine:
    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


def test_it_runs_as_many_times_faster_as_told() -> None:
    machine = Machine()
    clock = FastClock(NOON, 60, machine)
    machine.s += 2
    assert clock.now() == NOON + timedelta(minutes=2)
    assert clock.machine_s(timedelta(hours=1)) == 60


def test_it_stands_still_while_anybody_holds_it() -> None:
    machine = Machine()
    clock = FastClock(NOON, 60, machine)
    clock.hold()
    clock.hold()
    machine.s += 5
    clock.release()
    machine.s += 5
    assert clock.now() == NOON
    clock.release()
    machine.s += 1
    assert clock.now() == NOON + timedelta(minutes=1)


def test_it_never_steps() -> None:
    machine = Machine()
    clock = FastClock(NOON, 60, machine)
    before = clock.ahead(), clock.zone()
    machine.s += 1000
    assert (clock.ahead(), clock.zone()) == before


def test_work_of_the_daemon_takes_no_simulated_time_even_where_it_fails() -> None:
    machine = Machine()
    clock = FastClock(NOON, 60, machine)
    calls = HeldCalls(clock)
    seen: SimpleQueue[datetime] = SimpleQueue()

    def work() -> str:
        machine.s += 3
        return "answer"

    def then(answer: str) -> None:
        assert answer == "answer"
        seen.put(clock.now())
        raise RuntimeError("whatever happens to the result")

    calls.fetch(work, then)
    call = calls.take(5)
    assert call is not None
    with pytest.raises(RuntimeError):
        call()
    assert seen.get() == NOON


def test_time_passes_only_while_the_daemon_waits_and_never_longer_than_it_meant_to() -> None:
    machine = Machine()
    clock = FastClock(NOON, 60, machine)
    calls = HeldCalls(clock)
    machine.s += 5  # the loop is busy
    assert clock.now() == NOON
    clock.release(2)  # it waits for two seconds, and is woken after nine
    machine.s += 1
    assert clock.now() == NOON + timedelta(minutes=1)
    machine.s += 8
    assert clock.now() == NOON + timedelta(minutes=2)
    clock.hold()
    machine.s += 3
    assert calls.take(0) is None
    assert clock.now() == NOON + timedelta(minutes=2)
