"""The thresholds of the rules on a series, for the next poll and for charts."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from msgspec.structs import replace

from tests.core.samples import NOW, SERIES, balance, premium, reading, rule
from watcher.core.engine import thresholds
from watcher.core.engine.evaluator import evaluate_poll
from watcher.core.engine.state import EngineState, create_series_state
from watcher.core.engine.thresholds import SeriesOutlook, build_outlook
from watcher.core.model import PollFailure, Reading, Series, Severity, Snapshot, WindowKind
from watcher.core.rules.loader import parse_rules
from watcher.core.rules.rule import Level

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
M = timedelta(minutes=1)


def session(used: float) -> Reading:
    ends = NOON + timedelta(hours=3)
    return Reading(
        window="five_hour", kind=WindowKind.SESSION, used_percent=used, resets_at=ends, window_seconds=18_000
    )


def poll(
    text: str, *readings: Reading, provider: str = "claude", polls: int = 1
) -> tuple[EngineState, list[SeriesOutlook]]:
    """The outlook after so many equal polls, five minutes apart."""
    rules = parse_rules(text, "rules.toml")
    engine_state = EngineState({}, {})
    for number in range(polls):
        at = NOON + 5 * M * number
        evaluation = evaluate_poll(
            rules, engine_state, Snapshot(provider=provider, at=at, readings=readings), at, every=5 * M, tz=UTC
        )
        series = {**engine_state.series_states, **{state.series: state for state in evaluation.series_states}}
        engine_state = EngineState(
            series,
            {**engine_state.alert_states, **{(alert.rule, alert.series): alert for alert in evaluation.alert_states}},
        )
    return engine_state, list(build_outlook(engine_state, rules, provider, "").series_outlooks)


def rule_text(when: str, more: str = "") -> str:
    return f"[[rule]]\nname = 'r'\nwhen = '{when}'\n{more}"


@pytest.mark.parametrize(
    ("when", "thresholds"),
    [
        ("claude.five_hour > 80%", (80.0,)),
        ("80% < claude.five_hour", (80.0,)),
        ("claude.five_hour.remaining_percent < 10%", (90.0,)),
        ("*.session > 50% and resets_in > 1h or claude.five_hour > 95%", (50.0, 95.0)),
        ("codex.five_hour > 80%", ()),
        ("claude.five_hour.age > 20m", ()),
    ],
)
def test_the_thresholds_are_those_of_the_matching_rules(when: str, thresholds: tuple[float, ...]) -> None:
    _, (outlook,) = poll(rule_text(when), session(40))
    assert outlook.thresholds == thresholds


def test_a_rule_about_the_time_until_the_reset_has_an_instant() -> None:
    _, (outlook,) = poll(rule_text("claude.five_hour.resets_in < 10m and used_percent < 50%"), session(40))
    assert outlook.rule_times == (NOON + 170 * M,)


def test_a_clearing_condition_is_no_threshold() -> None:
    _, (outlook,) = poll(rule_text("claude.five_hour > 80%", "clear = '< 70%'"), session(40))
    assert outlook.thresholds == (80.0,)


def test_amounts_become_percents_of_their_limit() -> None:
    premium = Reading(
        window="premium_interactions",
        kind=WindowKind.MONTHLY,
        used_percent=50.0,
        used=Decimal(150),
        limit=Decimal(300),
        remaining=Decimal(150),
        unit="requests",
    )
    text = rule_text("copilot.remaining < 0") + rule_text("copilot.used > 270").replace("'r'", "'s'")
    _, (outlook,) = poll(text, premium, provider="copilot")
    assert outlook.thresholds == (90.0, 100.0)


def test_the_shortest_age_of_the_rules_is_known() -> None:
    text = rule_text("*.age > 45m") + rule_text("30m < claude.five_hour.age").replace("'r'", "'s'")
    assert poll(text, session(40))[1][0].fresh_for == 30 * M
    assert poll(rule_text("codex.five_hour.age > 45m"), session(40))[1][0].fresh_for is None


def test_a_series_that_never_changed_is_unchanged_since_its_first_reading() -> None:
    _, (outlook,) = poll(rule_text("*.age > 45m"), session(40), polls=4)
    assert outlook.changed_at == NOON


def test_a_pending_alert_is_part_of_the_outlook() -> None:
    engine_state, (outlook,) = poll(rule_text("claude.five_hour > 80%", "for = '30m'"), session(85))
    assert outlook.pending
    assert Series("claude", "five_hour") in engine_state.series_states


def test_another_account_is_not_part_of_the_outlook() -> None:
    engine_state, _ = poll(rule_text("claude.five_hour > 80%"), session(85))
    assert build_outlook(engine_state, (), "claude", "somebody@else").series_outlooks == ()


def read_state(read, series=SERIES):
    nothing = PollFailure(provider=series.provider, account=series.account, at=NOW, kind="", message="")
    return replace(create_series_state(series, nothing.at), reading=read, primary=True)


def values(read, *rules, series=SERIES):
    return [line.value for line in thresholds.find_threshold_lines(read_state(read, series), rules)]


def test_a_percent_is_drawn_where_it_fires_and_not_where_it_clears():
    assert values(reading(), rule(when="claude.five_hour > 80%", clear="< 70%")) == [80]


def test_a_threshold_of_what_remains_is_drawn_as_percent_used():
    assert values(reading(), rule(when="claude.remaining_percent < 25%", clear=None)) == [75]
    series = Series(provider="copilot", window="premium_interactions")
    assert values(premium(30), rule(when="copilot.remaining < 60", clear=None), series=series) == [80]


def test_a_threshold_of_a_balance_is_drawn_as_an_amount():
    series = Series(provider="nano_gpt", window="balance_usd")
    rules = (rule(when="nano_gpt.balance_usd.remaining < $5", clear=None), rule(when="*.session > 80%"))
    assert values(balance(Decimal(12)), *rules, series=series) == [5]


def test_a_rule_about_another_series_or_about_time_draws_nothing():
    assert values(reading(), rule(when="codex.five_hour > 80%"), rule(when="claude.age > 45m", clear=None)) == []


def test_each_level_has_its_line_with_its_severity():
    one = rule().levels[0]
    ladder = replace(
        rule(),
        levels=(
            one,
            Level(severity=Severity.CRITICAL, when=rule(when="claude.five_hour > 95%").levels[0].when, clear=one.clear),
        ),
    )
    found = thresholds.find_threshold_lines(read_state(reading()), [ladder])
    assert [(line.value, line.severity.value) for line in found] == [(80, "warning"), (95, "critical")]
