"""Reads and opens files with care: only regular ones, only so many bytes, no links in our own folder. Notices changes.

A named pipe or a device in the place of a file would hang the program or never end. Standard library only.
"""

import errno
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import BinaryIO

if sys.platform == "win32":
    _READ_FLAGS, _NO_FOLLOW, NO_BLOCK = os.O_RDONLY | os.O_BINARY, 0, 0
else:
    _READ_FLAGS, _NO_FOLLOW, NO_BLOCK = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, os.O_NOFOLLOW, os.O_NONBLOCK
READ_TIMEOUT_S = 10.0
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def open_regular_file(path: Path) -> BinaryIO:
    """A regular file, open for reading, also through a link.

    Raises:
        OSError: it cannot be opened, or is something else.
    """
    require_regular_file(path, path.stat())  # before it is opened, which may already do something to a device
    file = os.fdopen(os.open(path, _READ_FLAGS), "rb")
    try:
        require_regular_file(path, os.fstat(file.fileno()))
    except OSError:
        file.close()
        raise
    return file


def require_regular_file(path: Path, status: os.stat_result) -> None:
    """Raise an `OSError` if that is the status of a folder, a named pipe or a device."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def read_file(path: Path, max_bytes: int) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: it cannot be read, is something else, is larger (`errno.EFBIG`), or lies on a disk that does not answer
            (`TimeoutError`); `strerror` says which.
    """
    outcome: list[bytes | Exception] = []

    def read() -> None:
        try:
            with open_regular_file(path) as file:
                outcome.append(file.read(max_bytes + 1))
        except (OSError, ValueError) as error:  # ValueError: a path with a null character
            outcome.append(error)

    reader = threading.Thread(target=read, daemon=True)  # a network disk that is gone cannot be interrupted
    reader.start()
    reader.join(READ_TIMEOUT_S)
    data = outcome[0] if outcome else TimeoutError(errno.ETIMEDOUT, f"no answer in {READ_TIMEOUT_S:g} s", str(path))
    if isinstance(data, Exception):
        raise data
    if len(data) > max_bytes:
        raise OSError(errno.EFBIG, f"larger than {max_bytes:,} bytes", str(path))
    return data


def open_private_file(path: str | Path, flags: int) -> int:
    """A descriptor of a file of our own that only its owner can read; a link is not followed.

    Raises:
        OSError: it cannot be opened, or is a link.
    """
    return os.open(path, flags | _NO_FOLLOW, 0o600)


def describe_write_error(path: Path, error: OSError) -> str:
    """Why a file of our own cannot be written, and what to do."""
    if error.errno == errno.ELOOP:
        return f"cannot write {path}: it is a link, and links are not followed here; remove it"
    if error.errno == errno.EINVAL:
        return f"cannot write {path}: it is not a regular file; move it away"
    if error.errno == errno.EPERM and error.filename == str(path.parent):
        return f"cannot write {path}: others can write its folder; set WATCHER_STATE_DIR to a folder of your own"
    return f"cannot write {path}: {error.strerror}; make the folder writable or set WATCHER_STATE_DIR"


def make_private_folder(path: Path) -> None:
    """Create a folder of our own; close it to others if they can write it.

    Raises:
        OSError: it cannot be created or closed, or is shared on purpose (such as `/tmp`).
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = path.stat().st_mode
    if sys.platform != "win32" and mode & _OTHERS_WRITE:
        if mode & stat.S_ISVTX:
            raise OSError(errno.EPERM, "others can write this folder", str(path))
        path.chmod(0o700)


def find_write_problem(path: Path) -> str | None:
    """What lets others change a file, and how to fix it; None if nothing does.

    The file, its folder and, for a link, those of its target. A folder with the sticky bit protects what is in it.
    """
    target = path.resolve()
    for each in dict.fromkeys((target, path.parent, target.parent)):
        try:
            status = each.stat()
        except OSError:
            continue
        is_sticky = stat.S_ISDIR(status.st_mode) and bool(status.st_mode & stat.S_ISVTX)
        if sys.platform != "win32":
            if status.st_mode & _OTHERS_WRITE and not is_sticky:
                what = "it" if each == path else str(each)
                return f"others can write {what}, and so name programs and addresses: chmod go-w {quote(str(each))}"
            if os.geteuid() not in (0, status.st_uid) and status.st_uid != 0:
                return f"{each} belongs to another user: chown {os.geteuid()} {quote(str(each))}"
    return None


# --- changes --------------------------------------------------------------------------------------------------------

if sys.platform == "linux":
    import fcntl
    import signal

    class _Notifier:
        """`dnotify`: a signal for each change in a folder. Unlike `inotify` it needs no thread, C library or quota."""

        def __init__(self, on_change: Callable[[], None]) -> None:
            signal.signal(signal.SIGIO, lambda _number, _frame: on_change())

        def add(self, path: Path) -> int:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            events = fcntl.DN_CREATE | fcntl.DN_MODIFY | fcntl.DN_RENAME | fcntl.DN_DELETE | fcntl.DN_ATTRIB
            try:
                fcntl.fcntl(descriptor, fcntl.F_NOTIFY, events | fcntl.DN_MULTISHOT)
            except OSError:
                os.close(descriptor)
                raise
            return descriptor

        def remove(self, descriptor: int) -> None:
            os.close(descriptor)

elif sys.platform == "darwin":
    import select

    class _Notifier:
        """`kqueue`: a folder tells which files are in it, a file tells that it was written."""

        def __init__(self, on_change: Callable[[], None]) -> None:
            self._on_change, self._queue = on_change, select.kqueue()
            threading.Thread(target=self._wait, daemon=True).start()

        def _wait(self) -> None:
            while self._queue.control(None, 1):
                self._on_change()

        def add(self, path: Path) -> int:
            descriptor = os.open(path, os.O_EVTONLY)
            notes = select.KQ_NOTE_WRITE | select.KQ_NOTE_ATTRIB | select.KQ_NOTE_DELETE | select.KQ_NOTE_RENAME
            event = select.kevent(descriptor, select.KQ_FILTER_VNODE, select.KQ_EV_ADD | select.KQ_EV_CLEAR, notes)
            self._queue.control([event], 0)
            return descriptor

        def remove(self, descriptor: int) -> None:
            os.close(descriptor)  # also takes it out of the queue

elif sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _KERNEL = ctypes.WinDLL("kernel32")
    _KERNEL.FindFirstChangeNotificationW.argtypes = (wintypes.LPCWSTR, wintypes.BOOL, wintypes.DWORD)
    _KERNEL.FindFirstChangeNotificationW.restype = ctypes.c_ssize_t
    for _function in (_KERNEL.FindNextChangeNotification, _KERNEL.FindCloseChangeNotification):
        _function.argtypes = (ctypes.c_ssize_t,)
    _KERNEL.WaitForSingleObject.argtypes = (ctypes.c_ssize_t, wintypes.DWORD)
    _CHANGES = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x100  # names of files and folders, attributes, size, write, security

    class _Notifier:
        """Change notifications: a thread waits for each folder, until the folder is gone."""

        def __init__(self, on_change: Callable[[], None]) -> None:
            self._on_change = on_change

        def add(self, path: Path) -> int:
            handle: int = _KERNEL.FindFirstChangeNotificationW(str(path), 0, _CHANGES)
            if handle == -1:
                raise OSError(errno.ENOTDIR, "no notification", str(path))
            threading.Thread(target=self._wait, args=(handle,), daemon=True).start()
            return handle

        def _wait(self, handle: int) -> None:
            while _KERNEL.WaitForSingleObject(handle, 0xFFFFFFFF) == 0:
                self._on_change()
                if not _KERNEL.FindNextChangeNotification(handle):
                    break
            _KERNEL.FindCloseChangeNotification(handle)

        def remove(self, handle: int) -> None:
            """Nothing to do: its thread ends with the folder."""


class FileWatch:
    """Calls `on_change`, in any thread or in a signal handler, after a change of the watched folders and files.

    Only as far as the system notices changes: not those that another machine makes on a network disk.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._notifier = _Notifier(on_change)
        self._watched: dict[tuple[int, int], int] = {}  # device and inode -> descriptor or handle

    def set_paths(self, paths: Iterable[Path]) -> None:
        """Watch these paths and no others; one that is not there is left out."""
        found: dict[tuple[int, int], Path] = {}
        for path in paths:
            with suppress(OSError):
                status = path.stat()
                found[status.st_dev, status.st_ino] = path
        for key in self._watched.keys() - found.keys():
            self._notifier.remove(self._watched.pop(key))
        for key in found.keys() - self._watched.keys():
            with suppress(OSError):
                self._watched[key] = self._notifier.add(found[key])
