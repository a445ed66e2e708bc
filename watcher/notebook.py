"""What the daemon notes for itself: cooldowns, when it asks next, and single facts such as its heartbeat.

Never put readings, alerts or deliveries here: they are the store's.
"""

from datetime import datetime, timedelta

from watcher import rows
from watcher.database import Database

HEARTBEAT_EVERY = timedelta(minutes=5)  # so often a daemon that lives says so


class DaemonRecords(Database):
    """The tables that no rule and no message depends on. What writes says so, and belongs inside `write`."""

    def load_cooldowns(self) -> dict[str, tuple[datetime, int]]:
        """Token hash -> (not to be asked before, how often in a row it was refused)."""
        found = self._db.execute("SELECT token_hash, until, strikes FROM cooldown").fetchall()
        return {token_hash: (rows.from_milliseconds(until), strikes) for token_hash, until, strikes in found}

    def save_cooldown(self, token_hash: str, until: datetime, strikes: int) -> None:
        """Keep a cooldown; inside `write`."""
        self._db.execute(
            "INSERT OR REPLACE INTO cooldown VALUES (?, ?, ?)", (token_hash, rows.to_milliseconds(until), strikes)
        )

    def load_next_polls(self) -> dict[str, tuple[datetime, str]]:
        """Provider -> (when it is asked next, why)."""
        found = self._db.execute("SELECT provider, next_at, reason FROM poll").fetchall()
        return {provider: (rows.from_milliseconds(at), reason) for provider, at, reason in found}

    def save_next_poll(self, provider: str, at: datetime, reason: str) -> None:
        """Keep when a provider is asked next; inside `write`."""
        self._db.execute("INSERT OR REPLACE INTO poll VALUES (?, ?, ?)", (provider, rows.to_milliseconds(at), reason))

    def load_fact(self, name: str) -> tuple[str, datetime] | None:
        """One of the daemon's own facts and when it was kept; None where there is none."""
        found = self._db.execute("SELECT value, at FROM fact WHERE name = ?", (name,)).fetchone()
        return None if found is None else (found[0], rows.from_milliseconds(found[1]))

    def save_fact(self, name: str, value: str, at: datetime) -> None:
        """Keep a fact; inside `write`."""
        self._db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?, ?)", (name, value, rows.to_milliseconds(at)))
