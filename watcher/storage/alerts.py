"""What the engine remembers from one poll to the next, and every change of an alert."""

from datetime import datetime

from watcher.core.engine.evaluator import EvaluationResult, apply_evaluation
from watcher.core.engine.state import AlertState, EngineState, SeriesState
from watcher.core.model import AlertPhase, Transition
from watcher.storage import records
from watcher.storage.database import Database


class Alerts:
    """The states of series and alerts, and transitions. What changes them belongs inside `Store.run_transaction`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._engine_state: EngineState | None = None
        self._version: tuple[int, int] | None = None

    def load_state(self) -> EngineState:
        """All series and alert states; kept between calls until another process changes the file."""
        (data_version,) = self._database.execute("PRAGMA data_version").fetchone()
        version = self._database.generation, data_version
        if self._engine_state is None or version != self._version:
            series = self._database.load_records("SELECT state FROM series WHERE state IS NOT NULL", SeriesState)
            alerts = self._database.load_records("SELECT state FROM alert", AlertState)
            self._engine_state = EngineState(
                {state.series: state for state in series}, {(alert.rule, alert.series): alert for alert in alerts}
            )
            self._version = version
        return self._engine_state

    def save_evaluation(self, evaluation: EvaluationResult) -> None:
        """Keep what the engine decided."""
        self._database.executemany(
            "INSERT INTO series (provider, account, window, kind, label, unit, state) VALUES (?, ?, ?, '', '', '', ?)"
            " ON CONFLICT (provider, account, window) DO UPDATE SET state = excluded.state",
            [
                (*records.encode_series_key(state.series), records.encode_json(state))
                for state in evaluation.series_states
            ],
        )
        self._database.executemany(
            "INSERT OR REPLACE INTO alert (rule, provider, account, window, phase, severity, since, state)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [records.encode_alert_row(state) for state in evaluation.alert_states],
        )
        self._database.executemany(
            "DELETE FROM alert WHERE rule = ? AND provider = ? AND account = ? AND window = ?",
            [(rule, *records.encode_series_key(series)) for rule, series in evaluation.closed_alerts],
        )
        self._database.executemany(
            "INSERT INTO transition (at, rule, provider, account, window, event, record) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [records.encode_transition_row(transition) for transition in evaluation.transitions],
        )
        if self._engine_state is not None:
            self._engine_state = apply_evaluation(self._engine_state, evaluation)

    def rearm(self) -> None:
        """Let every alert that is firing fire again: nobody knows what was sent since it was saved."""
        firing = [state for state in self.load_state().alert_states.values() if state.phase is AlertPhase.FIRING]
        again = tuple(
            AlertState(
                rule=state.rule,
                series=state.series,
                fingerprint=state.fingerprint,
                at=state.at,
                episode=state.episode,
                fired=state.fired,
                reminded=state.reminded,
            )
            for state in firing
        )
        self.save_evaluation(EvaluationResult(alert_states=again))

    def load_transitions(self, *, since: datetime, rule: str | None = None) -> list[Transition]:
        """Transitions since an instant, oldest first; of one rule or of all."""
        return list(
            self._database.load_records(
                "SELECT record FROM transition WHERE at >= ?1 AND (?2 IS NULL OR rule = ?2) ORDER BY id",
                Transition,
                (records.to_milliseconds(since), rule),
            )
        )
