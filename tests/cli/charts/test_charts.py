import re
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.samples import BERLIN, NOW, SERIES, H, M, balance, reading, transition
from watcher.cli.charts import TimeRange, Track, build_alert_markers, compute_ticks, summarize_track, svg, terminal
from watcher.cli.charts.svg import DARK_COLOURS, LIGHT_COLOURS, Theme, build_segments, downsample, make_chart_css
from watcher.core.engine import timeline
from watcher.core.engine.thresholds import ThresholdLine
from watcher.core.model import Series, Severity, WindowKind

SPAN = TimeRange(start=NOW - 24 * H, end=NOW, tz=BERLIN)
SVG = "{http://www.w3.org/2000/svg}"
LINES = (
    ThresholdLine(rule="session", severity=Severity.WARNING, value=80.0),
    ThresholdLine(rule="session", severity=Severity.CRITICAL, value=95.0),
)


def track(*used, name="Claude, 5-hour window", lines=LINES, happened=(), every=H, **more):
    start = NOW - len(used) * every
    rows = [
        (start + i * every, reading(value, resets_at=NOW + 9 * H, **more))
        for i, value in enumerate(used)
        if value != "gap"
    ]
    return Track(
        name=name,
        usage_history=timeline.build_usage_history(SERIES, rows),
        threshold_lines=lines,
        alert_markers=build_alert_markers(SERIES, happened),
    )


def drawn(*tracks, theme=Theme.LIGHT, title="AI usage, last 24 h"):
    return ET.fromstring(svg.render_svg(tracks, SPAN, theme=theme, title=title))


def classed(root, word):
    return [each for each in root.iter() if word in each.get("class", "").split()]


def test_a_picture_says_what_it_shows_to_those_who_do_not_see_it():
    root = drawn(track(10, 40, 82))
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title").text == "AI usage, last 24 h"
    words = "Claude, 5-hour window: 82 % used at the end, 82 % at most, 0 resets, 0 alerts"
    assert root.find(f"{SVG}desc").text == words


def test_texts_from_outside_are_escaped_and_lose_what_xml_cannot_hold():
    evil = 'x</title><script>alert("1")</script>\x00\x1b[31m&'
    text = svg.render_svg([track(10, 20, name=evil)], SPAN, theme=Theme.AUTO, title=evil)
    assert "<script" not in text
    assert "\x1b" not in text
    assert ET.fromstring(text).find(f"{SVG}title").text == 'x</title><script>alert("1")</script>[31m&'


@given(st.text())
def test_any_name_gives_a_picture_that_parses(name):
    ET.fromstring(svg.render_svg([track(10, 20, name=name)], SPAN, theme=Theme.DARK, title=name))
    ET.fromstring(svg.render_panel(track(10, 20, name=name), SPAN))


def test_nothing_is_fetched_from_anywhere():
    text = svg.render_svg([track(10, 20)], SPAN, theme=Theme.AUTO, title="x")
    assert re.findall(r"https?://[^\"' ]+", text) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"<(script|image|use|foreignObject)|url\(|@import|@font-face|href", text)


def test_each_threshold_is_a_line_of_its_severity_with_its_value_beside_it():
    root = drawn(track(10, 20))
    assert [each.get("class") for each in classed(root, "limit")][:2] == ["limit warning", "limit critical"]
    assert [each.text for each in classed(root, "word") if each.tag == f"{SVG}text"] == ["80 %", "95 %"]


def test_labels_of_neighbouring_thresholds_do_not_cover_each_other():
    near = tuple(ThresholdLine(rule="r", severity=Severity.INFO, value=value) for value in (97.0, 98.0, 99.0, 100.0))
    heights = [float(each.get("y")) for each in classed(drawn(track(10, 20, lines=near)), "word") if each.get("y")]
    assert all(lower - upper >= 10.9 for lower, upper in pairwise(heights))
    assert min(heights) > 30


def test_an_alert_is_marked_where_it_fired_and_where_it_was_over():
    fired = transition(at=NOW - 2 * H, read=reading(82.0))
    over = transition("resolved", at=NOW - H, read=reading(60.0))
    root = drawn(track(10, 82, 60, happened=[fired, over]))
    (triangle,) = [each for each in classed(root, "mark") if each.find(f"{SVG}title") is not None][:1]
    assert triangle.find(f"{SVG}title").text == "claude-session: firing (warning) at 82 %, Wed 7 Jan 12:20"
    assert [each.tag for each in classed(root, "resolved")] == [f"{SVG}circle"] * 2  # the mark, and the legend's


def test_the_legend_explains_only_what_is_there():
    def legend(*tracks):
        return [each.text for each in drawn(*tracks).iter(f"{SVG}text")][-3:]

    assert legend(track(10, 20, lines=()))[-1] == "AI usage watcher"
    assert "alert, warning" not in legend(track(10, 20))
    assert "alert, warning" in legend(track(10, 82, happened=[transition(at=NOW - H)]))


def test_a_reset_is_a_dotted_line_that_says_what_was_spent():
    rows = [
        (NOW - 4 * H, reading(91.0, resets_at=NOW - 2 * H)),
        (NOW - 3 * H, reading(93.0, resets_at=NOW - 2 * H)),
        (NOW - H, reading(2.0, resets_at=NOW + 3 * H)),
    ]
    one = Track(name="x", usage_history=timeline.build_usage_history(SERIES, rows))
    titles = [each.find(f"{SVG}title").text for each in classed(drawn(one), "turn") if len(each)]
    assert titles == ["reset Wed 7 Jan 12:20; spent before it: 93 %"]
    assert len(build_segments(one, SPAN)) == 2


def test_no_line_leads_over_a_gap():
    assert len(build_segments(track(10, 11, *["gap"] * 9, 12, 13), SPAN)) == 2
    assert [len(piece) for piece in build_segments(track(10, 11, None, 12, 13), SPAN)] == [2, 2]
    assert len(classed(drawn(track(10, *["gap"] * 9, 12, 13, 14, 15)), "dot")) == 1


def test_overage_is_on_the_scale():
    one = track(90, 140)
    assert one.scale_max == pytest.approx(147)
    (path,) = classed(drawn(one), "course")
    heights = [float(number.split()[1]) for number in path.get("d")[1:].split("L")]
    assert min(heights) > 30


def test_a_balance_is_drawn_as_what_is_left():
    series = Series(provider="nano_gpt", window="balance_usd")
    rows = [(NOW - 3 * H + i * H, balance(left)) for i, left in enumerate(("12.50", "7.25", "-1"))]
    one = Track(name="Nano-GPT, balance", usage_history=timeline.build_usage_history(series, rows))
    assert not one.is_in_percent
    assert summarize_track(one) == "-$1.00 left at the end, $12.50 at most, 0 resets, 0 alerts"
    assert one.scale_min < -1
    assert drawn(one) is not None
    assert terminal.render_plot(one, SPAN, terminal.BRAILLE_PLOT_SYMBOLS, width=60)[0].startswith("   $13.75")


def test_unlimited_and_unknown_are_named_and_not_drawn():
    unlimited = track(None, None, unlimited=True)
    assert summarize_track(unlimited).startswith("unlimited, ")
    assert summarize_track(track(None, None)).startswith("unknown, ")
    assert summarize_track(track()).startswith("no reading, ")
    assert classed(drawn(unlimited), "course") == []


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(-10, 200)), min_size=1, max_size=80))
def test_thinning_keeps_both_ends_the_highest_and_the_lowest(dots):
    piece = sorted(dots)
    kept = downsample(piece, 10)
    assert {kept[0], kept[-1]} <= set(piece)
    assert (min(y for _, y in kept), max(y for _, y in kept)) == (min(y for _, y in piece), max(y for _, y in piece))
    assert len(kept) <= 44


def test_a_month_of_readings_makes_a_small_picture():
    many = track(*[i % 60 for i in range(8640)], every=5 * M)
    wide = TimeRange(start=NOW - timedelta(days=30), end=NOW, tz=BERLIN)
    assert len(svg.render_svg([many], wide, theme=Theme.AUTO, title="x")) < 150_000


@pytest.mark.parametrize(
    ("theme", "inks"), [("light", (LIGHT_COLOURS,)), ("dark", (DARK_COLOURS,)), ("auto", (LIGHT_COLOURS, DARK_COLOURS))]
)
def test_a_theme_brings_its_colours_and_no_other(theme, inks):
    text = make_chart_css(Theme(theme))
    for colours in (LIGHT_COLOURS, DARK_COLOURS):
        assert (colours["ink"] in text) == (colours in inks)
    assert ("prefers-color-scheme:dark" in text) == (theme == "auto")


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colours", [LIGHT_COLOURS, DARK_COLOURS])
@pytest.mark.parametrize("paper", ["paper", "card"])
@pytest.mark.parametrize("ink", ["ink", "muted", "line", "info", "warning", "critical", "ok"])
def test_all_that_is_read_has_contrast_enough(colours, paper, ink):
    light, dark = sorted((luminance(colours[ink]), luminance(colours[paper])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_times_on_the_axis_are_round_and_local():
    assert [word for _, word in compute_ticks(SPAN, 8)] == [
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
    assert [word for _, word in compute_ticks(week, 8)][:2] == ["Thu 1", "Fri 2"]
    year = TimeRange(start=NOW - timedelta(days=365), end=NOW, tz=BERLIN)
    assert len(compute_ticks(year, 8)) <= 9


def test_midnight_stays_midnight_when_the_clocks_change():
    change = NOW.replace(month=3, day=30)
    days = TimeRange(start=change - timedelta(days=4), end=change + timedelta(days=3), tz=BERLIN)
    assert {at.hour for at, _ in compute_ticks(days, 8)} == {0}


def test_the_terminal_shows_scale_usage_limits_and_alerts_within_its_width():
    one = track(*range(10, 100, 4), happened=[transition(at=NOW - 5 * H, read=reading(82.0))])
    lines = terminal.render_plot(one, SPAN, terminal.BRAILLE_PLOT_SYMBOLS, width=70)
    assert all(len(line) <= 70 for line in lines)
    assert lines[0].startswith("    100 % ")
    assert "┄" in lines[1]
    assert any("\u2800" < sign <= "\u28ff" for line in lines for sign in line)
    assert "▲" in lines[-2]
    assert "Wed 7" in lines[-1]


def test_a_poor_terminal_gets_plain_signs():
    lines = terminal.render_plot(track(*range(10, 100, 4)), SPAN, terminal.ASCII_PLOT_SYMBOLS, width=70)
    assert all(line.isascii() for line in lines)
    assert any("*" in line for line in lines)


def test_where_an_alert_and_its_end_fall_together_the_alert_shows():
    happened = [transition(at=NOW - 2 * H), transition("resolved", at=NOW - 2 * H + M)]
    lines = terminal.render_plot(track(10, 20, happened=happened), SPAN, terminal.ASCII_PLOT_SYMBOLS, width=50)
    assert "^" in lines[-2]
    assert "o" not in lines[-2]


def test_a_track_knows_only_its_own_alerts():
    other = transition(series=Series(provider="codex", window="weekly"))
    assert len(build_alert_markers(SERIES, [transition(), other])) == 1
    assert build_alert_markers(SERIES, [transition(read=balance(Decimal("3.5")))])[0].remaining == 3.5


def test_a_kind_without_length_is_drawn_too():
    assert drawn(track(10, 20, kind=WindowKind.OTHER, window_seconds=None)) is not None
