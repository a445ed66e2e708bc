"""The accounts: the numbers that all other tables refer to, their keys and aliases, and their last polls.

An account's key may change, for example when an anonymous login names its owner: `rename` is one UPDATE. Two accounts
that prove to be one are joined. No other table contains a key.
"""

from collections.abc import Collection
from datetime import datetime

from msgspec import structs

from watcher.core.model import PollFailure, Series, Snapshot
from watcher.storage import records
from watcher.storage.database import Database

TOKEN, PLACE = "token", "place"
"""Kinds of aliases: the hash of a token that proved to be the account's; of the place of its anonymous login."""


class Accounts:
    """The accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> list[records.Account]:
        """Every account that was polled, with its last snapshot and failure, by provider and key."""
        found = self._database.execute(
            "SELECT provider, key, failing_since, failures, polled_at, snapshot, failure FROM account"
            " WHERE polled_at IS NOT NULL ORDER BY provider, key"
        )
        return [
            records.Account(
                provider=provider,
                account=key,
                snapshot=self._database.decode(snapshot, Snapshot, provider=provider, account=key),
                failure=self._database.decode(failure, PollFailure, provider=provider, account=key),
                failing_since=None if failing_since is None else records.from_milliseconds(failing_since),
                failure_count=failures,
                polled_at=records.from_milliseconds(polled_at),
            )
            for provider, key, failing_since, failures, polled_at, snapshot, failure in found
        ]

    def find(self, provider: str, key: str) -> records.Account | None:
        """The account of that key; None if it was never polled."""
        return next((each for each in self.load() if (each.provider, each.account) == (provider, key)), None)

    def load_names(self) -> dict[tuple[str, str], str]:
        """(provider, key) of each account -> its name."""
        return {(account.provider, account.account): account.name for account in self.load()}

    def load_multi_account_providers(self) -> frozenset[str]:
        """The providers with several accounts."""
        found = self._database.execute(
            "SELECT provider FROM account WHERE polled_at IS NOT NULL GROUP BY provider HAVING count(*) > 1"
        )
        return frozenset(provider for (provider,) in found)

    def assign_number(self, provider: str, key: str) -> int:
        """The number of the account of that key; a new one if there is none."""
        found = self._database.execute("SELECT id FROM account WHERE provider = ? AND key = ?", (provider, key))
        for (number,) in found:
            return int(number)
        new = self._database.execute("INSERT INTO account (provider, key) VALUES (?, ?)", (provider, key))
        return int(new.lastrowid or 0)

    def assign_series_number(self, series: Series) -> int:
        """The number of a series; a new one if there is none."""
        row = self.assign_number(series.provider, series.account), series.window
        for (number,) in self._database.execute("SELECT id FROM series WHERE account = ? AND window = ?", row):
            return int(number)
        return int(self._database.execute("INSERT INTO series (account, window) VALUES (?, ?)", row).lastrowid or 0)

    def load_series_numbers(self) -> dict[int, Series]:
        """Number -> series, with the present key of its account."""
        return {
            number: Series(provider=provider, account=key, window=window)
            for number, provider, key, window in self._database.execute(
                "SELECT series.id, provider, key, window FROM series JOIN account ON account.id = account"
            )
        }

    def correct_clock(self, now: datetime) -> None:
        """Date to `now` what was read, and what has failed, while the clock was ahead."""
        for account in self.load():
            if account.polled_at <= now:
                continue
            snapshot, failure = account.snapshot, account.failure
            if snapshot is not None:
                snapshot = structs.replace(snapshot, at=min(snapshot.at, now))
            if failure is not None and failure.at > now:
                retry_at = failure.retry_at and failure.retry_at - (failure.at - now)
                failure = structs.replace(failure, at=now, retry_at=retry_at)
            self._database.execute(
                "UPDATE account SET snapshot = ?, failure = ?, failing_since = min(failing_since, ?), polled_at = ?"
                " WHERE provider = ? AND key = ?",
                (
                    snapshot and records.encode_json(snapshot, without=records.ACCOUNT_FIELDS),
                    failure and records.encode_json(failure, without=records.ACCOUNT_FIELDS),
                    *(records.to_milliseconds(now), records.to_milliseconds(now)),
                    *(account.provider, account.account),
                ),
            )

    # --- logins -----------------------------------------------------------------------------------------------------

    def save_request(self, provider: str, key: str, token_hash: str, at: datetime) -> None:
        """Save when and with which token an account is requested from its provider."""
        self._database.execute(
            "UPDATE account SET requested_at = ?, requested_with = ? WHERE id = ?",
            (records.to_milliseconds(at), token_hash, self.assign_number(provider, key)),
        )

    def load_request(self, provider: str, key: str) -> tuple[datetime, str] | None:
        """When and with which token an account was last requested; None if it never was."""
        found = self._database.execute(
            "SELECT requested_at, requested_with FROM account"
            " WHERE provider = ? AND key = ? AND requested_with IS NOT NULL AND requested_at IS NOT NULL",
            (provider, key),
        ).fetchone()
        return None if found is None else (records.from_milliseconds(found[0]), found[1])

    def load_aliases(self, provider: str, kind: str) -> dict[str, str]:
        """Alias -> key of the account, for one kind of alias."""
        return dict(
            self._database.execute(
                "SELECT value, key FROM account_alias JOIN account ON account.id = account"
                " WHERE provider = ? AND kind = ?",
                (provider, kind),
            )
        )

    def save_alias(self, provider: str, key: str, kind: str, value: str) -> None:
        """Give an account an alias, which no other account of the provider has then; an account has one place."""
        number = self.assign_number(provider, key)
        self._database.execute(
            "DELETE FROM account_alias WHERE kind = ? AND (value = ? OR (kind = 'place' AND account = ?))"
            " AND account IN (SELECT id FROM account WHERE provider = ?)",
            (kind, value, number, provider),
        )
        self._database.execute("INSERT INTO account_alias VALUES (?, ?, ?)", (number, kind, value))

    def delete_other_aliases(self, provider: str, kind: str, values: Collection[str]) -> None:
        """Delete every alias of that kind except these."""
        self._database.executemany(
            "DELETE FROM account_alias WHERE kind = ? AND value = ?"
            " AND account IN (SELECT id FROM account WHERE provider = ?)",
            [(kind, value, provider) for value in self.load_aliases(provider, kind) if value not in values],
        )

    # --- another key, or none ---------------------------------------------------------------------------------------

    def rename(self, provider: str, old: str, new: str) -> None:
        """Give an account another key. An account of that key must not have a snapshot.

        What is left of an account that had the key before becomes part of this one's history.
        """
        number = self.assign_number(provider, old)
        left = self._database.execute("SELECT id FROM account WHERE provider = ? AND key = ?", (provider, new))
        for (other,) in left.fetchall():
            self._move(other, number)
        self._database.execute("UPDATE account SET key = ? WHERE id = ?", (new, number))
        if "@" not in old:  # an email remains a name of the account
            self._rename_in_snoozes(provider, old, new)
        self._database.invalidate_cache()

    def join(self, provider: str, old: str, into: str) -> None:
        """Make one account of two: the second, with the readings of both."""
        self._move(self.assign_number(provider, old), self.assign_number(provider, into))
        self._rename_in_snoozes(provider, old, into)
        self._database.invalidate_cache()

    def forget_unanswered(self, provider: str, key: str) -> None:
        """Forget an account that never answered, for example when a broken login file is repaired."""
        self._database.execute(
            "UPDATE account SET failure = NULL, failing_since = NULL, failures = 0, polled_at = NULL"
            " WHERE provider = ? AND key = ? AND snapshot IS NULL",
            (provider, key),
        )

    def _move(self, number: int, into: int) -> None:
        """Move readings, transitions and aliases to another account; delete the rest."""
        self._database.execute("DELETE FROM alert WHERE series IN (SELECT id FROM series WHERE account = ?)", (number,))
        self._database.execute("UPDATE series SET state = NULL WHERE account = ?", (number,))
        self._database.execute("UPDATE OR IGNORE series SET account = ? WHERE account = ?", (into, number))
        pairs = self._database.execute(
            "SELECT kept.id, moved.id FROM series AS kept JOIN series AS moved USING (window)"
            " WHERE kept.account = ? AND moved.account = ?",
            (into, number),
        ).fetchall()
        for table in ("reading", "reading_hourly", "transition", "suppression", "delivery_transition"):
            self._database.executemany(
                f"UPDATE OR IGNORE {table} SET series = ? WHERE series = ?",  # noqa: S608 - constants
                pairs,
            )
        self._database.execute("UPDATE OR IGNORE account_alias SET account = ? WHERE account = ?", (into, number))
        self._database.execute("DELETE FROM account WHERE id = ?", (number,))

    def _rename_in_snoozes(self, provider: str, old: str, new: str) -> None:
        """Let snoozes that name an account by its old key name the new one."""
        for start in (f"{provider}[{old}]", f"*[{old}]") if old else ():
            self._database.execute(
                "UPDATE OR REPLACE snooze SET target = replace(target, ?, ?)"
                " WHERE target = ? OR substr(target, 1, ?) = ?",
                (f"[{old}]", f"[{new}]", start, len(start) + 1, f"{start}."),
            )
