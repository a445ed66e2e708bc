"""Messages on their way to channels, channels that refused for good, and why messages were not sent; and snoozes."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from watcher.core.model import Delivery, DeliveryState, Snooze, StoppedChannel
from watcher.core.routing.planner import RoutingDecision
from watcher.storage import records
from watcher.storage.accounts import Accounts
from watcher.storage.database import Database


class Outbox:
    """Deliveries, stopped channels and suppressed messages. What changes them belongs inside a transaction."""

    def __init__(self, database: Database, accounts: Accounts) -> None:
        self._database, self._accounts = database, accounts

    def load(self) -> list[Delivery]:
        """Deliveries that are not yet done (queued or held), oldest first."""
        return self._load_deliveries("state IN ('queued', 'held')")

    def find(self, delivery_id: int) -> Delivery | None:
        """The delivery of that id, whatever became of it; None where there is none."""
        return next(iter(self._load_deliveries("id = ?", (delivery_id,))), None)

    def load_finished(self, state: DeliveryState, *, since: datetime) -> list[Delivery]:
        """Deliveries that ended in one state, oldest first."""
        return self._load_deliveries("state = ? AND created_at >= ?", (state.value, records.to_milliseconds(since)))

    def _load_deliveries(self, where: str, parameters: Sequence[Any] = ()) -> list[Delivery]:
        found = self._database.execute(f"SELECT id, record FROM delivery WHERE {where} ORDER BY id", parameters)  # noqa: S608 - constants
        read = ((number, self._database.decode(record, Delivery)) for number, record in found)
        return [replace(delivery, id=number) for number, delivery in read if delivery is not None]

    def enqueue(self, deliveries: Iterable[Delivery]) -> None:
        """Put new deliveries into the outbox. One that has the key of an earlier one is left out."""
        self._database.executemany(
            "INSERT INTO delivery (key, channel, state, created_at, record) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (key, channel) DO NOTHING",
            [records.encode_delivery_row(self._accounts.rekey(delivery)) for delivery in deliveries],
        )

    def update(self, deliveries: Iterable[Delivery]) -> None:
        """Keep what became of deliveries."""
        self._database.executemany(
            "UPDATE delivery SET key = ?, channel = ?, state = ?, created_at = ?, record = ? WHERE id = ?",
            [(*records.encode_delivery_row(delivery), delivery.id) for delivery in deliveries],
        )

    def load_stops(self) -> list[StoppedChannel]:
        """Channels that refused for good, by name."""
        return list(self._database.load_records("SELECT record FROM stop ORDER BY channel", StoppedChannel))

    def save_stop(self, stop: StoppedChannel) -> None:
        """Note that a channel refused for good."""
        self._database.execute("INSERT OR REPLACE INTO stop VALUES (?, ?)", (stop.channel, records.encode_json(stop)))

    def delete_stop(self, channel: str) -> None:
        """Forget that a channel refused."""
        self._database.execute("DELETE FROM stop WHERE channel = ?", (channel,))

    def save_suppressions(self, decisions: Iterable[RoutingDecision]) -> None:
        """Keep why something was not said. What was said is in the outbox."""
        self._database.executemany(
            "INSERT INTO silence (at, rule, record) VALUES (?, ?, ?)",
            [
                (records.to_milliseconds(choice.at), choice.rule, records.encode_json(choice))
                for choice in decisions
                if not choice.said
            ],
        )

    def load_suppressions(self, *, since: datetime, rule: str) -> list[RoutingDecision]:
        """Why changes of a rule's alerts were not told, not at once or not at all, oldest first."""
        sql = "SELECT record FROM silence WHERE rule = ? AND at >= ? ORDER BY id"
        return list(self._database.load_records(sql, RoutingDecision, (rule, records.to_milliseconds(since))))


class Snoozes:
    """A person's snoozes. What changes them belongs inside `Store.run_transaction`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> list[Snooze]:
        """Every snooze in force or past, by target."""
        return list(self._database.load_records("SELECT record FROM snooze ORDER BY target", Snooze))

    def save(self, snooze: Snooze) -> None:
        """Keep a snooze in place of an earlier one of the same target."""
        self._database.execute(
            "INSERT OR REPLACE INTO snooze VALUES (?, ?)", (snooze.target, records.encode_json(snooze))
        )

    def delete(self, target: str) -> bool:
        """Forget a snooze. False where there was none."""
        return self._database.execute("DELETE FROM snooze WHERE target = ?", (target,)).rowcount > 0
