"""Reads and opens files safely: only regular files, a limited size, and no links in the program's own folders.

A named pipe or a device could block forever or never end. A status line uses this module, so it imports little.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading

TYPE_CHECKING = False  # as in `typing`, which takes a tenth of the time of a status line
if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

if sys.platform == "win32":
    _READ_FLAGS, _NO_FOLLOW, NO_BLOCK = os.O_RDONLY | os.O_BINARY, 0, 0
else:
    _READ_FLAGS, _NO_FOLLOW, NO_BLOCK = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, os.O_NOFOLLOW, os.O_NONBLOCK
READ_TIMEOUT_S = 10.0
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def open_regular_file(path: str | Path) -> BufferedReader:
    """A regular file, open for reading, also through a link.

    Raises:
        OSError: it cannot be opened, or is something else.
    """
    require_regular_file(path, os.stat(path))  # before opening, which may have effects on a device
    file = os.fdopen(os.open(path, _READ_FLAGS), "rb")
    try:
        require_regular_file(path, os.fstat(file.fileno()))
    except OSError:
        file.close()
        raise
    return file


def require_regular_file(path: str | Path, status: os.stat_result) -> None:
    """Raise an `OSError` if that is the status of a folder, a named pipe or a device."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def read_file(path: str | Path, max_bytes: int) -> bytes:
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

    reader = threading.Thread(target=read, daemon=True)  # a read from a network disk that is gone cannot be interrupted
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


def replace_private_file(path: Path, content: bytes) -> None:
    """Write a file of our own that only its owner can read, atomically.

    Raises:
        OSError: it cannot be written; the old one is still there.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with os.fdopen(open_private_file(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
            file.write(content)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


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
    """Why other users can change a file, and how to fix it; None if they cannot.

    The file, its folder and, for a link, those of its target. A folder with the sticky bit protects what is in it.
    """
    from shlex import quote  # noqa: PLC0415 - not for a status line

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
