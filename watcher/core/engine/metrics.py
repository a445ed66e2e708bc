"""The value of each field of the rule language, for one series at one instant.

Unknown is None. Percents are 0..100, durations are in seconds.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

from watcher.core.engine import forecast
from watcher.core.engine.reset_detection import CLOCK_SKEW_TOLERANCE
from watcher.core.engine.state import SeriesState
from watcher.core.engine.windows import get_remaining, get_used, get_used_percent, get_window_length
from watcher.core.model import Reading

FieldValue = float | bool | str | None

NETWORK_SOURCE = "api"
"""The source of readings that came over the network; all others are files and servers on this machine."""

NOTED_SOURCES = frozenset({"statusline", "session"})
"""The sources of readings that a tool on this machine noted of the network's answers."""

AVAILABILITY_FIELDS = frozenset({"age", "up", "error"})
"""Fields about the polling itself: they have a value without a reading."""


class SeriesMetrics:
    """One series at one instant. Each field is computed once, when a rule first asks for it.

    Attributes:
        state: of the series.
        now: the instant.
        use_last_reading: whether the last believed reading counts although the last poll gave none, as it must for a
            rule about missing readings ("was at 90 % when its readings ended"). Never past the boundary.
        not_polled: whether no poll was due lately, so that a missing reading means nothing.
    """

    __slots__ = ("_values", "not_polled", "now", "state", "use_last_reading")

    def __init__(
        self, state: SeriesState, now: datetime, *, use_last_reading: bool = False, not_polled: bool = False
    ) -> None:
        self.state = state
        self.now = now
        self.use_last_reading = use_last_reading
        self.not_polled = not_polled
        self._values: dict[str, FieldValue] = {}

    @property
    def is_current(self) -> bool:
        """Whether there is a believed reading that still holds."""
        state = self.state
        if state.reading is None or state.read_at is None or not (self.use_last_reading or state.validity.is_believed):
            return False
        if state.boundary_at is None:
            return True
        return self.now < state.boundary_at + CLOCK_SKEW_TOLERANCE or state.read_at >= state.boundary_at

    @property
    def unlimited(self) -> bool:
        """Whether the window is known to have no limit."""
        return self.is_current and self.state.reading is not None and self.state.reading.unlimited

    def __call__(self, _selector: object, field: str) -> FieldValue:
        """The value of a field, whatever the selector: for conditions about this series alone."""
        return self.value_of(field)

    def value_of(self, field: str) -> FieldValue:
        """The value of a field; None: unknown."""
        try:
            return self._values[field]
        except KeyError:
            value = self._values[field] = self._compute(field)
            return value

    def _compute(self, field: str) -> FieldValue:
        if field in _STATE_FIELDS:
            return _STATE_FIELDS[field](self)
        reading = self.state.reading
        if not self.is_current or reading is None:
            return None
        if field in _READING_FIELDS:
            return _READING_FIELDS[field](reading)
        return _EPISODE_FIELDS[field](self) if field in _EPISODE_FIELDS else None

    def reading_age_s(self) -> float:
        """The age of the last believed reading; before the first one, how long the series has been polled."""
        return max((self.now - (self.state.read_at or self.state.last_seen_at)).total_seconds(), 0.0)

    def _age(self) -> float | None:
        """The age that counts for rules.

        Time in which nothing was polled (sleep) does not count. A tool's own file is only written while the tool is in
        use: its age counts from when it was last read.
        """
        if self.not_polled or self.state.switched_away:
            return None
        state = self.state
        is_local = state.reading is not None and state.reading.source != NETWORK_SOURCE
        starts = [state.resumed_at, state.last_seen_at if is_local else None]
        ages = [max((self.now - start).total_seconds(), 0.0) for start in starts if start is not None]
        return min([self.reading_age_s(), *ages])

    def _resets_in(self) -> float | None:
        boundary = self.state.boundary_at
        return None if boundary is None else max((boundary - self.now).total_seconds(), 0.0)

    def _increase(self) -> float | None:
        used = None if self.state.reading is None else get_used(self.state.reading)
        return (
            None if used is None else float(used - (used if self.state.used_before is None else self.state.used_before))
        )

    def _rate(self) -> float | None:
        if self.state.reading is None or self.unlimited:
            return None
        return forecast.estimate_rate(self.state.samples, get_window_length(self.state.reading))

    def _projected(self) -> float | None:
        used, rate, resets_in = self.value_of("used_percent"), self.value_of("rate"), self._resets_in()
        if not isinstance(used, float | int) or not isinstance(rate, float) or resets_in is None:
            return None
        return used + rate * resets_in / 3600

    def _exhausts_in(self) -> float | None:
        used, rate = self.value_of("used_percent"), self.value_of("rate")
        if not isinstance(used, float | int):
            return None
        age = timedelta(seconds=self.reading_age_s())
        return forecast.estimate_exhaustion_s(used, rate if isinstance(rate, float) else None, age)


def _get_remaining_percent(reading: Reading) -> float | None:
    used = get_used_percent(reading)
    return None if used is None else 100.0 - used


def _get_window_s(reading: Reading) -> float | None:
    length = get_window_length(reading)
    return None if length is None else length.total_seconds()


def _to_float(count: Decimal | None) -> float | None:
    return None if count is None else float(count)


_STATE_FIELDS: dict[str, Callable[[SeriesMetrics], FieldValue]] = {
    "age": SeriesMetrics._age,  # noqa: SLF001 - the class's own table
    "up": lambda metrics: None if metrics.state.switched_away else metrics.state.error_kind is None,
    "error": lambda metrics: metrics.state.error,
}
_READING_FIELDS: dict[str, Callable[[Reading], FieldValue]] = {
    "used_percent": get_used_percent,
    "remaining_percent": _get_remaining_percent,
    "used": lambda reading: _to_float(get_used(reading)),
    "limit": lambda reading: _to_float(None if reading.unlimited else reading.limit),
    "remaining": lambda reading: _to_float(get_remaining(reading)),
    "window": _get_window_s,
    "unit": lambda reading: reading.unit,
    "blocked": lambda reading: reading.blocked,
}
_EPISODE_FIELDS: dict[str, Callable[[SeriesMetrics], FieldValue]] = {
    "increase": SeriesMetrics._increase,  # noqa: SLF001
    "resets_in": SeriesMetrics._resets_in,  # noqa: SLF001
    "rate": SeriesMetrics._rate,  # noqa: SLF001
    "projected": SeriesMetrics._projected,  # noqa: SLF001
    "exhausts_in": SeriesMetrics._exhausts_in,  # noqa: SLF001
}
