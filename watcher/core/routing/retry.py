"""What an attempt's outcome makes of a delivery: sent, retried later, or dead.

A delivery is retried for a day. The wait doubles from 10 s to half an hour, and a part of it is random so that several
machines do not come back at one instant. What the receiver asks for (`Retry-After`) is cut short only for one attempt
before the message expires.

A permanent refusal stops the channel, and the user has to fix it. The message waits for that too, until it expires:
if the config gets a new address within the day, nothing is lost.

The fate of an attempt can be unknown, and stays so when a later one is refused. From a network that is a reason to
retry with the same key: twice is better than never, and the reader can tell. From a system that took the message and
never says more (macOS) it is not: it says no more the next time either, so the message counts as sent, and `status`
shows that its fate is unknown.
"""

from datetime import datetime, timedelta

from msgspec import structs

from watcher.core.model import Delivery, DeliveryOutcome, DeliveryState

DELIVERY_LIFETIME = timedelta(hours=24)
FIRST_RETRY_WAIT = timedelta(seconds=10)
MAX_RETRY_WAIT = timedelta(minutes=30)
ATTEMPTS_BEFORE_MAX_WAIT = 8
_MAX_DOUBLINGS = 12  # the longest wait is reached long before; more would overflow


def apply_outcome(delivery: Delivery, outcome: DeliveryOutcome, now: datetime, jitter: float) -> Delivery:
    """The delivery after one attempt.

    Args:
        delivery: the one that was attempted.
        outcome: how it ended.
        now: when it ended.
        jitter: 0..1, drawn for each attempt.
    """
    attempts = delivery.attempts + 1
    done = structs.replace(
        delivery,
        attempts=attempts,
        in_doubt=False,
        was_in_doubt=False,
        last_response=outcome.detail,
        next_attempt_at=now,
    )
    if outcome.delivered:
        return structs.replace(done, state=DeliveryState.SENT)
    unknown = outcome.delivered is None
    if unknown and outcome.accepted:
        return structs.replace(done, state=DeliveryState.SENT, last_response=f"unknown: {outcome.detail}")
    waiting = structs.replace(done, in_doubt=unknown or delivery.was_in_doubt)
    if outcome.permanent:
        return structs.replace(
            waiting, last_response=f"refused: {outcome.detail}", next_attempt_at=now + MAX_RETRY_WAIT
        )
    detail = f"unknown: {outcome.detail}" if unknown else outcome.detail
    next_at = now + compute_retry_wait(attempts, jitter, outcome.retry_after)
    last_at = delivery.expires_at - MAX_RETRY_WAIT
    if next_at >= delivery.expires_at and now < last_at:
        next_at, detail = last_at, f"{detail}; it is tried once before it expires, as it does not live so long"
    waiting = structs.replace(waiting, last_response=detail, next_attempt_at=next_at)
    if next_at < delivery.expires_at:
        return waiting
    if len(delivery.transitions) > 1:  # of a digest only the older part expires, in `planner.plan_release`
        return structs.replace(waiting, in_doubt=False)
    return mark_dead(waiting)


def compute_retry_wait(attempts: int, jitter: float, retry_after: timedelta | None = None) -> timedelta:
    """How long to wait after that many attempts: half of the doubled wait, and a random part of the other half."""
    doubled: timedelta = min(FIRST_RETRY_WAIT * 2 ** min(attempts - 1, _MAX_DOUBLINGS), MAX_RETRY_WAIT)
    own = doubled * (1 + jitter) / 2
    if retry_after is None or retry_after <= timedelta(0):
        return own
    return max(own, retry_after + FIRST_RETRY_WAIT * jitter / 10)


def mark_dead(delivery: Delivery) -> Delivery:
    """The delivery as dead after its lifetime, with its last outcome."""
    answer = delivery.last_response.partition("; will be ")[0]  # sent or run again: no longer
    last = f"; the last answer: {answer}" if answer else "; it was never attempted"
    return structs.replace(delivery, state=DeliveryState.DEAD, last_response=f"not delivered within 24 h{last}")


def correct_clock(delivery: Delivery, now: datetime) -> Delivery:
    """The delivery without what was noted while the clock was ahead: waits and lifetimes are as long as they were."""
    ahead = max(delivery.created_at, delivery.attempted_at or delivery.created_at) - now
    if ahead <= timedelta(0):
        return delivery
    return structs.replace(
        delivery,
        created_at=min(delivery.created_at, now),
        attempted_at=now if delivery.attempted_at else None,
        next_attempt_at=delivery.next_attempt_at - ahead,
        expires_at=delivery.expires_at - max(delivery.created_at - now, timedelta(0)),
    )
