"""The outbox while it is worked on: what news, time and the network change in it.

Rows change in place; those that were there before keep their ids. Never word a message here.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256

from msgspec import Struct, structs

from watcher.core import facts, wording
from watcher.core.backoff import LIFETIME, give_up
from watcher.core.hold import OFFLINE, Hold, Situation, hold, hold_quiet
from watcher.core.model import OPENING, Delivery, DeliveryState, Event, Reading, Rule, Series, Severity, Transition
from watcher.core.parcels import (
    HEADINGS,
    IN_OUTBOX,
    SETTLE,
    Routing,
    alerts_of,
    delivery,
    freed_row,
    freshen,
    is_event,
    is_unsaid,
    lives_until,
    speaks_of,
    updated,
    words,
)
from watcher.core.phrases import clock
from watcher.core.sentences import about_silence

ONE_BY_ONE = 3
"""As many alerts wait for a channel as single messages; more become a digest."""


class Choice(Struct, frozen=True, kw_only=True):
    """What was decided about one transition and one channel, and why."""

    rule: str
    series: Series
    event: Event
    channel: str  # empty: no channel at all
    said: bool  # False: not now, or never
    reason: str


_NOTICE = "offline|"
_OFFLINE_BODY = "No provider can be reached; the last reading is from {since}."


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
        self.waiting_for_network = self._offline_channels()

    @property
    def new(self) -> tuple[Delivery, ...]:
        """The rows to be put into the outbox, in order."""
        return tuple(row for row in self.rows[len(self.before) :] if row.state in IN_OUTBOX)

    @property
    def changed(self) -> tuple[Delivery, ...]:
        """The rows that are no longer as they were."""
        pairs = zip(self.rows, self.before, strict=False)
        return tuple(row for row, was in pairs if row is not was and row != was)

    # --- news

    def take(self, transition: Transition) -> None:
        """One transition to all channels that it concerns."""
        rule = self.rules.get(transition.rule)
        channels = self._channels(transition, rule)
        if transition.event not in OPENING:
            routed = set(channels)
            for channel in dict.fromkeys(row.channel for row in self.rows if speaks_of(row, transition.alert)):
                if channel not in routed:  # the route changed meanwhile: what waits there must not outlive the alert
                    self._withdraw(channel, transition.alert, "the alert is over")
        if not channels:
            self._choose(transition, "", "no route leads to a channel", said=False)
        for channel in channels:
            if channel not in self.routing.channels:
                self._choose(transition, channel, "there is no such channel", said=False)
            elif transition.event in OPENING:
                self._open(transition, rule, channel)
            else:
                self._close(transition, rule, channel)

    def forget(self, alert: str) -> None:
        """An alert ended without a word: what was not yet said of it stays unsaid."""
        for channel in dict.fromkeys(row.channel for row in self.rows if speaks_of(row, alert)):
            self._withdraw(channel, alert, "the alert is over")

    def _open(self, transition: Transition, rule: Rule | None, channel: str) -> None:
        unsaid = self._unsaid(channel, transition.alert)
        if transition.event is Event.REMINDER and (unsaid or self._in_doubt(channel, transition.alert)):
            self._choose(transition, channel, "duplicate: what it would repeat is still on its way", said=False)
            return
        firing = next((t for row in unsaid for t in row.about if is_event(t, transition.alert, Event.FIRING)), None)
        key = transition.key
        if firing is not None and transition.event is Event.ESCALATED:  # the first that the reader will hear of it
            transition = structs.replace(transition, event=Event.FIRING, nth=firing.nth, since=firing.since)
        held = self._hold(transition, rule)
        if held is None:
            self._let_endings_go_first(channel, transition.alert)
        place = self._withdraw(channel, transition.alert, "overtaken by a newer message")
        self._put(key, channel, (transition,), held, place)

    def _close(self, transition: Transition, rule: Rule | None, channel: str) -> None:
        """The end of an alert; `reset` is the end that a rule asked to hear of for its own sake."""
        unsaid = self._unsaid(channel, transition.alert)
        firings = [t for row in unsaid for t in row.about if is_event(t, transition.alert, Event.FIRING)]
        was_held = all(row.state is DeliveryState.HELD for row in unsaid)
        place = self._withdraw(channel, transition.alert, "the alert is over")
        if firings and was_held and transition.event is Event.RESOLVED:
            self._choose(transition, channel, "it began and ended while it was held back", said=False)
            return
        about = (firings[0], transition) if firings and not was_held else (transition,)
        self._put(transition.key, channel, about, self._hold(transition, rule), place)

    def _put(self, key: str, channel: str, about: tuple[Transition, ...], held: Hold | None, place: int | None) -> None:
        """A message in the outbox: at the place of the one that it overtakes, else at the end."""
        reason = held.reason if held else about[-1].reason
        self._choose(about[-1], channel, reason, said=held is None)
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

    def _withdraw(self, channel: str, alert: str, why: str) -> int | None:
        """Take back what was not yet said of an alert. Returns the place of a row that spoke of nothing else."""
        place = None
        for index, row in enumerate(self.rows):
            if row.channel != channel or not is_unsaid(row, alert):
                continue
            rest = tuple(transition for transition in row.about if transition.alert != alert)
            if rest:
                message = words(rest, self.rules, self.routing.voice, self.now, key=row.key)
                self.rows[index] = structs.replace(row, about=rest, message=structs.replace(message, id=row.key))
            else:
                self.rows[index] = structs.replace(row, state=DeliveryState.WITHDRAWN, outcome=why)
                place = index if place is None else place
        return place

    def _let_endings_go_first(self, channel: str, alert: str) -> None:
        """An ending that is held may not come after the beginning that followed it."""
        for index, row in enumerate(self.rows):
            ending = row.state is DeliveryState.HELD and speaks_of(row, alert) and not is_unsaid(row, alert)
            if row.channel == channel and ending:
                self.rows[index] = freed_row(row, self.now)

    def _unsaid(self, channel: str, alert: str) -> list[Delivery]:
        return [row for row in self.rows if row.channel == channel and is_unsaid(row, alert)]

    def _in_doubt(self, channel: str, alert: str) -> bool:
        return any(row.channel == channel and row.in_doubt and speaks_of(row, alert) for row in self.rows)

    def _hold(self, transition: Transition, rule: Rule | None) -> Hold | None:
        return hold(transition, self.situation, silence=about_silence(rule))

    def _channels(self, transition: Transition, rule: Rule | None) -> tuple[str, ...]:
        if rule is not None and rule.notify is not None:
            return rule.notify
        return self.routing.routes.get(transition.severity, self.routing.default)

    def _choose(self, transition: Transition, channel: str, reason: str, *, said: bool) -> None:
        self.choices.append(
            Choice(
                rule=transition.rule,
                series=transition.series,
                event=transition.event,
                channel=channel,
                said=said,
                reason=reason,
            )
        )

    # --- time

    def expire(self) -> None:
        """What waited its whole life is dead. Of a digest only what is that old; the younger rest goes on."""
        for index, row in enumerate(self.rows[: len(self.before)]):
            if row.state is not DeliveryState.QUEUED or row.in_doubt or self.now < row.expires_at:
                continue
            young = tuple(transition for transition in row.about if transition.at + LIFETIME > self.now)
            if len(young) == len(row.about) > 0:  # the old ones have left it meanwhile
                self.rows[index] = structs.replace(row, expires_at=lives_until(row, young))
                continue
            self.rows[index] = give_up(row)
            if young:
                rest = self._digest(row.channel, young, [row.key, "younger"], "the younger part of a digest")
                self.rows.append(structs.replace(rest, expires_at=lives_until(row, young)))

    def release(self, latest: Mapping[Series, Reading]) -> None:
        """Hold what has to wait from now on, and let go what no longer has to: one message a channel."""
        freed: dict[str, list[int]] = {}
        for index, row in enumerate(self.rows):
            if row.in_doubt or row.state not in IN_OUTBOX:
                continue
            held = self._hold_row(row)
            if held is None and row.state is DeliveryState.HELD:
                freed.setdefault(row.channel, []).append(index)
            elif held is not None:
                self.rows[index] = self._held(row, held)
        for channel, indexes in freed.items():
            self._let_go(channel, indexes, latest)

    def _hold_row(self, row: Delivery) -> Hold | None:
        if not row.about:
            return None if row.message.severity is Severity.CRITICAL else hold_quiet(self.situation)
        if row.state is DeliveryState.HELD and row.reason == OFFLINE and self.now < row.next_attempt_at:
            return Hold(OFFLINE, row.next_attempt_at)
        holds = [self._hold(transition, self.rules.get(transition.rule)) for transition in row.about]
        return None if None in holds else holds[0]

    def _held(self, row: Delivery, held: Hold) -> Delivery:
        until = held.until or row.next_attempt_at
        if held.reason == OFFLINE and self.situation.offline and row.next_attempt_at < self.now + SETTLE / 2:
            until = self.now + SETTLE
        if (row.state, row.reason, row.next_attempt_at) == (DeliveryState.HELD, held.reason, until):
            return row
        return structs.replace(row, state=DeliveryState.HELD, reason=held.reason, next_attempt_at=until)

    def _let_go(self, channel: str, indexes: Sequence[int], latest: Mapping[Series, Reading]) -> None:
        reasons = [self.rows[index].reason for index in indexes]
        for index in indexes:
            row = self.rows[index]
            about = tuple(updated(transition, latest, self.now) for transition in row.about)
            self.rows[index] = freshen(
                freed_row(structs.replace(row, about=about), self.now), self.rules, self.routing, self.now
            )
        causes = {cause for cause in HEADINGS if any(reason.startswith(cause) for reason in reasons)}
        heading = HEADINGS[causes.pop()] if len(causes) == 1 else ""
        speaking = [index for index in indexes if self.rows[index].about]
        if len(alerts_of(self.rows[index] for index in speaking)) > 1:
            self._gather(channel, speaking, "what was held back", heading=heading)

    # --- order

    def tidy(self) -> None:
        """One notice where the machine is offline, digests where many wait, and nobody ahead of a waiting channel."""
        self._mind_network()
        for channel in dict.fromkeys(row.channel for row in self.rows):
            self._collapse(channel)
            self._keep_waiting(channel)

    def _collapse(self, channel: str) -> None:
        waiting = [
            index
            for index, row in enumerate(self.rows)
            if row.channel == channel and row.state is DeliveryState.QUEUED and row.about and not row.in_doubt
        ]
        if len(waiting) > 1 and len(alerts_of(self.rows[index] for index in waiting)) > ONE_BY_ONE:
            self._gather(channel, waiting, "more than three at once")

    def _gather(self, channel: str, indexes: Sequence[int], reason: str, *, heading: str = "") -> None:
        """One digest in place of several rows. It waits as long as they had to and lives as long as the oldest."""
        rows = [self.rows[index] for index in indexes]
        for index, row in zip(indexes, rows, strict=True):
            self.rows[index] = structs.replace(row, state=DeliveryState.WITHDRAWN, outcome="part of a digest")
        about = [transition for row in rows for transition in row.about]
        row = self._digest(channel, about, [row.key for row in rows], reason, heading)
        self.rows.append(
            structs.replace(
                row,
                attempts=max(row.attempts for row in rows),
                next_attempt_at=max(row.next_attempt_at for row in rows),
                expires_at=min(lives_until(row, row.about) for row in rows),
            )
        )

    def _digest(
        self, channel: str, about: Sequence[Transition], keys: Sequence[str], reason: str, heading: str = ""
    ) -> Delivery:
        """A digest whose key comes from those of the messages in whose place it is: each is replaced only once."""
        about = tuple(sorted(about, key=lambda transition: transition.alert))  # stable: an alert's own order is kept
        key = f"digest|{sha256('|'.join(keys).encode()).hexdigest()[:16]}"
        message = words(about, self.rules, self.routing.voice, self.now, key=key, heading=heading)
        return delivery(key, channel, structs.replace(message, id=key), self.now, reason=reason, about=about)

    def _keep_waiting(self, channel: str) -> None:
        """A withdrawn message leaves its waiting time to the next: the far side asked for it, or needs it."""
        until = max(
            (row.next_attempt_at for row in self.before if row.channel == channel and row.attempts), default=self.now
        )
        for index, row in enumerate(self.rows):
            if row.channel == channel and row.state is DeliveryState.QUEUED:
                if row.next_attempt_at < until:
                    self.rows[index] = structs.replace(row, next_attempt_at=until)
                return

    # --- the machine's own network

    def _offline_channels(self) -> dict[str, Delivery]:
        held = (row for row in self.rows if row.state is DeliveryState.HELD and row.reason == OFFLINE)
        return {row.channel: row for row in held}

    def _mind_network(self) -> None:
        waiting = self._offline_channels()
        for channel, row in waiting.items():
            if channel not in self.waiting_for_network:
                age = facts.age(row.about[0], self.now)
                since = clock(self.now - age if age else row.about[0].since, self.now, self.routing.voice.tz)
                self._notice(
                    channel, f"{_NOTICE}{row.key}", "This machine is offline", _OFFLINE_BODY.format(since=since)
                )
        for channel, row in self.waiting_for_network.items():
            if channel not in waiting and not self.situation.offline:
                self._say_online(channel, row)

    def _say_online(self, channel: str, was: Delivery) -> None:
        """The end of the notice; where the notice itself never got out, neither is worth a word."""
        for index, row in enumerate(self.rows):
            if row.channel == channel and row.key.startswith(_NOTICE) and row.state in IN_OUTBOX and not row.in_doubt:
                self.rows[index] = structs.replace(row, state=DeliveryState.WITHDRAWN, outcome="online again")
                return
        self._notice(channel, f"online|{was.key}", "This machine is online again", "Providers can be reached again.")

    def _notice(self, channel: str, key: str, title: str, body: str) -> None:
        message = wording.notice(key, title, body, self.now, Severity.INFO)
        self.rows.append(delivery(key, channel, message, self.now, reason="network", held=hold_quiet(self.situation)))
