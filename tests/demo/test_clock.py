from datetime import UTC, datetime, timedelta
from queue import SimpleQueue

import pytest

from watcher.demo.simulation import FastClock, SimulatedWorkQueue

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Machine:
    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


def test_it_runs_at_its_speed() -> None:
    machine = Machine()
    clock = FastClock(NOON, 60, machine)
    machine.s += 2
    assert clock.now() == NOON + timedelta(minutes=2)
    assert clock.to_real_seconds(timedelta(hours=1)) == 60


def test_it_stops_while_it_is_paused() -> None:
    machine = Machine()
    clock = FastClock(NOON, 60, machine)
    clock.pause()
    clock.pause()
    machine.s += 5
    clock.resume()
    machine.s += 5
    assert clock.now() == NOON
    clock.resume()
    machine.s += 1
    assert clock.now() == NOON + timedelta(minutes=1)


def test_it_never_steps() -> None:
    machine = Machine()
    clock = FastClock(NOON, 60, machine)
    before = clock.wall_offset(), clock.utc_offset()
    machine.s += 1000
    assert (clock.wall_offset(), clock.utc_offset()) == before


def test_work_of_the_daemon_takes_no_simulated_time_even_where_it_fails() -> None:
    machine = Machine()
    clock = FastClock(NOON, 60, machine)
    calls = SimulatedWorkQueue(clock)
    seen: SimpleQueue[datetime] = SimpleQueue()

    def work() -> str:
        machine.s += 3
        return "answer"

    def then(answer: str) -> None:
        assert answer == "answer"
        seen.put(clock.now())
        raise RuntimeError("whatever happens to the result")

    calls.run_in_thread(work, then)
    call = calls.get(5)
    assert call is not None
    with pytest.raises(RuntimeError):
        call()
    assert seen.get() == NOON


def test_time_passes_only_while_the_daemon_waits_and_never_longer_than_it_meant_to() -> None:
    machine = Machine()
    clock = FastClock(NOON, 60, machine)
    calls = SimulatedWorkQueue(clock)
    machine.s += 5  # the loop is busy
    assert clock.now() == NOON
    clock.resume(2)  # it waits for two seconds, and is woken after nine
    machine.s += 1
    assert clock.now() == NOON + timedelta(minutes=1)
    machine.s += 8
    assert clock.now() == NOON + timedelta(minutes=2)
    clock.pause()
    machine.s += 3
    assert calls.get(0) is None
    assert clock.now() == NOON + timedelta(minutes=2)
