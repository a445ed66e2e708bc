"""The engine's state from one poll to the next, and every transition of an alert."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

from watcher.core.engine.evaluator import EvaluationResult, apply_evaluation
from watcher.core.engine.state import AlertState, EngineState, SeriesState
from watcher.core.engine.state_machine import return_to_ok
from watcher.core.model import AlertPhase, Series, Transition
from watcher.storage.accounts import Accounts
from watcher.storage.database import Database
from watcher.storage.records import encode_json, to_milliseconds

T = TypeVar("T")
_SERIES = ("series",)


class Alerts:
    """The states of series and alerts, and transitions."""

    def __init__(self, database: Database, accounts: Accounts) -> None:
        self._database, self._accounts = database, accounts
        self._engine_state: EngineState | None = None
        self._version: tuple[int, int] | None = None

    def load_state(self) -> EngineState:
        """The states of all series and alerts; cached until another process changes the file."""
        (data_version,) = self._database.execute("PRAGMA data_version").fetchone()
        version = self._database.generation, data_version
        if self._engine_state is None or version != self._version:
            series = self._load("series.state FROM series", "WHERE series.state IS NOT NULL", SeriesState)
            alerts = self._load("alert.state FROM alert JOIN series ON series.id = series", "", AlertState)
            self._engine_state = EngineState(
                {state.series: state for state in series}, {(alert.rule, alert.series): alert for alert in alerts}
            )
            self._version = version
        return self._engine_state

    def save_evaluation(self, evaluation: EvaluationResult) -> None:
        """Save what the engine decided."""
        number = self._accounts.assign_series_number
        self._database.executemany(
            "UPDATE series SET state = ? WHERE id = ?",
            [(encode_json(state, without=_SERIES), number(state.series)) for state in evaluation.series_states],
        )
        self._database.executemany(
            "INSERT OR REPLACE INTO alert VALUES (?, ?, ?)",
            [
                (state.rule, number(state.series), encode_json(state, without=_SERIES))
                for state in evaluation.alert_states
            ],
        )
        self._database.executemany(
            "DELETE FROM alert WHERE rule = ? AND series = ?",
            [(rule, number(series)) for rule, series in evaluation.closed_alerts],
        )
        self._database.executemany(
            "INSERT INTO transition (at, rule, series, record) VALUES (?, ?, ?, ?)",
            [
                (to_milliseconds(each.at), each.rule, number(each.series), encode_json(each, without=_SERIES))
                for each in evaluation.transitions
            ],
        )
        if self._engine_state is not None:
            self._engine_state = apply_evaluation(self._engine_state, evaluation)

    def rearm(self) -> None:
        """Let every firing alert fire again: messages that were sent after this state was saved are unknown."""
        alerts = self.load_state().alert_states.values()
        again = [return_to_ok(alert, alert.changed_at) for alert in alerts if alert.phase is AlertPhase.FIRING]
        self.save_evaluation(EvaluationResult(alert_states=tuple(again)))

    def load_transitions(self, *, since: datetime, rule: str | None = None) -> list[Transition]:
        """Transitions since then, oldest first; of one rule or of all."""
        return self._load(
            "record FROM transition JOIN series ON series.id = series",
            "WHERE at >= ? AND rule = coalesce(?, rule) ORDER BY transition.id",
            Transition,
            (to_milliseconds(since), rule),
        )

    def _load(self, source: str, where: str, kind: type[T], parameters: Sequence[Any] = ()) -> list[T]:
        """Records of series: `source` is the column of JSON text with the tables that it is in."""
        found = self._database.execute(
            f"SELECT provider, key, window, {source} JOIN account ON account.id = account {where}",
            parameters,
        )
        read = (
            self._database.decode(text, kind, series=Series(provider=provider, account=key, window=window))
            for provider, key, window, text in found
        )
        return [record for record in read if record is not None]
