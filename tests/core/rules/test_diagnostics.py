"""Diagnostics: how a mistake is shown, and which word is suggested."""

import tomllib
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from watcher.core.rules.diagnostics import (
    Diagnostic,
    TextSpan,
    TomlPositions,
    create_diagnostic,
    find_close_match,
    format_diagnostics,
    sanitize_for_terminal,
)

ROOT = Path(__file__).parents[3]
VALID = Path(__file__).parent / "files" / "valid"
FILES = sorted([*(ROOT / "rules").glob("*.toml"), *VALID.glob("*.toml")])
HARD = r'''
# [not.a.table]
top = 1   # comment
"quoted key" . inner = 'a # no comment'
"" = 0
[a . b]
"c.d" = "say \"hi\" \u00e9 \\"
[[t]]
x = [ 1, [2, 3], # comment ]
      "four,]", { k = 5, l.m = [6] } ]
[[t]]
[[t.u]]
y = """
first "" line \
   goes on"""
[[t.u]]
z = \'\'\'raw ] " text\'\'\'\'
w = 2026-03-04T12:00:00Z
v = +1_000.5e3
[t.last]
n = true
'''.replace("\\'", "'")


def iter_leaves(value, path=()):
    if isinstance(value, dict):
        for key, each in value.items():
            yield from iter_leaves(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from iter_leaves(each, (*path, index))
    else:
        yield path, value


@pytest.mark.parametrize("text", [HARD, *[path.read_text("utf-8") for path in FILES]])
def test_every_value_has_its_span(text):
    document = tomllib.loads(text)
    text = text.replace("\r\n", "\n")
    positions = TomlPositions(text)
    for path, value in iter_leaves(document):
        span = positions.value_spans[path]
        assert tomllib.loads("x = " + text[span.start : span.end]) == {"x": value}
        assert path in positions.key_spans or any(isinstance(part, int) for part in path)


@pytest.mark.parametrize("text", [HARD, *[path.read_text("utf-8") for path in FILES]])
def test_every_character_of_a_string_has_its_span(text):
    text = text.replace("\r\n", "\n")
    positions = TomlPositions(text)
    for path, value in iter_leaves(tomllib.loads(text)):
        if not isinstance(value, str):
            continue
        for index, character in enumerate(value):
            span = positions.find_in_value(path, index, index + 1)
            assert text[span.start] in (character, "\\")


TEXTS = st.text(max_size=12)
VALUES = st.recursive(
    st.one_of(TEXTS, st.integers(-99, 99), st.booleans(), st.floats(allow_nan=False)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=12,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4), st.booleans())
def test_every_value_of_any_document_has_its_span(document, multiline):
    try:
        text = tomli_w.dumps(document, multiline_strings=multiline).replace("\r\n", "\n")
        document = tomllib.loads(text)
    except (ValueError, UnicodeEncodeError):
        return
    positions = TomlPositions(text)
    for path, value in iter_leaves(document):
        span = positions.value_spans[path]
        assert tomllib.loads("x = " + text[span.start : span.end]) == {"x": value}


def test_a_table_has_the_span_of_its_header():
    positions = TomlPositions("[[rule]]\nname = 1\n[[rule]]\n[rule.levels]\ninfo = 2\n")
    span = positions.find_key(("rule", 1))
    assert positions.text[span.start : span.end] == "[[rule]]"
    assert span.start == 18
    assert positions.text[slice(*_span(positions.find_key(("rule", 1, "levels"))))] == "[rule.levels]"
    assert positions.text[slice(*_span(positions.find_value(("rule", 1, "levels", "info"))))] == "2"


def test_a_missing_key_has_the_span_of_its_table():
    positions = TomlPositions("[[rule]]\nname = 1\n")
    assert positions.find_key(("rule", 0, "when")) == positions.find_key(("rule", 0))
    assert _span(positions.find_key(("nothing",))) == (0, 1)


def _span(span):
    return span.start, span.end


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
        str(create_diagnostic("a", "\tx = '\x1b'", TextSpan(1, 2), "wrong")) == "a:1:2: wrong\n  1 |  x = '?'\n    |  ^"
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
