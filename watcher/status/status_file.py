"""`status.json` in the state folder: written after every change, read by `watcher status`, bars and other programs."""

import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from watcher.status.bars import FILE_NAME, SCHEMA_NAME
from watcher.status.builder import ConfigFacts, build_status, collect_config_facts, recover_config_facts, update_status
from watcher.status.document import StatusDocument, encode_json
from watcher.storage.store import Store

if TYPE_CHECKING:
    from watcher.config.loader import Config


def write_status(store: Store, config: "Config | None", *, now: datetime) -> None:
    """Write what the store knows, atomically, readable by its owner alone.

    Where that fails, the file is removed: readers then ask the store.

    Args:
        store: it says in which folder, too.
        config: the one in force; None: what the last file took from it is kept.
        now: this moment.
    """
    state_dir = store.path.parent
    if config is not None:
        facts = collect_config_facts(config)
    else:
        last = read_status(state_dir, now=now)
        facts = ConfigFacts() if last is None else recover_config_facts(last)
    content = encode_json(build_status(store, facts, now=now))
    path, draft = state_dir / FILE_NAME, state_dir / f"{FILE_NAME}.{os.getpid()}"
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        draft.replace(path)
    except OSError:
        for each in (draft, path):
            with suppress(OSError):
                each.unlink()


def read_status(state_dir: Path, *, now: datetime) -> StatusDocument | None:
    """The document, brought up to date; None if it is missing or of another version."""
    try:
        document = msgspec.json.decode((state_dir / FILE_NAME).read_bytes(), type=StatusDocument)
    except (OSError, msgspec.DecodeError):
        return None
    return update_status(document, now) if document.schema == SCHEMA_NAME else None
