"""One holder at a time, who keeps the lock when its file is removed."""

import os
import threading

import pytest

from watcher.system.lock import Lock, _try_lock

needs_removal = pytest.mark.skipif(os.name != "posix", reason="an open file cannot be removed there")


@pytest.fixture
def lock(tmp_path):
    lock = Lock(tmp_path / "state")
    yield lock
    lock.release()


@pytest.mark.parametrize("brief", [False, True])
def test_the_holder_and_how_long_it_stays_are_known(lock, brief):
    assert lock.acquire(brief=brief)
    other = Lock(lock.path.parent)
    assert not other.acquire()
    assert (other.read_holder_pid(), other.is_brief()) == (os.getpid(), brief)


def test_a_process_that_looks_at_a_free_lock_keeps_no_other_from_it(lock):
    assert lock.acquire()
    lock.release()
    looking = os.open(lock.path, os.O_RDWR)
    assert _try_lock(looking, shared=True)  # in the middle of `is_free`
    assert lock.is_free()
    threading.Timer(0.05, os.close, [looking]).start()
    assert lock.acquire()
    assert not lock.is_free()


@needs_removal
def test_a_removed_file_is_made_again(lock):
    assert lock.acquire(brief=False)
    lock.path.unlink()
    assert Lock(lock.path.parent).is_free()
    lock.renew()
    assert not Lock(lock.path.parent).is_free()
    assert Lock(lock.path.parent).read_holder_pid() == os.getpid()


@needs_removal
def test_a_lock_that_another_process_took_meanwhile_is_not_taken_away(lock):
    assert lock.acquire(brief=False)
    lock.path.unlink()
    other = Lock(lock.path.parent)
    assert other.acquire()
    lock.renew()
    assert other.is_brief()
    other.release()
    lock.renew()
    assert not other.is_free()
