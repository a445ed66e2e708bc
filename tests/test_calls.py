"""The queue between the loop and everything else."""

import threading

from watcher.calls import Calls

OFTEN = 60_000
LONGEST_S = 4e-6
GIVEN_UP_AFTER_S = 60.0


def test_a_wait_that_is_over_before_it_begins_ends():
    calls, ended = Calls(), []

    def wait_again_and_again() -> None:
        for number in range(OFTEN):
            calls.put(lambda: None)
            assert calls.take(None) is not None
            assert calls.take(LONGEST_S * (number % 40) / 40) is None
        ended.append(OFTEN)

    waiting = threading.Thread(target=wait_again_and_again, daemon=True)
    waiting.start()
    waiting.join(GIVEN_UP_AFTER_S)
    assert ended == [OFTEN]


def test_a_call_ends_a_wait_without_a_limit():
    calls = Calls()
    made = []
    calls.start(lambda: calls.put(lambda: made.append("call")))
    call = calls.take(None)
    assert call is not None
    call()
    assert made == ["call"]
