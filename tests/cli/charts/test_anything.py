"""Whatever was read, it can be drawn: no value, however odd, breaks a picture or puts a mark beside it."""

import re
from datetime import timedelta
from decimal import Decimal
from xml.etree import ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.samples import BERLIN, NOW, SERIES, reading, transition
from watcher.cli.charts import TimeRange, Track, build_alert_markers, summarize_track, svg, terminal
from watcher.cli.charts.svg import Theme
from watcher.core.engine import timeline
from watcher.core.engine.thresholds import ThresholdLine
from watcher.core.model import AlertEvent, Severity, WindowKind

SPAN = TimeRange(start=NOW - timedelta(days=7), end=NOW, tz=BERLIN)
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
LINES = st.lists(
    st.builds(ThresholdLine, rule=st.text(), severity=st.sampled_from(Severity), value=st.floats(-1e6, 1e6)), max_size=4
)
HAPPENED = st.lists(
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
@given(READINGS, LINES, HAPPENED)
def test_whatever_was_read_can_be_drawn(rows, lines, happened):
    recorded = [(at(minutes), read) for minutes, read in sorted(rows, key=lambda row: row[0])]
    found = timeline.build_usage_history(SERIES, recorded)
    assert len(found.points) == len(recorded)
    assert all(one.ended_at < other.ended_at for one, other in zip(found.periods, found.periods[1:], strict=False))
    track = Track(
        name="x", usage_history=found, threshold_lines=tuple(lines), alert_markers=build_alert_markers(SERIES, happened)
    )
    assert track.scale_min < track.scale_max
    assert summarize_track(track)
    root = ET.fromstring(svg.render_svg([track], SPAN, theme=Theme.AUTO, title="x"))
    for element in root.iter():
        numbers = [element.get(name, "") for name in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "d")]
        assert not re.search("nan|inf", " ".join(numbers))
    for circle in root.iter("{http://www.w3.org/2000/svg}circle"):
        assert 0 <= float(circle.get("cx")) <= svg.WIDTH
    for style in (terminal.BRAILLE_PLOT_SYMBOLS, terminal.ASCII_PLOT_SYMBOLS):
        assert all(len(line) <= 80 for line in terminal.render_plot(track, SPAN, style, width=80)[:10])
