from tests.cli.charts.samples import LAST_DAY, make_track
from tests.core.samples import NOW, H, M, reading, transition
from watcher.cli import charts


def test_a_plot_has_scale_line_thresholds_and_alerts_within_its_width():
    fired = transition(at=NOW - 5 * H, read=reading(82.0))
    lines = charts.render_plot(make_track(*range(10, 100, 4), transitions=[fired]), LAST_DAY, width=70)
    assert all(len(line) <= 70 for line in lines)
    assert lines[0].startswith("    100 % ")
    assert "┄" in lines[1]
    assert "█" in lines[-4]
    assert "▲" in lines[-2]
    assert "Wed 7" in lines[-1]


def test_a_terminal_without_unicode_gets_ascii():
    events = [transition(at=NOW - 5 * H), transition("resolved", at=NOW - 2 * H)]
    lines = [*charts.render_plot(make_track(*range(10, 100, 4), transitions=events), LAST_DAY, width=70)]
    ascii_lines = [line.translate(charts.TO_ASCII) for line in [*lines, charts.LEGEND]]
    assert all(line.isascii() for line in ascii_lines)
    assert any("#" in line for line in ascii_lines)


def test_an_alert_hides_the_end_of_an_alert_in_the_same_column():
    events = [transition(at=NOW - 2 * H), transition("resolved", at=NOW - 2 * H + M)]
    lines = charts.render_plot(make_track(10, 20, transitions=events), LAST_DAY, width=50)
    assert "▲" in lines[-2]
    assert "○" not in lines[-2]


def test_each_column_has_its_highest_value_until_the_next_reading():
    assert charts.draw_usage(make_track(10, 90, 20, "gap", 5), LAST_DAY, 24) == [" " * 19 + "▁▇▂▂▁"]
    assert charts.draw_usage(make_track(10, 90, 20, "gap", 5), LAST_DAY, 8) == [" " * 6 + "▇▂"]


def test_the_usage_is_a_row_of_blocks_for_each_part_of_the_scale():
    assert charts.draw_usage(make_track(0, 50, 100, every=6 * H), LAST_DAY, 4, 2) == ["   █", " ▁██"]


def test_what_was_not_read_is_a_gap():
    assert charts.draw_usage(make_track(10, 11, *["gap"] * 9, 12, 13), LAST_DAY, 24) == [
        " " * 11 + "▁▁" + " " * 9 + "▁▁"
    ]
