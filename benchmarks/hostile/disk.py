"""A small file system of its own for the state folder, which can be filled, and breaks as disks do. Linux, as root.

ext4 in an image: told to `abort` it is read-only at once for whoever has files open, as after an error of the disk; it
is mended as a person would, unmounted and checked. Never decide here when.
"""

import os
import sqlite3  # noqa: TID251 - only to empty the log of the daemon's own
import subprocess  # noqa: TID251 - mounting takes programs
import sys
import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

SIZE_MB = 48
_TRIES = 50
_PAUSE_S = 0.02
_SHARED_MEMORY = Path("/dev/shm")  # for an image that is synced a thousand times
CHECKED = {0, 1}  # e2fsck: nothing was wrong, or it is mended


class Disk:
    """The state folder, on an image of its own where that is allowed."""

    def __init__(self, folder: Path, beside: Path) -> None:
        self.folder = folder
        own = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else beside
        self._image = own / f"{beside.name}.img"
        self._device = ""  # one for the whole run: a second one would not see what the first has not yet written
        self.is_mounted = False

    def mount(self) -> bool:
        """Make and mount it; False where that cannot be done here."""
        if sys.platform != "linux" or os.geteuid() != 0:
            return False
        with self._image.open("wb") as image:
            image.truncate(SIZE_MB << 20)
        if _run(["mkfs.ext4", "-q", "-F", "-m", "0", str(self._image)]) != 0:
            return False
        self._device = _said(["losetup", "--find", "--show", str(self._image)])
        self.is_mounted = bool(self._device) and self._attach()
        if self.is_mounted:
            self.folder.chmod(0o700)
        return self.is_mounted

    def unmount(self) -> None:
        """Keep what is in it below the folder, and remove it."""
        if self.is_mounted:
            content = {path.name: path.read_bytes() for path in self.folder.iterdir() if path.is_file()}
            _run(["umount", str(self.folder)])
            for name, data in content.items():
                (self.folder / name).write_bytes(data)
        self.is_mounted = False
        if self._device:
            _run(["losetup", "--detach", self._device])
        self._image.unlink(missing_ok=True)

    def fill(self) -> None:
        """Leave no block free."""
        descriptor = os.open(self._filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with suppress(OSError):
            for size in (1 << 20, 4096, 1):
                with suppress(OSError):
                    while True:
                        os.write(descriptor, b"x" * size)
        os.close(descriptor)

    def use_up(self, database: Path) -> None:
        """Leave no block free, also none in the database's log, as after days on a full disk."""
        with closing(sqlite3.connect(database)) as connection, suppress(sqlite3.Error):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.fill()

    def empty(self) -> None:
        """Free what was filled."""
        self._filler.unlink(missing_ok=True)

    def lock(self) -> bool:
        """Read-only, while nobody has it open."""
        return _run(["mount", "-o", "remount,ro", str(self.folder)]) == 0

    def unlock(self) -> bool:
        """Writable again."""
        return _run(["mount", "-o", "remount,rw", str(self.folder)]) == 0

    def abort(self) -> bool:
        """Read-only at once, whoever has it open."""
        return _run(["mount", "-o", "remount,abort", str(self.folder)]) == 0

    def mend(self) -> bool:
        """Writable again after `abort`; nobody may have it open."""
        for _ in range(_TRIES):  # a process that was just killed may not be gone from it
            if _run(["umount", str(self.folder)]) == 0:
                return _run(["e2fsck", "-fy", self._device]) in CHECKED and self._attach()
            threading.Event().wait(_PAUSE_S)
        return False

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"

    def _attach(self) -> bool:
        return _run(["mount", self._device, str(self.folder)]) == 0


def _said(command: Sequence[str]) -> str:
    """What a program printed; empty where it failed."""
    try:
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
    except (FileNotFoundError, subprocess.CalledProcessError):
        return ""


def _run(command: Sequence[str]) -> int:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode
    except FileNotFoundError:
        return 127
