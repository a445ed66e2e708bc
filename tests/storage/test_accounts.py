"""An account under another key, and two accounts that are one: nothing is lost in any table."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from watcher.core.engine.evaluator import EvaluationResult
from watcher.core.engine.state import AlertState, SeriesState
from watcher.core.model import (
    AlertEvent,
    AlertPhase,
    Delivery,
    Message,
    PollFailure,
    Reading,
    Series,
    Severity,
    Snapshot,
    Snooze,
    Transition,
    WindowKind,
)
from watcher.core.routing.planner import Suppression
from watcher.storage.accounts import TOKEN
from watcher.storage.store import Store

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
OLD, NEW, OTHER = "me@x.io", "uuid-1", "you@x.io"


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "watcher.db", now=NOW)
    yield made
    made.close()


def series(account, window="five_hour", provider="claude"):
    return Series(provider=provider, account=account, window=window)


def reading(used, window="five_hour"):
    return Reading(window=window, kind=WindowKind.SESSION, label="5-hour window", used_percent=float(used))


def live(store, account, at=NOW, used=81, provider="claude"):
    """A reading, a failure after it, an alert that fires, its message, and why another was not sent."""
    about = series(account, provider=provider)
    fired = Transition(
        at=at,
        rule="a",
        series=about,
        episode=0,
        event=AlertEvent.FIRING,
        severity=Severity.WARNING,
        reason="above",
        since=at,
    )
    message = Message(
        id=fired.key,
        thread=fired.alert_id,
        event="firing",
        severity=Severity.WARNING,
        title="t",
        body="b",
        at=at,
        since=at,
    )
    state = SeriesState(series=about, episode_at=at, last_seen_at=at, polled_at=at, reading=reading(used), read_at=at)
    alert = AlertState(
        rule="a",
        series=about,
        fingerprint="f",
        phase=AlertPhase.FIRING,
        severity=Severity.WARNING,
        since=at,
        changed_at=at,
        episode=0,
    )

    def work():
        store.readings.save_result(
            Snapshot(provider=provider, account=account, at=at, readings=(reading(used), reading(1, "x")))
        )
        store.readings.save_result(
            PollFailure(provider=provider, account=account, at=at + timedelta(minutes=1), kind="server", message="m")
        )
        store.alerts.save_evaluation(
            EvaluationResult(series_states=(state,), alert_states=(alert,), transitions=(fired,))
        )
        store.outbox.enqueue(
            [
                Delivery(
                    key=fired.key, channel="h", message=message, reason="above", transitions=(fired,), created_at=at,
                    next_attempt_at=at, expires_at=at,
                )
            ]
        )  # fmt: skip
        choice = {
            "decided_at": at,
            "transition_key": fired.key,
            "rule": "a",
            "series": about,
            "event": AlertEvent.FIRING,
        }
        store.outbox.save_suppressions([Suppression(**choice, channel="h", reason="snoozed")])
        store.snoozes.save(Snooze(target=f"{provider} {account}", created_at=at, episodes={str(about): 3}))
        store.accounts.save_request(provider, account, "token", at)
        store.accounts.save_alias(provider, account, TOKEN, f"token of {account}")

    store.run_transaction(work, now=at)


def known_of(store, account, provider="claude"):
    """All that is known of an account, as the store gives it."""
    mine = (provider, account)

    def is_mine(series):
        return (series.provider, series.account) == mine

    state, since = store.alerts.load_state(), NOW - timedelta(days=1)
    deliveries = store.outbox.load()
    found = {
        "account": [each for each in store.accounts.load() if (each.provider, each.account) == mine],
        "series": [each for each in state.series_states.values() if is_mine(each.series)],
        "alerts": [each for each in state.alert_states.values() if is_mine(each.series)],
        "transitions": [each for each in store.alerts.load_transitions(since=since) if is_mine(each.series)],
        "deliveries": [one for each in deliveries for one in each.transitions if is_mine(one.series)],
        "suppressed": [
            replace(each, transition_key="")
            for each in store.outbox.load_suppressions(since=since, rule="a")
            if is_mine(each.series)
        ],
        "failures": [
            each for each in store.readings.load_failures(since=since) if (each.provider, each.account) == mine
        ],
        "readings": [
            list(store.readings.iter_history(each, since=since))
            for each in store.readings.load_series()
            if is_mine(each)
        ],
        "snoozes": [each.episodes for each in store.snoozes.load() if f"{provider}[{account}]" in str(each.episodes)],
        "request": store.accounts.load_request(provider, account),
        "aliases": [value for value, key in store.accounts.load_aliases(provider, TOKEN).items() if key == account],
    }
    return {
        name: repr(rows).replace(f"account='{account}'", "KEY").replace(f"[{account}]", "KEY")
        for name, rows in found.items()
    }


def test_a_renamed_account_keeps_everything(store):
    for account in (OLD, OTHER):
        live(store, account)
    live(store, OLD, provider="codex")
    before, theirs, codex = known_of(store, OLD), known_of(store, OTHER), known_of(store, OLD, "codex")
    nothing = known_of(store, "nobody")
    assert all(before[name] != nothing[name] for name in nothing), "every table has something to lose"
    store.run_transaction(lambda: store.accounts.rename("claude", OLD, NEW), now=NOW)
    assert known_of(store, NEW) == before
    assert known_of(store, OTHER) == theirs
    assert known_of(store, OLD, "codex") == codex
    assert known_of(store, OLD) == nothing
    memory = store.alerts.load_state()
    assert {each.account for each in memory.series_states if each.provider == "claude"} == {NEW, OTHER}
    assert memory.alert_states["a", series(NEW)].phase is AlertPhase.FIRING


def test_joined_accounts_have_the_readings_of_both(store):
    live(store, OLD, at=NOW - timedelta(hours=1), used=40)
    live(store, NEW)
    before = known_of(store, NEW)
    store.run_transaction(lambda: store.accounts.join("claude", OLD, NEW), now=NOW)
    after = known_of(store, NEW)
    assert {name for name in before if after[name] != before[name]} == {
        "transitions", "deliveries", "suppressed", "readings", "aliases",
    }  # fmt: skip
    history = store.readings.iter_history(series(NEW), since=NOW - timedelta(days=1))
    assert [each.used_percent for _, each in history] == [40.0, 81.0]
    assert [each.account for each in store.accounts.load()] == [NEW]
    assert known_of(store, OLD) == known_of(store, "nobody")
    assert set(store.alerts.load_state().alert_states) == {("a", series(NEW))}


def test_the_history_of_an_earlier_account_with_that_key_is_kept(store):
    live(store, NEW, at=NOW - timedelta(hours=1), used=40)
    store.run_transaction(lambda: store.execute("UPDATE account SET snapshot = NULL, polled_at = NULL"), now=NOW)
    live(store, OLD)
    store.run_transaction(lambda: store.accounts.rename("claude", OLD, NEW), now=NOW)
    past = store.readings.iter_history(series(NEW), since=NOW - timedelta(days=1))
    assert [each.used_percent for _, each in past] == [40.0, 81.0]
    assert store.readings.load_series() == [series(NEW), series(NEW, "x")]


def test_what_was_noted_while_the_clock_was_ahead_is_dated_to_now(store):
    ahead = NOW + timedelta(days=1)
    failed = PollFailure(
        provider="claude",
        account="a",
        at=ahead,
        kind="rate_limited",
        message="429",
        retry_at=ahead + timedelta(minutes=5),
    )
    store.readings.save_result(Snapshot(provider="claude", account="a", at=ahead))
    store.readings.save_result(failed)
    store.readings.save_result(Snapshot(provider="codex", at=NOW - timedelta(hours=1)))
    store.accounts.correct_clock(NOW)
    claude, codex = store.accounts.load()
    assert (claude.polled_at, claude.failing_since, claude.snapshot.at) == (NOW, NOW, NOW)
    assert (claude.failure.at, claude.failure.retry_at) == (NOW, NOW + timedelta(minutes=5))
    assert codex.polled_at == NOW - timedelta(hours=1)
