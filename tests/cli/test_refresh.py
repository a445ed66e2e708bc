"""While a daemon runs, it does the polling."""

import os
import signal
from datetime import timedelta
from types import SimpleNamespace

import pytest

from watcher.cli import check
from watcher.cli.check import refresh_readings
from watcher.daemon import REFRESH_DONE, REFRESH_FACT, REFRESH_REQUESTED
from watcher.storage.store import Store
from watcher.system import clock, environment
from watcher.system.lock import Lock
from watcher.system.paths import Paths

SOON = timedelta(seconds=0.3)

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signal here")


@pytest.fixture
def own(tmp_path):
    """The folders of a watcher that is running: this process holds its lock."""
    paths = Paths(config_dir=tmp_path / "config", state_dir=tmp_path / "state")
    lock = Lock(paths.state_dir)
    assert lock.acquire()
    Store(paths.state_dir / "watcher.db", now=clock.utc_now()).close()
    yield SimpleNamespace(paths=paths, lock=lock)
    lock.release()


@pytest.fixture
def signals():
    """Every SIGUSR1 to this process; `signals.then` is done at each."""

    class Signals(list):
        def then(self):
            """Nothing, until a test says otherwise."""

    found = Signals()

    def handle(_number, _frame):
        found.append(1)
        found.then()

    before = signal.signal(signal.SIGUSR1, handle)
    yield found
    signal.signal(signal.SIGUSR1, before)


def no_sending(_request):
    raise AssertionError("nothing is to be asked beside the daemon")


def world():
    return type(environment.create_environment())(
        **{name: getattr(environment.create_environment(), name) for name in environment.Environment.__struct_fields__}
        | {"send": no_sending}
    )


def store(own):
    return Store(own.paths.state_dir / "watcher.db", now=environment.create_environment().clock.now())


def test_the_daemon_is_requested_to_poll_and_waited_for(own, signals):
    def grant():
        mine = store(own)
        assert mine.facts.load(REFRESH_FACT)[0] == REFRESH_REQUESTED
        now = environment.create_environment().clock.now()
        mine.run_transaction(lambda: mine.facts.save(REFRESH_FACT, REFRESH_DONE, now), now=now)
        mine.close()

    signals.then = grant
    assert refresh_readings(own.paths, world(), timeout=timedelta(seconds=30)) == ""
    assert signals == [1]


def test_a_daemon_that_does_not_answer_is_not_waited_for_for_ever(own, signals):
    message = refresh_readings(own.paths, world(), timeout=SOON)
    assert message == (
        f"the running watcher (process {os.getpid()}) was asked to poll and has not finished; this is what it knows"
    )
    assert signals == [1]


def test_a_daemon_that_cannot_be_named_is_left_alone(own, signals):
    (own.paths.state_dir / "watcher.lock").write_text("")
    assert (
        refresh_readings(own.paths, world(), timeout=SOON)
        == "the running watcher polls by itself; this is what it knows"
    )
    assert signals == []


def test_a_single_poll_of_another_command_is_waited_for(own, signals):
    signals.then = own.lock.release
    assert refresh_readings(own.paths, world(), timeout=timedelta(seconds=30)) == ""


def test_where_the_database_vanished_the_daemon_is_signalled_before_one_is_made_here(own, signals, monkeypatch):
    path = own.paths.state_dir / "watcher.db"
    path.unlink()
    seen = []
    signals.then = lambda: seen.append(path.exists())
    monkeypatch.setattr(check, "RESTORE_WAIT_S", 0.0)
    refresh_readings(own.paths, world(), timeout=SOON)
    assert seen == [False, True]
