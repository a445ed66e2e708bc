"""The only database, by its tables: everything that must outlive the process.

`write` is the one transaction there is: what happens inside is kept whole or not at all. Long because all tables are
here: a second file of queries would only be a second place to look. Never put a decision about alerts or deliveries
here.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from watcher.core.engine.evaluator import EvaluationResult
from watcher.core.engine.state import AlertIndex, AlertState, EngineState, SeriesState
from watcher.core.model import (
    Delivery,
    DeliveryState,
    PollFailure,
    Series,
    Snapshot,
    Snooze,
    StoppedChannel,
    Transition,
)
from watcher.core.routing.planner import RoutingDecision
from watcher.storage import records
from watcher.storage.account_rename import Renames, renamed, resnoozed

T = TypeVar("T")

DATABASE_FILE_NAME = "watcher.db"
CHANNEL_TESTED_PREFIX = "tried "  # and a channel's name: the fact that it took a test message
KEEP_RAW = timedelta(days=14)
KEEP_HOURLY = timedelta(days=365)
KEEP_DELIVERIES = timedelta(days=30)
KEEP_TRANSITIONS = timedelta(days=365)
_SNAPSHOT_DECODER, _FAILURE_DECODER = msgspec.json.Decoder(Snapshot), msgspec.json.Decoder(PollFailure)
KEEP_SUPPRESSIONS = timedelta(days=14)
MAX_SUPPRESSIONS_PER_RULE = 200  # of each rule


class Store(Renames):
    """Every table, by what it is for. What writes says so, and belongs inside `write`."""

    _engine_state: tuple[dict[Series, SeriesState], AlertIndex] | None = None
    _data_version = -1

    def __init__(
        self, path: Path, *, now: datetime, read_only: bool = False, fallback_path: Path | None = None
    ) -> None:
        self._reported_unreadable: set[str] = set()  # what was said of records that cannot be read
        super().__init__(path, now=now, read_only=read_only, fallback_path=fallback_path)

    def invalidate_cache(self) -> None:
        """Read the engine's states anew."""
        self._engine_state = None

    # --- what the engine knows --------------------------------------------------------------------------------------

    def load_engine_state(self) -> EngineState:
        """All series and alert states; kept between calls until another process changes the file."""
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        if self._engine_state is None or version != self._data_version:
            series = self._load_records("SELECT state FROM series WHERE state IS NOT NULL", SeriesState)
            alerts = self._load_records("SELECT state FROM alert", AlertState)
            self._engine_state = ({state.series: state for state in series}, AlertIndex(alerts))
            self._data_version = version
        return EngineState(*self._engine_state)

    def _load_records(self, sql: str, kind: type[T], parameters: Sequence[Any] = ()) -> Iterator[T]:
        decoder = msgspec.json.Decoder(kind)
        found = (self._decode_record(decoder, kind, text) for (text,) in self._db.execute(sql, parameters))
        return (record for record in found if record is not None)

    def _decode_record(self, decoder: msgspec.json.Decoder[T], kind: type[T], text: str | None) -> T | None:
        """One record; None where there is none, or none that can be read: that one alone is lost, and said once."""
        if text is None:
            return None
        try:
            return decoder.decode(text)
        except msgspec.MsgspecError as error:
            notice = f"{self.path.name}: one {kind.__name__} cannot be read and is left out ({error})"
            if notice not in self._reported_unreadable:
                self._reported_unreadable.add(notice)
                self.notices.append(notice)
            return None

    def save_evaluation(self, evaluation: EvaluationResult) -> None:
        """Keep what the engine decided; inside `write`."""
        self._db.executemany(
            "INSERT INTO series (provider, account, window, kind, label, unit, state) VALUES (?, ?, ?, '', '', '', ?)"
            " ON CONFLICT (provider, account, window) DO UPDATE SET state = excluded.state",
            [
                (*records.encode_series_key(state.series), records.encode_json(state))
                for state in evaluation.series_states
            ],
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO alert (rule, provider, account, window, phase, severity, since, state)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [records.encode_alert_row(state) for state in evaluation.alert_states],
        )
        self._db.executemany(
            "DELETE FROM alert WHERE rule = ? AND provider = ? AND account = ? AND window = ?",
            [(rule, *records.encode_series_key(series)) for rule, series in evaluation.closed_alerts],
        )
        self._db.executemany(
            "INSERT INTO transition (at, rule, provider, account, window, event, record) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [records.encode_transition_row(transition) for transition in evaluation.transitions],
        )
        if self._engine_state is not None:
            series, alerts = self._engine_state
            series.update((state.series, state) for state in evaluation.series_states)
            alerts.apply_changes(evaluation.alert_states, evaluation.closed_alerts)

    # --- polls and readings -----------------------------------------------------------------------------------------

    def save_result(self, result: Snapshot | PollFailure) -> None:
        """Keep a poll's result; inside `write`. A failure leaves the last good snapshot where it is."""
        of = result.provider, result.account
        if not self._db.execute("SELECT 1 FROM account WHERE provider = ? AND account = ?", of).fetchone():
            self._free_keys(*of)
        if isinstance(result, PollFailure):
            self._save_failure(result)
            self._db.execute(
                "INSERT INTO account (provider, account, failure, failing_since, failures, asked_at)"
                " VALUES (?1, ?2, ?3, ?4, 1, ?4) ON CONFLICT DO UPDATE SET failure = ?3,"
                " failing_since = coalesce(failing_since, ?4), failures = failures + 1, asked_at = ?4",
                (result.provider, result.account, records.encode_json(result), records.to_milliseconds(result.at)),
            )
            return
        last = None if result.whole else self._load_snapshot(result.provider, result.account)
        self._db.execute(
            "INSERT INTO account (provider, account, snapshot, failures, asked_at) VALUES (?1, ?2, ?3, 0, ?4)"
            " ON CONFLICT DO UPDATE SET snapshot = ?3, failure = NULL, failing_since = NULL, failures = 0,"
            " asked_at = ?4",
            (
                result.provider,
                result.account,
                records.encode_json(records.merge_snapshots(last, result)),
                records.to_milliseconds(result.at),
            ),
        )
        self._db.executemany(
            "INSERT INTO series (provider, account, window, kind, label, unit, window_seconds)"
            " VALUES (?, ?, ?, ?4, ?5, ?6, ?7) ON CONFLICT (provider, account, window)"
            " DO UPDATE SET kind = ?4, label = ?5, unit = ?6, window_seconds = ?7"
            " WHERE (kind, label, unit, window_seconds) IS NOT (?4, ?5, ?6, ?7)",
            [(*of, *records.encode_series_columns(reading)) for reading in result.readings],
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO reading SELECT id, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 FROM series"
            " WHERE provider = ?1 AND account = ?2 AND window = ?3",
            [(*of, reading.window, *records.encode_reading_row(reading, result.at)) for reading in result.readings],
        )

    def has_readings(self, provider: str, account: str) -> bool:
        """Whether an account of that key has ever answered, and is not forgotten."""
        return self._load_snapshot(provider, account) is not None

    def _load_snapshot(self, provider: str, account: str) -> Snapshot | None:
        return next(
            (each.snapshot for each in self.load_accounts() if (each.provider, each.account) == (provider, account)),
            None,
        )

    def load_accounts(self) -> list[records.Account]:
        """Every account ever asked, with its last snapshot and its failure, by provider and account."""
        found = self._db.execute(
            "SELECT provider, account, snapshot, failure, failing_since, failures, asked_at FROM account"
            " ORDER BY provider, account"
        )
        return [
            records.decode_account(
                provider,
                account,
                self._decode_record(_SNAPSHOT_DECODER, Snapshot, snapshot),
                self._decode_record(_FAILURE_DECODER, PollFailure, failure),
                counts,
            )
            for provider, account, snapshot, failure, *counts in found
        ]

    def forget_unanswered_account(self, provider: str, account: str) -> None:
        """Forget an account that never gave a reading: a place that was broken, and is mended; inside `write`."""
        self._db.execute(
            "DELETE FROM account WHERE provider = ? AND account = ? AND snapshot IS NULL", (provider, account)
        )

    def forget_account(self, provider: str, account: str) -> list[tuple[str, Series]]:
        """Forget an account that is known by another key now; inside `write`. Its readings stay for the history.

        Returns the keys of the alerts that went with it.
        """
        alerts = self.load_engine_state().alert_states
        closed = [key for key in alerts if (key[1].provider, key[1].account) == (provider, account)]
        for sql in (
            "DELETE FROM account WHERE provider = ? AND account = ?",
            "DELETE FROM alert WHERE provider = ? AND account = ?",
            "DELETE FROM outage WHERE provider = ? AND account = ?",
            "UPDATE series SET state = NULL WHERE provider = ? AND account = ?",
        ):
            self._db.execute(sql, (provider, account))
        self.invalidate_cache()
        return closed

    def rename_account(self, provider: str, old: str, new: str) -> bool:
        """Put all that is known of an account under the key that it has now; inside `write`.

        False, and nothing is changed, where that key has readings already; trouble alone gives way.
        """
        if self.has_readings(provider, new):
            return False
        self.forget_account(provider, new)
        mine = [
            each for each in self.load_engine_state().series_states if (each.provider, each.account) == (provider, old)
        ]
        names = {each: Series(provider=provider, account=new, window=each.window) for each in mine}
        self._rename(provider, old, new)
        self.update_deliveries(renamed(delivery, names) for delivery in self.load_outbox())
        for snooze in self.load_snoozes():
            self.delete_snooze(snooze.target)
            self.save_snooze(resnoozed(snooze, names))
        self.invalidate_cache()
        return True

    def load_multi_account_providers(self) -> frozenset[str]:
        """Providers that have several accounts."""
        found = self._db.execute("SELECT provider FROM account GROUP BY provider HAVING count(*) > 1")
        return frozenset(provider for (provider,) in found)

    def iter_history(self, series: Series, *, since: datetime) -> Iterator[tuple[datetime, Any]]:
        """(at, Reading) of one series in time order: hourly where the raw readings are gone."""
        found = self._db.execute(
            "SELECT id, window, kind, label, unit, window_seconds FROM series"
            " WHERE provider = ? AND account = ? AND window = ?",
            records.encode_series_key(series),
        ).fetchone()
        if found is None:
            return
        series_id, *facts = found
        for row in self._db.execute(
            "SELECT at, used_percent, used, quota, remaining, resets_at, flags, source FROM reading_hourly"
            " WHERE series = ?1 AND at >= ?2"
            " AND at < coalesce((SELECT min(at) FROM reading WHERE series = ?1), 9223372036854775807)"
            " UNION ALL SELECT at, used_percent, used, quota, remaining, resets_at, flags, source FROM reading"
            " WHERE series = ?1 AND at >= ?2 ORDER BY 1",
            (series_id, records.to_milliseconds(since)),
        ):
            yield records.decode_reading(facts, row)

    def load_series(self) -> list[Series]:
        """Every series that has readings, sorted."""
        return [
            Series(provider=provider, account=account, window=window)
            for provider, account, window in self._db.execute(
                "SELECT provider, account, window FROM series WHERE kind <> '' ORDER BY 1, 2, 3"
            )
        ]

    # --- transitions, deliveries, snoozes ---------------------------------------------------------------------------

    def load_transitions(self, *, since: datetime, rule: str | None = None) -> list[Transition]:
        """Transitions since an instant, oldest first; of one rule or of all."""
        return list(
            self._load_records(
                "SELECT record FROM transition WHERE at >= ?1 AND (?2 IS NULL OR rule = ?2) ORDER BY id",
                Transition,
                (records.to_milliseconds(since), rule),
            )
        )

    def load_outbox(self) -> list[Delivery]:
        """Deliveries that are not yet done (queued or held), oldest first."""
        return self._load_deliveries("state IN ('queued', 'held')")

    def load_delivery(self, delivery_id: int) -> Delivery | None:
        """The delivery of that id, whatever became of it; None where there is none."""
        return next(iter(self._load_deliveries("id = ?", (delivery_id,))), None)

    def load_finished_deliveries(self, state: DeliveryState, *, since: datetime) -> list[Delivery]:
        """Deliveries that ended in one state, oldest first."""
        return self._load_deliveries("state = ? AND created_at >= ?", (state.value, records.to_milliseconds(since)))

    def _load_deliveries(self, where: str, parameters: Sequence[Any] = ()) -> list[Delivery]:
        found = self._db.execute(f"SELECT id, record FROM delivery WHERE {where} ORDER BY id", parameters)  # noqa: S608 - constants
        decoder = msgspec.json.Decoder(Delivery)
        read = ((number, self._decode_record(decoder, Delivery, record)) for number, record in found)
        return [msgspec.structs.replace(delivery, id=number) for number, delivery in read if delivery is not None]

    def enqueue_deliveries(self, deliveries: Iterable[Delivery]) -> None:
        """Put new deliveries into the outbox; inside `write`. One that has the key of an earlier one is left out."""
        self._db.executemany(
            "INSERT INTO delivery (key, channel, state, created_at, record) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (key, channel) DO NOTHING",
            [records.encode_delivery_row(self._rekeyed(delivery)) for delivery in deliveries],
        )

    def update_deliveries(self, deliveries: Iterable[Delivery]) -> None:
        """Keep what became of deliveries; inside `write`."""
        self._db.executemany(
            "UPDATE delivery SET key = ?, channel = ?, state = ?, created_at = ?, record = ? WHERE id = ?",
            [(*records.encode_delivery_row(delivery), delivery.id) for delivery in deliveries],
        )

    def load_snoozes(self) -> list[Snooze]:
        """Every snooze in force or past, by target."""
        return list(self._load_records("SELECT record FROM snooze ORDER BY target", Snooze))

    def save_snooze(self, snooze: Snooze) -> None:
        """Keep a snooze in place of an earlier one of the same target; inside `write`."""
        self._db.execute("INSERT OR REPLACE INTO snooze VALUES (?, ?)", (snooze.target, records.encode_json(snooze)))

    def delete_snooze(self, target: str) -> bool:
        """Forget a snooze; inside `write`. False where there was none."""
        return self._db.execute("DELETE FROM snooze WHERE target = ?", (target,)).rowcount > 0

    def load_stops(self) -> list[StoppedChannel]:
        """Channels that refused for good, by name."""
        return list(self._load_records("SELECT record FROM stop ORDER BY channel", StoppedChannel))

    def save_stop(self, stop: StoppedChannel) -> None:
        """Note that a channel refused for good; inside `write`."""
        self._db.execute("INSERT OR REPLACE INTO stop VALUES (?, ?)", (stop.channel, records.encode_json(stop)))

    def delete_stop(self, channel: str) -> None:
        """Forget that a channel refused; inside `write`."""
        self._db.execute("DELETE FROM stop WHERE channel = ?", (channel,))

    def save_suppressions(self, decisions: Iterable[RoutingDecision]) -> None:
        """Keep why something was not said; inside `write`. What was said is in the outbox."""
        self._db.executemany(
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
        return list(self._load_records(sql, RoutingDecision, (rule, records.to_milliseconds(since))))

    # --- the end of everything --------------------------------------------------------------------------------------

    def delete_old_records(self, now: datetime) -> None:
        """Thin out: raw readings to hourly ones after 14 days, those gone after a year; inside `write`."""
        raw_end = records.to_milliseconds(now - KEEP_RAW)
        self._db.execute(
            "INSERT OR REPLACE INTO reading_hourly SELECT series, max(at), used_percent, used, quota, remaining,"
            " resets_at, flags, source FROM reading WHERE at < ? GROUP BY series, at / 3600000",
            (raw_end,),
        )
        for table, before in (
            ("reading", raw_end),
            ("reading_hourly", records.to_milliseconds(now - KEEP_HOURLY)),
            ("transition", records.to_milliseconds(now - KEEP_TRANSITIONS)),
            ("silence", records.to_milliseconds(now - KEEP_SUPPRESSIONS)),
        ):
            self._db.execute(f"DELETE FROM {table} WHERE at < ?", (before,))  # noqa: S608 - constants
        self._db.execute("DELETE FROM outage WHERE ended_at < ?", (raw_end,))
        self._db.execute(
            "DELETE FROM delivery WHERE state NOT IN ('queued', 'held') AND created_at < ?",
            (records.to_milliseconds(now - KEEP_DELIVERIES),),
        )
        self._db.execute(
            "DELETE FROM silence WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER"
            " (PARTITION BY rule ORDER BY id DESC) AS nth FROM silence) WHERE nth > ?)",
            (MAX_SUPPRESSIONS_PER_RULE,),
        )
