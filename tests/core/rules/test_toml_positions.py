"""Positions of keys and values, checked against what `tomllib` reads from the same part of the text."""

import tomllib
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from watcher.core.rules.toml_positions import TomlPositions

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


@pytest.mark.parametrize("text", [HARD, *[path.read_text() for path in FILES]])
def test_every_value_has_its_span(text):
    document = tomllib.loads(text)
    text = text.replace("\r\n", "\n")
    positions = TomlPositions(text)
    for path, value in iter_leaves(document):
        span = positions.value_spans[path]
        assert tomllib.loads("x = " + text[span.start : span.end]) == {"x": value}
        assert path in positions.key_spans or any(isinstance(part, int) for part in path)


@pytest.mark.parametrize("text", [HARD, *[path.read_text() for path in FILES]])
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
