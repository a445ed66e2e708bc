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

from watcher import rows
from watcher.core.judge import Judgement
from watcher.core.memory import Alerts, AlertState, Memory, SeriesState
from watcher.core.model import Delivery, DeliveryState, Failure, Series, Snapshot, Snooze, Stop, Transition
from watcher.core.plan import Choice
from watcher.renames import Renames, renamed, resnoozed

T = TypeVar("T")

FILE_NAME = "watcher.db"
TRIED = "tried "  # and a channel's name: the fact that it took a test message
KEEP_RAW = timedelta(days=14)
KEEP_HOURLY = timedelta(days=365)
KEEP_DELIVERIES = timedelta(days=30)
KEEP_TRANSITIONS = timedelta(days=365)
_SNAPSHOT, _FAILURE = msgspec.json.Decoder(Snapshot), msgspec.json.Decoder(Failure)
KEEP_SILENCES = timedelta(days=14)
MOST_SILENCES = 200  # of each rule


class Store(Renames):
    """Every table, by what it is for. What writes says so, and belongs inside `write`."""

    _memory: tuple[dict[Series, SeriesState], Alerts] | None = None
    _memory_version = -1

    def __init__(self, path: Path, *, now: datetime, read_only: bool = False, shelter: Path | None = None) -> None:
        self._unreadable: set[str] = set()  # what was said of records that cannot be read
        super().__init__(path, now=now, read_only=read_only, shelter=shelter)

    def forget(self) -> None:
        """Read the engine's states anew."""
        self._memory = None

    # --- what the engine knows --------------------------------------------------------------------------------------

    def memory(self) -> Memory:
        """All series and alert states; kept between calls until another process changes the file."""
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        if self._memory is None or version != self._memory_version:
            series = self._decoded("SELECT state FROM series WHERE state IS NOT NULL", SeriesState)
            alerts = self._decoded("SELECT state FROM alert", AlertState)
            self._memory = ({state.series: state for state in series}, Alerts(alerts))
            self._memory_version = version
        return Memory(*self._memory)

    def _decoded(self, sql: str, kind: type[T], parameters: Sequence[Any] = ()) -> Iterator[T]:
        decoder = msgspec.json.Decoder(kind)
        found = (self._read(decoder, kind, text) for (text,) in self._db.execute(sql, parameters))
        return (record for record in found if record is not None)

    def _read(self, decoder: msgspec.json.Decoder[T], kind: type[T], text: str | None) -> T | None:
        """One record; None where there is none, or none that can be read: that one alone is lost, and said once."""
        if text is None:
            return None
        try:
            return decoder.decode(text)
        except msgspec.MsgspecError as error:
            notice = f"{self.path.name}: one {kind.__name__} cannot be read and is left out ({error})"
            if notice not in self._unreadable:
                self._unreadable.add(notice)
                self.notices.append(notice)
            return None

    def save(self, judgement: Judgement) -> None:
        """Keep what the engine decided; inside `write`."""
        self._db.executemany(
            "INSERT INTO series (provider, account, window, kind, label, unit, state) VALUES (?, ?, ?, '', '', '', ?)"
            " ON CONFLICT (provider, account, window) DO UPDATE SET state = excluded.state",
            [(*rows.series_key(state.series), rows.encode(state)) for state in judgement.series],
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO alert (rule, provider, account, window, phase, severity, since, state)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [rows.alert_row(state) for state in judgement.alerts],
        )
        self._db.executemany(
            "DELETE FROM alert WHERE rule = ? AND provider = ? AND account = ? AND window = ?",
            [(rule, *rows.series_key(series)) for rule, series in judgement.closed],
        )
        self._db.executemany(
            "INSERT INTO transition (at, rule, provider, account, window, event, record) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [rows.transition_row(transition) for transition in judgement.transitions],
        )
        if self._memory is not None:
            series, alerts = self._memory
            series.update((state.series, state) for state in judgement.series)
            alerts.learn(judgement.alerts, judgement.closed)

    # --- polls and readings -----------------------------------------------------------------------------------------

    def record(self, news: Snapshot | Failure) -> None:
        """Keep a poll's result; inside `write`. A failure leaves the last good snapshot where it is."""
        of = news.provider, news.account
        if not self._db.execute("SELECT 1 FROM account WHERE provider = ? AND account = ?", of).fetchone():
            self._free_keys(*of)
        if isinstance(news, Failure):
            self._note_failure(news)
            self._db.execute(
                "INSERT INTO account (provider, account, failure, failing_since, failures, asked_at)"
                " VALUES (?1, ?2, ?3, ?4, 1, ?4) ON CONFLICT DO UPDATE SET failure = ?3,"
                " failing_since = coalesce(failing_since, ?4), failures = failures + 1, asked_at = ?4",
                (news.provider, news.account, rows.encode(news), rows.ms(news.at)),
            )
            return
        last = None if news.whole else self._snapshot(news.provider, news.account)
        self._db.execute(
            "INSERT INTO account (provider, account, snapshot, failures, asked_at) VALUES (?1, ?2, ?3, 0, ?4)"
            " ON CONFLICT DO UPDATE SET snapshot = ?3, failure = NULL, failing_since = NULL, failures = 0,"
            " asked_at = ?4",
            (news.provider, news.account, rows.encode(rows.merged(last, news)), rows.ms(news.at)),
        )
        self._db.executemany(
            "INSERT INTO series (provider, account, window, kind, label, unit, window_seconds)"
            " VALUES (?, ?, ?, ?4, ?5, ?6, ?7) ON CONFLICT (provider, account, window)"
            " DO UPDATE SET kind = ?4, label = ?5, unit = ?6, window_seconds = ?7"
            " WHERE (kind, label, unit, window_seconds) IS NOT (?4, ?5, ?6, ?7)",
            [(*of, *rows.series_facts(reading)) for reading in news.readings],
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO reading SELECT id, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 FROM series"
            " WHERE provider = ?1 AND account = ?2 AND window = ?3",
            [(*of, reading.window, *rows.reading_row(reading, news.at)) for reading in news.readings],
        )

    def has_readings(self, provider: str, account: str) -> bool:
        """Whether an account of that key has ever answered, and is not forgotten."""
        return self._snapshot(provider, account) is not None

    def _snapshot(self, provider: str, account: str) -> Snapshot | None:
        return next(
            (each.snapshot for each in self.accounts() if (each.provider, each.account) == (provider, account)), None
        )

    def accounts(self) -> list[rows.Account]:
        """Every account ever asked, with its last snapshot and its failure, by provider and account."""
        found = self._db.execute(
            "SELECT provider, account, snapshot, failure, failing_since, failures, asked_at FROM account"
            " ORDER BY provider, account"
        )
        return [
            rows.account(
                provider,
                account,
                self._read(_SNAPSHOT, Snapshot, snapshot),
                self._read(_FAILURE, Failure, failure),
                counts,
            )
            for provider, account, snapshot, failure, *counts in found
        ]

    def forget_trouble(self, provider: str, account: str) -> None:
        """Forget an account that never gave a reading: a place that was broken, and is mended; inside `write`."""
        self._db.execute(
            "DELETE FROM account WHERE provider = ? AND account = ? AND snapshot IS NULL", (provider, account)
        )

    def forget_account(self, provider: str, account: str) -> list[tuple[str, Series]]:
        """Forget an account that is known by another key now; inside `write`. Its readings stay for the history.

        Returns the keys of the alerts that went with it.
        """
        alerts = self.memory().alerts
        closed = [key for key in alerts if (key[1].provider, key[1].account) == (provider, account)]
        for sql in (
            "DELETE FROM account WHERE provider = ? AND account = ?",
            "DELETE FROM alert WHERE provider = ? AND account = ?",
            "DELETE FROM outage WHERE provider = ? AND account = ?",
            "UPDATE series SET state = NULL WHERE provider = ? AND account = ?",
        ):
            self._db.execute(sql, (provider, account))
        self.forget()
        return closed

    def rename_account(self, provider: str, old: str, new: str) -> bool:
        """Put all that is known of an account under the key that it has now; inside `write`.

        False, and nothing is changed, where that key has readings already; trouble alone gives way.
        """
        if self.has_readings(provider, new):
            return False
        self.forget_account(provider, new)
        mine = [each for each in self.memory().series if (each.provider, each.account) == (provider, old)]
        names = {each: Series(provider=provider, account=new, window=each.window) for each in mine}
        self._rename(provider, old, new)
        self.update(renamed(delivery, names) for delivery in self.outbox())
        for snooze in self.snoozes():
            self.unsnooze(snooze.target)
            self.snooze(resnoozed(snooze, names))
        self.forget()
        return True

    def crowded(self) -> frozenset[str]:
        """Providers that have several accounts."""
        found = self._db.execute("SELECT provider FROM account GROUP BY provider HAVING count(*) > 1")
        return frozenset(provider for (provider,) in found)

    def history(self, series: Series, *, since: datetime) -> Iterator[tuple[datetime, Any]]:
        """(at, Reading) of one series in time order: hourly where the raw readings are gone."""
        found = self._db.execute(
            "SELECT id, window, kind, label, unit, window_seconds FROM series"
            " WHERE provider = ? AND account = ? AND window = ?",
            rows.series_key(series),
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
            (series_id, rows.ms(since)),
        ):
            yield rows.reading(facts, row)

    def all_series(self) -> list[Series]:
        """Every series that has readings, sorted."""
        return [
            Series(provider=provider, account=account, window=window)
            for provider, account, window in self._db.execute(
                "SELECT provider, account, window FROM series WHERE kind <> '' ORDER BY 1, 2, 3"
            )
        ]

    # --- transitions, deliveries, snoozes ---------------------------------------------------------------------------

    def transitions(self, *, since: datetime, rule: str | None = None) -> list[Transition]:
        """Transitions since an instant, oldest first; of one rule or of all."""
        return list(
            self._decoded(
                "SELECT record FROM transition WHERE at >= ?1 AND (?2 IS NULL OR rule = ?2) ORDER BY id",
                Transition,
                (rows.ms(since), rule),
            )
        )

    def outbox(self) -> list[Delivery]:
        """Deliveries that are not yet done (queued or held), oldest first."""
        return self._deliveries("state IN ('queued', 'held')")

    def delivery(self, number: int) -> Delivery | None:
        """The delivery of that id, whatever became of it; None where there is none."""
        return next(iter(self._deliveries("id = ?", (number,))), None)

    def deliveries(self, state: DeliveryState, *, since: datetime) -> list[Delivery]:
        """Deliveries that ended in one state, oldest first."""
        return self._deliveries("state = ? AND created_at >= ?", (state.value, rows.ms(since)))

    def _deliveries(self, where: str, parameters: Sequence[Any] = ()) -> list[Delivery]:
        found = self._db.execute(f"SELECT id, record FROM delivery WHERE {where} ORDER BY id", parameters)  # noqa: S608 - constants
        decoder = msgspec.json.Decoder(Delivery)
        read = ((number, self._read(decoder, Delivery, record)) for number, record in found)
        return [msgspec.structs.replace(delivery, id=number) for number, delivery in read if delivery is not None]

    def enqueue(self, deliveries: Iterable[Delivery]) -> None:
        """Put new deliveries into the outbox; inside `write`. One that has the key of an earlier one is left out."""
        self._db.executemany(
            "INSERT INTO delivery (key, channel, state, created_at, record) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (key, channel) DO NOTHING",
            [rows.delivery_row(self._rekeyed(delivery)) for delivery in deliveries],
        )

    def update(self, deliveries: Iterable[Delivery]) -> None:
        """Keep what became of deliveries; inside `write`."""
        self._db.executemany(
            "UPDATE delivery SET key = ?, channel = ?, state = ?, created_at = ?, record = ? WHERE id = ?",
            [(*rows.delivery_row(delivery), delivery.id) for delivery in deliveries],
        )

    def snoozes(self) -> list[Snooze]:
        """Every snooze in force or past, by target."""
        return list(self._decoded("SELECT record FROM snooze ORDER BY target", Snooze))

    def snooze(self, snooze: Snooze) -> None:
        """Keep a snooze in place of an earlier one of the same target; inside `write`."""
        self._db.execute("INSERT OR REPLACE INTO snooze VALUES (?, ?)", (snooze.target, rows.encode(snooze)))

    def unsnooze(self, target: str) -> bool:
        """Forget a snooze; inside `write`. False where there was none."""
        return self._db.execute("DELETE FROM snooze WHERE target = ?", (target,)).rowcount > 0

    def stops(self) -> list[Stop]:
        """Channels that refused for good, by name."""
        return list(self._decoded("SELECT record FROM stop ORDER BY channel", Stop))

    def stop(self, stop: Stop) -> None:
        """Note that a channel refused for good; inside `write`."""
        self._db.execute("INSERT OR REPLACE INTO stop VALUES (?, ?)", (stop.channel, rows.encode(stop)))

    def resume(self, channel: str) -> None:
        """Forget that a channel refused; inside `write`."""
        self._db.execute("DELETE FROM stop WHERE channel = ?", (channel,))

    def note(self, choices: Iterable[Choice]) -> None:
        """Keep why something was not said; inside `write`. What was said is in the outbox."""
        self._db.executemany(
            "INSERT INTO silence (at, rule, record) VALUES (?, ?, ?)",
            [(rows.ms(choice.at), choice.rule, rows.encode(choice)) for choice in choices if not choice.said],
        )

    def silences(self, *, since: datetime, rule: str) -> list[Choice]:
        """Why changes of a rule's alerts were not told, not at once or not at all, oldest first."""
        sql = "SELECT record FROM silence WHERE rule = ? AND at >= ? ORDER BY id"
        return list(self._decoded(sql, Choice, (rule, rows.ms(since))))

    # --- the end of everything --------------------------------------------------------------------------------------

    def forget_old(self, now: datetime) -> None:
        """Thin out: raw readings to hourly ones after 14 days, those gone after a year; inside `write`."""
        raw_end = rows.ms(now - KEEP_RAW)
        self._db.execute(
            "INSERT OR REPLACE INTO reading_hourly SELECT series, max(at), used_percent, used, quota, remaining,"
            " resets_at, flags, source FROM reading WHERE at < ? GROUP BY series, at / 3600000",
            (raw_end,),
        )
        for table, before in (
            ("reading", raw_end),
            ("reading_hourly", rows.ms(now - KEEP_HOURLY)),
            ("transition", rows.ms(now - KEEP_TRANSITIONS)),
            ("silence", rows.ms(now - KEEP_SILENCES)),
        ):
            self._db.execute(f"DELETE FROM {table} WHERE at < ?", (before,))  # noqa: S608 - constants
        self._db.execute("DELETE FROM outage WHERE ended_at < ?", (raw_end,))
        self._db.execute(
            "DELETE FROM delivery WHERE state NOT IN ('queued', 'held') AND created_at < ?",
            (rows.ms(now - KEEP_DELIVERIES),),
        )
        self._db.execute(
            "DELETE FROM silence WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER"
            " (PARTITION BY rule ORDER BY id DESC) AS nth FROM silence) WHERE nth > ?)",
            (MOST_SILENCES,),
        )
