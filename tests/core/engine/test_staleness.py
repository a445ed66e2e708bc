"""Silence, suspended machines, outages, and the next moment to evaluate."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.core.samples import NOW
from watcher.core.engine import reset_detection, snapshots, staleness
from watcher.core.engine.evaluator import apply_evaluation, evaluate_poll
from watcher.core.engine.matching import compile_rule
from watcher.core.engine.staleness import find_next_due
from watcher.core.engine.state import AlertState, EngineState, Validity, create_series_state
from watcher.core.model import AlertPhase, PollFailure, Reading, Series, Snapshot, WindowKind
from watcher.core.rules.loader import parse_rules

EVERY = timedelta(minutes=5)
M = timedelta(minutes=1)
SERIES = Series("claude", "five_hour")


def state(**facts):
    fresh = create_series_state(SERIES, NOW)
    return replace(fresh, **({"every": EVERY, "validity": Validity.BELIEVED} | facts))


@pytest.mark.parametrize(
    ("facts", "later", "asleep"),
    [
        ({}, 20, False),
        ({}, 21, True),
        ({"every": 15 * M}, 45, False),
        ({"every": 15 * M}, 46, True),
        ({"retry_at": NOW + 300 * M}, 310, False),
        ({"retry_at": NOW + 300 * M}, 330, True),
    ],
)
def test_the_machine_was_suspended_if_nothing_was_polled_for_longer_than_usual(facts, later, asleep):
    assert staleness.was_suspended([state(**facts)], NOW + later * M, timedelta(0)) is asleep


def test_one_polled_account_is_enough_to_be_awake():
    other = state(polled_at=NOW + 100 * M)
    assert not staleness.was_suspended([state(), other], NOW + 101 * M, EVERY)


def test_without_series_nothing_was_suspended():
    assert not staleness.was_suspended([], NOW, EVERY)


@pytest.mark.parametrize(("later", "alone"), [(5, False), (6, True), (25, True), (26, False)])
def test_a_good_answer_is_between_polls_for_five_polls(later, alone):
    assert staleness.is_between_polls(state(), NOW + later * M) is alone
    assert not staleness.is_between_polls(state(validity=Validity.FAILED), NOW + later * M)


@pytest.mark.parametrize(
    ("facts", "days", "gone"),
    [
        ({}, 6.9, False),
        ({}, 7.1, True),
        ({"resumed_at": NOW + timedelta(days=7, hours=2)}, 7.1, False),
        ({"resumed_at": NOW + timedelta(days=7)}, 7.1, True),
    ],
)
def test_a_series_is_gone_after_a_week_but_never_just_after_waking(facts, days, gone):
    assert staleness.is_gone(state(**facts), NOW + timedelta(days=days)) is gone


def answered_state():
    reading = Reading(window="five_hour", kind=WindowKind.SESSION, used_percent=10.0)
    answer = Snapshot(provider="claude", at=NOW)
    seen = snapshots.mark_answered(create_series_state(SERIES, answer.at), answer, 5 * M)
    return reset_detection.apply_reading(seen, reading, NOW, 5 * M)


def due(when="*.age > 45m", *, states=None, alerts=(), more="", now=NOW):
    compiled = map(compile_rule, parse_rules(f'[[rule]]\nname = "q"\nwhen = "{when}"\n{more}', "rules.toml"))
    silent_state = [one for one in compiled if one.is_availability_rule]
    found = find_next_due(
        silent_state, [answered_state()] if states is None else states, alerts, lambda _compiled, _state: True, now
    )
    return None if found is None else found - NOW


def alert_state(**facts):
    return AlertState(rule="q", series=SERIES, fingerprint="f", changed_at=NOW, episode=0, **facts)


def test_without_series_nothing_is_due():
    assert due(states=[]) is None


def test_a_rule_about_use_is_due_only_when_the_series_is_gone():
    assert timedelta(days=7) < due("claude > 80%") < timedelta(days=7, minutes=1)


def test_a_good_answer_is_due_when_the_next_one_is_overdue():
    assert 25 * M < due() < 26 * M


def test_an_age_is_due_just_after_it_is_reached():
    assert 45 * M < due(now=NOW + 30 * M) < 46 * M


def test_after_a_suspension_silence_counts_from_its_end():
    woken = replace(answered_state(), resumed_at=NOW + 10 * M)
    assert 55 * M < due(states=[woken], now=NOW + 50 * M) < 56 * M


def test_a_reminder_is_due_at_its_time():
    firing = alert_state(phase=AlertPhase.FIRING, remind_at=NOW + 12 * M)
    assert due(alerts=[firing], more='remind = "2h"') == 12 * M


def test_a_running_for_timer_is_due_at_its_end():
    pending = alert_state(phase=AlertPhase.PENDING, timers_at=NOW + 2 * M, met_for=(4 * M,))
    assert due(alerts=[pending], more='for = "10m"') == 8 * M


def answered(provider, at, source="api"):
    series = Series(provider, "five_hour")
    answer = Snapshot(provider=provider, at=at)
    reading = Reading(window="five_hour", kind=WindowKind.SESSION, used_percent=10.0, source=source)
    state = reset_detection.apply_reading(
        snapshots.mark_answered(create_series_state(series, answer.at), answer, EVERY),
        reading,
        at,
        EVERY,
    )
    return replace(state, last_seen_at=at)


def failure(provider, at, kind="offline"):
    return PollFailure(provider=provider, at=at, kind=kind, message="no network")


def silent_state(provider, at, kind="offline"):
    return snapshots.mark_failed(answered(provider, at - EVERY), failure(provider, at, kind), EVERY)


CLAUDE, CODEX = silent_state("claude", NOW), silent_state("codex", NOW + M)


def test_the_second_alert_of_an_outage_repeats_the_first():
    assert staleness.is_outage_reported([CLAUDE, CODEX], {CLAUDE.series})


def test_the_first_alert_of_an_outage_repeats_nothing():
    assert not staleness.is_outage_reported([CLAUDE, CODEX], set())


def test_an_alert_that_fired_for_another_reason_reports_no_outage():
    expired = silent_state("claude", NOW, kind="expired")
    assert not staleness.is_outage_reported([expired, CODEX], {expired.series})


def test_an_answer_over_the_network_ends_the_outage():
    copilot = answered("copilot", NOW + 2 * M)
    assert not staleness.is_outage_reported([CLAUDE, CODEX, copilot], {CLAUDE.series})


def test_a_file_on_this_machine_proves_no_network():
    cached = answered("antigravity", NOW + 2 * M, source="cache")
    assert staleness.is_outage_reported([CLAUDE, CODEX, cached], {CLAUDE.series})


RULES = parse_rules('[[rule]]\nname = "r"\nwhen = "not *.up"\n', "rules.toml")


def play(*results):
    """What is reported after each result, and the engine state at the end."""
    engine_state, reported = EngineState({}, {}), []
    for result in results:
        at = NOW if result is None else result.at
        evaluation = evaluate_poll(RULES, engine_state, result, at, every=EVERY)
        engine_state = apply_evaluation(engine_state, evaluation)
        reported.append([f"{each.event} {each.series.provider}" for each in evaluation.transitions])
    return reported, engine_state


def answer(provider, at):
    reading = Reading(window="five_hour", kind=WindowKind.SESSION, used_percent=10.0)
    return Snapshot(provider=provider, at=at, readings=(reading,))


OUTAGE = (answer("claude", NOW), answer("codex", NOW), failure("claude", NOW + 5 * M), failure("codex", NOW + 6 * M))


def test_an_inhibited_alert_is_pending_with_a_reason():
    reported, engine_state = play(*OUTAGE)
    assert reported == [[], [], ["firing claude"], []]
    assert engine_state.alert_states["r", CODEX.series].phase is AlertPhase.PENDING
    again = evaluate_poll(RULES, engine_state, failure("codex", NOW + 7 * M), NOW + 7 * M, every=EVERY)
    assert [decision.reason for decision in again.decisions] == ["offline, said once"]


def test_an_inhibited_alert_fires_when_its_provider_fails_for_a_reason_of_its_own():
    reported, _ = play(*OUTAGE, failure("codex", NOW + 10 * M, "expired"))
    assert reported[-1] == ["firing codex"]


def test_an_inhibited_alert_fires_when_the_machine_is_online_and_its_provider_is_not():
    reported, _ = play(*OUTAGE, answer("claude", NOW + 9 * M), failure("codex", NOW + 10 * M))
    assert reported[-2:] == [["resolved claude"], ["firing codex"]]


def test_an_inhibited_alert_waits_for_its_own_providers_next_poll():
    _, engine_state = play(*OUTAGE, answer("claude", NOW + 9 * M))
    for result in (None, failure("copilot", NOW + 10 * M), answer("claude", NOW + 10 * M)):
        evaluation = evaluate_poll(RULES, engine_state, result, NOW + 10 * M, every=EVERY)
        assert not [each for each in evaluation.transitions if each.series == CODEX.series]


def test_an_inhibited_alert_that_recovers_reports_nothing():
    reported, _ = play(*OUTAGE, answer("codex", NOW + 9 * M))
    assert reported[-1] == []
