"""A rule's own examples: how the row becomes polls, and what a failure reports."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from watcher.core.engine.replay import iter_decisions
from watcher.core.engine.rule_tests import (
    DEFAULT_START_AT,
    make_snapshots,
    run_example,
)
from watcher.core.model import AlertPhase, Series, WindowKind
from watcher.core.rules.loader import parse_rules
from watcher.core.rules.rule import Example

EVERY = timedelta(minutes=5)
HOUSE = Path(__file__).parents[3] / "rules"


def example(*used, **more):
    return Example(**({"series": "claude.five_hour", "every": EVERY, "used": used, "expect": ()} | more))


def rule(when, **more):
    text = "".join(f'{name} = "{value}"\n' for name, value in more.items())
    return parse_rules(f'[[rule]]\nname = "r"\nwhen = "{when}"\n{text}', "rules.toml")[0]


def test_the_example_of_the_documentation():
    ran = run_example(
        rule("claude.five_hour > 80%", clear="< 70%"),
        example(70, 81, 79, 81, 69, 82, expect=(".", "F", "F", "F", ".", "F")),
    )
    assert ran.passed
    assert ran.failed_steps == ()


def test_a_failed_example_names_its_steps():
    ran = run_example(rule("claude.five_hour > 80%"), example(70, 81, 82, expect=(".", ".", "F")))
    assert not ran.passed
    assert (ran.phases, ran.failed_steps) == ((".", "F", "F"), (1,))


def test_pending_is_a_phase_of_its_own():
    assert run_example(rule("claude.five_hour > 80%", **{"for": "10m"}), example(81, 82, 83)).phases == ("p", "p", "F")


def test_a_question_mark_is_a_poll_without_the_series():
    assert [len(each.readings) for each in make_snapshots(example(70, "?", 71))] == [1, 0, 1]


def test_a_reset_begins_a_new_window_at_that_poll():
    polls = list(make_snapshots(example(90, 95, "reset", 3)))
    boundaries = [poll.readings[0].resets_at for poll in polls]
    turn = DEFAULT_START_AT + 2 * EVERY
    assert boundaries[0] == boundaries[1] < turn < boundaries[2] == boundaries[3]
    assert polls[2].readings[0].used_percent == 0


def test_a_boundary_that_is_given_is_kept():
    (poll,) = make_snapshots(example(40, resets_in=timedelta(hours=2), start=datetime(2026, 1, 5, 9, tzinfo=UTC)))
    assert poll.readings[0].resets_at == datetime(2026, 1, 5, 11, tzinfo=UTC)


def test_a_row_of_what_remains_counts_in_the_windows_own_unit():
    money, count = (
        next(make_snapshots(example(used=(), remaining=(4.5,), series=series)))
        for series in ("nano_gpt.balance_usd", "copilot.premium_interactions")
    )
    assert (money.readings[0].unit, money.readings[0].kind) == ("usd", WindowKind.BALANCE)
    assert (count.readings[0].unit, count.readings[0].kind) == ("requests", WindowKind.MONTHLY)
    assert count.readings[0].used_percent is None


def test_with_a_limit_the_percent_is_known():
    (poll,) = make_snapshots(example(used=(), remaining=(75,), limit=300, series="copilot.premium_interactions"))
    assert poll.readings[0].used_percent == pytest.approx(75)


def test_an_example_of_another_series_shows_nothing_about_its_rule():
    assert run_example(rule("codex.weekly > 10%"), example(9, 99)).phases == ("-", "-")


@pytest.mark.parametrize("path", sorted(HOUSE.glob("*.toml")), ids=lambda path: path.stem)
def test_every_rule_that_ships_does_what_its_examples_say(path):
    rules = parse_rules(path.read_text("utf-8"), path.name)
    assert all(rule.examples for rule in rules)
    missed = [
        (ran.rule, ran.phases)
        for rule in rules
        for each in rule.examples
        if not (ran := run_example(rule, each)).passed
    ]
    assert missed == []


def test_a_history_has_a_decision_for_every_poll():
    rules = (rule("claude.five_hour > 80%"),)
    decisions = list(iter_decisions(rules, list(make_snapshots(example(70, 81, "?", 79)))))
    assert {each.series for each in decisions} == {Series("claude", "five_hour")}
    assert [(each.reason, each.phase) for each in decisions] == [
        ("below", AlertPhase.OK),
        ("above", AlertPhase.FIRING),
        ("missing", AlertPhase.FIRING),
        ("hysteresis", AlertPhase.FIRING),
    ]
