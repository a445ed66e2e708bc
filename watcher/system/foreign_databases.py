"""Reads the SQLite files of other programs without changing anything.

A read-only connection is not enough: in WAL mode it creates `-wal` and `-shm` files beside an unused database and
writes to the index of one in use. A copy of the main file alone is out of date, and `immutable` ignores the log. So the
header and the files beside it decide how a database is opened; if a lock prevents that, a private copy is read.
"""

import sqlite3  # noqa: TID251 - other programs' databases are opened here
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from watcher.core.model import DatabaseQuery, QueryResult
from watcher.errors import ForbiddenError, NotSignedInError, ProviderError, ShapeChangedError, TimedOutError
from watcher.system import clock
from watcher.system.files import open_regular_file

LOCK_TIMEOUT_S = 2.0
READ_ATTEMPTS = 3  # a file that changes while it is read is read again
MAX_COPY_BYTES = 512 * 1024 * 1024  # copying a larger one would slow the machine down
SIDECAR_SUFFIXES = ("-wal", "-journal")  # what a copy needs beside the main file; `-shm` is rebuilt from them
HEADER_BYTES = 100
SETTLE_FOR = timedelta(seconds=2)  # a second change may have the same modification time: so recent a file is read again
CORRUPTION_CODES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
WAL_VERSION = 2  # of the header's byte 18; 1 is a rollback journal

_results: dict[DatabaseQuery, tuple[str, QueryResult]] = {}  # query -> version of the files, and what they gave


def read_database(query: DatabaseQuery, *, now: Callable[[], datetime] = clock.utc_now) -> QueryResult:
    """The rows of the query, as another program last committed them; none if the table is missing.

    A file that has not changed since the same query is not opened again.

    Raises:
        NotSignedInError: there is no such file.
        ForbiddenError: it may not be read.
        TimedOutError: it stays locked, or keeps changing.
        ShapeChangedError: it is damaged, or no database.
    """
    path = Path(query.path).resolve()  # the log is beside the file itself, not beside a link to it
    for _ in range(READ_ATTEMPTS):
        version, modified_at = _stat_files(path)
        known_version, known = _results.get(query, ("", None))
        if known is not None and version == known_version:
            return msgspec.structs.replace(known, received_at=now())
        rows: list[tuple[object, ...]] | None
        try:
            rows, is_whole = _read_in_place(path, query)
        except sqlite3.DatabaseError as error:
            if _stat_files(path)[0] != version:
                continue  # it was being written
            if _error_code(error) in CORRUPTION_CODES:
                raise _make_damaged_error(path) from None
            if _error_code(error) == sqlite3.SQLITE_ERROR:
                raise ShapeChangedError(f"{path} has a new layout ({error}); look for a newer version") from None
            rows, is_whole = _read_copy(path, query), False
        is_changed = _stat_files(path)[0] != version
        if rows is not None and (is_whole or not is_changed):
            at = now()
            result = QueryResult(rows=tuple(rows), modified_at=modified_at, received_at=at)
            if not is_changed and at - modified_at > SETTLE_FOR:
                _results[query] = version, result
            return result
    raise TimedOutError(f"{path} is locked by another program or keeps changing; it is read again at the next poll")


def _read_in_place(path: Path, query: DatabaseQuery) -> tuple[list[tuple[object, ...]], bool]:
    """The rows, through a connection to the file itself, and whether a lock kept them whole."""
    address = path.absolute().as_uri()
    if not _is_wal(path):
        return _query_rows(f"{address}?mode=ro", query), True
    if _sidecar_path(path, "-wal").exists():
        return _query_rows(f"{address}?mode=ro&readonly_shm=1", query), True
    return _query_rows(f"{address}?mode=ro&immutable=1", query), False  # at rest: there is no log, nor any lock


def _read_copy(path: Path, query: DatabaseQuery) -> list[tuple[object, ...]] | None:
    """The rows, from a temporary copy in a private folder; None if the file changed while it was copied."""
    import shutil  # noqa: PLC0415 - with its decompressors, 0.5 MB, and rarely needed
    import tempfile  # noqa: PLC0415 - likewise

    if path.stat().st_size > MAX_COPY_BYTES:
        raise TimedOutError(f"{path} is locked by another program and too large to copy; it is read again later")
    with tempfile.TemporaryDirectory(prefix="ai-usage-watcher-") as folder:
        copy = Path(folder, "copy.db")
        try:
            for suffix in ("", *SIDECAR_SUFFIXES):
                if _sidecar_path(path, suffix).exists():
                    shutil.copyfile(_sidecar_path(path, suffix), _sidecar_path(copy, suffix))
            return _query_rows(copy.as_uri(), query)
        except (OSError, sqlite3.DatabaseError):
            return None


def _query_rows(uri: str, query: DatabaseQuery) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(uri, uri=True, timeout=LOCK_TIMEOUT_S, isolation_level=None)
    try:
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        return connection.execute(query.sql, query.parameters).fetchall()
    except sqlite3.OperationalError as error:
        if str(error).startswith("no such table"):
            return []
        raise
    finally:
        connection.close()


def _is_wal(path: Path) -> bool:
    """Whether the database has a write-ahead log, by its header."""
    try:
        with open_regular_file(path) as file:
            header = file.read(HEADER_BYTES)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise NotSignedInError(
            f"{path} does not exist: start the program that owns it once, or correct the path"
        ) from None
    except OSError as error:
        raise ForbiddenError(f"{path} cannot be read: {error.strerror}; let this user read it") from None
    if header and not header.startswith(b"SQLite format 3\0"):
        raise _make_damaged_error(path)
    return len(header) == HEADER_BYTES and header[18] == WAL_VERSION


def _error_code(error: sqlite3.DatabaseError) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _make_damaged_error(path: Path) -> ProviderError:
    return ShapeChangedError(f"{path} is damaged or no SQLite database; let the program that owns it write it again")


def _sidecar_path(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _stat_files(path: Path) -> tuple[str, datetime]:
    """A text that differs after a change of the file or its log, empty without a file; and when they last changed."""
    found = {}
    for suffix in ("", *SIDECAR_SUFFIXES):
        with suppress(OSError):
            status = _sidecar_path(path, suffix).stat()
            found[suffix] = status.st_mtime_ns, status.st_size
    changed_ns = max((changed_ns for changed_ns, _ in found.values()), default=0)
    return repr(found) if "" in found else "", datetime.fromtimestamp(changed_ns / 1e9, UTC)
