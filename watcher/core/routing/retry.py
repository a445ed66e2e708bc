"""What an attempt's outcome makes of a delivery: sent, tried again later, or given up. Pure: luck is an argument.

A delivery is tried for a day. The wait doubles from 10 s to half an hour, and a part of it is left to luck so that
several machines do not come back at one instant. What the far side asks (`Retry-After`) is never cut short.

A refusal for good stops the channel, and a person has to mend it. The message waits for that too, as long as it lives:
who puts a new address into the config within the day loses nothing.

The fate of an attempt can be unknown, and stays so when a later one is refused. From a network that is a reason to try
again with the same key: twice said is better than never, and the reader can tell. From a system that took the message
and never says more (macOS) it is not: it says no more the next time either, so the message counts as sent and `status`
shows that nobody could tell.
"""

from datetime import datetime, timedelta

from msgspec import structs

from watcher.core.model import Delivery, DeliveryOutcome, DeliveryState

DELIVERY_LIFETIME = timedelta(hours=24)
FIRST_RETRY_WAIT = timedelta(seconds=10)
MAX_RETRY_WAIT = timedelta(minutes=30)
_MAX_DOUBLINGS = 12  # more would only overflow: the longest wait is reached long before


def apply_outcome(delivery: Delivery, outcome: DeliveryOutcome, now: datetime, jitter: float) -> Delivery:
    """The delivery as it stands after one attempt.

    Args:
        delivery: the one that was attempted.
        outcome: what came of it.
        now: when it ended.
        jitter: 0..1, drawn anew for each attempt.
    """
    attempts = delivery.attempts + 1
    done = structs.replace(
        delivery, attempts=attempts, in_doubt=False, doubted=False, outcome=outcome.detail, next_attempt_at=now
    )
    if outcome.delivered:
        return structs.replace(done, state=DeliveryState.SENT)
    unknown = outcome.delivered is None
    if unknown and outcome.accepted:
        return structs.replace(done, state=DeliveryState.SENT, outcome=f"unknown: {outcome.detail}")
    waiting = structs.replace(done, in_doubt=unknown or delivery.doubted)
    if outcome.permanent:
        return structs.replace(waiting, outcome=f"refused: {outcome.detail}", next_attempt_at=now + MAX_RETRY_WAIT)
    detail = f"unknown: {outcome.detail}" if unknown else outcome.detail
    next_at = now + compute_retry_wait(attempts, jitter, outcome.retry_after)
    waiting = structs.replace(waiting, outcome=detail, next_attempt_at=next_at)
    if next_at < delivery.expires_at:
        return waiting
    if len(delivery.about) > 1:  # a digest: only the older part of it dies, which `plan.release` sees to
        return structs.replace(waiting, in_doubt=False)
    return mark_dead(waiting)


def compute_retry_wait(attempts: int, jitter: float, retry_after: timedelta | None = None) -> timedelta:
    """How long to wait after that many attempts: half of the doubled wait for sure, the other half by luck."""
    doubled: timedelta = min(FIRST_RETRY_WAIT * 2 ** min(attempts - 1, _MAX_DOUBLINGS), MAX_RETRY_WAIT)
    own = doubled * (1 + jitter) / 2
    if retry_after is None or retry_after <= timedelta(0):
        return own
    return max(own, retry_after + FIRST_RETRY_WAIT * jitter / 10)


def mark_dead(delivery: Delivery) -> Delivery:
    """The delivery as dead after its lifetime, with what was heard last."""
    last = f"; the last answer: {delivery.outcome}" if delivery.outcome else "; it was never attempted"
    return structs.replace(delivery, state=DeliveryState.DEAD, outcome=f"not delivered within 24 h{last}")
