import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.core.formatting import MAX_TEXT_LENGTH, clean_lines, clean_text


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


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("zero\0", "zero"),
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("a\r\nb\rc\td", "a\nb\nc\td"),
        ("100 \u202e% 28", "100 % 28"),
        ("sur\ud800", "sur\ufffd"),
        ("\ud83d\ude80", "\U0001f680"),
        ("  x \n", "x"),
        ("bell\x07 c1\x9b", "bell c1"),
    ],
)
def test_what_breaks_a_channel_is_removed_from_lines(text, cleaned):
    assert clean_lines(text) == cleaned


@given(st.text(st.characters(codec=None)))
def test_cleaned_lines_can_be_encoded_and_stay_as_they_are(text):
    once = clean_lines(text)
    once.encode("utf-8")
    assert clean_lines(once) == once
