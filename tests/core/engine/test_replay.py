"""Replay is the daemon's core with the past for its news."""

from datetime import timedelta
from time import process_time

import pytest

from tests.core.samples import NOW
from watcher.core.engine import replay
from watcher.core.model import PollFailure, Reading, Snapshot, WindowKind
from watcher.core.rules.loader import parse_rules

RULES = parse_rules(
    """
    [[rule]]
    name = "session"
    when = "claude.five_hour > 80%"
    [[rule]]
    name = "quiet"
    when = "*.age > 45m"
    """,
    "rules.toml",
)


def answer(used, minutes, provider="claude", window="five_hour"):
    reading = Reading(window=window, kind=WindowKind.SESSION, used_percent=used)
    return Snapshot(provider=provider, at=NOW + timedelta(minutes=minutes), readings=(reading,), whole=False)


def failure(minutes, provider="claude"):
    return PollFailure(provider=provider, at=NOW + timedelta(minutes=minutes), kind="timeout", message="no answer")


def told(history, **more):
    return [
        (each.at - NOW, each.rule, each.event.value)
        for moment in replay.replay_rules(RULES, history, **more)
        for each in moment.evaluation.transitions
    ]


def test_silence_is_told_when_its_time_has_come_not_at_the_next_line():
    history = [answer(10, 0), *(failure(10 * turn) for turn in range(1, 7))]
    assert told(history) == [(timedelta(minutes=45, seconds=1), "quiet", "firing")]


def test_a_hole_in_the_history_is_sleep_and_no_silence():
    assert told([answer(10, 0), answer(11, 5), answer(12, 10), answer(13, 600), answer(14, 605)]) == []


def test_windows_recorded_at_different_times_do_not_stop_each_others_clocks():
    rules = parse_rules('[[rule]]\nname = "r"\nwhen = "claude.five_hour > 80%"\nfor = "10m"', "rules.toml")
    history = [
        each for turn in range(4) for each in (answer(81, 5 * turn), answer(20, 5 * turn + 1, window="seven_day"))
    ]
    said = [each.at - NOW for moment in replay.replay_rules(rules, history) for each in moment.evaluation.transitions]
    assert said == [timedelta(minutes=10)]


def test_the_interval_is_the_usual_pause_between_two_answers():
    history = [answer(1, minutes) for minutes in (0, 10, 20, 29, 600)]
    assert replay.measure_intervals(history) == {"claude": timedelta(minutes=10)}


def test_two_lines_are_too_few_to_tell_the_interval():
    assert replay.measure_intervals([answer(1, 0), answer(1, 30)]) == {}


def test_failures_count_for_the_interval():
    assert replay.measure_intervals([answer(1, 0), failure(5), failure(10), answer(1, 15)]) == {
        "claude": timedelta(minutes=5)
    }


def test_where_the_history_is_too_short_the_providers_own_interval_counts():
    history = [answer(10, 0), answer(85, 20)]
    assert told(history, default_intervals={"claude": timedelta(minutes=5)}) == [
        (timedelta(minutes=20), "session", "firing")
    ]
    assert told(history, default_intervals={"claude": timedelta(minutes=10)}) == []


def test_time_passes_to_the_end_that_is_given():
    history = [answer(10, 0), failure(5), failure(10)]
    assert told(history) == []
    until = NOW + timedelta(minutes=30)
    assert told(history, until=until) == []


def test_without_rules_there_is_nothing_to_say():
    assert [moment.evaluation.transitions for moment in replay.replay_rules((), [answer(99, 0)])] == [()]


@pytest.mark.parametrize("rules", [RULES[:1], RULES], ids=["plain", "with silence"])
def test_ten_thousand_readings_take_well_under_a_second(rules):
    history = [answer(turn % 60 * 1.5, 5 * turn) for turn in range(10_000)]
    began = process_time()
    moments = sum(1 for _ in replay.replay_rules(rules, history))
    assert moments >= 10_000
    assert process_time() - began < 3  # measured: 0.3 s; the rest is for slow machines
