import re
from datetime import timedelta
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.charts import example
from tests.cli.charts.samples import LAST_DAY, make_track
from tests.core.samples import BERLIN, NOW, SERIES, H, M, reading, transition
from watcher.cli.charts import LEGEND, TimeRange, Track, build_segments, downsample, svg
from watcher.cli.charts.svg import DARK, LIGHT, Markup, element
from watcher.core.engine.thresholds import ThresholdLine
from watcher.core.engine.timeline import build_usage_history
from watcher.core.model import Severity, WindowKind

SVG = "{http://www.w3.org/2000/svg}"


def draw(*tracks):
    return ET.fromstring(svg.render_svg(tracks, LAST_DAY, title="AI usage, last 24 h"))


def find_by_class(root, name):
    return [each for each in root.iter() if name in each.get("class", "").split()]


def test_the_picture_in_the_readme_is_current():
    is_current = example.FILE.read_text("utf-8") == example.draw()
    assert is_current, "look at it, then: python -m tests.cli.charts.example"
    readme = (example.FILE.parents[1] / "README.md").read_text("utf-8")
    assert "(docs/usage.svg)" in readme


@given(st.text())
def test_an_element_escapes_its_text_and_attributes(text):
    root = ET.fromstring(element("p", text, title=text))
    printable = "".join(each for each in text if each.isprintable())
    assert (root.text or "", root.get("title"), len(root)) == (printable, printable, 0)


def test_an_element_keeps_markup_and_leaves_out_attributes_without_a_value():
    assert element("li", element("b", "1 < 2"), "x", class_="n", open=None) == ('<li class="n"><b>1 &lt; 2</b>\nx</li>')
    assert element("br") == "<br/>"
    assert element("style", Markup("a>b{}")) == "<style>a>b{}</style>"


def test_a_picture_is_described_for_screen_readers():
    root = draw(make_track(10, 40, 82))
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title").text == "AI usage, last 24 h"
    words = "Claude, 5-hour window: 82 % used at the end, 82 % at most, 0 resets, 0 alerts"
    assert root.find(f"{SVG}desc").text == words


def test_text_from_outside_is_escaped_and_loses_what_xml_cannot_hold():
    evil = 'x</title><script>alert("1")</script>\x00\x1b[31m&'
    text = svg.render_svg([make_track(10, 20, name=evil)], LAST_DAY, title=evil)
    assert "<script" not in text
    assert "\x1b" not in text
    assert ET.fromstring(text).find(f"{SVG}title").text == 'x</title><script>alert("1")</script>[31m&'


@given(st.text())
def test_any_name_gives_a_picture_that_parses(name):
    ET.fromstring(svg.render_svg([make_track(10, 20, name=name)], LAST_DAY, title=name))
    ET.fromstring(svg.render_panel(make_track(10, 20, name=name), LAST_DAY))


def test_a_picture_loads_nothing():
    text = svg.render_svg([make_track(10, 20)], LAST_DAY, title="x")
    assert re.findall(r"https?://[^\"' ]+", text) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"<(script|image|use|foreignObject)|url\(|@import|@font-face|href", text)


def test_each_threshold_is_a_line_of_its_severity_with_its_value_beside_it():
    root = draw(make_track(10, 20))
    assert [each.get("class") for each in find_by_class(root, "threshold")][:2] == [
        "threshold warning",
        "threshold critical",
    ]
    assert [each.text for each in find_by_class(root, "label") if each.tag == f"{SVG}text"] == ["80 %", "95 %"]


def test_of_several_thresholds_at_one_value_the_most_severe_is_drawn():
    lines = [ThresholdLine(rule="r", severity=severity, value=80.0) for severity in reversed(Severity)]
    root = draw(make_track(10, 20, thresholds=tuple(lines)))
    assert [each.get("class") for each in find_by_class(root, "label")] == ["label critical"]


@pytest.mark.parametrize("values", [(97.0, 98.0, 99.0, 100.0), (0.0, 1.0, 2.0, 3.0)])
def test_labels_of_adjacent_thresholds_do_not_overlap(values):
    near = tuple(ThresholdLine(rule="r", severity=Severity.INFO, value=value) for value in values)
    labels = find_by_class(draw(make_track(10, 20, thresholds=near)), "label")
    heights = [float(each.get("y")) for each in labels if each.get("y")]
    assert all(lower - upper >= 10.9 for lower, upper in pairwise(heights))
    assert min(heights) > 30
    assert max(heights) < svg.PANEL_HEIGHT + 20


def test_an_alert_has_a_mark_where_it_fired_and_where_it_was_over():
    fired = transition(at=NOW - 2 * H, read=reading(82.0))
    over = transition("resolved", at=NOW - H, read=reading(60.0))
    root = draw(make_track(10, 82, 60, transitions=[fired, over]))
    triangle = next(each for each in find_by_class(root, "mark") if each.find(f"{SVG}title") is not None)
    assert triangle.find(f"{SVG}title").text == "claude-session: firing (warning) at 82 %, Wed 7 Jan 12:20"
    assert [each.tag for each in find_by_class(root, "resolved")] == [f"{SVG}circle"]
    assert [each.text for each in root.iter(f"{SVG}text")][-2:] == [LEGEND, "AI usage watcher"]


def test_a_reset_is_a_dotted_line_with_what_was_spent():
    readings = [
        (NOW - 4 * H, reading(91.0, resets_at=NOW - 2 * H)),
        (NOW - 3 * H, reading(93.0, resets_at=NOW - 2 * H)),
        (NOW - H, reading(2.0, resets_at=NOW + 3 * H)),
    ]
    track = Track(name="x", usage_history=build_usage_history(SERIES, readings))
    titles = [each.find(f"{SVG}title").text for each in find_by_class(draw(track), "reset") if len(each)]
    assert titles == ["reset Wed 7 Jan 12:20; spent before it: 93 %"]
    assert len(build_segments(track, LAST_DAY)) == 2


def test_a_reading_between_two_gaps_is_a_dot():
    assert len(find_by_class(draw(make_track(10, *["gap"] * 9, 12, 13, 14, 15)), "dot")) == 1


def test_overage_stays_inside_the_panel():
    (path,) = find_by_class(draw(make_track(90, 140)), "usage")
    heights = [float(number.split()[1]) for number in path.get("d")[1:].split("L")]
    assert min(heights) > 30


def test_an_unlimited_window_has_no_line():
    assert find_by_class(draw(make_track(None, None, unlimited=True)), "usage") == []


def test_a_window_without_a_length_can_be_drawn():
    assert draw(make_track(10, 20, kind=WindowKind.OTHER, window_seconds=None)) is not None


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(-10, 200)), min_size=1, max_size=80))
def test_downsampling_keeps_the_highest_of_each_column(dots):
    kept = downsample(sorted(dots), 10)
    assert max(y for _, y in kept) == round(max(y for _, y in dots), 4)
    assert len(kept) == len({int(x * 10) for x, _ in dots})


def test_a_month_of_readings_makes_a_small_picture():
    track = make_track(*[index % 60 for index in range(8640)], every=5 * M)
    month = TimeRange(start=NOW - timedelta(days=30), end=NOW, tz=BERLIN)
    assert len(svg.render_svg([track], month, title="x")) < 150_000


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("paper", ["paper", "card"])
@pytest.mark.parametrize("ink", ["ink", "muted", "line", "info", "warning", "critical", "ok"])
def test_text_has_enough_contrast(colours, paper, ink):
    light, dark = sorted((luminance(colours[ink]), luminance(colours[paper])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5
