"""All that was decided and all that was said, held against what each receiver heard. Never kill or answer here."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct, field

from benchmarks.hostile.receivers import CHANNELS, Heard
from benchmarks.hostile.world import SECRETS, World
from watcher.core.model import AlertEvent, DeliveryState, Transition
from watcher.storage.store import Store

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
HIGH, CLEAR = 80, 70  # as in the rule
MOST_MB, MOST_DESCRIPTORS, MOST_THREADS = 8.0, 2, 2


class Tally(Struct, kw_only=True):
    """What happened, and what came of it."""

    polls: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    transitions: int = 0
    heard: int = 0
    by_channel: Counter[str] = field(default_factory=Counter)  # of those heard
    refuges: int = 0  # how often the database had to go on elsewhere
    cut_off: int = 0
    lost: int = 0
    twice: int = 0
    false: int = 0
    wrong: int = 0
    late: list[int] = []  # answers above the threshold that did not yet make an alert of theirs fire
    rushed: int = 0
    secrets: int = 0
    crashes: int = 0
    grown_mb: float = 0.0
    grown_descriptors: int = 0
    grown_threads: int = 0
    notes: list[str] = []  # what should not have happened at all
    details: list[str] = []

    @property
    def is_clean(self) -> bool:
        """Whether everything held."""
        bad = self.lost, self.twice, self.false, self.wrong, self.rushed, self.secrets, self.crashes, self.notes
        return not any(bad) and not self.leaks

    @property
    def leaks(self) -> bool:
        """Whether the last life grew."""
        return self.grown_mb > MOST_MB or self.grown_descriptors > MOST_DESCRIPTORS or self.grown_threads > MOST_THREADS


class Era(Struct, frozen=True):
    """What one database held at its end."""

    transitions: list[Transition]
    told: dict[tuple[str, str], tuple[Transition, ...]]  # (channel, key) of a sent message -> what it says
    waiting: int


def read_era(path: Path, now: datetime) -> Era:
    """What the database holds now."""
    store = Store(path, now=now)
    transitions = store.alerts.load_transitions(since=LONG_AGO)
    sent = store.outbox.load_finished(DeliveryState.SENT, since=LONG_AGO)
    told = {(each.channel, each.key): each.transitions for each in sent}
    waiting = len(store.outbox.load())
    store.close()
    return Era(transitions, told, waiting)


def compare(world: World, eras: Sequence[Era], folder: Path, log: Sequence[str], tally: Tally) -> None:
    """Fill in the tally."""
    tally.polls, tally.heard = world.polls, len(world.heard)
    tally.by_channel.update(each.channel for each in world.heard)
    tally.faults.update(world.faults)
    tally.refuges = sum("Alerts go on from" in line for line in log)
    tally.rushed = sum(receiver.rushed for receiver in world.receivers.values())
    for number, era in enumerate(eras):
        tally.transitions += len(era.transitions)
        false = [one for one in era.transitions if not _is_true(one, world)]
        tally.false += len(false)
        tally.details += [f"false: {one.key} {one.event} at {one.at}, {one.reading}" for one in false]
        firing = [one for one in era.transitions if one.event is AlertEvent.FIRING]
        tally.late += [late for late in (_count_late(one, world) for one in firing) if late is not None]
        for channel in CHANNELS:
            _count_losses(world, number, era, channel, tally, is_last=number == len(eras) - 1)
    for channel in CHANNELS:
        heard = [each for each in world.heard if each.channel == channel]
        _count_wrong(world, channel, heard, tally)
        _count_repeats(heard, tally)
    crashes = [line for line in log if line.startswith("CRASH ")]
    tally.crashes = len(crashes)
    tally.details += crashes
    _find_secrets(world, folder, log, tally)


def _count_losses(  # noqa: PLR0913 - one channel of one database
    world: World, number: int, era: Era, channel: str, tally: Tally, *, is_last: bool
) -> None:
    heard = dict.fromkeys(each.key for each in world.heard if each.era == number and each.channel == channel)
    sent = {key: about for (whose, key), about in era.told.items() if whose == channel}
    unheard = [key for key, about in sent.items() if about and key not in heard]
    told = [one for key in heard for one in sent.get(key, ())]
    untold = _untold(era.transitions, told) if is_last else []
    tally.lost += len(unheard) + len(untold) + (era.waiting if is_last and channel == CHANNELS[0] else 0)
    tally.details += [f"lost: {key} is kept as sent to {channel} (database {number})" for key in unheard]
    tally.details += [f"lost: {one.key} at {one.at} was never told to {channel}" for one in untold]


def _count_wrong(world: World, channel: str, heard: Sequence[Heard], tally: Tally) -> None:
    """What the receiver believes in the end, having read all in the order of arrival, and what is so."""
    believed = {plain(series): event for each in heard for series, event in each.about}
    for name, used in world.used.items():
        if (believed.get(name) == AlertEvent.FIRING.value) is not (used > HIGH):
            tally.wrong += 1
            tally.details.append(f"wrong: {name} stands at {used} %, {channel} heard {believed.get(name)} of it last")


def _count_repeats(heard: Sequence[Heard], tally: Tally) -> None:
    """Messages heard again: because the first answer was cut off, and without need."""
    last: dict[tuple[int, str], Heard] = {}
    for each in heard:
        before = last.get((each.era, each.key))
        if before is not None and (not before.answered or before.life != each.life):
            tally.cut_off += 1
        elif before is not None:
            tally.twice += 1
            tally.details.append(f"twice: {each}")
        last[each.era, each.key] = each


def _untold(transitions: Sequence[Transition], told: Sequence[Transition]) -> list[Transition]:
    """Those that nobody heard of, and after which nobody heard of the same alert."""
    lost, later = [], set()
    for transition in reversed(transitions):
        if transition in told:
            later.add(transition.alert_id)
        lost += [] if transition.alert_id in later else [transition]
    return lost


def _is_true(transition: Transition, world: World) -> bool:
    """Whether an answer held the value of an event, and the value is one for that event."""
    used = _get_used(transition)
    if transition.event is AlertEvent.FIRING and not (used is not None and used > HIGH):
        return False
    if transition.event is AlertEvent.RESOLVED and used is not None and used >= CLEAR:
        return False
    served = {value for _, value in world.served[plain(str(transition.series))]}
    return used is None or round(used) in served


def _get_used(transition: Transition) -> float | None:
    reading = transition.reading
    if reading is not None and reading.used_percent is None and reading.remaining is not None:
        return 100.0 - float(reading.remaining)
    return None if reading is None else reading.used_percent


def _count_late(transition: Transition, world: World) -> int | None:
    """How many answers before the one that made an alert fire were above the threshold too; None: unknown."""
    answers = world.served[plain(str(transition.series))]
    last = next((number for number in reversed(range(len(answers))) if answers[number][0] == transition.at), None)
    if last is None:
        return None
    first = last
    while first > 0 and answers[first - 1][1] > HIGH:
        first -= 1
    return last - first


def plain(series: str) -> str:
    """A series without its account."""
    provider, _, window = series.rpartition(".")
    return f"{provider.partition('[')[0]}.{window}" if "[" in provider else series


def _find_secrets(world: World, folder: Path, log: Sequence[str], tally: Tally) -> None:
    homes = {folder / "home", folder / "config"}  # where they belong
    files = [path for path in folder.rglob("*") if path.is_file() and not homes & set(path.parents)]
    outputs = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    outputs["the log"] = "\n".join(log).encode()
    outputs |= {f"message {number}": body for number, body in enumerate(world.bodies)}
    for name, content in outputs.items():
        for secret in SECRETS:
            if secret.encode() in content:
                tally.secrets += 1
                tally.details.append(f"secret: {secret.split('-')[1]} in {name}")
