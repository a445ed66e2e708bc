"""When a provider's tools on this machine were last used, from the modification times of their session files.

A hint only: usage on other machines leaves no trace here. Reads no file, looks at a bounded number of entries, and is
switched off by `[poll] hints = false`.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from watcher.credentials import HostInfo

MAX_ENTRIES = 400  # looked at, newest folders first: a long history costs no more than a short one
MAX_DEPTH = 4  # Codex keeps its sessions below year/month/day

SESSION_FOLDERS: dict[str, tuple[str, ...]] = {
    "claude": (".claude/projects", ".local/share/opencode/storage/session"),
    "codex": (".codex/sessions", ".local/share/opencode/storage/session"),
    "copilot": (".copilot/history-session-state", ".local/share/opencode/storage/session"),
    "gemini_cli": (".gemini/tmp", ".local/share/opencode/storage/session"),
    "nano_gpt": (".local/share/opencode/storage/session",),
}
"""Provider -> where its tools keep their sessions, below the home folder."""


def find_last_activity(provider: str, host_info: HostInfo) -> datetime | None:
    """When a session of the provider last changed; None if there is none."""
    times = [
        at for folder in _list_session_folders(provider, host_info) if (at := _find_newest_mtime(folder)) is not None
    ]
    return datetime.fromtimestamp(max(times), UTC) if times else None


def _list_session_folders(provider: str, host_info: HostInfo) -> Iterator[Path]:
    for folder in SESSION_FOLDERS.get(provider, ()):
        yield host_info.home / folder
    if provider == "claude" and (own := host_info.env.get("CLAUDE_CONFIG_DIR")):
        yield Path(own) / "projects"
    if provider == "codex" and (own := host_info.env.get("CODEX_HOME")):
        yield Path(own) / "sessions"


def _find_newest_mtime(folder: Path) -> float | None:
    """Modification time of the newest entry, in seconds since 1970."""
    newest: float | None = None
    seen = 0
    queue = [(0.0, 0, str(folder))]
    while queue and seen < MAX_ENTRIES:
        queue.sort()
        _, depth, path = queue.pop()
        try:
            entries = os.scandir(path)
        except OSError:
            continue
        with entries:
            for entry in entries:
                seen += 1
                if seen > MAX_ENTRIES:
                    break
                try:
                    changed = entry.stat(follow_symlinks=False).st_mtime
                    is_folder = entry.is_dir(follow_symlinks=False)
                except OSError:
                    continue
                newest = changed if newest is None else max(newest, changed)
                if is_folder and depth + 1 < MAX_DEPTH:
                    queue.append((changed, depth + 1, entry.path))
    return newest
