"""The kind, length and use of a window."""

from datetime import timedelta
from decimal import Decimal

import pytest

from watcher.core.engine.windows import (
    get_boundary_tolerance,
    get_used_percent,
    get_window_length,
    infer_kind,
    infer_length,
    infer_length_s,
)
from watcher.core.model import Reading, Series, WindowKind


@pytest.mark.parametrize(
    ("provider", "window", "kind", "seconds"),
    [
        ("claude", "five_hour", WindowKind.SESSION, 18_000),
        ("claude", "seven_day_opus", WindowKind.WEEKLY, 604_800),
        ("claude", "extra_usage", WindowKind.MONTHLY, None),
        ("codex", "code_review_weekly", WindowKind.WEEKLY, 604_800),
        ("codex", "spark_five_hour", WindowKind.SESSION, 18_000),
        ("codex", "3h", WindowKind.SESSION, 10_800),
        ("codex", "spark_12h", WindowKind.OTHER, 43_200),
        ("codex", "credits", WindowKind.BALANCE, None),
        ("copilot", "chat", WindowKind.MONTHLY, None),
        ("nano_gpt", "daily_images", WindowKind.DAILY, 86_400),
        ("nano_gpt", "weekly_input_tokens", WindowKind.WEEKLY, 604_800),
        ("nano_gpt", "balance_usd", WindowKind.BALANCE, None),
        ("gemini_cli", "gemini_2_5_pro", WindowKind.OTHER, None),
        ("antigravity", "tri_weeklyish", WindowKind.OTHER, None),
    ],
)
def test_a_name_gives_the_kind_and_the_length(provider, window, kind, seconds):
    series = Series(provider, window)
    assert infer_kind(series) is kind
    assert infer_length_s(series) == seconds


def test_a_length_takes_precedence_over_the_name():
    assert infer_kind(Series("codex", "weekly"), 3600) is WindowKind.SESSION


def test_a_monthly_window_is_30_days_long():
    assert infer_length(Series("copilot", "chat")) == timedelta(days=30)
    assert infer_length(Series("nano_gpt", "balance_usd")) is None


@pytest.mark.parametrize(
    ("facts", "percent"),
    [
        ({"used_percent": 42.0, "used": Decimal(1), "limit": Decimal(2)}, 42),
        ({"used": Decimal(75), "limit": Decimal(300)}, 25),
        ({"remaining": Decimal(-3), "limit": Decimal(300)}, 101),
        ({"used": Decimal(75)}, None),
        ({"used": Decimal(75), "limit": Decimal(0)}, None),
        ({"used_percent": 42.0, "unlimited": True}, None),
        ({}, None),
    ],
)
def test_the_percent_used_is_answered_or_computed_and_never_guessed(facts, percent):
    assert get_used_percent(Reading(window="w", kind=WindowKind.OTHER, **facts)) == percent


@pytest.mark.parametrize(
    ("kind", "seconds", "minutes"),
    [
        (WindowKind.SESSION, None, 15),
        (WindowKind.SESSION, 3600, 3),
        (WindowKind.WEEKLY, None, 60),
        (WindowKind.OTHER, None, 1),
        (WindowKind.OTHER, 60, 1),
    ],
)
def test_the_tolerance_is_a_twentieth_between_a_minute_and_an_hour(kind, seconds, minutes):
    reading = Reading(window="w", kind=kind, window_seconds=seconds)
    assert get_boundary_tolerance(reading) == timedelta(minutes=minutes)
    assert (get_window_length(reading) is None) == (kind is WindowKind.OTHER and seconds is None)
