from datetime import time

import pytest

from watcher.core.rules.time_intervals import TimeIntervalError, check_time_zone, parse_active_interval

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
def test_what_names_no_time_is_refused(text):
    with pytest.raises(TimeIntervalError):
        parse_active_interval(text)


@pytest.mark.parametrize(
    "zone", ["Europe/Berln", "berlin time", "../etc/passwd", "", "a" * 10_000, "\x00", "/etc/localtime"]
)
def test_what_is_no_zone_is_refused(zone):
    with pytest.raises(TimeIntervalError, match="this is no time zone"):
        check_time_zone(zone)


@pytest.mark.parametrize(("zone", "hint"), [("Europe/Berln", "Europe/Berlin"), ("New York", "America/New_York")])
def test_the_nearest_zone_is_named(zone, hint):
    with pytest.raises(TimeIntervalError, match=f'did you mean "{hint}"'):
        check_time_zone(zone)
