"""The only database: everything that must outlive the process, in one SQLite file with one writer.

`Store.write` is the one transaction there is: what happens inside is kept whole or not at all. A full or read-only disk
moves the store into memory until the disk takes it back, so that alerts still go out; a damaged file is set aside and
begun anew. Both leave a notice for the person. Never put a decision about alerts or deliveries here.
"""

import os
import sqlite3  # noqa: TID251 - this is the place
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from watcher import rows
from watcher.core.cycle import SeriesState
from watcher.core.evaluate import AlertState
from watcher.core.judge import Judgement, Memory
from watcher.core.model import Delivery, DeliveryState, Failure, Series, Snapshot, Snooze, Stop, Transition
from watcher.errors import StoreError
from watcher.schema import MIGRATIONS

T = TypeVar("T")

FILE_NAME = "watcher.db"
KEEP_RAW = timedelta(days=14)
KEEP_HOURLY = timedelta(days=365)
KEEP_DELIVERIES = timedelta(days=30)
KEEP_TRANSITIONS = timedelta(days=365)

_BUSY_S = 5.0
_DISK_TROUBLE = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _code(error: sqlite3.Error) -> int:
    """The primary result code; 0 where SQLite gave none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


class Store:
    """The database, owned by one thread.

    Attributes:
        path: the file.
        notices: sentences for the person (damaged file set aside, disk full); whoever shows one takes it out.
        in_refuge: True while the disk refuses writes and everything is kept in memory.
    """

    def __init__(self, path: Path, *, now: datetime, read_only: bool = False) -> None:
        self.path = path
        self.notices: list[str] = []
        self.in_refuge = False
        self._read_only = read_only
        self._memory: tuple[dict[Series, SeriesState], dict[tuple[str, Series], AlertState]] | None = None
        self._memory_version = -1
        try:
            self._db = self._open()
        except sqlite3.DatabaseError as error:
            if read_only or _code(error) not in _DAMAGE:
                raise StoreError(self._explain(error)) from error
            self._set_aside(now, error)

    # --- opening, closing, transactions -----------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        if self._read_only:
            if not self.path.exists():
                raise StoreError(f"no readings yet in {self.path.parent}: run `watcher run` or `watcher check` first")
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S, isolation_level=None
            )
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            return connection
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StoreError(
                f"cannot write {self.path}: {error.strerror}; make the folder writable or set WATCHER_STATE_DIR"
            ) from error
        connection = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # an alert said to be sent must still be so after a power cut
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -512")  # half a MiB: the working set is tiny
        self._migrate(connection)
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise StoreError(
                f"{self.path} was written by a newer version of this program (its format is {version}, this one knows"
                f" {len(MIGRATIONS)}): upgrade ai-usage-watcher, or move the file away to start afresh"
            )
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")

    def close(self) -> None:
        """End the connection; what was committed stays."""
        self._db.close()

    def write(self, work: Callable[[], T], *, now: datetime) -> T:
        """Do `work` in one transaction and return its result; `work` may run twice when the disk fails in between."""
        try:
            return self._transact(work)
        except sqlite3.DatabaseError as error:
            if _code(error) in _DISK_TROUBLE and not self.in_refuge:
                self._take_refuge(error)
            elif _code(error) in _DAMAGE:
                self._set_aside(now, error)
            else:
                raise StoreError(self._explain(error)) from error
        return self._transact(work)

    def _transact(self, work: Callable[[], T]) -> T:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            result = work()
            self._db.execute("COMMIT")
        except BaseException:
            self._memory = None
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        return result

    def _explain(self, error: sqlite3.Error) -> str:
        if _code(error) in _DAMAGE:
            return f"{self.path} is damaged: move it away; a new one is begun at the next `watcher run`"
        if _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return f"{self.path} is locked by another process: end it, or try again"
        return f"cannot use {self.path}: {error}"

    # --- when the disk or the file fails ----------------------------------------------------------------------------

    def _set_aside(self, now: datetime, error: sqlite3.Error) -> None:
        if hasattr(self, "_db"):
            self._db.close()
        stamp = now.strftime("%Y%m%dT%H%M%SZ")
        for suffix in ("", "-wal", "-shm"):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.replace(self.path.with_name(f"{self.path.name}.damaged-{stamp}{suffix}"))
        self._memory = None
        self._db = self._open()
        self.notices.append(
            f"The database was damaged ({error}). It was set aside as {self.path.name}.damaged-{stamp} and a new one"
            " was begun: history starts afresh, and what is firing now may be told once more."
        )

    def _take_refuge(self, error: sqlite3.Error) -> None:
        refuge = sqlite3.connect(":memory:", isolation_level=None)
        try:
            self._db.backup(refuge)
        except sqlite3.Error:
            self._migrate(refuge)
        self._db.close()
        self._db, self.in_refuge, self._memory = refuge, True, None
        self.notices.append(
            f"{self.path} cannot be written ({error}). Alerts go on from memory; free some disk space or mend the"
            " permissions, and everything is written down again."
        )

    def leave_refuge(self) -> None:
        """Write everything back to the disk, if it takes it again; otherwise stay in memory."""
        if not self.in_refuge:
            return
        try:
            disk = self._open()
            self._db.backup(disk)
        except (sqlite3.Error, StoreError):
            return
        self._db.close()
        self._db, self.in_refuge, self._memory = disk, False, None

    # --- what the engine knows --------------------------------------------------------------------------------------

    def memory(self) -> Memory:
        """All series and alert states; kept between calls until another process changes the file."""
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        if self._memory is None or version != self._memory_version:
            series = self._decoded("SELECT state FROM series WHERE state IS NOT NULL", SeriesState)
            alerts = self._decoded("SELECT state FROM alert", AlertState)
            self._memory = (
                {state.series: state for state in series},
                {(state.rule, state.series): state for state in alerts},
            )
            self._memory_version = version
        return Memory(*self._memory)

    def _decoded(self, sql: str, kind: type[T], parameters: Sequence[Any] = ()) -> Iterator[T]:
        decoder = msgspec.json.Decoder(kind)
        for (text,) in self._db.execute(sql, parameters):
            try:
                yield decoder.decode(text)
            except msgspec.MsgspecError as error:
                self.notices.append(f"{self.path.name}: one {kind.__name__} cannot be read and is forgotten ({error})")

    def save(self, judgement: Judgement) -> None:
        """Keep what the engine decided; inside `write`."""
        self._db.executemany(
            "INSERT INTO series (provider, account, window, kind, label, unit, state) VALUES (?, ?, ?, '', '', '', ?)"
            " ON CONFLICT (provider, account, window) DO UPDATE SET state = excluded.state",
            [(*rows.series_key(state.series), rows.encode(state)) for state in judgement.series],
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO alert (rule, provider, account, window, phase, severity, since, state)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [rows.alert_row(state) for state in judgement.alerts],
        )
        self._db.executemany(
            "DELETE FROM alert WHERE rule = ? AND provider = ? AND account = ? AND window = ?",
            [(rule, *rows.series_key(series)) for rule, series in judgement.closed],
        )
        self._db.executemany(
            "INSERT INTO transition (at, rule, provider, account, window, event, record) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [rows.transition_row(transition) for transition in judgement.transitions],
        )
        if self._memory is not None:
            series, alerts = self._memory
            series.update((state.series, state) for state in judgement.series)
            alerts.update(((state.rule, state.series), state) for state in judgement.alerts)
            for key in judgement.closed:
                alerts.pop(key, None)

    # --- polls and readings -----------------------------------------------------------------------------------------

    def record(self, news: Snapshot | Failure) -> None:
        """Keep a poll's result; inside `write`. A failure leaves the last good snapshot where it is."""
        if isinstance(news, Failure):
            self._db.execute(
                "INSERT INTO account (provider, account, failure, failing_since, failures, asked_at)"
                " VALUES (?1, ?2, ?3, ?4, 1, ?4) ON CONFLICT DO UPDATE SET failure = ?3,"
                " failing_since = coalesce(failing_since, ?4), failures = failures + 1, asked_at = ?4",
                (news.provider, news.account, rows.encode(news), rows.ms(news.at)),
            )
            return
        last = None if news.whole else self._snapshot(news.provider, news.account)
        self._db.execute(
            "INSERT INTO account (provider, account, snapshot, failures, asked_at) VALUES (?1, ?2, ?3, 0, ?4)"
            " ON CONFLICT DO UPDATE SET snapshot = ?3, failure = NULL, failing_since = NULL, failures = 0,"
            " asked_at = ?4",
            (news.provider, news.account, rows.encode(rows.merged(last, news)), rows.ms(news.at)),
        )
        for reading in news.readings:
            ((series_id,),) = self._db.execute(
                "INSERT INTO series (provider, account, window, kind, label, unit, window_seconds)"
                " VALUES (?, ?, ?, ?4, ?5, ?6, ?7) ON CONFLICT (provider, account, window)"
                " DO UPDATE SET kind = ?4, label = ?5, unit = ?6, window_seconds = ?7 RETURNING id",
                (news.provider, news.account, *rows.series_facts(reading)),
            ).fetchall()
            self._db.execute(
                "INSERT OR REPLACE INTO reading VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (series_id, *rows.reading_row(reading, news.at)),
            )

    def _snapshot(self, provider: str, account: str) -> Snapshot | None:
        return next(
            (each.snapshot for each in self.accounts() if (each.provider, each.account) == (provider, account)), None
        )

    def accounts(self) -> list[rows.Account]:
        """Every account ever asked, with its last snapshot and its failure, by provider and account."""
        return [
            rows.account(row)
            for row in self._db.execute(
                "SELECT provider, account, snapshot, failure, failing_since, failures, asked_at FROM account"
                " ORDER BY provider, account"
            )
        ]

    def crowded(self) -> frozenset[str]:
        """Providers that have several accounts."""
        found = self._db.execute("SELECT provider FROM account GROUP BY provider HAVING count(*) > 1")
        return frozenset(provider for (provider,) in found)

    def history(self, series: Series, *, since: datetime) -> Iterator[tuple[datetime, Any]]:
        """(at, Reading) of one series in time order: hourly where the raw readings are gone."""
        found = self._db.execute(
            "SELECT id, window, kind, label, unit, window_seconds FROM series"
            " WHERE provider = ? AND account = ? AND window = ?",
            rows.series_key(series),
        ).fetchone()
        if found is None:
            return
        series_id, *facts = found
        for row in self._db.execute(
            "SELECT at, used_percent, used, quota, remaining, resets_at, flags, source FROM reading_hourly"
            " WHERE series = ?1 AND at >= ?2"
            " AND at < coalesce((SELECT min(at) FROM reading WHERE series = ?1), 9223372036854775807)"
            " UNION ALL SELECT at, used_percent, used, quota, remaining, resets_at, flags, source FROM reading"
            " WHERE series = ?1 AND at >= ?2 ORDER BY 1",
            (series_id, rows.ms(since)),
        ):
            yield rows.reading(facts, row)

    def all_series(self) -> list[Series]:
        """Every series that has readings, sorted."""
        return [
            Series(provider=provider, account=account, window=window)
            for provider, account, window in self._db.execute(
                "SELECT provider, account, window FROM series WHERE kind <> '' ORDER BY 1, 2, 3"
            )
        ]

    # --- transitions, deliveries, snoozes ---------------------------------------------------------------------------

    def transitions(self, *, since: datetime, rule: str | None = None) -> list[Transition]:
        """Transitions since an instant, oldest first; of one rule or of all."""
        return list(
            self._decoded(
                "SELECT record FROM transition WHERE at >= ?1 AND (?2 IS NULL OR rule = ?2) ORDER BY id",
                Transition,
                (rows.ms(since), rule),
            )
        )

    def outbox(self) -> list[Delivery]:
        """Deliveries that are not yet done (queued or held), oldest first."""
        return self._deliveries("state IN ('queued', 'held')")

    def deliveries(self, state: DeliveryState, *, since: datetime) -> list[Delivery]:
        """Deliveries that ended in one state, oldest first."""
        return self._deliveries("state = ? AND created_at >= ?", (state.value, rows.ms(since)))

    def _deliveries(self, where: str, parameters: Sequence[Any] = ()) -> list[Delivery]:
        found = self._db.execute(f"SELECT id, record FROM delivery WHERE {where} ORDER BY id", parameters)  # noqa: S608 - constants
        decoder = msgspec.json.Decoder(Delivery)
        return [msgspec.structs.replace(decoder.decode(record), id=number) for number, record in found]

    def enqueue(self, deliveries: Iterable[Delivery]) -> None:
        """Put new deliveries into the outbox; inside `write`. One that has the key of an earlier one is left out."""
        self._db.executemany(
            "INSERT INTO delivery (key, channel, state, created_at, record) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (key, channel) DO NOTHING",
            [rows.delivery_row(delivery) for delivery in deliveries],
        )

    def update(self, deliveries: Iterable[Delivery]) -> None:
        """Keep what became of deliveries; inside `write`."""
        self._db.executemany(
            "UPDATE delivery SET key = ?, channel = ?, state = ?, created_at = ?, record = ? WHERE id = ?",
            [(*rows.delivery_row(delivery), delivery.id) for delivery in deliveries],
        )

    def snoozes(self) -> list[Snooze]:
        """Every snooze in force or past, by target."""
        return list(self._decoded("SELECT record FROM snooze ORDER BY target", Snooze))

    def snooze(self, snooze: Snooze) -> None:
        """Keep a snooze in place of an earlier one of the same target; inside `write`."""
        self._db.execute("INSERT OR REPLACE INTO snooze VALUES (?, ?)", (snooze.target, rows.encode(snooze)))

    def unsnooze(self, target: str) -> bool:
        """Forget a snooze; inside `write`. False where there was none."""
        return self._db.execute("DELETE FROM snooze WHERE target = ?", (target,)).rowcount > 0

    def stops(self) -> list[Stop]:
        """Channels that refused for good, by name."""
        return list(self._decoded("SELECT record FROM stop ORDER BY channel", Stop))

    def stop(self, stop: Stop) -> None:
        """Note that a channel refused for good; inside `write`."""
        self._db.execute("INSERT OR REPLACE INTO stop VALUES (?, ?)", (stop.channel, rows.encode(stop)))

    def resume(self, channel: str) -> None:
        """Forget that a channel refused; inside `write`."""
        self._db.execute("DELETE FROM stop WHERE channel = ?", (channel,))

    # --- the daemon's own -------------------------------------------------------------------------------------------

    def cooldowns(self) -> dict[str, tuple[datetime, int]]:
        """Token hash -> (not to be asked before, how often in a row it was refused)."""
        found = self._db.execute("SELECT token_hash, until, strikes FROM cooldown").fetchall()
        return {token_hash: (rows.instant(until), strikes) for token_hash, until, strikes in found}

    def cool_down(self, token_hash: str, until: datetime, strikes: int) -> None:
        """Keep a cooldown; inside `write`."""
        self._db.execute("INSERT OR REPLACE INTO cooldown VALUES (?, ?, ?)", (token_hash, rows.ms(until), strikes))

    def warm_up(self, token_hash: str) -> None:
        """Forget a cooldown; inside `write`."""
        self._db.execute("DELETE FROM cooldown WHERE token_hash = ?", (token_hash,))

    def next_polls(self) -> dict[str, tuple[datetime, str]]:
        """Provider -> (when it is asked next, why)."""
        found = self._db.execute("SELECT provider, next_at, reason FROM poll").fetchall()
        return {provider: (rows.instant(at), reason) for provider, at, reason in found}

    def plan_poll(self, provider: str, at: datetime, reason: str) -> None:
        """Keep when a provider is asked next; inside `write`."""
        self._db.execute("INSERT OR REPLACE INTO poll VALUES (?, ?, ?)", (provider, rows.ms(at), reason))

    def fact(self, name: str) -> tuple[str, datetime] | None:
        """One of the daemon's own facts and when it was kept; None where there is none."""
        found = self._db.execute("SELECT value, at FROM fact WHERE name = ?", (name,)).fetchone()
        return None if found is None else (found[0], rows.instant(found[1]))

    def set_fact(self, name: str, value: str, at: datetime) -> None:
        """Keep a fact; inside `write`."""
        self._db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?, ?)", (name, value, rows.ms(at)))

    def forget_old(self, now: datetime) -> None:
        """Thin out: raw readings to hourly ones after 14 days, those gone after a year; inside `write`."""
        raw_end = rows.ms(now - KEEP_RAW)
        self._db.execute(
            "INSERT OR REPLACE INTO reading_hourly SELECT series, max(at), used_percent, used, quota, remaining,"
            " resets_at, flags, source FROM reading WHERE at < ? GROUP BY series, at / 3600000",
            (raw_end,),
        )
        for table, before in (
            ("reading", raw_end),
            ("reading_hourly", rows.ms(now - KEEP_HOURLY)),
            ("transition", rows.ms(now - KEEP_TRANSITIONS)),
        ):
            self._db.execute(f"DELETE FROM {table} WHERE at < ?", (before,))  # noqa: S608 - constants
        self._db.execute(
            "DELETE FROM delivery WHERE state NOT IN ('queued', 'held') AND created_at < ?",
            (rows.ms(now - KEEP_DELIVERIES),),
        )
