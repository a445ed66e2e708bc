"""The store: the open database with its tables, grouped in attributes.

    store.accounts   load, find, rename, join; requests and aliases
    store.readings   save_result, load_series, iter_history, load_failures, load_poll_results
    store.alerts     load_state, save_evaluation, load_transitions
    store.outbox     load, find, load_finished, enqueue, update; stopped channels, suppressions
    store.snoozes    load, save, delete
    store.polls      cooldowns, next polls; correct_clock
    store.facts      load, save: single facts, such as the heartbeat

Methods that read need no transaction. Call those that change something inside `store.run_transaction(work, now=now)`,
which saves all of it or nothing.
"""

from datetime import datetime, timedelta
from pathlib import Path

from watcher.storage import records
from watcher.storage.accounts import Accounts
from watcher.storage.alerts import Alerts
from watcher.storage.database import Database
from watcher.storage.outbox import Outbox, Snoozes
from watcher.storage.readings import Readings

DATABASE_FILE_NAME = "watcher.db"
CHANNEL_TESTED_PREFIX = "tried "  # and a channel's name: the fact that it took a test message
METRICS_PROBLEMS_FACT = "metrics_problems"  # JSON: export (listen, textfile, push, salt) -> problem
ALERTMANAGER_FACT = "alertmanager"  # JSON: channel -> what it shows, and what each address answered
KEEP_RAW = timedelta(days=14)  # readings and failed polls
KEEP_HOURLY = timedelta(days=90)  # the last reading of each hour; then of three hours, ...
KEEP_READINGS = timedelta(days=365)  # ... for a year
KEEP_DELIVERIES = timedelta(days=30)
KEEP_TRANSITIONS = timedelta(days=365)
KEEP_SUPPRESSIONS = timedelta(days=14)


class Polls:
    """When each provider is polled next, and the cooldowns of tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load_cooldowns(self) -> dict[str, tuple[datetime, int]]:
        """Token hash -> (end of the cooldown, rate limits in a row)."""
        found = self._database.execute("SELECT token_hash, until, strikes FROM cooldown").fetchall()
        return {token_hash: (records.from_milliseconds(until), strikes) for token_hash, until, strikes in found}

    def save_cooldown(self, token_hash: str, until: datetime, strikes: int) -> None:
        """Save a cooldown."""
        self._database.execute(
            "INSERT OR REPLACE INTO cooldown VALUES (?, ?, ?)", (token_hash, records.to_milliseconds(until), strikes)
        )

    def correct_clock(self, now: datetime) -> None:
        """Shorten cooldowns that began with a request in the future: the clock was ahead then."""
        at = records.to_milliseconds(now)
        found = self._database.execute(
            "SELECT requested_at - ?, requested_with FROM account WHERE requested_at > ?", (at, at)
        ).fetchall()
        for ahead, token_hash in found:  # the account's other logins cool down as long
            self._database.execute(
                "UPDATE cooldown SET until = until - ? WHERE until = (SELECT until FROM cooldown WHERE token_hash = ?)",
                (ahead, token_hash),
            )
        self._database.execute("UPDATE account SET requested_at = ? WHERE requested_at > ?", (at, at))

    def load_next_polls(self) -> dict[str, tuple[datetime, str]]:
        """Provider -> (when it is polled next, why)."""
        found = self._database.execute("SELECT provider, next_at, reason FROM next_poll").fetchall()
        return {provider: (records.from_milliseconds(at), reason) for provider, at, reason in found}

    def save_next_poll(self, provider: str, at: datetime, reason: str) -> None:
        """Save when a provider is polled next."""
        self._database.execute(
            "INSERT INTO next_poll VALUES (?, ?, ?) ON CONFLICT (provider) DO UPDATE SET next_at = excluded.next_at, "
            "reason = excluded.reason WHERE (next_at, reason) IS NOT (excluded.next_at, excluded.reason)",
            (provider, records.to_milliseconds(at), reason),
        )  # what is already there is not written: a look at local files changes nothing most of the time


class Facts:
    """Single facts by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, name: str) -> tuple[str, datetime] | None:
        """A fact and when it was saved; None if there is none."""
        found = self._database.execute("SELECT value, at FROM fact WHERE name = ?", (name,)).fetchone()
        return None if found is None else (found[0], records.from_milliseconds(found[1]))

    def save(self, name: str, value: str, at: datetime) -> None:
        """Save a fact."""
        self._database.execute(
            "INSERT OR REPLACE INTO fact VALUES (?, ?, ?)", (name, value, records.to_milliseconds(at))
        )


class Store(Database):
    """The open database with its tables; the module's docstring lists them."""

    def __init__(self, path: Path, *, now: datetime, read_only: bool = False, memory_fallback: bool = False) -> None:
        super().__init__(path, now=now, read_only=read_only, memory_fallback=memory_fallback)
        self.accounts = Accounts(self)
        self.readings = Readings(self, self.accounts)
        self.alerts = Alerts(self, self.accounts)
        self.outbox = Outbox(self, self.accounts)
        self.snoozes = Snoozes(self, self.accounts)
        self.polls = Polls(self)
        self.facts = Facts(self)
        if memory_fallback and self.disk_error:  # an earlier process was killed while it worked in memory
            self.run_transaction(self.alerts.rearm, now=now)
            self.clear_memory_marker()

    def save_fact(self, name: str, value: str, now: datetime) -> None:
        """Save a fact in a transaction of its own."""
        self.run_transaction(lambda: self.facts.save(name, value, now), now=now)

    def delete_old_records(self, now: datetime) -> None:
        """Delete what is older than it is kept; of readings, one an hour is kept, and later one in three hours."""
        raw_end = records.to_milliseconds(now - KEEP_RAW)
        self.execute(
            "INSERT OR REPLACE INTO reading_hourly SELECT series, max(at), used_percent, used, quota, remaining,"
            " resets_at, flags, source FROM reading WHERE at < ? GROUP BY series, at / 3600000",
            (raw_end,),
        )
        for table, before in (
            ("reading", raw_end),
            ("reading_hourly", records.to_milliseconds(now - KEEP_READINGS)),
            ("transition", records.to_milliseconds(now - KEEP_TRANSITIONS)),
            ("failed_poll", raw_end),
            ("suppression", records.to_milliseconds(now - KEEP_SUPPRESSIONS)),
        ):
            self.execute(f"DELETE FROM {table} WHERE at < ?", (before,))  # noqa: S608 - constants
        self.execute(
            "DELETE FROM reading_hourly WHERE at < ? AND EXISTS (SELECT 1 FROM reading_hourly AS later"
            " WHERE later.series = reading_hourly.series AND later.at > reading_hourly.at"
            " AND later.at < (reading_hourly.at / 10800000 + 1) * 10800000)",
            (records.to_milliseconds(now - KEEP_HOURLY),),
        )
        self.execute(
            "DELETE FROM delivery WHERE state NOT IN ('queued', 'held') AND created_at < ?",
            (records.to_milliseconds(now - KEEP_DELIVERIES),),
        )
