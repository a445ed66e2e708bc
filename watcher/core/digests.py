"""Order in the outbox: a digest where many wait, one notice where the machine is offline, nobody ahead of his turn.

Works on a `Desk`, after everything else. Never decide here whether something may be said.
"""

from collections.abc import Sequence
from hashlib import sha256

from msgspec import structs

from watcher.core import facts, wording
from watcher.core.desk import Desk
from watcher.core.hold import OFFLINE, hold_quiet
from watcher.core.model import Delivery, DeliveryState, Severity, Transition
from watcher.core.parcels import IN_OUTBOX, alerts_of, delivery, lives_until, unworded
from watcher.core.phrases import clock

ONE_BY_ONE = 3
"""As many alerts wait for a channel as single messages; more become a digest."""

_NOTICE = "offline|"
_OFFLINE_BODY = "No provider can be reached; the last reading is from {since}."


def tidy(desk: Desk) -> None:
    """One notice where the machine is offline, digests where many wait, and nobody ahead of a waiting channel."""
    _mind_network(desk)
    for channel in dict.fromkeys(row.channel for row in desk.rows):
        _collapse(desk, channel)
        _keep_waiting(desk, channel)


def _collapse(desk: Desk, channel: str) -> None:
    waiting = [
        index
        for index, row in enumerate(desk.rows)
        if row.channel == channel and row.state is DeliveryState.QUEUED and row.about and not row.in_doubt
    ]
    if len(waiting) > 1 and len(alerts_of(desk.rows[index] for index in waiting)) > ONE_BY_ONE:
        gather(desk, channel, waiting, "more than three at once")


def gather(desk: Desk, channel: str, indexes: Sequence[int], reason: str, *, heading: str = "") -> None:
    """One digest in place of several rows. It waits as long as they had to and lives as long as the oldest."""
    rows = [desk.rows[index] for index in indexes]
    for index, row in zip(indexes, rows, strict=True):
        desk.rows[index] = structs.replace(row, state=DeliveryState.WITHDRAWN, outcome="part of a digest")
    about = [transition for row in rows for transition in row.about]
    row = digest(desk, channel, about, [row.key for row in rows], reason=reason, heading=heading)
    desk.rows.append(
        structs.replace(
            row,
            attempts=max(row.attempts for row in rows),
            next_attempt_at=max(row.next_attempt_at for row in rows),
            expires_at=min(lives_until(row, row.about) for row in rows),
        )
    )


def digest(  # noqa: PLR0913 - a message has this many sides
    desk: Desk, channel: str, about: Sequence[Transition], keys: Sequence[str], *, reason: str, heading: str = ""
) -> Delivery:
    """A digest whose key comes from those of the messages in whose place it is: each is replaced only once."""
    about = tuple(sorted(about, key=lambda transition: transition.alert))  # stable: an alert's own order is kept
    key = f"digest|{sha256('|'.join(keys).encode()).hexdigest()[:16]}"
    return delivery(key, channel, unworded(desk.now, heading), desk.now, reason=reason, about=about)


def _keep_waiting(desk: Desk, channel: str) -> None:
    """A withdrawn message leaves its waiting time to the next: the far side asked for it, or needs it."""
    until = max(
        (row.next_attempt_at for row in desk.before if row.channel == channel and row.attempts), default=desk.now
    )
    for index, row in enumerate(desk.rows):
        if row.channel == channel and row.state is DeliveryState.QUEUED:
            if row.next_attempt_at < until:
                desk.rows[index] = structs.replace(row, next_attempt_at=until)
            return


# --- the machine's own network ---


def _offline_channels(rows: Sequence[Delivery]) -> dict[str, Delivery]:
    held = (row for row in rows if row.state is DeliveryState.HELD and row.reason == OFFLINE)
    return {row.channel: row for row in held}


def _mind_network(desk: Desk) -> None:
    waited, waiting = _offline_channels(desk.before), _offline_channels(desk.rows)
    for channel, row in waiting.items():
        if channel not in waited:
            age = facts.age(row.about[0], desk.now)
            since = clock(desk.now - age if age else row.about[0].since, desk.now, desk.routing.voice.tz)
            _notice(desk, channel, f"{_NOTICE}{row.key}", "This machine is offline", _OFFLINE_BODY.format(since=since))
    for channel, row in waited.items():
        if channel not in waiting and not desk.situation.offline:
            _say_online(desk, channel, row)


def _say_online(desk: Desk, channel: str, was: Delivery) -> None:
    """The end of the notice; where the notice itself never got out, neither is worth a word."""
    for index, row in enumerate(desk.rows):
        if row.channel == channel and row.key.startswith(_NOTICE) and row.state in IN_OUTBOX and not row.in_doubt:
            desk.rows[index] = structs.replace(row, state=DeliveryState.WITHDRAWN, outcome="online again")
            return
    _notice(desk, channel, f"online|{was.key}", "This machine is online again", "Providers can be reached again.")


def _notice(desk: Desk, channel: str, key: str, title: str, body: str) -> None:
    message = wording.notice(key, title, body, desk.now, Severity.INFO)
    desk.rows.append(delivery(key, channel, message, desk.now, reason="network", held=hold_quiet(desk.situation)))
