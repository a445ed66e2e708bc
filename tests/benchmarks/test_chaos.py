"""The daemon in a hostile world, in small; `python -m benchmarks chaos` plays thousands of polls."""

import re
import sys
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("reads /proc, and sends SIGKILL", allow_module_level=True)

from benchmarks.chaos import play
from benchmarks.hostile import faults
from benchmarks.hostile.judge import COUNTS, Era, Past, Tally, compare
from benchmarks.hostile.receivers import CHANNELS, Heard
from benchmarks.hostile.rules import RULES, write_rules
from benchmarks.hostile.world import LEAST_LOW, SECRETS, START, Answer, World

TOP = Path(__file__).parents[2]
M = timedelta(minutes=1)


@pytest.mark.slow  # hundreds of polls under faults
def test_nothing_is_lost_false_late_or_sent_twice_whatever_goes_wrong():
    tally = play(polls=120, seed=3, disks=False)

    assert tally.notes == []
    assert tally.judged > 100
    assert {channel for channel in CHANNELS if tally.by_channel[channel]} == set(CHANNELS)
    assert {name: getattr(tally, name) for name in COUNTS} == dict.fromkeys(COUNTS, 0), tally.details


# --- the judge itself -----------------------------------------------------------------------------------------------


class NoLuck:
    """Never asked here."""


def received(channel: str, key: str, event: str, *, life: str = "1", answered: bool = True) -> Heard:
    about = tuple((f"{rule.name}|claude.five_hour", event, rule.levels[-1].severity) for rule in RULES)
    return Heard(channel, key, about, life, 0, answered)


def told_all(key: str, event: str) -> tuple[Heard, ...]:
    return tuple(received(channel, key, event) for channel in CHANNELS)


def judged(tmp_path, *said: Heard, bodies: tuple[bytes, ...] = (), log: tuple[str, ...] = ()) -> Tally:
    world, tally = World(NoLuck()), Tally()
    world.heard, world.bodies = list(said), list(bodies)
    compare(world, [], [], tmp_path, log, tally)
    return tally


def test_a_message_is_twice_where_the_same_process_knew_that_it_had_arrived(tmp_path):
    first = told_all("a", "resolved")
    assert judged(tmp_path, *first, received("hook", "a", "resolved")).twice == 1
    assert judged(tmp_path, *first, received("hook", "a", "resolved", life="2")).twice == 0
    silent = received("hook", "a", "resolved", answered=False)
    assert judged(tmp_path, silent, received("hook", "a", "resolved"), *first[1:]).twice == 0


def test_a_message_that_was_never_heard_or_still_waits_is_lost(tmp_path):
    world = World(NoLuck())
    world.heard = [received("hook", "a", "resolved")]
    for sent, waiting, lost in (({("hook", "a")}, [], 0), ({("slack", "a")}, [], 1), (set(), ["b to hook"], 1)):
        tally = Tally()
        compare(world, [Era(sent, waiting)], [], tmp_path, (), tally)
        assert tally.lost == lost


class History:
    """One life of a daemon that polls claude every 5 minutes; what it decides and sends is up to the test."""

    def __init__(self) -> None:
        self.world, self.lives = World(NoLuck()), [Past("1", [])]
        self.at = START

    def note(self, **record) -> None:
        self.lives[-1].records.append(record)

    def answer(self, used: int, **decided: str) -> None:
        """An answer of `claude.five_hour`; `decided`: rule -> event, or event and severity."""
        self.world.used["claude.five_hour"] = used
        said = {"claude.five_hour": used, "claude.seven_day": LEAST_LOW}
        self.world.served.append(Answer("1", "claude", self.at, said))
        number = len(self.world.served)
        self.note(processed=number, provider="claude", at=self.at.isoformat(), in_memory=False)
        for rule, what in decided.items():
            event, _, severity = what.partition(" ")
            self.note(decided=f"{rule}|claude.five_hour", event=event, severity=severity or "warning", used=used)
        self.note(log="claude: 2 windows")
        self.at += 5 * M

    def send(self, channel: str, rule: str, event: str, key: str) -> None:
        about = [(f"{rule}|claude.five_hour", event, "warning")]
        self.note(trying=key, channel=channel, about=about, at=self.at.isoformat())
        self.note(sent=key, channel=channel)

    def judge(self, tmp_path) -> Tally:
        tally = Tally()
        compare(self.world, [], self.lives, tmp_path, (), tally)
        return tally


FIRE = {"plain": "firing", "ladder": "firing warning", "reminded": "firing critical"}
END = dict.fromkeys(("plain", "ladder", "reminded"), "resolved")


def test_a_run_in_which_everything_is_decided_as_it_should_be_has_no_fault(tmp_path):
    history = History()
    history.answer(40)
    for used, decided in (
        (85, FIRE),
        (92, {"ladder": "escalated critical"}),
        (86, {}),
        (86, {"lasting": "firing"}),
        (72, {"lasting": "resolved", "reminded": "resolved"}),
        (40, {"plain": "resolved", "ladder": "resolved"}),
    ):
        history.answer(used, **decided)
    tally = history.judge(tmp_path)
    assert (tally.false, tally.missed, tally.details[: -len(CHANNELS)]) == (0, 0, [])
    assert tally.judged == 7 * len(RULES) * 2
    assert tally.decided == {"firing": 4, "escalated": 1, "resolved": 4}


@pytest.mark.parametrize(
    ("used", "decided", "false", "missed"),
    [
        ((85,), [{**FIRE, "plain": ""}], 0, 1),
        ((85,), [{**FIRE, "ladder": ""}], 0, 1),
        ((85,), [{**FIRE, "ladder": "firing critical"}], 1, 0),  # a level that is not reached
        ((85,), [{**FIRE, "lasting": "firing"}], 1, 0),  # too early
        ((85, 85), [FIRE, {"plain": "firing"}], 1, 0),  # once more
        ((85, 85), [FIRE, {"reminded": "reminder critical"}], 1, 0),  # too early
        ((85, 92), [FIRE, {}], 0, 1),  # a higher level
        ((85, 75), [FIRE, {"plain": "resolved"}], 1, 0),  # not below the value that clears
        ((85, 40), [FIRE, {**END, "plain": ""}], 0, 1),
        ((85, 85, 85, 85), [FIRE, {}, {}, {}], 0, 1),  # `lasting` must fire
        ((40,), [{"plain": "resolved"}], 1, 0),  # it never began
        ((92, 85, 92), [{**FIRE, "ladder": "firing critical"}, {}, {"ladder": "escalated critical"}], 1, 0),  # again
    ],
)
def test_every_event_is_held_against_what_was_served(tmp_path, used, decided, false, missed):
    history = History()
    for one, events in zip(used, decided, strict=True):
        history.answer(one, **{rule: event for rule, event in events.items() if event})
    tally = history.judge(tmp_path)
    assert (tally.false, tally.missed) == (false, missed), tally.details


def test_a_reminder_that_does_not_come_is_missed(tmp_path):
    history = History()
    history.answer(85, **FIRE)
    for _ in range(23):
        history.answer(85, **({"lasting": "firing"} if history.at == START + 15 * M else {}))
    assert history.judge(tmp_path).missed == 0
    history.at += 5 * M
    history.answer(85)
    assert history.judge(tmp_path).missed == 1


def test_an_event_by_a_value_that_was_never_served_is_false(tmp_path):
    history = History()
    history.answer(85, **FIRE)
    history.lives[0].records[1]["used"] = 99
    assert history.judge(tmp_path).false == 1


def test_what_a_killed_process_decided_last_may_be_stored_or_not(tmp_path):
    for decided_again in ({}, FIRE):
        history = History()
        history.answer(85, **FIRE)
        history.note(processed=2, provider="claude", at=history.at.isoformat(), in_memory=False)  # and no more
        history.world.served.append(history.world.served[0])
        assert history.judge(tmp_path).missed == 0
        history = History()
        history.answer(40)
        history.world.served.append(Answer("1", "claude", history.at, {"claude.five_hour": 85}))
        history.note(processed=2, provider="claude", at=history.at.isoformat(), in_memory=False)
        history.lives.append(Past("2", []))
        history.answer(85, **decided_again)
        tally = history.judge(tmp_path)
        assert (tally.false, tally.missed) == (0, 0), tally.details


def test_an_alert_whose_record_was_lost_is_forgotten_and_not_wrong(tmp_path):
    for is_destroyed in (False, True):
        history = History()
        history.world.heard = list(told_all("a", "firing"))
        history.answer(92, **{**FIRE, "ladder": "firing critical"})
        for _ in range(3):
            history.answer(92, **({"lasting": "firing"} if history.at == START + 15 * M else {}))
        assert history.judge(tmp_path).wrong == 0
        history.lives[0].is_destroyed = is_destroyed
        history.lives.append(Past("2", []))
        history.answer(40, **({} if is_destroyed else {**END, "lasting": "resolved"}))
        tally = history.judge(tmp_path)
        found = tally.wrong, tally.forgotten
        assert found == ((0, len(RULES) * len(CHANNELS)) if is_destroyed else (len(RULES) * len(CHANNELS), 0))


def test_a_receiver_that_believes_a_lower_level_is_seen(tmp_path):
    history = History()
    history.answer(92, **{**FIRE, "ladder": "firing critical"})
    for severity, wrong in (("warning", 1), ("critical", 0)):
        about = (("ladder|claude.five_hour", "firing", severity),)
        history.world.heard = [Heard(channel, "a", about, "1", 0, answered=True) for channel in CHANNELS]
        tally = history.judge(tmp_path)
        assert len([each for each in tally.details if "wrong: ladder" in each]) == wrong * len(CHANNELS)


def test_a_message_that_comes_late_on_a_channel_that_works_is_slow(tmp_path):
    for gap, slow in ((M, 0), (60 * M, len(FIRE))):
        history = History()
        history.send("hook", "plain", "resolved", "0")  # the channel works
        history.answer(85, **FIRE)
        for rule in FIRE:
            history.at += gap
            history.send("hook", rule, "firing", rule)
        tally = history.judge(tmp_path)
        assert (tally.slow, len(tally.waits)) == (slow, len(FIRE) - slow)


def test_a_message_that_is_no_longer_true_is_false(tmp_path):
    history = History()
    history.answer(85, **FIRE)
    history.answer(40, **END)
    history.send("hook", "plain", "firing", "late")
    assert history.judge(tmp_path).false == 1
    history.send("hook", "plain", "firing", "late")  # once more: it may not have arrived
    assert history.judge(tmp_path).false == 1


def test_the_rules_are_as_the_judge_knows_them():
    document = tomllib.loads(write_rules())
    levels = {
        rule["name"]: rule.get("levels", {rule.get("severity", "warning"): rule["when"].rpartition(" ")[2]})
        for rule in document["rule"]
    }
    assert levels == {rule.name: {each.severity: f"{each.above}%" for each in rule.levels} for rule in RULES}


def test_a_secret_and_a_crash_are_seen_wherever_they_are(tmp_path):
    assert judged(tmp_path, bodies=(b"x",)).secrets == 0
    assert judged(tmp_path, bodies=(SECRETS[0].encode(),)).secrets == 1
    assert judged(tmp_path, log=(f"said {SECRETS[1]}", "CRASH answer: boom")).secrets == 1
    assert judged(tmp_path, log=("CRASH answer: boom",)).crashes == 1
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "watcher.log").write_text(SECRETS[2], "utf-8")
    assert judged(tmp_path).secrets == 1


# --- what is in the mix ---------------------------------------------------------------------------------------------


def test_every_known_fault_is_in_the_mix_or_has_a_reason_not_to_be():
    assert all(bool(row.faults) is not bool(row.why_not) for row in faults.ROWS)
    assert {name for row in faults.ROWS for name in row.faults} == faults.names()


def test_the_tests_that_stand_in_for_what_is_left_out_exist():
    named = re.findall(r"tests/[\w/*.]+", " ".join(faults.left_out()))
    assert len(named) > 5
    assert [name for name in named if not list(TOP.glob(name))] == []
