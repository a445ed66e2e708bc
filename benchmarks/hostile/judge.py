"""All that was decided and all that was said, held against what each receiver heard. Never kill or answer here."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from benchmarks.hostile.receivers import CHANNELS, Heard
from benchmarks.hostile.rules import RULES, Belief, Event, assume, follow, is_quiet, list_possible
from benchmarks.hostile.world import PATHS, SECRETS, SERIES, World
from watcher.core.model import DeliveryState
from watcher.storage.store import Store

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
HIGH = 80  # the threshold of the rule `plain`
COUNTS = ("lost", "twice", "false", "missed", "slow", "wrong", "rushed", "secrets", "crashes")
"""What must not be, at all."""
A_WHILE = timedelta(minutes=15)
POLLED_WITHIN = timedelta(minutes=75)  # every provider, also where nothing changes, unless it has failed
MOST_MB, MOST_DESCRIPTORS = 8.0, 2


class Tally(Struct, kw_only=True):
    """What happened, and what came of it."""

    within: timedelta = timedelta(minutes=15)  # a message is sent, if nothing holds it back; a leap is three minutes
    most_threads: int = 2
    polls: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    judged: int = 0  # answers held against each rule and window
    decided: Counter[str] = field(default_factory=Counter)  # event -> how often
    heard: int = 0
    by_channel: Counter[str] = field(default_factory=Counter)  # of those heard
    refuges: int = 0  # how often the database had to go on elsewhere
    cut_off: int = 0
    lost: int = 0
    twice: int = 0
    false: int = 0
    missed: int = 0
    slow: int = 0
    wrong: int = 0
    forgotten: int = 0
    late: list[int] = []  # answers above the threshold that did not yet make an alert of theirs fire
    waits: list[tuple[timedelta, str]] = []  # from a decision to its message, where nothing was in its way
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
        return not any(getattr(self, name) for name in (*COUNTS, "notes")) and not self.leaks

    @property
    def leaks(self) -> bool:
        """Whether the last life grew."""
        return (
            self.grown_mb > MOST_MB
            or self.grown_descriptors > MOST_DESCRIPTORS
            or self.grown_threads > self.most_threads
        )


class Era(Struct, frozen=True):
    """What one database held at its end."""

    sent: set[tuple[str, str]]  # (channel, key) of each message about an alert
    waiting: list[str]  # messages that should have been sent by then


class Past(Struct):
    """What one process noted, in its order."""

    life: str
    records: list[dict[str, Any]]
    is_destroyed: bool = False  # its database, afterwards


def read_era(path: Path, now: datetime) -> Era:
    """What the database holds now."""
    store = Store(path, now=now)
    sent = store.outbox.load_finished(DeliveryState.SENT, since=LONG_AGO)
    waiting = [f"{each.key} to {each.channel}" for each in store.outbox.load() if each.created_at < now - A_WHILE]
    store.close()
    return Era({(each.channel, each.key) for each in sent if each.transitions}, waiting)


def compare(  # noqa: PLR0913, PLR0917 - all that is known
    world: World, eras: Sequence[Era], lives: Sequence[Past], folder: Path, log: Sequence[str], tally: Tally
) -> None:
    """Fill in the tally."""
    tally.polls, tally.heard = world.polls, len(world.heard)
    tally.by_channel.update(each.channel for each in world.heard)
    tally.faults.update(world.faults)
    tally.refuges = sum("Alerts go on from" in line for line in log)
    tally.rushed = sum(receiver.rushed for receiver in world.receivers.values())
    for number, era in enumerate(eras):
        heard = {(each.channel, each.key) for each in world.heard if each.era == number}
        tally.lost += len(era.sent - heard)
        tally.details += [f"lost: {key} is kept as sent to {channel}" for channel, key in era.sent - heard]
    left = eras[-1].waiting if eras else []
    tally.lost += len(left)
    tally.details += [f"lost: {each} still waits" for each in left]
    alerts = Alerts(world, tally)
    for past in lives:
        alerts.live(past)
    for channel in CHANNELS:
        sending = Sending(channel, tally)
        for past in lives:
            sending.live(past)
    for channel in CHANNELS:
        told = [each for each in world.heard if each.channel == channel]
        alerts.compare_beliefs(channel, told)
        _count_repeats(told, tally)
    crashes = [line for line in log if line.startswith("CRASH ")]
    tally.crashes = len(crashes)
    tally.details += crashes
    _find_secrets(world, folder, log, tally)


class Alerts:
    """What each alert may be, answer by answer, beside what was decided."""

    def __init__(self, world: World, tally: Tally) -> None:
        self.world, self.tally = world, tally
        self.beliefs = {(rule, series): (Belief(),) for rule in RULES for series in SERIES}
        self.forgotten: set[str] = set()  # alerts of which nothing was decided since their record was lost
        self.seen_at: dict[str, datetime] = {}  # provider -> the last answer
        self.seen = dict.fromkeys(PATHS, 0)

    def live(self, past: Past) -> None:
        """One process from its beginning to its end."""
        disturbed, in_memory = set(PATHS), False
        polled_at: dict[str, datetime] = {}  # the last poll of a provider that answered, or when the clock was set
        results = _list_results(past.records)
        for number, (record, decided) in enumerate(results):
            if "step" in record:
                disturbed |= set(PATHS)
                polled_at = dict.fromkeys(polled_at, datetime.fromisoformat(record["at"]))
            elif "log" in record:
                in_memory |= "Alerts go on from memory" in record["log"]
            else:
                in_memory, provider, at = record["in_memory"], record["provider"], datetime.fromisoformat(record["at"])
                since_last = at - polled_at.pop(provider, at)
                self._count(since_last < POLLED_WITHIN, "slow", f"{provider} is polled at {at}, after {since_last}")
                polled_at |= {provider: at} if record["processed"] else {}
                if not record["processed"]:
                    self._count(not decided, "false", f"{decided} without an answer")
                    disturbed.add(provider)
                elif number < len(results) - 1:  # the log says that it was stored
                    self._judge_answer(record, decided, undisturbed=provider not in disturbed)
                    disturbed.discard(provider)
                else:
                    self._doubt_answer(record)
        for key in self.beliefs:
            if past.is_destroyed:
                self.beliefs[key] = (Belief(),)
            elif in_memory:
                self.beliefs[key] = list_possible(key[0])
        if past.is_destroyed or in_memory:
            self.forgotten = {f"{rule.name}|{series}" for rule, series in self.beliefs}

    def _judge_answer(
        self, record: dict[str, Any], decided: dict[str, list[dict[str, Any]]], *, undisturbed: bool
    ) -> None:
        """By one answer, what every rule decided about every window of its provider."""
        number, provider, at = record["processed"], record["provider"], datetime.fromisoformat(record["at"])
        used = self.world.served[number - 1].used
        since_last = at - self.seen_at.get(provider, at)
        for rule, series in self.beliefs:
            if series not in used:
                continue
            alert, percent = f"{rule.name}|{series}", used[series]
            event = self._read_event(alert, decided.pop(alert, []), percent)
            if event and event[0] == "firing" and rule.name == "plain":
                self.tally.late.append(self._count_unseen(series, number))
            follow_ups = [
                each
                for belief in self.beliefs[rule, series]
                for each in follow(rule, belief, percent, at, since_last, undisturbed=undisturbed)
            ]
            agreeing = tuple(dict.fromkeys(after for said, after in follow_ups if said == event))
            due = " or ".join(sorted({str(said) for said, _ in follow_ups}))
            what = f"{alert} at {percent} %, answer {number}: {event}, and not {due}"
            self.tally.judged += 1
            self._count(bool(agreeing), "false" if event else "missed", what)
            self.beliefs[rule, series] = agreeing or (assume(rule, event, self.beliefs[rule, series][0]),)
        self._count(not decided, "false", f"answer {number}: {decided}")
        self.seen_at[provider], self.seen[provider] = at, number

    def _read_event(self, alert: str, events: Sequence[dict[str, Any]], used: int) -> Event:
        """What was decided of an alert by an answer."""
        self._count(len(events) < 2, "false", f"{events} at once")
        if not events:
            return None
        kind, severity = events[0]["event"], events[0]["severity"]
        self.forgotten.discard(alert)
        self.tally.decided[kind] += 1
        self._count(round(events[0]["used"]) == used, "false", f"{events[0]}, but {used} % was served")
        return kind, "" if kind == "resolved" else severity

    def _doubt_answer(self, record: dict[str, Any]) -> None:
        """The process was killed meanwhile: what it decided may be stored or not."""
        at, used = datetime.fromisoformat(record["at"]), self.world.served[record["processed"] - 1].used
        for (rule, series), beliefs in self.beliefs.items():
            if series in used:
                either = [
                    after
                    for belief in beliefs
                    for _, after in follow(rule, belief, used[series], at, timedelta(0), undisturbed=False)
                ]
                self.beliefs[rule, series] = tuple(dict.fromkeys((*beliefs, *either)))

    def _count(self, is_true: bool, count: str, what: str) -> None:  # noqa: FBT001 - what is judged
        if not is_true:
            setattr(self.tally, count, getattr(self.tally, count) + 1)
            self.tally.details.append(f"{count}: {what}")

    def _count_unseen(self, series: str, number: int) -> int:
        """How many answers before this one were above the threshold too, and went under with a process or a poll."""
        count, provider = 0, series.partition(".")[0]
        for answer in reversed(self.world.served[self.seen[provider] : number - 1]):
            if answer.provider == provider:
                if answer.used[series] <= HIGH:
                    break
                count += 1
        return count

    def compare_beliefs(self, channel: str, told: Sequence[Heard]) -> None:
        """What the receiver believes in the end, having read all in the order of arrival, and what is so."""
        believed: dict[str, tuple[str, ...]] = {}  # the severities of an alert that fires
        for alert, event, severity in (about for each in told for about in each.about):
            believed[alert] = () if event == "resolved" else (*believed.get(alert, ()), severity)
        for (rule, series), beliefs in self.beliefs.items():
            alert = f"{rule.name}|{series}"
            severities = believed.get(alert, ())
            so = {belief.told for belief in beliefs}
            highest = max(
                (number for number, each in enumerate(rule.levels) if each.severity in severities), default=-1
            )
            if highest not in so or (rule.name == "plain" and bool(severities) is not (self.world.used[series] > HIGH)):
                self._count(
                    is_true=False,
                    count="forgotten" if alert in self.forgotten else "wrong",
                    what=f"{alert} stands at {self.world.used[series]} %, and {channel} believes {severities}",
                )


def _list_results(
    records: Sequence[dict[str, Any]],
) -> list[tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]]:
    """Each processed result with what was decided by it, and what else matters to the alerts, in order.

    A result whose transaction failed with the disk is processed once more, in memory: the second time counts.
    """
    found: list[tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]] = []
    last: dict[str, Any] | None = None
    for record in records:
        if "processed" in record:
            if last is not None and (last["processed"], last["in_memory"]) == (record["processed"], False):
                again = record["processed"] and last["provider"] == record["provider"]
                found = [each for each in found if each[0] is not last] if again else found
            last = record
            found.append((record, {}))
        elif "decided" in record and last is not None:
            next(each for each in reversed(found) if each[0] is last)[1].setdefault(record["decided"], []).append(
                record
            )
        elif "step" in record or "log" in record:
            found.append((record, {}))
    return found


class Sending:
    """Whether each message of a channel is true when it is first sent, and how long it took where nothing held it."""

    def __init__(self, channel: str, tally: Tally) -> None:
        self.channel, self.tally = channel, tally
        self.snoozed: dict[str, datetime] = {}
        self.tried: set[str] = set()

    def live(self, past: Past) -> None:
        """One process from its beginning to its end."""
        self.waiting: dict[str, datetime] = {}  # alert -> since when it may be told
        self.last: dict[str, str] = {}  # alert -> what was decided of it
        self.trying, self.works, self.at = "", False, LONG_AGO
        for record in past.records:
            self.at = datetime.fromisoformat(record["at"]) if "at" in record else self.at
            if "step" in record or "snoozed" in record or is_quiet(self.at):
                self.waiting.clear()
            self._look_for_late()
            if "snoozed" in record:
                self.snoozed[record["snoozed"]] = datetime.fromisoformat(record["until"])
            elif "decided" in record:
                self._wait(record["decided"], record["event"])
            elif record.get("channel") == self.channel and "sent" in record:
                self.works, self.trying = record["sent"] == self.trying, ""
            elif record.get("channel") == self.channel:
                self._try(record["trying"], {alert: event for alert, event, _ in record["about"]})

    def _wait(self, alert: str, event: str) -> None:
        self.last[alert] = event
        self.waiting.pop(alert, None)
        rule, _, series = alert.partition("|")
        held = [until for target, until in self.snoozed.items() if target in (rule, series)]
        if self.works and not is_quiet(self.at) and all(self.at > until + self.tally.within for until in held):
            self.waiting[alert] = self.at

    def _try(self, key: str, said: dict[str, str]) -> None:
        if self.trying:  # the attempt before was refused
            self.works = False
            self.waiting.clear()
        self.trying = key
        for alert in said.keys() & self.waiting.keys():
            what = f"{alert}, {self.channel}, sent at {self.at:%d %H:%M:%S}"
            self.tally.waits.append((self.at - self.waiting.pop(alert), what))
        if key not in self.tried:  # else it may have arrived before, and is followed by what is true now
            over = [each for each in said if said[each] != "resolved" and self.last.get(each) == "resolved"]
            self.tally.false += len(over)
            self.tally.details += [f"false: {each} is told to {self.channel} at {self.at}" for each in over]
        self.tried.add(key)

    def _look_for_late(self) -> None:
        late = [alert for alert, since in self.waiting.items() if self.at - since > self.tally.within]
        if late and (self.trying or not self.works):
            self.waiting.clear()  # refused, or in flight
            return
        self.tally.slow += len(late)
        self.tally.details += [
            f"slow: {each}, decided at {self.waiting.pop(each)}, is not sent to {self.channel}" for each in late
        ]


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
