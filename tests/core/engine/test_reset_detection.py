"""How a reading changes the state of its series: the table of the module's docstring, line by line."""

from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest

from tests.core.samples import NOW
from watcher.core.engine import reset_detection, snapshots
from watcher.core.engine.state import SeriesState, Validity, create_series_state
from watcher.core.model import PollFailure, Reading, Series, Snapshot, WindowKind

EVERY = timedelta(minutes=5)
SERIES = Series("claude", "five_hour")
LATER = NOW + EVERY


def hours(number):
    return timedelta(hours=number)


def reading(used=50.0, ends=NOW + timedelta(hours=3), **more):
    parts = {"window": "five_hour", "kind": WindowKind.SESSION, "window_seconds": 18_000}
    return Reading(**(parts | {"used_percent": used, "resets_at": ends} | more))


def apply_readings(*readings, start=NOW, every=EVERY):
    """The states after each reading, one a poll."""
    state = create_series_state(SERIES, start)
    states = []
    for turn, each in enumerate(readings):
        state = reset_detection.apply_reading(state, each, start + turn * every, every)
        states.append(state)
    return states


ENDED = NOW + timedelta(minutes=4)
NEXT = NOW + timedelta(hours=5, minutes=4)
TABLE = [
    ("a stale reading", reading(), reading(10, stale=True), Validity.UNKNOWN),
    ("an unreliable reading", reading(), reading(10, low_confidence=True), Validity.UNKNOWN),
    ("no value", reading(), reading(None), Validity.UNKNOWN),
    ("the percent is missing", reading(), reading(None, limit=None, remaining=Decimal(5)), Validity.UNKNOWN),
    ("a jump", reading(10), reading(70), Validity.SUSPECT),
    ("no jump yet", reading(10), reading(69.9), Validity.BELIEVED),
    ("limited before, now unlimited", reading(50), reading(None, unlimited=True), Validity.SUSPECT),
    ("passed and moved on", reading(50, ENDED), reading(50, NEXT), Validity.RESET),
    ("passed and fell", reading(50, ENDED), reading(45, ENDED), Validity.RESET),
    ("passed and fell to nothing", reading(2, ENDED), reading(1, ENDED), Validity.RESET),
    ("passed and fell by a little", reading(50, ENDED), reading(46, ENDED), Validity.BELIEVED),
    ("passed, and was never used", reading(0, ENDED), reading(0, None), Validity.RESET),
    ("passed and unchanged", reading(50, ENDED), reading(50, ENDED), Validity.FROZEN),
    ("passed and unchanged, no boundary", reading(50, ENDED), reading(50, None), Validity.FROZEN),
    ("passed and rose", reading(50, ENDED), reading(51, ENDED), Validity.BELIEVED),
    ("moved on early and fell", reading(50), reading(20, NOW + hours(5)), Validity.SUSPECT),
    ("moved on early, did not fall", reading(50), reading(50, NOW + hours(5)), Validity.BELIEVED),
    ("moved on early, fell by a little", reading(50), reading(47, NOW + hours(5)), Validity.BELIEVED),
    ("fell from 30 to 10", reading(30), reading(10), Validity.SUSPECT),
    ("fell from 31 to 11", reading(31), reading(11), Validity.BELIEVED),
    ("fell from 29 to 10", reading(29), reading(10), Validity.BELIEVED),
    ("boundary within tolerance", reading(), reading(50, NOW + hours(3.25)), Validity.BELIEVED),
    ("unused and rolling", reading(0, NOW + hours(5)), reading(0, LATER + hours(5)), Validity.BELIEVED),
]


@pytest.mark.parametrize(("before", "after", "validity"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_an_answer_is_classified_as_the_table_says(before, after, validity):
    assert apply_readings(before, after)[-1].validity is validity


@pytest.mark.parametrize(
    ("after", "reset"), [(reading(9, NOW + hours(8)), True), (reading(50), False)], ids=["confirmed", "forgotten"]
)
def test_an_early_reset_needs_a_second_reading(after, reset):
    *_, state = apply_readings(reading(50), reading(8, NOW + hours(8)), after)
    assert state.episode == reset
    assert state.suspect is None
    assert state.suspect_count == 0


def test_an_episode_that_ended_on_time_began_at_the_boundary():
    assert apply_readings(reading(50, ENDED), reading(3, NEXT))[-1].episode_at == ENDED


def test_an_early_episode_began_with_the_suspect_reading():
    assert apply_readings(reading(50), reading(3), reading(4))[-1].episode_at == LATER


def test_a_suspect_reading_changes_nothing_that_is_believed():
    before, suspect = apply_readings(reading(10), reading(90))
    assert (suspect.reading, suspect.read_at, suspect.samples) == (before.reading, before.read_at, before.samples)


def test_a_new_episode_restarts_the_forecast():
    *_, state = apply_readings(*[reading(10 * turn, ENDED + EVERY) for turn in range(1, 3)], reading(2, NEXT))
    assert [sample.used_percent for sample in state.samples] == [2]


def test_a_confirmed_early_reset_keeps_both_its_readings_for_the_forecast():
    assert [sample.used_percent for sample in apply_readings(reading(50), reading(3), reading(4))[-1].samples] == [3, 4]


def test_a_balance_that_rises_is_no_new_episode():
    def balance(amount):
        return Reading(window="balance_usd", kind=WindowKind.BALANCE, remaining=Decimal(amount), unit="usd")

    states = apply_readings(balance(3), balance(40), balance(0), balance(0))
    assert {state.episode for state in states} == {0}
    assert all(state.validity is Validity.BELIEVED for state in states)


def test_a_boundary_that_has_passed_is_forgotten_when_a_later_answer_names_none():
    assert [state.boundary_at for state in apply_readings(reading(50, ENDED), reading(51, None))] == [ENDED, None]


def test_a_boundary_that_an_answer_leaves_out_is_remembered_until_it_passes():
    assert apply_readings(reading(50), reading(51, None))[-1].boundary_at == NOW + hours(3)


def test_a_failure_keeps_the_believed_reading_and_records_since_when():
    (state,) = apply_readings(reading(50))
    first = PollFailure(provider="claude", at=LATER, kind="timeout", message="no answer")
    second = msgspec.structs.replace(first, at=LATER + EVERY, kind="server", message="it failed")
    state = snapshots.mark_failed(snapshots.mark_failed(state, first, EVERY), second, EVERY)
    assert state.reading == reading(50)
    assert (state.validity, state.error_kind, state.failing_since) == (Validity.FAILED, "server", LATER)
    answered = snapshots.mark_answered(state, Snapshot(provider="claude", at=LATER + 2 * EVERY), EVERY)
    assert (answered.error, answered.failing_since) == (None, None)


def test_when_a_value_last_changed_is_remembered():
    states = apply_readings(reading(50), reading(50), reading(51), reading(51))
    assert [state.changed_at for state in states] == [None, None, NOW + 2 * EVERY, NOW + 2 * EVERY]


def test_the_state_survives_encoding():
    state = apply_readings(reading(50), reading(3), reading(90, limit=Decimal("300.5")))[-1]
    assert msgspec.json.decode(msgspec.json.encode(state), type=SeriesState) == state


def test_a_state_from_an_older_version_gets_the_new_fields_empty():
    state = apply_readings(reading(50))[-1]
    old = {
        name: value
        for name, value in msgspec.to_builtins(state).items()
        if name in ("version", "series", "episode_at", "last_seen_at", "polled_at")
    }
    assert msgspec.convert(old, SeriesState).series == SERIES
