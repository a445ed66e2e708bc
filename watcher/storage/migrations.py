"""The format of the database, and the SQL that creates it or upgrades an older file.

`PRAGMA user_version` is the format of a file. Opening an older file upgrades it in one transaction, so that an
interrupted upgrade is repeated as a whole. A file of a newer format is not opened. `schema.sql` has the tables.

For the next format: change `schema.sql`, raise `FORMAT`, and let `get_script` upgrade from the format before.
"""

import json
import sqlite3  # noqa: TID251 - only this package uses it
from pathlib import Path
from typing import Any

FORMAT = 4

_IN_COLUMNS = {
    "Snapshot": ("provider", "account"),
    "PollFailure": ("provider", "account"),
    "SeriesState": ("series",),
    "AlertState": ("series",),
    "Transition": ("series",),
    "Delivery": ("about",),
    "Suppression": ("series", "said"),
    "Snooze": ("target",),
}
"""Keys of old JSON that have columns, or rows of another table, since format 4."""
_RENAMED = {
    "Snapshot": {"whole": "complete"},
    "SeriesState": {
        "boundary": "boundary_at",
        "doubt": "suspect",
        "doubts": "suspect_count",
        "standing": "validity",
        "heard_at": "last_seen_at",
        "asked_at": "polled_at",
        "watched_from": "resumed_at",
    },
    "SuspectReading": {"at": "received_at", "turn": "is_reset"},
    "AlertState": {
        "at": "changed_at",
        "step": "level_index",
        "told": "notified_level_index",
        "heard": "notified_severities",
        "held": "met_for",
        "clock_at": "timers_at",
        "silent_at": "unknown_since",
        "fired": "fired_count",
        "reminded": "reminder_count",
        "muted": "inhibited",
    },
    "Transition": {"heard": "notified_severities", "nth": "occurrence"},
    "Suppression": {"at": "decided_at", "key": "transition_key"},
    "Delivery": {"doubted": "was_in_doubt", "outcome": "last_response"},
    "Snooze": {"until": "expires_at"},
    "StoppedChannel": {"settings": "settings_fingerprint", "at": "stopped_at"},
}
"""Old JSON keys and their names since format 4."""

_INHIBITED: dict[str, Any] = {
    "phase": "pending",
    "severity": None,
    "level_index": -1,
    "notified_level_index": -1,
    "notified_severities": [],
    "remind_at": None,
}
"""Alerts that fired silently while this machine was offline are pending since format 4."""


def prepare(connection: sqlite3.Connection) -> None:
    """Register the SQL function that the script calls."""
    connection.create_function("convert_record", 2, _convert_record, deterministic=True)


def _convert_record(kind: str, text: str | None) -> str | None:
    """A record of an earlier format as format 4 has it; one that cannot be read stays the same."""
    try:
        old = json.loads(text or "")
    except ValueError:
        return text
    if not isinstance(old, dict):
        return text
    new = _rename_keys(kind, old)
    if kind == "SeriesState" and isinstance(new.get("suspect"), dict):
        new["suspect"] = _rename_keys("SuspectReading", new["suspect"])
    if kind == "AlertState" and new.get("inhibited"):
        new |= _INHIBITED
    return json.dumps(new, ensure_ascii=False, separators=(",", ":"))


def _rename_keys(kind: str, old: dict[str, Any]) -> dict[str, Any]:
    names = _RENAMED.get(kind, {})
    return {names.get(key, key): value for key, value in old.items() if key not in _IN_COLUMNS.get(kind, ())}


def get_script(version: int) -> str:
    """The statements that bring a file of an earlier format up to date; 0 is an empty file."""
    names = ("upgrade_begin", "schema", "upgrade_end") if version else ("schema",)
    return "\n".join(Path(__file__).with_name(f"{name}.sql").read_text("utf-8") for name in names)
