"""Time intervals: which texts are valid, and when an interval is active, also when the clock changes."""

import re
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from watcher.core.rules.time_intervals import (
    TimeInterval,
    check_time_zone,
    find_interval_end,
    find_next_interval_start,
    is_active,
    parse_active_interval,
    parse_quiet_hours,
)

BERLIN = ZoneInfo("Europe/Berlin")
ALL = frozenset(range(7))


@pytest.mark.parametrize(
    ("text", "days", "start", "end"),
    [
        ("Mon-Fri 09:00-18:00", {0, 1, 2, 3, 4}, time(9), time(18)),
        ("Sat,Sun", {5, 6}, time(0), time(0)),
        ("mon", {0}, time(0), time(0)),
        ("Fri-Mon 22:00-06:30", {4, 5, 6, 0}, time(22), time(6, 30)),
        ("9:00-18:00", ALL, time(9), time(18)),
        ("Mon,Wed-Thu 00:00-24:00", {0, 2, 3}, time(0), time(0)),
        ("18:00-24:00", ALL, time(18), time(0)),
    ],
)
def test_days_and_hours(text, days, start, end):
    active = parse_active_interval(text)
    assert (active.days, active.start, active.end, active.tz) == (frozenset(days), start, end, None)


@pytest.mark.parametrize(
    "text", ["", "Mon-", "Monday", "Mon 9-18", "24:01-03:00", "09:60-10:00", "Mon Tue Wed", "Mon,,Tue", "09:00-09:00"]
)
def test_a_text_without_days_and_hours_is_refused(text):
    with pytest.raises(ValueError, match=r"this|is no"):
        parse_active_interval(text)


@pytest.mark.parametrize(
    "zone", ["Europe/Berln", "berlin time", "../etc/passwd", "", "a" * 10_000, "\x00", "/etc/localtime"]
)
def test_an_unknown_time_zone_is_refused(zone):
    with pytest.raises(ValueError, match="this is no time zone"):
        check_time_zone(zone)


@pytest.mark.parametrize(("zone", "hint"), [("Europe/Berln", "Europe/Berlin"), ("New York", "America/New_York")])
def test_the_closest_time_zone_is_suggested(zone, hint):
    with pytest.raises(ValueError, match=f'did you mean "{hint}"'):
        check_time_zone(zone)


def at(text):
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("span", "moment", "answer"),
    [
        ("Mon-Fri 09:00-18:00", "2026-03-04T09:00:00+01:00", True),
        ("Mon-Fri 09:00-18:00", "2026-03-04T08:59:59+01:00", False),
        ("Mon-Fri 09:00-18:00", "2026-03-04T18:00:00+01:00", False),
        ("Mon-Fri 09:00-18:00", "2026-03-07T12:00:00+01:00", False),
        ("Fri 22:00-06:00", "2026-03-07T05:59:00+01:00", True),
        ("Fri 22:00-06:00", "2026-03-06T05:59:00+01:00", False),
        ("Sun 22:00-06:00", "2026-03-09T05:59:00+01:00", True),
        ("Sat,Sun", "2026-03-08T23:59:00+01:00", True),
        ("Sat,Sun", "2026-03-09T00:00:00+01:00", False),
        ("02:30-03:30", "2026-03-29T01:15:00+00:00", True),  # 02:30 does not exist on that day; 03:15 does
        ("02:30-03:30", "2026-10-25T00:45:00+00:00", True),  # the first 02:45
        ("02:30-03:30", "2026-10-25T01:45:00+00:00", True),  # the second
    ],
)
def test_an_interval_is_active_in_the_wall_time_of_its_zone(span, moment, answer):
    assert is_active(parse_active_interval(span, "Europe/Berlin"), at(moment)) is answer
    assert is_active(parse_active_interval(span), at(moment), BERLIN) is answer


def test_an_interval_that_ends_when_it_starts_is_the_whole_day():
    whole = TimeInterval(days=frozenset({2}), start=time(0), end=time(0))
    assert is_active(whole, datetime(2026, 3, 4, 23, 59, tzinfo=UTC), UTC)
    assert not is_active(whole, datetime(2026, 3, 5, tzinfo=UTC), UTC)


def test_its_own_zone_has_precedence_over_the_machines():
    tokyo = parse_active_interval("09:00-18:00", "Asia/Tokyo")
    assert is_active(tokyo, datetime(2026, 3, 4, 1, tzinfo=UTC), BERLIN)


# --- quiet hours ---

NIGHT = parse_quiet_hours("22:00-08:00")
ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]


def local(*parts, zone=BERLIN, fold=0):
    return datetime(*parts, tzinfo=zone, fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ((2026, 1, 7, 21, 59), None),
        ((2026, 1, 7, 22, 0), (2026, 1, 8, 8, 0)),
        ((2026, 1, 7, 23, 59), (2026, 1, 8, 8, 0)),
        ((2026, 1, 8, 0, 0), (2026, 1, 8, 8, 0)),
        ((2026, 1, 8, 7, 59), (2026, 1, 8, 8, 0)),
        ((2026, 1, 8, 8, 0), None),
    ],
)
def test_quiet_hours_over_midnight(now, end):
    assert find_interval_end(NIGHT, local(*now), BERLIN) == (local(*end) if end else None)


def test_quiet_hours_within_one_day():
    noon = parse_quiet_hours("12:00-13:30")
    assert find_interval_end(noon, local(2026, 1, 7, 12, 45), BERLIN) == local(2026, 1, 7, 13, 30)
    assert find_interval_end(noon, local(2026, 1, 7, 13, 30), BERLIN) is None
    assert find_interval_end(noon, local(2026, 1, 8, 0, 30), BERLIN) is None


def test_quiet_hours_up_to_midnight():
    evening = parse_quiet_hours("20:00-24:00")
    assert find_interval_end(evening, local(2026, 1, 7, 23, 59), BERLIN) == local(2026, 1, 8)
    assert find_interval_end(evening, local(2026, 1, 8), BERLIN) is None


def test_quiet_hours_depend_on_the_zone():
    now = datetime(2026, 1, 7, 23, 0, tzinfo=UTC)
    assert find_interval_end(NIGHT, now, ZoneInfo("America/New_York")) is None
    assert find_interval_end(NIGHT, now, ZoneInfo("Asia/Tokyo")) is None
    assert find_interval_end(NIGHT, now, BERLIN) == datetime(2026, 1, 8, 7, 0, tzinfo=UTC)


def test_the_night_is_an_hour_shorter_when_the_clock_goes_forward():
    start, end = local(2026, 3, 28, 22), local(2026, 3, 29, 8)
    assert end - start == timedelta(hours=9)
    assert find_interval_end(NIGHT, start, BERLIN) == end
    assert find_interval_end(NIGHT, end - timedelta(seconds=1), BERLIN) == end
    assert find_interval_end(NIGHT, end, BERLIN) is None


def test_the_night_is_an_hour_longer_when_the_clock_goes_back():
    start, end = local(2026, 10, 24, 22), local(2026, 10, 25, 8)
    assert end - start == timedelta(hours=11)
    assert find_interval_end(NIGHT, start, BERLIN) == end
    assert find_interval_end(NIGHT, end - timedelta(seconds=1), BERLIN) == end


def test_an_end_that_the_clock_skips_is_the_end_of_the_gap():
    early = parse_quiet_hours("22:00-02:30")  # 02:30 does not exist on 29 March: after 01:59:59 comes 03:00
    leap = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert find_interval_end(early, local(2026, 3, 29, 1, 59), BERLIN) == leap
    assert find_interval_end(early, leap, BERLIN) is None


def test_a_start_that_the_clock_skips_is_the_end_of_the_gap():
    late = parse_quiet_hours("02:30-05:00")
    leap = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert find_interval_end(late, leap - timedelta(seconds=1), BERLIN) is None
    assert find_interval_end(late, leap, BERLIN) == local(2026, 3, 29, 5)


def test_an_end_that_comes_twice_is_the_second_one():
    early = parse_quiet_hours("22:00-02:30")
    second = local(2026, 10, 25, 2, 30, fold=1)
    for now in (local(2026, 10, 25, 2, 15), local(2026, 10, 25, 2, 45), local(2026, 10, 25, 2, 15, fold=1)):
        assert find_interval_end(early, now, BERLIN) == second
    assert find_interval_end(early, second, BERLIN) is None


@pytest.mark.parametrize("zone", ZONES)
@given(
    minutes=st.integers(0, 2 * 365 * 1440),
    start=st.times(),
    end=st.times(),
)
def test_an_interval_ends_once_and_then_the_next_one_starts(zone, minutes, start, end):
    quiet, tz = (
        TimeInterval(start=start.replace(second=0, microsecond=0), end=end.replace(second=0, microsecond=0)),
        ZoneInfo(zone),
    )
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    assume(quiet.start != quiet.end)
    ends = find_interval_end(quiet, now, tz)
    starts = find_next_interval_start(quiet, now, tz)
    assert now < starts <= now + timedelta(hours=49)
    if ends is not None:
        assert now < ends <= now + timedelta(hours=25)
        assert find_interval_end(quiet, ends - timedelta(seconds=1), tz) == ends
    else:
        assert find_interval_end(quiet, starts, tz) is not None
        assert find_interval_end(quiet, now + (starts - now) / 2, tz) is None


@pytest.mark.parametrize(
    ("text", "start", "end"), [("22:00-08:00", (22, 0), (8, 0)), ("9:30 - 17:45", (9, 30), (17, 45))]
)
def test_quiet_hours_are_parsed(text, start, end):
    assert parse_quiet_hours(text) == TimeInterval(start=time(*start), end=time(*end))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("at night", 'this names no hours; write them as "22:00-08:00"'),
        ("22-8", 'this names no hours; write them as "22:00-08:00"'),
        ("25:00-08:00", "25:00 is no time of day; valid: 00:00 to 24:00"),
        ("22:60-08:00", "22:60 is no time of day; valid: 00:00 to 24:00"),
        ("08:00-08:00", "this begins and ends at the same time; to mute everything, use `watcher snooze`"),
        ("00:00-24:00", "this begins and ends at the same time; to mute everything, use `watcher snooze`"),
    ],
)
def test_wrong_quiet_hours_are_refused(text, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_quiet_hours(text)
