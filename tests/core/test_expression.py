import pytest

from watcher.core.expression import ExpressionError, parse, parse_literal

LEVEL = parse_literal("80%")


@pytest.mark.parametrize(
    "text",
    [
        "claude.five_hour > 80%",
        "copilot.remaining < 0",
        "*.session.exhausts_in < 45m and resets_in > 1h",
        "claude[me@example.com].five_hour >= 80%",
        "2 * claude.five_hour.used_percent > 3 * (10% + 5%)",
        "(*.session > 1% or *.weekly > 2%) and not resets_in < 1h",
        "codex.9h > 5%",
        "copilot.used / copilot.limit > 0.8",
    ],
)
def test_a_tree_prints_back_to_its_text(text):
    assert str(parse(text)) == text


def test_a_level_stands_for_its_value():
    assert str(parse("*.weekly > level", level=LEVEL)) == "*.weekly > 80%"


def test_units_are_checked_when_the_text_is_read():
    with pytest.raises(ExpressionError, match=r"`claude\.five_hour` is a percent"):
        parse("claude.five_hour > 2h")
