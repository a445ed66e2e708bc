"""The queue between the loop and everything else."""

import threading

from watcher.system.work_queue import WorkQueue

OFTEN = 60_000
LONGEST_S = 4e-6
GIVEN_UP_AFTER_S = 60.0


def test_a_wait_that_is_over_before_it_begins_ends():
    calls, ended = WorkQueue(), []

    def wait_again_and_again() -> None:
        for number in range(OFTEN):
            calls.put(lambda: None)
            assert calls.get(None) is not None
            assert calls.get(LONGEST_S * (number % 40) / 40) is None
        ended.append(OFTEN)

    waiting = threading.Thread(target=wait_again_and_again, daemon=True)
    waiting.start()
    waiting.join(GIVEN_UP_AFTER_S)
    assert ended == [OFTEN]


def test_a_call_ends_a_wait_without_a_limit():
    calls = WorkQueue()
    made = []
    calls.start_thread(lambda: calls.put(lambda: made.append("call")))
    call = calls.get(None)
    assert call is not None
    call()
    assert made == ["call"]
