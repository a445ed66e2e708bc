"""Text made fit for channels."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.core.formatting import draw_bar, escape_markup
from watcher.core.model import Severity
from watcher.notifiers import base, discord


@given(
    st.text("ab&<*`…\U0001f680\n ", max_size=60),
    st.integers(1, 40),
    st.sampled_from([str, escape_markup, discord.escape_markdown]),
    st.sampled_from([len, base.count_utf8_bytes, base.count_utf16_units]),
)
def test_a_clipped_text_fits_and_is_a_start_of_the_whole(raw, limit, escape, measure):
    clipped = base.clip(raw, limit, escape=escape, measure=measure)
    if measure(escape(raw)) <= limit:
        assert clipped == escape(raw)
    elif limit >= measure("…"):
        assert measure(clipped) <= limit
        assert clipped.endswith("…")
        assert any(escape(raw[:kept]) == clipped[:-1] for kept in range(len(raw)))


@pytest.mark.parametrize(
    ("percent", "bar"),
    [
        (0, "░░░░░░░░░░"),
        (0.1, "█░░░░░░░░░"),
        (50, "█████░░░░░"),
        (82, "████████░░"),
        (100, "██████████"),
        (354.7, "██████████"),
        (-3, "░░░░░░░░░░"),
    ],
)
def test_a_bar_is_ten_blocks(percent, bar):
    assert draw_bar(percent, base.BAR_WIDTH) == bar


def test_use_reads_as_in_the_title(message):
    assert base.format_usage(message(used_percent=99.96)).endswith(" 99.9 %")
    assert base.format_usage(message(used_percent=12347.0)).endswith(" 12347 %")


def test_remaining_is_not_repeated(message):
    assert base.format_remaining(message()) == ""
    assert base.format_remaining(message(remaining=Decimal(-3821), unit="requests")) == "-3,821 requests"
    assert base.format_remaining(message(remaining=Decimal("4.2"), unit="usd")) == "$4.20"
    assert base.format_remaining(message(remaining=Decimal(10) ** 40, unit="requests")).startswith("10,000,000,")
    assert base.format_remaining(message(remaining=None, unit="requests")) == ""


@pytest.mark.parametrize(
    ("link", "kept"),
    [
        ("https://claude.ai/settings/usage", True),
        ("https://github.com/settings/copilot?a=1&b=2#x", True),
        ("javascript:alert(1)", False),
        ("https://evil.example/|<!channel>", False),
        ("https://evil.example/ x", False),
        ("https://evil.example/\n", False),
        ("", False),
    ],
)
def test_a_link_is_a_plain_web_address_or_nothing(message, link, kept):
    assert base.get_safe_link(message(link=link)) == (link if kept else "")


def test_an_ended_alert_is_green_and_the_rest_has_its_severity(message):
    assert base.get_colour(message(event="resolved", severity=Severity.CRITICAL)) == base.GREEN
    colours = {base.get_colour(message(severity=severity)) for severity in Severity}
    assert len(colours | {base.GREEN}) == 4
