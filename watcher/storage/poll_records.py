"""Polls that gave nothing, as the store keeps them: one row for those in a row that failed alike.

Exact to the millisecond, for what silence means to a rule hangs on when exactly was asked and nothing came. Never put
the present failure of an account here: `status` wants that even of an account that was never heard of again.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from watcher.core.model import PollFailure
from watcher.storage import records
from watcher.storage.database import Database

# --- What the daemon notes for itself: cooldowns, when it asks next, and single facts such as its heartbeat


HEARTBEAT_EVERY = timedelta(minutes=5)  # so often a daemon that lives says so


class DaemonRecords(Database):
    """The tables that no rule and no message depends on. What writes says so, and belongs inside `write`."""

    def load_cooldowns(self) -> dict[str, tuple[datetime, int]]:
        """Token hash -> (not to be asked before, how often in a row it was refused)."""
        found = self._db.execute("SELECT token_hash, until, strikes FROM cooldown").fetchall()
        return {token_hash: (records.from_milliseconds(until), strikes) for token_hash, until, strikes in found}

    def save_cooldown(self, token_hash: str, until: datetime, strikes: int) -> None:
        """Keep a cooldown; inside `write`."""
        self._db.execute(
            "INSERT OR REPLACE INTO cooldown VALUES (?, ?, ?)", (token_hash, records.to_milliseconds(until), strikes)
        )

    def load_next_polls(self) -> dict[str, tuple[datetime, str]]:
        """Provider -> (when it is asked next, why)."""
        found = self._db.execute("SELECT provider, next_at, reason FROM poll").fetchall()
        return {provider: (records.from_milliseconds(at), reason) for provider, at, reason in found}

    def save_next_poll(self, provider: str, at: datetime, reason: str) -> None:
        """Keep when a provider is asked next; inside `write`."""
        self._db.execute(
            "INSERT OR REPLACE INTO poll VALUES (?, ?, ?)", (provider, records.to_milliseconds(at), reason)
        )

    def load_fact(self, name: str) -> tuple[str, datetime] | None:
        """One of the daemon's own facts and when it was kept; None where there is none."""
        found = self._db.execute("SELECT value, at FROM fact WHERE name = ?", (name,)).fetchone()
        return None if found is None else (found[0], records.from_milliseconds(found[1]))

    def save_fact(self, name: str, value: str, at: datetime) -> None:
        """Keep a fact; inside `write`."""
        self._db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?, ?)", (name, value, records.to_milliseconds(at)))


class FailureRecords(DaemonRecords):
    """The table of outages. What writes says so, and belongs inside `write`."""

    def _save_failure(self, failure: PollFailure) -> None:
        """Keep a failed poll: with those before it where it only says the same again; inside `write`.

        Before the account's own row is changed: that says whether it has answered in between.
        """
        last = self._db.execute(
            "SELECT began_at, ended_at, kind, message, retry_at, gaps FROM outage"
            " JOIN account USING (provider, account) WHERE provider = ? AND account = ? AND failure IS NOT NULL"
            " ORDER BY ended_at DESC LIMIT 1",
            (failure.provider, failure.account),
        ).fetchone()
        joined = None if last is None else records.extend_outage_row(last, failure)
        if joined is None:
            row = (failure.provider, failure.account, *records.encode_outage_row(failure))
            self._db.execute("INSERT OR REPLACE INTO outage VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            return
        self._db.execute(
            "UPDATE outage SET ended_at = ?, gaps = ? WHERE provider = ? AND account = ? AND began_at = ?",
            (*joined, failure.provider, failure.account, last[0]),
        )

    def iter_failures(self, *, since: datetime) -> Iterator[PollFailure]:
        """Every failed poll since then, account by account, each in time order; 14 days back at most."""
        for provider, account, *row in self._db.execute(
            "SELECT provider, account, began_at, ended_at, kind, message, retry_at, gaps FROM outage"
            " WHERE ended_at >= ? ORDER BY provider, account, began_at",
            (records.to_milliseconds(since),),
        ):
            yield from (each for each in records.decode_failures(provider, account, row) if each.at >= since)
