"""All that was ever decided, held against all that was received. Never kill or send here."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from msgspec import Struct, field

from benchmarks.crashes.world import SHAKY, STARTS_AT, STEADY, Receipt, World
from watcher.core.model import AlertEvent, Delivery, DeliveryState, Transition
from watcher.storage.store import DATABASE_FILE_NAME, Store


class Tally(Struct, kw_only=True):
    """What came of it all."""

    rounds: int = 0
    killed: int = 0
    polls: int = 0
    transitions: int = 0
    refused: int = 0  # by the receiver in a bad spell
    received: int = 0
    messages: int = 0
    cut_off: int = 0  # received again because the process died before the answer was kept
    mute: int = 0  # received again because no answer was given
    needless: int = 0
    lost: int = 0
    wrong: int = 0
    unordered: int = 0
    moments: Counter[str] = field(default_factory=Counter)  # how far the killed ones had come

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, wrong, out of order or sent again without need."""
        return not (self.lost or self.wrong or self.unordered or self.needless)


def compare(home: Path, world: World, killed_rounds: set[int], tally: Tally) -> None:
    """Fill in the tally from the database and from what the receivers took in."""
    store = Store(home / "state" / DATABASE_FILE_NAME, now=STARTS_AT, read_only=True)
    transitions = store.alerts.load_transitions(since=STARTS_AT)
    sent = store.outbox.load_finished(DeliveryState.SENT, since=STARTS_AT)
    tally.lost = len(store.outbox.load()) + len(store.outbox.load_finished(DeliveryState.DEAD, since=STARTS_AT))
    store.close()
    tally.rounds, tally.polls, tally.refused = world.round, world.polls, world.refused
    tally.transitions = len(transitions)
    for channel in (STEADY, SHAKY):
        receipts = [receipt for receipt in world.receipts if receipt.channel == channel]
        _count_repeats(receipts, killed_rounds, tally)
        _count_losses([row for row in sent if row.channel == channel], receipts, transitions, world, tally)


def _count_repeats(receipts: Sequence[Receipt], killed_rounds: set[int], tally: Tally) -> None:
    """A repeat is in order where the one before had no answer, or was the last of its channel before a kill.

    A channel has one message under way at a time: whatever came before the last had been kept as sent.
    """
    last = {receipt.round: number for number, receipt in enumerate(receipts)}
    before: dict[str, int] = {}
    for number, receipt in enumerate(receipts):
        if receipt.key in before:
            earlier = before[receipt.key]
            was = receipts[earlier]
            if was.mute:
                tally.mute += 1
            elif was.round in killed_rounds and last[was.round] == earlier:
                tally.cut_off += 1
            else:
                tally.needless += 1
        before[receipt.key] = number
    tally.received += len(receipts)
    tally.messages += len(before)


def _count_losses(
    sent: Sequence[Delivery], receipts: Sequence[Receipt], transitions: list[Transition], world: World, tally: Tally
) -> None:
    place: dict[str, int] = {}
    for number, receipt in enumerate(receipts):
        place.setdefault(receipt.key, number)
    told = [one for delivery in sent if delivery.key in place for one in delivery.transitions]
    unread = [delivery for delivery in sent if delivery.key not in place]
    tally.lost += len(unread) + _lost(transitions, told)
    tally.unordered += _unordered(transitions, place)
    for window, high in world.high.items():
        believed = [one for one in transitions if one.series.window == window and one in told][-1:]
        tally.wrong += bool(believed and believed[0].event is AlertEvent.FIRING) is not high


def _lost(transitions: list[Transition], told: list[Transition]) -> int:
    """Those that nobody read, and after which nobody read anything of the same alert."""
    lost = 0
    for alert in {one.alert_id for one in transitions}:
        of_alert = [one for one in transitions if one.alert_id == alert]
        read = [number for number, one in enumerate(of_alert) if one in told]
        lost += len(of_alert) - 1 - max(read, default=-1)
    return lost


def _unordered(transitions: list[Transition], place: dict[str, int]) -> int:
    """Messages of one alert whose first arrivals are not in the order of what they tell."""
    wrong = 0
    for alert in {transition.alert_id for transition in transitions}:
        places = [place[one.key] for one in transitions if one.alert_id == alert and one.key in place]
        wrong += sum(later < earlier for earlier, later in pairwise(places))
    return wrong
