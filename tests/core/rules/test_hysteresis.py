"""The default for `clear`, and overlaps of `when` and `clear`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.core.rules.ast import evaluate_boolean
from watcher.core.rules.hysteresis import find_overlap, make_default_clear, negate_condition
from watcher.core.rules.parser import parse_condition


@pytest.mark.parametrize(
    ("when", "clear"),
    [
        ("claude.five_hour > 80%", "claude.five_hour < 75%"),
        ("claude.five_hour >= 80%", "claude.five_hour < 75%"),
        ("claude.seven_day < 50%", "claude.seven_day > 55%"),
        ("claude.seven_day <= 50%", "claude.seven_day > 55%"),
        ("claude.remaining_percent < 20%", "claude.remaining_percent > 25%"),
        ("80% < claude.five_hour", "claude.five_hour < 75%"),
        ("claude.rate > 12.5%", "claude.rate < 7.5%"),
        ("claude.five_hour > 5%", "claude.five_hour <= 5%"),
        ("claude.five_hour > 0%", "claude.five_hour <= 0%"),
        ("claude.five_hour < 95%", "claude.five_hour >= 95%"),
        ("claude.projected < 120%", "claude.projected > 125%"),
        ("claude.used_percent + claude.rate < 98%", "claude.used_percent + claude.rate > 103%"),
        ("claude.five_hour == 100%", "claude.five_hour != 100%"),
        ("claude.projected > claude.used_percent", "claude.projected <= claude.used_percent"),
        ("copilot.remaining < 0", "copilot.remaining >= 0"),
        ("*.age > 45m", "*.age <= 45m"),
        ("not claude.up", "claude.up"),
        ("claude.up", "not claude.up"),
        ("claude.seven_day < 50% and resets_in < 12h", "claude.seven_day > 55% or resets_in >= 12h"),
        ("claude > 80% or codex > 90%", "claude < 75% and codex < 85%"),
        ("not (claude > 80% or resets_in < 1h)", "claude > 85% or resets_in < 1h"),
    ],
)
def test_the_default_clear_is_five_points_back_or_the_opposite(when, clear):
    assert str(make_default_clear(parse_condition(when))) == clear


@pytest.mark.parametrize(
    ("when", "clear", "value"),
    [
        ("claude > 80%", "claude < 90%", 85),
        ("claude > 80%", "claude.used_percent < 90%", 85),
        ("claude > 80%", "claude > 90%", 91),
        ("claude >= 80%", "claude <= 80%", 80),
        ("claude > 80%", "claude <= 80%", None),
        ("claude > 80%", "claude < 70%", None),
        ("90% > claude", "claude > 80%", 85),
        ("copilot.remaining < 0", "copilot.remaining >= 0", None),
        ("claude > 80%", "claude.seven_day < 90%", None),
        ("claude > 80% and claude.up", "claude < 90%", 85),
        ("claude.seven_day < 50% and resets_in < 12h", "claude.seven_day > 40%", 45),
        ("claude.seven_day < 50% and resets_in < 12h", "claude.seven_day > 60%", None),
        ("claude > 50% and claude < 90%", "claude > 95%", None),
        ("claude > 80% and codex < 50%", "claude > 70% and codex > 60%", None),
        ("claude > 80%", "claude < 90% and codex > 5%", None),
        ("claude > 80%", "claude < 70% or resets_in < 5m", None),
        ("claude == 50%", "claude <= 50%", 50),
        ("claude.up", "claude < 5%", None),
    ],
)
def test_an_overlap_of_when_and_clear_is_found(when, clear, value):
    assert find_overlap(parse_condition(when), parse_condition(clear)) == value


CONDITIONS = st.recursive(
    st.builds(
        "{} {} {}%".format,
        st.sampled_from(["claude", "claude.projected", "codex.weekly"]),
        st.sampled_from([">", ">=", "<", "<=", "==", "!="]),
        st.integers(0, 110),
    ),
    lambda part: st.one_of(
        part.map("not ({})".format),
        st.tuples(part, part).map(lambda two: f"({two[0]}) and ({two[1]})"),
        st.tuples(part, part).map(lambda two: f"({two[0]}) or ({two[1]})"),
    ),
    max_leaves=4,
).map(parse_condition)
PERCENTS = st.one_of(st.none(), st.floats(0, 120))


@given(CONDITIONS, PERCENTS, PERCENTS, PERCENTS)
def test_a_condition_and_its_clear_never_hold_together(when, one, two, three):
    percents = {("claude", "used_percent"): one, ("claude", "projected"): two, ("codex", "used_percent"): three}

    def value(selector, field):
        return percents[selector.provider, field]

    result = evaluate_boolean(when, value)
    assert not (result and evaluate_boolean(make_default_clear(when), value))
    opposite = evaluate_boolean(negate_condition(when), value)
    assert opposite is (None if result is None else not result)
