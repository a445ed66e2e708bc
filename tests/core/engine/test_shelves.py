"""What a shelf says of its rules is what their conditions say, wherever it says anything."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.core.engine.matching import NOTHING, shelved
from watcher.core.rules.ast import evaluate_boolean
from watcher.core.rules.loader import parse_rules


def rules_of(*conditions):
    tables = (f'[[rule]]\nname = "r{n}"\nwhen = "{when}"\n' for n, when in enumerate(conditions))
    return dict(enumerate(parse_rules("".join(tables), "rules.toml")))


OPERATORS = (">", ">=", "<", "<=")
RULES = rules_of(
    *(
        f"claude.five_hour {operator} {level}%"
        for operator in (">", ">=", "<", "<=")
        for level in (10, 50, 50.000001, 90)
    ),
    "80% < claude.five_hour",
    "claude.five_hour > 20% and resets_in > 1h",
    "resets_in > 1h and claude.five_hour > 20%",
)
values = st.floats(0, 110) | st.sampled_from(
    [10, 50, 50.000001, 50.0000005, 50 + 2e-6, 80, 90, 1e9, math.inf, -math.inf]
)


@given(values, st.none() | st.integers(0, 9000))
def test_a_shelf_never_contradicts_a_condition(used, resets_in):
    def value(_selector, field):
        return {"used_percent": used, "resets_in": resets_in}.get(field)

    truth = {place: evaluate_boolean(rule.levels[0].when, value) for place, rule in RULES.items()}
    maybe = set()
    for shelf in shelved(RULES):
        found = shelf.sorted_out(value(None, shelf.field))
        assert all(truth[place] is True for place in found.true)
        assert all(truth[place] is False for place in found.false)
        maybe |= {*found.true, *found.perhaps}
    assert {place for place, holds in truth.items() if holds} <= maybe


@pytest.mark.parametrize("worth", [None, math.nan, True, "text"])
def test_what_is_no_number_says_nothing(worth):
    assert all(shelf.sorted_out(worth) == NOTHING for shelf in shelved(RULES))


@pytest.mark.parametrize(
    "when",
    [
        "claude.five_hour > 80% or resets_in < 1h",
        "not claude.five_hour > 80%",
        "claude.five_hour == 80%",
        "claude.used + claude.limit > 5",
        "claude.used > claude.limit",
    ],
)
def test_a_rule_without_a_necessary_threshold_stands_on_no_shelf(when):
    assert shelved(rules_of(when)) == ()


def test_rules_that_ask_the_same_stand_on_one_shelf_in_the_order_of_their_thresholds():
    (shelf,) = shelved(rules_of("claude > 90%", "claude > 70%", "claude >= 80%"))
    assert (shelf.thresholds, shelf.places) == ((70.0, 80.0, 90.0), (1, 2, 0))


def test_of_money_a_shelf_only_says_perhaps():
    (shelf,) = shelved(rules_of("claude.extra_usage.used > $5"))
    assert shelf.sorted_out(6.0).perhaps == (0,)
    assert shelf.sorted_out(4.0) == NOTHING
