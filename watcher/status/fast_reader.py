"""What the store knows, read in a few milliseconds: for status bars, which ask many times a minute.

Standard library only: importing msgspec and the engine would cost more than the whole answer may take. It reads the
same rows as `watcher.status.builder`, and a test holds the two equal. Never write here, and never judge.
"""

import json
import sqlite3  # noqa: TID251 - the store's own reader where the store is too slow to import
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

STALE_AFTER_POLLS = 3  # a reading older than this many polls is stale
OVERDUE_FOR = timedelta(minutes=5)  # a poll that is due for longer than this is not being made
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SEVERITIES = ("info", "warning", "critical")


class WindowSummary(NamedTuple):
    """One window's last reading. None is unknown."""

    window: str
    label: str
    used_percent: float | None
    remaining: Decimal | None
    unit: str
    unlimited: bool
    resets_at: datetime | None
    primary: bool
    severity: str | None  # the highest of the alerts that fire on it


class AccountSummary(NamedTuple):
    """One account of one provider."""

    provider: str
    name: str  # for people; empty for a provider's only account
    stale: bool
    error: str | None  # why the last poll gave nothing
    windows: tuple[WindowSummary, ...]

    @property
    def primary_window(self) -> WindowSummary | None:
        """The window that stands for the account: its primary one, else the fullest known."""
        chosen = [window for window in self.windows if window.primary]
        return max(chosen or self.windows, key=lambda window: window.used_percent or 0.0, default=None)


class StatusSummary(NamedTuple):
    """Everything at one instant."""

    accounts: tuple[AccountSummary, ...] = ()
    severity: str | None = None  # the highest of all alerts that fire


def read_summary(path: Path, now: datetime) -> StatusSummary:
    """Read the database; nothing where there is none yet.

    Raises:
        sqlite3.Error: it is damaged or locked.
    """
    if not path.exists():
        return StatusSummary()
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0, isolation_level=None)
    try:
        database.execute("BEGIN")  # one instant: a poll may be written at any moment
        if not database.execute("PRAGMA user_version").fetchone()[0]:
            return StatusSummary()
        return _build_summary(database, now)
    finally:
        database.close()


def _build_summary(database: sqlite3.Connection, now: datetime) -> StatusSummary:
    rows = database.execute("SELECT provider, account, snapshot, failure FROM account ORDER BY 1, 2").fetchall()
    counts: dict[str, int] = {}
    for provider, *_ in rows:
        counts[provider] = counts.get(provider, 0) + 1
    next_at = dict(database.execute("SELECT provider, next_at FROM poll"))
    every = _read_intervals(database)
    primary = _read_primary_series(database)
    firing = _read_firing_severities(database)
    accounts = []
    for provider, key, text, failed in rows:
        snapshot, failure = json.loads(text or "{}"), json.loads(failed or "{}")
        planned = _EPOCH + timedelta(milliseconds=next_at[provider]) if provider in next_at else None
        accounts.append(
            AccountSummary(
                provider=provider,
                name=_display_name(key, snapshot, failure) if counts[provider] > 1 else "",
                stale=is_stale(
                    _parse_time(snapshot.get("at")), every.get(provider), planned, now, failing=bool(failure)
                )
                or (bool(snapshot.get("readings")) and all(each["stale"] for each in snapshot["readings"])),
                error=failure.get("message"),
                windows=tuple(
                    _build_window(provider, key, each, primary, firing) for each in snapshot.get("readings", ())
                ),
            )
        )
    return StatusSummary(tuple(accounts), _highest_severity(list(firing.values())))


def is_stale(
    at: datetime | None, every: timedelta | None, next_at: datetime | None, now: datetime, *, failing: bool
) -> bool:
    """Whether a reading says too little of this moment.

    Args:
        at: when it was made; None: there is none.
        every: how often the provider is asked as a rule; None: unknown.
        next_at: when it is asked next.
        now: this moment.
        failing: the last poll gave nothing.
    """
    if at is None:
        return True
    if every is None or now - at <= STALE_AFTER_POLLS * every:
        return False
    # a provider whose use has not moved for hours is asked more rarely on purpose
    return failing or next_at is None or now > next_at + OVERDUE_FOR


def _read_intervals(database: sqlite3.Connection) -> dict[str, timedelta]:
    found = database.execute("SELECT value FROM fact WHERE name = 'every'").fetchone()
    return {provider: timedelta(seconds=each) for provider, each in json.loads(found[0] if found else "{}").items()}


def _read_primary_series(database: sqlite3.Connection) -> set[tuple[str, str, str]]:
    """The series that are their account's primary window at this moment."""
    found = database.execute("SELECT provider, account, window, state FROM series WHERE state IS NOT NULL")
    return {(provider, account, window) for provider, account, window, state in found if json.loads(state)["primary"]}


def _read_firing_severities(database: sqlite3.Connection) -> dict[tuple[str, str, str], str]:
    """Series -> the highest severity that fires on it; rules that only wait to say that something is over do not."""
    known = database.execute("SELECT value FROM fact WHERE name = 'waiting_rules'").fetchone()
    waiting = set(json.loads(known[0] if known else "[]"))
    found: dict[tuple[str, str, str], list[str]] = {}
    for rule, provider, account, window, severity in database.execute(
        "SELECT rule, provider, account, window, severity FROM alert WHERE phase = 'firing'"
    ):
        if rule not in waiting:
            found.setdefault((provider, account, window), []).append(severity)
    return {series: highest for series, all_ in found.items() if (highest := _highest_severity(all_))}


def _highest_severity(severities: list[str]) -> str | None:
    return max(severities, key=_SEVERITIES.index, default=None)


def _display_name(key: str, snapshot: dict[str, Any], failure: dict[str, Any]) -> str:
    latest = failure or snapshot
    return latest.get("account_name") or snapshot.get("account_name") or key


def _build_window(
    provider: str,
    account: str,
    reading: dict[str, Any],
    primary_series: set[tuple[str, str, str]],
    firing_severities: dict[tuple[str, str, str], str],
) -> WindowSummary:
    series = (provider, account, reading["window"])
    remaining = reading["remaining"]
    return WindowSummary(
        window=reading["window"],
        label=reading["label"],
        used_percent=reading["used_percent"],
        remaining=None if remaining is None else Decimal(remaining),
        unit=reading["unit"],
        unlimited=reading["unlimited"],
        resets_at=_parse_time(reading["resets_at"]),
        primary=series in primary_series,
        severity=firing_severities.get(series),
    )


def _parse_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
