"""The language server's words for its pools: what they are called, how long they last, how much is left."""

import pytest

from watcher.core.model import WindowKind
from watcher.providers import antigravity


def pool(**bucket):
    (reading,) = antigravity.parse_summary({"groups": [{"displayName": "Gemini", "buckets": [bucket]}]})
    return reading


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        *(
            (word, WindowKind.SESSION)
            for word in ("session", "5h", "5-hour", "Five Hour", "five-hour", "gemini_5h", "5 hours")
        ),
        *((word, WindowKind.WEEKLY) for word in ("weekly", "gemini-weekly", "3p_weekly", "Weekly limit")),
        *(
            (word, WindowKind.OTHER)
            for word in ("sessions", "obsession", "15h", "5hx", "biweekly", "weeklyish", "daily", "")
        ),
    ],
)
@pytest.mark.parametrize("field", ["bucketId", "displayName", "description"])
def test_a_length_is_recognised_as_a_whole_word(words, kind, field):
    reading = pool(**{"bucketId": "x", field: words, "remainingFraction": 1})
    assert reading.kind is kind
    assert reading.window_seconds == {WindowKind.SESSION: 18000, WindowKind.WEEKLY: 604800}.get(kind)


@pytest.mark.parametrize(
    ("bucket", "used"),
    [
        ({"remainingFraction": 0.25}, 75.0),
        ({"remainingFraction": "0.25"}, 75.0),
        ({"remainingFraction": 0}, 100.0),
        ({"remaining": {"remainingFraction": 0.25}}, 75.0),
        ({"remaining": {"case": "remainingFraction", "value": 0.25}}, 75.0),
        ({"remainingFraction": None, "remaining": {"remainingFraction": 0.25}}, 75.0),
        ({"remaining": {"case": "requests", "value": 0.25}}, None),
        ({"remaining": 0.25}, None),
        ({"remainingFraction": True}, None),
        ({"disabled": True, "remainingFraction": 0.25}, None),
        ({"disabled": False, "remainingFraction": 0.25}, 75.0),
        ({}, None),
    ],
)
def test_what_is_left_is_read_in_its_three_spellings_and_unknown_otherwise(bucket, used):
    assert pool(bucketId="x", **bucket).used_percent == used


@pytest.mark.parametrize(
    ("status", "plan"),
    [
        ({"userTier": {"name": "Google AI Pro"}, "planStatus": {"planInfo": {"planName": "Pro"}}}, "Google AI Pro"),
        ({"userTier": {"name": " "}, "planStatus": {"planInfo": {"planName": "Pro"}}}, "Pro"),
        ({"planStatus": {"planInfo": {"planShortName": "P", "productName": "Product"}}}, "Product"),
        ({"userTier": "Pro", "planStatus": []}, None),
        ({}, None),
    ],
)
def test_the_plan_is_the_tier_s_name_else_one_of_the_plan_s(status, plan):
    assert antigravity.parse_plan(status) == plan


@pytest.mark.parametrize("wrap", ["response", "summary", None])
def test_groups_may_be_wrapped_and_hold_junk(wrap):
    groups = {"groups": [None, {"buckets": [5, {"bucketId": "a", "remainingFraction": 1}]}, {"buckets": "x"}]}
    assert [each.window for each in antigravity.parse_summary({wrap: groups} if wrap else groups)] == ["a"]
