"""What may have arrived: it is never taken for unread, and nothing that follows gets ahead of it."""

from msgspec import structs

from tests.core.routing.test_planner import EVENING, MORNING, NIGHT, Outbox, at
from tests.core.routing.test_retry import delivery, failed
from tests.core.samples import NOW, H, M, reading, routing, transition
from watcher.core.model import DeliveryOutcome, DeliveryState
from watcher.core.routing.retry import DELIVERY_LIFETIME, MAX_RETRY_WAIT, apply_outcome
from watcher.delivery import dispatcher

UNKNOWN = DeliveryOutcome(delivered=None, detail="no answer within 20 s")


def begin_attempt(row):
    return dispatcher.prepare_attempt(row, {}, routing(), NOW)


def test_a_refusal_after_an_attempt_of_unknown_fate_leaves_it_unknown():
    waiting = apply_outcome(begin_attempt(delivery()), UNKNOWN, NOW, 0.0)
    assert waiting.in_doubt
    again = apply_outcome(begin_attempt(waiting), failed(), NOW, 0.0)
    assert again.in_doubt
    assert again.last_response == "answered 503 Service Unavailable"
    stopped = apply_outcome(begin_attempt(again), failed("answered 404 Not Found", permanent=True), NOW, 0.0)
    assert stopped.in_doubt


def test_a_refusal_after_a_crash_in_an_attempt_leaves_its_fate_unknown():
    cut_off = begin_attempt(delivery())  # and nothing more was kept
    assert apply_outcome(begin_attempt(cut_off), failed(), NOW, 0.0).in_doubt


def test_a_refused_first_attempt_has_certainly_not_arrived():
    refused = apply_outcome(begin_attempt(delivery()), failed(), NOW, 0.0)
    assert not refused.in_doubt
    assert not apply_outcome(begin_attempt(refused), failed(), NOW, 0.0).in_doubt


def test_a_delivered_attempt_settles_its_fate():
    waiting = apply_outcome(begin_attempt(delivery()), UNKNOWN, NOW, 0.0)
    sent = apply_outcome(begin_attempt(waiting), DeliveryOutcome(delivered=True, detail="answered 200 OK"), NOW, 0.0)
    assert (sent.state, sent.in_doubt, sent.was_in_doubt) == (DeliveryState.SENT, False, False)


def test_what_follows_an_attempt_that_is_refused_later_is_merged_in_order():
    outbox = Outbox()
    outbox.plan(transition())
    outbox.update_queued(in_doubt=True)  # the attempt is under way
    outbox.plan(at(NOW + M, "resolved", read=reading(64)))
    outbox.plan(at(NOW + 2 * M, occurrence=2))
    first = outbox.rows[0]
    outbox.rows[0] = structs.replace(first, in_doubt=False, attempts=1)  # refused: nothing has been read
    outbox.plan(at(NOW + 3 * M, "resolved", occurrence=2, read=reading(60)))
    (row,) = outbox.open()
    assert row.key.endswith("|resolved|2")
    assert [str(one.event) for one in row.transitions] == ["firing", "resolved"]
    assert row.transitions[0].at == NOW, "it began when the first one did"


def test_the_end_of_a_delivered_alert_is_sent_although_a_later_level_was_refused():
    outbox = Outbox()
    outbox.plan(transition(severity="info"))
    outbox.deliver()
    outbox.plan(at(NOW + M, "escalated", severity="warning"))
    outbox.update_queued(in_doubt=True)
    outbox.plan(at(NOW + 2 * M, "resolved"))
    outbox.rows[1] = structs.replace(outbox.rows[1], in_doubt=False, attempts=1)
    outbox.plan(at(NOW + 3 * M, occurrence=2))
    assert [row.message.event for row in sorted(outbox.open(), key=lambda row: row.id)] == ["resolved", "firing"]


def test_what_may_have_arrived_is_not_sent_again_at_night():
    outbox = Outbox(routing(quiet_hours=NIGHT))
    outbox.plan(at(EVENING - 2 * H))
    outbox.update_queued(in_doubt=True)
    outbox.release(EVENING)
    assert outbox.deliver() == []
    outbox.release(MORNING)
    assert len(outbox.deliver()) == 1


def test_what_may_have_arrived_is_not_sent_again_when_it_ended_at_night():
    outbox = Outbox(routing(quiet_hours=NIGHT))
    outbox.plan(at(EVENING - 2 * H))
    outbox.update_queued(in_doubt=True)
    outbox.release(EVENING)
    outbox.plan(at(EVENING + H, "resolved", read=reading(12)))
    assert outbox.states() == ["withdrawn", "held"]
    outbox.release(MORNING)
    assert outbox.deliver() == ["Claude 5-hour window is back to 12 %"]


def test_what_may_have_arrived_keeps_its_own_key_after_the_night():
    outbox = Outbox(routing(quiet_hours=NIGHT))
    outbox.plan(at(EVENING - 2 * H))
    outbox.update_queued(in_doubt=True)
    key = outbox.rows[0].key
    outbox.release(EVENING)
    outbox.plan(at(EVENING + H, rule="blind"), at(EVENING + H, rule="third"))
    outbox.release(MORNING)
    assert outbox.open()[0].key == key
    assert [row.message.event for row in outbox.open()] == ["firing", "digest"]


def test_a_message_of_unknown_fate_expires():
    outbox = Outbox()
    outbox.plan(transition())
    outbox.update_queued(in_doubt=True, last_response="unknown: no answer within 20 s")
    outbox.release(NOW + DELIVERY_LIFETIME + M)
    assert outbox.states() == ["queued"], "its last attempt may be under way"
    outbox.release(NOW + DELIVERY_LIFETIME + MAX_RETRY_WAIT)
    assert outbox.states() == ["dead"]
