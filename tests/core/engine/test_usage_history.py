from datetime import timedelta

import pytest

from tests.core.samples import NOW, H, M, reading
from watcher.core.engine import timeline
from watcher.core.model import Series, WindowKind

SESSION = Series(provider="claude", window="five_hour")
EVERY = 5 * M


def recorded(*used, every=EVERY, ends=5 * H):
    """Readings of one session window that began at NOW and turns over every five hours from `ends` on."""
    found = []
    for index, value in enumerate(used):
        at = NOW + index * every
        boundary = NOW + ends
        while boundary <= at:
            boundary += 5 * H
        if value is not None:
            found.append((at, reading(value, resets_at=boundary)))
    return found


def follow(*used, **more):
    return timeline.build_usage_history(SESSION, recorded(*used, **more))


def test_nothing_was_read():
    empty = timeline.build_usage_history(SESSION, [])
    assert (empty.points, empty.periods, empty.last_believed, empty.peak, empty.label) == ((), (), None, None, "")


def test_what_was_spent_before_each_reset_is_the_last_reading_before_it():
    found = follow(10, 40, 72.5, 5, 20, 60, 80, 91, 3, every=H, ends=150 * M)
    assert [turn.used_percent for turn in found.periods] == [72.5, 91]
    assert [turn.ended_early for turn in found.periods] == [False, False]
    assert found.periods[0].ended_at == NOW + 150 * M
    assert timeline.mean_used_percent(found.periods) == pytest.approx(81.75)


def test_a_glitch_is_not_believed_and_resets_nothing():
    found = follow(3, 100, 3, 4)
    assert [point.believed for point in found.points] == [True, False, True, True]
    assert found.periods == ()
    assert found.peak.used_percent == 4


def test_a_leap_that_the_next_reading_confirms_was_true_from_its_first_reading_on():
    found = follow(3, 80, 81)
    assert [point.believed for point in found.points] == [True, True, True]


def test_an_early_reset_counts_once_it_is_confirmed():
    found = follow(90, 91, 0, 1, 2)
    assert [turn.used_percent for turn in found.periods] == [91]
    assert found.periods[0].ended_early
    assert [point.episode for point in found.points] == [0, 0, 1, 1, 1]
    assert all(point.believed for point in found.points)


def test_after_a_long_silence_no_line_leads_on():
    found = follow(3, 4, *[None] * 30, 6, 7)
    assert [point.after_gap for point in found.points] == [False, False, True, False]


def test_an_unknown_value_is_neither_zero_nor_what_it_was():
    found = follow(30, None, 31)
    rows = recorded(30, 31)
    rows.insert(1, (NOW + M, reading(None, used=None)))
    found = timeline.build_usage_history(SESSION, rows)
    assert [point.used_percent for point in found.points] == [30, None, 31]
    assert [point.believed for point in found.points] == [True, False, True]


def test_a_balance_is_topped_up_and_never_reset():
    rows = [(NOW + i * H, reading(None, kind=WindowKind.BALANCE, remaining=left)) for i, left in enumerate((5, 1, 20))]
    assert timeline.build_usage_history(SESSION, rows).periods == ()


def test_a_later_part_keeps_what_was_learned_before_it():
    whole = follow(10, 40, 72.5, 5, 20, 60, 80, 91, 3, every=H, ends=150 * M)
    part = timeline.trim_before(whole, NOW + 6 * H)
    assert [turn.used_percent for turn in part.periods] == [91]
    assert [point.used_percent for point in part.points] == [80, 91, 3]
    assert part.state == whole.state


def test_the_usual_gap_is_the_median():
    assert timeline.median_interval([]) == timeline.median_interval([NOW]) == timedelta(minutes=5)
    assert timeline.median_interval([NOW, NOW + M, NOW + 3 * M, NOW + 20 * H]) == 2 * M


def test_the_mean_of_what_nobody_saw_is_unknown():
    turn = timeline.WindowPeriod(ended_at=NOW, used_percent=None, read_at=None, ended_early=False)
    assert timeline.mean_used_percent([turn]) is None
