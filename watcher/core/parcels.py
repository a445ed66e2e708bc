"""Rows of the outbox: how they are made, worded, freed and looked at. One row at a time; `desk` knows the rest.

Never decide here whether something is said.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct, structs

from watcher.core import wording
from watcher.core.backoff import LIFETIME
from watcher.core.hold import OFFLINE, QUIET, SNOOZED, Hold
from watcher.core.model import (
    OPENING,
    Delivery,
    DeliveryState,
    Message,
    Reading,
    Rule,
    Series,
    Severity,
    Transition,
)
from watcher.core.quiet import Quiet
from watcher.core.wording import Voice

SETTLE = timedelta(minutes=10)
"""How long alerts about missing readings wait after the network came back: time enough to ask every provider once."""

IN_OUTBOX = frozenset({DeliveryState.QUEUED, DeliveryState.HELD})

_STALE_FACTS = ("rate", "projected", "exhausts_in_s", "age_s")


class Routing(Struct, frozen=True, kw_only=True):
    """Where messages go, when they may, and how they speak."""

    channels: Mapping[str, str]  # name -> type, in the order of the configuration
    default: tuple[str, ...]
    routes: Mapping[Severity, tuple[str, ...]] = {}  # in place of the default for these severities
    quiet: Quiet | None = None
    voice: Voice


HEADINGS = {QUIET: "After quiet hours", SNOOZED: "After a snooze", OFFLINE: "Back online"}
"""What held a message back -> the first words of the digest that follows."""


def freshen(delivery: Delivery, rules: Mapping[str, Rule], routing: Routing, now: datetime) -> Delivery:
    """The delivery worded for `now`, under the same key: "resets in" is true at every attempt."""
    return worded(to_be_worded(delivery, now), rules, routing.voice, now)


def unworded(now: datetime, heading: str = "") -> Message:
    """What stands for a message until everything is decided: it has no event, and its title is a digest's heading."""
    return Message(id="", thread="", event="", severity=Severity.INFO, title=heading, body="", at=now, since=now)


def to_be_worded(row: Delivery, now: datetime) -> Delivery:
    """The row with its words to be found anew, but for those of a notice, which are its own."""
    if not row.about or not row.message.event:
        return row
    heading, found, _ = row.message.title.partition(": ")
    return structs.replace(row, message=unworded(now, heading if found and heading in HEADINGS.values() else ""))


def worded(row: Delivery, rules: Mapping[str, Rule], voice: Voice, now: datetime) -> Delivery:
    """The row with its message, if that is yet to be worded."""
    if row.message.event:
        return row
    message = _words(row.about, rules, voice, now, key=row.key, heading=row.message.title)
    return structs.replace(row, message=structs.replace(message, id=row.key))


def _words(  # noqa: PLR0913 - as `wording.digest`
    about: Sequence[Transition], rules: Mapping[str, Rule], voice: Voice, now: datetime, *, key: str, heading: str
) -> Message:
    """One transition's words, both turns of one alert in one message, or a digest."""
    first, last = about[0], about[-1]
    if heading or any(transition.alert != first.alert for transition in about):
        return wording.digest(about, rules, voice, now, key=key, heading=heading)
    rule = rules.get(last.rule)
    if len(about) > 1 and first.event in OPENING and last.event not in OPENING:
        return wording.both(first, last, rule, voice, now)
    return wording.say(last, rule, voice, now)


def delivery(  # noqa: PLR0913 - a record's parts, all but four of them named
    key: str,
    channel: str,
    message: Message,
    now: datetime,
    *,
    reason: str,
    about: tuple[Transition, ...] = (),
    held: Hold | None = None,
) -> Delivery:
    """A new delivery, queued or held."""
    until = (held.until or now + (SETTLE if held.reason == OFFLINE else timedelta(0))) if held else now
    return Delivery(
        key=key,
        channel=channel,
        message=message,
        reason=held.reason if held else reason,
        about=about,
        state=DeliveryState.HELD if held else DeliveryState.QUEUED,
        created_at=now,
        next_attempt_at=until,
        expires_at=now + LIFETIME,
    )


def lives_until(row: Delivery, about: Sequence[Transition]) -> datetime:
    """A day after the oldest of what it speaks of now; what was held back lives as long as it was given then."""
    return max(row.expires_at, min((one.at for one in about), default=row.created_at) + LIFETIME)


def freed_row(row: Delivery, now: datetime) -> Delivery:
    """A row that was held, to be sent now; its life begins anew."""
    return structs.replace(
        row, state=DeliveryState.QUEUED, next_attempt_at=now, expires_at=now + LIFETIME, reason="no longer held back"
    )


def alerts_of(rows: Iterable[Delivery]) -> set[str]:
    """The alerts that some rows speak of."""
    return {transition.alert for row in rows for transition in row.about}


def updated(transition: Transition, latest: Mapping[Series, Reading], now: datetime) -> Transition:
    """An alert that still lasts, with the reading of now; the forecast of then goes."""
    reading = latest.get(transition.series)
    if reading is None or transition.event not in OPENING:
        return transition
    facts = {name: value for name, value in transition.facts.items() if name not in _STALE_FACTS}
    return structs.replace(transition, reading=reading, facts=facts, at=now)
