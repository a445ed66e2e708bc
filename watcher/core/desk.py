"""The outbox while it is worked on, and what news changes in it: one transition, to every channel that it concerns.

Rows change in place; those that were there before keep their ids. What time changes is in `waiting`, what the number of
rows changes in `digests`. Never word a message here.
"""

from bisect import insort
from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct, structs

from watcher.core.hold import Hold, Situation, hold
from watcher.core.model import OPENING, Delivery, DeliveryState, Event, Rule, Series, Transition
from watcher.core.parcels import (
    IN_OUTBOX,
    Routing,
    delivery,
    freed_row,
    is_event,
    is_unsaid,
    speaks_of,
    words,
)
from watcher.core.sentences import about_silence

OVER = "the alert is over"


class Choice(Struct, frozen=True, kw_only=True):
    """What was decided about one transition and one channel, and why.

    The engine's `Decision` says why there was a transition at all.
    """

    at: datetime  # when it was decided
    key: str  # of the transition
    rule: str
    series: Series
    event: Event
    channel: str  # empty: no channel at all
    said: bool  # False: not now, or never
    reason: str


class Desk:
    """The outbox while it is worked on: rows change in place, what was there before keeps its id."""

    def __init__(
        self, outbox: Sequence[Delivery], rules: Mapping[str, Rule], routing: Routing, situation: Situation
    ) -> None:
        self.before = tuple(outbox)
        self.rows = list(outbox)
        self.rules = rules
        self.routing = routing
        self.situation = situation
        self.now = situation.now
        self.choices: list[Choice] = []
        self._places: dict[str, list[int]] = {}  # alert -> rows that spoke of it once, in order: thousands may come
        self._indexed = 0

    @property
    def new(self) -> tuple[Delivery, ...]:
        """The rows to be put into the outbox, in order."""
        return tuple(row for row in self.rows[len(self.before) :] if row.state in IN_OUTBOX)

    @property
    def changed(self) -> tuple[Delivery, ...]:
        """The rows that are no longer as they were."""
        pairs = zip(self.rows, self.before, strict=False)
        return tuple(row for row, was in pairs if row is not was and row != was)

    def take(self, transition: Transition) -> None:
        """One transition to all channels that it concerns."""
        channels = self._channels(transition)
        if transition.event not in OPENING:
            routed = set(channels)
            for channel in self._channels_of(transition.alert):
                if channel not in routed:  # the route changed meanwhile: what waits there must not outlive the alert
                    self._withdraw(channel, transition.alert, OVER)
        if not channels:
            self.choose(transition, "", "no route leads to a channel", said=False)
        for channel in channels:
            if channel not in self.routing.channels:
                self.choose(transition, channel, "there is no such channel", said=False)
            elif transition.event in OPENING:
                self._open(transition, channel)
            else:
                self._close(transition, channel)

    def forget(self, alert: str) -> None:
        """An alert ended without a word: what was not yet said of it stays unsaid."""
        for channel in self._channels_of(alert):
            self._withdraw(channel, alert, OVER)

    def _rows_of(self, alert: str) -> list[int]:
        """The rows that speak of an alert, in order."""
        while self._indexed < len(self.rows):
            self._index(self._indexed)
            self._indexed += 1
        return [index for index in self._places.get(alert, ()) if speaks_of(self.rows[index], alert)]

    def _index(self, index: int) -> None:
        for name in dict.fromkeys(transition.alert for transition in self.rows[index].about):
            places = self._places.setdefault(name, [])
            if index not in places:
                insort(places, index)

    def _channels_of(self, alert: str) -> list[str]:
        return list(dict.fromkeys(self.rows[index].channel for index in self._rows_of(alert)))

    def _open(self, transition: Transition, channel: str) -> None:
        unsaid = self._unsaid(channel, transition.alert)
        if transition.event is Event.REMINDER and (unsaid or self._in_doubt(channel, transition.alert)):
            self.choose(transition, channel, "duplicate: what it would repeat is still on its way", said=False)
            return
        firing = next((t for row in unsaid for t in row.about if is_event(t, transition.alert, Event.FIRING)), None)
        key = transition.key
        if firing is not None and transition.event is Event.ESCALATED:  # the first that the reader will hear of it
            transition = structs.replace(transition, event=Event.FIRING, nth=firing.nth, since=firing.since)
        held = self.held(transition)
        if held is None:
            self._let_endings_go_first(channel, transition.alert)
        place = self._withdraw(channel, transition.alert, "overtaken by a newer message")
        self._put(key, channel, (transition,), held, place)

    def _close(self, transition: Transition, channel: str) -> None:
        """The end of an alert; `reset` is the end that a rule asked to hear of for its own sake."""
        unsaid = self._unsaid(channel, transition.alert)
        firings = [t for row in unsaid for t in row.about if is_event(t, transition.alert, Event.FIRING)]
        was_held = all(row.state is DeliveryState.HELD for row in unsaid)
        says_both = bool(firings) and not was_held
        self._spare_repeats(channel, transition.alert)
        place = self._withdraw(channel, transition.alert, "" if says_both else OVER)
        if firings and was_held and transition.event is Event.RESOLVED:
            self.choose(transition, channel, "it began and ended while it was held back", said=False)
            return
        about = (firings[0], transition) if says_both else (transition,)
        self._put(transition.key, channel, about, self.held(transition), place)

    def _put(self, key: str, channel: str, about: tuple[Transition, ...], held: Hold | None, place: int | None) -> None:
        """A message in the outbox: at the place of the one that it overtakes, else at the end."""
        reason = held.reason if held else about[-1].reason
        self.choose(about[-1], channel, reason, said=held is None, key=key)
        message = words(about, self.rules, self.routing.voice, self.now, key=key)
        message = structs.replace(message, id=key)
        row = delivery(key, channel, message, self.now, reason=reason, about=about, held=held)
        if place is None:
            self.rows.append(row)
            return
        old = self.rows[place]
        next_at = max(row.next_attempt_at, old.next_attempt_at) if old.attempts else row.next_attempt_at
        self.rows[place] = structs.replace(
            row,
            id=old.id,
            created_at=old.created_at,
            attempts=old.attempts,
            outcome=old.outcome,
            next_attempt_at=next_at,
        )
        self._index(place)

    def _withdraw(self, channel: str, alert: str, why: str) -> int | None:
        """Take back what was not yet said of an alert. Returns the place of a row that spoke of nothing else.

        `why` is empty where the message that follows says it too. No place where a row of the alert that stays would
        then come after what is put there.
        """
        place = None
        for index in self._taken(channel, alert):
            row = self.rows[index]
            for gone in row.about if why else ():
                if gone.alert == alert:
                    self.choose(gone, channel, why, said=False)
            rest = tuple(transition for transition in row.about if transition.alert != alert)
            if rest:
                message = words(rest, self.rules, self.routing.voice, self.now, key=row.key)
                self.rows[index] = structs.replace(row, about=rest, message=structs.replace(message, id=row.key))
            else:
                self.rows[index] = structs.replace(row, state=DeliveryState.WITHDRAWN, outcome=why or OVER)
                place = index if place is None else place
        staying = [index for index in self._rows_of(alert) if self.rows[index].channel == channel]
        return None if place is not None and any(index > place for index in staying) else place

    def _taken(self, channel: str, alert: str) -> list[int]:
        """The rows that surely nobody read: openings, and all that follows an unread beginning.

        An attempt that is refused leaves its row unread although later ones were put behind it in the meantime.
        """
        rows = [index for index in self._rows_of(alert) if self.rows[index].channel == channel]
        unsaid = [index for index in rows if is_unsaid(self.rows[index], alert)]
        begun = (index for index in unsaid if any(is_event(t, alert, Event.FIRING) for t in self.rows[index].about))
        first = next(begun, len(self.rows))
        return [index for index in rows if index in unsaid or (index > first and not self.rows[index].in_doubt)]

    def _spare_repeats(self, channel: str, alert: str) -> None:
        """What may have arrived and is held back from being said again is not said again once the alert is over."""
        for index in self._rows_of(alert):
            row = self.rows[index]
            doubtful = row.state is DeliveryState.HELD and row.in_doubt and row.channel == channel
            if doubtful and row.about and all(t.alert == alert and t.event in OPENING for t in row.about):
                self.rows[index] = structs.replace(row, state=DeliveryState.WITHDRAWN, outcome=OVER)

    def _let_endings_go_first(self, channel: str, alert: str) -> None:
        """An ending that is held may not come after the beginning that followed it."""
        for index in self._rows_of(alert):
            row = self.rows[index]
            ending = row.state is DeliveryState.HELD and not is_unsaid(row, alert)
            if row.channel == channel and ending:
                self.rows[index] = freed_row(row, self.now)

    def _unsaid(self, channel: str, alert: str) -> list[Delivery]:
        rows = (self.rows[index] for index in self._taken(channel, alert))
        return [row for row in rows if is_unsaid(row, alert)]

    def _in_doubt(self, channel: str, alert: str) -> bool:
        rows = (self.rows[index] for index in self._rows_of(alert))
        return any(row.channel == channel and row.in_doubt for row in rows)

    def held(self, transition: Transition) -> Hold | None:
        """What holds a transition back at this instant; None: it may be said."""
        rule = self.rules.get(transition.rule)
        return hold(transition, self.situation, silence=about_silence(rule))

    def _channels(self, transition: Transition) -> tuple[str, ...]:
        rule = self.rules.get(transition.rule)
        if rule is not None and rule.notify is not None:
            return rule.notify
        routes, default = self.routing.routes, self.routing.default
        if transition.event in OPENING:
            return routes.get(transition.severity, default)
        # Whoever heard of it on its way up hears that it is over, whatever severity it came down to meanwhile.
        heard = transition.heard or (transition.severity,)
        return tuple(dict.fromkeys(channel for severity in heard for channel in routes.get(severity, default)))

    def choose(self, transition: Transition, channel: str, reason: str, *, said: bool, key: str = "") -> None:
        """Note what was decided. `key`: the transition's own, where it goes on under another event."""
        self.choices.append(
            Choice(
                at=self.now,
                key=key or transition.key,
                rule=transition.rule,
                series=transition.series,
                event=transition.event,
                channel=channel,
                said=said,
                reason=reason,
            )
        )
