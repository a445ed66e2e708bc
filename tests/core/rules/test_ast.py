"""Expressions: three-valued logic, tolerance and arithmetic."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.core.rules.ast import Not, compare, evaluate_boolean
from watcher.core.rules.parser import parse_condition
from watcher.core.rules.vocabulary import FIELD_UNITS

YES, NO, UNKNOWN = "claude.up", "codex.up", "copilot.up"


def look_up(selector, _field):
    return {"claude": True, "codex": False, "copilot": None}[selector.provider]


def evaluate(text, **fields):
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
    assert evaluate_boolean(parse_condition(text), look_up) is truth


@pytest.mark.parametrize("operator", [">", ">=", "<", "<=", "==", "!="])
def test_a_comparison_with_unknown_is_unknown(operator):
    assert evaluate(f"claude {operator} 80%", used_percent=None) is None


@pytest.mark.parametrize("nothing", [None, "text", math.nan])
def test_text_and_nan_are_unknown(nothing):
    assert evaluate("claude > 80%", used_percent=nothing) is None


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
def test_percents_have_the_tolerance_that_float32_needs(text, percent, truth):
    assert evaluate(text, used_percent=percent) is truth


def test_other_units_have_no_tolerance():
    assert evaluate("copilot.remaining < 0", remaining=-1e-9) is True
    assert evaluate("claude.age > 45m", age=2700.0000001) is True


def test_arithmetic():
    assert evaluate("copilot.used / copilot.limit > 0.8", used=81.0, limit=100.0) is True
    assert evaluate("copilot.limit - copilot.used < 2 * 10", used=81.0, limit=100.0) is True
    assert evaluate("-copilot.remaining >= 3", remaining=-3.0) is True


def test_a_division_by_zero_is_unknown():
    assert evaluate("copilot.used / copilot.limit > 0.8", used=81.0, limit=0.0) is None


def test_infinity_is_a_known_value():
    assert evaluate("claude.exhausts_in < 45m", exhausts_in=math.inf) is False
    assert evaluate("claude.exhausts_in - claude.exhausts_in < 45m", exhausts_in=math.inf) is None


def test_a_condition_about_money_is_unknown_for_requests():
    condition = "*.balance.remaining < $5"
    assert evaluate(condition, remaining=3.0, unit="usd") is True
    assert evaluate(condition, remaining=3.0, unit="eur") is True
    assert evaluate(condition, remaining=3.0, unit="credits") is None
    assert evaluate(condition, remaining=3.0) is True
    assert evaluate("*.balance.remaining < 5", remaining=3.0, unit="credits") is True


def test_every_field_is_looked_up_by_its_name():
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
def test_a_condition_and_its_opposite_differ_unless_unknown(one, other, operator):
    tree = parse_condition(f"claude {operator} 80% and claude.projected < 50%")
    known = tree.evaluate(lambda _selector, field: {"used_percent": one, "projected": other}[field])
    opposite = Not(tree).evaluate(lambda _selector, field: {"used_percent": one, "projected": other}[field])
    assert (known is None) == (opposite is None)
    assert known is None or known is not opposite


@given(st.floats(-200, 200), st.floats(-200, 200), st.sampled_from([(">", "<="), (">=", "<"), ("==", "!=")]))
def test_opposite_comparisons_always_differ(left, right, pair):
    assert compare(left, pair[0], right, 1e-6) is not compare(left, pair[1], right, 1e-6)
