"""An account under another key: everything that is known of it goes along, in every table there is."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

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
from watcher.core.routing.planner import RoutingDecision
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
    state = SeriesState(series=about, episode_at=at, heard_at=at, asked_at=at, reading=reading(used), read_at=at)
    alert = AlertState(
        rule="a",
        series=about,
        fingerprint="f",
        phase=AlertPhase.FIRING,
        severity=Severity.WARNING,
        since=at,
        at=at,
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
                    key=fired.key, channel="h", message=message, reason="above", about=(fired,), created_at=at,
                    next_attempt_at=at, expires_at=at,
                )
            ]
        )  # fmt: skip
        choice = {"at": at, "key": fired.key, "rule": "a", "series": about, "event": AlertEvent.FIRING}
        store.outbox.save_suppressions([RoutingDecision(**choice, channel="h", said=False, reason="snoozed")])
        store.snoozes.save(Snooze(target=f"{provider} {account}", created_at=at, episodes={str(about): 3}))

    store.run_transaction(work, now=at)


def known_of(store, account, provider="claude"):
    """All that is known of an account, with its key left out."""
    path = store.path
    with closing(sqlite3.connect(path)) as file:
        tables = [name for (name,) in file.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        found = {}
        for table in tables:
            columns = [row[1] for row in file.execute(f"PRAGMA table_info({table})")]
            if {"provider", "account"} <= set(columns):
                kept = ", ".join(name for name in columns if name not in ("id", "account"))
                found[table] = file.execute(
                    f"SELECT {kept} FROM {table} WHERE provider = ? AND account = ? ORDER BY 1, 2, 3",
                    (provider, account),
                ).fetchall()
    found["readings"] = [
        list(store.readings.iter_history(each, since=NOW - timedelta(days=1)))
        for each in store.readings.load_series()
        if (each.provider, each.account) == (provider, account)
    ]
    mine = (provider, account)
    about = [each.series for row in store.outbox.load() for each in row.about]
    about += [each.series for each in store.outbox.load_suppressions(since=NOW, rule="a")]
    found["written of"] = [each for each in about if (each.provider, each.account) == mine]
    found["snoozes"] = [
        each.episodes for each in store.snoozes.load() if f"{provider}[{account}]" in str(each.episodes)
    ]
    return {name: repr(rows).replace(account, "KEY") for name, rows in found.items()}


def test_all_that_is_known_goes_along_and_nothing_stays_behind(store):
    for account in (OLD, OTHER):
        live(store, account)
    live(store, OLD, provider="codex")
    before, theirs, codex = known_of(store, OLD), known_of(store, OTHER), known_of(store, OLD, "codex")
    nothing = known_of(store, "nobody")
    assert all(before[name] != nothing[name] for name in nothing), "every table has something to lose"
    assert store.run_transaction(lambda: store.rename_account("claude", OLD, NEW), now=NOW)
    assert known_of(store, NEW) == before
    assert known_of(store, OTHER) == theirs
    assert known_of(store, OLD, "codex") == codex
    assert known_of(store, OLD) == nothing
    memory = store.alerts.load_state()
    assert {each.account for each in memory.series_states if each.provider == "claude"} == {NEW, OTHER}
    assert memory.alert_states["a", series(NEW)].phase is AlertPhase.FIRING


def test_a_key_under_which_something_is_known_is_not_taken(store):
    for account in (OLD, NEW):
        live(store, account)
    before = known_of(store, OLD), known_of(store, NEW)
    assert not store.run_transaction(lambda: store.rename_account("claude", OLD, NEW), now=NOW)
    assert (known_of(store, OLD), known_of(store, NEW)) == before


def test_the_history_of_an_account_that_was_forgotten_under_that_key_stays(store):
    live(store, NEW, at=NOW - timedelta(hours=1), used=40)
    store.run_transaction(lambda: store.forget_account("claude", NEW), now=NOW)
    live(store, OLD)
    store.run_transaction(lambda: store.rename_account("claude", OLD, NEW), now=NOW)
    past = store.readings.iter_history(series(NEW), since=NOW - timedelta(days=1))
    assert [each.used_percent for _, each in past] == [40.0, 81.0]
    assert store.readings.load_series() == [series(NEW), series(NEW, "x")]
