from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest

from watcher.demo.scenario import SimulatedDay, parse_curve, parse_hours

DAY = SimulatedDay()
clock, use = DAY.instant_at, DAY.usage_at


def test_a_curve_is_straight_between_points_and_level_outside() -> None:
    line = parse_curve("8:00 10, 9:00 40")
    assert [line(parse_hours(at)) for at in ("7:00", "8:00", "8:20", "9:00", "25:15")] == pytest.approx(
        [10, 10, 20, 40, 40]
    )


def test_the_session_crosses_eighty_and_fluctuates_above_seventy() -> None:
    morning = [use(clock("11:15") + timedelta(minutes=5 * step)).claude_session.used_percent for step in range(14)]
    crossings = sum((before > 80) != (after > 80) for before, after in pairwise(morning))
    assert crossings >= 5
    assert min(morning) > 75


def test_the_session_resets_at_its_time_and_is_not_open_until_used_again() -> None:
    resets_at = clock("13:10")
    last = use(resets_at - timedelta(seconds=1)).claude_session
    assert last.resets_at == resets_at
    assert last.used_percent > 90
    assert (use(resets_at).claude_session.used_percent, use(resets_at).claude_session.resets_at) == (0.0, None)
    assert use(clock("13:41")).claude_session.resets_at == clock("18:40")


def test_copilot_goes_into_overage_in_the_afternoon() -> None:
    assert use(clock("15:30")).copilot_month.used <= 300
    assert use(clock("16:05")).copilot_month.used > 300


def test_daily_quotas_turn_at_their_own_midnights() -> None:
    assert use(clock("23:59")).nano_gpt_day.used == 3100
    assert use(clock("24:01")).nano_gpt_day.used == 0
    assert use(clock("24:01")).nano_gpt_month.used == 9200 + 3100
    assert use(clock("31:59")).gemini["gemini-2.5-pro"].used_percent == 55
    assert use(clock("32:01")).gemini["gemini-2.5-pro"].used_percent == 0


def test_no_amount_leaves_its_range_and_no_open_window_is_past() -> None:
    at = DAY.starts_at
    while at <= DAY.ends_at:
        now = use(at)
        turns = [
            now.claude_session,
            now.claude_week,
            now.codex_session,
            *now.gemini.values(),
            *now.antigravity.values(),
        ]
        for turn in turns:
            assert 0 <= turn.used_percent <= 100
            assert turn.resets_at is None or turn.resets_at > at
        at += timedelta(minutes=7)


def test_a_day_elsewhere_shows_the_same_times_on_its_own_clock() -> None:
    pacific = SimulatedDay(datetime(2026, 3, 2, tzinfo=timezone(timedelta(hours=-8))))
    assert pacific.starts_at == datetime(2026, 3, 2, 15, tzinfo=UTC)
    morning = pacific.usage_at(pacific.instant_at("12:00"))
    assert morning.claude_session.used_percent == use(clock("12:00")).claude_session.used_percent
    assert morning.claude_session.resets_at == pacific.instant_at("13:10")
    assert morning.nano_gpt_day.resets_at == pacific.instant_at("24:00")
