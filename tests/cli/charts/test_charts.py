"""What every picture shares: the scale, the segments, the ticks and the summary."""

import re
from datetime import timedelta
from decimal import Decimal
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cli.charts.samples import LAST_DAY, make_track
from tests.core.samples import BERLIN, NOW, SERIES, H, balance, reading, transition
from watcher.cli import charts
from watcher.cli.charts import TimeRange, Track, build_segments, compute_ticks, summarize_track, svg
from watcher.core.engine.thresholds import ThresholdLine
from watcher.core.engine.timeline import build_usage_history
from watcher.core.model import AlertEvent, Series, Severity, WindowKind


def test_a_line_is_interrupted_by_a_gap_and_by_an_unknown_value():
    assert len(build_segments(make_track(10, 11, *["gap"] * 9, 12, 13), LAST_DAY)) == 2
    assert [len(piece) for piece in build_segments(make_track(10, 11, None, 12, 13), LAST_DAY)] == [2, 2]


def test_overage_is_on_the_scale():
    assert make_track(90, 140).scale_max == pytest.approx(147)


def test_a_balance_is_drawn_as_what_is_left():
    series = Series(provider="nano_gpt", window="balance_usd")
    readings = [(NOW - 3 * H + index * H, balance(left)) for index, left in enumerate(("12.50", "7.25", "-1"))]
    track = Track(name="Nano-GPT, balance", usage_history=build_usage_history(series, readings))
    assert not track.is_in_percent
    assert summarize_track(track) == "-$1.00 left at the end, $12.50 at most, 0 resets, 0 alerts"
    assert track.scale_min < -1
    assert track.value_of(balance(Decimal("3.5"))) == 3.5
    assert svg.render_svg([track], LAST_DAY, title="x")
    assert charts.render_plot(track, LAST_DAY, width=60)[0].startswith("   $13.75")


def test_the_summary_tells_unlimited_unknown_and_missing_values_apart():
    assert summarize_track(make_track(None, None, unlimited=True)).startswith("unlimited, ")
    assert summarize_track(make_track(None, None)).startswith("unknown, ")
    assert summarize_track(make_track()).startswith("no reading, ")


def test_ticks_are_round_local_times():
    assert [label for _, label in compute_ticks(LAST_DAY, 8)] == [
        "15:00",
        "18:00",
        "21:00",
        "Wed 7",
        "03:00",
        "06:00",
        "09:00",
        "12:00",
    ]
    week = TimeRange(start=NOW - timedelta(days=7), end=NOW, tz=BERLIN)
    assert [label for _, label in compute_ticks(week, 8)][:2] == ["Thu 1", "Fri 2"]
    year = TimeRange(start=NOW - timedelta(days=365), end=NOW, tz=BERLIN)
    assert len(compute_ticks(year, 8)) <= 9


def test_midnight_stays_midnight_when_the_clocks_change():
    change = NOW.replace(month=3, day=30)
    days = TimeRange(start=change - timedelta(days=4), end=change + timedelta(days=3), tz=BERLIN)
    assert {at.hour for at, _ in compute_ticks(days, 8)} == {0}


# --- any history ----------------------------------------------------------------------------------------------------

LAST_WEEK = TimeRange(start=NOW - timedelta(days=7), end=NOW, tz=BERLIN)
MINUTES = st.integers(-12000, 60)
PERCENT = st.one_of(st.none(), st.floats(0, 1e4), st.sampled_from([0.0, 100.0, 100.0000001]))
AMOUNT = st.one_of(st.none(), st.decimals(Decimal(-(10**6)), Decimal(10**9), places=2))


def at(minutes):
    return NOW + timedelta(minutes=minutes)


READINGS = st.lists(
    st.tuples(
        MINUTES,
        st.builds(
            reading,
            PERCENT,
            kind=st.sampled_from(WindowKind),
            unit=st.sampled_from(["percent", "usd", "requests", "x"]),
            used=AMOUNT,
            limit=AMOUNT,
            remaining=AMOUNT,
            resets_at=st.one_of(st.none(), MINUTES.map(at)),
            unlimited=st.booleans(),
            stale=st.booleans(),
        ),
    ),
    unique_by=lambda row: row[0],
    max_size=40,
)
THRESHOLDS = st.lists(
    st.builds(ThresholdLine, rule=st.text(), severity=st.sampled_from(Severity), value=st.floats(-1e6, 1e6)), max_size=4
)
TRANSITIONS = st.lists(
    st.builds(
        transition,
        st.sampled_from([each.value for each in AlertEvent]),
        st.sampled_from([each.value for each in Severity]),
        st.builds(reading, PERCENT, remaining=AMOUNT),
        at=MINUTES.map(at),
    ),
    max_size=5,
)


@settings(max_examples=150)
@given(READINGS, THRESHOLDS, TRANSITIONS)
def test_any_history_can_be_drawn(rows, thresholds, transitions):
    recorded = [(at(minutes), read) for minutes, read in sorted(rows, key=lambda row: row[0])]
    history = build_usage_history(SERIES, recorded)
    assert len(history.points) == len(recorded)
    assert all(one.ended_at < other.ended_at for one, other in zip(history.periods, history.periods[1:], strict=False))
    track = Track(name="x", usage_history=history, threshold_lines=tuple(thresholds), transitions=tuple(transitions))
    assert track.scale_min < track.scale_max
    assert summarize_track(track)
    root = ET.fromstring(svg.render_svg([track], LAST_WEEK, title="x"))
    for drawn in root.iter():
        numbers = [drawn.get(name, "") for name in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "d")]
        assert not re.search("nan|inf", " ".join(numbers))
    for circle in root.iter("{http://www.w3.org/2000/svg}circle"):
        assert 0 <= float(circle.get("cx")) <= svg.WIDTH
    lines = charts.render_plot(track, LAST_WEEK, width=80)[:10]
    assert all(len(line) <= 80 for line in lines)
    assert all(line.translate(charts.TO_ASCII).isascii() for line in lines)
