from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from watcher.core.rules.time_intervals import (
    TimeInterval,
    TimeIntervalError,
    find_interval_end,
    find_next_interval_start,
    parse_quiet_hours,
)

BERLIN = ZoneInfo("Europe/Berlin")
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
def test_a_night_runs_over_midnight(now, end):
    assert find_interval_end(NIGHT, local(*now), BERLIN) == (local(*end) if end else None)


def test_hours_within_one_day():
    noon = parse_quiet_hours("12:00-13:30")
    assert find_interval_end(noon, local(2026, 1, 7, 12, 45), BERLIN) == local(2026, 1, 7, 13, 30)
    assert find_interval_end(noon, local(2026, 1, 7, 13, 30), BERLIN) is None
    assert find_interval_end(noon, local(2026, 1, 8, 0, 30), BERLIN) is None


def test_hours_up_to_midnight():
    evening = parse_quiet_hours("20:00-24:00")
    assert find_interval_end(evening, local(2026, 1, 7, 23, 59), BERLIN) == local(2026, 1, 8)
    assert find_interval_end(evening, local(2026, 1, 8), BERLIN) is None


def test_the_zone_decides():
    now = datetime(2026, 1, 7, 23, 0, tzinfo=UTC)
    assert find_interval_end(NIGHT, now, ZoneInfo("America/New_York")) is None
    assert find_interval_end(NIGHT, now, ZoneInfo("Asia/Tokyo")) is None
    assert find_interval_end(NIGHT, now, BERLIN) == datetime(2026, 1, 8, 7, 0, tzinfo=UTC)


def test_the_night_in_which_the_clock_is_set_forward_is_an_hour_shorter():
    start, end = local(2026, 3, 28, 22), local(2026, 3, 29, 8)
    assert end - start == timedelta(hours=9)
    assert find_interval_end(NIGHT, start, BERLIN) == end
    assert find_interval_end(NIGHT, end - timedelta(seconds=1), BERLIN) == end
    assert find_interval_end(NIGHT, end, BERLIN) is None


def test_the_night_in_which_the_clock_is_set_back_is_an_hour_longer():
    start, end = local(2026, 10, 24, 22), local(2026, 10, 25, 8)
    assert end - start == timedelta(hours=11)
    assert find_interval_end(NIGHT, start, BERLIN) == end
    assert find_interval_end(NIGHT, end - timedelta(seconds=1), BERLIN) == end


def test_an_end_that_the_clock_leaps_over_is_the_leap():
    early = parse_quiet_hours("22:00-02:30")  # 02:30 does not exist on 29 March: after 01:59:59 comes 03:00
    leap = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert find_interval_end(early, local(2026, 3, 29, 1, 59), BERLIN) == leap
    assert find_interval_end(early, leap, BERLIN) is None


def test_a_start_that_the_clock_leaps_over_is_the_leap():
    late = parse_quiet_hours("02:30-05:00")
    leap = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert find_interval_end(late, leap - timedelta(seconds=1), BERLIN) is None
    assert find_interval_end(late, leap, BERLIN) == local(2026, 3, 29, 5)


def test_an_end_that_comes_twice_ends_the_second_time_so_that_the_night_is_one_piece():
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
def test_a_span_ends_once_and_after_it_the_next_one_starts(zone, minutes, start, end):
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
def test_hours_are_read(text, start, end):
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
def test_what_is_no_span_of_hours_is_refused(text, said):
    with pytest.raises(TimeIntervalError) as caught:
        parse_quiet_hours(text)
    assert str(caught.value) == said
