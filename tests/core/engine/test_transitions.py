"""Transitions carry all that their readers need, and every decision has a readable reason."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.core.samples import NOW, rule
from watcher.core.engine import reset_detection, snapshots
from watcher.core.engine.metrics import SeriesMetrics
from watcher.core.engine.state import AlertState, SuspectReading, Validity, create_series_state
from watcher.core.engine.state_machine import AlertChange
from watcher.core.engine.transitions import (
    REASONS,
    choose_event,
    collect_facts,
    is_exhausted,
    make_decision,
    make_transition,
)
from watcher.core.model import AlertEvent, AlertPhase, Facts, Reading, Series, Severity, Snapshot, WindowKind

EVERY = timedelta(minutes=5)
ENDS = NOW + timedelta(hours=2)


def make_metrics(window="five_hour", used=85.0, label="", resets_at=ENDS):
    series = Series("claude", window, "a")
    answer = Snapshot(provider="claude", account="a", account_name="me@example.com", plan="max", at=NOW)
    reading = Reading(window=window, kind=WindowKind.SESSION, label=label, used_percent=used, resets_at=resets_at)
    state = snapshots.mark_answered(create_series_state(series, answer.at), answer, EVERY)
    return SeriesMetrics(reset_detection.apply_reading(state, reading, NOW, EVERY), NOW)


def change(event=AlertEvent.FIRING, reason="above"):
    alert = AlertState(
        rule="r",
        series=Series("claude", "five_hour", "a"),
        fingerprint="f",
        phase=AlertPhase.FIRING,
        severity=Severity.WARNING,
        since=NOW - EVERY,
        changed_at=NOW,
        episode=3,
        fired_count=2,
    )
    return AlertChange(event=event, reason=reason, at=NOW, alert=alert)


@pytest.mark.parametrize(
    ("on", "event", "reason", "called"),
    [
        ({AlertEvent.FIRING}, AlertEvent.FIRING, "above", AlertEvent.FIRING),
        ({AlertEvent.RESOLVED}, AlertEvent.FIRING, "above", None),
        (set(), AlertEvent.REMINDER, "remind", AlertEvent.REMINDER),  # `remind` asks for it
        ({AlertEvent.RESOLVED}, AlertEvent.RESOLVED, "reset", AlertEvent.RESOLVED),
        ({AlertEvent.RESET}, AlertEvent.RESOLVED, "reset", AlertEvent.RESET),
        ({AlertEvent.RESOLVED, AlertEvent.RESET}, AlertEvent.RESOLVED, "reset", AlertEvent.RESET),
        ({AlertEvent.RESET}, AlertEvent.RESOLVED, "recovered", None),
    ],
)
def test_a_change_has_the_event_that_the_rule_asks_for(on, event, reason, called):
    assert choose_event(rule(on=frozenset(on)), change(event, reason)) is called


def test_a_transition_says_when_it_became_true_and_what_was_believed():
    one = make_transition(AlertEvent.FIRING, rule(), change(), make_metrics(), [])
    assert (one.at, one.since, one.episode, one.occurrence) == (NOW, NOW - EVERY, 3, 2)
    assert (one.account_name, one.reading.used_percent) == ("me@example.com", 85.0)


def test_unknown_facts_are_left_out():
    assert collect_facts(make_metrics(), []) == Facts(age_s=0.0, plan="max")


def test_used_up_windows_are_named_in_order_of_their_resets():
    week = make_metrics("seven_day", 100.0, "7-day window", NOW + timedelta(days=2))
    opus = make_metrics("seven_day_opus", 104.0, "", NOW + timedelta(days=1))
    never = replace(make_metrics("extra", 100.0).state, boundary_at=None)
    siblings = [SeriesMetrics(never, NOW), week, opus, make_metrics("seven_day_sonnet", 99.0)]
    spent = collect_facts(make_metrics(), [each for each in siblings if is_exhausted(each)]).spent
    assert [label for label, _ in spent] == ["seven_day_opus", "7-day window", "extra"]
    assert spent[0][1] == NOW + timedelta(days=1)
    assert spent[2][1] is None


READING = Reading(window="five_hour", kind=WindowKind.SESSION, used_percent=30.0)


def state(**facts):
    fresh = create_series_state(Series("claude", "five_hour"), NOW)
    known = {"reading": READING, "read_at": NOW, "validity": Validity.BELIEVED}
    return replace(fresh, **(known | facts))


def decided(whens=(None,), reason="unknown", **facts):
    return make_decision("r", SeriesMetrics(state(**facts), NOW), whens, AlertPhase.OK, reason)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"validity": Validity.SUSPECT}, "suspect"),
        ({"validity": Validity.FROZEN}, "frozen"),
        ({"validity": Validity.MISSING}, "missing"),
        ({"validity": Validity.FAILED}, "failed"),
        ({"validity": Validity.UNKNOWN}, "stale"),
        ({"boundary_at": NOW - timedelta(hours=1), "read_at": NOW - timedelta(hours=2)}, "ended"),
        ({}, "unknown"),
    ],
)
def test_an_unknown_condition_has_the_reason_that_made_it_unknown(facts, reason):
    assert decided(**facts).reason == reason


def test_every_validity_has_a_reason():
    for standing in Validity:
        assert decided(validity=standing).text == REASONS[decided(validity=standing).reason]


def test_a_suspect_reading_is_shown_as_it_was_read():
    doubt = SuspectReading(reading=replace(READING, used_percent=99.0), received_at=NOW, is_reset=False)
    assert decided(validity=Validity.SUSPECT, suspect=doubt).used_percent == 99.0


def test_a_value_that_was_not_read_is_not_shown():
    assert decided(validity=Validity.FAILED).used_percent is None
    assert decided().used_percent == 30.0


@pytest.mark.parametrize(
    ("whens", "condition"),
    [((True, False), True), ((None, True), True), ((False, None), None), ((False, False), False), ((), None)],
)
def test_the_condition_holds_if_it_holds_on_any_level(whens, condition):
    assert decided(whens, "below").condition is condition
