"""The database: is it whole, how large, does the disk take more. Reads only."""

import os
import shutil
from collections.abc import Iterator
from shlex import quote

from watcher.core import phrases
from watcher.doctor import Finding, Scene, Verdict
from watcher.doctor.files import may
from watcher.store import FILE_NAME, Store

GROUP = "database"
LARGE = 512 * 2**20
SCARCE = 64 * 2**20
_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def database(scene: Scene) -> Iterator[Finding]:
    """Size and integrity, what was set aside, and room on the disk."""
    path = scene.own.state_dir / FILE_NAME
    if scene.store is None:
        if scene.never_asked:
            yield _finding(Verdict.WARN, "there is none yet: nothing was ever asked", "watcher check")
        else:
            yield _unusable(scene.store_error, str(path))
    else:
        yield _whole(scene, scene.store)
    for aside in sorted(scene.own.state_dir.glob(f"{FILE_NAME}.damaged-*")):
        if not aside.name.endswith(("-wal", "-shm")):
            message = f"{aside.name} was damaged and set aside; history before it is lost"
            yield _finding(Verdict.WARN, message, f"rm {quote(str(aside))}*")
    yield from _disk(scene)


def _unusable(error: str, path: str) -> Finding:
    """What `StoreError` says ends with what to do; only a damaged file must go, and never one of another version."""
    if "damaged" in error:
        return _finding(Verdict.FAIL, error, f"end the watcher, move {quote(path)} away, start it again")
    message, _, cure = error.rpartition(": ")
    return _finding(Verdict.FAIL, message or error, cure if message else f"ls -l {quote(path)}")


def _whole(scene: Scene, store: Store) -> Finding:
    path = scene.own.state_dir / FILE_NAME
    size = sum(each.stat().st_size for each in (path, path.with_name(f"{FILE_NAME}-wal")) if each.exists())
    many = phrases.amount(len(store.all_series()), "windows")
    if size > LARGE:
        return _finding(Verdict.WARN, f"it is whole, and has grown to {_bytes(size)}", "report it, please")
    return _finding(Verdict.OK, f"whole, {_bytes(size)}, {many} remembered")


def _disk(scene: Scene) -> Iterator[Finding]:
    """Where the disk refuses, the daemon goes on elsewhere and says so; what it keeps there ends with the session."""
    folder = scene.own.state_dir
    if not folder.is_dir():
        return
    free = shutil.disk_usage(folder).free
    if not may(folder, os.W_OK | os.X_OK):
        message = "the disk takes nothing, so a running daemon keeps everything elsewhere until it does"
        yield _finding(Verdict.FAIL, message, f"chmod u+w {quote(str(folder))}, or make the disk writable", "disk")
    elif free < SCARCE:
        yield _finding(Verdict.FAIL, f"only {_bytes(free)} are free", "free some disk space", "disk")
    else:
        yield _finding(Verdict.OK, f"{_bytes(free)} free", subject="disk")


def _bytes(count: int) -> str:
    for unit, size in _UNITS:
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def _finding(verdict: Verdict, message: str, cure: str = "", subject: str = FILE_NAME) -> Finding:
    return Finding(group=GROUP, subject=subject, verdict=verdict, message=message, cure=cure)
