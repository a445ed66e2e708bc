"""Truth in three values, tolerance, and which series a selector means."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watcher.core.model import Series, WindowKind
from watcher.core.rules.ast import Not, compare, evaluate_boolean
from watcher.core.rules.fields import FIELD_UNITS
from watcher.core.rules.parser import parse_condition
from watcher.core.rules.selector import Selector

YES, NO, UNKNOWN = "claude.up", "codex.up", "copilot.up"


def value(selector, _field):
    return {"claude": True, "codex": False, "copilot": None}[selector.provider]


def worth(text, **fields):
    return evaluate_boolean(parse_condition(text), lambda _selector, field: fields.get(field))


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        (f"{YES} and {YES}", True),
        (f"{YES} and {NO}", False),
        (f"{YES} and {UNKNOWN}", None),
        (f"{UNKNOWN} and {NO}", False),
        (f"{UNKNOWN} and {UNKNOWN}", None),
        (f"{NO} or {NO}", False),
        (f"{YES} or {UNKNOWN}", True),
        (f"{UNKNOWN} or {YES}", True),
        (f"{UNKNOWN} or {NO}", None),
        (f"not {YES}", False),
        (f"not {NO}", True),
        (f"not {UNKNOWN}", None),
        (f"{YES} == true", True),
        (f"{NO} != true", True),
        (f"{UNKNOWN} == false", None),
    ],
)
def test_unknown_is_neither_true_nor_false(text, truth):
    assert evaluate_boolean(parse_condition(text), value) is truth


@pytest.mark.parametrize("operator", [">", ">=", "<", "<=", "==", "!="])
def test_a_comparison_with_unknown_is_unknown(operator):
    assert worth(f"claude {operator} 80%", used_percent=None) is None


@pytest.mark.parametrize("nothing", [None, "text", math.nan])
def test_text_and_no_number_are_unknown(nothing):
    assert worth("claude > 80%", used_percent=nothing) is None


@pytest.mark.parametrize(
    ("text", "percent", "truth"),
    [
        ("claude > 80%", 80.0000009, False),
        ("claude > 80%", 80.000002, True),
        ("claude >= 80%", 79.9999991, True),
        ("claude >= 80%", 79.999998, False),
        ("claude < 20%", 19.9999991, False),
        ("claude < 20%", 19.999998, True),
        ("claude <= 20%", 20.0000009, True),
        ("claude == 20%", 20.000000298, True),  # 0.2 as float32, times 100
        ("claude != 20%", 20.000000298, False),
    ],
)
def test_percents_tolerate_what_float32_cannot_hold(text, percent, truth):
    assert worth(text, used_percent=percent) is truth


def test_only_percents_are_tolerant():
    assert worth("copilot.remaining < 0", remaining=-1e-9) is True
    assert worth("claude.age > 45m", age=2700.0000001) is True


def test_arithmetic():
    assert worth("copilot.used / copilot.limit > 0.8", used=81.0, limit=100.0) is True
    assert worth("copilot.limit - copilot.used < 2 * 10", used=81.0, limit=100.0) is True
    assert worth("-copilot.remaining >= 3", remaining=-3.0) is True


def test_a_division_by_zero_is_unknown():
    assert worth("copilot.used / copilot.limit > 0.8", used=81.0, limit=0.0) is None


def test_never_running_dry_is_known():
    assert worth("claude.exhausts_in < 45m", exhausts_in=math.inf) is False
    assert worth("claude.exhausts_in - claude.exhausts_in < 45m", exhausts_in=math.inf) is None


def test_a_rule_about_dollars_never_judges_requests():
    condition = "*.balance.remaining < $5"
    assert worth(condition, remaining=3.0, unit="usd") is True
    assert worth(condition, remaining=3.0, unit="eur") is True
    assert worth(condition, remaining=3.0, unit="credits") is None
    assert worth(condition, remaining=3.0) is True
    assert worth("*.balance.remaining < 5", remaining=3.0, unit="credits") is True


SERIES = Series(provider="claude", window="five_hour", account="8f1c")


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        (Selector("claude", "", "five_hour"), True),
        (Selector("claude", "", "seven_day"), False),
        (Selector("codex", "", "five_hour"), False),
        (Selector("*", "", "five_hour"), True),
        (Selector("claude", "", "*"), True),
        (Selector("*", "", "*"), True),
        (Selector("*", "", "session"), True),
        (Selector("claude", "", "session"), True),
        (Selector("*", "", "weekly"), False),
        (Selector("claude", "8f1c", "five_hour"), True),
        (Selector("claude", "Me@Example.com", "five_hour"), True),
        (Selector("claude", "you@example.com", "five_hour"), False),
    ],
)
def test_which_series_a_selector_means(selector, matches):
    assert selector.matches(SERIES, "me@example.com", WindowKind.SESSION, is_primary=False) is matches


def test_no_window_means_the_primary_one():
    assert Selector("claude").matches(SERIES, "", WindowKind.SESSION, is_primary=True)
    assert not Selector("claude").matches(SERIES, "", WindowKind.SESSION, is_primary=False)


def test_a_word_that_is_both_names_the_window_where_the_provider_is_named():
    review = Series(provider="codex", window="code_review_weekly")
    weekly = Series(provider="codex", window="weekly")
    assert Selector("*", "", "weekly").matches(review, "", WindowKind.WEEKLY, is_primary=False)
    assert not Selector("codex", "", "weekly").matches(review, "", WindowKind.WEEKLY, is_primary=False)
    assert Selector("codex", "", "weekly").matches(weekly, "", WindowKind.WEEKLY, is_primary=False)
    claude = Series(provider="claude", window="seven_day")
    assert Selector("claude", "", "weekly").matches(claude, "", WindowKind.WEEKLY, is_primary=False)


def test_a_series_of_no_name_has_no_account_in_common_with_a_named_one():
    nameless = Series(provider="claude", window="five_hour")
    assert not Selector("claude", "me@example.com", "five_hour").matches(
        nameless, "", WindowKind.SESSION, is_primary=True
    )


def test_every_field_can_be_asked_for():
    asked = []
    for field in FIELD_UNITS:
        if field == "error":
            continue
        for text in (f"claude.{field} > 5%", f"claude.{field} > 5m", f"claude.{field} > 5", f"claude.{field}"):
            try:
                tree = parse_condition(text)
            except Exception:  # noqa: BLE001 - the other units
                continue
            tree.evaluate(lambda _selector, name: asked.append(name))
            break
    assert asked == [field for field in FIELD_UNITS if field != "error"]


AMOUNTS = st.one_of(st.none(), st.floats(0, 120), st.sampled_from([50.0, 80.0, 80.0000001]))


@given(AMOUNTS, AMOUNTS, st.sampled_from([">", ">=", "<", "<=", "==", "!="]))
@settings(max_examples=200, deadline=None)
def test_a_condition_and_its_opposite_are_never_both_true(one, other, operator):
    tree = parse_condition(f"claude {operator} 80% and claude.projected < 50%")
    known = tree.evaluate(lambda _selector, field: {"used_percent": one, "projected": other}[field])
    opposite = Not(tree).evaluate(lambda _selector, field: {"used_percent": one, "projected": other}[field])
    assert (known is None) == (opposite is None)
    assert known is None or known is not opposite


@given(st.floats(-200, 200), st.floats(-200, 200), st.sampled_from([(">", "<="), (">=", "<"), ("==", "!=")]))
@settings(max_examples=200, deadline=None)
def test_opposite_comparisons_never_agree(left, right, pair):
    assert compare(left, pair[0], right, 1e-6) is not compare(left, pair[1], right, 1e-6)
