"""Is it the provider that is silent, or this machine?"""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.core.samples import NOW
from watcher.core.engine import reset_detection, snapshots, staleness
from watcher.core.engine.evaluator import apply_evaluation, evaluate_poll
from watcher.core.engine.state import EngineState, create_series_state
from watcher.core.model import AlertPhase, PollFailure, Reading, Series, Snapshot, WindowKind
from watcher.core.rules.loader import parse_rules

EVERY = timedelta(minutes=5)
M = timedelta(minutes=1)


def heard(provider, at, source="api"):
    series = Series(provider, "five_hour")
    answer = Snapshot(provider=provider, at=at)
    reading = Reading(window="five_hour", kind=WindowKind.SESSION, used_percent=10.0, source=source)
    state = reset_detection.apply_reading(
        snapshots.mark_answered(create_series_state(series, answer.at), answer, EVERY),
        reading,
        at,
        EVERY,
    )
    return replace(state, heard_at=at)


def failure(provider, at, kind="offline"):
    return PollFailure(provider=provider, at=at, kind=kind, message="no network")


def silent(provider, at, kind="offline"):
    return snapshots.mark_failed(heard(provider, at - EVERY), failure(provider, at, kind), EVERY)


CLAUDE, CODEX = silent("claude", NOW), silent("codex", NOW + M)


@pytest.mark.parametrize(
    ("kinds", "cut_off"),
    [
        ([], False),
        (["offline", "offline"], True),
        (["offline", None], False),
        (["offline", "server"], False),  # somebody answered, if only to say no
        (["offline", "expired"], True),  # that login would say so on any network
        (["not_signed_in", "unsupported"], False),
    ],
)
def test_a_machine_is_cut_off_when_nothing_that_needs_the_network_could_be_reached(kinds, cut_off):
    assert staleness.is_machine_offline(kinds) is cut_off


def test_the_second_alert_of_an_outage_repeats_the_first():
    assert staleness.is_outage_reported([CLAUDE, CODEX], {CLAUDE.series})


def test_the_first_alert_of_an_outage_repeats_nothing():
    assert not staleness.is_outage_reported([CLAUDE, CODEX], set())


def test_an_alert_that_fired_for_another_reason_reports_no_outage():
    expired = silent("claude", NOW, kind="expired")
    assert not staleness.is_outage_reported([expired, CODEX], {expired.series})


def test_an_answer_over_the_network_ends_the_outage():
    answered = heard("copilot", NOW + 2 * M)
    assert not staleness.is_outage_reported([CLAUDE, CODEX, answered], {CLAUDE.series})


def test_a_file_on_this_machine_proves_no_network():
    cached = heard("antigravity", NOW + 2 * M, source="cache")
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


def test_an_inhibited_alert_is_pending_and_says_why():
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


def test_an_inhibited_alert_that_recovers_says_nothing():
    reported, _ = play(*OUTAGE, answer("codex", NOW + 9 * M))
    assert reported[-1] == []
