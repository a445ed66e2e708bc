"""Claude Code's status line input: the windows of the usage API, without a request.

Documented at https://docs.claude.com/en/docs/claude-code/statusline; last checked 2026-11-22. Claude Code pipes JSON to
its status line command: `rate_limits: {five_hour, seven_day: {used_percentage (0..100), resets_at (epoch s or ISO)}}`,
only for subscribers and only after the first answer of a session. It does not name the account. Needs no secret.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from watcher.core.model import Reading, Snapshot
from watcher.providers import claude, parsing

RESET_TOLERANCE = timedelta(minutes=15)  # the reset time of one period of a window varies by less


def parse_statusline(
    content: Mapping[str, Any], at: datetime, *, account: str = "", account_name: str = ""
) -> Snapshot | None:
    """The snapshot in the input; None if it has no limits, as at the start of a session.

    The snapshot is partial: windows that it lacks are not gone.
    """
    windows = {
        key: {"utilization": fields.get("used_percentage"), "resets_at": fields.get("resets_at")}
        for key, fields in parsing.get_mapping(content, "rate_limits").items()
        if isinstance(fields, dict) and key not in claude.NON_WINDOW_KEYS
    }
    readings = tuple(
        replace(each, source="statusline", stale=each.resets_at is not None and each.resets_at <= at)
        for each in claude.parse_readings(windows)
    )
    if not readings:
        return None
    return parsing.clean_snapshot(
        Snapshot(
            provider="claude", account=account, account_name=account_name, at=at, readings=readings, complete=False
        )
    )


def filter_newer_readings(snapshot: Snapshot, last: Snapshot | None) -> Snapshot | None:
    """The snapshot with only those readings that are newer than the last known ones; None if there are none.

    Every open session repeats its last values, for hours if it is idle. Within one period of a window use only grows,
    so a lower value or one of an earlier period is old, and an equal one proves nothing.
    """
    known = {reading.window: reading for reading in last.readings} if last else {}
    fresh = tuple(each for each in snapshot.readings if not each.stale and _is_newer(each, known.get(each.window)))
    return replace(snapshot, readings=fresh) if fresh else None


def _is_newer(reading: Reading, known: Reading | None) -> bool:
    if known is None or known.used_percent is None or reading.used_percent is None:
        return True
    if reading.resets_at and known.resets_at and abs(reading.resets_at - known.resets_at) > RESET_TOLERANCE:
        return reading.resets_at > known.resets_at
    return reading.used_percent > known.used_percent
