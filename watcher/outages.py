"""Polls that gave nothing, as the store keeps them: one row for those in a row that failed alike.

Exact to the millisecond, for what silence means to a rule hangs on when exactly was asked and nothing came. Never put
the present failure of an account here: `status` wants that even of an account that was never heard of again.
"""

from collections.abc import Iterator
from datetime import datetime

from watcher import rows
from watcher.core.model import PollFailure
from watcher.notebook import DaemonRecords


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
        joined = None if last is None else rows.extend_outage_row(last, failure)
        if joined is None:
            row = (failure.provider, failure.account, *rows.encode_outage_row(failure))
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
            (rows.to_milliseconds(since),),
        ):
            yield from (each for each in rows.decode_failures(provider, account, row) if each.at >= since)
