"""Was anybody watching?"""

from datetime import timedelta

import msgspec
import pytest

from tests.core.samples import NOW
from watcher.core.engine import staleness
from watcher.core.engine.state import Validity, create_series_state
from watcher.core.model import Series

EVERY = timedelta(minutes=5)


def minutes(number):
    return timedelta(minutes=number)


def state(**facts):
    fresh = create_series_state(Series("claude", "five_hour"), NOW)
    return msgspec.structs.replace(fresh, **({"every": EVERY, "standing": Validity.BELIEVED} | facts))


@pytest.mark.parametrize(
    ("facts", "later", "asleep"),
    [
        ({}, 20, False),
        ({}, 21, True),
        ({"every": minutes(15)}, 45, False),
        ({"every": minutes(15)}, 46, True),
        ({"retry_at": NOW + minutes(300)}, 310, False),
        ({"retry_at": NOW + minutes(300)}, 330, True),
    ],
)
def test_nobody_watched_when_nothing_was_asked_for_longer_than_usual(facts, later, asleep):
    assert staleness.was_suspended([state(**facts)], NOW + minutes(later), timedelta(0)) is asleep


def test_one_account_that_was_asked_is_enough_to_have_been_awake():
    other = state(asked_at=NOW + minutes(100))
    assert not staleness.was_suspended([state(), other], NOW + minutes(101), EVERY)


def test_a_program_that_knows_nothing_yet_has_not_slept():
    assert not staleness.was_suspended([], NOW, EVERY)


@pytest.mark.parametrize(("later", "alone"), [(5, False), (6, True), (25, True), (26, False)])
def test_a_good_answer_is_left_alone_for_five_polls(later, alone):
    assert staleness.is_between_polls(state(), NOW + minutes(later)) is alone
    assert not staleness.is_between_polls(state(standing=Validity.FAILED), NOW + minutes(later))


@pytest.mark.parametrize(
    ("facts", "days", "gone"),
    [
        ({}, 6.9, False),
        ({}, 7.1, True),
        ({"watched_from": NOW + timedelta(days=7, hours=2)}, 7.1, False),
        ({"watched_from": NOW + timedelta(days=7)}, 7.1, True),
    ],
)
def test_a_series_is_gone_after_a_week_but_never_just_after_waking(facts, days, gone):
    assert staleness.is_gone(state(**facts), NOW + timedelta(days=days)) is gone
