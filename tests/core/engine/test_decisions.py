"""Every decision has a reason that a person can read."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.core.samples import NOW
from watcher.core.engine.metrics import SeriesMetrics
from watcher.core.engine.state import SuspectReading, Validity, create_series_state
from watcher.core.engine.transitions import REASONS, make_decision
from watcher.core.model import AlertPhase, Reading, Series, WindowKind

READING = Reading(window="five_hour", kind=WindowKind.SESSION, used_percent=30.0)


def state(**facts):
    fresh = create_series_state(Series("claude", "five_hour"), NOW)
    known = {"reading": READING, "read_at": NOW, "standing": Validity.BELIEVED}
    return replace(fresh, **(known | facts))


def decided(whens=(None,), reason="unknown", **facts):
    return make_decision("r", SeriesMetrics(state(**facts), NOW), whens, AlertPhase.OK, reason)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"standing": Validity.SUSPECT}, "suspect"),
        ({"standing": Validity.FROZEN}, "frozen"),
        ({"standing": Validity.MISSING}, "missing"),
        ({"standing": Validity.FAILED}, "failed"),
        ({"standing": Validity.UNKNOWN}, "stale"),
        ({"boundary": NOW - timedelta(hours=1), "read_at": NOW - timedelta(hours=2)}, "ended"),
        ({}, "unknown"),
    ],
)
def test_the_unknown_is_told_by_what_made_it_so(facts, reason):
    assert decided(**facts).reason == reason


def test_every_standing_that_is_not_believed_has_a_reason():
    for standing in Validity:
        assert decided(standing=standing).text == REASONS[decided(standing=standing).reason]


def test_a_doubted_reading_is_shown_as_it_was_read():
    doubt = SuspectReading(reading=replace(READING, used_percent=99.0), at=NOW, turn=False)
    assert decided(standing=Validity.SUSPECT, doubt=doubt).used_percent == 99.0


def test_what_was_not_read_is_not_shown():
    assert decided(standing=Validity.FAILED).used_percent is None
    assert decided().used_percent == 30.0


@pytest.mark.parametrize(
    ("whens", "condition"),
    [((True, False), True), ((None, True), True), ((False, None), None), ((False, False), False), ((), None)],
)
def test_the_condition_holds_if_it_does_on_any_level(whens, condition):
    assert decided(whens, "below").condition is condition
