"""The daemon in a hostile world, in small; `python -m benchmarks chaos` plays thousands of polls."""

import re
import sys
from datetime import timedelta
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("reads /proc, and sends SIGKILL", allow_module_level=True)

from benchmarks.chaos import play
from benchmarks.hostile import faults
from benchmarks.hostile.judge import Era, Tally, compare
from benchmarks.hostile.receivers import CHANNELS, Heard
from benchmarks.hostile.world import SECRETS, START, World
from watcher.core.model import AlertEvent, Reading, Series, Severity, Transition, WindowKind

TOP = Path(__file__).parents[2]


@pytest.mark.slow  # hundreds of polls under faults
def test_nothing_is_lost_false_or_sent_twice_whatever_goes_wrong():
    tally = play(polls=120, seed=3, disks=False)

    assert tally.notes == []
    assert tally.polls >= 120
    assert {channel for channel in CHANNELS if tally.by_channel[channel]} == set(CHANNELS)
    found = tally.lost, tally.twice, tally.false, tally.wrong, tally.rushed, tally.secrets, tally.crashes
    assert found == (0, 0, 0, 0, 0, 0, 0), tally.details


# --- the judge itself -----------------------------------------------------------------------------------------------


class NoLuck:
    """Never asked here."""


def received(channel: str, key: str, event: str, *, life: str = "1", answered: bool = True) -> Heard:
    return Heard(channel, key, (("claude[me@example.com].five_hour", event),), life, 0, answered)


def judged(tmp_path, *said: Heard, used: int = 90, bodies: tuple[bytes, ...] = (), log: tuple[str, ...] = ()) -> Tally:
    world, tally = World(NoLuck()), Tally()
    world.used = {"claude.five_hour": used}
    world.heard, world.bodies = list(said), list(bodies)
    compare(world, [], tmp_path, log, tally)
    return tally


def told_all(key: str, event: str) -> tuple[Heard, ...]:
    return tuple(received(channel, key, event) for channel in CHANNELS)


def test_a_receiver_that_believes_something_else_is_seen(tmp_path):
    assert judged(tmp_path, *told_all("a", "firing")).wrong == 0
    assert judged(tmp_path, *told_all("a", "firing"), received("slack", "b", "resolved")).wrong == 1
    assert judged(tmp_path, *told_all("a", "firing"), used=40).wrong == len(CHANNELS)
    assert judged(tmp_path).wrong == len(CHANNELS)


def test_a_message_is_twice_where_the_same_process_knew_that_it_had_arrived(tmp_path):
    first = told_all("a", "firing")
    assert judged(tmp_path, *first, received("hook", "a", "firing")).twice == 1
    assert judged(tmp_path, *first, received("hook", "a", "firing", life="2")).twice == 0
    silent = received("hook", "a", "firing", answered=False)
    assert judged(tmp_path, silent, received("hook", "a", "firing"), *first[1:]).twice == 0


def decided(event: AlertEvent, used: float, minute: int = 0) -> Transition:
    return Transition(
        at=START + timedelta(minutes=minute),
        rule="r",
        series=Series(provider="claude", account="me", window="five_hour"),
        episode=1,
        event=event,
        severity=Severity.WARNING,
        reason="above",
        since=START,
        reading=Reading(window="five_hour", kind=WindowKind.SESSION, used_percent=used),
    )


def judged_events(tmp_path, *transitions: Transition) -> Tally:
    world, tally = World(NoLuck()), Tally()
    served = ((0, 40), (5, 85), (10, 85), (15, 60), (20, 75))
    world.served["claude.five_hour"] = [(START + timedelta(minutes=at), used) for at, used in served]
    compare(world, [Era(list(transitions), {}, 0)], tmp_path, (), tally)
    return tally


@pytest.mark.parametrize(
    ("event", "used", "false"),
    [
        (AlertEvent.FIRING, 85, 0),
        (AlertEvent.FIRING, 90, 1),  # never served
        (AlertEvent.FIRING, 40, 1),  # not above the threshold
        (AlertEvent.RESOLVED, 60, 0),
        (AlertEvent.RESOLVED, 75, 1),  # above the value that clears
        (AlertEvent.RESOLVED, 50, 1),  # never served
    ],
)
def test_every_event_is_held_against_what_was_served(tmp_path, event, used, false):
    assert judged_events(tmp_path, decided(event, used)).false == false


def test_an_alert_by_a_later_answer_than_the_first_is_late(tmp_path):
    assert judged_events(tmp_path, decided(AlertEvent.FIRING, 85, 5)).late == [0]
    assert judged_events(tmp_path, decided(AlertEvent.FIRING, 85, 10)).late == [1]


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
