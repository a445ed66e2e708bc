"""Claude Code's status line input: the same windows as the usage API, at the price of no request.

Documented at https://docs.claude.com/en/docs/claude-code/statusline; last checked 2026-11-22. Claude Code pipes JSON to
its status line command: `rate_limits: {five_hour, seven_day: {used_percentage (0..100), resets_at (epoch s or ISO)}}`,
only for subscribers and only after the first answer of a session. It does not say whose account it is. Needs no secret.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from watcher.core.model import Reading, Snapshot
from watcher.providers import claude, parsing

RESET_TOLERANCE = timedelta(minutes=15)  # boundaries of one turn of a window jitter by no more


def parse_statusline(
    content: Mapping[str, Any], at: datetime, *, account: str = "", account_name: str = ""
) -> Snapshot | None:
    """The snapshot in what Claude Code piped; None where it says nothing of a limit, as at the start of a session.

    A snapshot of this kind is partial: windows that it lacks are not gone.
    """
    limits = parsing.as_mapping(content.get("rate_limits"))
    windows = {
        key: {"utilization": fields.get("used_percentage"), "resets_at": fields.get("resets_at")}
        for key, fields in limits.items()
        if isinstance(fields, dict) and key not in claude.NON_WINDOW_KEYS
    }
    readings = tuple(
        replace(each, source="statusline", stale=each.resets_at is not None and each.resets_at <= at)
        for each in claude.parse_readings(windows)
    )
    if not readings:
        return None
    return Snapshot(
        provider="claude", account=account, account_name=account_name, at=at, readings=readings, whole=False
    )


def filter_newer_readings(snapshot: Snapshot, last: Snapshot | None) -> Snapshot | None:
    """What of it moves on from the last that is known; None where nothing does.

    Every open session repeats what it heard last, for hours if it is idle. Within one turn of a window use only grows,
    so what is lower, or of an earlier turn, is old; and what is the same proves nothing about now.
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
