from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.core.samples import FORMATTER, NOW, H, M, rule, transition
from watcher.core.model import Delivery, DeliveryOutcome, DeliveryState
from watcher.core.routing.messages import compose_message
from watcher.core.routing.retry import (
    DELIVERY_LIFETIME,
    FIRST_RETRY_WAIT,
    MAX_RETRY_WAIT,
    apply_outcome,
    compute_retry_wait,
    correct_clock,
    mark_dead,
)

S = timedelta(seconds=1)


def delivery(**more):
    change = transition()
    parts = {
        "key": change.key,
        "channel": "team",
        "message": compose_message(change, rule(), FORMATTER, NOW),
        "reason": "above",
        "created_at": NOW,
        "next_attempt_at": NOW,
        "expires_at": NOW + DELIVERY_LIFETIME,
    }
    return Delivery(**(parts | more))


def failed(detail="answered 503 Service Unavailable", **more):
    return DeliveryOutcome(delivered=False, detail=detail, **more)


def test_what_arrived_is_sent():
    done = apply_outcome(delivery(in_doubt=True), DeliveryOutcome(delivered=True, detail="answered 200 OK"), NOW, 0.5)
    assert (done.state, done.attempts, done.in_doubt, done.last_response) == (
        DeliveryState.SENT,
        1,
        False,
        "answered 200 OK",
    )


def test_the_wait_doubles_up_to_half_an_hour():
    waits = [compute_retry_wait(attempts, 1.0) for attempts in range(1, 12)]
    assert waits[:4] == [10 * S, 20 * S, 40 * S, 80 * S]
    assert waits[-1] == MAX_RETRY_WAIT
    assert compute_retry_wait(10_000, 1.0) == MAX_RETRY_WAIT


def test_jitter_takes_up_to_half_of_the_wait():
    assert (compute_retry_wait(3, 0.0), compute_retry_wait(3, 0.5), compute_retry_wait(3, 1.0)) == (
        20 * S,
        30 * S,
        40 * S,
    )


def test_a_refused_message_waits_and_has_the_outcome():
    again = apply_outcome(delivery(in_doubt=True), failed(), NOW, 0.0)
    assert (again.state, again.attempts, again.in_doubt) == (DeliveryState.QUEUED, 1, False)
    assert (again.next_attempt_at, again.last_response) == (NOW + 5 * S, "answered 503 Service Unavailable")


@pytest.mark.parametrize("asked", [30 * S, 2 * H])
def test_the_wait_that_the_receiver_asks_for_is_never_cut_short(asked):
    for jitter in (0.0, 0.3, 1.0):
        again = apply_outcome(delivery(), failed(retry_after=asked), NOW, jitter)
        assert NOW + asked <= again.next_attempt_at <= NOW + asked + FIRST_RETRY_WAIT


def test_a_shorter_retry_after_does_not_shorten_the_wait():
    assert apply_outcome(delivery(attempts=5), failed(retry_after=S), NOW, 0.0).next_attempt_at == NOW + 160 * S
    assert apply_outcome(delivery(), failed(retry_after=timedelta(0)), NOW, 0.0).next_attempt_at == NOW + 5 * S


def test_an_attempt_without_a_response_is_retried_with_its_fate_unknown():
    again = apply_outcome(delivery(), DeliveryOutcome(delivered=None, detail="no answer within 20 s"), NOW, 0.0)
    assert (again.state, again.in_doubt, again.last_response) == (
        DeliveryState.QUEUED,
        True,
        "unknown: no answer within 20 s",
    )


def test_a_desktop_that_accepts_and_reports_nothing_is_not_tried_twice():
    done = apply_outcome(
        delivery(), DeliveryOutcome(delivered=None, detail="osascript ended with 0", accepted=True), NOW, 0.0
    )
    assert (done.state, done.last_response) == (DeliveryState.SENT, "unknown: osascript ended with 0")


def test_a_permanently_refused_message_waits_for_the_channel_to_be_fixed():
    refused = apply_outcome(delivery(), failed("answered 410 Gone", permanent=True), NOW, 0.0)
    assert (refused.state, refused.last_response) == (DeliveryState.QUEUED, "refused: answered 410 Gone")
    assert refused.next_attempt_at == NOW + MAX_RETRY_WAIT


def test_after_a_day_it_is_dead_with_its_last_outcome():
    dead = apply_outcome(delivery(attempts=60), failed(), NOW + DELIVERY_LIFETIME - M, 1.0)
    assert dead.state is DeliveryState.DEAD
    assert dead.last_response == "not delivered within 24 h; the last answer: answered 503 Service Unavailable"
    assert mark_dead(delivery()).last_response == "not delivered within 24 h; it was never attempted"


def test_a_retry_after_beyond_its_lifetime_leaves_one_attempt_before_it_expires():
    waiting = apply_outcome(delivery(), failed(retry_after=48 * H), NOW, 0.0)
    assert (waiting.state, waiting.next_attempt_at) == (DeliveryState.QUEUED, waiting.expires_at - MAX_RETRY_WAIT)
    assert waiting.last_response.endswith("; it is tried once before it expires, as it does not live so long")
    last = apply_outcome(waiting, failed(retry_after=48 * H), waiting.next_attempt_at, 0.0)
    assert last.state is DeliveryState.DEAD


def test_a_clock_that_was_ahead_changes_no_wait_and_no_lifetime():
    born_ahead = apply_outcome(delivery(), failed(), NOW, 0.0)
    assert correct_clock(born_ahead, NOW) == born_ahead
    corrected = correct_clock(born_ahead, NOW - 20 * H)
    assert corrected.next_attempt_at == born_ahead.next_attempt_at - 20 * H
    assert corrected.expires_at == born_ahead.expires_at - 20 * H
    assert correct_clock(corrected, NOW - 20 * H) == corrected
    tried_ahead = replace(born_ahead, created_at=NOW - 30 * H, expires_at=NOW - 6 * H, attempted_at=NOW)
    corrected = correct_clock(tried_ahead, NOW - 20 * H)
    assert corrected.next_attempt_at == born_ahead.next_attempt_at - 20 * H
    assert (corrected.created_at, corrected.expires_at) == (NOW - 30 * H, NOW - 6 * H)


@given(attempts=st.integers(1, 500), jitter=st.floats(0, 1), asked=st.none() | st.integers(0, 86_400))
def test_a_wait_is_never_zero_and_never_less_than_asked(attempts, jitter, asked):
    retry_after = None if asked is None else timedelta(seconds=asked)
    waited = compute_retry_wait(attempts, jitter, retry_after)
    assert waited >= FIRST_RETRY_WAIT / 2
    assert waited >= (retry_after or timedelta(0))
    assert waited <= max(MAX_RETRY_WAIT, (retry_after or timedelta(0)) + FIRST_RETRY_WAIT)
