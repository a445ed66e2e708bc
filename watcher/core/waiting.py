"""What time alone changes in the outbox: expiry, and the beginning and end of quiet hours, a snooze or an outage.

Works on a `Desk`. Never decide here what becomes of news: `watcher.core.desk` does.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from msgspec import structs

from watcher.core.backoff import LIFETIME, LONGEST_WAIT, give_up
from watcher.core.desk import Desk
from watcher.core.digests import digest, gather
from watcher.core.hold import OFFLINE, Hold, hold_quiet
from watcher.core.model import Delivery, DeliveryState, Reading, Series, Severity
from watcher.core.parcels import HEADINGS, IN_OUTBOX, SETTLE, alerts_of, freed_row, lives_until, to_be_worded, updated


def expire(desk: Desk) -> None:
    """What waited its whole life is dead. Of a digest only what is that old; the younger rest goes on."""
    for index, row in enumerate(desk.rows[: len(desk.before)]):
        patience = LONGEST_WAIT if row.in_doubt else timedelta(0)  # the last attempt may be under way
        if row.state is not DeliveryState.QUEUED or desk.now < row.expires_at + patience:
            continue
        young = tuple(transition for transition in row.about if transition.at + LIFETIME > desk.now)
        if len(young) == len(row.about) > 0:  # the old ones have left it meanwhile
            desk.rows[index] = structs.replace(row, expires_at=lives_until(row, young))
            continue
        desk.rows[index] = give_up(row)
        if young:
            rest = digest(desk, row.channel, young, [row.key, "younger"], reason="the younger part of a digest")
            desk.rows.append(structs.replace(rest, expires_at=lives_until(row, young)))


def release(desk: Desk, latest: Mapping[Series, Reading]) -> None:
    """Hold what has to wait from now on, and let go what no longer has to: one message a channel.

    What may have arrived is held too: if it did, a repeat would only disturb; if not, it may wait like any other.
    """
    freed: dict[str, list[int]] = {}
    for index, row in enumerate(desk.rows):
        if row.state not in IN_OUTBOX:
            continue
        held = _hold_row(desk, row)
        if held is None and row.state is DeliveryState.HELD:
            freed.setdefault(row.channel, []).append(index)
        elif held is not None:
            desk.rows[index] = _kept_back(desk, row, held)
    for channel, indexes in freed.items():
        _let_go(desk, channel, indexes, latest)


def _hold_row(desk: Desk, row: Delivery) -> Hold | None:
    if not row.about:
        return None if row.message.severity is Severity.CRITICAL else hold_quiet(desk.situation)
    if row.state is DeliveryState.HELD and row.reason == OFFLINE and desk.now < row.next_attempt_at:
        return Hold(OFFLINE, row.next_attempt_at)
    holds = [desk.held(transition) for transition in row.about]
    return None if None in holds else holds[0]


def _kept_back(desk: Desk, row: Delivery, held: Hold) -> Delivery:
    until = held.until or row.next_attempt_at
    if held.reason == OFFLINE and desk.situation.offline and row.next_attempt_at < desk.now + SETTLE / 2:
        until = desk.now + SETTLE
    if (row.state, row.reason, row.next_attempt_at) == (DeliveryState.HELD, held.reason, until):
        return row
    if row.state is not DeliveryState.HELD:
        for transition in row.about:
            desk.choose(transition, row.channel, held.reason, said=False)
    return structs.replace(row, state=DeliveryState.HELD, reason=held.reason, next_attempt_at=until)


def _let_go(desk: Desk, channel: str, indexes: Sequence[int], latest: Mapping[Series, Reading]) -> None:
    reasons = [desk.rows[index].reason for index in indexes]
    for index in indexes:
        row = desk.rows[index]
        about = tuple(updated(transition, latest, desk.now) for transition in row.about)
        desk.rows[index] = to_be_worded(freed_row(structs.replace(row, about=about), desk.now), desk.now)
    causes = {cause for cause in HEADINGS if any(reason.startswith(cause) for reason in reasons)}
    heading = HEADINGS[causes.pop()] if len(causes) == 1 else ""
    speaking = [index for index in indexes if desk.rows[index].about and not desk.rows[index].in_doubt]
    if len(alerts_of(desk.rows[index] for index in speaking)) > 1:
        gather(desk, channel, speaking, "what was held back", heading=heading)
