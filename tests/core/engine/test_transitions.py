"""A change becomes a transition that nobody has to look behind."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.core.samples import NOW, rule
from watcher.core.engine import reset_detection, snapshots
from watcher.core.engine.metrics import SeriesMetrics
from watcher.core.engine.state import AlertState, create_series_state
from watcher.core.engine.state_machine import AlertChange
from watcher.core.engine.transitions import choose_event, collect_facts, make_transition
from watcher.core.model import AlertEvent, AlertPhase, Reading, Series, Severity, Snapshot, WindowKind

EVERY = timedelta(minutes=5)
ENDS = NOW + timedelta(hours=2)


def view(window="five_hour", used=85.0, label="", resets_at=ENDS):
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
        at=NOW,
        episode=3,
        fired=2,
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
def test_a_change_has_the_name_that_the_rule_asked_for(on, event, reason, called):
    assert choose_event(rule(on=frozenset(on)), change(event, reason)) is called


def test_a_transition_says_when_it_became_true_and_what_was_believed():
    one = make_transition(AlertEvent.FIRING, rule(), change(), view(), [])
    assert (one.at, one.since, one.episode, one.nth) == (NOW, NOW - EVERY, 3, 2)
    assert (one.account_name, one.reading.used_percent) == ("me@example.com", 85.0)


def test_what_is_unknown_is_left_out_of_the_facts():
    assert collect_facts(view(), []) == {"age_s": 0.0, "plan": "max"}


def test_other_windows_that_are_used_up_are_named_the_one_that_resets_first_before():
    week = view("seven_day", 100.0, "7-day window", NOW + timedelta(days=2))
    opus = view("seven_day_opus", 104.0, "", NOW + timedelta(days=1))
    never = replace(view("extra", 100.0).state, boundary=None)
    siblings = [SeriesMetrics(never, NOW), week, opus, view("seven_day_sonnet", 99.0)]
    spent = collect_facts(view(), siblings)["spent"]
    assert [label for label, _ in spent] == ["seven_day_opus", "7-day window", "extra"]
    assert spent[0][1] == (NOW + timedelta(days=1)).isoformat()
    assert spent[2][1] is None
