"""A second place for the database while its disk refuses writes: it outlives the process, the memory does not.

What was told from memory and then forgotten by a kill is a lie from then on: the receivers believe one thing, the
watcher another. The place is a folder that ends with the session (`$XDG_RUNTIME_DIR`, on Linux a file system in
memory), else one of this person's own among the temporary files. Never open a database here.
"""

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

from watcher.system.paths import APP_NAME

FORGOTTEN = timedelta(days=1)
"""A refuge so much older than the file it stands for is of a time that nobody remembers: messages live no longer."""

SPARE = 1 << 20
"""Bytes beside the database's own: for SQLite's two other files."""
_SESSIONS = Path("/run/user")


def place(database: Path, env: Mapping[str, str], *, make: bool = True) -> Path | None:
    """The file that stands for this database, its folder made; None where no folder is this person's alone."""
    name = sha256(os.fsencode(database.absolute())).hexdigest()[:16]
    return next((folder / f"{name}.db" for folder in _folders(env) if _is_private(folder, make=make)), None)


def seen(database: Path, env: Mapping[str, str]) -> Path | None:
    """The same for who only looks: no folder is made, and there is None where nothing is kept."""
    found = place(database, env, make=False)
    return found if found is not None and is_left(found, database) else None


def is_left(refuge: Path, database: Path) -> bool:
    """Whether an earlier process kept something there that still counts."""
    if not refuge.exists():
        return False
    gap_s = max(_modified_s(_with(database, suffix)) for suffix in ("", "-wal")) - _modified_s(refuge)
    return gap_s < FORGOTTEN.total_seconds()


def has_room(database: Path, size: int) -> bool:
    """Whether the disk could take so many bytes more.

    It is asked before the file is opened: SQLite maps a file of its own into memory there, and a disk that has no block
    left for a page of it ends the process (SIGBUS), without any error that could be caught.
    """
    try:
        return free_bytes(database.parent) >= size + SPARE
    except OSError:
        return False


def free_bytes(folder: Path) -> int:
    """Of the disk that the folder is on."""
    return shutil.disk_usage(folder).free


def prepare(refuge: Path) -> None:
    """An empty file that nobody else can read. OSError where there is no room or no right."""
    discard(refuge)
    os.close(os.open(refuge, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def discard(refuge: Path) -> None:
    """Remove the file and what stands beside it: first that, which would be taken for another's."""
    for suffix in ("-journal", "-wal", "-shm", ""):
        with suppress(OSError):
            _with(refuge, suffix).unlink()
    with suppress(OSError):  # where somebody looks at it just now, Windows keeps it: what is empty stands for nothing
        os.truncate(refuge, 0)


def _folders(env: Mapping[str, str]) -> Iterator[Path]:
    user = str(os.getuid()) if hasattr(os, "getuid") else ""
    for folder in (env.get("XDG_RUNTIME_DIR", ""), str(_SESSIONS / user) if user else ""):  # cron knows no session
        if Path(folder).is_absolute() and Path(folder).is_dir():
            yield Path(folder) / APP_NAME
    temporary = Path(env.get("TMPDIR") or env.get("TEMP") or "/tmp")  # noqa: S108 - made private below, or not used
    yield temporary / f"{APP_NAME}-{user}"


def _is_private(folder: Path, *, make: bool) -> bool:
    """Make the folder; False where it cannot be had, or is somebody else's: anybody may lay one into /tmp."""
    try:
        if make:
            folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(status.st_mode):
        return False
    return not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o077)


def _with(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _modified_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
