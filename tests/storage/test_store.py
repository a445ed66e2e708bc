"""The store on real files: whole transactions, retention, a damaged file."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from tests.world import has_mode
from watcher.core.model import (
    AlertEvent,
    Delivery,
    DeliveryState,
    Message,
    PollFailure,
    Reading,
    Series,
    Severity,
    Snapshot,
    WindowKind,
)
from watcher.core.routing.planner import Suppression
from watcher.errors import StoreError
from watcher.storage.store import Store

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
M, H, D = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def snapshot(at=NOW, percent=50.0, account="", **fields):
    reading = Reading(
        window="five_hour", kind=WindowKind.SESSION, label="5-hour window", used_percent=percent, **fields
    )
    return Snapshot(provider="claude", account=account, at=at, readings=(reading,))


def delivery(key="k", channel="hook", at=NOW):
    message = Message(
        id=key, thread=key, event="firing", severity=Severity.WARNING, title="t", body="b", at=at, since=at
    )
    return Delivery(
        key=key, channel=channel, message=message, reason="above", created_at=at, next_attempt_at=at, expires_at=at + D
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "watcher.db"


@pytest.fixture
def store(path):
    store = Store(path, now=NOW)
    yield store
    store.close()


def test_the_folder_and_its_files_are_the_owners_alone(store, path):
    store.run_transaction(lambda: store.readings.save_result(snapshot()), now=NOW)
    assert has_mode(path.parent, 0o700)
    assert all(has_mode(each, 0o600) for each in path.parent.iterdir())


@pytest.mark.posix
@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_file_that_is_none_is_refused_at_once(path, kind):
    path.parent.mkdir(mode=0o700)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path.parent / "elsewhere")
    with pytest.raises(StoreError, match=str(path)):
        Store(path, now=NOW)
    assert not (path.parent / "elsewhere").exists()


@pytest.mark.usefixtures("store")
def test_every_table_is_strict(path):
    ask = "SELECT name, strict FROM pragma_table_list WHERE schema = 'main'"
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute(ask).fetchall()
    assert [name for name, strict in tables if not strict and not name.startswith("sqlite_")] == []


@pytest.mark.parametrize("blocked", [None, False, True])
def test_a_reading_comes_back_as_it_was(store, blocked):
    reading = Reading(
        window="balance_usd",
        kind=WindowKind.BALANCE,
        label="balance",
        remaining=Decimal("129.46956147"),
        unit="usd",
        resets_at=NOW + D,
        window_seconds=86400,
        unlimited=True,
        stale=True,
        low_confidence=True,
        blocked=blocked,
        source="cache",
    )
    news = Snapshot(provider="nano_gpt", at=NOW, readings=(reading,))
    store.run_transaction(lambda: store.readings.save_result(news), now=NOW)
    series = Series(provider="nano_gpt", window="balance_usd")
    assert list(store.readings.iter_history(series, since=NOW - H)) == [(NOW, reading)]
    assert store.accounts.load()[0].snapshot == news


def test_a_failure_leaves_the_last_good_snapshot_and_counts(store):
    failure = PollFailure(provider="claude", at=NOW + M, kind="timeout", message="no answer")
    store.run_transaction(lambda: store.readings.save_result(snapshot()), now=NOW)
    store.run_transaction(lambda: store.readings.save_result(failure), now=NOW)
    store.run_transaction(lambda: store.readings.save_result(failure), now=NOW)
    (account,) = store.accounts.load()
    assert account.snapshot == snapshot()
    assert (account.failure, account.failure_count, account.failing_since) == (failure, 2, NOW + M)
    store.run_transaction(lambda: store.readings.save_result(snapshot(NOW + H)), now=NOW)
    (account,) = store.accounts.load()
    assert (account.failure, account.failure_count, account.failing_since) == (None, 0, None)


def test_after_ninety_days_one_reading_in_three_hours_is_kept(store):
    def fill():
        for minute in range(0, 360, 10):
            store.readings.save_result(snapshot(NOW + minute * M, percent=minute / 4))

    series = Series(provider="claude", window="five_hour")
    store.run_transaction(fill, now=NOW)
    for days, kept in ((15, 6), (89, 6), (92, 2), (367, 0)):
        later = NOW + days * D
        store.run_transaction(lambda later=later: store.delete_old_records(later), now=later)
        assert len(list(store.readings.iter_history(series, since=NOW - H))) == kept


def test_the_last_reading_of_each_hour_is_enough_for_an_overview(store):
    def fill():
        for minute in range(0, 180, 10):
            store.readings.save_result(snapshot(NOW + minute * M, percent=minute / 2))

    store.run_transaction(fill, now=NOW)
    found = store.readings.iter_history(Series(provider="claude", window="five_hour"), since=NOW - H, hourly=True)
    assert [(at, reading.used_percent) for at, reading in found] == [
        (NOW + 50 * M, 25.0),
        (NOW + 110 * M, 55.0),
        (NOW + 170 * M, 85.0),
    ]


def test_a_transaction_that_fails_leaves_nothing(store):
    def work():
        store.readings.save_result(snapshot())
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        store.run_transaction(work, now=NOW)
    assert store.accounts.load() == []


def test_a_delivery_with_a_known_key_is_not_queued_twice(store):
    store.run_transaction(lambda: store.outbox.enqueue([delivery(), delivery(), delivery(channel="other")]), now=NOW)
    assert [each.channel for each in store.outbox.load()] == ["hook", "other"]


def test_what_was_sent_leaves_the_outbox_and_keeps_its_key(store):
    store.run_transaction(lambda: store.outbox.enqueue([delivery()]), now=NOW)
    (queued,) = store.outbox.load()
    sent = msgspec.structs.replace(queued, state=DeliveryState.SENT)
    store.run_transaction(lambda: store.outbox.update([sent]), now=NOW)
    store.run_transaction(lambda: store.outbox.enqueue([delivery()]), now=NOW)
    assert store.outbox.load() == []
    assert store.outbox.load_finished(DeliveryState.SENT, since=NOW - H) == [sent]


def test_raw_readings_become_hourly_ones_after_two_weeks_and_go_after_a_year(store):
    def fill():
        for minute in range(0, 180, 10):
            store.readings.save_result(snapshot(NOW + minute * M, percent=minute / 2))

    series = Series(provider="claude", window="five_hour")
    store.run_transaction(fill, now=NOW)
    later = NOW + 15 * D
    store.run_transaction(lambda: store.delete_old_records(later), now=later)
    kept = list(store.readings.iter_history(series, since=NOW - H))
    assert [at for at, _ in kept] == [NOW + 50 * M, NOW + 110 * M, NOW + 170 * M]
    assert [reading.used_percent for _, reading in kept] == [25.0, 55.0, 85.0]
    store.run_transaction(lambda: store.delete_old_records(NOW + 366 * D), now=NOW)
    assert list(store.readings.iter_history(series, since=NOW - H)) == []


def silence(at, rule="mine"):
    series = Series(provider="claude", window="five_hour")
    return Suppression(
        decided_at=at,
        transition_key="k",
        rule=rule,
        series=series,
        event=AlertEvent.FIRING,
        channel="hook",
        reason="snoozed",
    )


def test_a_suppression_is_kept_under_its_rule(store):
    store.run_transaction(lambda: store.outbox.save_suppressions([silence(NOW)]), now=NOW)
    assert store.outbox.load_suppressions(since=NOW, rule="mine") == [silence(NOW)]
    assert store.outbox.load_suppressions(since=NOW, rule="other") == []


def test_suppressions_are_deleted_after_two_weeks(store):
    store.run_transaction(lambda: store.outbox.save_suppressions([silence(NOW), silence(NOW + H)]), now=NOW)
    store.run_transaction(lambda: store.delete_old_records(NOW + 14 * D + M), now=NOW)
    assert [each.decided_at for each in store.outbox.load_suppressions(since=NOW, rule="mine")] == [NOW + H]


def test_deleting_old_records_twice_changes_nothing(store):
    store.run_transaction(lambda: [store.readings.save_result(snapshot(NOW + i * M)) for i in range(90)], now=NOW)
    for _ in range(2):
        store.run_transaction(lambda: store.delete_old_records(NOW + 15 * D), now=NOW)
    assert len(list(store.readings.iter_history(Series(provider="claude", window="five_hour"), since=NOW - H))) == 2


def test_a_reader_sees_whole_transactions_while_a_writer_writes(store, path):
    store.run_transaction(lambda: store.readings.save_result(snapshot()), now=NOW)
    reader = Store(path, now=NOW, read_only=True)

    def work():
        store.readings.save_result(snapshot(NOW + H, percent=90))
        return [account.snapshot.readings[0].used_percent for account in reader.accounts.load()]

    assert store.run_transaction(work, now=NOW) == [50.0]
    assert reader.accounts.load()[0].snapshot.readings[0].used_percent == 90.0
    reader.close()


def test_a_missing_store_says_what_to_do(path):
    with pytest.raises(StoreError, match="run `watcher run` or `watcher check` first"):
        Store(path, now=NOW, read_only=True)


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_damaged_file_is_renamed_with_one_notice(path, content):
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    store = Store(path, now=NOW)
    store.run_transaction(lambda: store.readings.save_result(snapshot()), now=NOW)
    assert store.accounts.load()
    assert len(store.notices) == 1
    assert "renamed to watcher.db.damaged-20260302T090000Z" in store.notices[0]
    assert (path.parent / "watcher.db.damaged-20260302T090000Z").read_bytes() == content
    store.close()


def test_a_file_damaged_while_it_is_open_is_replaced_and_the_work_repeated(store, path):
    store.run_transaction(lambda: [store.readings.save_result(snapshot(NOW + i * M)) for i in range(2000)], now=NOW)
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    store._db.execute("PRAGMA cache_size = 0")
    store.run_transaction(lambda: store.readings.save_result(snapshot(NOW + D, percent=77)), now=NOW)
    assert store.accounts.load()[0].snapshot.readings[0].used_percent == 77
    assert len(store.notices) == 1


def test_a_full_disk_is_survived_in_memory(path):
    store = Store(path, now=NOW, memory_fallback=True)
    store.run_transaction(lambda: store.readings.save_result(snapshot()), now=NOW)
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    for i in range(300):
        store.run_transaction(lambda i=i: store.outbox.enqueue([delivery(key=f"alert {i}")]), now=NOW)
    assert store.uses_memory
    assert len(store.notices) == 1
    assert len(store.outbox.load()) == 300
    assert store.accounts.load()[0].snapshot == snapshot()
    store.return_to_disk(now=NOW)
    assert not store.uses_memory
    store.close()
    again = Store(path, now=NOW)
    assert len(again.outbox.load()) == 300
    again.close()


def test_a_folder_that_cannot_be_written_says_what_to_do(unprivileged):
    with unprivileged(), pytest.raises(StoreError, match="make the folder writable or set WATCHER_STATE_DIR"):
        Store(Path("/usr/nobody-may-write-here/watcher.db"), now=NOW)


@pytest.mark.posix
def test_a_process_killed_in_a_transaction_leaves_the_one_before(path):
    script = f"""
import os, signal
from pathlib import Path
from tests.storage.test_store import NOW, Store, snapshot
store = Store(Path({str(path)!r}), now=NOW)
store.run_transaction(lambda: store.readings.save_result(snapshot(percent=1.0)), now=NOW)
def work():
    store.readings.save_result(snapshot(percent=2.0))
    os.kill(os.getpid(), signal.SIGKILL)
store.run_transaction(work, now=NOW)
"""
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", script], cwd=root, env={**os.environ, "PYTHONPATH": root}, check=False)
    assert done.returncode == -9
    store = Store(path, now=NOW)
    assert store.accounts.load()[0].snapshot.readings[0].used_percent == 1.0
    store.close()


def replace_by_text(path):
    path.unlink()
    path.write_text("not a database")


@pytest.mark.posix
@pytest.mark.parametrize(
    "remove",
    [
        lambda path: path.unlink(),
        lambda path: [each.unlink() for each in path.parent.glob("watcher.db*")],
        lambda path: shutil.rmtree(path.parent),
        replace_by_text,
    ],
)
def test_a_file_that_vanished_is_written_again_from_memory_at_the_next_write(path, remove):
    with closing(Store(path, now=NOW, memory_fallback=True)) as store:
        store.run_transaction(lambda: store.facts.save("a", "before", NOW), now=NOW)
        remove(path)
        store.run_transaction(lambda: store.facts.save("b", "after", NOW), now=NOW)
        store.run_transaction(lambda: store.facts.save("c", "later", NOW), now=NOW)
        assert ["removed or replaced" in each for each in store.notices] == [True]
        assert not store.uses_memory
    assert has_mode(path, 0o600)
    with closing(Store(path, now=NOW, read_only=True)) as store:
        assert [store.facts.load(name)[0] for name in "abc"] == ["before", "after", "later"]


@pytest.mark.posix
def test_what_is_in_the_place_of_the_file_is_set_aside(path):
    with closing(Store(path, now=NOW, memory_fallback=True)) as store:
        replace_by_text(path)
        store.restore_file(now=NOW)
    aside = [each for each in path.parent.glob("*.damaged-*") if not each.name.endswith(("-wal", "-shm"))]
    assert [each.read_text("utf-8") for each in aside] == ["not a database"]


@pytest.mark.posix
def test_a_command_leaves_the_file_to_the_process_that_holds_the_lock(path):
    with closing(Store(path, now=NOW)) as store:
        path.unlink()
        store.restore_file(now=NOW)
        assert not path.exists()
