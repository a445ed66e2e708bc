from datetime import timedelta

import pytest

from tests.providers.codex.codex_poll import NOW, USAGE, asked
from watcher.core.engine import evaluator
from watcher.core.engine.state import EngineState
from watcher.core.rules.loader import parse_rules


@pytest.mark.parametrize("balance", ["0", "14.5", 5.39, 0])
def test_credits_are_read_in_every_form(balance):
    fields = {"has_credits": True, "approx_local_messages": None, "approx_cloud_messages": [1, 2], "balance": balance}
    [reading] = asked({"credits": fields, "promo": {"anything": 1}}).readings
    assert (reading.window, str(reading.remaining)) == ("credits", str(balance))


@pytest.mark.parametrize(
    ("count", "remaining"), [(3, 3), ("2", 2), (0, 0), (None, None), (-1, None), (True, None), ([], None), (1.5, None)]
)
def test_resets_in_hand_are_a_quantity(count, remaining):
    readings = asked({**USAGE, "rate_limit_reset_credits": {"available_count": count}}).readings
    found = {each.window: each for each in readings}.get("reset_credits")
    assert (None if found is None else found.remaining) == remaining
    assert found is None or (found.kind, found.unit, found.used_percent) == ("balance", "resets", None)


@pytest.mark.parametrize("name", ["resets_at", "reset_at", "resetsAt"])
def test_an_individual_limit_s_end_has_three_spellings(name):
    ends = NOW + timedelta(days=2)
    for value in (int(ends.timestamp()), str(int(ends.timestamp())), ends.isoformat()):
        [reading] = asked({"individual_limit": {"used": "5", "limit": 50, name: value}}).readings
        assert (reading.used_percent, reading.resets_at) == (10, ends)


@pytest.mark.parametrize(("reached", "blocked"), [(True, True), (False, False), ("x", None), (None, None)])
def test_credits_block_when_their_overage_limit_is_reached(reached, blocked):
    fields = {"has_credits": True, "balance": "3", "overage_limit_reached": reached}
    assert [(each.window, each.blocked) for each in asked({"credits": fields}).readings] == [("credits", blocked)]


@pytest.mark.parametrize("plan", ["business", "self_serve_business_usage_based", "enterprise_cbp_usage_based"])
def test_a_plan_without_rate_limits_has_the_limit_of_the_month(plan):
    limit = {"limit": "1000", "used": "960", "remaining": "40", "used_percent": 96, "reset_after_seconds": 900}
    held = {"has_credits": True, "unlimited": False, "balance": None}
    controls = {"reached": False, "individual_limit": limit}
    outcome = asked({"plan_type": plan, "rate_limit": None, "credits": held, "spend_control": controls})
    [reading] = outcome.readings
    assert (outcome.plan, reading.window, reading.kind, reading.blocked) == (plan, "individual_limit", "monthly", False)


def test_resets_in_hand_end_with_the_first_that_lapses():
    ends = NOW + timedelta(hours=20)
    held = [
        {"expires_at": (NOW + timedelta(days=9)).isoformat()},
        {"status": "available", "expires_at": ends.isoformat()},
        {"status": "redeemed", "expires_at": (NOW + timedelta(hours=1)).isoformat()},
        {"expires_at": (NOW - timedelta(hours=1)).isoformat()},
    ]
    for count, resets_at in ((2, ends), (0, None)):
        resets = {"available_count": count, "credits": held}
        [_, reading] = asked({**USAGE, "rate_limit_reset_credits": resets}).readings
        assert (reading.remaining, reading.resets_at) == (count, resets_at)


@pytest.mark.parametrize(("count", "hours", "fires"), [(1, 20, True), (1, 30, False), (0, 20, False)])
def test_a_rule_tells_of_resets_that_are_about_to_lapse(count, hours, fires):
    held = [{"expires_at": (NOW + timedelta(hours=hours)).isoformat()}]
    answer = asked({**USAGE, "rate_limit_reset_credits": {"available_count": count, "credits": held}})
    when = "codex.reset_credits.resets_in < 24h and remaining > 0"
    rules = parse_rules(f'[[rule]]\nname = "lapse"\nwhen = "{when}"\n', "rules.toml")
    result = evaluator.evaluate_poll(rules, EngineState({}, {}), answer, NOW, every=timedelta(minutes=5))
    assert [each.series.window for each in result.transitions] == (["reset_credits"] if fires else [])
