"""One SQLite file with one writer: opened, migrated, written in whole transactions, survived when it fails.

A full or read-only disk moves everything into a refuge until the disk takes it back, so that alerts still go out: a
file elsewhere, which the next process takes up where this one is killed, else memory. A damaged file is set aside and
begun anew. Both leave a notice for the person. Never put a table's name here.

One file although it is a long one: opening, writing and surviving share one connection, and each may put another in
its place. Where the refuge is, and whether it may be trusted, is `refuge`'s.
"""

import os
import sqlite3  # noqa: TID251 - this is the place
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from watcher import refuge
from watcher.errors import NoReadingsError, StoreError
from watcher.schema import MIGRATIONS

T = TypeVar("T")

_BUSY_S = 5.0
_SLICES = 25
"""A wait within SQLite hears no signal: to be ended politely within a second or two, it is waited in so many parts."""
_MEMORY = ":memory:"
_DISK_TROUBLE = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _code(error: sqlite3.Error) -> int:
    """The primary result code; 0 where SQLite gave none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def _closed_if_refused(connection: sqlite3.Connection) -> Iterator[None]:
    """A file that cannot be used must not stay open: it may be moved away next."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _version(connection: sqlite3.Connection) -> int:
    """Of the format: how many migrations were made; 0 for a new file."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


class Database:
    """The file, owned by one thread.

    Attributes:
        path: the file.
        notices: sentences for the person (damaged file set aside, disk full); whoever shows one takes it out.
    """

    _refuge: Path | str = ""  # where everything is while the disk refuses writes; empty: on the disk

    def __init__(self, path: Path, *, now: datetime, read_only: bool = False, shelter: Path | None = None) -> None:
        """Open or begin the file.

        Args:
            path: the file.
            now: the instant, for the name of a damaged file.
            read_only: change nothing.
            shelter: the file that stands in while the disk refuses writes; None: memory does. Only for the process
                that holds the watcher's lock, and for who only reads: another one's must be left alone.
        """
        self.path = path
        self.notices: list[str] = []
        self._read_only, self._shelter = read_only, shelter
        kept = None if read_only else self._left_behind()
        if kept is not None and shelter is not None:
            self._db, self._refuge = kept, shelter
            self.leave_refuge(now=now)
            return
        try:
            self._db = self._open()
        except sqlite3.DatabaseError as error:
            if read_only or _code(error) not in _DAMAGE:
                raise StoreError(self._explain(error)) from error
            self._set_aside(now, error)

    @property
    def in_refuge(self) -> bool:
        """True while the disk refuses writes and everything is kept elsewhere."""
        return self._refuge != ""

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
        with _closed_if_refused(connection):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # an alert said to be sent is so after a power cut too
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA cache_size = -512")  # half a MiB: the working set is tiny
            self._migrate(connection)
        return connection

    def _open_to_read(self) -> sqlite3.Connection:
        """What is kept elsewhere while the disk refuses writes, for that is what is so; else the file."""
        if self._shelter is not None:
            with suppress(sqlite3.Error, StoreError):
                return self._connected_to_read(self._shelter)
        return self._connected_to_read(self.path)

    def _connected_to_read(self, path: Path) -> sqlite3.Connection:
        nothing = NoReadingsError(f"no readings yet in {self.path.parent}: run `watcher run` or `watcher check` first")
        try:
            path.stat()
        except FileNotFoundError:
            raise nothing from None
        except OSError as error:
            raise StoreError(
                f"cannot read {path}: {error.strerror}; give yourself the right, or set WATCHER_STATE_DIR"
            ) from error
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S, isolation_level=None
        )
        with _closed_if_refused(connection):
            version = _version(connection)
            if version == len(MIGRATIONS):
                return connection
            if not version:
                raise nothing
            if version > len(MIGRATIONS):
                raise self._too_new(version)
            raise StoreError(f"{self.path} was written by an older version of this program: run `watcher check` once")

    def _too_new(self, version: int, path: Path | None = None) -> StoreError:
        return StoreError(
            f"{path or self.path} was written by a newer version of this program (its format is {version}, this one"
            f" knows {len(MIGRATIONS)}): upgrade ai-usage-watcher, or move the file away to start afresh"
        )

    def _migrate(self, connection: sqlite3.Connection) -> None:
        while (version := _version(connection)) < len(MIGRATIONS):
            try:
                connection.executescript(
                    f"BEGIN IMMEDIATE; {MIGRATIONS[version]} PRAGMA user_version = {version + 1}; COMMIT;"
                )
            except sqlite3.OperationalError:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if _version(connection) == version:  # else another process did it just now
                    raise
        if version > len(MIGRATIONS):
            raise self._too_new(version)

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
            if _code(error) in _DISK_TROUBLE and self._refuge != _MEMORY:
                self._take_refuge(error)
            elif _code(error) in _DAMAGE:
                self._set_aside(now, error)
            else:
                raise StoreError(self._explain(error)) from error
        return self._transact(work)

    def write_down(self, work: Callable[[], T], *, now: datetime) -> T:
        """As `write`, for a process that ends at once: what the disk does not take would end with it.

        Raises:
            StoreError: it is not on the disk.
        """
        result = self.write(work, now=now)
        if self.in_refuge:
            raise StoreError(f"cannot write {self.path}: free some disk space, or mend the permissions, and try again")
        return result

    def _transact(self, work: Callable[[], T]) -> T:
        try:
            self._begin()
            result = work()
            self._db.execute("COMMIT")
        except BaseException:
            self.forget()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        return result

    def _begin(self) -> None:
        """Begin to write, as soon as no other process does."""
        self._db.execute(f"PRAGMA busy_timeout = {_BUSY_S / _SLICES * 1000:.0f}")
        try:
            for _ in range(_SLICES - 1):
                try:
                    self._db.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    if _code(error) != sqlite3.SQLITE_BUSY:
                        raise
                else:
                    return
            self._db.execute("BEGIN IMMEDIATE")
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {_BUSY_S * 1000:.0f}")

    def _explain(self, error: sqlite3.Error) -> str:
        if _code(error) in _DAMAGE:
            return f"{self.path} is damaged: move it away; a new one is begun at the next `watcher run`"
        if _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return f"{self.path} is locked by another process: end it, or try again"
        if _code(error) in _DISK_TROUBLE and not self._read_only:
            return f"cannot write {self.path} ({error}): free some disk space, or mend the permissions of its folder"
        return f"cannot use {self.path}: {error}"

    # --- when the disk or the file fails ----------------------------------------------------------------------------

    def _set_aside(self, now: datetime, error: sqlite3.Error) -> None:
        if hasattr(self, "_db"):
            self._db.close()
        aside = self._move_aside(now)
        self.forget()
        self._db, self._refuge = self._open(), ""
        self.notices.append(
            f"The database was damaged ({error}). It was set aside as {aside} and a new one was begun: history starts"
            " afresh, and what is firing now may be told once more."
        )

    def _move_aside(self, now: datetime) -> str:
        """Give the damaged file another name, and return that."""
        stamp = now.strftime("%Y%m%dT%H%M%SZ")
        for suffix in ("", "-wal", "-shm"):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.replace(self.path.with_name(f"{self.path.name}.damaged-{stamp}{suffix}"))
        return f"{self.path.name}.damaged-{stamp}"

    def _take_refuge(self, error: sqlite3.Error) -> None:
        places: list[Path | str] = [_MEMORY] if self._refuge or not self._shelter else [self._shelter, _MEMORY]
        found = next(((place, kept) for place in places if (kept := self._copy(place)) is not None), None)
        if found is None:  # what is there cannot even be read
            found = _MEMORY, self._connect(_MEMORY)
            self._migrate(found[1])
        self._db.close()
        self._refuge, self._db = found
        self.forget()
        where = "memory" if self._refuge == _MEMORY else str(self._refuge)
        self.notices.append(
            f"{self.path} cannot be written ({error}). Alerts go on from {where}; free some disk space or mend the"
            " permissions, and everything is written down again."
        )

    def _copy(self, place: Path | str) -> sqlite3.Connection | None:
        """All that is known, in that place; None where that has no room either, or nothing can be read."""
        try:
            if isinstance(place, Path):
                refuge.prepare(place)
            copy = self._connect(place)
            with _closed_if_refused(copy):
                self._db.backup(copy)
                copy.execute("PRAGMA journal_mode = TRUNCATE")  # it is in the mode of the disk's: with two more files
        except (OSError, sqlite3.Error):
            return None
        return copy

    def _size(self) -> int:
        (pages,), (size,) = (self._db.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
        return int(pages * size)

    def _connect(self, place: Path | str) -> sqlite3.Connection:
        connection = sqlite3.connect(place, isolation_level=None)
        with _closed_if_refused(connection):
            connection.execute("PRAGMA synchronous = OFF")  # it has to outlive this process, not the machine
            connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _left_behind(self) -> sqlite3.Connection | None:
        """What an earlier process kept elsewhere, and could not write down before it ended."""
        if self._shelter is None or not refuge.is_left(self._shelter, self.path):
            return None
        with suppress(sqlite3.Error):
            kept = self._connect(self._shelter)
            with _closed_if_refused(kept):
                version = _version(kept)
                if version > len(MIGRATIONS):
                    raise self._too_new(version, self._shelter)
                if version and kept.execute("PRAGMA quick_check(1)").fetchone() == ("ok",):
                    self._migrate(kept)
                    return kept
            kept.close()  # killed before all was copied: nothing was told from there
        refuge.discard(self._shelter)
        return None

    def leave_refuge(self, *, now: datetime) -> None:
        """Write everything back to the disk, if it takes it again; otherwise stay where it is."""
        if not self.in_refuge or not refuge.has_room(self.path, self._size()):
            return
        try:
            disk = self._open()
            with _closed_if_refused(disk):
                self._db.backup(disk)
        except (sqlite3.Error, StoreError) as error:
            if isinstance(error, sqlite3.Error) and _code(error) in _DAMAGE:  # a new one is begun there the next time
                self._move_aside(now)
            return
        self._db.close()
        self._db, self._refuge = disk, ""
        if self._shelter:
            refuge.discard(self._shelter)
        self.forget()
