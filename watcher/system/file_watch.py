"""Watches files for changes by the system's notifications."""

import errno
import os
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

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
