"""The words of the rule language, compared with the registry of providers."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.core.model import WindowKind
from watcher.core.rules.vocabulary import (
    FIELD_UNITS,
    PROVIDER_WINDOWS,
    WINDOW_KINDS,
    Unit,
    find_arithmetic_unit,
    find_common_unit,
    get_count_unit,
    is_currency,
    is_window,
    parse_duration,
    parse_duration_s,
    parse_number,
)
from watcher.providers.registry import PROVIDERS as REGISTRY


def test_providers_are_those_of_the_registry_in_its_order():
    assert list(PROVIDER_WINDOWS) == list(REGISTRY)


@pytest.mark.parametrize("provider", list(REGISTRY))
def test_primary_windows_are_known(provider):
    assert all(window in PROVIDER_WINDOWS[provider].known for window in PROVIDER_WINDOWS[provider].primary)


def test_kinds_are_those_of_the_model():
    assert set(WINDOW_KINDS) == set(WindowKind)


def test_no_window_has_the_name_of_a_field():
    assert not {window for each in PROVIDER_WINDOWS.values() for window in each.known} & set(FIELD_UNITS)


@pytest.mark.parametrize(
    ("provider", "window", "possible"),
    [
        ("claude", "seven_day_fable", True),
        ("claude", "Seven", False),
        ("codex", "9h", True),
        ("codex", "336h", True),
        ("codex", "0h", False),
        ("codex", "spark_five_hour", True),
        ("codex", "gpt_5_3_codex_spark_weekly", True),
        ("codex", "spark", False),
        ("nano_gpt", "weekly_input_tokens", True),
        ("nano_gpt", "yearly", False),
        ("gemini_cli", "gemini_2_5_pro", True),
        ("*", "daily_images", True),
        ("*", "__", False),
    ],
)
def test_whether_a_provider_may_have_a_window(provider, window, possible):
    assert is_window(provider, window) is possible


@pytest.mark.parametrize(
    ("provider", "window", "unit"),
    [
        ("copilot", "", Unit.COUNT),
        ("copilot", "mystery", Unit.COUNT),
        ("nano_gpt", "balance_usd", Unit.MONEY),
        ("nano_gpt", "", Unit.COUNT),
        ("nano_gpt", "balance", Unit.AMOUNT),
        ("nano_gpt", "*", Unit.AMOUNT),
        ("claude", "extra_usage", Unit.MONEY),
        ("claude", "", Unit.AMOUNT),
        ("gemini_cli", "", Unit.AMOUNT),
        ("*", "balance_usd", Unit.AMOUNT),
    ],
)
def test_the_unit_of_a_window(provider, window, unit):
    assert get_count_unit(provider, window) is unit


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
    assert find_arithmetic_unit(left, operator, right) is unit


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
