from datetime import timedelta
from itertools import pairwise

from watcher.demo.day import ENDS_AT, STARTS_AT, clock, curve, use


def test_a_curve_is_straight_between_points_and_level_outside() -> None:
    line = curve("8:00 10, 9:00 40")
    assert [line(clock(at)) for at in ("7:00", "8:00", "8:20", "9:00", "25:15")] == [10, 10, 20, 40, 40]


def test_the_session_crosses_eighty_and_wobbles_without_leaving_the_seventies() -> None:
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
    assert use(clock("15:30")).copilot.used <= 300
    assert use(clock("16:05")).copilot.used > 300


def test_daily_quotas_turn_at_their_own_midnights() -> None:
    assert use(clock("23:59")).nano.used_today == 3100
    assert use(clock("24:01")).nano.used_today == 0
    assert use(clock("24:01")).nano.used_this_month == 9200 + 3100
    assert use(clock("31:59")).gemini["gemini-2.5-pro"].used_percent == 55
    assert use(clock("32:01")).gemini["gemini-2.5-pro"].used_percent == 0


def test_no_amount_leaves_its_range_and_no_open_window_is_past() -> None:
    at = STARTS_AT
    while at <= ENDS_AT:
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
