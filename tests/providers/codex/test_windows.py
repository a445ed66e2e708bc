from datetime import timedelta

import pytest

from tests.providers.codex.codex_poll import NOW, USAGE, asked
from watcher.providers import codex
from watcher.providers.parsing import HOUR_S


@pytest.mark.parametrize(
    ("seconds", "window", "label"),
    [
        (18000, "five_hour", "5-hour window"),
        (604800, "weekly", "weekly window"),
        (2592000, "monthly", "monthly window"),
        (2628000, "monthly", "monthly window"),
        (21600, "6h", "6-hour window"),
        (86400, "24h", "24-hour window"),
        (5400, "90m", "90-minute window"),
    ],
)
def test_a_window_is_named_by_its_length_whatever_its_slot(seconds, window, label):
    for slot in ("primary_window", "secondary_window"):
        [reading] = codex.parse_windows({slot: {"used_percent": 1, "limit_window_seconds": seconds}}, NOW)
        assert (reading.window, reading.label, reading.window_seconds) == (window, label, seconds)


def test_a_window_with_a_length_beats_a_guessed_one():
    limit = {
        "primary_window": {"used_percent": 1},
        "secondary_window": {"used_percent": 2, "limit_window_seconds": 18000},
    }
    assert [(reading.window, reading.used_percent) for reading in codex.parse_readings({"rate_limit": limit}, NOW)] == [
        ("five_hour", 2)
    ]


def test_a_reset_is_absolute_where_that_is_given_and_counted_from_the_answer_where_not():
    ends = int((NOW + timedelta(hours=2)).timestamp())
    both = {"used_percent": 1, "reset_at": ends, "reset_after_seconds": 60}
    for fields, resets_at in (
        (both, NOW + timedelta(hours=2)),
        ({**both, "reset_at": None}, NOW + timedelta(minutes=1)),
        ({**both, "reset_at": ends * 1000}, NOW + timedelta(hours=2)),
        ({"used_percent": 1}, None),
    ):
        [reading] = codex.parse_windows({"primary_window": fields}, NOW)
        assert reading.resets_at == resets_at


@pytest.mark.parametrize("hours", [6, 12, 336, 672, 696])
def test_any_other_length_is_a_window_of_its_own(hours):
    limit = {"primary_window": {"used_percent": 1, "limit_window_seconds": hours * HOUR_S}}
    [reading] = asked({"rate_limit": limit}).readings
    assert (reading.window, reading.label) == (f"{hours}h", f"{hours}-hour window")


@pytest.mark.parametrize(
    ("key", "window"),
    [
        ("spark_primary_window", "spark_five_hour"),
        ("spark_secondary_window", "spark_weekly"),
        ("primary_window_spark", "spark_five_hour"),
        ("secondary_window_spark", "spark_weekly"),
        ("individual_limit", None),
        ("allowed", None),
    ],
)
def test_further_windows_inside_the_limit_are_named_by_their_key(key, window):
    readings = codex.parse_windows({key: {"used_percent": 5}}, NOW)
    assert [each.window for each in readings] == ([] if window is None else [window])


def test_code_review_without_a_length_is_a_week():
    limit = {"primary_window": {"used_percent": 7}, "secondary_window": None}
    [_, reading] = asked({**USAGE, "code_review_rate_limit": limit}).readings
    assert (reading.window, reading.label, reading.used_percent) == (
        "code_review_weekly", "code review weekly window", 7,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["GPT-5.3-Codex-Spark", "gpt-5.3-codex-SPARK"])
def test_spark_is_known_by_its_name_and_not_by_its_feature(name):
    entry = {
        "limit_name": name,
        "metered_feature": "codex_bengalfox",
        "rate_limit": {"primary_window": {"used_percent": 1}, "secondary_window": {"used_percent": 2}},
    }
    assert [each.window for each in asked({"additional_rate_limits": [entry]}).readings] == [
        "gpt_5_3_codex_spark_five_hour",
        "gpt_5_3_codex_spark_weekly",
    ]


@pytest.mark.parametrize("limits", [None, [], {}, {"a": 1}, "junk", 5, True, ["junk", None, 7, [], {}]])
def test_additional_limits_may_be_anything(limits):
    assert [each.window for each in asked({**USAGE, "additional_rate_limits": limits}).readings] == ["five_hour"]


@pytest.mark.parametrize("off", [0, "0", 0.0])
@pytest.mark.parametrize("place", ["rate_limit", "code_review_rate_limit", "additional_rate_limits"])
def test_a_window_of_length_0_is_switched_off(off, place):
    limit = {
        "primary_window": {"used_percent": 97, "limit_window_seconds": 18000},
        "secondary_window": {"used_percent": 0, "limit_window_seconds": off, "reset_after_seconds": 0, "reset_at": 0},
    }
    content = {place: [{"limit_name": "x", "rate_limit": limit}] if place == "additional_rate_limits" else limit}
    assert [each.used_percent for each in asked(content).readings] == [97]


@pytest.mark.parametrize(
    ("signs", "blocked"),
    [
        ({"limit_reached": True, "allowed": False}, True),
        ({"allowed": False}, True),
        ({"limit_reached": True}, True),
        ({"limit_reached": False, "allowed": True}, False),
        ({"allowed": True}, False),
        ({}, None),
        ({"allowed": "no", "limit_reached": []}, None),
    ],
)
def test_a_limit_says_whether_it_blocks_each_of_its_windows(signs, blocked):
    content = {"rate_limit": {**USAGE["rate_limit"], **signs}, "code_review_rate_limit": USAGE["rate_limit"]}
    [main, review] = asked(content).readings
    assert (main.window, main.blocked, review.blocked) == ("five_hour", blocked, None)


def test_each_model_says_whether_it_is_blocked_and_until_when():
    models = {
        "GPT-5.3": {"available": False, "available_at": NOW.timestamp() + 3600, "credits_would_enable": True},
        "mini": {"available": True, "available_at": None},
        "odd": {"available": "yes"},
        "junk": [],
        "": {"available": True},
    }
    [_, *found] = asked({**USAGE, "model_usage": models}).readings
    assert [(each.window, each.blocked, each.resets_at, each.used_percent) for each in found] == [
        ("model_gpt_5_3", True, NOW + timedelta(hours=1), None),
        ("model_mini", False, None, None),
    ]
