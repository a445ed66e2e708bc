from hypothesis import given
from hypothesis import strategies as st

from tests.core.samples import NOW, H
from watcher.charts import sparkline


def test_each_bin_has_its_highest_value_and_an_empty_one_is_unknown():
    values = [(NOW, 10.0), (NOW + H / 2, 90.0), (NOW + H * 0.9, 20.0), (NOW + 3 * H, 5.0), (NOW + 9 * H, 99.0)]
    assert sparkline.bin_values(values, NOW, NOW + 4 * H, 4) == [90.0, None, None, 5.0]


def test_the_last_instant_belongs_to_the_last_bin():
    assert sparkline.bin_values([(NOW + 4 * H, 7.0)], NOW, NOW + 4 * H, 4) == [None, None, None, 7.0]


def test_what_is_unknown_or_outside_fills_no_bin():
    values = [(NOW, None), (NOW - H, 50.0), (NOW + 5 * H, 50.0)]
    assert sparkline.bin_values(values, NOW, NOW + 4 * H, 2) == [None, None]
    assert sparkline.bin_values(values, NOW, NOW, 2) == [None, None]


def test_low_is_low_high_is_high_and_unknown_is_a_gap():
    assert sparkline.render_sparkline([0.0, None, 50.0, 100.0, 130.0, -5.0]) == "▁ ▅██▁"
    assert sparkline.render_sparkline([0.0, None, 100.0], symbols=sparkline.ASCII_SYMBOLS) == "_ #"


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6))))
def test_a_sparkline_has_a_sign_for_each_value(values):
    assert len(sparkline.render_sparkline(values)) == len(values)
