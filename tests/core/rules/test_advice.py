"""What is allowed in a rule and hardly meant."""

import pytest

from watcher.core.rules.advice import find_advice, find_impossibility
from watcher.core.rules.loader import parse_rules
from watcher.core.rules.parser import parse_condition


def parse(when, path="a.toml", name="r", more=""):
    return parse_rules(f'[[rule]]\nname = "{name}"\nwhen = "{when}"\n{more}', path)


@pytest.mark.parametrize(
    ("when", "problem"),
    [
        ("claude > 800%", "`claude > 800%` never holds"),
        ("claude > -1%", "`claude > -1%` always holds"),
        ("80% < claude or -1% < codex.weekly", "`-1% < codex.weekly` always holds"),
        ("claude.five_hour == 120%", "`claude.five_hour == 120%` never holds"),
        ("*.*.remaining_percent > 100%", "`*.*.remaining_percent > 100%` never holds"),
        ("claude.five_hour.resets_in > 6h", "`claude.five_hour.resets_in > 6h` never holds"),
        ("*.weekly.resets_in < 8d", "`*.weekly.resets_in < 8d` always holds"),
        ("*.session.projected < 0%", "`*.session.projected < 0%` never holds"),
        ("claude > 80% and used_percent < 50%", "never holds: the terms exclude each other"),
        (
            "claude.five_hour.remaining < $5",
            "known in percent only, so `remaining` never is; did you mean `remaining_percent`?",
        ),
        ("codex.weekly.increase > 5", "`codex.weekly` is known in percent only, so `increase` never is"),
    ],
)
def test_a_condition_that_never_or_always_holds_is_named(when, problem):
    (advice,) = find_advice(parse(when))
    assert advice.startswith('a.toml:1: rule "r": ')
    assert advice.endswith(problem)


@pytest.mark.parametrize(
    "when",
    [
        "claude > 100%",
        "*.* > 800%",
        "copilot > 300%",
        "copilot.remaining < -50",
        "claude.extra_usage.increase > $0",
        "codex.credits.remaining < 5",
        "claude.seven_day.resets_in > 3d",
        "*.balance.remaining < $5 and remaining > $0",
        "claude.five_hour > 80% and codex.weekly < 50%",
        "not claude.up or claude.age > 1h",
    ],
)
def test_a_condition_that_may_hold_has_no_advice(when):
    assert list(find_advice(parse(when))) == []


def test_each_level_is_checked():
    levels = 'levels = { warning = "80%", critical = "800%" }'
    assert list(find_advice(parse("claude > level", more=levels))) == [
        'a.toml:1: rule "r": `claude > 800%` never holds'
    ]


def test_rules_of_two_files_that_watch_the_same_are_named():
    first, second = parse("*.session > 80%"), parse("*.session > 50%", path="b.toml", name="s")
    advice = "b.toml:1: s watches the same as r (a.toml, line 1): both will notify"
    assert list(find_advice([*first, *second])) == [advice]


@pytest.mark.parametrize(
    "other",
    [
        {"when": "*.session > 50%"},
        {"when": "*.session < 50%", "path": "b.toml"},
        {"when": "claude.session > 50%", "path": "b.toml"},
        {"when": "*.session > 50%", "path": "b.toml", "more": 'notify = ["team"]'},
        {"when": "*.session > 50%", "path": "b.toml", "more": 'on = ["resolved"]'},
    ],
    ids=["one file", "another direction", "another series", "another channel", "only the end"],
)
def test_rules_that_differ_are_not_named(other):
    assert list(find_advice([*parse("*.session > 80%"), *parse(name="s", **other)])) == []


PERCENT_ONLY = "`claude.five_hour` is known in percent only, so `remaining` never is; did you mean `remaining_percent`?"


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("claude > 800%", "`claude > 800%` never holds"),
        ("claude < -1% and codex < 20%", "`claude < -1%` never holds"),
        ("claude > 800% or codex < -1%", ""),
        ("not claude > -1%", ""),
        ("claude > 80% and claude < 20%", "`claude > 80% and claude < 20%` never holds: the terms exclude each other"),
        ("claude.five_hour.remaining < $5", PERCENT_ONLY),
        ("claude > 800% or codex < 20%", ""),
        ("not claude > 800%", ""),
        ("claude > -1% and codex < 20%", ""),
        ("copilot > 800%", ""),
        ("claude.five_hour.up", ""),
    ],
)  # fmt: skip
def test_why_a_condition_can_never_hold(condition, reason):
    assert find_impossibility(parse_condition(condition)) == reason
