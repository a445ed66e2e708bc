"""One SQLite file: opens and upgrades it, runs transactions, and continues where the disk or the file fails.

`PRAGMA user_version` is the format of a file. Opening an older file upgrades it in one transaction, so that an
interrupted upgrade is repeated as a whole. A file of a newer format is not opened. `schema.sql` has the tables.

For the next format: change `schema.sql`, raise `FORMAT`, and let `get_script` upgrade from the format before.
"""

import json
import os
import sqlite3  # noqa: TID251 - only this package uses it
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from watcher.errors import NoReadingsError, StoreError, TooNewError
from watcher.storage import records
from watcher.system.files import (
    NO_BLOCK,
    describe_write_error,
    make_private_folder,
    open_private_file,
    open_regular_file,
    require_regular_file,
)

FORMAT = 4

_IN_COLUMNS = {
    "Snapshot": ("provider", "account"),
    "PollFailure": ("provider", "account"),
    "SeriesState": ("series",),
    "AlertState": ("series",),
    "Transition": ("series",),
    "Delivery": ("about",),
    "Suppression": ("series", "said"),
    "Snooze": ("target",),
}
"""Keys of old JSON that have columns, or rows of another table, since format 4."""
_RENAMED = {
    "Snapshot": {"whole": "complete"},
    "SeriesState": {
        "boundary": "boundary_at",
        "doubt": "suspect",
        "doubts": "suspect_count",
        "standing": "validity",
        "heard_at": "last_seen_at",
        "asked_at": "polled_at",
        "watched_from": "resumed_at",
    },
    "SuspectReading": {"at": "received_at", "turn": "is_reset"},
    "AlertState": {
        "at": "changed_at",
        "step": "level_index",
        "told": "notified_level_index",
        "heard": "notified_severities",
        "held": "met_for",
        "clock_at": "timers_at",
        "silent_at": "unknown_since",
        "fired": "fired_count",
        "reminded": "reminder_count",
        "muted": "inhibited",
    },
    "Transition": {"heard": "notified_severities", "nth": "occurrence"},
    "Suppression": {"at": "decided_at", "key": "transition_key"},
    "Delivery": {"doubted": "was_in_doubt", "outcome": "last_response"},
    "Snooze": {"until": "expires_at"},
    "StoppedChannel": {"settings": "settings_fingerprint", "at": "stopped_at"},
}
"""Old JSON keys and their names since format 4."""

_INHIBITED: dict[str, Any] = {
    "phase": "pending",
    "severity": None,
    "level_index": -1,
    "notified_level_index": -1,
    "notified_severities": [],
    "remind_at": None,
}
"""Alerts that fired silently while this machine was offline are pending since format 4."""


def _convert_record(kind: str, text: str | None) -> str | None:
    """A record of an earlier format as format 4 has it; one that cannot be read stays the same."""
    try:
        old = json.loads(text or "")
    except ValueError:
        return text
    if not isinstance(old, dict):
        return text
    new = _rename_keys(kind, old)
    if kind == "SeriesState" and isinstance(new.get("suspect"), dict):
        new["suspect"] = _rename_keys("SuspectReading", new["suspect"])
    if kind == "AlertState" and new.get("inhibited"):
        new |= _INHIBITED
    return json.dumps(new, ensure_ascii=False, separators=(",", ":"))


def _rename_keys(kind: str, old: dict[str, Any]) -> dict[str, Any]:
    names = _RENAMED.get(kind, {})
    return {names.get(key, key): value for key, value in old.items() if key not in _IN_COLUMNS.get(kind, ())}


def get_script(version: int) -> str:
    """The statements that bring a file of an earlier format up to date; 0 is an empty file."""
    names = ("upgrade_begin", "schema", "upgrade_end") if version else ("schema",)
    return "\n".join(Path(__file__).with_name(f"{name}.sql").read_text("utf-8") for name in names)


T = TypeVar("T")

SPARE_BYTES = 1 << 20
"""Free bytes that the disk must have beside the database's own size: for SQLite's two other files."""
RESERVED_BYTES = 2 << 20
"""Kept free in the file and in its log: days of transactions, also while the disk is full."""
_CHECKPOINT_PAGES = 200
"""The log is written over from its beginning after so many pages, long before it outgrows what is reserved."""
_BUSY_TIMEOUT_S = 5.0
_DISK_ERRORS = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
_CORRUPTION_ERRORS = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _error_code(error: sqlite3.Error) -> int:
    """The primary result code; 0 where SQLite gave none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def _close_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    """Close a file that cannot be used: it may be renamed next."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _read_schema_version(connection: sqlite3.Connection) -> int:
    """The format of the file; 0 for a new one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def is_database(path: Path) -> bool:
    """Whether there is an SQLite file."""
    try:
        with open_regular_file(path) as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


def free_bytes(folder: Path) -> int:
    """Free bytes of the disk that the folder is on."""
    import shutil  # noqa: PLC0415 - with its decompressors, 0.5 MB, only before a migration

    return shutil.disk_usage(folder).free


class Database:
    """The file, owned by one thread.

    Attributes:
        path: the file.
        notices: sentences for the user (damaged file, full disk); the caller that shows one removes it.
        generation: changes when earlier reads may be outdated: another connection, a rollback, a renamed account.
        uses_memory: the disk refuses writes, and everything is in memory.
    """

    def __init__(self, path: Path, *, now: datetime, read_only: bool = False, memory_fallback: bool = False) -> None:
        """Open or create the file.

        Args:
            path: the file.
            now: the present, for the name of a damaged file.
            read_only: change nothing, except to migrate an older file.
            memory_fallback: work in memory while the disk refuses writes; for the process that holds the lock.

        Raises:
            StoreError: it cannot be used; `NoReadingsError` if there is none to read.
        """
        self.path = path
        self.notices: list[str] = []
        self.generation = 0
        self.uses_memory = False
        self._reported: set[str] = set()
        self._read_only, self._memory_fallback = read_only, memory_fallback
        self._memory_marker = path.with_name(f"{path.name}.in-memory")
        self._file_id: tuple[int, int] | None = None  # device and inode of the open file
        try:
            self._db = self._open_read_only() if read_only else self._open()
        except sqlite3.DatabaseError as error:
            if read_only or _error_code(error) not in _CORRUPTION_ERRORS:
                raise StoreError(self._describe_error(error)) from error
            self._replace_damaged_file(now, error)

    @property
    def disk_error(self) -> str | None:
        """What is wrong while the process that holds the lock works in memory, or was killed then; else None."""
        if not (self.uses_memory or self._memory_marker.exists()):
            return None
        return f"{self.path} cannot be written: alerts go on from memory; free some disk space or fix the permissions"

    def clear_memory_marker(self) -> None:
        """Note that the file is up to date again, unless this process works in memory."""
        if not self.uses_memory:
            self._memory_marker.unlink(missing_ok=True)

    @property
    def change_count(self) -> int:
        """Rows changed by this connection: it grows with every change."""
        return self._db.total_changes

    # --- opening and closing ----------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        try:
            make_private_folder(self.path.parent)
            descriptor = open_private_file(self.path, os.O_RDWR | os.O_CREAT | NO_BLOCK)
            try:
                status = os.fstat(descriptor)
                require_regular_file(self.path, status)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StoreError(describe_write_error(self.path, error)) from error
        connection = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        with _close_on_error(connection):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # an alert marked as sent is so after a power cut too
            connection.execute("PRAGMA cache_size = -128")  # KiB; more makes nothing faster, not over a year of history
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            self._migrate(connection)
            connection.execute("PRAGMA foreign_keys = ON")  # not before: a migration replaces tables
        self._file_id = (status.st_dev, status.st_ino)
        return connection

    def _open_read_only(self) -> sqlite3.Connection:
        connection = self._connect_read_only()
        with _close_on_error(connection):
            version = _read_schema_version(connection)
            if not version:
                raise self._make_no_readings_error()
            if version > FORMAT:
                raise self._make_too_new_error(version)
        if version == FORMAT:
            return connection
        connection.close()
        try:
            self._open().close()
        except (sqlite3.Error, StoreError) as error:
            raise StoreError(
                f"{self.path} was written by an older version of this program: run `watcher check` once"
            ) from error
        return self._connect_read_only()

    def _connect_read_only(self) -> sqlite3.Connection:
        try:
            require_regular_file(self.path, self.path.stat())
        except FileNotFoundError:
            raise self._make_no_readings_error() from None
        except OSError as error:
            raise StoreError(
                f"cannot read {self.path}: {error.strerror}; make it readable for yourself, or set WATCHER_STATE_DIR"
            ) from error
        return sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None
        )

    def _make_no_readings_error(self) -> NoReadingsError:
        return NoReadingsError(f"no readings yet in {self.path.parent}: run `watcher run` or `watcher check` first")

    def _make_too_new_error(self, version: int) -> TooNewError:
        return TooNewError(
            f"{self.path} was written by a newer version of this program (its format is {version}, this one"
            f" knows {FORMAT}): upgrade ai-usage-watcher, or move the file away to start again"
        )

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Bring the file up to date, in one transaction with the number of its format."""
        while (version := _read_schema_version(connection)) < FORMAT:
            try:
                connection.create_function("convert_record", 2, _convert_record, deterministic=True)
                connection.executescript(f"BEGIN IMMEDIATE; {get_script(version)}")
                connection.execute(f"PRAGMA user_version = {FORMAT}")
                connection.execute("COMMIT")
            except sqlite3.OperationalError:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if _read_schema_version(connection) == version:  # else another process did it just now
                    raise
        if version > FORMAT:
            raise self._make_too_new_error(version)

    def check_integrity(self) -> list[str]:
        """What SQLite's quick check finds wrong with the file; empty if nothing."""
        try:
            found = [str(row[0]) for row in self._db.execute("PRAGMA quick_check(10)")]
        except sqlite3.DatabaseError as error:
            return [str(error)]
        return [] if found == ["ok"] else found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    # --- reading and writing ----------------------------------------------------------------------------------------

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self._db.execute(sql, parameters)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each row."""
        self._db.executemany(sql, rows)

    def decode(self, text: str | None, kind: type[T], **columns: Any) -> T | None:
        """A record from its JSON text and the fields that have columns.

        None if the text is None, or cannot be read, which is reported once.
        """
        if text is None:
            return None
        try:
            return records.decode_json(text, kind, columns)
        except msgspec.MsgspecError as error:
            notice = f"{self.path.name}: one {kind.__name__} cannot be read and is left out ({error})"
            if notice not in self._reported:
                self._reported.add(notice)
                self.notices.append(notice)
            return None

    def invalidate_cache(self) -> None:
        """Note that earlier reads may be outdated."""
        self.generation += 1

    def run_transaction(self, work: Callable[[], T], *, now: datetime) -> T:
        """Run `work` in one transaction and return its result; `work` may run twice if the disk fails in between.

        Raises:
            StoreError: it cannot be written.
        """
        self.restore_file(now=now)
        try:
            return self._attempt_transaction(work)
        except sqlite3.DatabaseError as error:
            if _error_code(error) in _DISK_ERRORS and self._memory_fallback and not self.uses_memory:
                self._move_to_memory(error)
            elif _error_code(error) in _CORRUPTION_ERRORS:
                self._replace_damaged_file(now, error)
            else:
                raise StoreError(self._describe_error(error)) from error
        return self._attempt_transaction(work)

    def _attempt_transaction(self, work: Callable[[], T]) -> T:
        try:
            self._db.execute("BEGIN IMMEDIATE")  # waits until no other process writes
            result = work()
            self._db.execute("COMMIT")
        except BaseException:
            self.invalidate_cache()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        return result

    def _describe_error(self, error: sqlite3.Error) -> str:
        if _error_code(error) in _CORRUPTION_ERRORS:
            return f"{self.path} is damaged: move it away; `watcher run` then creates a new one"
        if _error_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return f"{self.path} is locked by another process: end it, or try again"
        if _error_code(error) in _DISK_ERRORS:
            verb = "read" if self._read_only else "write"
            return f"cannot {verb} {self.path} ({error}): free some disk space, or fix the permissions of its folder"
        return f"cannot use {self.path}: {error}"

    # --- when the disk or the file fails ----------------------------------------------------------------------------

    def reserve_room(self) -> None:
        """Have room on the disk for the transactions of the next days, as far as the disk has it now."""
        if self.uses_memory:
            return

        def work() -> None:
            self.execute("CREATE TABLE IF NOT EXISTS reserve (room BLOB) STRICT")
            self.execute("INSERT INTO reserve VALUES (zeroblob(?))", (RESERVED_BYTES,))

        with suppress(sqlite3.Error):  # the disk is full already
            self._attempt_transaction(work)
            self.execute("DROP TABLE reserve")  # its pages stay in the file, for others

    def _replace_damaged_file(self, now: datetime, error: sqlite3.Error) -> None:
        if hasattr(self, "_db"):
            self._db.close()
        aside = self._rename_damaged_file(now)
        self.invalidate_cache()
        self._db = self._open()
        self.notices.append(
            f"The database was damaged ({error}). It was renamed to {aside} and a new one created: history starts"
            " again, and alerts that are firing now may be repeated."
        )

    def _rename_damaged_file(self, now: datetime) -> str:
        """Rename the damaged file; return its new name."""
        stamp = now.strftime("%Y%m%dT%H%M%SZ")
        for suffix in ("", "-wal", "-shm"):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.replace(self.path.with_name(f"{self.path.name}.damaged-{stamp}{suffix}"))
        return f"{self.path.name}.damaged-{stamp}"

    def _move_to_memory(self, error: sqlite3.Error) -> None:
        self._use(self._copy_to_memory(), is_memory=True)
        with suppress(OSError):  # an empty file needs no room, as a rule
            self._memory_marker.touch(mode=0o600)
        self.notices.append(
            f"{self.path} cannot be written ({error}). Alerts go on from memory; free some disk space or fix the"
            " permissions, and everything is written to the disk again."
        )

    def _use(self, connection: sqlite3.Connection, *, is_memory: bool) -> None:
        self._db.close()
        self._db, self.uses_memory = connection, is_memory
        self.invalidate_cache()

    def _copy_to_memory(self) -> sqlite3.Connection:
        """A copy in memory; an empty database if nothing can be read."""
        memory = sqlite3.connect(":memory:", isolation_level=None)
        try:
            self._db.backup(memory)
            memory.execute("PRAGMA journal_mode = TRUNCATE")  # the copy is in the disk's mode, WAL
        except sqlite3.Error:
            memory.close()
            memory = sqlite3.connect(":memory:", isolation_level=None)
            self._migrate(memory)
        memory.execute("PRAGMA foreign_keys = ON")
        return memory

    def return_to_disk(self, *, now: datetime) -> None:
        """Write everything from memory to the disk, if that takes it again; otherwise stay in memory."""
        if not self.uses_memory or not self._has_room():
            return
        try:
            disk = self._open()
            with _close_on_error(disk):
                self._db.backup(disk)
        except (sqlite3.Error, StoreError) as error:
            if isinstance(error, sqlite3.Error) and _error_code(error) in _CORRUPTION_ERRORS:
                self._rename_damaged_file(now)  # the next attempt creates a new one
            return
        self._use(disk, is_memory=False)
        self.clear_memory_marker()
        self.reserve_room()

    def restore_file(self, *, now: datetime) -> None:
        """Write a new file if the open one was removed or replaced: it can still be read, but no one else sees it.

        What is in its place is set aside. Only the process that holds the lock does so.
        """
        if not self._memory_fallback or self.uses_memory or self._is_in_place():
            return
        if self.path.exists():
            self._rename_damaged_file(now)
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        with suppress(OSError):
            make_private_folder(self.path.parent)
        self._use(self._copy_to_memory(), is_memory=True)
        self.return_to_disk(now=now)
        self.notices.append(
            f"{self.path} was removed or replaced while the watcher was running. A new file was written from memory;"
            " nothing is lost."
        )

    def _is_in_place(self) -> bool:
        try:
            status = self.path.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._file_id

    def _has_room(self) -> bool:
        """Whether the whole database fits on the disk.

        Checked before the file is opened: SQLite maps its shared memory file, and without a free block for that the
        process ends with SIGBUS, which cannot be caught.
        """
        (pages,), (size,) = (self._db.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
        try:
            return free_bytes(self.path.parent) >= int(pages) * int(size) + SPARE_BYTES
        except OSError:
            return False
