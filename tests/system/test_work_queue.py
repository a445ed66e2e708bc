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


def test_work_that_shares_a_thread_is_done_in_order():
    queue, threads = WorkQueue(), []
    with queue.share_thread():
        for number in range(5):
            queue.run_in_thread(lambda n=number: (n, threading.get_ident()), threads.append)
    for _ in range(5):
        queue.get(None)()
    assert [number for number, _ in threads] == [0, 1, 2, 3, 4]
    assert threading.get_ident() not in {thread for _, thread in threads}


def test_work_that_hangs_keeps_the_thread_and_not_the_rest(monkeypatch):
    monkeypatch.setattr("watcher.system.scheduler.PATIENCE_S", 0.001)
    queue, end, done = WorkQueue(), threading.Event(), []
    with queue.share_thread():
        for work in (lambda: 0, end.wait, lambda: 2, end.wait, lambda: 4):
            queue.run_in_thread(work, done.append)
    while len(done) < 3:
        queue.get(None)()
    assert sorted(done) == [0, 2, 4]
    end.set()
    for _ in range(2):
        queue.get(None)()
    assert sorted(done, key=str) == [0, 2, 4, True, True]
