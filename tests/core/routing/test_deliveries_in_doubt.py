"""What may have arrived: it is never taken for unread, and nothing that follows gets ahead of it."""

from msgspec import structs

from tests.core.routing.test_planner import EVENING, MORNING, NIGHT, Post, at
from tests.core.routing.test_retry import delivery, failed
from tests.core.samples import NOW, H, M, reading, routing, transition
from watcher.core.model import DeliveryOutcome, DeliveryState
from watcher.core.routing.retry import DELIVERY_LIFETIME, MAX_RETRY_WAIT, apply_outcome
from watcher.delivery import attempts

UNKNOWN = DeliveryOutcome(delivered=None, detail="no answer within 20 s")


def begun(row):
    return attempts.prepare_attempt(row, {}, routing(), NOW)


def test_a_refusal_after_an_attempt_without_an_answer_leaves_the_doubt():
    waiting = apply_outcome(begun(delivery()), UNKNOWN, NOW, 0.0)
    assert waiting.in_doubt
    again = apply_outcome(begun(waiting), failed(), NOW, 0.0)
    assert again.in_doubt
    assert again.outcome == "answered 503 Service Unavailable"
    stopped = apply_outcome(begun(again), failed("answered 404 Not Found", permanent=True), NOW, 0.0)
    assert stopped.in_doubt


def test_a_refusal_after_a_crash_in_an_attempt_leaves_the_doubt():
    cut_off = begun(delivery())  # and nothing more was kept
    assert apply_outcome(begun(cut_off), failed(), NOW, 0.0).in_doubt


def test_a_refused_first_attempt_leaves_no_doubt():
    refused = apply_outcome(begun(delivery()), failed(), NOW, 0.0)
    assert not refused.in_doubt
    assert not apply_outcome(begun(refused), failed(), NOW, 0.0).in_doubt


def test_an_arrival_ends_all_doubt():
    waiting = apply_outcome(begun(delivery()), UNKNOWN, NOW, 0.0)
    sent = apply_outcome(begun(waiting), DeliveryOutcome(delivered=True, detail="answered 200 OK"), NOW, 0.0)
    assert (sent.state, sent.in_doubt, sent.doubted) == (DeliveryState.SENT, False, False)


def test_what_was_put_behind_an_attempt_that_is_refused_in_the_end_is_not_overtaken():
    post = Post()
    post.news(transition())
    post.mark(in_doubt=True)  # the attempt is under way
    post.news(at(NOW + M, "resolved", read=reading(64)))
    post.news(at(NOW + 2 * M, nth=2))
    first = post.rows[0]
    post.rows[0] = structs.replace(first, in_doubt=False, attempts=1)  # refused: nobody has read anything
    post.news(at(NOW + 3 * M, "resolved", nth=2, read=reading(60)))
    (row,) = post.open()
    assert row.key.endswith("|resolved|2")
    assert [str(one.event) for one in row.about] == ["firing", "resolved"]
    assert row.about[0].at == NOW, "it began when the first one did"


def test_the_end_of_what_was_told_is_told_although_a_later_level_was_refused():
    post = Post()
    post.news(transition(severity="info"))
    post.deliver()
    post.news(at(NOW + M, "escalated", severity="warning"))
    post.mark(in_doubt=True)
    post.news(at(NOW + 2 * M, "resolved"))
    post.rows[1] = structs.replace(post.rows[1], in_doubt=False, attempts=1)
    post.news(at(NOW + 3 * M, nth=2))
    assert [row.message.event for row in sorted(post.open(), key=lambda row: row.id)] == ["resolved", "firing"]


def test_what_may_have_arrived_is_not_said_again_at_night():
    post = Post(routing(quiet_hours=NIGHT))
    post.news(at(EVENING - 2 * H))
    post.mark(in_doubt=True)
    post.time(EVENING)
    assert post.deliver() == []
    post.time(MORNING)
    assert len(post.deliver()) == 1


def test_what_may_have_arrived_is_not_said_again_when_it_ended_at_night():
    post = Post(routing(quiet_hours=NIGHT))
    post.news(at(EVENING - 2 * H))
    post.mark(in_doubt=True)
    post.time(EVENING)
    post.news(at(EVENING + H, "resolved", read=reading(12)))
    assert post.states() == ["withdrawn", "held"]
    post.time(MORNING)
    assert post.deliver() == ["Claude 5-hour window is back to 12 %"]


def test_what_may_have_arrived_keeps_its_own_key_after_the_night():
    post = Post(routing(quiet_hours=NIGHT))
    post.news(at(EVENING - 2 * H))
    post.mark(in_doubt=True)
    key = post.rows[0].key
    post.time(EVENING)
    post.news(at(EVENING + H, rule="blind"), at(EVENING + H, rule="third"))
    post.time(MORNING)
    assert post.open()[0].key == key
    assert [row.message.event for row in post.open()] == ["firing", "digest"]


def test_doubt_does_not_keep_a_message_for_ever():
    post = Post()
    post.news(transition())
    post.mark(in_doubt=True, outcome="unknown: no answer within 20 s")
    post.time(NOW + DELIVERY_LIFETIME + M)
    assert post.states() == ["queued"], "its last attempt may be under way"
    post.time(NOW + DELIVERY_LIFETIME + MAX_RETRY_WAIT)
    assert post.states() == ["dead"]
