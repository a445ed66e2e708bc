"""Units: which can be combined; texts of durations and numbers."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.core.rules.units import (
    Unit,
    find_common_unit,
    find_scaled_unit,
    is_currency,
    parse_duration,
    parse_duration_s,
    parse_number,
)


@pytest.mark.parametrize(
    ("left", "right", "unit"),
    [
        (Unit.PERCENT, Unit.PERCENT, Unit.PERCENT),
        (Unit.PERCENT, Unit.NUMBER, None),
        (Unit.PERCENT, Unit.DURATION, None),
        (Unit.DURATION, Unit.NUMBER, None),
        (Unit.AMOUNT, Unit.NUMBER, Unit.AMOUNT),
        (Unit.AMOUNT, Unit.COUNT, Unit.COUNT),
        (Unit.AMOUNT, Unit.MONEY, Unit.MONEY),
        (Unit.COUNT, Unit.NUMBER, Unit.COUNT),
        (Unit.MONEY, Unit.NUMBER, Unit.MONEY),
        (Unit.MONEY, Unit.COUNT, None),
        (Unit.BOOLEAN, Unit.BOOLEAN, Unit.BOOLEAN),
        (Unit.BOOLEAN, Unit.NUMBER, None),
    ],
)
def test_the_common_unit_of_two_values(left, right, unit):
    assert find_common_unit(left, right) is unit
    assert find_common_unit(right, left) is unit


@pytest.mark.parametrize(
    ("left", "operator", "right", "unit"),
    [
        (Unit.NUMBER, "*", Unit.PERCENT, Unit.PERCENT),
        (Unit.PERCENT, "*", Unit.NUMBER, Unit.PERCENT),
        (Unit.PERCENT, "*", Unit.PERCENT, None),
        (Unit.DURATION, "/", Unit.DURATION, Unit.NUMBER),
        (Unit.DURATION, "/", Unit.NUMBER, Unit.DURATION),
        (Unit.NUMBER, "/", Unit.DURATION, None),
        (Unit.NUMBER, "/", Unit.NUMBER, Unit.NUMBER),
        (Unit.COUNT, "/", Unit.AMOUNT, Unit.NUMBER),
        (Unit.COUNT, "/", Unit.MONEY, None),
        (Unit.BOOLEAN, "*", Unit.NUMBER, None),
    ],
)
def test_the_unit_of_products_and_quotients(left, operator, right, unit):
    assert find_scaled_unit(left, operator, right) is unit


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("45m", 45), ("2h", 120), ("7d", 10080), ("1h30m", 90), ("1.5h", 90), ("90s", 1.5), ("2w", 20160), ("0m", 0)],
)
def test_durations(text, minutes):
    assert parse_duration(text) == timedelta(minutes=minutes)


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "-5m", "30m1h", "1h1h", "5min", "1e3h", "h" * 100, "5m\n", "٣m"])
def test_other_texts_are_no_durations(text):
    with pytest.raises(ValueError, match="is not a duration: write one such as 45m, 2h, 7d or 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["99999999999d", "3661d", "1000000000000000000000000000000000000h"])
def test_durations_beyond_ten_years_are_refused_before_they_overflow(text):
    with pytest.raises(ValueError, match="is longer than ten years"):
        parse_duration(text)


@given(st.text(max_size=60))
def test_any_text_is_a_duration_or_refused(text):
    try:
        found = parse_duration(text)
    except ValueError as error:
        assert "\n" not in str(error)  # noqa: PT017 - both outcomes are right
    else:
        assert found.total_seconds() == parse_duration_s(text)


def test_only_plain_numbers_are_parsed():
    assert parse_number("12.5") == 12.5
    assert parse_number("1e3") == 1000
    for text in ("", "1_000", "+5", "0x10", "nan", "inf", "1.", ".5", "1" * 50, "٣"):
        assert parse_number(text) is None


def test_currencies_have_three_letters():
    assert [word for word in ("usd", "eur", "requests", "nano", "%", "", "12a") if is_currency(word)] == ["usd", "eur"]
