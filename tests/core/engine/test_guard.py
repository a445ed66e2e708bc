"""A guard holds only if its condition is known to hold for every matching series."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from watcher.core.engine import reset_detection, snapshots
from watcher.core.engine.guard import evaluate_guard
from watcher.core.engine.state import SeriesState, create_series_state
from watcher.core.model import PollFailure, Reading, Series, Snapshot, WindowKind
from watcher.core.rules.parser import parse_condition

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def state(name: str, used: float | None, *, account="", ago=timedelta(minutes=5), **facts) -> SeriesState:
    provider, window = name.split(".")
    kind = WindowKind.SESSION if window == "five_hour" else WindowKind.WEEKLY
    known = {"kind": kind, "used_percent": used, "resets_at": NOW + 2 * HOUR, **facts}
    reading = Reading(window=window, **known)
    snapshot = Snapshot(provider=provider, account=account, account_name=account, at=NOW - ago, readings=(reading,))
    series = Series(provider=provider, account=account, window=window)
    state = reset_detection.apply_reading(create_series_state(series, snapshot.at), reading, snapshot.at, HOUR)
    return SeriesState(
        **{name: getattr(state, name) for name in state.__struct_fields__} | {"primary": kind is WindowKind.SESSION}
    )


CLAUDE, CODEX = state("claude.five_hour", 83.0), state("codex.five_hour", 20.0)
WEEK, CODEX_WEEK = state("claude.seven_day", 97.0), state("codex.weekly", 60.0)
ALL = (CLAUDE, CODEX, WEEK, CODEX_WEEK)


@pytest.mark.parametrize(
    ("condition", "result"),
    [
        ("claude.five_hour < 90%", True),
        ("claude < 80%", False),
        ("claude.five_hour < 90% and codex.weekly < 95%", True),
        ("claude.five_hour < 90% and codex.weekly < 50%", False),
        ("claude.five_hour < 80% or codex.weekly < 95%", True),
        ("*.session < 90%", True),
        ("*.session < 50%", False),  # one of two is not
        ("*.session > 50%", False),
        ("not *.weekly > 95%", False),
        ("claude.seven_day_opus < 90%", None),
        ("claude.five_hour < 80% and claude.seven_day_opus < 90%", False),  # what is known settles it
        ("claude.five_hour < 90% and claude.seven_day_opus < 90%", None),
        ("claude.five_hour < 90% and *.weekly < 95%", False),  # every other series too, not just one
        ("claude.resets_in > 1h", True),
        ("claude.age < 10m", True),
        ("claude.age < 1m", False),
        ("claude.up", True),
        ("copilot.remaining > 20", None),
    ],
)
def test_a_guard_must_hold_for_every_matching_series(condition, result):
    assert evaluate_guard(parse_condition(condition), ALL, NOW, max_age=HOUR).result is result


def test_each_series_has_its_own_answer():
    verdict = evaluate_guard(parse_condition("*.session < 50%"), ALL, NOW, max_age=HOUR)
    assert verdict.series == {CLAUDE.series: False, CODEX.series: True}
    assert verdict.reasons == ()


@pytest.mark.parametrize(
    ("condition", "result"),
    [
        ("copilot.chat < 90%", True),
        ("copilot.chat > 90%", False),
        ("copilot.chat.remaining > 20", True),
        ("copilot.chat.remaining < 0", False),
        ("copilot.chat.projected < 100%", True),
        ("copilot.chat.exhausts_in > 2h", True),
        ("copilot.chat.used < 5", None),
    ],
)
def test_a_window_without_a_limit_counts_as_unused(condition, result):
    chat = state("copilot.chat", None, unlimited=True, resets_at=None)
    assert evaluate_guard(parse_condition(condition), (chat,), NOW, max_age=HOUR).result is result


def test_an_old_reading_is_unknown_and_says_how_old():
    old = state("claude.five_hour", 10.0, ago=3 * HOUR)
    verdict = evaluate_guard(parse_condition("claude < 90%"), (old,), NOW, max_age=HOUR)
    assert (verdict.result, verdict.reasons) == (
        None,
        ("claude.five_hour: last read 3 h ago, longer than the 1 h allowed",),
    )


def test_a_window_that_was_reset_since_is_unknown():
    over = state("claude.five_hour", 10.0, ago=30 * timedelta(minutes=1), resets_at=NOW - 5 * timedelta(minutes=1))
    verdict = evaluate_guard(parse_condition("claude < 90%"), (over,), NOW, max_age=HOUR)
    assert (verdict.result, verdict.reasons) == (
        None,
        ("claude.five_hour: used_percent is not known at present",),
    )


def test_a_failing_provider_is_unknown_with_a_reason_except_for_availability_fields():
    failed = snapshots.mark_failed(
        CLAUDE, PollFailure(provider="claude", at=NOW, kind="expired", message="expired: run `claude`"), HOUR
    )
    verdict = evaluate_guard(parse_condition("claude < 90%"), (failed,), NOW, max_age=HOUR)
    assert (verdict.result, verdict.reasons) == (None, ("claude.five_hour: expired: run `claude`",))
    assert evaluate_guard(parse_condition("claude.up"), (failed,), NOW, max_age=HOUR).result is False


def test_a_selector_that_was_never_read_is_named():
    assert evaluate_guard(parse_condition("claude < 90%"), (), NOW, max_age=HOUR).reasons == ("claude was never read",)
    assert evaluate_guard(parse_condition("*.weekly < 9%"), (), NOW, max_age=HOUR).reasons == (
        "*.weekly was never read",
    )


def test_of_several_accounts_all_must_hold_unless_one_is_named():
    mine = state("claude.five_hour", 10.0, account="me@example.com")
    theirs = state("claude.five_hour", 99.0, account="you@example.com")
    both = (mine, theirs)
    assert evaluate_guard(parse_condition("claude < 90%"), both, NOW, max_age=HOUR).result is False
    assert evaluate_guard(parse_condition("claude[me@example.com] < 90%"), both, NOW, max_age=HOUR).result is True


def test_money_is_compared_as_money():
    balance = state("nano_gpt.balance_usd", None, kind=WindowKind.BALANCE, remaining=Decimal("4.20"), unit="usd")
    assert (
        evaluate_guard(parse_condition("nano_gpt.balance_usd.remaining > $5"), (balance,), NOW, max_age=HOUR).result
        is False
    )
