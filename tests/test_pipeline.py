"""One result, one transaction; and when the machine counts as offline."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from tests.core.samples import routing
from watcher import pipeline
from watcher.core.model import PollFailure, Reading, Snapshot, WindowKind
from watcher.storage.store import Store

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "watcher.db", now=NOW)
    yield store
    store.close()


def received(store, provider, *, kind="", source="api"):
    reading = Reading(window="five_hour", kind=WindowKind.SESSION, used_percent=10.0, source=source)
    store.run_transaction(
        lambda: store.readings.save_result(Snapshot(provider=provider, at=NOW, readings=(reading,))), now=NOW
    )
    if kind:
        failure = PollFailure(provider=provider, at=NOW + timedelta(minutes=5), kind=kind, message="no")
        store.run_transaction(lambda: store.readings.save_result(failure), now=NOW)


def test_a_machine_that_was_never_online_is_not_offline(store):
    assert not pipeline.is_offline(store)


def test_a_local_file_does_not_prove_a_network(store):
    received(store, "claude", kind="offline")
    received(store, "antigravity", source="cache")
    assert pipeline.is_offline(store)


def test_an_expired_login_does_not_hide_that_the_machine_is_offline(store):
    received(store, "claude", kind="offline")
    received(store, "codex", kind="expired")
    assert pipeline.is_offline(store)


def test_one_answer_is_enough_to_be_online(store):
    received(store, "claude", kind="offline")
    received(store, "codex")
    assert not pipeline.is_offline(store)


def test_an_account_without_a_reading_counts_as_remote(store):
    failure = PollFailure(provider="claude", at=NOW, kind="offline", message="no")
    store.run_transaction(lambda: store.readings.save_result(failure), now=NOW)
    assert pipeline.is_offline(store)


def test_messages_name_accounts_as_they_are_called_now(store):
    config = SimpleNamespace(routing=routing())
    for name in ("one@example.com", "Two@Example.com"):
        snapshot = Snapshot(provider="claude", at=NOW, account=name.lower(), account_name=name, readings=())
        store.run_transaction(lambda snapshot=snapshot: store.readings.save_result(snapshot), now=NOW)
    formatter = pipeline.build_routing(store, config).formatter
    assert formatter.multi_account_providers == {"claude"}
    assert formatter.account_names == {("claude", "two@example.com"): "Two@Example.com"}
