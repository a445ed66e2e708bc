"""Generated days with known truth: every due alert is reported once, and no other."""

import pytest

from benchmarks import days, peers


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_alert_is_missed_false_or_reported_twice(seed):
    cases = [days.generate_day(number, seed) for number in range(12)]

    score = peers.scored(cases, peers.ours(cases))

    assert score.due > 20
    assert (score.missed, score.false, score.repeated) == (0, 0, 0)


def test_a_day_is_the_same_for_the_same_number_and_seed():
    assert days.generate_day(7, seed=3) == days.generate_day(7, seed=3)
    assert days.generate_day(7, seed=3) != days.generate_day(8, seed=3)


def test_the_score_counts_missed_false_repeated_and_late_alerts():
    case = max((days.generate_day(number) for number in range(12)), key=lambda case: len(case.due))
    first, second, third = [each for each in case.due if each.ends_at - each.begins_at > 3 * days.EVERY][:3]
    alerts = [
        (first.begins_at, first.series),
        (first.begins_at + days.EVERY, first.series),
        (second.begins_at + days.EVERY, second.series),
        (third.begins_at - days.EVERY, third.series),
    ]

    score = peers.scored([case], [alerts])

    assert score.missed == len(case.due) - 2
    assert (score.false, score.repeated, score.late_s) == (1, 1, [days.EVERY.total_seconds()])
