"""What each field of the rule language is worth for one series at one instant.

Unknown is None. What the numbers are is the language's convention: percents as 0..100, durations in seconds. Never put
a decision here.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from watcher.core import forecast
from watcher.core.cycle import CLOCKS_DIFFER
from watcher.core.kinds import length, level
from watcher.core.memory import SeriesState

Worth = float | bool | str | None

FROM_AFAR = "api"
"""The source of readings that came over the network; all others are files and servers on this machine."""

SILENCE = frozenset({"age", "up", "error"})
"""Fields that speak of the watching itself: they are worth something when there is no reading."""


class View:
    """One series at one instant. Each field is worked out once, when a rule first asks for it.

    Attributes:
        state: of the series.
        now: the instant.
        lasting: whether the last believed reading counts although the last poll brought none, as it must for a rule
            that asks about silence ("was at 90 % when it went quiet"). Never past the boundary.
        unasked: whether nobody has asked lately: then silence means nothing.
    """

    __slots__ = ("_known", "_worths", "lasting", "now", "state", "unasked")

    def __init__(self, state: SeriesState, now: datetime, *, lasting: bool = False, unasked: bool = False) -> None:
        self.unasked = unasked
        self.state = state
        self.now = now
        self.lasting = lasting
        self._worths: dict[str, Worth] = {}
        self._known: bool | None = None

    @property
    def known(self) -> bool:
        """Whether there is a believed reading that still says how things are."""
        if self._known is None:
            self._known = self._is_known()
        return self._known

    def _is_known(self) -> bool:
        state = self.state
        if state.reading is None or state.read_at is None or not (self.lasting or state.standing.is_believed):
            return False
        ended = state.boundary is not None and self.now >= state.boundary + CLOCKS_DIFFER
        return not ended or (state.boundary is not None and state.read_at >= state.boundary)

    @property
    def unlimited(self) -> bool:
        """Whether the window is known to have no limit: no condition on its use can hold."""
        return self.known and self.state.reading is not None and self.state.reading.unlimited

    def __call__(self, _selector: object, field: str) -> Worth:
        """The field's worth, whatever the selector: for conditions about this series alone."""
        return self.worth(field)

    def worth(self, field: str) -> Worth:
        """What the field is worth; None is unknown."""
        try:
            return self._worths[field]
        except KeyError:
            pass
        worth = self._worths[field] = (
            _WORTH[field](self) if field in SILENCE or (self.known and field in _WORTH) else None
        )
        return worth

    def _used_percent(self) -> float | None:
        return None if self.state.reading is None else level(self.state.reading)

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
        whole = None if self.state.reading is None else length(self.state.reading)
        return None if whole is None else whole.total_seconds()

    def _unit(self) -> str | None:
        return None if self.state.reading is None else self.state.reading.unit

    def read_s_ago(self) -> float:
        """How old the last believed reading is; where there was none, how long one has been asked for."""
        since = self.state.heard_at if self.state.read_at is None else self.state.read_at
        return max((self.now - since).total_seconds(), 0.0)

    def _age(self) -> float | None:
        """For rules: a gap in which nothing was asked (sleep) adds nothing, nor does a tool's own file that rests.

        Such a file is only written while the tool is in use: that it is old is no outage.
        """
        if self.unasked:
            return None
        state = self.state
        rests = state.reading is not None and state.reading.source != FROM_AFAR
        since = [state.watched_from, state.heard_at if rests else None]
        return min([self.read_s_ago(), *(max((self.now - at).total_seconds(), 0.0) for at in since if at is not None)])

    def _up(self) -> bool:
        return self.state.error_kind is None

    def _error(self) -> str | None:
        return self.state.error

    def _rate(self) -> float | None:
        if self.unlimited:
            return None
        window = self._window()
        return forecast.rate(self.state.samples, None if window is None else timedelta(seconds=window))

    def _projected(self) -> float | None:
        used, rate, resets_in = self.worth("used_percent"), self.worth("rate"), self.worth("resets_in")
        if not isinstance(used, float | int) or not isinstance(rate, float) or not isinstance(resets_in, float):
            return None
        return forecast.projected(used, rate, timedelta(seconds=resets_in))

    def _exhausts_in(self) -> float | None:
        used, rate = self.worth("used_percent"), self.worth("rate")
        if not isinstance(used, float | int):
            return None
        return forecast.exhausts_in_s(
            used, rate if isinstance(rate, float) else None, timedelta(seconds=self.read_s_ago())
        )


_WORTH: dict[str, Callable[[View], Worth]] = {
    "used_percent": View._used_percent,  # noqa: SLF001 - the class's own table
    "remaining_percent": View._remaining_percent,  # noqa: SLF001
    "used": View._used,  # noqa: SLF001
    "limit": View._limit,  # noqa: SLF001
    "remaining": View._remaining,  # noqa: SLF001
    "resets_in": View._resets_in,  # noqa: SLF001
    "window": View._window,  # noqa: SLF001
    "unit": View._unit,  # noqa: SLF001
    "age": View._age,  # noqa: SLF001
    "up": View._up,  # noqa: SLF001
    "error": View._error,  # noqa: SLF001
    "rate": View._rate,  # noqa: SLF001
    "projected": View._projected,  # noqa: SLF001
    "exhausts_in": View._exhausts_in,  # noqa: SLF001
}
