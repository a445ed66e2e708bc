import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.core.formatting import MAX_TEXT_LENGTH, clean_text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Max 20x", "Max 20x"),
        (" pro\n", "pro"),
        ("two\r\nlines\tand a tab", "two lines and a tab"),
        ("no\u00a0break\u2028here", "no break here"),
        ("a\x00\x1b[1mb", "a[1mb"),
        ("100 \u202e% 28", "100 % 28"),
        ("\u2066me@example.com\u2069", "me@example.com"),
        ("half a pair \ud800", "half a pair"),
        ("Grüße, 世界", "Grüße, 世界"),
        ("\x07\x7f\x9f", ""),
    ],
)
def test_text_from_outside_becomes_one_printable_line(text, cleaned):
    assert clean_text(text) == cleaned


def test_a_long_text_is_clipped_and_says_so():
    assert clean_text("x" * MAX_TEXT_LENGTH) == "x" * MAX_TEXT_LENGTH
    assert clean_text("x" * (MAX_TEXT_LENGTH + 1)) == "x" * (MAX_TEXT_LENGTH - 3) + "..."
    assert clean_text("some words", max_length=8) == "some..."


@given(st.text(max_size=600))
def test_cleaned_text_is_printable_and_stays_as_it_is(text):
    once = clean_text(text)
    assert once.isprintable()
    assert len(once) <= MAX_TEXT_LENGTH
    assert clean_text(once) == once
