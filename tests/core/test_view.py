"""What each field is worth, and when it is unknown."""

import math
from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest

from tests.core.samples import NOW
from watcher.core import cycle
from watcher.core.forecast import Sample
from watcher.core.model import Failure, Kind, Reading, Series, Snapshot
from watcher.core.selector import Selector
from watcher.core.view import View
from watcher.core.vocabulary import FIELDS

EVERY = timedelta(minutes=5)


def minutes(number):
    return timedelta(minutes=number)


def state(**facts):
    series = Series("claude", "five_hour")
    reading = Reading(**({"window": "five_hour", "kind": Kind.SESSION, "resets_at": NOW + minutes(60)} | facts))
    return cycle.observe(cycle.first(series, Snapshot(provider="claude", at=NOW)), reading, NOW, EVERY)


def failed(before):
    return cycle.failed(before, Failure(provider="claude", at=NOW, kind="timeout", message="no answer"), EVERY)


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
def test_a_field_is_worth_what_the_reading_says(facts, field, worth):
    assert View(state(**facts), NOW).worth(field) == worth


def test_every_field_of_the_language_is_worth_something_somewhere():
    samples = tuple(Sample(NOW - minutes(10 * turn), 50 - 5 * turn) for turn in (2, 1, 0))
    full = msgspec.structs.replace(state(**COUNTED, used_percent=50.0), samples=samples, error="no answer")
    view = View(full, NOW)
    assert [field for field in FIELDS if view.worth(field) is None] == []


def test_the_forecast_looks_ahead_from_now():
    samples = tuple(Sample(NOW - minutes(10 * turn), 50 - 5 * turn) for turn in (2, 1, 0))
    view = View(msgspec.structs.replace(state(used_percent=50.0), samples=samples), NOW + minutes(10))
    assert view.worth("rate") == pytest.approx(30)
    assert view.worth("exhausts_in") == pytest.approx(90 * 60)
    assert view.worth("projected") == pytest.approx(50 + 30 * 50 / 60)
    flat = tuple(Sample(NOW - minutes(10 * turn), 50.0) for turn in (2, 1, 0))
    assert View(msgspec.structs.replace(state(used_percent=50.0), samples=flat), NOW).worth("exhausts_in") == math.inf


def test_without_a_fresh_answer_only_silence_is_known():
    view = View(failed(state(used_percent=81.0)), NOW + minutes(7))
    assert (view.worth("used_percent"), view.worth("resets_in")) == (None, None)
    assert (view.worth("age"), view.worth("up"), view.worth("error")) == (420.0, False, "no answer")


def test_for_a_rule_about_silence_the_last_reading_counts_until_its_window_ends():
    silent = failed(state(used_percent=81.0))
    assert View(silent, NOW + minutes(59), lasting=True).worth("used_percent") == 81
    assert View(silent, NOW + minutes(63), lasting=True).worth("used_percent") is None


def test_silence_that_nobody_could_hear_is_unknown():
    assert View(state(used_percent=81.0), NOW + minutes(60), unasked=True).worth("age") is None


def test_a_view_answers_any_selector_with_its_own_series():
    assert View(state(used_percent=81.0), NOW)(Selector("*", "", "session"), "used_percent") == 81
