"""An older database is brought up to date: as a whole or not at all, quickly, with nothing lost."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from watcher.core.model import AlertPhase, DeliveryState, Series
from watcher.errors import StoreError
from watcher.storage import database
from watcher.storage.accounts import PLACE, TOKEN
from watcher.storage.database import FORMAT
from watcher.storage.store import Store

NOW = datetime(2026, 3, 6, 9, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
M = timedelta(minutes=1)
ROOT = Path(__file__).parents[2]
LAST_RELEASE = ROOT / "tests/blackbox/data/old/watcher.db"
"""Four days of checks, written by the last version (format 3)."""


@pytest.fixture
def path(tmp_path):
    copy = tmp_path / "watcher.db"
    shutil.copyfile(LAST_RELEASE, copy)
    return copy


def query(path, sql, *parameters):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql, parameters).fetchall()


def make_older(path, version):
    """Turn a file of format 3 into one of an earlier format, or an empty one."""
    if version == 0:
        path.unlink()
        return
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TABLE outage") if version < 3 else None
        connection.execute("DROP TABLE silence") if version < 2 else None
        connection.execute(f"PRAGMA user_version = {version}")


def describe(path):
    """Columns, types and keys of every table, and every index."""
    names = [name for (name,) in query(path, "SELECT name FROM sqlite_schema ORDER BY name")]
    return {
        name: query(path, f"PRAGMA table_info({name})") or query(path, f"PRAGMA index_info({name})") for name in names
    }


@pytest.mark.parametrize("version", range(FORMAT))
def test_every_earlier_format_is_brought_up_to_date(path, tmp_path, version):
    make_older(path, version)
    Store(path, now=NOW).close()
    assert query(path, "PRAGMA user_version") == [(FORMAT,)]
    assert query(path, "PRAGMA foreign_key_check") == []
    Store(tmp_path / "new.db", now=NOW).close()
    assert describe(path) == describe(tmp_path / "new.db")


@pytest.mark.parametrize("version", [1, 2])
def test_the_earliest_formats_keep_the_begin_of_the_present_failure(path, version):
    make_older(path, version)
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("UPDATE account SET failing_since = asked_at - 60000 WHERE failure IS NOT NULL")
    with closing(Store(path, now=NOW)) as store:
        first, second = store.readings.load_failures(since=LONG_AGO)
    assert (second.at - first.at, second.kind) == (M, "rate_limited")


def test_every_record_of_the_last_release_can_be_read(path):
    counted = {
        table: query(path, f"SELECT count(*) FROM {table}")[0][0]
        for table in ("reading", "alert", "transition", "silence", "snooze", "stop", "cooldown", "account", "poll")
    }
    deliveries = dict(query(path, "SELECT key, record FROM delivery"))
    alerts = {
        tuple(key): state for *key, state in query(path, "SELECT rule, provider, account, window, state FROM alert")
    }
    states = dict(query(path, "SELECT provider || account || window, state FROM series WHERE state IS NOT NULL"))
    facts = query(path, "SELECT * FROM fact WHERE name NOT LIKE 'logins %' ORDER BY name")
    with closing(Store(path, now=NOW)) as store:
        readings = [list(store.readings.iter_history(each, since=LONG_AGO)) for each in store.readings.load_series()]
        found = [each for state in DeliveryState for each in store.outbox.load_finished(state, since=LONG_AGO)]
        rules = {rule for (rule,) in query(path, "SELECT DISTINCT rule FROM suppression")}
        engine = store.alerts.load_state()
        assert {
            "reading": sum(map(len, readings)),
            "alert": len(engine.alert_states),
            "transition": len(store.alerts.load_transitions(since=LONG_AGO)),
            "silence": sum(len(store.outbox.load_suppressions(since=LONG_AGO, rule=rule)) for rule in rules),
            "snooze": len(store.snoozes.load()),
            "stop": len(store.outbox.load_stops()),
            "cooldown": len(store.polls.load_cooldowns()),
            "account": len(store.accounts.load()),
            "poll": len(store.polls.load_next_polls()),
        } == counted
        assert {each.key for each in found} == set(deliveries)
        for each in found:
            old = json.loads(deliveries[each.key])
            assert (each.last_response, each.was_in_doubt) == (old["outcome"], old["doubted"])
            assert [(one.series, one.event, one.occurrence, one.notified_severities) for one in each.transitions] == [
                (Series(**one["series"]), one["event"], one["nth"], tuple(one["heard"])) for one in old["about"]
            ]
        assert store.notices == []
    assert query(path, "SELECT * FROM fact ORDER BY name") == facts
    for series, state in engine.series_states.items():
        old = json.loads(states[f"{series.provider}{series.account}{series.window}"])
        assert (state.series, state.validity, state.episode, state.suspect_count) == (
            Series(**old["series"]), old["standing"], old["episode"], old["doubts"],
        )  # fmt: skip
        assert [state.last_seen_at, state.polled_at] == [
            datetime.fromisoformat(old[name]) for name in ("heard_at", "asked_at")
        ]
    for (rule, series), alert in engine.alert_states.items():
        old = json.loads(alerts[rule, series.provider, series.account, series.window])
        assert (alert.fingerprint, alert.level_index, alert.notified_level_index, alert.fired_count) == (
            old["fingerprint"], old["step"], old["told"], old["fired"],
        )  # fmt: skip
        assert list(alert.notified_severities) == old["heard"]


def test_an_alert_that_fired_silently_while_the_machine_was_offline_is_pending(path):
    with closing(sqlite3.connect(path)) as old, old:
        firing = "phase = 'firing' AND rule = (SELECT min(rule) FROM alert WHERE phase = 'firing')"
        old.execute(f"UPDATE alert SET state = json_set(state, '$.muted', json('true')) WHERE {firing}")
    with closing(Store(path, now=NOW)) as store:
        [alert] = [each for each in store.alerts.load_state().alert_states.values() if each.inhibited]
    assert (alert.phase, alert.severity, alert.notified_level_index) == (AlertPhase.PENDING, None, -1)


def test_requests_and_places_of_logins_are_kept(path):
    old = dict(query(path, "SELECT substr(name, 8), value FROM fact WHERE name LIKE 'logins %'"))
    with closing(Store(path, now=NOW)) as store:
        for provider, text in old.items():
            known = json.loads(text)
            for key, token in known["asked_with"].items():
                at = datetime.fromisoformat(known["asked_at"][key])
                asked_at, asked_with = store.accounts.load_request(provider, key)
                assert (asked_with, abs(asked_at - at) < timedelta(milliseconds=2)) == (token, True)
            place = [place for place, key in store.accounts.load_aliases(provider, PLACE).items() if key == ""]
            assert place == [known["nameless"]] or "" not in known["asked_with"]


def test_owners_of_tokens_snoozed_episodes_and_each_failed_poll_are_kept(path):
    began = NOW - timedelta(hours=2)
    milliseconds = int(began.timestamp() * 1000)
    login = {
        "nameless": "place",
        "owners": {"t1": "Me@x.io", "t2": "", "t3": "nobody@x.io"},
        "asked_with": {"": "t2"},
        "asked_at": {"": "2026-03-06T08:00:00Z"},
    }
    snooze = {"target": "claude", "created_at": "2026-03-06T08:00:00Z", "episodes": {"claude[id-1].five_hour": 3}}
    with closing(sqlite3.connect(path)) as old, old:
        for table in ("account", "series", "outage", "snooze", "alert", "delivery", "transition", "silence", "fact"):
            old.execute(f"DELETE FROM {table}")
        for key, name in (("", ""), ("id-1", "me@x.io")):
            snapshot = json.dumps(
                {"provider": "claude", "account": key, "account_name": name, "at": "2026-03-06T08:00:00Z"}
            )
            old.execute("INSERT INTO account VALUES ('claude', ?, ?, NULL, NULL, 0, 1)", (key, snapshot))
            old.execute(
                "INSERT INTO series VALUES (NULL, 'claude', ?, 'five_hour', 'session', '', '', NULL, NULL)", (key,)
            )
        outage = ("claude", "id-1", milliseconds, milliseconds + 900_000, "timeout", "no", None, "300000 600000")
        old.execute("INSERT INTO outage VALUES (?, ?, ?, ?, ?, ?, ?, ?)", outage)
        old.execute("INSERT INTO fact VALUES ('logins claude', ?, 1)", (json.dumps(login),))
        old.execute("INSERT INTO snooze VALUES ('claude', ?)", (json.dumps(snooze),))
    with closing(Store(path, now=NOW)) as store:
        assert [each.at for each in store.readings.load_failures(since=LONG_AGO)] == [
            began, began + 5 * M, began + 15 * M,
        ]  # fmt: skip
        assert store.accounts.load_aliases("claude", TOKEN) == {"t1": "id-1", "t2": ""}
        assert store.accounts.load_aliases("claude", PLACE) == {"place": ""}
        [kept] = store.snoozes.load()
        assert (kept.target, kept.episodes) == ("claude", {"claude[id-1].five_hour": 3})


@pytest.mark.parametrize("table", ["account", "series", "alert", "delivery", "silence", "snooze", "fact"])
def test_a_record_that_cannot_be_read_loses_no_other(path, table):
    column = {"account": "snapshot", "series": "state", "alert": "state", "fact": "value"}.get(table, "record")
    with closing(sqlite3.connect(path)) as old, old:
        first = f"(SELECT min({column}) FROM {table} WHERE {column} LIKE '{{%')"
        assert old.execute(f"UPDATE {table} SET {column} = '{{torn' WHERE {column} = {first}").rowcount == 1
    with closing(Store(path, now=NOW)) as store:
        assert len(store.accounts.load()) == 8
        assert len(store.alerts.load_state().alert_states) == 9 - (table == "alert")
        assert len(store.snoozes.load()) == 2 - (table == "snooze")


def dump(path):
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_a_migration_that_fails_midway_changes_nothing_and_is_repeated(path, monkeypatch):
    before, calls = dump(path), []

    def fail(kind, text):
        calls.append(kind)
        if kind == "Snooze":
            raise ValueError("in the middle")
        return text

    with monkeypatch.context() as broken:
        broken.setattr(database, "_convert_record", fail)
        with pytest.raises(StoreError):
            Store(path, now=NOW)
    assert len(set(calls)) > 5
    assert dump(path) == before
    with closing(Store(path, now=NOW)) as store:
        assert len(store.accounts.load()) == 8


@pytest.mark.posix
def test_a_process_killed_in_a_migration_leaves_the_older_file(path):
    before = dump(path)
    script = f"""
import os, signal
from datetime import UTC, datetime
from pathlib import Path
from watcher.storage import database
from watcher.storage.store import Store
convert = database._convert_record
def kill(kind, text):
    if kind == "Snooze":
        os.kill(os.getpid(), signal.SIGKILL)
    return convert(kind, text)
database._convert_record = kill
Store(Path({str(path)!r}), now=datetime.now(UTC))
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=env, check=False)
    assert done.returncode == -signal.SIGKILL
    assert dump(path) == before
    with closing(Store(path, now=NOW)) as store:
        assert len(store.alerts.load_transitions(since=LONG_AGO)) == 33


def test_a_command_that_only_reads_brings_the_file_up_to_date(path):
    with closing(Store(path, now=NOW, read_only=True)) as store:
        assert len(store.accounts.load()) == 8
    assert query(path, "PRAGMA user_version") == [(FORMAT,)]


def test_a_reader_that_cannot_write_says_what_to_run(path, monkeypatch):
    def refuse(_store):
        raise StoreError("cannot write")

    monkeypatch.setattr(Store, "_open", refuse)
    with pytest.raises(StoreError, match="written by an older version of this program: run `watcher check` once"):
        Store(path, now=NOW, read_only=True)


def test_a_newer_format_is_left_alone(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    for read_only in (False, True):
        with pytest.raises(StoreError, match="written by a newer version of this program"):
            Store(path, now=NOW, read_only=read_only)


class OvertakenConnection:
    """A connection that another process overtakes whenever this one has looked which format the file has."""

    def __init__(self, connection, overtake):
        self.connection, self.overtake = connection, overtake

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def execute(self, sql):
        found = self.connection.execute(sql)
        if sql != "PRAGMA user_version":
            return found
        version = found.fetchone()
        self.overtake()
        return self.connection.execute(f"SELECT {version[0]}")


def test_two_processes_that_migrate_a_file_at_once_do_it_once(path, tmp_path):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        store = Store(tmp_path / "other.db", now=NOW)
        store._migrate(OvertakenConnection(connection, lambda: Store(path, now=NOW).close()))
        store.close()
        assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT,)


def test_a_hundred_thousand_readings_are_migrated_in_a_moment(path):
    with closing(sqlite3.connect(path)) as old, old:
        rows = ((1 + number % 5, number, 50.0) for number in range(100_000))
        old.executemany("INSERT INTO reading VALUES (?, ?, ?, NULL, NULL, NULL, NULL, 0, 'api')", rows)
    began = time.process_time()
    Store(path, now=NOW).close()
    assert time.process_time() - began < 1, "readings hang on the number of their series and stay where they are"
    assert query(path, "SELECT count(*) FROM reading") == [(101_595,)]
