"""What a window is, by what is said of it or by its name."""

from datetime import timedelta
from decimal import Decimal

import pytest

from watcher.core.kinds import kind_of, length, length_of, level, tolerance, usual_length
from watcher.core.model import Kind, Reading, Series


@pytest.mark.parametrize(
    ("provider", "window", "kind", "seconds"),
    [
        ("claude", "five_hour", Kind.SESSION, 18_000),
        ("claude", "seven_day_opus", Kind.WEEKLY, 604_800),
        ("claude", "extra_usage", Kind.MONTHLY, None),
        ("codex", "code_review_weekly", Kind.WEEKLY, 604_800),
        ("codex", "spark_five_hour", Kind.SESSION, 18_000),
        ("codex", "3h", Kind.SESSION, 10_800),
        ("codex", "spark_12h", Kind.OTHER, 43_200),
        ("codex", "credits", Kind.BALANCE, None),
        ("copilot", "chat", Kind.MONTHLY, None),
        ("nano_gpt", "daily_images", Kind.DAILY, 86_400),
        ("nano_gpt", "weekly_input_tokens", Kind.WEEKLY, 604_800),
        ("nano_gpt", "balance_usd", Kind.BALANCE, None),
        ("gemini_cli", "gemini_2_5_pro", Kind.OTHER, None),
        ("antigravity", "tri_weeklyish", Kind.OTHER, None),
    ],
)
def test_a_name_tells_the_kind_and_the_length(provider, window, kind, seconds):
    series = Series(provider, window)
    assert kind_of(series) is kind
    assert length_of(series) == seconds


def test_a_length_goes_before_the_name():
    assert kind_of(Series("codex", "weekly"), 3600) is Kind.SESSION


def test_what_turns_over_monthly_is_a_month_long():
    assert usual_length(Series("copilot", "chat")) == timedelta(days=30)
    assert usual_length(Series("nano_gpt", "balance_usd")) is None


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
def test_how_full_it_is_is_answered_or_worked_out_and_never_guessed(facts, percent):
    assert level(Reading(window="w", kind=Kind.OTHER, **facts)) == percent


@pytest.mark.parametrize(
    ("kind", "seconds", "minutes"),
    [
        (Kind.SESSION, None, 15),
        (Kind.SESSION, 3600, 3),
        (Kind.WEEKLY, None, 60),
        (Kind.OTHER, None, 1),
        (Kind.OTHER, 60, 1),
    ],
)
def test_the_tolerance_is_a_twentieth_between_a_minute_and_an_hour(kind, seconds, minutes):
    reading = Reading(window="w", kind=kind, window_seconds=seconds)
    assert tolerance(reading) == timedelta(minutes=minutes)
    assert (length(reading) is None) == (kind is Kind.OTHER and seconds is None)
