"""Which files are the person's, and what tells that one of them changed. Never read one here."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from watcher.system.paths import Paths

SETTLE_FOR = timedelta(seconds=2)  # a file changed so lately may be half written, and half a config is a valid one

ConfigFingerprint = tuple[tuple[str, int, int], ...]
"""(path, time of the last change in ns, size) of each file."""


def may_exist(path: Path) -> bool:
    """Whether the person has such a file, be it one that cannot be read: a link that leads nowhere, a closed folder.

    Taken for absent, it would be replaced by what ships without a word; whoever reads it says what is wrong.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def list_rule_files(paths: Paths) -> list[Path]:
    """Every file in the folder of rules, by name; none where there is no folder. Hidden ones are an editor's own.

    Errors: OSError where there is one that cannot be read. `glob` would find nothing in it, and end every alert.
    """
    try:
        found = list(paths.rules_dir.iterdir())
    except FileNotFoundError:
        return []
    return sorted(path for path in found if path.suffix == ".toml" and not path.name.startswith("."))


def fingerprint_config_files(paths: Paths, *, include_modes: bool = False) -> ConfigFingerprint:
    """What tells whether any of the files changed; costs one `stat` a file.

    Args:
        paths: where they are.
        include_modes: a file whose owner or mode was changed has changed too.
    """
    found = []
    try:
        rules = list_rule_files(paths)
    except OSError:
        rules = []
        found.append((str(paths.rules_dir), 0, -1))  # a change like any other: reading it says what is wrong
    for path in (paths.config_file, *rules):
        try:
            status = path.stat()
        except OSError:
            continue
        found.append((str(path), status.st_ctime_ns if include_modes else status.st_mtime_ns, status.st_size))
    return tuple(found)


def is_settled(fingerprint: ConfigFingerprint, now: datetime) -> bool:
    """Whether nobody is likely to be writing at this moment."""
    newest = max((modified_ns for _, modified_ns, _ in fingerprint), default=0)
    return abs(now - datetime.fromtimestamp(newest / 1e9, UTC)) >= SETTLE_FOR
