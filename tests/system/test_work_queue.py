import threading

import pytest

from watcher.system.scheduler import WorkQueue

LONGEST_S = 4e-6
TIMEOUT_S = 60.0


@pytest.mark.parametrize("count", [5_000, pytest.param(60_000, marks=pytest.mark.slow)])
def test_a_wait_whose_timeout_expires_before_it_begins_ends(count):
    queue, ended = WorkQueue(), []

    def wait_repeatedly() -> None:
        for number in range(count):
            queue.put(lambda: None)
            assert queue.get(None) is not None
            assert queue.get(LONGEST_S * (number % 40) / 40) is None
        ended.append(count)

    thread = threading.Thread(target=wait_repeatedly, daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    assert ended == [count]


def test_a_callback_ends_a_wait_without_a_timeout():
    queue, called = WorkQueue(), []
    queue.start_thread(lambda: queue.put(lambda: called.append("callback")))
    callback = queue.get(None)
    assert callback is not None
    callback()
    assert called == ["callback"]
