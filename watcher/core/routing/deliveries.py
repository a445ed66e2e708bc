"""Rows of the outbox: how they are made, worded, freed and looked at. One row at a time; `desk` knows the rest.

Never decide here whether something is said.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct, structs

from watcher.core.model import FIRING_EVENTS, Delivery, DeliveryState, Message, Reading, Series, Severity, Transition
from watcher.core.routing import messages
from watcher.core.routing.messages import Formatter
from watcher.core.routing.muting import OFFLINE_REASON, QUIET_HOURS_REASON, SNOOZED_REASON, Mute
from watcher.core.routing.retry import DELIVERY_LIFETIME
from watcher.core.rules.rule import Rule
from watcher.core.rules.time_intervals import QuietHours

RECONNECT_GRACE_FOR = timedelta(minutes=10)
"""How long alerts about missing readings wait after the network came back: time enough to ask every provider once."""

OUTBOX_STATES = frozenset({DeliveryState.QUEUED, DeliveryState.HELD})

_STALE_FACTS = ("rate", "projected", "exhausts_in_s", "age_s")


class Routing(Struct, frozen=True, kw_only=True):
    """Where messages go, when they may, and how they speak."""

    channels: Mapping[str, str]  # name -> type, in the order of the configuration
    default: tuple[str, ...]
    routes: Mapping[Severity, tuple[str, ...]] = {}  # in place of the default for these severities
    quiet_hours: QuietHours | None = None
    formatter: Formatter


DIGEST_HEADINGS = {
    QUIET_HOURS_REASON: "After quiet hours",
    SNOOZED_REASON: "After a snooze",
    OFFLINE_REASON: "Back online",
}
"""What held a message back -> the first words of the digest that follows."""


def refresh_message(delivery: Delivery, rules: Mapping[str, Rule], routing: Routing, now: datetime) -> Delivery:
    """The delivery worded for `now`, under the same key: "resets in" is true at every attempt."""
    return render_message(clear_message(delivery, now), rules, routing.formatter, now)


def make_placeholder(now: datetime, heading: str = "") -> Message:
    """What stands for a message until everything is decided: it has no event, and its title is a digest's heading."""
    return Message(id="", thread="", event="", severity=Severity.INFO, title=heading, body="", at=now, since=now)


def clear_message(row: Delivery, now: datetime) -> Delivery:
    """The row with its words to be found anew, but for those of a notice, which are its own."""
    if not row.about or not row.message.event:
        return row
    heading, found, _ = row.message.title.partition(": ")
    return structs.replace(
        row, message=make_placeholder(now, heading if found and heading in DIGEST_HEADINGS.values() else "")
    )


def render_message(row: Delivery, rules: Mapping[str, Rule], formatter: Formatter, now: datetime) -> Delivery:
    """The row with its message, if that is yet to be worded."""
    if row.message.event:
        return row
    message = _compose_message(row.about, rules, formatter, now, key=row.key, heading=row.message.title)
    return structs.replace(row, message=structs.replace(message, id=row.key))


def _compose_message(  # noqa: PLR0913 - as `wording.digest`
    about: Sequence[Transition],
    rules: Mapping[str, Rule],
    formatter: Formatter,
    now: datetime,
    *,
    key: str,
    heading: str,
) -> Message:
    """One transition's words, both turns of one alert in one message, or a digest."""
    first, last = about[0], about[-1]
    if heading or any(transition.alert_id != first.alert_id for transition in about):
        return messages.compose_digest(about, rules, formatter, now, key=key, heading=heading)
    rule = rules.get(last.rule)
    if len(about) > 1 and first.event in FIRING_EVENTS and last.event not in FIRING_EVENTS:
        return messages.compose_combined_message(first, last, rule, formatter, now)
    return messages.compose_message(last, rule, formatter, now)


def create_delivery(  # noqa: PLR0913 - a record's parts, all but four of them named
    key: str,
    channel: str,
    message: Message,
    now: datetime,
    *,
    reason: str,
    about: tuple[Transition, ...] = (),
    mute: Mute | None = None,
) -> Delivery:
    """A new delivery, queued or held."""
    until = (
        (mute.until or now + (RECONNECT_GRACE_FOR if mute.reason == OFFLINE_REASON else timedelta(0))) if mute else now
    )
    return Delivery(
        key=key,
        channel=channel,
        message=message,
        reason=mute.reason if mute else reason,
        about=about,
        state=DeliveryState.HELD if mute else DeliveryState.QUEUED,
        created_at=now,
        next_attempt_at=until,
        expires_at=now + DELIVERY_LIFETIME,
    )


def compute_expiry(row: Delivery, about: Sequence[Transition]) -> datetime:
    """A day after the oldest of what it speaks of now; what was held back lives as long as it was given then."""
    return max(row.expires_at, min((one.at for one in about), default=row.created_at) + DELIVERY_LIFETIME)


def release_delivery(row: Delivery, now: datetime) -> Delivery:
    """A row that was held, to be sent now; its life begins anew."""
    return structs.replace(
        row,
        state=DeliveryState.QUEUED,
        next_attempt_at=now,
        expires_at=now + DELIVERY_LIFETIME,
        reason="no longer held back",
    )


def collect_alerts(rows: Iterable[Delivery]) -> set[str]:
    """The alerts that some rows speak of."""
    return {transition.alert_id for row in rows for transition in row.about}


def refresh_transition(transition: Transition, latest_readings: Mapping[Series, Reading], now: datetime) -> Transition:
    """An alert that still lasts, with the reading of now; the forecast of then goes."""
    reading = latest_readings.get(transition.series)
    if reading is None or transition.event not in FIRING_EVENTS:
        return transition
    facts = {name: value for name, value in transition.facts.items() if name not in _STALE_FACTS}
    return structs.replace(transition, reading=reading, facts=facts, at=now)
