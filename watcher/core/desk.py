"""The outbox while it is worked on, and what news changes in it: one transition, to every channel that it concerns.

Rows change in place; those that were there before keep their ids. What time changes is in `waiting`, what the number of
rows changes in `digests`. Thousands of alerts may begin and end at once, so a row is worded, and freed of what left it,
only when everything has been decided. Never word a message here.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct, structs

from watcher.core.hold import Hold, Situation, hold
from watcher.core.model import OPENING, Delivery, DeliveryState, Event, Rule, Series, Transition
from watcher.core.parcels import (
    IN_OUTBOX,
    Routing,
    delivery,
    freed_row,
    unworded,
    worded,
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
        self._said: dict[str, dict[int, list[Transition]]] = {}  # alert -> row -> what that row says of it
        self._alerts: dict[int, int] = {}  # row -> of how many alerts it speaks
        self._left: dict[int, set[str]] = {}  # row -> alerts of which it is no longer to speak
        self._indexed = 0

    @property
    def new(self) -> tuple[Delivery, ...]:
        """The rows to be put into the outbox, in order."""
        return tuple(self._worded(row) for row in self.rows[len(self.before) :] if row.state in IN_OUTBOX)

    @property
    def changed(self) -> tuple[Delivery, ...]:
        """The rows that are no longer as they were; what is not sent any more keeps its last words."""
        changed = ((row, was) for row, was in zip(self.rows, self.before, strict=False) if row is not was)
        final = (
            (self._worded(row) if row.state in IN_OUTBOX else structs.replace(row, message=was.message), was)
            for row, was in changed
        )
        return tuple(row for row, was in final if row != was)

    def _worded(self, row: Delivery) -> Delivery:
        return worded(row, self.rules, self.routing.voice, self.now)

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

    def settle(self) -> None:
        """Take out of each row, all at once, what it is no longer to speak of."""
        for index, gone in self._left.items():
            row = self.rows[index]
            rest = tuple(transition for transition in row.about if transition.alert not in gone)
            self.rows[index] = structs.replace(row, about=rest, message=unworded(self.now))
        self._left.clear()

    def _rows_of(self, alert: str) -> list[int]:
        """The rows that speak of an alert, in order."""
        while self._indexed < len(self.rows):
            self._index(self._indexed)
            self._indexed += 1
        return [index for index in sorted(self._said.get(alert, ())) if self.rows[index].state in IN_OUTBOX]

    def _index(self, index: int) -> None:
        alerts = set()
        for transition in self.rows[index].about:
            alert = transition.alert
            alerts.add(alert)
            self._said.setdefault(alert, {}).setdefault(index, []).append(transition)
        self._alerts[index] = len(alerts)

    def _is_unsaid(self, index: int, alert: str) -> bool:
        """Whether a row surely did not arrive and holds an alert's beginning: it may still be taken back."""
        row = self.rows[index]
        if row.in_doubt or row.state not in IN_OUTBOX:
            return False
        return any(transition.event in OPENING for transition in self._said[alert][index])

    def _firings(self, indexes: Iterable[int], alert: str) -> list[Transition]:
        return [each for index in indexes for each in self._said[alert][index] if each.event is Event.FIRING]

    def _channels_of(self, alert: str) -> list[str]:
        return list(dict.fromkeys(self.rows[index].channel for index in self._rows_of(alert)))

    def _open(self, transition: Transition, channel: str) -> None:
        unsaid = self._unsaid(channel, transition.alert)
        if transition.event is Event.REMINDER and (unsaid or self._in_doubt(channel, transition.alert)):
            self.choose(transition, channel, "duplicate: what it would repeat is still on its way", said=False)
            return
        firing = next(iter(self._firings(unsaid, transition.alert)), None)
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
        firings = self._firings(unsaid, transition.alert)
        was_held = all(self.rows[index].state is DeliveryState.HELD for index in unsaid)
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
        row = delivery(key, channel, unworded(self.now), self.now, reason=reason, about=about, held=held)
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
            row, gone = self.rows[index], self._said[alert].pop(index)
            for transition in gone if why else ():
                self.choose(transition, channel, why, said=False)
            self._alerts[index] -= 1
            if self._alerts[index]:
                self._left.setdefault(index, set()).add(alert)
            else:
                self._left.pop(index, None)
                self.rows[index] = structs.replace(row, state=DeliveryState.WITHDRAWN, outcome=why or OVER)
                place = index if place is None else place
        staying = [index for index in self._rows_of(alert) if self.rows[index].channel == channel]
        return None if place is not None and any(index > place for index in staying) else place

    def _taken(self, channel: str, alert: str) -> list[int]:
        """The rows that surely nobody read: openings, and all that follows an unread beginning.

        An attempt that is refused leaves its row unread although later ones were put behind it in the meantime.
        """
        rows = [index for index in self._rows_of(alert) if self.rows[index].channel == channel]
        unsaid = [index for index in rows if self._is_unsaid(index, alert)]
        first = next((index for index in unsaid if self._firings([index], alert)), len(self.rows))
        return [index for index in rows if index in unsaid or (index > first and not self.rows[index].in_doubt)]

    def _spare_repeats(self, channel: str, alert: str) -> None:
        """What may have arrived and is held back from being said again is not said again once the alert is over."""
        for index in self._rows_of(alert):
            row = self.rows[index]
            doubtful = row.state is DeliveryState.HELD and row.in_doubt and row.channel == channel
            if doubtful and self._alerts[index] == 1 and all(t.event in OPENING for t in self._said[alert][index]):
                self.rows[index] = structs.replace(row, state=DeliveryState.WITHDRAWN, outcome=OVER)

    def _let_endings_go_first(self, channel: str, alert: str) -> None:
        """An ending that is held may not come after the beginning that followed it."""
        for index in self._rows_of(alert):
            row = self.rows[index]
            ending = row.state is DeliveryState.HELD and not self._is_unsaid(index, alert)
            if row.channel == channel and ending:
                self.rows[index] = freed_row(row, self.now)

    def _unsaid(self, channel: str, alert: str) -> list[int]:
        return [index for index in self._taken(channel, alert) if self._is_unsaid(index, alert)]

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
