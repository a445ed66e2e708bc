from decimal import Decimal

from msgspec.structs import replace

from tests.core.samples import NOW, SERIES, balance, premium, reading, rule
from watcher.core.engine import thresholds
from watcher.core.engine.state import create_series_state
from watcher.core.model import PollFailure, Series, Severity
from watcher.core.rules.rule import Level


def state(read, series=SERIES):
    nothing = PollFailure(provider=series.provider, account=series.account, at=NOW, kind="", message="")
    return replace(create_series_state(series, nothing.at), reading=read, primary=True)


def values(read, *rules, series=SERIES):
    return [line.value for line in thresholds.find_threshold_lines(state(read, series), rules)]


def test_a_percent_is_drawn_where_it_fires_and_not_where_it_clears():
    assert values(reading(), rule(when="claude.five_hour > 80%", clear="< 70%")) == [80]


def test_what_must_be_left_is_drawn_as_what_may_be_used():
    assert values(reading(), rule(when="claude.remaining_percent < 25%", clear=None)) == [75]
    series = Series(provider="copilot", window="premium_interactions")
    assert values(premium(30), rule(when="copilot.remaining < 60", clear=None), series=series) == [80]


def test_of_a_balance_what_must_be_left_is_drawn_itself():
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
    found = thresholds.find_threshold_lines(state(reading()), [ladder])
    assert [(line.value, line.severity.value) for line in found] == [(80, "warning"), (95, "critical")]
