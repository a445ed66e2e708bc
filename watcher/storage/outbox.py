"""Deliveries, channels that refused permanently, why messages were not sent, and snoozes."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from watcher.core.model import Delivery, DeliveryState, Series, Snooze, StoppedChannel, Transition
from watcher.core.routing.planner import Suppression
from watcher.storage.accounts import Accounts
from watcher.storage.database import Database
from watcher.storage.records import encode_json, to_milliseconds


class Outbox:
    """Deliveries, stopped channels and suppressions."""

    def __init__(self, database: Database, accounts: Accounts) -> None:
        self._database, self._accounts = database, accounts
        self.finished_counts: Counter[tuple[str, DeliveryState]] = Counter()  # (channel, state) since the start

    def load(self) -> list[Delivery]:
        """Deliveries that are queued or held, oldest first."""
        return self._load("delivery.state IN ('queued', 'held')")

    def find(self, delivery_id: int) -> Delivery | None:
        """The delivery of that id, in any state; None if there is none."""
        return next(iter(self._load("delivery.id = ?", (delivery_id,))), None)

    def load_finished(self, state: DeliveryState, *, since: datetime) -> list[Delivery]:
        """Deliveries that ended in one state, oldest first."""
        return self._load("delivery.state = ? AND created_at >= ?", (state.value, to_milliseconds(since)))

    def load_history(self, series: Collection[Series]) -> Iterator[tuple[str, bool, Transition]]:
        """(channel, whether it may have arrived, transition) of all deliveries about some series."""
        numbers = [number for number, each in self._accounts.load_series_numbers().items() if each in series]
        marks = ", ".join("?" * len(numbers))
        where = f"delivery.id IN (SELECT delivery FROM delivery_transition WHERE series IN ({marks}))"  # noqa: S608 - marks
        for delivery in self._load(where, numbers):
            for transition in delivery.transitions:
                if transition.series in series:
                    yield delivery.channel, delivery.state is DeliveryState.SENT or delivery.in_doubt, transition

    def _load(self, where: str, parameters: Sequence[Any] = ()) -> list[Delivery]:
        transitions: dict[int, list[Transition]] = {}
        about = self._database.execute(
            "SELECT delivery.id, provider, account.key, window, delivery_transition.record FROM delivery"  # noqa: S608 - constants
            " JOIN delivery_transition ON delivery.id = delivery JOIN series ON series.id = series"
            f" JOIN account ON account.id = account WHERE {where} ORDER BY delivery.id, position",
            parameters,
        )
        for number, provider, key, window, record in about:
            series = Series(provider=provider, account=key, window=window)
            transition = self._database.decode(record, Transition, series=series)
            if transition is not None:
                transitions.setdefault(number, []).append(transition)
        found = self._database.execute(f"SELECT id, record FROM delivery WHERE {where} ORDER BY id", parameters)  # noqa: S608 - constants
        read = (
            self._database.decode(record, Delivery, id=number, transitions=tuple(transitions.get(number, ())))
            for number, record in found
        )
        return [delivery for delivery in read if delivery is not None]

    def enqueue(self, deliveries: Iterable[Delivery]) -> None:
        """Add deliveries to the outbox, except those whose key is in it already."""
        for new in deliveries:
            delivery = self._make_key_unique(new)
            cursor = self._database.execute(
                "INSERT INTO delivery (key, channel, state, created_at, record) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (key, channel) DO NOTHING",
                _encode_row(delivery),
            )
            if cursor.rowcount:
                self._save_transitions(int(cursor.lastrowid or 0), delivery.transitions)

    def update(self, deliveries: Iterable[Delivery]) -> None:
        """Save changed deliveries."""
        for delivery in deliveries:
            if delivery.state not in (DeliveryState.QUEUED, DeliveryState.HELD):
                self.finished_counts[delivery.channel, delivery.state] += 1
            self._database.execute(
                "UPDATE delivery SET key = ?, channel = ?, state = ?, created_at = ?, record = ? WHERE id = ?",
                (*_encode_row(delivery), delivery.id),
            )
            self._database.execute("DELETE FROM delivery_transition WHERE delivery = ?", (delivery.id,))
            self._save_transitions(delivery.id, delivery.transitions)

    def _save_transitions(self, delivery_id: int, transitions: Sequence[Transition]) -> None:
        self._database.executemany(
            "INSERT INTO delivery_transition VALUES (?, ?, ?, ?)",
            [
                (
                    delivery_id,
                    position,
                    self._accounts.assign_series_number(each.series),
                    encode_json(each, without=("series",)),
                )
                for position, each in enumerate(transitions)
            ],
        )

    def _make_key_unique(self, delivery: Delivery) -> Delivery:
        """The delivery with a key that no message of another account has: receivers recognize a repeat by it.

        A key contains the key that its account had then, which may be another account's now.
        """
        earlier = self._database.execute(
            "SELECT account FROM delivery JOIN delivery_transition ON delivery.id = delivery"
            " JOIN series ON series.id = series WHERE delivery.key = ? AND channel = ?",
            (delivery.key, delivery.channel),
        ).fetchone()
        if earlier is None or not delivery.transitions:
            return delivery
        series = delivery.transitions[0].series
        number = self._accounts.assign_number(series.provider, series.account)
        if earlier[0] == number:
            return delivery
        key = f"{delivery.key}|account {number}"
        return replace(delivery, key=key, message=replace(delivery.message, id=key))

    # --- stopped channels and suppressed messages -------------------------------------------------------------------

    def load_stops(self) -> list[StoppedChannel]:
        """Channels that refused permanently, by name."""
        found = self._database.execute("SELECT record FROM stopped_channel ORDER BY channel")
        read = (self._database.decode(record, StoppedChannel) for (record,) in found)
        return [stop for stop in read if stop is not None]

    def save_stop(self, stop: StoppedChannel) -> None:
        """Save that a channel refused permanently."""
        self._database.execute(
            "INSERT OR REPLACE INTO stopped_channel VALUES (?, ?)", (stop.channel, encode_json(stop))
        )

    def delete_stop(self, channel: str) -> None:
        """Delete that a channel refused."""
        self._database.execute("DELETE FROM stopped_channel WHERE channel = ?", (channel,))

    def save_suppressions(self, suppressions: Iterable[Suppression]) -> None:
        """Save why messages were not sent."""
        self._database.executemany(
            "INSERT INTO suppression (at, rule, series, record) VALUES (?, ?, ?, ?)",
            [
                (
                    to_milliseconds(each.decided_at),
                    each.rule,
                    self._accounts.assign_series_number(each.series),
                    encode_json(each, without=("series",)),
                )
                for each in suppressions
            ],
        )

    def load_suppressions(self, *, since: datetime, rule: str) -> list[Suppression]:
        """Why messages about a rule's alerts were delayed or not sent, oldest first."""
        series = self._accounts.load_series_numbers()
        read = (
            self._database.decode(record, Suppression, series=series[number])
            for number, record in self._database.execute(
                "SELECT series, record FROM suppression WHERE rule = ? AND at >= ? ORDER BY id",
                (rule, to_milliseconds(since)),
            )
        )
        return [suppression for suppression in read if suppression is not None]


class Snoozes:
    """Snoozes."""

    def __init__(self, database: Database, accounts: Accounts) -> None:
        self._database, self._accounts = database, accounts

    def load(self) -> list[Snooze]:
        """Every snooze, in force or over, by target."""
        written = {str(number): str(series) for number, series in self._accounts.load_series_numbers().items()}
        found = self._database.execute("SELECT target, record FROM snooze ORDER BY target").fetchall()
        read = (self._database.decode(record, Snooze, target=target) for target, record in found)
        return [_rename_episodes(snooze, written) for snooze in read if snooze is not None]

    def save(self, snooze: Snooze) -> None:
        """Save a snooze in place of an earlier one of the same target."""
        numbers = {str(series): str(number) for number, series in self._accounts.load_series_numbers().items()}
        record = encode_json(_rename_episodes(snooze, numbers), without=("target",))
        self._database.execute("INSERT OR REPLACE INTO snooze VALUES (?, ?)", (snooze.target, record))

    def delete(self, target: str) -> bool:
        """Delete a snooze. False if there was none."""
        return self._database.execute("DELETE FROM snooze WHERE target = ?", (target,)).rowcount > 0


def _rename_episodes(snooze: Snooze, names: dict[str, str]) -> Snooze:
    """The snooze with other names for the series in `episodes`: as people write them, or numbers."""
    if snooze.episodes is None:
        return snooze
    return replace(snooze, episodes={names[key]: value for key, value in snooze.episodes.items() if key in names})


def _encode_row(delivery: Delivery) -> tuple[Any, ...]:
    """The columns of `delivery` but its id, in order."""
    record = encode_json(delivery, without=("id", "transitions"))
    return delivery.key, delivery.channel, delivery.state.value, to_milliseconds(delivery.created_at), record
