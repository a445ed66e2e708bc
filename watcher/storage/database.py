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

from watcher.errors import NoReadingsError, StoreError
from watcher.storage import fallback
from watcher.storage.migrations import MIGRATIONS

T = TypeVar("T")

_BUSY_TIMEOUT_S = 5.0
_BUSY_WAIT_SLICES = 25
"""A wait within SQLite hears no signal: to be ended politely within a second or two, it is waited in so many parts."""
_IN_MEMORY = ":memory:"
_DISK_ERRORS = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
_CORRUPTION_ERRORS = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _error_code(error: sqlite3.Error) -> int:
    """The primary result code; 0 where SQLite gave none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def _close_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    """A file that cannot be used must not stay open: it may be moved away next."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _read_schema_version(connection: sqlite3.Connection) -> int:
    """Of the format: how many migrations were made; 0 for a new file."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


class Database:
    """The file, owned by one thread.

    Attributes:
        path: the file.
        notices: sentences for the person (damaged file set aside, disk full); whoever shows one takes it out.
    """

    _fallback: Path | str = ""  # where everything is while the disk refuses writes; empty: on the disk

    def __init__(
        self, path: Path, *, now: datetime, read_only: bool = False, fallback_path: Path | None = None
    ) -> None:
        """Open or begin the file.

        Args:
            path: the file.
            now: the instant, for the name of a damaged file.
            read_only: change nothing.
            fallback_path: the file that stands in while the disk refuses writes; None: memory does. Only for the process
                that holds the watcher's lock, and for who only reads: another one's must be left alone.
        """
        self.path = path
        self.notices: list[str] = []
        self._read_only, self._fallback_path = read_only, fallback_path
        kept = None if read_only else self._open_leftover_fallback()
        if kept is not None and fallback_path is not None:
            self._db, self._fallback = kept, fallback_path
            self.restore_from_fallback(now=now)
            return
        try:
            self._db = self._open()
        except sqlite3.DatabaseError as error:
            if read_only or _error_code(error) not in _CORRUPTION_ERRORS:
                raise StoreError(self._describe_error(error)) from error
            self._replace_damaged_file(now, error)

    @property
    def uses_fallback(self) -> bool:
        """True while the disk refuses writes and everything is kept elsewhere."""
        return self._fallback != ""

    # --- opening, closing, transactions -----------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        if self._read_only:
            return self._open_read_only()
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StoreError(
                f"cannot write {self.path}: {error.strerror}; make the folder writable or set WATCHER_STATE_DIR"
            ) from error
        connection = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        with _close_on_error(connection):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # an alert said to be sent is so after a power cut too
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA cache_size = -512")  # half a MiB: the working set is tiny
            self._migrate(connection)
        return connection

    def _open_read_only(self) -> sqlite3.Connection:
        """What is kept elsewhere while the disk refuses writes, for that is what is so; else the file."""
        if self._fallback_path is not None:
            with suppress(sqlite3.Error, StoreError):
                return self._connect_read_only(self._fallback_path)
        return self._connect_read_only(self.path)

    def _connect_read_only(self, path: Path) -> sqlite3.Connection:
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
            f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None
        )
        with _close_on_error(connection):
            version = _read_schema_version(connection)
            if version == len(MIGRATIONS):
                return connection
            if not version:
                raise nothing
            if version > len(MIGRATIONS):
                raise self._make_too_new_error(version)
            raise StoreError(f"{self.path} was written by an older version of this program: run `watcher check` once")

    def _make_too_new_error(self, version: int, path: Path | None = None) -> StoreError:
        return StoreError(
            f"{path or self.path} was written by a newer version of this program (its format is {version}, this one"
            f" knows {len(MIGRATIONS)}): upgrade ai-usage-watcher, or move the file away to start afresh"
        )

    def _migrate(self, connection: sqlite3.Connection) -> None:
        while (version := _read_schema_version(connection)) < len(MIGRATIONS):
            try:
                connection.executescript(
                    f"BEGIN IMMEDIATE; {MIGRATIONS[version]} PRAGMA user_version = {version + 1}; COMMIT;"
                )
            except sqlite3.OperationalError:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if _read_schema_version(connection) == version:  # else another process did it just now
                    raise
        if version > len(MIGRATIONS):
            raise self._make_too_new_error(version)

    def check_integrity(self) -> list[str]:
        """What SQLite's own quick check finds wrong with the file; empty where it is whole."""
        try:
            found = [str(row[0]) for row in self._db.execute("PRAGMA quick_check(10)")]
        except sqlite3.DatabaseError as error:
            return [str(error)]
        return [] if found == ["ok"] else found

    def close(self) -> None:
        """End the connection; what was committed stays."""
        self._db.close()

    def invalidate_cache(self) -> None:
        """What was read before may no longer be so; a subclass that keeps anything overrides this."""

    def run_transaction(self, work: Callable[[], T], *, now: datetime) -> T:
        """Do `work` in one transaction and return its result; `work` may run twice when the disk fails in between."""
        try:
            return self._attempt_transaction(work)
        except sqlite3.DatabaseError as error:
            if _error_code(error) in _DISK_ERRORS and self._fallback != _IN_MEMORY:
                self._switch_to_fallback(error)
            elif _error_code(error) in _CORRUPTION_ERRORS:
                self._replace_damaged_file(now, error)
            else:
                raise StoreError(self._describe_error(error)) from error
        return self._attempt_transaction(work)

    def run_durable_transaction(self, work: Callable[[], T], *, now: datetime) -> T:
        """As `write`, for a process that ends at once: what the disk does not take would end with it.

        Raises:
            StoreError: it is not on the disk.
        """
        result = self.run_transaction(work, now=now)
        if self.uses_fallback:
            raise StoreError(f"cannot write {self.path}: free some disk space, or mend the permissions, and try again")
        return result

    def _attempt_transaction(self, work: Callable[[], T]) -> T:
        try:
            self._begin_transaction()
            result = work()
            self._db.execute("COMMIT")
        except BaseException:
            self.invalidate_cache()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        return result

    def _begin_transaction(self) -> None:
        """Begin to write, as soon as no other process does."""
        self._db.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_S / _BUSY_WAIT_SLICES * 1000:.0f}")
        try:
            for _ in range(_BUSY_WAIT_SLICES - 1):
                try:
                    self._db.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    if _error_code(error) != sqlite3.SQLITE_BUSY:
                        raise
                else:
                    return
            self._db.execute("BEGIN IMMEDIATE")
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_S * 1000:.0f}")

    def _describe_error(self, error: sqlite3.Error) -> str:
        if _error_code(error) in _CORRUPTION_ERRORS:
            return f"{self.path} is damaged: move it away; a new one is begun at the next `watcher run`"
        if _error_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return f"{self.path} is locked by another process: end it, or try again"
        if _error_code(error) in _DISK_ERRORS and not self._read_only:
            return f"cannot write {self.path} ({error}): free some disk space, or mend the permissions of its folder"
        return f"cannot use {self.path}: {error}"

    # --- when the disk or the file fails ----------------------------------------------------------------------------

    def _replace_damaged_file(self, now: datetime, error: sqlite3.Error) -> None:
        if hasattr(self, "_db"):
            self._db.close()
        aside = self._rename_damaged_file(now)
        self.invalidate_cache()
        self._db, self._fallback = self._open(), ""
        self.notices.append(
            f"The database was damaged ({error}). It was set aside as {aside} and a new one was begun: history starts"
            " afresh, and what is firing now may be told once more."
        )

    def _rename_damaged_file(self, now: datetime) -> str:
        """Give the damaged file another name, and return that."""
        stamp = now.strftime("%Y%m%dT%H%M%SZ")
        for suffix in ("", "-wal", "-shm"):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.replace(self.path.with_name(f"{self.path.name}.damaged-{stamp}{suffix}"))
        return f"{self.path.name}.damaged-{stamp}"

    def _switch_to_fallback(self, error: sqlite3.Error) -> None:
        places: list[Path | str] = (
            [_IN_MEMORY] if self._fallback or not self._fallback_path else [self._fallback_path, _IN_MEMORY]
        )
        found = next(((place, kept) for place in places if (kept := self._copy_to(place)) is not None), None)
        if found is None:  # what is there cannot even be read
            found = _IN_MEMORY, self._connect_fallback(_IN_MEMORY)
            self._migrate(found[1])
        self._db.close()
        self._fallback, self._db = found
        self.invalidate_cache()
        where = "memory" if self._fallback == _IN_MEMORY else str(self._fallback)
        self.notices.append(
            f"{self.path} cannot be written ({error}). Alerts go on from {where}; free some disk space or mend the"
            " permissions, and everything is written down again."
        )

    def _copy_to(self, target: Path | str) -> sqlite3.Connection | None:
        """All that is known, in that place; None where that has no room either, or nothing can be read."""
        try:
            if isinstance(target, Path):
                fallback.prepare(target)
            copy = self._connect_fallback(target)
            with _close_on_error(copy):
                self._db.backup(copy)
                copy.execute("PRAGMA journal_mode = TRUNCATE")  # it is in the mode of the disk's: with two more files
        except (OSError, sqlite3.Error):
            return None
        return copy

    def _size_bytes(self) -> int:
        (pages,), (size,) = (self._db.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
        return int(pages * size)

    def _connect_fallback(self, target: Path | str) -> sqlite3.Connection:
        connection = sqlite3.connect(target, isolation_level=None)
        with _close_on_error(connection):
            connection.execute("PRAGMA synchronous = OFF")  # it has to outlive this process, not the machine
            connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _open_leftover_fallback(self) -> sqlite3.Connection | None:
        """What an earlier process kept elsewhere, and could not write down before it ended."""
        if self._fallback_path is None or not fallback.is_left(self._fallback_path, self.path):
            return None
        with suppress(sqlite3.Error):
            kept = self._connect_fallback(self._fallback_path)
            with _close_on_error(kept):
                version = _read_schema_version(kept)
                if version > len(MIGRATIONS):
                    raise self._make_too_new_error(version, self._fallback_path)
                if version and kept.execute("PRAGMA quick_check(1)").fetchone() == ("ok",):
                    self._migrate(kept)
                    return kept
            kept.close()  # killed before all was copied: nothing was told from there
        fallback.discard(self._fallback_path)
        return None

    def restore_from_fallback(self, *, now: datetime) -> None:
        """Write everything back to the disk, if it takes it again; otherwise stay where it is."""
        if not self.uses_fallback or not fallback.has_room(self.path, self._size_bytes()):
            return
        try:
            disk = self._open()
            with _close_on_error(disk):
                self._db.backup(disk)
        except (sqlite3.Error, StoreError) as error:
            if (
                isinstance(error, sqlite3.Error) and _error_code(error) in _CORRUPTION_ERRORS
            ):  # a new one is begun there the next time
                self._rename_damaged_file(now)
            return
        self._db.close()
        self._db, self._fallback = disk, ""
        if self._fallback_path:
            fallback.discard(self._fallback_path)
        self.invalidate_cache()
