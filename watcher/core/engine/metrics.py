"""What each field of the rule language is worth for one series at one instant.

Unknown is None. What the numbers are is the language's convention: percents as 0..100, durations in seconds. Never put
a decision here.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from watcher.core.engine import forecast
from watcher.core.engine.reset_detection import CLOCK_SKEW_TOLERANCE
from watcher.core.engine.state import SeriesState
from watcher.core.engine.windows import get_used_percent, get_window_length

FieldValue = float | bool | str | None

NETWORK_SOURCE = "api"
"""The source of readings that came over the network; all others are files and servers on this machine."""

AVAILABILITY_FIELDS = frozenset({"age", "up", "error"})
"""Fields that speak of the watching itself: they are worth something when there is no reading."""


class SeriesMetrics:
    """One series at one instant. Each field is worked out once, when a rule first asks for it.

    Attributes:
        state: of the series.
        now: the instant.
        lasting: whether the last believed reading counts although the last poll brought none, as it must for a rule
            that asks about silence ("was at 90 % when it went quiet"). Never past the boundary.
        unasked: whether nobody has asked lately: then silence means nothing.
    """

    __slots__ = ("_is_current", "_values", "not_polled", "now", "state", "use_last_reading")

    def __init__(
        self, state: SeriesState, now: datetime, *, use_last_reading: bool = False, not_polled: bool = False
    ) -> None:
        self.not_polled = not_polled
        self.state = state
        self.now = now
        self.use_last_reading = use_last_reading
        self._values: dict[str, FieldValue] = {}
        self._is_current: bool | None = None

    @property
    def is_current(self) -> bool:
        """Whether there is a believed reading that still says how things are."""
        if self._is_current is None:
            self._is_current = self._check_is_current()
        return self._is_current

    def _check_is_current(self) -> bool:
        state = self.state
        if state.reading is None or state.read_at is None or not (self.use_last_reading or state.standing.is_believed):
            return False
        ended = state.boundary is not None and self.now >= state.boundary + CLOCK_SKEW_TOLERANCE
        return not ended or (state.boundary is not None and state.read_at >= state.boundary)

    @property
    def unlimited(self) -> bool:
        """Whether the window is known to have no limit: no condition on its use can hold."""
        return self.is_current and self.state.reading is not None and self.state.reading.unlimited

    def __call__(self, _selector: object, field: str) -> FieldValue:
        """The field's worth, whatever the selector: for conditions about this series alone."""
        return self.value_of(field)

    def value_of(self, field: str) -> FieldValue:
        """What the field is worth; None is unknown."""
        try:
            return self._values[field]
        except KeyError:
            pass
        worth = self._values[field] = (
            _FIELD_GETTERS[field](self)
            if field in AVAILABILITY_FIELDS or (self.is_current and field in _FIELD_GETTERS)
            else None
        )
        return worth

    def _used_percent(self) -> float | None:
        return None if self.state.reading is None else get_used_percent(self.state.reading)

    def _remaining_percent(self) -> float | None:
        used = self._used_percent()
        return None if used is None else 100.0 - used

    def _used(self) -> float | None:
        reading = self.state.reading
        if reading is None:
            return None
        if reading.used is None and reading.limit is not None and reading.remaining is not None:
            return float(reading.limit - reading.remaining)
        return None if reading.used is None else float(reading.used)

    def _limit(self) -> float | None:
        reading = self.state.reading
        return None if reading is None or reading.unlimited or reading.limit is None else float(reading.limit)

    def _remaining(self) -> float | None:
        reading = self.state.reading
        if reading is None or reading.unlimited:
            return None
        if reading.remaining is None and reading.limit is not None and reading.used is not None:
            return float(reading.limit - reading.used)
        return None if reading.remaining is None else float(reading.remaining)

    def _resets_in(self) -> float | None:
        boundary = self.state.boundary
        return None if boundary is None else max((boundary - self.now).total_seconds(), 0.0)

    def _window(self) -> float | None:
        whole = None if self.state.reading is None else get_window_length(self.state.reading)
        return None if whole is None else whole.total_seconds()

    def _unit(self) -> str | None:
        return None if self.state.reading is None else self.state.reading.unit

    def reading_age_s(self) -> float:
        """How old the last believed reading is; where there was none, how long one has been asked for."""
        since = self.state.heard_at if self.state.read_at is None else self.state.read_at
        return max((self.now - since).total_seconds(), 0.0)

    def _age(self) -> float | None:
        """For rules: a gap in which nothing was asked (sleep) adds nothing, nor does a tool's own file that rests.

        Such a file is only written while the tool is in use: that it is old is no outage.
        """
        if self.not_polled:
            return None
        state = self.state
        rests = state.reading is not None and state.reading.source != NETWORK_SOURCE
        since = [state.watched_from, state.heard_at if rests else None]
        return min(
            [self.reading_age_s(), *(max((self.now - at).total_seconds(), 0.0) for at in since if at is not None)]
        )

    def _up(self) -> bool:
        return self.state.error_kind is None

    def _error(self) -> str | None:
        return self.state.error

    def _rate(self) -> float | None:
        if self.unlimited:
            return None
        window = self._window()
        return forecast.estimate_rate(self.state.samples, None if window is None else timedelta(seconds=window))

    def _projected(self) -> float | None:
        used, rate, resets_in = self.value_of("used_percent"), self.value_of("rate"), self.value_of("resets_in")
        if not isinstance(used, float | int) or not isinstance(rate, float) or not isinstance(resets_in, float):
            return None
        return forecast.project_usage(used, rate, timedelta(seconds=resets_in))

    def _exhausts_in(self) -> float | None:
        used, rate = self.value_of("used_percent"), self.value_of("rate")
        if not isinstance(used, float | int):
            return None
        return forecast.estimate_exhaustion_s(
            used, rate if isinstance(rate, float) else None, timedelta(seconds=self.reading_age_s())
        )


_FIELD_GETTERS: dict[str, Callable[[SeriesMetrics], FieldValue]] = {
    "used_percent": SeriesMetrics._used_percent,  # noqa: SLF001 - the class's own table
    "remaining_percent": SeriesMetrics._remaining_percent,  # noqa: SLF001
    "used": SeriesMetrics._used,  # noqa: SLF001
    "limit": SeriesMetrics._limit,  # noqa: SLF001
    "remaining": SeriesMetrics._remaining,  # noqa: SLF001
    "resets_in": SeriesMetrics._resets_in,  # noqa: SLF001
    "window": SeriesMetrics._window,  # noqa: SLF001
    "unit": SeriesMetrics._unit,  # noqa: SLF001
    "age": SeriesMetrics._age,  # noqa: SLF001
    "up": SeriesMetrics._up,  # noqa: SLF001
    "error": SeriesMetrics._error,  # noqa: SLF001
    "rate": SeriesMetrics._rate,  # noqa: SLF001
    "projected": SeriesMetrics._projected,  # noqa: SLF001
    "exhausts_in": SeriesMetrics._exhausts_in,  # noqa: SLF001
}
