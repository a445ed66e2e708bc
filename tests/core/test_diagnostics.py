from watcher.core.diagnostics import Diagnostic, diagnose, listed, visible
from watcher.core.places import Place


def test_a_caret_points_at_the_place():
    text = 'one = 1\ntwo = "three"\n'
    assert str(diagnose("a.toml", text, Place(14, 21), "wrong", rule="r")) == (
        'a.toml:2:7: rule "r": wrong\n  2 | two = "three"\n    |       ^^^^^^^'
    )


def test_a_place_over_several_lines_is_pointed_at_in_its_first():
    found = diagnose("a.toml", "x = '''\nlong\n'''\n", Place(4, 16), "wrong")
    assert (found.line, found.column, found.width) == (1, 5, 3)


def test_a_place_past_the_end_is_the_end():
    found = diagnose("a.toml", "x = 1", Place(99, 100), "wrong")
    assert (found.line, found.column, found.width) == (1, 6, 1)


def test_tabs_and_control_characters_keep_the_caret_in_its_column():
    assert str(diagnose("a", "\tx\x1b = 1", Place(1, 2), "wrong")) == "a:1:2: wrong\n  1 |  x? = 1\n    |  ^"


def test_they_are_told_in_the_order_of_the_files():
    many = [Diagnostic("b", 1, 1, "z"), Diagnostic("a", 10, 1, "y"), Diagnostic("a", 9, 5, "x")]
    assert listed(many) == "a:9:5: x\na:10:1: y\nb:1:1: z"


def test_nothing_that_is_shown_moves_a_cursor():
    assert visible("a\x1b[31m\nb") == "a\\x1b[31m\\nb"
    assert len(visible("a" * 1000)) == 80
