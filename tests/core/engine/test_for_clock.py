"""How long has the condition held? Rows of observations, and what the clocks say after them."""

from datetime import timedelta

import pytest

from tests.core.samples import NOW
from watcher.core.engine.state import AlertState
from watcher.core.engine.state_machine import get_met_duration, update_timers
from watcher.core.model import Series

EVERY = timedelta(minutes=5)
ALERT = AlertState(rule="r", series=Series("claude", "five_hour"), fingerprint="f", at=NOW, episode=0)


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
        ([(0, True), (15, True)], 15),  # three polls apart: nobody slept
        ([(0, True), (16, True), (21, True)], 5),  # more: nobody knows what was so meanwhile
        ([(0, True), (5, True), (2, True), (7, True)], 10),  # the clock was set back: that gap counts for nothing
    ],
)
def test_only_time_between_two_believed_observations_counts(row, held):
    assert minutes(after(*row)) == held


def test_the_unknown_stops_the_clock_until_the_next_known_observation():
    assert minutes(after((0, True), (5, True), (8, None), (15, True))) == 8
    assert minutes(after((0, True), (5, True), (8, None), (12, None), (15, True))) == 8


def test_the_unknown_between_two_polls_in_their_usual_rhythm_takes_nothing_away():
    assert minutes(after((0, True), (3, None), (5, True))) == 5


def test_each_step_of_a_ladder_has_a_clock():
    alert = after((0, True, False), (5, True, True), (10, True, True))
    assert (minutes(alert, 0), minutes(alert, 1)) == (10, 5)


def test_a_step_that_is_unknown_keeps_what_it_had_while_another_goes_on():
    alert = after((0, True, True), (5, True, True), (10, True, None))
    assert (minutes(alert, 0), minutes(alert, 1)) == (10, 5)


def test_where_nothing_holds_no_clock_is_kept():
    alert = after((0, True), (5, False))
    assert (alert.held, alert.clock_at) == ((), None)
