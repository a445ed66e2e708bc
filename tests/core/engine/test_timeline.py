"""The history of a series and of its alerts."""

from datetime import timedelta

import pytest

from tests.core.samples import NOW, SERIES, H, M, balance, of, reading, transition
from watcher.core.engine import timeline
from watcher.core.engine.timeline import build_alert_periods
from watcher.core.model import Series, Severity, WindowKind

ALERT = ("claude-session", SERIES)


def test_without_transitions_there_are_no_periods():
    assert build_alert_periods([], [ALERT]) == ()


def test_a_period_runs_from_firing_to_resolved_with_its_highest_severity_and_use():
    (period,) = build_alert_periods(
        [
            transition(at=NOW, read=reading(82.0)),
            transition("escalated", "critical", at=NOW + H, read=reading(96.0)),
            transition("reminder", "critical", at=NOW + 2 * H, read=reading(94.0)),
            transition("resolved", at=NOW + 3 * H, read=reading(60.0)),
        ],
        [],
    )
    assert (period.since, period.until, period.is_firing) == (NOW, NOW + 3 * H, False)
    assert (period.severity, period.peak_used_percent, period.reason) == (Severity.CRITICAL, 96.0, "recovered")


def test_a_period_is_open_only_if_the_alert_fires_now():
    fired = [transition(at=NOW)]
    assert build_alert_periods(fired, [ALERT])[0].is_firing
    over = build_alert_periods(fired, [])[0]
    assert (over.is_firing, over.until) == (False, None)  # the rule says nothing at its end


def test_firing_again_is_another_period():
    found = build_alert_periods([transition(at=NOW), transition(at=NOW + 5 * H)], [ALERT])
    assert [(period.since, period.is_firing) for period in found] == [(NOW, False), (NOW + 5 * H, True)]


def test_an_end_without_a_recorded_beginning_has_its_own_since():
    (period,) = build_alert_periods([transition("resolved", at=NOW, since=NOW - 2 * H, read=reading(1.0))], [])
    assert (period.since, period.until, period.peak_used_percent) == (NOW - 2 * H, NOW, None)


def test_alerts_of_two_series_are_two_periods_in_order_of_their_beginning():
    found = build_alert_periods(
        [transition(at=NOW), of("codex", at=NOW - timedelta(minutes=1)), transition("resolved", at=NOW)], []
    )
    assert [period.series.provider for period in found] == ["codex", "claude"]


def test_a_reset_event_is_no_period():
    assert build_alert_periods([transition("reset", at=NOW)], []) == ()


def test_a_series_without_percents_has_no_peak():
    assert build_alert_periods([transition(at=NOW, read=balance("3.50"))], [])[0].peak_used_percent is None


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


def test_a_history_without_readings_is_empty():
    empty = timeline.build_usage_history(SESSION, [])
    assert (empty.points, empty.periods, empty.last_believed, empty.peak, empty.label) == ((), (), None, None, "")


def test_a_period_has_the_last_use_before_its_reset():
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


def test_a_jump_that_the_next_reading_confirms_is_believed_from_its_first_reading():
    found = follow(3, 80, 81)
    assert [point.believed for point in found.points] == [True, True, True]


def test_an_early_reset_counts_once_it_is_confirmed():
    found = follow(90, 91, 0, 1, 2)
    assert [turn.used_percent for turn in found.periods] == [91]
    assert found.periods[0].ended_early
    assert [point.episode for point in found.points] == [0, 0, 1, 1, 1]
    assert all(point.believed for point in found.points)


def test_a_line_crosses_the_three_hours_between_old_readings():
    days = [(NOW - 100 * 24 * H + n * 3 * H, reading(10.0)) for n in range(4)]
    days += [(NOW + n * 5 * M, reading(10.0)) for n in range(20)]
    found = timeline.build_usage_history(SERIES, days)
    assert [point.after_gap for point in found.points] == [False] * 4 + [True] + [False] * 19


def test_no_line_crosses_a_long_gap():
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


def test_a_later_part_keeps_what_earlier_readings_proved():
    whole = follow(10, 40, 72.5, 5, 20, 60, 80, 91, 3, every=H, ends=150 * M)
    part = timeline.trim_before(whole, NOW + 6 * H)
    assert [turn.used_percent for turn in part.periods] == [91]
    assert [point.used_percent for point in part.points] == [80, 91, 3]


def test_the_interval_is_the_median_gap():
    assert timeline.median_interval([]) == timeline.median_interval([NOW]) == timedelta(minutes=5)
    assert timeline.median_interval([NOW, NOW + M, NOW + 3 * M, NOW + 20 * H]) == 2 * M


def test_the_mean_of_unknown_values_is_unknown():
    turn = timeline.WindowPeriod(ended_at=NOW, used_percent=None, ended_early=False)
    assert timeline.mean_used_percent([turn]) is None
