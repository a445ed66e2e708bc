"""Data from other programs on its way to the store: one file for each source, the newest entry only.

A program that must not wait (Claude Code's status line) writes here within milliseconds; the process that owns the
store takes the entry, so that the store has only one writer. Standard library only.
"""

import contextlib
import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from watcher.system.files import make_private_folder, read_file, replace_private_file

INBOX_FOLDER = "inbox"
CLAUDE_STATUSLINE = "claude-statusline"
MAX_ENTRY_CHARS = 64 * 1024


def write_entry(state_dir: Path, source: str, content: dict[str, Any], at: datetime) -> None:
    """Write the entry, replacing the last one atomically.

    Raises:
        OSError: the folder cannot be written.
        ValueError: the entry is far too large.
    """
    text = json.dumps({"at": at.isoformat(), "content": content})
    if len(text) > MAX_ENTRY_CHARS:
        raise ValueError("larger than any status line")
    folder = state_dir / INBOX_FOLDER
    make_private_folder(state_dir)
    make_private_folder(folder)
    replace_private_file(folder / f"{source}.json", text.encode())


def pop_entry(state_dir: Path, source: str) -> tuple[dict[str, Any], datetime] | None:
    """Take the last entry and its time; None if there is none, or if it is invalid."""
    path = state_dir / INBOX_FOLDER / f"{source}.json"
    mine = path.with_suffix(f".{os.getpid()}.taken")
    try:
        path.replace(mine)
        text = read_file(mine, 4 * MAX_ENTRY_CHARS).decode()
    except (OSError, UnicodeDecodeError):
        return None
    finally:
        with contextlib.suppress(OSError):
            mine.unlink(missing_ok=True)
    try:
        envelope = json.loads(text)
        content, at = envelope["content"], datetime.fromisoformat(envelope["at"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return (content, at) if isinstance(content, dict) and at.tzinfo is not None else None
