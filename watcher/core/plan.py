"""Transitions x routes x quiet hours x snoozes x outbox -> deliveries, each with a reason.

What a person gets to read is decided here, and nowhere else:

- A message that has surely not arrived may still be changed. A higher level takes the place of a lower one; an alert
  that ends before its beginning was said is withdrawn where it was held back, and becomes one message that says both
  where its channel was down. Where an attempt was begun and no refusal came back it may have arrived: then it stays.
- The end of an alert that was told of is always told, later where it is held back.
- More than three alerts that wait for one channel become one digest. So whatever happens, a channel that comes back
  after a week has a few messages to take and the outbox a few to keep.
- Each decision to be silent is recorded with its reason.

State goes in, changes come out. Never word a message here, never send one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256

from msgspec import Struct, structs

from watcher.core import wording
from watcher.core.backoff import LIFETIME, give_up
from watcher.core.hold import (
    OFFLINE,
    OPENING,
    QUIET,
    SNOOZED,
    Hold,
    Situation,
    covers,
    ended_by,
    hold,
    hold_quiet,
    over,
)
from watcher.core.model import (
    Delivery,
    DeliveryState,
    Event,
    Message,
    Reading,
    Rule,
    Series,
    Severity,
    Snooze,
    Transition,
)
from watcher.core.phrases import clock
from watcher.core.quiet import Quiet
from watcher.core.quiet import starts_at as quiet_starts_at
from watcher.core.wording import Voice

ONE_BY_ONE = 3
"""As many alerts wait for a channel as single messages; more become a digest."""

SETTLE = timedelta(minutes=10)
"""How long alerts about missing readings wait after the network came back: time enough to ask every provider once."""

_IN_OUTBOX = frozenset({DeliveryState.QUEUED, DeliveryState.HELD})
_STALE_FACTS = ("rate", "projected", "exhausts_in_s", "age_s")


class Routing(Struct, frozen=True, kw_only=True):
    """Where messages go, when they may, and how they speak."""

    channels: Mapping[str, str]  # name -> type, in the order of the configuration
    default: tuple[str, ...]
    routes: Mapping[Severity, tuple[str, ...]] = {}  # in place of the default for these severities
    quiet: Quiet | None = None
    voice: Voice
    gather: timedelta = timedelta(seconds=2)  # how long a message waits for others of the same poll, to become a digest


class Choice(Struct, frozen=True, kw_only=True):
    """What was decided about one transition and one channel, and why."""

    rule: str
    series: Series
    event: Event
    channel: str  # empty: no channel at all
    said: bool  # False: not now, or never
    reason: str


class Plan(Struct, frozen=True, kw_only=True):
    """What becomes of the outbox. All of it belongs in the transaction of the alert states that led to it."""

    new: tuple[Delivery, ...] = ()  # in the order in which they are to be sent
    changed: tuple[Delivery, ...] = ()  # known by `id`: withdrawn, held, released, worded anew, moved into a digest
    ended: tuple[Snooze, ...] = ()  # to be forgotten
    choices: tuple[Choice, ...] = ()


def plan(  # noqa: PLR0913, PLR0917 - the contract of the pipeline; the rare ones are named
    transitions: Sequence[Transition],
    rules: Mapping[str, Rule],
    outbox: Sequence[Delivery],
    routing: Routing,
    snoozes: Sequence[Snooze],
    now: datetime,
    *,
    closed: Collection[tuple[str, Series]] = (),
    offline: bool = False,
) -> Plan:
    """What one judgement changes in the outbox.

    Args:
        transitions: in the order in which they happened.
        rules: those in force, by name; a rule that is missing is one no longer in force.
        outbox: all deliveries that are queued or held, oldest first.
        routing: where messages go.
        snoozes: those not yet forgotten.
        now: the instant of the judgement.
        closed: alerts that no longer fire, whatever the reason: where no transition says so, nobody asked to hear of
            it or there is nothing true to say, and what waits of them is withdrawn.
        offline: no provider can be reached: alerts about missing readings wait behind one notice.
    """
    ended = tuple(
        snooze
        for snooze in snoozes
        if over(snooze, now) or any(covers(snooze.target, one) and ended_by(snooze, one) for one in transitions)
    )
    desk = _Desk(outbox, rules, routing, _situation(routing, [s for s in snoozes if s not in ended], now, offline))
    for transition in transitions:
        desk.take(transition)
    spoken = {(transition.rule, transition.series) for transition in transitions}
    for rule, series in closed:
        if (rule, series) not in spoken:
            desk.forget(f"{rule}|{series}")
    desk.tidy()
    return desk.plan(ended)


def release(  # noqa: PLR0913 - as `plan`
    outbox: Sequence[Delivery],
    rules: Mapping[str, Rule],
    routing: Routing,
    snoozes: Sequence[Snooze],
    now: datetime,
    *,
    offline: bool = False,
    latest: Mapping[Series, Reading] | None = None,
    episodes: Mapping[str, int] | None = None,
) -> Plan:
    """What time alone changes in the outbox: the end of quiet hours or of a snooze, their beginning, expiry.

    Args:
        outbox: as in `plan`.
        rules: as in `plan`.
        routing: as in `plan`.
        snoozes: as in `plan`.
        now: the instant.
        offline: as in `plan`.
        latest: the last believed reading of each series, so that what waited is told with the values of now.
        episodes: the present episode of each written series: ends snoozes that last until the reset.
    """
    ended = tuple(snooze for snooze in snoozes if over(snooze, now, episodes))
    desk = _Desk(outbox, rules, routing, _situation(routing, [s for s in snoozes if s not in ended], now, offline))
    desk.expire()
    desk.release(latest or {})
    desk.tidy()
    return desk.plan(ended)


def next_release(
    outbox: Sequence[Delivery], routing: Routing, snoozes: Sequence[Snooze], now: datetime
) -> datetime | None:
    """When `release` has something to do at the latest; None where only news can bring that about."""
    instants = [delivery.expires_at for delivery in outbox if delivery.state is DeliveryState.QUEUED]
    instants += [delivery.next_attempt_at for delivery in outbox if delivery.state is DeliveryState.HELD]
    instants += [snooze.until for snooze in snoozes if snooze.until]
    if outbox and routing.quiet:
        instants.append(quiet_starts_at(routing.quiet, now, routing.voice.tz))
    return min((instant for instant in instants if instant > now), default=None)


def freshen(delivery: Delivery, rules: Mapping[str, Rule], routing: Routing, now: datetime) -> Delivery:
    """The delivery worded for `now`, under the same key: "resets in" is true at every attempt."""
    if not delivery.about:
        return delivery
    heading, found, _ = delivery.message.title.partition(": ")
    known = heading if found and heading in _HEADINGS.values() else ""
    message = _words(delivery.about, rules, routing.voice, now, key=delivery.key, heading=known)
    return structs.replace(delivery, message=structs.replace(message, id=delivery.key))


_HEADINGS = {QUIET: "After quiet hours", SNOOZED: "After a snooze", OFFLINE: "Back online"}


def _situation(routing: Routing, snoozes: Sequence[Snooze], now: datetime, offline: bool) -> Situation:  # noqa: FBT001
    return Situation(now=now, tz=routing.voice.tz, quiet=routing.quiet, snoozes=tuple(snoozes), offline=offline)


def _words(  # noqa: PLR0913 - as `wording.digest`
    about: Sequence[Transition], rules: Mapping[str, Rule], voice: Voice, now: datetime, *, key: str, heading: str = ""
) -> Message:
    first, last = about[0], about[-1]
    if len({transition.alert for transition in about}) > 1 or heading:
        return wording.digest(about, rules, voice, now, key=key, heading=heading)
    rule = rules.get(last.rule)
    if len(about) > 1 and first.event in OPENING and last.event not in OPENING:
        return wording.both(first, last, rule, voice, now)
    return wording.say(last, rule, voice, now)


class _Desk:
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

    def plan(self, ended: tuple[Snooze, ...]) -> Plan:
        old = len(self.before)
        return Plan(
            new=tuple(row for row in self.rows[old:] if row.state in _IN_OUTBOX),
            changed=tuple(
                row for row, was in zip(self.rows, self.before, strict=False) if row is not was and row != was
            ),
            ended=ended,
            choices=tuple(self.choices),
        )

    # --- news

    def take(self, transition: Transition) -> None:
        """One transition to all channels that it concerns."""
        rule = self.rules.get(transition.rule)
        channels = self._channels(transition, rule)
        if transition.event not in OPENING:
            routed = set(channels)
            for channel in dict.fromkeys(row.channel for row in self.rows if _speaks_of(row, transition.alert)):
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
        for channel in dict.fromkeys(row.channel for row in self.rows if _speaks_of(row, alert)):
            self._withdraw(channel, alert, "the alert is over")

    def _open(self, transition: Transition, rule: Rule | None, channel: str) -> None:
        unsaid = self._unsaid(channel, transition.alert)
        if transition.event is Event.REMINDER and (unsaid or self._in_doubt(channel, transition.alert)):
            self._choose(transition, channel, "duplicate: what it would repeat is still on its way", said=False)
            return
        firing = next((t for row in unsaid for t in row.about if _is(t, transition.alert, Event.FIRING)), None)
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
        firings = [t for row in unsaid for t in row.about if _is(t, transition.alert, Event.FIRING)]
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
        message = _words(about, self.rules, self.routing.voice, self.now, key=key)
        message = structs.replace(message, id=key)
        row = _delivery(key, channel, message, self.now, reason=reason, about=about, held=held)
        if held is None:
            row = structs.replace(row, next_attempt_at=self.now + self.routing.gather)
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
            if row.channel != channel or not _is_unsaid(row, alert):
                continue
            rest = tuple(transition for transition in row.about if transition.alert != alert)
            if rest:
                message = _words(rest, self.rules, self.routing.voice, self.now, key=row.key)
                self.rows[index] = structs.replace(row, about=rest, message=structs.replace(message, id=row.key))
            else:
                self.rows[index] = structs.replace(row, state=DeliveryState.WITHDRAWN, outcome=why)
                place = index if place is None else place
        return place

    def _let_endings_go_first(self, channel: str, alert: str) -> None:
        """An ending that is held may not come after the beginning that followed it."""
        for index, row in enumerate(self.rows):
            ending = row.state is DeliveryState.HELD and _speaks_of(row, alert) and not _is_unsaid(row, alert)
            if row.channel == channel and ending:
                self.rows[index] = _freed(row, self.now)

    def _unsaid(self, channel: str, alert: str) -> list[Delivery]:
        return [row for row in self.rows if row.channel == channel and _is_unsaid(row, alert)]

    def _in_doubt(self, channel: str, alert: str) -> bool:
        return any(row.channel == channel and row.in_doubt and _speaks_of(row, alert) for row in self.rows)

    def _hold(self, transition: Transition, rule: Rule | None) -> Hold | None:
        return hold(transition, self.situation, silence=wording.about_silence(rule))

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
                self.rows[index] = structs.replace(row, expires_at=_lives_until(row, young))
                continue
            self.rows[index] = give_up(row)
            if young:
                rest = self._digest(row.channel, young, [row.key, "younger"], "the younger part of a digest")
                self.rows.append(structs.replace(rest, expires_at=_lives_until(row, young)))

    def release(self, latest: Mapping[Series, Reading]) -> None:
        """Hold what has to wait from now on, and let go what no longer has to: one message a channel."""
        freed: dict[str, list[int]] = {}
        for index, row in enumerate(self.rows):
            if row.in_doubt or row.state not in _IN_OUTBOX:
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
            about = tuple(_updated(transition, latest, self.now) for transition in row.about)
            self.rows[index] = freshen(
                _freed(structs.replace(row, about=about), self.now), self.rules, self.routing, self.now
            )
        causes = {cause for cause in _HEADINGS if any(reason.startswith(cause) for reason in reasons)}
        heading = _HEADINGS[causes.pop()] if len(causes) == 1 else ""
        speaking = [index for index in indexes if self.rows[index].about]
        if len(_alerts(self.rows[index] for index in speaking)) > 1:
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
        if len(waiting) > 1 and len(_alerts(self.rows[index] for index in waiting)) > ONE_BY_ONE:
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
                expires_at=min(_lives_until(row, row.about) for row in rows),
            )
        )

    def _digest(
        self, channel: str, about: Sequence[Transition], keys: Sequence[str], reason: str, heading: str = ""
    ) -> Delivery:
        """A digest whose key comes from those of the messages in whose place it is: each is replaced only once."""
        about = tuple(sorted(about, key=lambda transition: transition.alert))  # stable: an alert's own order is kept
        key = f"digest|{sha256('|'.join(keys).encode()).hexdigest()[:16]}"
        message = _words(about, self.rules, self.routing.voice, self.now, key=key, heading=heading)
        return _delivery(key, channel, structs.replace(message, id=key), self.now, reason=reason, about=about)

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
                since = clock(row.about[0].since, self.now, self.routing.voice.tz)
                self._notice(
                    channel, f"{_NOTICE}{row.key}", "This machine is offline", _OFFLINE_BODY.format(since=since)
                )
        for channel, row in self.waiting_for_network.items():
            if channel not in waiting and not self.situation.offline:
                self._say_online(channel, row)

    def _say_online(self, channel: str, was: Delivery) -> None:
        """The end of the notice; where the notice itself never got out, neither is worth a word."""
        for index, row in enumerate(self.rows):
            if row.channel == channel and row.key.startswith(_NOTICE) and row.state in _IN_OUTBOX and not row.in_doubt:
                self.rows[index] = structs.replace(row, state=DeliveryState.WITHDRAWN, outcome="online again")
                return
        self._notice(channel, f"online|{was.key}", "This machine is online again", "Providers can be reached again.")

    def _notice(self, channel: str, key: str, title: str, body: str) -> None:
        message = wording.notice(key, title, body, self.now, Severity.INFO)
        self.rows.append(_delivery(key, channel, message, self.now, reason="network", held=hold_quiet(self.situation)))


_NOTICE = "offline|"
_OFFLINE_BODY = "No provider can be reached; the last readings are from before {since}."


def _delivery(  # noqa: PLR0913 - a record's parts, all but four of them named
    key: str,
    channel: str,
    message: Message,
    now: datetime,
    *,
    reason: str,
    about: tuple[Transition, ...] = (),
    held: Hold | None = None,
) -> Delivery:
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


def _lives_until(row: Delivery, about: Sequence[Transition]) -> datetime:
    """A day after the oldest of what it speaks of now; what was held back lives as long as it was given then."""
    return max(row.expires_at, min((one.at for one in about), default=row.created_at) + LIFETIME)


def _freed(row: Delivery, now: datetime) -> Delivery:
    return structs.replace(
        row, state=DeliveryState.QUEUED, next_attempt_at=now, expires_at=now + LIFETIME, reason="no longer held back"
    )


def _alerts(rows: Iterable[Delivery]) -> set[str]:
    return {transition.alert for row in rows for transition in row.about}


def _updated(transition: Transition, latest: Mapping[Series, Reading], now: datetime) -> Transition:
    """An alert that still lasts, with the reading of now; the forecast of then goes."""
    reading = latest.get(transition.series)
    if reading is None or transition.event not in OPENING:
        return transition
    facts = {name: value for name, value in transition.facts.items() if name not in _STALE_FACTS}
    return structs.replace(transition, reading=reading, facts=facts, at=now)


def _speaks_of(row: Delivery, alert: str) -> bool:
    return row.state in _IN_OUTBOX and any(transition.alert == alert for transition in row.about)


def _is_unsaid(row: Delivery, alert: str) -> bool:
    """Whether a row surely did not arrive and holds an alert's beginning: it may still be taken back."""
    if row.in_doubt or row.state not in _IN_OUTBOX:
        return False
    return any(transition.alert == alert and transition.event in OPENING for transition in row.about)


def _is(transition: Transition, alert: str, event: Event) -> bool:
    return transition.alert == alert and transition.event is event
