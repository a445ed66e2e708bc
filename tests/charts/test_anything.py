"""Whatever was read, it can be drawn: no value, however odd, breaks a picture or puts a mark beside it."""

import re
from datetime import timedelta
from decimal import Decimal
from xml.etree import ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.samples import BERLIN, NOW, SERIES, reading, transition
from watcher.charts import Span, Track, moments, summary, svg, terminal
from watcher.charts.palette import Theme
from watcher.core import course
from watcher.core.lookout import Line
from watcher.core.model import Event, Kind, Severity

SPAN = Span(start=NOW - timedelta(days=7), end=NOW, tz=BERLIN)
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
            kind=st.sampled_from(Kind),
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
    st.builds(Line, rule=st.text(), severity=st.sampled_from(Severity), value=st.floats(-1e6, 1e6)), max_size=4
)
HAPPENED = st.lists(
    st.builds(
        transition,
        st.sampled_from([each.value for each in Event]),
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
    found = course.follow(SERIES, recorded)
    assert len(found.points) == len(recorded)
    assert all(one.at < other.at for one, other in zip(found.turns, found.turns[1:], strict=False))
    track = Track(name="x", course=found, lines=tuple(lines), moments=moments(SERIES, happened))
    assert track.bottom < track.top
    assert summary(track)
    root = ET.fromstring(svg.picture([track], SPAN, theme=Theme.AUTO, title="x"))
    for element in root.iter():
        numbers = [element.get(name, "") for name in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "d")]
        assert not re.search("nan|inf", " ".join(numbers))
    for circle in root.iter("{http://www.w3.org/2000/svg}circle"):
        assert 0 <= float(circle.get("cx")) <= svg.WIDTH
    for style in (terminal.DOTS, terminal.ASCII):
        assert all(len(line) <= 80 for line in terminal.plot(track, SPAN, style, width=80)[:10])
