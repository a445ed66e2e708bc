from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from watcher.core.engine.evaluator import evaluate_poll
from watcher.core.engine.state import EngineState
from watcher.core.engine.thresholds import SeriesOutlook, build_outlook
from watcher.core.model import Reading, Series, Snapshot, WindowKind
from watcher.core.rules.loader import parse_rules

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
M = timedelta(minutes=1)


def session(used: float) -> Reading:
    ends = NOON + timedelta(hours=3)
    return Reading(
        window="five_hour", kind=WindowKind.SESSION, used_percent=used, resets_at=ends, window_seconds=18_000
    )


def seen(
    text: str, *readings: Reading, provider: str = "claude", polls: int = 1
) -> tuple[EngineState, list[SeriesOutlook]]:
    """What the lookout sees after so many equal polls, five minutes apart."""
    rules = parse_rules(text, "rules.toml")
    memory = EngineState({}, {})
    for number in range(polls):
        at = NOON + 5 * M * number
        judged = evaluate_poll(
            rules, memory, Snapshot(provider=provider, at=at, readings=readings), at, every=5 * M, tz=UTC
        )
        series = {**memory.series_states, **{state.series: state for state in judged.series_states}}
        memory = EngineState(
            series, {**memory.alert_states, **{(alert.rule, alert.series): alert for alert in judged.alert_states}}
        )
    return memory, list(build_outlook(memory, rules, provider, "").series_outlooks)


def rule(when: str, more: str = "") -> str:
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
def test_the_percents_that_matter_are_those_of_the_rules_that_match(when: str, thresholds: tuple[float, ...]) -> None:
    _, (watch,) = seen(rule(when), session(40))
    assert watch.thresholds == thresholds


def test_a_clear_is_no_threshold_ahead() -> None:
    _, (watch,) = seen(rule("claude.five_hour > 80%", "clear = '< 70%'"), session(40))
    assert watch.thresholds == (80.0,)


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
    text = rule("copilot.remaining < 0") + rule("copilot.used > 270").replace("'r'", "'s'")
    _, (watch,) = seen(text, premium, provider="copilot")
    assert watch.thresholds == (90.0, 100.0)


def test_the_shortest_silence_that_a_rule_speaks_of_is_known() -> None:
    text = rule("*.age > 45m") + rule("30m < claude.five_hour.age").replace("'r'", "'s'")
    assert seen(text, session(40))[1][0].fresh_for == 30 * M
    assert seen(rule("codex.five_hour.age > 45m"), session(40))[1][0].fresh_for is None


def test_what_never_changed_stands_still_since_it_was_first_seen() -> None:
    _, (watch,) = seen(rule("*.age > 45m"), session(40), polls=4)
    assert watch.changed_at == NOON


def test_a_pending_alert_is_told() -> None:
    memory, (watch,) = seen(rule("claude.five_hour > 80%", "for = '30m'"), session(85))
    assert watch.pending
    assert Series("claude", "five_hour") in memory.series_states


def test_another_account_is_not_looked_at() -> None:
    memory, _ = seen(rule("claude.five_hour > 80%"), session(85))
    assert build_outlook(memory, (), "claude", "somebody@else").series_outlooks == ()
