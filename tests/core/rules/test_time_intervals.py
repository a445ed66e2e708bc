"""Is it now? In wall time, whatever daylight saving does."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from watcher.core.rules.time_intervals import TimeInterval, is_active, parse_active_interval

BERLIN = ZoneInfo("Europe/Berlin")


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
def test_a_span_is_open_in_the_wall_time_of_its_zone(span, moment, answer):
    assert is_active(parse_active_interval(span, "Europe/Berlin"), at(moment)) is answer
    assert is_active(parse_active_interval(span), at(moment), BERLIN) is answer


def test_a_span_that_ends_when_it_starts_is_the_whole_day():
    whole = TimeInterval(days=frozenset({2}), start=time(0), end=time(0))
    assert is_active(whole, datetime(2026, 3, 4, 23, 59, tzinfo=UTC), UTC)
    assert not is_active(whole, datetime(2026, 3, 5, tzinfo=UTC), UTC)


def test_its_own_zone_goes_before_the_machines():
    tokyo = parse_active_interval("09:00-18:00", "Asia/Tokyo")
    assert is_active(tokyo, datetime(2026, 3, 4, 1, tzinfo=UTC), BERLIN)
