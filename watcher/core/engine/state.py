"""What the engine remembers from one poll to the next: the state of each series and of each alert. Persisted.

A field that is added needs no new version; one that changes its meaning does. Never put a decision here: `cycle` makes
a series' state, `evaluate` an alert's.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from watcher.core.engine.forecast import Sample
from watcher.core.engine.windows import infer_kind
from watcher.core.model import AlertPhase, Reading, Series, Severity, WindowKind

SERIES_VERSION = 1
ALERT_VERSION = 1

AlertKey = tuple[str, Series]
"""An alert: its rule's name, and the series."""


class Validity(StrEnum):
    """What the last news of a series was. Only the first two are readings that rules may judge."""

    BELIEVED = "believed"
    RESET = "reset"  # believed, and the first of a new episode
    SUSPECT = "suspect"
    FROZEN = "frozen"
    UNKNOWN = "unknown"
    MISSING = "missing"  # the answer came without this window
    FAILED = "failed"  # no answer

    @property
    def is_believed(self) -> bool:
        """Whether the last news was a reading that rules may judge."""
        return self in (Validity.BELIEVED, Validity.RESET)


class SuspectReading(Struct, frozen=True, kw_only=True):
    """A reading that is not yet believed."""

    reading: Reading
    at: datetime
    turn: bool  # if it is true, the window has turned over


class SeriesState(Struct, frozen=True, kw_only=True):
    """All that is known of one series. Persisted; grows no further than `forecast.MOST` samples."""

    version: int = SERIES_VERSION
    series: Series
    account_name: str = ""
    plan: str | None = None
    primary: bool = False  # the provider's primary window at this moment
    reading: Reading | None = None  # last believed
    read_at: datetime | None = None  # when that was, by the wall clock of then
    changed_at: datetime | None = None  # when a believed reading last differed from the one before
    boundary: datetime | None = None  # when this episode ends, as last heard
    doubt: SuspectReading | None = None
    doubts: int = 0  # answers in a row that were not believed
    standing: Validity = Validity.UNKNOWN
    episode: int = 0
    episode_at: datetime  # when this episode began, as far as is known
    samples: tuple[Sample, ...] = ()
    heard_at: datetime  # when an answer last held this series; before the first, when it was first asked for
    asked_at: datetime  # when its account was last asked, whatever came of it
    every: timedelta = timedelta(0)  # how often that was usual then
    retry_at: datetime | None = None  # not to be asked again before
    watched_from: datetime | None = None  # when watching went on after a gap (sleep): silence before it is not news
    error: str | None = None  # of the last poll; None: it was answered
    error_kind: str | None = None
    failing_since: datetime | None = None
    gone: bool = False  # not heard of for so long that its alerts were closed

    @property
    def account_key(self) -> tuple[str, str]:
        """(provider, account)."""
        return self.series.provider, self.series.account

    @property
    def kind(self) -> WindowKind:
        """Of the window; by its name until something was read."""
        return infer_kind(self.series) if self.reading is None else self.reading.kind


class AlertState(Struct, frozen=True, kw_only=True):
    """Where one rule stands on one series. Persisted; kept only where there is something to remember."""

    version: int = ALERT_VERSION
    rule: str
    series: Series
    fingerprint: str  # of the condition that was judged; empty: the rule is gone, only the counts are remembered
    phase: AlertPhase = AlertPhase.OK
    severity: Severity | None = None  # while firing
    since: datetime | None = None  # when the condition began to hold, while pending or firing
    at: datetime  # the last change; never earlier than the one before
    episode: int
    step: int = -1  # the ladder's step that is reached, while firing
    told: int = -1  # the highest step spoken of since it fired
    heard: tuple[Severity, ...] = ()  # under which severities it was spoken of since then
    held: tuple[timedelta | None, ...] = ()  # for each step: how long it has held; None: it does not
    clock_at: datetime | None = None  # until when that is counted; None: no clock runs
    silent_at: datetime | None = None  # when the clock was stopped by the unknown
    remind_at: datetime | None = None
    fired: int = 0  # times it has fired in this episode: tells one message's identity from the next
    reminded: int = 0  # likewise
    muted: bool = False  # it fires, and another alert has said so for all: this machine is offline

    def with_notified_severity(self, severity: Severity) -> tuple[Severity, ...]:
        """`heard`, and this one."""
        return self.heard if severity in self.heard else (*self.heard, severity)


class AlertIndex(Mapping[AlertKey, AlertState]):
    """Alerts by rule and series, kept by series: those of one are found without a look at the others."""

    def __init__(self, alerts: Iterable[AlertState] = ()) -> None:
        self._by_series: dict[Series, dict[str, AlertState]] = {}
        self.apply_changes(alerts)

    @classmethod
    def from_mapping(cls, alerts: Mapping[AlertKey, AlertState]) -> "AlertIndex":
        """The very same where they are grouped already."""
        return alerts if isinstance(alerts, AlertIndex) else cls(alerts.values())

    def __getitem__(self, key: AlertKey) -> AlertState:
        return self._by_series[key[1]][key[0]]

    def __iter__(self) -> Iterator[AlertKey]:
        return ((rule, series) for series, alerts in self._by_series.items() for rule in alerts)

    def __len__(self) -> int:
        return sum(map(len, self._by_series.values()))

    def group_by_series(self) -> Iterable[tuple[Series, Mapping[str, AlertState]]]:
        """Each series that has alerts, with these by rule."""
        return self._by_series.items()

    def for_series(self, series: Series) -> Mapping[str, AlertState]:
        """The alerts on one series, by rule."""
        return self._by_series.get(series) or {}

    def apply_changes(self, changed: Iterable[AlertState], closed: Iterable[AlertKey] = ()) -> None:
        """Keep these in place of what was known of them, and forget those that are closed."""
        for alert in changed:
            self._by_series.setdefault(alert.series, {})[alert.rule] = alert
        for rule, series in closed:
            of = self._by_series.get(series, {})
            of.pop(rule, None)
            if not of:
                self._by_series.pop(series, None)


class EngineState(Struct, frozen=True):
    """Everything that one call leaves to the next. Persisted by the store."""

    series_states: Mapping[Series, SeriesState]
    alert_states: Mapping[AlertKey, AlertState]
