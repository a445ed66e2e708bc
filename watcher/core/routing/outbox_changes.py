"""The outbox while it is worked on, and what news changes in it: one transition, to every channel that it concerns.

Rows change in place; those that were there before keep their ids. What time changes is in `waiting`, what the number of
rows changes in `digests`. Thousands of alerts may begin and end at once, so a row is worded, and freed of what left it,
only when everything has been decided. Never word a message here.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct, structs

from watcher.core.model import FIRING_EVENTS, AlertEvent, Delivery, DeliveryState, Series, Transition
from watcher.core.routing.deliveries import (
    OUTBOX_STATES,
    Routing,
    create_delivery,
    make_placeholder,
    release_delivery,
    render_message,
)
from watcher.core.routing.message_text import is_availability_rule
from watcher.core.routing.muting import Mute, MutingContext, find_mute
from watcher.core.rules.rule import Rule

ALERT_OVER = "the alert is over"


class RoutingDecision(Struct, frozen=True, kw_only=True):
    """What was decided about one transition and one channel, and why.

    The engine's `Decision` says why there was a transition at all.
    """

    at: datetime  # when it was decided
    key: str  # of the transition
    rule: str
    series: Series
    event: AlertEvent
    channel: str  # empty: no channel at all
    said: bool  # False: not now, or never
    reason: str


class OutboxChanges:
    """The outbox while it is worked on: rows change in place, what was there before keeps its id."""

    def __init__(
        self, outbox: Sequence[Delivery], rules: Mapping[str, Rule], routing: Routing, context: MutingContext
    ) -> None:
        self.outbox_before = tuple(outbox)
        self.rows = list(outbox)
        self.rules = rules
        self.routing = routing
        self.context = context
        self.now = context.now
        self.decisions: list[RoutingDecision] = []
        self._transitions_by_alert: dict[
            str, dict[int, list[Transition]]
        ] = {}  # alert -> row -> what that row says of it
        self._alert_counts: dict[int, int] = {}  # row -> of how many alerts it speaks
        self._removed_alerts: dict[int, set[str]] = {}  # row -> alerts of which it is no longer to speak
        self._indexed_count = 0

    @property
    def new_deliveries(self) -> tuple[Delivery, ...]:
        """The rows to be put into the outbox, in order."""
        return tuple(
            self._render_message(row) for row in self.rows[len(self.outbox_before) :] if row.state in OUTBOX_STATES
        )

    @property
    def changed_deliveries(self) -> tuple[Delivery, ...]:
        """The rows that are no longer as they were; what is not sent any more keeps its last words."""
        changed = ((row, was) for row, was in zip(self.rows, self.outbox_before, strict=False) if row is not was)
        final = (
            (
                self._render_message(row) if row.state in OUTBOX_STATES else structs.replace(row, message=was.message),
                was,
            )
            for row, was in changed
        )
        return tuple(row for row, was in final if row != was)

    def _render_message(self, row: Delivery) -> Delivery:
        return render_message(row, self.rules, self.routing.formatter, self.now)

    def route_transition(self, transition: Transition) -> None:
        """One transition to all channels that it concerns."""
        channels = self._resolve_channels(transition)
        if transition.event not in FIRING_EVENTS:
            routed = set(channels)
            for channel in self._find_channels(transition.alert_id):
                if channel not in routed:  # the route changed meanwhile: what waits there must not outlive the alert
                    self._withdraw_rows(channel, transition.alert_id, ALERT_OVER)
        if not channels:
            self.record_decision(transition, "", "no route leads to a channel", delivered_now=False)
        for channel in channels:
            if channel not in self.routing.channels:
                self.record_decision(transition, channel, "there is no such channel", delivered_now=False)
            elif transition.event in FIRING_EVENTS:
                self._queue_opening(transition, channel)
            else:
                self._queue_closing(transition, channel)

    def withdraw_alert(self, alert: str) -> None:
        """An alert ended without a word: what was not yet said of it stays unsaid."""
        for channel in self._find_channels(alert):
            self._withdraw_rows(channel, alert, ALERT_OVER)

    def apply_removals(self) -> None:
        """Take out of each row, all at once, what it is no longer to speak of."""
        for index, gone in self._removed_alerts.items():
            row = self.rows[index]
            rest = tuple(transition for transition in row.about if transition.alert_id not in gone)
            self.rows[index] = structs.replace(row, about=rest, message=make_placeholder(self.now))
        self._removed_alerts.clear()

    def _find_rows(self, alert: str) -> list[int]:
        """The rows that speak of an alert, in order."""
        while self._indexed_count < len(self.rows):
            self._index_row(self._indexed_count)
            self._indexed_count += 1
        return [
            index
            for index in sorted(self._transitions_by_alert.get(alert, ()))
            if self.rows[index].state in OUTBOX_STATES
        ]

    def _index_row(self, index: int) -> None:
        alerts = set()
        for transition in self.rows[index].about:
            alert = transition.alert_id
            alerts.add(alert)
            self._transitions_by_alert.setdefault(alert, {}).setdefault(index, []).append(transition)
        self._alert_counts[index] = len(alerts)

    def _is_undelivered_opening(self, index: int, alert: str) -> bool:
        """Whether a row surely did not arrive and holds an alert's beginning: it may still be taken back."""
        row = self.rows[index]
        if row.in_doubt or row.state not in OUTBOX_STATES:
            return False
        return any(transition.event in FIRING_EVENTS for transition in self._transitions_by_alert[alert][index])

    def _find_firings(self, indexes: Iterable[int], alert: str) -> list[Transition]:
        return [
            each
            for index in indexes
            for each in self._transitions_by_alert[alert][index]
            if each.event is AlertEvent.FIRING
        ]

    def _find_channels(self, alert: str) -> list[str]:
        return list(dict.fromkeys(self.rows[index].channel for index in self._find_rows(alert)))

    def _queue_opening(self, transition: Transition, channel: str) -> None:
        unsaid = self._find_undelivered_openings(channel, transition.alert_id)
        if transition.event is AlertEvent.REMINDER and (
            unsaid or self._has_delivery_in_doubt(channel, transition.alert_id)
        ):
            self.record_decision(
                transition, channel, "duplicate: what it would repeat is still on its way", delivered_now=False
            )
            return
        firing = next(iter(self._find_firings(unsaid, transition.alert_id)), None)
        key = transition.key
        if firing is not None and transition.event is AlertEvent.ESCALATED:  # the first that the reader will hear of it
            transition = structs.replace(transition, event=AlertEvent.FIRING, nth=firing.nth, since=firing.since)
        held = self.find_mute(transition)
        if held is None:
            self._release_closings(channel, transition.alert_id)
        place = self._withdraw_rows(channel, transition.alert_id, "overtaken by a newer message")
        self._queue_delivery(key, channel, (transition,), held, place)

    def _queue_closing(self, transition: Transition, channel: str) -> None:
        """The end of an alert; `reset` is the end that a rule asked to hear of for its own sake."""
        unsaid = self._find_undelivered_openings(channel, transition.alert_id)
        firings = self._find_firings(unsaid, transition.alert_id)
        was_held = all(self.rows[index].state is DeliveryState.HELD for index in unsaid)
        says_both = bool(firings) and not was_held
        self._withdraw_repeats(channel, transition.alert_id)
        place = self._withdraw_rows(channel, transition.alert_id, "" if says_both else ALERT_OVER)
        if firings and was_held and transition.event is AlertEvent.RESOLVED:
            self.record_decision(transition, channel, "it began and ended while it was held back", delivered_now=False)
            return
        about = (firings[0], transition) if says_both else (transition,)
        self._queue_delivery(transition.key, channel, about, self.find_mute(transition), place)

    def _queue_delivery(
        self, key: str, channel: str, about: tuple[Transition, ...], mute: Mute | None, index: int | None
    ) -> None:
        """A message in the outbox: at the place of the one that it overtakes, else at the end."""
        reason = mute.reason if mute else about[-1].reason
        self.record_decision(about[-1], channel, reason, delivered_now=mute is None, transition_key=key)
        row = create_delivery(key, channel, make_placeholder(self.now), self.now, reason=reason, about=about, mute=mute)
        if index is None:
            self.rows.append(row)
            return
        old = self.rows[index]
        next_at = max(row.next_attempt_at, old.next_attempt_at) if old.attempts else row.next_attempt_at
        self.rows[index] = structs.replace(
            row,
            id=old.id,
            created_at=old.created_at,
            attempts=old.attempts,
            outcome=old.outcome,
            next_attempt_at=next_at,
        )
        self._index_row(index)

    def _withdraw_rows(self, channel: str, alert: str, reason: str) -> int | None:
        """Take back what was not yet said of an alert. Returns the place of a row that spoke of nothing else.

        `reason` is empty where the message that follows says it too. No place where a row of the alert that stays would
        then come after what is put there.
        """
        place = None
        for index in self._find_withdrawable(channel, alert):
            row, gone = self.rows[index], self._transitions_by_alert[alert].pop(index)
            for transition in gone if reason else ():
                self.record_decision(transition, channel, reason, delivered_now=False)
            self._alert_counts[index] -= 1
            if self._alert_counts[index]:
                self._removed_alerts.setdefault(index, set()).add(alert)
            else:
                self._removed_alerts.pop(index, None)
                self.rows[index] = structs.replace(row, state=DeliveryState.WITHDRAWN, outcome=reason or ALERT_OVER)
                place = index if place is None else place
        staying = [index for index in self._find_rows(alert) if self.rows[index].channel == channel]
        return None if place is not None and any(index > place for index in staying) else place

    def _find_withdrawable(self, channel: str, alert: str) -> list[int]:
        """The rows that surely nobody read: openings, and all that follows an unread beginning.

        An attempt that is refused leaves its row unread although later ones were put behind it in the meantime.
        """
        rows = [index for index in self._find_rows(alert) if self.rows[index].channel == channel]
        unsaid = [index for index in rows if self._is_undelivered_opening(index, alert)]
        first = next((index for index in unsaid if self._find_firings([index], alert)), len(self.rows))
        return [index for index in rows if index in unsaid or (index > first and not self.rows[index].in_doubt)]

    def _withdraw_repeats(self, channel: str, alert: str) -> None:
        """What may have arrived and is held back from being said again is not said again once the alert is over."""
        for index in self._find_rows(alert):
            row = self.rows[index]
            doubtful = row.state is DeliveryState.HELD and row.in_doubt and row.channel == channel
            if (
                doubtful
                and self._alert_counts[index] == 1
                and all(t.event in FIRING_EVENTS for t in self._transitions_by_alert[alert][index])
            ):
                self.rows[index] = structs.replace(row, state=DeliveryState.WITHDRAWN, outcome=ALERT_OVER)

    def _release_closings(self, channel: str, alert: str) -> None:
        """An ending that is held may not come after the beginning that followed it."""
        for index in self._find_rows(alert):
            row = self.rows[index]
            ending = row.state is DeliveryState.HELD and not self._is_undelivered_opening(index, alert)
            if row.channel == channel and ending:
                self.rows[index] = release_delivery(row, self.now)

    def _find_undelivered_openings(self, channel: str, alert: str) -> list[int]:
        return [
            index for index in self._find_withdrawable(channel, alert) if self._is_undelivered_opening(index, alert)
        ]

    def _has_delivery_in_doubt(self, channel: str, alert: str) -> bool:
        rows = (self.rows[index] for index in self._find_rows(alert))
        return any(row.channel == channel and row.in_doubt for row in rows)

    def find_mute(self, transition: Transition) -> Mute | None:
        """What holds a transition back at this instant; None: it may be said."""
        rule = self.rules.get(transition.rule)
        return find_mute(transition, self.context, about_availability=is_availability_rule(rule))

    def _resolve_channels(self, transition: Transition) -> tuple[str, ...]:
        rule = self.rules.get(transition.rule)
        if rule is not None and rule.notify is not None:
            return rule.notify
        routes, default = self.routing.routes, self.routing.default
        if transition.event in FIRING_EVENTS:
            return routes.get(transition.severity, default)
        # Whoever heard of it on its way up hears that it is over, whatever severity it came down to meanwhile.
        heard = transition.heard or (transition.severity,)
        return tuple(dict.fromkeys(channel for severity in heard for channel in routes.get(severity, default)))

    def record_decision(
        self, transition: Transition, channel: str, reason: str, *, delivered_now: bool, transition_key: str = ""
    ) -> None:
        """Note what was decided. `transition_key`: the transition's own, where it goes on under another event."""
        self.decisions.append(
            RoutingDecision(
                at=self.now,
                key=transition_key or transition.key,
                rule=transition.rule,
                series=transition.series,
                event=transition.event,
                channel=channel,
                said=delivered_now,
                reason=reason,
            )
        )
