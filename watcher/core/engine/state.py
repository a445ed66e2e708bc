"""What the engine keeps from one poll to the next: the state of each series and of each alert. Persisted as JSON.

A field may be added, or removed, at any time; a field that changes its meaning needs a new name.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from watcher.core.engine.forecast import Sample
from watcher.core.engine.windows import infer_kind
from watcher.core.model import AlertPhase, Reading, Series, Severity, WindowKind
from watcher.core.rules.ast import Selector

AlertKey = tuple[str, Series]
"""(rule name, series)."""


class Validity(StrEnum):
    """What the last poll gave for a series. Rules evaluate only the first two."""

    BELIEVED = "believed"
    RESET = "reset"  # believed, and the first of a new episode
    SUSPECT = "suspect"
    FROZEN = "frozen"  # the window has ended, and the answer is still the old one
    UNKNOWN = "unknown"
    MISSING = "missing"  # an answer without this window
    FAILED = "failed"  # no answer

    @property
    def is_believed(self) -> bool:
        """Whether the last poll gave a reading that rules may evaluate."""
        return self in (Validity.BELIEVED, Validity.RESET)


class SuspectReading(Struct, frozen=True, kw_only=True):
    """A reading that is not believed yet."""

    reading: Reading
    received_at: datetime
    is_reset: bool  # if it proves true, it begins a new episode


class SeriesState(Struct, frozen=True, kw_only=True):
    """The state of one series. Persisted; at most `forecast.MAX_SAMPLES` samples."""

    series: Series
    account_name: str = ""
    plan: str | None = None
    primary: bool = False  # the provider's primary window at present
    reading: Reading | None = None  # last believed
    read_at: datetime | None = None  # of `reading`
    changed_at: datetime | None = None  # when a believed reading last differed from the one before
    boundary_at: datetime | None = None  # when this episode ends, by the last believed reading
    previous_boundary_at: datetime | None = None  # of the episode before: an answer that names it is old
    used_before: Decimal | None = None  # used when this episode began, else when it was first seen
    suspect: SuspectReading | None = None
    suspect_count: int = 0  # answers in a row that were not believed
    validity: Validity = Validity.UNKNOWN
    episode: int = 0
    episode_at: datetime  # when this episode began, as far as is known
    samples: tuple[Sample, ...] = ()
    last_seen_at: datetime  # the last answer that held this series; before the first answer, the first poll
    polled_at: datetime  # the last poll of its account
    every: timedelta = timedelta(0)  # the usual polling interval then
    retry_at: datetime | None = None  # no poll before
    resumed_at: datetime | None = None  # end of the last suspension (sleep): earlier gaps do not count
    error: str | None = None  # of the last poll; None: it was answered
    error_kind: str | None = None
    failing_since: datetime | None = None
    switched_away: bool = False  # another account is signed in where this one was: its missing readings mean nothing
    was_used: bool = False  # some believed reading was above 0
    gone: bool = False  # no answer held it for so long that its alerts were closed

    @property
    def account_key(self) -> tuple[str, str]:
        """(provider, account)."""
        return self.series.provider, self.series.account

    @property
    def kind(self) -> WindowKind:
        """The kind of the window; by its name until there is a reading."""
        return infer_kind(self.series) if self.reading is None else self.reading.kind

    def matches(self, selector: Selector) -> bool:
        """Whether the selector means this series at present."""
        return selector.matches(self.series, self.account_name, self.kind, is_primary=self.primary)

    @property
    def is_unproven(self) -> bool:
        """Whether it is a window of a name that tells nothing, and was never used."""
        return self.reading is not None and self.reading.provisional and not self.was_used


def create_series_state(series: Series, at: datetime) -> SeriesState:
    """The state of a series before its first poll, which is at `at`."""
    return SeriesState(series=series, episode_at=at, last_seen_at=at, polled_at=at)


class AlertState(Struct, frozen=True, kw_only=True):
    """The state of one rule on one series. Persisted; kept only while there is something to remember."""

    rule: str
    series: Series
    fingerprint: str  # of the rule's condition; empty: the rule is gone, only the counts are kept
    phase: AlertPhase = AlertPhase.OK
    severity: Severity | None = None  # while firing
    since: datetime | None = None  # when the condition began to hold, while pending or firing
    changed_at: datetime  # of the last change; never goes back
    episode: int
    level_index: int = -1  # the present level, while firing
    notified_level_index: int = -1  # the highest level since it fired
    notified_severities: tuple[Severity, ...] = ()  # the severities of its events since it fired
    met_for: tuple[timedelta | None, ...] = ()  # for each level: how long it has held; None: it does not
    timers_at: datetime | None = None  # until when `held` is counted; None: no timer runs
    unknown_since: datetime | None = None  # when unknown stopped the timers
    remind_at: datetime | None = None
    fired_count: int = 0  # times it has fired in this episode: part of a message's key
    reminder_count: int = 0  # likewise
    inhibited: bool = False  # pending only because another alert reports that this machine is offline


class EngineState(Struct, frozen=True):
    """Everything that one evaluation leaves to the next. Persisted by the store."""

    series_states: Mapping[Series, SeriesState]
    alert_states: Mapping[AlertKey, AlertState]
