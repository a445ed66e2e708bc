"""The database: is it whole, how large, does the disk take more. Reads only."""

import os
import shutil
from collections.abc import Iterator
from shlex import quote

from watcher.core import phrases
from watcher.doctor import DoctorContext, Finding, Verdict
from watcher.doctor.files import has_access
from watcher.store import DATABASE_FILE_NAME, Store

DATABASE_GROUP = "database"
LARGE_BYTES = 512 * 2**20
LOW_DISK_BYTES = 64 * 2**20
_BYTE_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def check_database(context: DoctorContext) -> Iterator[Finding]:
    """Size and integrity, what was set aside, and room on the disk."""
    path = context.paths.state_dir / DATABASE_FILE_NAME
    if context.store is None:
        if context.never_polled:
            yield _make_database_finding(Verdict.WARN, "there is none yet: nothing was ever asked", "watcher check")
        else:
            yield _make_unusable_finding(context.store_error, str(path))
    else:
        yield _make_size_finding(context, context.store)
    for aside in sorted(context.paths.state_dir.glob(f"{DATABASE_FILE_NAME}.damaged-*")):
        if not aside.name.endswith(("-wal", "-shm")):
            message = f"{aside.name} was damaged and set aside; history before it is lost"
            yield _make_database_finding(Verdict.WARN, message, f"rm {quote(str(aside))}*")
    yield from _check_disk(context)


def _make_unusable_finding(error: str, path: str) -> Finding:
    """What `StoreError` says ends with what to do; only a damaged file must go, and never one of another version."""
    if "damaged" in error:
        return _make_database_finding(Verdict.FAIL, error, f"end the watcher, move {quote(path)} away, start it again")
    message, _, cure = error.rpartition(": ")
    return _make_database_finding(Verdict.FAIL, message or error, cure if message else f"ls -l {quote(path)}")


def _make_size_finding(context: DoctorContext, store: Store) -> Finding:
    path = context.paths.state_dir / DATABASE_FILE_NAME
    size = sum(each.stat().st_size for each in (path, path.with_name(f"{DATABASE_FILE_NAME}-wal")) if each.exists())
    many = phrases.format_amount(len(store.load_series()), "windows")
    if size > LARGE_BYTES:
        return _make_database_finding(
            Verdict.WARN, f"it is whole, and has grown to {_format_bytes(size)}", "report it, please"
        )
    return _make_database_finding(Verdict.OK, f"whole, {_format_bytes(size)}, {many} remembered")


def _check_disk(context: DoctorContext) -> Iterator[Finding]:
    """Where the disk refuses, the daemon goes on elsewhere and says so; what it keeps there ends with the session."""
    folder = context.paths.state_dir
    if not folder.is_dir():
        return
    free = shutil.disk_usage(folder).free
    if not has_access(folder, os.W_OK | os.X_OK):
        message = "the disk takes nothing, so a running daemon keeps everything elsewhere until it does"
        yield _make_database_finding(
            Verdict.FAIL, message, f"chmod u+w {quote(str(folder))}, or make the disk writable", "disk"
        )
    elif free < LOW_DISK_BYTES:
        yield _make_database_finding(
            Verdict.FAIL, f"only {_format_bytes(free)} are free", "free some disk space", "disk"
        )
    else:
        yield _make_database_finding(Verdict.OK, f"{_format_bytes(free)} free", subject="disk")


def _format_bytes(count: int) -> str:
    for unit, size in _BYTE_UNITS:
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def _make_database_finding(verdict: Verdict, message: str, fix: str = "", subject: str = DATABASE_FILE_NAME) -> Finding:
    return Finding(group=DATABASE_GROUP, subject=subject, verdict=verdict, message=message, cure=fix)
