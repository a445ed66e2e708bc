"""The outbox while a plan is made: one transition at a time is routed to every channel that it concerns."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

from msgspec import Struct, structs

from watcher.core.model import (
    FIRING_EVENTS,
    AlertEvent,
    Delivery,
    DeliveryState,
    Message,
    Series,
    Severity,
    Transition,
)
from watcher.core.routing import messages
from watcher.core.routing.message_text import is_availability_rule
from watcher.core.routing.messages import Formatter
from watcher.core.routing.muting import OFFLINE_REASON, Mute, MutingContext, find_mute
from watcher.core.routing.retry import DELIVERY_LIFETIME, MAX_RETRY_WAIT
from watcher.core.rules.rule import Rule
from watcher.core.rules.time_intervals import TimeInterval

RECONNECT_GRACE_FOR = timedelta(minutes=10)
"""How long alerts about missing readings wait after the network came back, so that every provider is polled once."""

ALERT_OVER = "the alert is over"

_OUTBOX_STATES = frozenset({DeliveryState.QUEUED, DeliveryState.HELD})
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_UNWRITTEN = Message(
    id="", thread="", event="", severity=Severity.INFO, title="", body="", at=_LONG_AGO, since=_LONG_AGO
)


class Routing(Struct, frozen=True, kw_only=True):
    """Where messages go, when they may, and how they are worded."""

    channels: Mapping[str, str]  # name -> type, in the order of the configuration
    default: tuple[str, ...]
    routes: Mapping[Severity, tuple[str, ...]] = {}  # in place of the default for these severities
    mirrors: frozenset[str] = frozenset()  # channels that show what fires: they get no messages
    quiet_hours: TimeInterval | None = None
    formatter: Formatter

    def find_channels(self, rule: Rule | None, severity: Severity) -> tuple[str, ...]:
        """The channels of one level of a rule."""
        if rule is not None and rule.notify is not None:
            return rule.notify
        return self.routes.get(severity, self.default)


class Suppression(Struct, frozen=True, kw_only=True):
    """Why one transition is not sent to one channel, now or at all.

    The engine's `Decision` is about why there was a transition at all.
    """

    decided_at: datetime  # when it was decided
    transition_key: str  # of the transition
    rule: str
    series: Series
    event: AlertEvent
    channel: str  # empty: no channel at all
    reason: str


def create_delivery(  # noqa: PLR0913 - a record's parts, most of them named
    key: str,
    channel: str,
    now: datetime,
    *,
    reason: str,
    message: Message = _UNWRITTEN,
    about: tuple[Transition, ...] = (),
    mute: Mute | None = None,
) -> Delivery:
    """A new delivery, queued, or held by `mute`. Without `message` it is written when the plan is complete."""
    grace = RECONNECT_GRACE_FOR if mute and mute.reason == OFFLINE_REASON else timedelta(0)
    return Delivery(
        key=key,
        channel=channel,
        message=message,
        reason=mute.reason if mute else reason,
        transitions=about,
        state=DeliveryState.HELD if mute else DeliveryState.QUEUED,
        created_at=now,
        next_attempt_at=(mute and mute.until) or now + grace,
        expires_at=now + DELIVERY_LIFETIME,
    )


class Row:
    """One delivery while a plan is made; `about` has its transitions by alert."""

    def __init__(self, delivery: Delivery, before: Delivery | None = None) -> None:
        self.before = before  # as it was in the outbox; None for a new one
        self.replace(delivery)

    def replace(self, delivery: Delivery) -> None:
        """Put another delivery in this place."""
        self.delivery = delivery
        self.about: dict[str, list[Transition]] = {}
        for transition in delivery.transitions:
            self.about.setdefault(transition.alert_id, []).append(transition)

    def update(self, **changes: Any) -> None:
        """Change fields of the delivery, all but `about`."""
        self.delivery = structs.replace(self.delivery, **changes)

    def withdraw(self, outcome: str) -> None:
        """Take the delivery out of the outbox unsent."""
        self.update(state=DeliveryState.WITHDRAWN, last_response=outcome)

    def release(self, now: datetime) -> None:
        """Queue a held delivery: the first time with a whole lifetime, later only with time for a last attempt."""
        lifetime = DELIVERY_LIFETIME if self.is_untried else MAX_RETRY_WAIT
        self.update(
            state=DeliveryState.QUEUED,
            next_attempt_at=now,
            expires_at=max(self.delivery.expires_at, now + lifetime),
            reason="no longer held back",
        )

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """What the message is about now."""
        return tuple(chain.from_iterable(self.about.values()))

    @property
    def is_open(self) -> bool:
        """Whether it is in the outbox."""
        return self.delivery.state in _OUTBOX_STATES

    @property
    def is_untried(self) -> bool:
        """Whether it was neither attempted nor released so far: its lifetime is still the one it was created with."""
        lifetime = self.delivery.expires_at - self.delivery.created_at
        return not self.delivery.attempts and lifetime == DELIVERY_LIFETIME

    @property
    def is_held(self) -> bool:
        """Whether it waits for quiet hours, a snooze or the network."""
        return self.delivery.state is DeliveryState.HELD

    def has_firing(self, alert: str) -> bool:
        """Whether it says that an alert began."""
        return any(transition.event is AlertEvent.FIRING for transition in self.about[alert])

    def is_unread_opening(self, alert: str) -> bool:
        """Whether it surely did not arrive and says that an alert began or lasts: it may still be withdrawn."""
        return not self.delivery.in_doubt and any(each.event in FIRING_EVENTS for each in self.about[alert])


class OutboxChanges:
    """The rows of the outbox as a plan changes them, and what it suppresses. Rows of the outbox keep their ids."""

    def __init__(
        self, outbox: Sequence[Delivery], rules: Mapping[str, Rule], routing: Routing, context: MutingContext
    ) -> None:
        self.rules = rules
        self.routing = routing
        self.context = context
        self.now = context.now
        self.suppressions: list[Suppression] = []
        self.rows: list[Row] = []
        self._rows_by_alert: dict[str, list[Row]] = defaultdict(list)
        for delivery in outbox:
            self.add(delivery, delivery)

    def add(self, delivery: Delivery, before: Delivery | None = None) -> Row:
        """Put a delivery at the end of the outbox; `before` is the same where it is in the outbox already."""
        row = Row(delivery, before)
        self.rows.append(row)
        for alert in row.about:
            self._rows_by_alert[alert].append(row)
        return row

    def list_new_deliveries(self) -> tuple[Delivery, ...]:
        """The deliveries to be put into the outbox, in order, with their messages."""
        return tuple(self._write_message(row) for row in self.rows if row.before is None and row.is_open)

    def list_changed_deliveries(self) -> tuple[Delivery, ...]:
        """The deliveries of the outbox that are no longer as they were. One that left it keeps its last message."""
        return tuple(
            self._write_message(row) if row.is_open else row.delivery
            for row in self.rows
            if row.before is not None and (row.delivery != row.before or row.transitions != row.before.transitions)
        )

    def _write_message(self, row: Row) -> Delivery:
        delivery = structs.replace(row.delivery, transitions=row.transitions)
        return messages.write_message(delivery, self.rules, self.routing.formatter, self.now)

    def route_transition(self, transition: Transition) -> None:
        """Send one transition to all channels that it concerns."""
        channels = self._resolve_channels(transition)
        if transition.event not in FIRING_EVENTS:  # after a change of the route, what waits on the old one is over too
            for channel in self._list_channels(transition.alert_id):
                if channel not in channels:
                    self._withdraw(channel, transition.alert_id, ALERT_OVER)
        if not channels:
            self.record_suppression(transition, "", "no route leads to a channel")
        for channel in channels:
            if channel in self.routing.mirrors:
                continue
            if channel not in self.routing.channels:
                self.record_suppression(transition, channel, "there is no such channel")
            elif transition.event in FIRING_EVENTS:
                self._queue_opening(transition, channel)
            else:
                self._queue_closing(transition, channel)

    def withdraw_alert(self, alert: str) -> None:
        """Withdraw what has not been sent of an alert that ended without a transition."""
        for channel in self._list_channels(alert):
            self._withdraw(channel, alert, ALERT_OVER)

    def list_usable_channels(self, transition: Transition) -> list[str]:
        """The channels of a transition's route that get messages."""
        excluded = self.routing.mirrors
        return [
            each
            for each in self._resolve_channels(transition)
            if each in self.routing.channels and each not in excluded
        ]

    def is_waiting(self, alert: str, channel: str) -> bool:
        """Whether a message about an alert waits for a channel."""
        return bool(self._find_rows(alert, channel))

    def find_mute(self, transition: Transition) -> Mute | None:
        """What holds a transition back now; None: it may be sent."""
        rule = self.rules.get(transition.rule)
        return find_mute(transition, self.context, about_availability=is_availability_rule(rule))

    def record_suppression(self, transition: Transition, channel: str, reason: str, key: str = "") -> None:
        """Note why a transition is not sent. `key`: the transition's own, where it goes on under another event."""
        self.suppressions.append(
            Suppression(
                decided_at=self.now,
                transition_key=key or transition.key,
                rule=transition.rule,
                series=transition.series,
                event=transition.event,
                channel=channel,
                reason=reason,
            )
        )

    def _resolve_channels(self, transition: Transition) -> tuple[str, ...]:
        rule = self.rules.get(transition.rule)
        severities: tuple[Severity, ...] = (transition.severity,)
        if transition.event not in FIRING_EVENTS and transition.notified_severities:
            # A channel that got a higher severity gets the end too, whatever the severity is by then.
            severities = transition.notified_severities
        found = (self.routing.find_channels(rule, severity) for severity in severities)
        return tuple(dict.fromkeys(channel for channels in found for channel in channels))

    def _find_rows(self, alert: str, channel: str | None = None) -> list[Row]:
        """The rows that are about an alert, in order."""
        return [
            row
            for row in self._rows_by_alert[alert]
            if row.is_open and alert in row.about and channel in {None, row.delivery.channel}
        ]

    def _list_channels(self, alert: str) -> list[str]:
        return list(dict.fromkeys(row.delivery.channel for row in self._find_rows(alert)))

    def _find_unread(self, channel: str, alert: str) -> list[Row]:
        """The rows that surely did not arrive: openings, and all that follows an unread beginning.

        A refused attempt leaves its row unread although later ones were queued behind it in the meantime.
        """
        found, has_unread_beginning = [], False
        for row in self._find_rows(alert, channel):
            is_opening = row.is_unread_opening(alert)
            if is_opening or (has_unread_beginning and not row.delivery.in_doubt):
                found.append(row)
            has_unread_beginning = has_unread_beginning or (is_opening and row.has_firing(alert))
        return found

    def _find_unread_openings(self, channel: str, alert: str) -> list[Row]:
        return [row for row in self._find_unread(channel, alert) if row.is_unread_opening(alert)]

    def _queue_opening(self, transition: Transition, channel: str) -> None:
        alert, key = transition.alert_id, transition.key
        unread = self._find_unread_openings(channel, alert)
        in_doubt = any(row.delivery.in_doubt for row in self._find_rows(alert, channel))
        if transition.event is AlertEvent.REMINDER and (unread or in_doubt):
            reason = "duplicate: what it would repeat is still on its way"
            self.record_suppression(transition, channel, reason)
            return
        firing = _find_firing(unread, alert)
        if firing is not None and transition.event is AlertEvent.ESCALATED:  # the first that the reader gets of it
            transition = structs.replace(
                transition, event=AlertEvent.FIRING, occurrence=firing.occurrence, since=firing.since
            )
        mute = self.find_mute(transition)
        if mute is None:
            self._release_closings(channel, alert)
        self._withdraw(channel, alert, "overtaken by a newer message")
        self._queue(key, channel, (transition,), mute)

    def _queue_closing(self, transition: Transition, channel: str) -> None:
        """Queue the end of an alert, or the reset that a rule asked for."""
        alert = transition.alert_id
        unread = self._find_unread_openings(channel, alert)
        firing = _find_firing(unread, alert)
        was_held = all(row.is_held for row in unread)
        says_both = firing is not None and not was_held
        self._withdraw_repeats(channel, alert)
        self._withdraw(channel, alert, "" if says_both else ALERT_OVER)
        if firing is not None and was_held and transition.event is AlertEvent.RESOLVED:
            self.record_suppression(transition, channel, "it began and ended while it was held back")
            return
        about = (firing, transition) if firing is not None and says_both else (transition,)
        self._queue(transition.key, channel, about, self.find_mute(transition))

    def _queue(self, key: str, channel: str, about: tuple[Transition, ...], mute: Mute | None) -> None:
        """Put a message at the end of the outbox."""
        if mute is not None:
            self.record_suppression(about[-1], channel, mute.reason, key)
        self.add(create_delivery(key, channel, self.now, reason=about[-1].reason, about=about, mute=mute))

    def _withdraw(self, channel: str, alert: str, reason: str) -> None:
        """Withdraw what surely did not arrive; `reason` is empty where the message that follows says it too."""
        for row in self._find_unread(channel, alert):
            self.remove_alert(row, alert, reason)

    def remove_alert(self, row: Row, alert: str, reason: str) -> None:
        """Take an alert out of a message, and withdraw the message if it was about nothing else."""
        gone = row.about.pop(alert)
        for transition in gone if reason else ():
            self.record_suppression(transition, row.delivery.channel, reason)
        if not row.about:
            row.withdraw(reason or ALERT_OVER)

    def _withdraw_repeats(self, channel: str, alert: str) -> None:
        """Withdraw what is held and may have arrived: once the alert is over it is not sent again."""
        for row in self._find_rows(alert, channel):
            is_repeat = row.is_held and row.delivery.in_doubt and len(row.about) == 1
            if is_repeat and all(transition.event in FIRING_EVENTS for transition in row.about[alert]):
                row.withdraw(ALERT_OVER)

    def _release_closings(self, channel: str, alert: str) -> None:
        """Release an ending that is held: it must not come after the beginning that followed it."""
        for row in self._find_rows(alert, channel):
            if row.is_held and not row.is_unread_opening(alert):
                row.release(self.now)


def _find_firing(rows: Sequence[Row], alert: str) -> Transition | None:
    """The first transition in some rows that says that an alert began."""
    transitions = (transition for row in rows for transition in row.about[alert])
    return next((each for each in transitions if each.event is AlertEvent.FIRING), None)
