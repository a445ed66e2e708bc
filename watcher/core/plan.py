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

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from watcher.core import waiting
from watcher.core.desk import Choice, Desk
from watcher.core.digests import tidy
from watcher.core.hold import Situation, covers, ended_by, over
from watcher.core.model import Delivery, DeliveryState, Reading, Rule, Series, Snooze, Transition
from watcher.core.parcels import Routing, freshen
from watcher.core.quiet import starts_at as quiet_starts_at

__all__ = ["Choice", "Plan", "Routing", "freshen", "next_release", "plan", "release"]


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
    desk = Desk(outbox, rules, routing, _situation(routing, [s for s in snoozes if s not in ended], now, offline))
    for transition in transitions:
        desk.take(transition)
    spoken = {(transition.rule, transition.series) for transition in transitions}
    for rule, series in closed:
        if (rule, series) not in spoken:
            desk.forget(f"{rule}|{series}")
    desk.settle()
    tidy(desk)
    return _planned(desk, ended)


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
    desk = Desk(outbox, rules, routing, _situation(routing, [s for s in snoozes if s not in ended], now, offline))
    waiting.expire(desk)
    waiting.release(desk, latest or {})
    tidy(desk)
    return _planned(desk, ended)


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


def _situation(routing: Routing, snoozes: Sequence[Snooze], now: datetime, offline: bool) -> Situation:  # noqa: FBT001
    return Situation(now=now, tz=routing.voice.tz, quiet=routing.quiet, snoozes=tuple(snoozes), offline=offline)


def _planned(desk: Desk, ended: tuple[Snooze, ...]) -> Plan:
    return Plan(new=desk.new, changed=desk.changed, ended=ended, choices=tuple(desk.choices))
