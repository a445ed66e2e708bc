"""Which files are the person's, and what tells that one of them changed. Never read one here."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from watcher.paths import Paths

SETTLED = timedelta(seconds=2)  # a file changed so lately may be half written, and half a config is a valid one

Stamp = tuple[tuple[str, int, int], ...]
"""(path, time of the last change in ns, size) of each file."""


def rule_files(paths: Paths) -> list[Path]:
    """Every file in the folder of rules, by name."""
    return sorted(paths.rules_dir.glob("*.toml"))


def stamp(paths: Paths, *, of_modes: bool = False) -> Stamp:
    """What tells whether any of the files changed; costs one `stat` a file.

    Args:
        paths: where they are.
        of_modes: a file whose owner or mode was changed has changed too.
    """
    found = []
    for path in (paths.config_file, *rule_files(paths)):
        try:
            status = path.stat()
        except OSError:
            continue
        found.append((str(path), status.st_ctime_ns if of_modes else status.st_mtime_ns, status.st_size))
    return tuple(found)


def is_settled(found: Stamp, now: datetime) -> bool:
    """Whether nobody is likely to be writing at this moment."""
    newest = max((modified_ns for _, modified_ns, _ in found), default=0)
    return abs(now - datetime.fromtimestamp(newest / 1e9, UTC)) >= SETTLED
