"""Is it the provider that is silent, or this machine?"""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.core.samples import NOW
from watcher.core.engine import reset_detection, staleness
from watcher.core.model import PollFailure, Reading, Series, Snapshot, WindowKind

EVERY = timedelta(minutes=5)
M = timedelta(minutes=1)


def heard(provider, at, source="api"):
    series = Series(provider, "five_hour")
    answer = Snapshot(provider=provider, at=at)
    reading = Reading(window="five_hour", kind=WindowKind.SESSION, used_percent=10.0, source=source)
    state = reset_detection.apply_reading(
        reset_detection.apply_snapshot(reset_detection.create_series_state(series, answer), answer, EVERY),
        reading,
        at,
        EVERY,
    )
    return replace(state, heard_at=at)


def failure(provider, at, kind="offline"):
    return PollFailure(provider=provider, at=at, kind=kind, message="no network")


def silent(provider, at, kind="offline"):
    return reset_detection.apply_failure(heard(provider, at - EVERY), failure(provider, at, kind), EVERY)


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


def test_the_second_alert_of_an_outage_only_repeats_the_first():
    assert staleness.is_already_reported([CLAUDE, CODEX], CODEX, [CLAUDE.series])


def test_the_first_alert_repeats_nothing():
    assert not staleness.is_already_reported([CLAUDE, CODEX], CLAUDE, [])
    assert not staleness.is_already_reported([CLAUDE, CODEX], CLAUDE, [CLAUDE.series])


def test_an_alert_that_fired_for_another_reason_says_nothing_of_an_outage():
    expired = silent("claude", NOW, kind="expired")
    assert not staleness.is_already_reported([expired, CODEX], CODEX, [expired.series])


def test_once_anything_on_the_network_answered_the_outage_that_was_told_of_is_over():
    answered = heard("copilot", NOW + 2 * M)
    assert not staleness.is_already_reported([CLAUDE, CODEX, answered], CODEX, [CLAUDE.series])


def test_a_file_on_this_machine_proves_no_network():
    cached = heard("antigravity", NOW + 2 * M, source="cache")
    assert staleness.is_already_reported([CLAUDE, CODEX, cached], CODEX, [CLAUDE.series])


def test_what_was_muted_must_speak_when_its_provider_fails_for_a_reason_of_its_own():
    expired = silent("codex", NOW + M, kind="expired")
    assert staleness.must_report([CLAUDE, expired], expired, failure("codex", NOW + 5 * M, "expired"))


def test_what_was_muted_must_speak_when_the_machine_is_online_and_its_provider_is_not():
    answered = heard("claude", NOW + 4 * M)
    again = failure("codex", NOW + 5 * M)
    assert staleness.must_report([answered, CODEX], CODEX, again)
    assert not staleness.must_report([CLAUDE, CODEX], CODEX, again)


def test_only_the_providers_own_failure_makes_it_speak():
    answered = heard("claude", NOW + 4 * M)
    for news in (None, failure("copilot", NOW + 5 * M), Snapshot(provider="codex", at=NOW + 5 * M)):
        assert not staleness.must_report([answered, CODEX], CODEX, news)
