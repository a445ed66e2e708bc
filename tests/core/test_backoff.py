from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.samples import NOW, VOICE, H, M, rule, transition
from watcher.core.backoff import FIRST_WAIT, LIFETIME, LONGEST_WAIT, after, give_up, wait
from watcher.core.model import Delivery, DeliveryState, Outcome
from watcher.core.wording import say

S = timedelta(seconds=1)


def delivery(**more):
    change = transition()
    parts = {
        "key": change.key,
        "channel": "team",
        "message": say(change, rule(), VOICE, NOW),
        "reason": "above",
        "created_at": NOW,
        "next_attempt_at": NOW,
        "expires_at": NOW + LIFETIME,
    }
    return Delivery(**(parts | more))


def failed(detail="answered 503 Service Unavailable", **more):
    return Outcome(delivered=False, detail=detail, **more)


def test_what_arrived_is_sent():
    done = after(delivery(in_doubt=True), Outcome(delivered=True, detail="answered 200 OK"), NOW, 0.5)
    assert (done.state, done.attempts, done.in_doubt, done.outcome) == (DeliveryState.SENT, 1, False, "answered 200 OK")


def test_the_wait_doubles_up_to_half_an_hour():
    waits = [wait(attempts, 1.0) for attempts in range(1, 12)]
    assert waits[:4] == [10 * S, 20 * S, 40 * S, 80 * S]
    assert waits[-1] == LONGEST_WAIT
    assert wait(10_000, 1.0) == LONGEST_WAIT


def test_luck_takes_up_to_half_of_the_wait():
    assert (wait(3, 0.0), wait(3, 0.5), wait(3, 1.0)) == (20 * S, 30 * S, 40 * S)


def test_a_refusal_waits_and_says_what_was_answered():
    again = after(delivery(in_doubt=True), failed(), NOW, 0.0)
    assert (again.state, again.attempts, again.in_doubt) == (DeliveryState.QUEUED, 1, False)
    assert (again.next_attempt_at, again.outcome) == (NOW + 5 * S, "answered 503 Service Unavailable")


@pytest.mark.parametrize("asked", [30 * S, 2 * H])
def test_what_the_far_side_asks_is_never_cut_short(asked):
    for jitter in (0.0, 0.3, 1.0):
        again = after(delivery(), failed(retry_after=asked), NOW, jitter)
        assert NOW + asked <= again.next_attempt_at <= NOW + asked + FIRST_WAIT


def test_a_shorter_wish_does_not_shorten_the_wait():
    assert after(delivery(attempts=5), failed(retry_after=S), NOW, 0.0).next_attempt_at == NOW + 160 * S
    assert after(delivery(), failed(retry_after=timedelta(0)), NOW, 0.0).next_attempt_at == NOW + 5 * S


def test_a_network_that_gives_no_answer_is_tried_again_in_doubt():
    again = after(delivery(), Outcome(delivered=None, detail="no answer within 20 s"), NOW, 0.0)
    assert (again.state, again.in_doubt, again.outcome) == (
        DeliveryState.QUEUED,
        True,
        "unknown: no answer within 20 s",
    )


def test_a_desktop_that_never_gives_an_answer_is_not_asked_twice():
    done = after(delivery(), Outcome(delivered=None, detail="osascript ended with 0", accepted=True), NOW, 0.0)
    assert (done.state, done.outcome) == (DeliveryState.SENT, "unknown: osascript ended with 0")


def test_a_message_that_was_refused_for_good_waits_for_the_channel_to_be_mended():
    refused = after(delivery(), failed("answered 410 Gone", permanent=True), NOW, 0.0)
    assert (refused.state, refused.outcome) == (DeliveryState.QUEUED, "refused: answered 410 Gone")
    assert refused.next_attempt_at == NOW + LONGEST_WAIT


def test_after_a_day_it_is_dead_and_says_what_was_heard_last():
    dead = after(delivery(attempts=60), failed(), NOW + LIFETIME - M, 1.0)
    assert dead.state is DeliveryState.DEAD
    assert dead.outcome == "not delivered within 24 h; the last answer: answered 503 Service Unavailable"
    assert give_up(delivery()).outcome == "not delivered within 24 h; it was never attempted"


def test_a_wish_beyond_its_lifetime_is_its_end():
    assert after(delivery(), failed(retry_after=48 * H), NOW, 0.0).state is DeliveryState.DEAD


@settings(max_examples=100)
@given(attempts=st.integers(1, 500), jitter=st.floats(0, 1), asked=st.none() | st.integers(0, 86_400))
def test_a_wait_is_never_nothing_and_never_less_than_asked(attempts, jitter, asked):
    retry_after = None if asked is None else timedelta(seconds=asked)
    waited = wait(attempts, jitter, retry_after)
    assert waited >= FIRST_WAIT / 2
    assert waited >= (retry_after or timedelta(0))
    assert waited <= max(LONGEST_WAIT, (retry_after or timedelta(0)) + FIRST_WAIT)
