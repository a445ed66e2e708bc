"""The results of polls: readings of 14 days, hourly ones of a year, and failed polls of 14 days."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from msgspec.structs import replace

from watcher.core.model import PollFailure, PollResult, Reading, Series, Snapshot
from watcher.storage import records
from watcher.storage.accounts import Accounts
from watcher.storage.database import Database


class Readings:
    """The results of polls."""

    def __init__(self, database: Database, accounts: Accounts) -> None:
        self._database, self._accounts = database, accounts
        self.poll_counts: Counter[tuple[str, str, str]] = Counter()  # (provider, account, `ok` or kind) since the start

    def save_result(self, result: Snapshot | PollFailure) -> None:
        """Save the result of a poll. After a failure the account still has its last good snapshot."""
        number, at = self._accounts.assign_number(result.provider, result.account), records.to_milliseconds(result.at)
        outcome = result.kind if isinstance(result, PollFailure) else "ok"
        self.poll_counts[result.provider, result.account, outcome] += 1
        if isinstance(result, PollFailure):
            retry_at = None if result.retry_at is None else records.to_milliseconds(result.retry_at)
            self._database.execute(
                "INSERT OR REPLACE INTO failed_poll VALUES (?, ?, ?, ?, ?)",
                (number, at, result.kind, result.message, retry_at),
            )
            self._database.execute(
                "UPDATE account SET failure = ?, failing_since = coalesce(failing_since, ?), failures = failures + 1,"
                " polled_at = ? WHERE id = ?",
                (records.encode_json(result, without=records.ACCOUNT_FIELDS), at, at, number),
            )
            return
        known = None if result.complete else self._accounts.find(result.provider, result.account)
        merged = records.merge_snapshots(known.snapshot if known else None, result)
        self._database.execute(
            "UPDATE account SET snapshot = ?, failure = NULL, failing_since = NULL, failures = 0, polled_at = ?"
            " WHERE id = ?",
            (records.encode_json(merged, without=records.ACCOUNT_FIELDS), at, number),
        )
        self._database.executemany(
            "INSERT INTO series (account, window, kind, label, unit, window_seconds)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (account, window)"
            " DO UPDATE SET (kind, label, unit, window_seconds)"
            " = (excluded.kind, excluded.label, excluded.unit, excluded.window_seconds)"
            " WHERE (kind, label, unit, window_seconds)"
            " IS NOT (excluded.kind, excluded.label, excluded.unit, excluded.window_seconds)",
            [(number, *records.encode_series_columns(reading)) for reading in result.readings],
        )
        self._database.executemany(
            "INSERT OR REPLACE INTO reading SELECT id, ?, ?, ?, ?, ?, ?, ?, ? FROM series"
            " WHERE account = ? AND window = ?",
            [(*records.encode_reading_row(reading, result.at), number, reading.window) for reading in result.readings],
        )

    def load_series(self) -> list[Series]:
        """Every series that has readings, sorted."""
        return [
            Series(provider=provider, account=key, window=window)
            for provider, key, window in self._database.execute(
                "SELECT provider, key, window FROM series JOIN account ON account.id = account WHERE kind <> ''"
                " ORDER BY 1, 2, 3"
            )
        ]

    def iter_history(
        self, series: Series, *, since: datetime, hourly: bool = False
    ) -> Iterator[tuple[datetime, Reading]]:
        """(at, reading) of one series in time order; the last of each hour where the others are gone, or if asked."""
        found = self._database.execute(
            "SELECT series.id, window, kind, label, unit, window_seconds FROM series"
            " JOIN account ON account.id = account WHERE provider = ? AND key = ? AND window = ?",
            (series.provider, series.account, series.window),
        ).fetchone()
        if found is None:
            return
        number, *columns = found
        start = records.to_milliseconds(since)
        for row in self._database.execute(
            "SELECT at, used_percent, used, quota, remaining, resets_at, flags, source FROM reading_hourly"
            " WHERE series = ? AND at >= ?"
            " AND at < coalesce((SELECT min(at) FROM reading WHERE series = ?), 9223372036854775807)"
            " UNION ALL SELECT at, used_percent, used, quota, remaining, resets_at, flags, source FROM reading"
            " WHERE series = ? AND at >= ?"
            " AND (NOT ? OR at IN (SELECT max(at) FROM reading WHERE series = ? AND at >= ? GROUP BY at / 3600000))"
            " ORDER BY 1",
            (number, start, number, number, start, hourly, number, start),
        ):
            yield records.decode_reading(columns, row)

    def load_failures(self, *, since: datetime) -> list[PollFailure]:
        """Every failed poll since then, by account and time."""
        return [
            PollFailure(
                provider=provider,
                account=key,
                at=records.from_milliseconds(at),
                kind=kind,
                message=message,
                retry_at=None if retry_at is None else records.from_milliseconds(retry_at),
            )
            for provider, key, at, kind, message, retry_at in self._database.execute(
                "SELECT provider, key, at, kind, message, retry_at FROM failed_poll"
                " JOIN account ON account.id = account WHERE at >= ? ORDER BY provider, key, at",
                (records.to_milliseconds(since),),
            )
        ]

    def load_poll_results(self, since: datetime) -> list[PollResult]:
        """Every snapshot and every failed poll since then, in time order; one snapshot an hour before 14 days ago."""
        names = self._accounts.load_names()
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
                complete=False,
            )
            for (at, provider, account), readings in answers.items()
        ]
        for failure in self.load_failures(since=since):
            name = names.get((failure.provider, failure.account), failure.account)
            results.append(replace(failure, account_name=name))
        return sorted(results, key=lambda each: each.at)
