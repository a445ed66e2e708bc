"""The words of the rule language, compared with the registry of providers."""

import pytest

from watcher.core.model import WindowKind
from watcher.core.rules.fields import (
    FIELD_UNITS,
    PROVIDER_WINDOWS,
    WINDOW_KINDS,
    get_count_unit,
    is_window,
)
from watcher.core.rules.units import Unit
from watcher.providers.registry import PROVIDERS as REGISTRY


def test_providers_are_those_of_the_registry_in_its_order():
    assert list(PROVIDER_WINDOWS) == list(REGISTRY)


@pytest.mark.parametrize("provider", list(REGISTRY))
def test_primary_windows_are_those_of_the_registry(provider):
    assert PROVIDER_WINDOWS[provider].primary == REGISTRY[provider].primary_windows
    assert all(window in PROVIDER_WINDOWS[provider].known for window in PROVIDER_WINDOWS[provider].primary)


def test_kinds_are_those_of_the_model():
    assert set(WINDOW_KINDS) == set(WindowKind) - {WindowKind.OTHER}


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
