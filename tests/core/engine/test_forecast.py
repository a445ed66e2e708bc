"""The forecast against simulated truth, and where it must be unknown."""

import math
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from watcher.core.engine.forecast import (
    MAX_SAMPLES,
    Sample,
    add_sample,
    estimate_exhaustion_s,
    estimate_rate,
)

START = datetime(2026, 3, 4, 9, tzinfo=UTC)
SESSION = timedelta(hours=5)
WEEK = timedelta(days=7)


def minutes(number):
    return timedelta(minutes=number)


def sampled(values, every=5):
    samples = ()
    for step, used in enumerate(values):
        samples = add_sample(samples, START + step * minutes(every), used)
    return samples


def test_two_readings_give_no_rate():
    assert estimate_rate(sampled([10, 30], every=30), SESSION) is None


def test_three_readings_within_ten_minutes_give_no_rate():
    assert estimate_rate(sampled([10, 20, 30], every=4), SESSION) is None


def test_three_readings_over_ten_minutes_give_the_rate():
    assert estimate_rate(sampled([10, 11, 12]), SESSION) == pytest.approx(12)


def test_two_readings_a_second_apart_do_not_upset_the_rate():
    samples = sampled([10, 11, 12, 13, 14])
    shaken = add_sample(samples, samples[-1].at + timedelta(seconds=1), 14.4)
    assert estimate_rate(shaken, SESSION) == pytest.approx(12, rel=0.15)


def test_a_flat_line_has_rate_zero_and_is_never_exhausted():
    flat = estimate_rate(sampled([40] * 12), SESSION)
    assert flat == 0
    assert estimate_exhaustion_s(40, flat, minutes(0)) == math.inf


def test_a_full_window_is_exhausted_at_any_rate():
    assert estimate_exhaustion_s(100, None, minutes(0)) == 0


def test_an_unknown_rate_projects_nothing():
    assert estimate_exhaustion_s(40, None, minutes(0)) is None


def test_the_time_to_exhaustion_counts_from_now_not_from_the_reading():
    assert estimate_exhaustion_s(40, 12, minutes(0)) == pytest.approx(5 * 3600)
    assert estimate_exhaustion_s(40, 12, minutes(60)) == pytest.approx(4 * 3600)
    assert estimate_exhaustion_s(40, 12, minutes(6000)) == 0


def test_a_correction_downwards_restarts_the_measurement():
    samples = add_sample(sampled([10, 20, 30]), START + minutes(15), 5)
    assert samples == (Sample(START + minutes(15), 5),)


def test_the_rate_is_never_negative():
    assert estimate_rate(sampled([10, 9.5, 9.2, 9.0]), SESSION) == 0


def test_a_burst_that_has_ended_is_forgotten():
    assert estimate_rate(sampled([10, 30, 50] + [50] * 20), SESSION) < 10


def test_a_slow_start_does_not_hide_a_burst():
    assert estimate_rate(sampled([1] * 20 + [5, 10, 15, 20, 25, 30]), SESSION) > 45


def test_the_samples_are_bounded_and_keep_both_ends():
    samples = sampled([step / 10 for step in range(1000)])
    assert len(samples) <= MAX_SAMPLES
    assert samples[0].at == START
    assert samples[-1].at == START + 999 * minutes(5)
    assert estimate_rate(samples, SESSION) == pytest.approx(1.2)


def test_a_clock_that_was_set_back_leaves_no_samples_in_the_future():
    samples = add_sample(sampled([10, 11, 12, 13]), START + minutes(7), 14)
    assert [sample.at for sample in samples] == sorted(sample.at for sample in samples)
    assert samples[-1].at == START + minutes(7)


TRUTHS = [  # name, window, minutes between polls, true rate, grains in a whole, mean error allowed
    ("steady", SESSION, 5, 12.0, 1.0, 0.10),
    ("steady, whole percents", SESSION, 5, 12.0, 100.0, 0.15),
    ("slow, whole percents", SESSION, 5, 4.0, 100.0, 0.30),
    ("steps of 20 %", SESSION, 5, 20.0, 5.0, 0.35),
    ("a week, whole percents", WEEK, 10, 0.9, 100.0, 0.25),
]


@pytest.mark.parametrize("truth", TRUTHS, ids=[truth[0] for truth in TRUTHS])
def test_the_rate_is_near_the_simulated_truth(truth):
    name, window, every, true_rate, grain, allowed = truth
    random = Random(name)
    errors = []
    samples, at, used = (), START, 0.0
    while used < 95:
        shown = used if grain == 1.0 else math.floor(used * grain / 100) * 100 / grain
        samples = add_sample(samples, at, shown)
        guess = estimate_rate(samples, window)
        if guess is not None and used > 30:
            errors.append(abs(guess - true_rate) / true_rate)
        pause = minutes(every) * random.uniform(0.7, 1.5)
        used += true_rate * (pause / timedelta(hours=1)) * random.uniform(0.6, 1.4)
        at += pause
    mean, worst = sum(errors) / len(errors), max(errors)
    print(f"{name}: mean error {mean:.0%}, worst {worst:.0%} over {len(errors)} readings")  # noqa: T201 - the figure
    assert mean <= allowed


def test_the_time_of_exhaustion_is_near_the_simulated_truth():
    true_rate, at, used, samples, errors = 25.0, START, 0.0, (), []
    while used < 100:
        samples = add_sample(samples, at, round(used))
        guess = estimate_exhaustion_s(round(used), estimate_rate(samples, SESSION), timedelta(0))
        if guess is not None and used > 50:
            errors.append(abs(guess / 3600 - (100 - used) / true_rate))
        at, used = at + minutes(5), used + true_rate / 12
    print(f"exhaustion: mean error {sum(errors) / len(errors) * 60:.1f} minutes over {len(errors)} readings")  # noqa: T201
    assert max(errors) < 0.25


def test_rounding_errors_of_a_flat_line_are_no_use():
    samples = ()
    for step, used in enumerate((100 / 3, 100 / 3 + 1e-13, 100 / 3 + 2e-13, 100 / 3 + 2e-13)):
        samples = add_sample(samples, START + minutes(10) * step, used)
    assert estimate_rate(samples, SESSION) == 0.0
    assert estimate_exhaustion_s(samples[-1].used_percent, 0.0, timedelta(0)) == math.inf
