"""The store as commands look at it that change nothing. Never write here."""

from datetime import datetime

from watcher import doors, refuge
from watcher.paths import Paths
from watcher.store import DATABASE_FILE_NAME, Store


def open_store(paths: Paths, now: datetime) -> Store:
    """The store, to be looked at: also what is kept elsewhere while its disk refuses writes.

    Raises:
        StoreError: it cannot be read; `NoReadingsError` where there is none.
    """
    path = paths.state_dir / DATABASE_FILE_NAME
    return Store(path, now=now, read_only=True, fallback_path=refuge.seen(path, doors.read_host_info().env))
