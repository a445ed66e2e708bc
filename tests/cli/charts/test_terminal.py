from tests.cli.charts.samples import LAST_DAY, make_track
from tests.core.samples import NOW, H, M, reading, transition
from watcher.cli import charts


def test_a_plot_has_scale_line_thresholds_and_alerts_within_its_width():
    fired = transition(at=NOW - 5 * H, read=reading(82.0))
    lines = charts.render_plot(make_track(*range(10, 100, 4), transitions=[fired]), LAST_DAY, width=70)
    assert all(len(line) <= 70 for line in lines)
    assert lines[0].startswith("    100 % ")
    assert "┄" in lines[1]
    assert any("\u2800" < character <= "\u28ff" for line in lines for character in line)
    assert "▲" in lines[-2]
    assert "Wed 7" in lines[-1]


def test_a_terminal_without_unicode_gets_ascii():
    events = [transition(at=NOW - 5 * H), transition("resolved", at=NOW - 2 * H)]
    lines = [*charts.render_plot(make_track(*range(10, 100, 4), transitions=events), LAST_DAY, width=70)]
    ascii_lines = [line.translate(charts.TO_ASCII) for line in [*lines, charts.LEGEND]]
    assert all(line.isascii() for line in ascii_lines)
    assert any("*" in line for line in ascii_lines)


def test_an_alert_hides_the_end_of_an_alert_in_the_same_column():
    events = [transition(at=NOW - 2 * H), transition("resolved", at=NOW - 2 * H + M)]
    lines = charts.render_plot(make_track(10, 20, transitions=events), LAST_DAY, width=50)
    assert "▲" in lines[-2]
    assert "○" not in lines[-2]
