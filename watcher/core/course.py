"""What a series went through: its readings in order, each reset, and what was spent before it.

The recorded readings are put through the same judgement as in the daemon (`watcher.core.cycle`), so that a history
shows the same resets and disbelieves the same glitches as the alerts did. Never draw here, and never judge a rule.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

from msgspec import Struct
from msgspec.structs import replace

from watcher.core import cycle
from watcher.core.kinds import level
from watcher.core.memory import SeriesState
from watcher.core.model import Failure, Reading, Series

Recorded = Sequence[tuple[datetime, Reading]]

SILENT_POLLS = 4
"""After a silence of this many polls nothing is known of what lay in between, and no line is drawn over it."""

SILENT_LEAST = timedelta(minutes=90)


class Point(Struct, frozen=True, kw_only=True):
    """One reading, and what became of it."""

    at: datetime
    reading: Reading
    used_percent: float | None  # None: unknown or unlimited
    believed: bool  # False: a glitch, or doubted and not confirmed yet
    episode: int  # which turn of the window, counted from the first of this history
    after_silence: bool  # nothing was heard for so long before it that no line leads to it


class Turn(Struct, frozen=True, kw_only=True):
    """A window turned over: what is known of the turn that ended."""

    at: datetime  # when the new one began, as far as is known
    spent_percent: float | None  # last believed before it
    read_at: datetime | None  # when that was: what was spent after it nobody saw
    early: bool  # well before its own date
    whole: bool  # its beginning is in this history too


class Course(Struct, frozen=True, kw_only=True):
    """A series over a span of time."""

    series: Series
    label: str
    points: tuple[Point, ...]
    turns: tuple[Turn, ...]
    state: SeriesState | None  # at its end; None where there is no reading

    @property
    def last(self) -> Point | None:
        """The last believed reading."""
        return next((point for point in reversed(self.points) if point.believed), None)

    @property
    def peak(self) -> Point | None:
        """The fullest that was believed; the latest of several."""
        known = [point for point in self.points if point.believed and point.used_percent is not None]
        return max(known, key=lambda point: (point.used_percent or 0.0, point.at), default=None)


def follow(series: Series, recorded: Recorded) -> Course:
    """The course that these readings, in time order, are the record of."""
    every = usual_gap([at for at, _ in recorded])
    silence = max(SILENT_POLLS * every, SILENT_LEAST)
    state: SeriesState | None = None
    points: list[Point] = []
    turns: list[Turn] = []
    for at, reading in recorded:
        before = state
        state = cycle.observe(state or _first(series, at), reading, at, every)
        if before is not None and state.episode > before.episode:
            turns.append(_turn(before, state, at, whole=bool(turns)))
        points.append(
            Point(
                at=at,
                reading=reading,
                used_percent=level(reading),
                believed=state.standing.is_believed,
                episode=state.episode,
                after_silence=bool(points) and at - points[-1].at > silence,
            )
        )
    return Course(
        series=series,
        label=recorded[-1][1].label if recorded else "",
        points=tuple(_confirmed(points)),
        turns=tuple(turns),
        state=state,
    )


def usual_gap(instants: Sequence[datetime]) -> timedelta:
    """The median time between two neighbours; five minutes where there are none."""
    gaps = [later - earlier for earlier, later in pairwise(instants)]
    return timedelta(seconds=median(gap.total_seconds() for gap in gaps)) if gaps else timedelta(minutes=5)


def since(course: Course, instant: datetime) -> Course:
    """The same from an instant on: what came before it still counts for what was believed."""
    points = tuple(point for point in course.points if point.at >= instant)
    turns = tuple(turn for turn in course.turns if turn.at >= instant)
    return replace(course, points=points, turns=turns)


def mean_spent(turns: Iterable[Turn]) -> float | None:
    """Percent that was spent on average before a reset; None where none is known."""
    known = [turn.spent_percent for turn in turns if turn.spent_percent is not None]
    return sum(known) / len(known) if known else None


def _first(series: Series, at: datetime) -> SeriesState:
    nothing = Failure(provider=series.provider, account=series.account, at=at, kind="", message="")
    return cycle.first(series, nothing)


def _turn(before: SeriesState, after: SeriesState, at: datetime, *, whole: bool) -> Turn:
    began = min(after.episode_at, at)
    due = before.boundary
    return Turn(
        at=began,
        spent_percent=None if before.reading is None else level(before.reading),
        read_at=before.read_at,
        early=due is not None and due - began > cycle.CLOCKS_DIFFER,
        whole=whole,
    )


def _confirmed(points: Sequence[Point]) -> Iterable[Point]:
    """A doubted reading that the next one confirmed was true after all, and belongs to that one's episode."""
    last: Point | None = None
    for index, point in enumerate(points):
        following = points[index + 1] if index + 1 < len(points) else None
        if not point.believed and following is not None and _confirms(following, point, last):
            yield replace(point, believed=True, episode=following.episode)
        else:
            yield point
        last = point if point.believed else last


def _confirms(following: Point, doubted: Point, last: Point | None) -> bool:
    if not following.believed or following.after_silence or last is None:
        return False
    now, then, was = following.used_percent, doubted.used_percent, last.used_percent
    if now is None or then is None or was is None:
        return False
    return abs(then - now) < abs(then - was)
