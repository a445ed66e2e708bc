"""Does a condition hold at this moment? For scripts that ask before they spend: `watcher guard`.

The same language and the same worths as in a rule, but asked the other way round: a rule fires when its condition holds
for some series, a guard lets pass only when it holds for all that are meant. What has no limit counts as unused, and a
reading older than the person allows is unknown. Never put a clock or a store here.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from watcher.core.binding import Bound, bind, holds, means
from watcher.core.expression import Expression, subject_of
from watcher.core.memory import SeriesState
from watcher.core.model import Level, Rule, Series, Severity
from watcher.core.phrases import duration
from watcher.core.selector import Selector
from watcher.core.tree import measures
from watcher.core.view import SILENCE, View, Worth

_UNUSED: Mapping[str, float] = {
    "used_percent": 0.0,
    "remaining_percent": 100.0,
    "remaining": float("inf"),
    "limit": float("inf"),
    "rate": 0.0,
    "projected": 0.0,
    "exhausts_in": float("inf"),
}
"""What the fields of a window without a limit are worth to a guard."""


class Verdict(Struct, frozen=True, kw_only=True):
    """What a guard says. None is unknown."""

    result: bool | None
    series: Mapping[Series, bool | None]  # of the condition's subject, each by itself
    why: tuple[str, ...]  # what is not known, one line each; empty where the result is


class _Sight(View):
    """A series as a guard sees it."""

    __slots__ = ("max_age",)

    def __init__(self, state: SeriesState, now: datetime, *, lasting: bool, max_age: timedelta) -> None:
        super().__init__(state, now, lasting=lasting)
        self.max_age = max_age

    @property
    def is_old(self) -> bool:
        """Whether the last believed reading was made too long ago."""
        return self.state.read_at is None or self.now - self.state.read_at > self.max_age

    def _is_known(self) -> bool:
        return not self.is_old and super()._is_known()

    @property
    def unlimited(self) -> bool:
        """Never, to the engine: here its fields have a worth instead."""
        return False

    def worth(self, field: str) -> Worth:
        """As in a rule, but what has no limit is unused."""
        reading = self.state.reading
        if self.known and reading is not None and reading.unlimited and field in _UNUSED:
            return _UNUSED[field]
        return super().worth(field)


def judge(condition: Expression, states: Iterable[SeriesState], now: datetime, *, max_age: timedelta) -> Verdict:
    """Whether the condition holds for every series that it is about; unknown where there is none.

    Args:
        condition: checked, and true or false.
        states: every series there is.
        now: this moment.
        max_age: how old a reading may be.
    """
    bound = _bound(condition)
    sights = [
        _Sight(state, now, lasting=bound.speaks_of_silence, max_age=max_age) for state in states if not state.gone
    ]

    def others(*, lasting: bool) -> Iterable[View]:  # noqa: ARG001 - all are seen in the one way that was asked for
        return sights

    series = {
        sight.state.series: holds(bound, sight, others, clearing=True)[0]
        for sight in sights
        if means(bound.subject, sight)
    }
    answers = set(series.values())
    result = None if not answers else False if False in answers else None if None in answers else True
    why = tuple(dict.fromkeys(_unknown(condition, sights, now))) if result is None else ()
    return Verdict(result=result, series=series, why=why)


def _bound(condition: Expression) -> Bound:
    """The condition as the engine takes it: `holds` with `clearing` asks whether it is so with all other series."""
    rule = Rule(
        name="guard",
        path="",
        line=0,
        subject=subject_of(condition),
        levels=(Level(severity=Severity.INFO, when=condition, clear=condition),),
        on=frozenset(),
        fingerprint="",
    )
    return bind((rule,)).bound[0]


def _unknown(condition: Expression, sights: Iterable[_Sight], now: datetime) -> Iterable[str]:
    """What a person must know of the series that could not answer."""
    everything = list(sights)
    for measure in measures(condition):
        meant = [sight for sight in everything if means(measure.selector, sight)]
        if not meant:
            yield f"{_named(measure.selector)} was never read"
        for sight in meant:
            if measure.field not in SILENCE and sight.worth(measure.field) is None:
                yield f"{sight.state.series}: {_reason(sight, measure.field, now)}"


def _named(selector: Selector) -> str:
    return str(selector) if selector.window or selector.provider == "*" else f"{selector}'s primary window"


def _reason(sight: _Sight, field: str, now: datetime) -> str:
    state = sight.state
    if state.read_at is None:
        return state.error or "never read"
    if sight.is_old:
        return f"last read {duration(now - state.read_at)} ago, longer than the {duration(sight.max_age)} allowed"
    if state.error:
        return state.error
    if not sight.known:
        return "its window has turned over, or its last reading is not confirmed yet"
    return f"{field} is not known"
