"""What every poll gave: readings of 14 days, hourly ones of a year, and failed polls of 14 days."""

from collections.abc import Iterator
from datetime import datetime

from msgspec.structs import replace

from watcher.core.model import PollFailure, PollResult, Reading, Series, Snapshot
from watcher.storage import records
from watcher.storage.accounts import Accounts
from watcher.storage.database import Database


class Readings:
    """The results of polls. What changes them belongs inside `Store.run_transaction`."""

    def __init__(self, database: Database, accounts: Accounts) -> None:
        self._database, self._accounts = database, accounts

    def save_result(self, result: Snapshot | PollFailure) -> None:
        """Keep a poll's result. A failure leaves the account's last good snapshot where it is."""
        of = result.provider, result.account
        if not self._database.execute("SELECT 1 FROM account WHERE provider = ? AND account = ?", of).fetchone():
            self._accounts.free_keys(*of)
        if isinstance(result, PollFailure):
            self._save_failure(result)
            self._database.execute(
                "INSERT INTO account (provider, account, failure, failing_since, failures, asked_at)"
                " VALUES (?1, ?2, ?3, ?4, 1, ?4) ON CONFLICT DO UPDATE SET failure = ?3,"
                " failing_since = coalesce(failing_since, ?4), failures = failures + 1, asked_at = ?4",
                (result.provider, result.account, records.encode_json(result), records.to_milliseconds(result.at)),
            )
            return
        known = None if result.whole else self._accounts.find(result.provider, result.account)
        merged = records.merge_snapshots(known.snapshot if known else None, result)
        self._database.execute(
            "INSERT INTO account (provider, account, snapshot, failures, asked_at) VALUES (?1, ?2, ?3, 0, ?4)"
            " ON CONFLICT DO UPDATE SET snapshot = ?3, failure = NULL, failing_since = NULL, failures = 0,"
            " asked_at = ?4",
            (result.provider, result.account, records.encode_json(merged), records.to_milliseconds(result.at)),
        )
        self._database.executemany(
            "INSERT INTO series (provider, account, window, kind, label, unit, window_seconds)"
            " VALUES (?, ?, ?, ?4, ?5, ?6, ?7) ON CONFLICT (provider, account, window)"
            " DO UPDATE SET kind = ?4, label = ?5, unit = ?6, window_seconds = ?7"
            " WHERE (kind, label, unit, window_seconds) IS NOT (?4, ?5, ?6, ?7)",
            [(*of, *records.encode_series_columns(reading)) for reading in result.readings],
        )
        self._database.executemany(
            "INSERT OR REPLACE INTO reading SELECT id, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 FROM series"
            " WHERE provider = ?1 AND account = ?2 AND window = ?3",
            [(*of, reading.window, *records.encode_reading_row(reading, result.at)) for reading in result.readings],
        )

    def load_series(self) -> list[Series]:
        """Every series that has readings, sorted."""
        return [
            Series(provider=provider, account=account, window=window)
            for provider, account, window in self._database.execute(
                "SELECT provider, account, window FROM series WHERE kind <> '' ORDER BY 1, 2, 3"
            )
        ]

    def iter_history(self, series: Series, *, since: datetime) -> Iterator[tuple[datetime, Reading]]:
        """(at, reading) of one series in time order: hourly where the raw readings are gone."""
        found = self._database.execute(
            "SELECT id, window, kind, label, unit, window_seconds FROM series"
            " WHERE provider = ? AND account = ? AND window = ?",
            records.encode_series_key(series),
        ).fetchone()
        if found is None:
            return
        series_id, *facts = found
        for row in self._database.execute(
            "SELECT at, used_percent, used, quota, remaining, resets_at, flags, source FROM reading_hourly"
            " WHERE series = ?1 AND at >= ?2"
            " AND at < coalesce((SELECT min(at) FROM reading WHERE series = ?1), 9223372036854775807)"
            " UNION ALL SELECT at, used_percent, used, quota, remaining, resets_at, flags, source FROM reading"
            " WHERE series = ?1 AND at >= ?2 ORDER BY 1",
            (series_id, records.to_milliseconds(since)),
        ):
            yield records.decode_reading(facts, row)

    def load_poll_results(self, since: datetime) -> list[PollResult]:
        """Every answer and every failed poll since then, in time order; before 14 days ago one answer an hour."""
        names = {(account.provider, account.account): account.name for account in self._accounts.load()}
        answers: dict[tuple[datetime, str, str], list[Reading]] = {}
        for series in self.load_series():
            for at, reading in self.iter_history(series, since=since):
                answers.setdefault((at, series.provider, series.account), []).append(reading)
        results: list[PollResult] = [
            Snapshot(
                provider=provider,
                account=account,
                account_name=names.get((provider, account), account),
                at=at,
                readings=tuple(readings),
                whole=False,
            )
            for (at, provider, account), readings in answers.items()
        ]
        for failure in self.iter_failures(since=since):
            name = names.get((failure.provider, failure.account), failure.account)
            results.append(replace(failure, account_name=name))
        return sorted(results, key=lambda each: each.at)

    def _save_failure(self, failure: PollFailure) -> None:
        """Keep a failed poll: with those before it where it only says the same again.

        Before the account's own row is changed: that says whether it has answered in between.
        """
        last = self._database.execute(
            "SELECT began_at, ended_at, kind, message, retry_at, gaps FROM outage"
            " JOIN account USING (provider, account) WHERE provider = ? AND account = ? AND failure IS NOT NULL"
            " ORDER BY ended_at DESC LIMIT 1",
            (failure.provider, failure.account),
        ).fetchone()
        joined = None if last is None else records.extend_outage_row(last, failure)
        if joined is None:
            row = (failure.provider, failure.account, *records.encode_outage_row(failure))
            self._database.execute("INSERT OR REPLACE INTO outage VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            return
        self._database.execute(
            "UPDATE outage SET ended_at = ?, gaps = ? WHERE provider = ? AND account = ? AND began_at = ?",
            (*joined, failure.provider, failure.account, last[0]),
        )

    def iter_failures(self, *, since: datetime) -> Iterator[PollFailure]:
        """Every failed poll since then, account by account, each in time order; 14 days back at most."""
        for provider, account, *row in self._database.execute(
            "SELECT provider, account, began_at, ended_at, kind, message, retry_at, gaps FROM outage"
            " WHERE ended_at >= ? ORDER BY provider, account, began_at",
            (records.to_milliseconds(since),),
        ):
            yield from (each for each in records.decode_failures(provider, account, row) if each.at >= since)
