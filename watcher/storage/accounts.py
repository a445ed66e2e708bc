"""The accounts that were ever polled: their last answer, their last failure, and the key each one is known by."""

from collections.abc import Mapping

from msgspec.structs import replace

from watcher.core.model import Delivery, PollFailure, Series, Snapshot, Snooze
from watcher.storage import records
from watcher.storage.database import Database

_RECORDS = (  # table, column, where in the record the account stands
    ("account", "snapshot", "$.account"),
    ("account", "failure", "$.account"),
    ("series", "state", "$.series.account"),
    ("alert", "state", "$.series.account"),
    ("transition", "record", "$.series.account"),
)
_ROWS = ("account", "alert", "outage", "transition")  # tables with a column of that name, series apart
_READINGS = ("reading", "reading_hourly")
_FREED = "|freed"
"""Behind the key of a message that is done, with its number: another may have the key."""


class Accounts:
    """The accounts. What changes them belongs inside `Store.run_transaction`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> list[records.Account]:
        """Every account ever polled, with its last snapshot and its failure, by provider and key."""
        found = self._database.execute(
            "SELECT provider, account, snapshot, failure, failing_since, failures, asked_at FROM account"
            " ORDER BY provider, account"
        )
        return [
            records.decode_account(
                provider,
                account,
                self._database.decode(snapshot, Snapshot),
                self._database.decode(failure, PollFailure),
                counts,
            )
            for provider, account, snapshot, failure, *counts in found
        ]

    def find(self, provider: str, key: str) -> records.Account | None:
        """The account of that key; None where it was never polled."""
        return next((each for each in self.load() if (each.provider, each.account) == (provider, key)), None)

    def load_multi_account_providers(self) -> frozenset[str]:
        """Providers that have several accounts."""
        found = self._database.execute("SELECT provider FROM account GROUP BY provider HAVING count(*) > 1")
        return frozenset(provider for (provider,) in found)

    def forget_unanswered(self, provider: str, key: str) -> None:
        """Forget an account that never gave a reading: its place was broken, and is repaired."""
        self._database.execute(
            "DELETE FROM account WHERE provider = ? AND account = ? AND snapshot IS NULL", (provider, key)
        )

    def rename(self, provider: str, old: str, new: str) -> None:
        """Put everything under another key; inside `write`. Nothing may be known of an account of that key yet.

        Readings that another account of that key left behind, before it was forgotten, stay in its history.
        """
        self.free_keys(provider, new)
        for table, column, path in _RECORDS:
            self._database.execute(
                f"UPDATE {table} SET {column} = json_set({column}, '{path}', ?3)"  # noqa: S608 - constants
                f" WHERE provider = ?1 AND account = ?2 AND json_valid({column})",
                (provider, old, new),
            )
        for table in _ROWS:
            self._database.execute(
                f"UPDATE OR REPLACE {table} SET account = ?3 WHERE provider = ?1 AND account = ?2",  # noqa: S608 - constants
                (provider, old, new),
            )
        self._database.execute(
            "UPDATE silence SET record = json_set(record, '$.series.account', ?3)"
            " WHERE record ->> '$.series.provider' = ?1 AND record ->> '$.series.account' = ?2",
            (provider, old, new),
        )
        self._rename_series(provider, old, new)

    def free_keys(self, provider: str, account: str) -> None:
        """Let messages to come be told from those that are done, whose keys they would have; inside `write`.

        The account is another's from now on, and counts from the beginning: what it has to say is no repeat of what the
        one before it said in the same words.
        """
        self._database.execute(
            f"UPDATE delivery SET key = key || '{_FREED} ' || id WHERE state NOT IN ('queued', 'held')"  # noqa: S608 - constants
            f" AND instr(key, '{_FREED} ') = 0 AND EXISTS ("
            "SELECT 1 FROM json_each(CASE WHEN json_valid(record) THEN record ELSE '{}' END, '$.about') AS one"
            " WHERE one.value ->> '$.series.provider' = ? AND one.value ->> '$.series.account' = ?)",
            (provider, account),
        )

    def rekey(self, delivery: Delivery) -> Delivery:
        """The delivery under a key that no earlier account's message had: receivers know a repeat by it."""
        key = delivery.key
        (freed,) = self._database.execute(
            "SELECT count(*) FROM delivery WHERE channel = ? AND key > ? AND key < ?",
            (delivery.channel, f"{key}{_FREED} ", f"{key}{_FREED}!"),
        ).fetchone()
        if not freed:
            return delivery
        key = f"{key}|account {freed + 1}"
        return replace(delivery, key=key, message=replace(delivery.message, id=key))

    def _rename_series(self, provider: str, old: str, new: str) -> None:
        """The series and their readings; into what is left of a series of that key, where there is such."""
        left = self._database.execute(
            "SELECT mine.id, theirs.id FROM series AS mine JOIN series AS theirs USING (provider, window)"
            " WHERE mine.provider = ? AND mine.account = ? AND theirs.account = ?",
            (provider, old, new),
        ).fetchall()
        for mine, theirs in left:
            for table in _READINGS:
                sql = f"UPDATE OR REPLACE {table} SET series = ? WHERE series = ?"  # noqa: S608 - constants
                self._database.execute(sql, (mine, theirs))
            self._database.execute("DELETE FROM series WHERE id = ?", (theirs,))
        self._database.execute(
            "UPDATE series SET account = ?3 WHERE provider = ?1 AND account = ?2", (provider, old, new)
        )


def renamed(delivery: Delivery, names: Mapping[Series, Series]) -> Delivery:
    """The delivery about the same series under their new names."""
    about = tuple(replace(each, series=names.get(each.series, each.series)) for each in delivery.about)
    return replace(delivery, about=about)


def resnoozed(snooze: Snooze, names: Mapping[Series, Series]) -> Snooze:
    """The snooze of the same series, also until their reset, under their new names."""
    written = {str(old): str(new) for old, new in names.items()}
    episodes = {written.get(series, series): episode for series, episode in (snooze.episodes or {}).items()}
    target = next((_retold(snooze.target, old, new) for old, new in names.items() if old.account), snooze.target)
    return replace(snooze, target=target, episodes=None if snooze.episodes is None else episodes)


def _retold(target: str, old: Series, new: Series) -> str:
    """What was written of an account by a key that means nobody any more; an email stays a name of it."""
    if "@" in old.account:
        return target
    for provider in (old.provider, "*"):
        if target == f"{provider}[{old.account}]" or target.startswith(f"{provider}[{old.account}]."):
            return target.replace(f"[{old.account}]", f"[{new.account}]", 1)
    return target
