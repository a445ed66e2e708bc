"""The table of phases, its drawing, what is kept of an alert, and the `for` timers."""

from datetime import timedelta

import msgspec
import pytest

from tests.core.samples import NOW
from watcher.core.engine import state_machine
from watcher.core.engine.state import AlertState
from watcher.core.engine.state_machine import TRANSITION_TABLE, AlertInput, close_alert, get_met_duration, update_timers
from watcher.core.model import AlertEvent, AlertPhase, Series

EVERY = timedelta(minutes=5)
ALERT = AlertState(rule="r", series=Series("claude", "five_hour"), fingerprint="f", changed_at=NOW, episode=2)


def test_the_docstring_draws_the_table():
    header = state_machine.__doc__ or ""
    heading, *drawn = [line.strip() for line in header.splitlines() if line.startswith("    ")]
    assert heading.split() == ["phase", "input", "next", "phase", "event"]
    assert drawn == [
        f"{phase:<10} {alert_input:<25} {after:<11} {event or '-'}"
        for (phase, alert_input), (after, event) in TRANSITION_TABLE.items()
    ]


def test_every_way_out_of_firing_is_reported():
    assert {
        event
        for (phase, _), (after, event) in TRANSITION_TABLE.items()
        if phase is AlertPhase.FIRING and after is AlertPhase.OK
    } == {AlertEvent.RESOLVED}


def test_nothing_fires_from_unknown():
    assert not any(alert_input in (AlertInput.UNKNOWN, AlertInput.UNCHANGED) for _, alert_input in TRANSITION_TABLE)


def test_every_phase_can_be_left():
    assert {phase for (phase, _), (after, _) in TRANSITION_TABLE.items() if after is not phase} == set(AlertPhase)


def test_an_alert_that_never_fired_leaves_nothing_behind():
    assert close_alert(ALERT, NOW) is None


def test_an_alert_that_fired_leaves_its_count_so_that_no_later_message_is_a_repeat():
    fired = msgspec.structs.replace(ALERT, phase=AlertPhase.FIRING, fired_count=3, reminder_count=2)
    rest = close_alert(fired, NOW)
    assert rest is not None
    assert (rest.phase, rest.fired_count, rest.reminder_count, rest.fingerprint) == (AlertPhase.OK, 3, 2, "")


def test_an_alert_survives_encoding():
    assert msgspec.json.decode(msgspec.json.encode(ALERT), type=AlertState) == ALERT


def after(*row):
    """The alert after observations: (minutes since the start, whether each step's condition held)."""
    alert = ALERT
    for minutes, *whens in row:
        alert = update_timers(alert, whens, NOW + timedelta(minutes=minutes), every=EVERY)
    return alert


def minutes(alert, place=0):
    return get_met_duration(alert, place) / timedelta(minutes=1)


@pytest.mark.parametrize(
    ("row", "held"),
    [
        ([(0, True)], 0),
        ([(0, True), (5, True), (10, True)], 10),
        ([(0, True), (5, False), (10, True), (15, True)], 5),
        ([(0, True), (15, True)], 15),  # three polls apart: no sleep
        ([(0, True), (16, True), (21, True)], 5),  # more: unknown in between
        ([(0, True), (5, True), (2, True), (7, True)], 10),  # the clock was set back: that gap counts for nothing
    ],
)
def test_only_time_between_two_believed_observations_counts(row, held):
    assert minutes(after(*row)) == held


def test_unknown_stops_the_timer_until_the_next_known_observation():
    assert minutes(after((0, True), (5, True), (8, None), (15, True))) == 8
    assert minutes(after((0, True), (5, True), (8, None), (12, None), (15, True))) == 8


def test_unknown_between_two_regular_polls_takes_nothing_away():
    assert minutes(after((0, True), (3, None), (5, True))) == 5


def test_each_level_has_a_timer():
    alert = after((0, True, False), (5, True, True), (10, True, True))
    assert (minutes(alert, 0), minutes(alert, 1)) == (10, 5)


def test_an_unknown_level_keeps_its_time_while_another_goes_on():
    alert = after((0, True, True), (5, True, True), (10, True, None))
    assert (minutes(alert, 0), minutes(alert, 1)) == (10, 5)


def test_no_timer_is_kept_if_no_level_is_met():
    alert = after((0, True), (5, False))
    assert (alert.met_for, alert.timers_at) == ((), None)
