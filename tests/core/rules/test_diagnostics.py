"""Diagnostics: how a mistake is shown, and which word is suggested."""

import pytest

from watcher.core.rules.diagnostics import (
    Diagnostic,
    create_diagnostic,
    find_close_match,
    format_diagnostics,
    sanitize_for_terminal,
)
from watcher.core.rules.toml_positions import TextSpan


def test_a_caret_points_at_the_place():
    text = 'one = 1\ntwo = "three"\n'
    assert str(create_diagnostic("a.toml", text, TextSpan(14, 21), "wrong", rule="r")) == (
        'a.toml:2:7: rule "r": wrong\n  2 | two = "three"\n    |       ^^^^^^^'
    )


def test_a_span_of_several_lines_is_shown_in_its_first():
    found = create_diagnostic("a.toml", "x = '''\nlong\n'''\n", TextSpan(4, 16), "wrong")
    assert (found.line, found.column, found.width) == (1, 5, 3)


def test_a_span_past_the_end_is_shown_at_the_end():
    found = create_diagnostic("a.toml", "x = 1", TextSpan(99, 100), "wrong")
    assert (found.line, found.column, found.width) == (1, 6, 1)


def test_tabs_and_control_characters_keep_the_caret_in_its_column():
    assert (
        str(create_diagnostic("a", "\tx\x1b = 1", TextSpan(1, 2), "wrong")) == "a:1:2: wrong\n  1 |  x? = 1\n    |  ^"
    )


def test_diagnostics_are_sorted_by_file_and_line():
    many = [Diagnostic("b", 1, 1, "z"), Diagnostic("a", 10, 1, "y"), Diagnostic("a", 9, 5, "x")]
    assert format_diagnostics(many) == "a:9:5: x\na:10:1: y\nb:1:1: z"


def test_control_characters_are_escaped_for_the_terminal():
    assert sanitize_for_terminal("a\x1b[31m\nb") == "a\\x1b[31m\\nb"
    assert len(sanitize_for_terminal("a" * 1000)) == 80


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("warnin", "warning"),
        ("wraning", "warning"),
        ("WARNING", "warning"),
        ("crit", "critical"),
        ("inf", "info"),
        ("xyz", None),
        ("", None),
        ("x", None),
        ("w" * 100_000, None),
    ],
)
def test_the_closest_word_is_suggested(word, meant):
    assert find_close_match(word, ("info", "warning", "critical", "?")) == meant
