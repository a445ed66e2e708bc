"""One SQLite file with one writer: opened, migrated, written in whole transactions, survived when it fails.

A full or read-only disk moves everything into memory until the disk takes it back, so that alerts still go out; a
damaged file is set aside and begun anew. Both leave a notice for the person. Never put a table's name here.
"""

import os
import sqlite3  # noqa: TID251 - this is the place
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from watcher.errors import NoReadingsError, StoreError
from watcher.schema import MIGRATIONS

T = TypeVar("T")

_BUSY_S = 5.0
_DISK_TROUBLE = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _code(error: sqlite3.Error) -> int:
    """The primary result code; 0 where SQLite gave none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


class Database:
    """The file, owned by one thread.

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
        try:
            self._db = self._open()
        except sqlite3.DatabaseError as error:
            if read_only or _code(error) not in _DAMAGE:
                raise StoreError(self._explain(error)) from error
            self._set_aside(now, error)

    # --- opening, closing, transactions -----------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        if self._read_only:
            return self._open_to_read()
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

    def _open_to_read(self) -> sqlite3.Connection:
        nothing = NoReadingsError(f"no readings yet in {self.path.parent}: run `watcher run` or `watcher check` first")
        if not self.path.exists():
            raise nothing
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S, isolation_level=None
        )
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == len(MIGRATIONS):
            return connection
        connection.close()
        if not version:
            raise nothing
        if version > len(MIGRATIONS):
            raise self._too_new(version)
        raise StoreError(f"{self.path} was written by an older version of this program: run `watcher check` once")

    def _too_new(self, version: int) -> StoreError:
        return StoreError(
            f"{self.path} was written by a newer version of this program (its format is {version}, this one knows"
            f" {len(MIGRATIONS)}): upgrade ai-usage-watcher, or move the file away to start afresh"
        )

    def _migrate(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise self._too_new(version)
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")

    def damage(self) -> list[str]:
        """What SQLite's own quick check finds wrong with the file; empty where it is whole."""
        try:
            found = [str(row[0]) for row in self._db.execute("PRAGMA quick_check(10)")]
        except sqlite3.DatabaseError as error:
            return [str(error)]
        return [] if found == ["ok"] else found

    def close(self) -> None:
        """End the connection; what was committed stays."""
        self._db.close()

    def forget(self) -> None:
        """What was read before may no longer be so; a subclass that keeps anything overrides this."""

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
            self.forget()
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
        self.forget()
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
        self._db, self.in_refuge = refuge, True
        self.forget()
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
        self._db, self.in_refuge = disk, False
        self.forget()
