"""The table of phases, its drawing, and what is kept of an alert."""

import msgspec

from tests.core.samples import NOW
from watcher.core.engine import state_machine
from watcher.core.engine.state import AlertState
from watcher.core.engine.state_machine import TRANSITION_TABLE, AlertInput, close_alert
from watcher.core.model import AlertEvent, AlertPhase, Series

ALERT = AlertState(rule="r", series=Series("claude", "five_hour"), fingerprint="f", at=NOW, episode=2)


def test_the_header_draws_the_table():
    header = state_machine.__doc__ or ""
    heading, *drawn = [line.strip() for line in header.splitlines() if line.startswith("    ")]
    assert heading.split() == ["phase", "input", "next", "phase", "event"]
    assert drawn == [
        f"{phase:<10} {seen:<25} {after:<11} {said or '-'}" for (phase, seen), (after, said) in TRANSITION_TABLE.items()
    ]


def test_every_way_out_of_firing_is_told():
    assert {
        said
        for (phase, _), (after, said) in TRANSITION_TABLE.items()
        if phase is AlertPhase.FIRING and after is AlertPhase.OK
    } == {AlertEvent.RESOLVED}


def test_nothing_fires_from_the_unknown():
    assert not any(seen in (AlertInput.UNKNOWN, AlertInput.UNCHANGED) for _, seen in TRANSITION_TABLE)


def test_every_phase_can_be_left():
    assert {phase for (phase, _), (after, _) in TRANSITION_TABLE.items() if after is not phase} == set(AlertPhase)


def test_an_alert_that_never_fired_leaves_nothing_behind():
    assert close_alert(ALERT, NOW) is None


def test_an_alert_that_fired_leaves_its_count_so_that_no_later_message_is_a_repeat():
    fired = msgspec.structs.replace(ALERT, phase=AlertPhase.FIRING, fired=3, reminded=2)
    rest = close_alert(fired, NOW)
    assert rest is not None
    assert (rest.phase, rest.fired, rest.reminded, rest.fingerprint) == (AlertPhase.OK, 3, 2, "")


def test_an_alert_survives_the_disk():
    assert msgspec.json.decode(msgspec.json.encode(ALERT), type=AlertState) == ALERT
