"""The lock file that allows one watcher at a time; the system releases it when its holder ends."""

import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

from watcher.errors import StoreError
from watcher.system.files import describe_write_error, make_private_folder, open_private_file

LOCK_FILE_NAME = "watcher.lock"
BRIEF_MARK = " polls once"
CHECK_INTERVAL_S = 0.001

if sys.platform == "win32":
    from watcher.system.windows import try_lock as _try_lock
else:
    import fcntl

    def _try_lock(descriptor: int, *, shared: bool = False) -> bool:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


class Lock:
    """The lock of one state folder."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / LOCK_FILE_NAME
        self._descriptor: int | None = None

    def acquire(self, *, brief: bool = True) -> bool:
        """Take the lock and write this process' id into it; False if another process holds it.

        Args:
            brief: for one poll, not for a daemon's life.
        """
        try:
            make_private_folder(self.path.parent)
            descriptor = open_private_file(self.path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise StoreError(describe_write_error(self.path, error)) from error
        if sys.platform != "win32" and signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:
            with suppress(ValueError):  # another thread than the main one
                signal.signal(
                    signal.SIGUSR1, signal.SIG_IGN
                )  # the holder may get it, and by default it ends the process
        while not _try_lock(descriptor):
            if not _try_lock(descriptor, shared=True):
                os.close(descriptor)
                return False
            threading.Event().wait(CHECK_INTERVAL_S)  # nobody holds it: another process is in `is_free`
        text = f"{os.getpid()}{BRIEF_MARK if brief else ''}\n".encode()
        try:
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, text)  # in place: a full disk may not give freed space back
            os.ftruncate(descriptor, len(text))
        except OSError as error:
            os.close(descriptor)
            raise StoreError(f"cannot write {self.path}: {error.strerror}; free some disk space") from error
        self._descriptor = descriptor
        return True

    def renew(self) -> None:
        """Take the lock again if its file was removed or replaced; another process may hold the new one for now."""
        if self._descriptor is None:
            return
        with suppress(OSError):
            if os.path.samestat(os.fstat(self._descriptor), self.path.stat()):
                return
        fresh = Lock(self.path.parent)
        with suppress(StoreError):
            if fresh.acquire(brief=False):
                os.close(self._descriptor)
                self._descriptor = fresh._descriptor

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def signal_holder(self) -> bool:
        """Wake the holder, which then checks the database; False if there is no holder that can be woken."""
        holder = self.read_holder_pid()
        if not holder:
            return False
        if sys.platform == "win32":
            from watcher.system import windows  # noqa: PLC0415 - not on other systems

            return windows.wake_process(holder)
        else:  # noqa: RET505 - mypy calls a line after it unreachable on Windows
            try:
                os.kill(holder, signal.SIGUSR1)
            except OSError:  # the holder has just ended
                return False
            return True

    def read_holder_pid(self) -> int | None:
        """The holder's process id, 0 if it cannot be read; None if there is no holder."""
        if self.is_free():
            return None
        with suppress(OSError, ValueError, IndexError):
            return int(self.path.read_text("ascii").split()[0])
        return 0

    def is_brief(self) -> bool:
        """Whether the holder is a command that polls once."""
        try:
            return self.path.read_text("ascii").strip().endswith(BRIEF_MARK)
        except (OSError, ValueError):
            return False

    def is_free(self) -> bool:
        """Whether no process holds the lock. Keeps and creates nothing."""
        try:
            descriptor = open_private_file(self.path, os.O_RDWR)
        except OSError:
            return True
        try:
            return _try_lock(descriptor, shared=True)
        finally:
            os.close(descriptor)
