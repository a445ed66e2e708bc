"""Reads another tool's JSON file without ever disturbing it.

A tool may be writing the file at this very moment: a text that does not parse is read again before it counts as broken.
Never write, lock, create or touch anything here.
"""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from watcher.errors import NotSignedInError

MAX_BYTES = 4 * 1024 * 1024  # bytes; a login file has a few thousand
MAX_ATTEMPTS = 4


def wait_for_writer() -> None:
    """Give the writer a moment."""
    threading.Event().wait(0.05)  # only ever paid for a file that does not parse


def read_json(path: Path, *, hint: str, wait: Callable[[], None] = wait_for_writer) -> dict[str, Any] | None:
    """The JSON object in that file; None where there is no such file.

    Args:
        path: the file.
        hint: what a person does about a broken file: "sign in again with `opencode auth login`".
        wait: waits a moment between two tries.

    Raises:
        NotSignedInError: it is there and cannot be used; the line names the file and the cure.
    """
    trouble = ""
    for attempt in range(MAX_ATTEMPTS):
        if attempt:
            wait()
        data = _read_bytes(path, hint)
        if data is None:
            return None
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            trouble = "is not JSON" if data.strip() else "is empty"
            continue
        if isinstance(value, dict):
            return value
        trouble = "holds no JSON object"
        break
    raise NotSignedInError(f"{path} {trouble}: {hint}")


def read_text(path: Path, *, hint: str) -> str | None:
    """The text in that file; None where there is no such file; errors as in `read_json`."""
    data = _read_bytes(path, hint)
    return None if data is None else data.decode("utf-8-sig", "replace")


def _read_bytes(path: Path, hint: str) -> bytes | None:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError:
        raise NotSignedInError(f"{path} is a folder, not a file: {hint}") from None
    except PermissionError:
        if path.is_dir():  # Windows refuses to open a folder with this error
            raise NotSignedInError(f"{path} is a folder, not a file: {hint}") from None
        raise NotSignedInError(f"{path} may not be read: give yourself permission to read it") from None
    except OSError as error:
        raise NotSignedInError(f"{path} cannot be read ({error.strerror or type(error).__name__}): {hint}") from None
    if len(data) > MAX_BYTES:
        raise NotSignedInError(f"{path} is too large for a login file: {hint}")
    return data


def read_mtime_s(path: Path) -> float | None:
    """When the file was last changed, in epoch seconds; None where it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None
