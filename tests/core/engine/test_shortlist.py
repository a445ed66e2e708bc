"""Leaving out the rules that have nothing to do changes nothing, and leaves out nearly all of them."""

import math
from datetime import timedelta
from decimal import Decimal
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.core.engine.test_properties import history, modest, polls
from tests.core.samples import NOW
from watcher.core.engine import evaluator, matching, state_machine
from watcher.core.engine.matching import compile_rules
from watcher.core.engine.state import AlertState, EngineState
from watcher.core.engine.state_machine import Observation
from watcher.core.model import AlertPhase, PollFailure, Reading, Series, Severity, Snapshot, WindowKind
from watcher.core.rules.loader import parse_rules

EVERY = timedelta(minutes=5)
CONDITIONS = (
    "claude.five_hour > 80%",
    "claude.five_hour >= 71%",
    "50% < claude.five_hour",
    "*.session < 20%",
    "claude.five_hour <= 3%",
    "*.session.remaining_percent < 5%",
    "*.* > 55% and resets_in > 1h",
    "*.* > 55% or claude.five_hour == 20%",
    "claude > 50% + 31%",
    "claude.rate > 3%",
    "claude.five_hour > 80% and *.age < 20m",
    "not claude.five_hour > 3%",
    "claude.five_hour > 50% and claude.five_hour < 79.5%",
    "claude.five_hour.used > $5",
    "claude.five_hour.remaining > 5",
    "codex.weekly > 80%",
)
MORE = ("", 'for = "9m"', 'remind = "20m"', 'clear = "< 1%"', 'on = ["resolved"]', 'active = "Mon-Fri 09:00-12:00"')
LADDER = 'name = "ladder"\nwhen = "*.session > level"\nlevels = { info = "50%", warning = "80%", critical = "95%" }\n'


def table(number, when, more):
    sound = "" if "clear" in more and " and " in when else more
    return f'[[rule]]\nname = "r{number}"\nwhen = "{when}"\n{sound}\n'


RULES = parse_rules(
    "".join(table(n, when, MORE[n % len(MORE)] if "<" not in when else "") for n, when in enumerate(CONDITIONS))
    + "".join(table(n, "claude.five_hour > 80%", more) for n, more in enumerate(MORE, start=50))
    + f"[[rule]]\n{LADDER}",
    "rules.toml",
)
EDITED = parse_rules("".join(table(n, "claude.five_hour > 71%", "") for n in range(len(CONDITIONS))), "rules.toml")


def played(answers, *, everything, edit_at):
    memory, found = EngineState({}, {}), []
    for number, answer in enumerate(answers):
        rules = EDITED if edit_at is not None and number >= edit_at else RULES
        judged = evaluator.evaluate_poll(rules, memory, answer, answer.at, every=EVERY, explain=everything)
        memory = evaluator.apply_evaluation(memory, judged)
        found.append((judged.transitions, memory, judged.next_due_at))
    return found


@modest
@given(polls, st.none() | st.integers(0, 20))
def test_judging_only_the_shortlist_gives_what_judging_everything_gives(rows, edit_at):
    answers = list(history(rows))
    few, all_of_them = (played(answers, everything=each, edit_at=edit_at) for each in (False, True))
    assert few == all_of_them


ODD = (
    None,
    math.nan,
    -4.0,
    0.0,
    3.0,
    20.0,
    70.9999995,
    71.0,
    80.0,
    80.0000005,
    80.000001,
    95.0,
    100.0,
    140.0,
    1e9,
    math.inf,
)
WINDOWS = (("five_hour", WindowKind.SESSION), ("weekly", WindowKind.WEEKLY), ("extra_usage", WindowKind.BALANCE))
OTHERS = parse_rules(
    "".join(
        table(n, when, MORE[n % len(MORE)])
        for n, when in enumerate(
            (
                "claude.extra_usage.used > $5",
                "claude.extra_usage.remaining < 5",
                "*.balance.used >= $0 and *.balance.used < $9",
                "claude > 80% and claude.weekly < 50%",
                "claude > 80% or claude.weekly > 95%",
                "claude[a@x] >= 71%",
                "claude.weekly > 95% or claude.weekly < 1%",
                "*.* > 100%",
                "*.*.used_percent < 0%",
                "claude.weekly.age > 9m and claude.five_hour > 20%",
            )
        )
    )
    + f"[[rule]]\n{LADDER}",
    "rules.toml",
)
amounts = st.none() | st.sampled_from([Decimal(-3), Decimal(0), Decimal(5), Decimal(12)])


@st.composite
def answers_of_all_kinds(draw):
    """Some windows of two accounts, with levels beside every threshold and beyond all sense; failures among them."""
    found = []
    for step in range(draw(st.integers(1, 12))):
        account, at = draw(st.sampled_from("ab")), NOW + step * EVERY
        who = {"provider": "claude", "account": account, "account_name": f"{account}@x", "at": at}
        if draw(st.integers(0, 9)) == 0:
            found.append(PollFailure(**who, kind="server", message="m"))
            continue
        readings = [
            Reading(
                window=window,
                kind=kind,
                used_percent=draw(st.sampled_from(ODD)),
                used=draw(amounts),
                remaining=draw(amounts),
                unit=draw(st.sampled_from(("usd", "credits"))),
                unlimited=draw(st.integers(0, 9)) == 0,
            )
            for window, kind in draw(st.lists(st.sampled_from(WINDOWS), unique=True))
        ]
        found.append(Snapshot(**who, readings=tuple(readings), whole=draw(st.booleans())))
    return found


@modest
@given(answers_of_all_kinds(), st.sampled_from((RULES, OTHERS)))
def test_whatever_is_read_the_shelves_hide_no_rule_that_would_do_something(answers, rules):
    def judged():
        memory, found = EngineState({}, {}), []
        for answer in answers:
            one = evaluator.evaluate_poll(list(rules), memory, answer, answer.at, every=EVERY)
            memory = evaluator.apply_evaluation(memory, one)
            found.append(repr(one))  # NaN is not even itself
        return found

    few = judged()
    with mock.patch.object(matching, "shelved", return_value=()):
        assert judged() == few


def alert(**more):
    parts = {"phase": AlertPhase.FIRING, "severity": Severity.WARNING, "step": 0, "told": 0, "since": NOW, "fired": 1}
    (rule,) = parse_rules('[[rule]]\nname = "r"\nwhen = "claude > 80%"\n', "rules.toml")
    known = AlertState(
        rule="r", series=Series("claude", "five_hour"), fingerprint=rule.fingerprint, at=NOW, episode=1, **parts
    )
    return rule, structs.replace(known, **more)


REST = {"phase": AlertPhase.OK, "severity": None, "step": -1, "told": -1, "since": None}


@pytest.mark.parametrize(("more", "answer"), [({}, True), (REST, False)])
def test_an_alert_that_is_still_is_one_that_a_step_leaves_as_it_is_without_a_word(more, answer):
    rule, known = alert(**more)
    assert matching.is_still(rule, known, 1, answer)
    seen = Observation(levels_met=(answer,), levels_cleared=(not answer,), episode=1, every=EVERY)
    done = state_machine.update_alert(rule, known, seen, NOW + EVERY)
    assert (done.alert, done.changes) == (known, ())
    assert done.reason in {"unchanged", "below"}


@pytest.mark.parametrize(
    ("more", "episode", "answer"),
    [
        ({}, 1, False),
        ({}, 1, None),
        ({}, 2, True),
        ({"fingerprint": "older"}, 1, True),
        ({"muted": True}, 1, True),
        ({"severity": Severity.INFO}, 1, True),
        ({"remind_at": NOW}, 1, True),
        ({"told": -1}, 1, True),
        ({"phase": AlertPhase.PENDING}, 1, True),
        (REST, 1, True),
        (REST, 1, None),
        (REST, 2, False),
        ({**REST, "clock_at": NOW}, 1, False),
        ({**REST, "fired": 0}, 1, False),
    ],
)
def test_an_alert_that_may_move_or_speak_is_not_still(more, episode, answer):
    rule, known = alert(**more)
    assert not matching.is_still(rule, known, episode, answer)


def crowd(rules, windows, used, at, memory):
    """One poll of so many windows, and how many pairs were judged in it."""
    readings = tuple(Reading(window=f"w{n}", kind=WindowKind.WEEKLY, used_percent=used) for n in range(windows))
    news = Snapshot(provider="copilot", at=at, readings=readings)
    judged = evaluator.evaluate_poll(rules, memory, news, at, every=EVERY)
    return judged, evaluator.apply_evaluation(memory, judged)


def test_of_many_rules_only_those_are_judged_that_may_move(monkeypatch):
    rules = parse_rules("".join(table(n, f"*.* > {50 + n}%", "") for n in range(40)), "rules.toml")
    assert len(compile_rules(rules).shelves) == 1
    asked = []
    holds = evaluator.evaluate_condition
    monkeypatch.setattr(
        evaluator, "evaluate_condition", lambda *args, **more: asked.append(args) or holds(*args, **more)
    )
    memory, counts = EngineState({}, {}), []
    for poll, used in enumerate((40, 45, 90.5, 91, 91, 70.5)):
        asked.clear()
        _, memory = crowd(rules, 10, used, NOW + poll * EVERY, memory)
        counts.append(len(asked))
    # Nothing crossed; all cross; nothing moves; 19 of 40 thresholds are no longer crossed, and asked also for `clear`.
    assert counts == [0, 0, 400, 0, 0, 2 * 190]
