"""The value of each field, and when it is unknown."""

import math
from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest

from tests.core.samples import NOW
from watcher.core.engine import reset_detection, snapshots
from watcher.core.engine.forecast import Sample
from watcher.core.engine.metrics import SeriesMetrics
from watcher.core.engine.state import create_series_state
from watcher.core.model import PollFailure, Reading, Series, WindowKind
from watcher.core.rules.ast import Selector
from watcher.core.rules.vocabulary import FIELD_UNITS

EVERY = timedelta(minutes=5)


def minutes(number):
    return timedelta(minutes=number)


def state(**facts):
    series = Series("claude", "five_hour")
    reading = Reading(**({"window": "five_hour", "kind": WindowKind.SESSION, "resets_at": NOW + minutes(60)} | facts))
    return reset_detection.apply_reading(create_series_state(series, NOW), reading, NOW, EVERY)


def failed(before):
    return snapshots.mark_failed(
        before, PollFailure(provider="claude", at=NOW, kind="timeout", message="no answer"), EVERY
    )


COUNTED = {"used": Decimal(75), "limit": Decimal(300), "unit": "requests", "window_seconds": 7200}


@pytest.mark.parametrize(
    ("facts", "field", "worth"),
    [
        ({"used_percent": 81.0}, "used_percent", 81.0),
        ({"used_percent": 81.0}, "remaining_percent", 19.0),
        (COUNTED, "used_percent", 25.0),
        (COUNTED, "used", 75.0),
        (COUNTED, "limit", 300.0),
        (COUNTED, "remaining", 225.0),
        ({"remaining": Decimal(-3), "limit": Decimal(300)}, "used", 303.0),
        ({"remaining": Decimal(-3)}, "remaining", -3.0),
        (COUNTED, "unit", "requests"),
        (COUNTED, "window", 7200.0),
        ({"used_percent": 1.0}, "window", 18_000.0),
        ({"used_percent": 1.0}, "resets_in", 3600.0),
        ({"used_percent": 1.0, "resets_at": None}, "resets_in", None),
        ({"used_percent": 1.0}, "age", 0.0),
        ({"used_percent": 1.0}, "up", True),
        ({"used_percent": 1.0}, "blocked", None),
        ({"used_percent": 1.0, "blocked": True}, "blocked", True),
        ({"blocked": False}, "blocked", False),
        ({"used_percent": 1.0}, "error", None),
        ({"used_percent": 1.0}, "rate", None),
        ({"used_percent": 1.0}, "projected", None),
        ({"used_percent": 1.0}, "exhausts_in", None),
        ({"used_percent": 100.0}, "exhausts_in", 0.0),
        ({"used_percent": 1.0}, "used", None),
        ({"used_percent": 1.0}, "limit", None),
        ({"used_percent": 1.0}, "remaining", None),
        ({"unlimited": True, "used": Decimal(5)}, "used", 5.0),
        ({"unlimited": True, "used_percent": 0.0}, "used_percent", None),
        ({"unlimited": True, "remaining": Decimal(0), "limit": Decimal(0)}, "remaining", None),
        ({"unlimited": True, "limit": Decimal(0)}, "limit", None),
        ({"used_percent": 1.0}, "no_such_field", None),
    ],
)
def test_a_field_has_the_value_of_the_reading(facts, field, worth):
    assert SeriesMetrics(state(**facts), NOW).value_of(field) == worth


def test_every_field_of_the_language_can_have_a_value():
    samples = tuple(Sample(NOW - minutes(10 * turn), 50 - 5 * turn) for turn in (2, 1, 0))
    full = msgspec.structs.replace(
        state(**COUNTED, used_percent=50.0, blocked=False), samples=samples, error="no answer"
    )
    metrics = SeriesMetrics(full, NOW)
    assert [field for field in FIELD_UNITS if metrics.value_of(field) is None] == []


def test_the_forecast_counts_from_now():
    samples = tuple(Sample(NOW - minutes(10 * turn), 50 - 5 * turn) for turn in (2, 1, 0))
    metrics = SeriesMetrics(msgspec.structs.replace(state(used_percent=50.0), samples=samples), NOW + minutes(10))
    assert metrics.value_of("rate") == pytest.approx(30)
    assert metrics.value_of("exhausts_in") == pytest.approx(90 * 60)
    assert metrics.value_of("projected") == pytest.approx(50 + 30 * 50 / 60)
    flat = tuple(Sample(NOW - minutes(10 * turn), 50.0) for turn in (2, 1, 0))
    assert (
        SeriesMetrics(msgspec.structs.replace(state(used_percent=50.0), samples=flat), NOW).value_of("exhausts_in")
        == math.inf
    )


def test_without_a_fresh_answer_only_availability_fields_are_known():
    metrics = SeriesMetrics(failed(state(used_percent=81.0)), NOW + minutes(7))
    assert (metrics.value_of("used_percent"), metrics.value_of("resets_in")) == (None, None)
    assert (metrics.value_of("age"), metrics.value_of("up"), metrics.value_of("error")) == (420.0, False, "no answer")


def test_for_an_availability_rule_the_last_reading_counts_until_its_window_ends():
    silent = failed(state(used_percent=81.0))
    assert SeriesMetrics(silent, NOW + minutes(59), use_last_reading=True).value_of("used_percent") == 81
    assert SeriesMetrics(silent, NOW + minutes(63), use_last_reading=True).value_of("used_percent") is None


def test_the_age_is_unknown_while_nothing_is_polled():
    assert SeriesMetrics(state(used_percent=81.0), NOW + minutes(60), not_polled=True).value_of("age") is None


def test_metrics_answer_any_selector_with_their_own_series():
    assert SeriesMetrics(state(used_percent=81.0), NOW)(Selector("*", "", "session"), "used_percent") == 81
