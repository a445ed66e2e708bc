"""Which turn of the window is this, and is the reading to be believed?

The first thing that happens to a reading. What comes out is the series' state: the reading last believed, the episode,
the doubt if there is one. No timestamp, value or text is part of an episode's identity: it is a number that is counted
here and persisted. Never put a rule here: what a reading means to a person is `watcher.core.evaluate`'s to say.

What is seen, in order of force (`was` is the last believed reading, tolerance is 5 % of the window, 1 min to 1 h)::

    no value, stale, low confidence           unknown    nothing changes
    no earlier reading                        believed   unless its window has just ended: frozen
    more use, of the window that ended        frozen     the old answer, after the reset was already seen
    rose by 60 points in under three polls    suspect    unless a sixth of the window has gone by
    limited before, now unlimited             suspect
    boundary passed, and it moved on          reset
    boundary passed, and use fell             reset      by 5 points, or to nothing; in the last 2 min before it, as
                                                         for a suspect
    boundary passed, and nothing changed      frozen     the old answer, served once more
    boundary moved on early, and use fell     suspect    an early reset, if a second reading says so too
    use fell by 20 points to 10 % or less     suspect    likewise
    anything else                             believed   the boundary is followed wherever it drifts

A suspect reading becomes true when the next one is nearer to it than to the last believed one; otherwise it is
forgotten, as if it had never been. A window that nobody has used yet has a boundary that rolls with the clock: passing
it is no reset. Money and credits (`balance`) do not come back by themselves: they are topped up, never reset.
"""

from datetime import datetime, timedelta

from msgspec.structs import replace

from watcher.core import forecast
from watcher.core.kinds import length, level, tolerance
from watcher.core.memory import Doubt, SeriesState, Standing
from watcher.core.model import Failure, Kind, Reading, Series, Snapshot

CLOCKS_DIFFER = timedelta(minutes=2)
FEW_POLLS = 3
LEAP = 60.0
LEAPT_IN = 1 / 6  # of the window: in more time so much may well be used, however seldom it is asked
LEAST_LEAP = timedelta(minutes=15)  # however short the window, three polls of the usual pace
COLLAPSE = 20.0
COLLAPSED_TO = 10.0
FALL = 1.0
EARLY_FALL = 5.0
TINY = 1e-6


def first(series: Series, news: Snapshot | Failure) -> SeriesState:
    """The state of a series that was never seen before this news."""
    return SeriesState(
        series=series, account_name=news.account_name, episode_at=news.at, heard_at=news.at, asked_at=news.at
    )


def observe(state: SeriesState, reading: Reading, at: datetime, every: timedelta) -> SeriesState:
    """The state after a reading.

    Args:
        state: before it.
        reading: of this series.
        at: when the answer was received.
        every: how often this provider is asked at present.
    """
    if not _tells(state, reading):
        return replace(state, standing=Standing.UNKNOWN)
    if state.reading is None:
        overdue = timedelta(0) if reading.resets_at is None else at - reading.resets_at
        # Past its boundary it is the old answer still; past it by a whole window, the date is what is out of order.
        whole = length(reading) or tolerance(reading)
        return _frozen(state) if CLOCKS_DIFFER < overdue <= whole else _believed(state, reading, at)
    standing = _by_boundary(state, reading, at)
    if standing is Standing.FROZEN:
        return _frozen(state)
    if state.doubt is not None and _nearer(reading, state.doubt.reading, state.reading):
        turned = state.doubt.turn or standing is Standing.RESET
        return _turned(state, reading, at) if turned else _believed(state, reading, at)
    leaps = _leaps(state, reading, at, every)
    if leaps or (standing is Standing.BELIEVED and _collapses(state, reading, at)):
        turn = not leaps and state.reading.kind is not Kind.BALANCE and not reading.unlimited
        return _doubted(state, reading, at, turn=turn)
    return _turned(state, reading, at) if standing is Standing.RESET else _believed(state, reading, at)


def answered(state: SeriesState, news: Snapshot, every: timedelta) -> SeriesState:
    """The state with what an answer says beside the reading: the account is up, its name, its plan."""
    return replace(
        state,
        account_name=news.account_name,
        plan=news.plan,
        asked_at=news.at,
        every=every,
        retry_at=None,
        error=None,
        error_kind=None,
        failing_since=None,
    )


def missing(state: SeriesState, news: Snapshot, every: timedelta) -> SeriesState:
    """The state after an answer that did not hold this series."""
    return replace(answered(state, news, every), standing=Standing.MISSING)


def failed(state: SeriesState, failure: Failure, every: timedelta) -> SeriesState:
    """The state after a poll that gave nothing."""
    return replace(
        state,
        standing=Standing.FAILED,
        error=failure.message,
        error_kind=failure.kind,
        failing_since=state.failing_since or failure.at,
        asked_at=failure.at,
        every=every,
        retry_at=failure.retry_at,
        account_name=failure.account_name or state.account_name,
    )


def _tells(state: SeriesState, reading: Reading) -> bool:
    """Whether the reading says anything that could be judged."""
    if reading.stale or reading.low_confidence:
        return False
    if reading.unlimited or level(reading) is not None:
        return True
    if state.reading is not None and level(state.reading) is not None:
        return False  # the percent is missing today: unknown, not gone
    return reading.used is not None or reading.remaining is not None


def _leaps(state: SeriesState, reading: Reading, at: datetime, every: timedelta) -> bool:
    if state.reading is None or state.read_at is None:
        return False
    was, now = level(state.reading), level(reading)
    if was is None or now is None or now - was < LEAP - TINY:
        return False
    whole = length(reading)
    few = FEW_POLLS * every
    return at - state.read_at < (few if whole is None else min(few, max(whole * LEAPT_IN, LEAST_LEAP)))


def _collapses(state: SeriesState, reading: Reading, at: datetime) -> bool:
    """Whether use fell in a way that only a second reading can make believable."""
    if state.reading is None:
        return False
    was, now = level(state.reading), level(reading)
    if reading.unlimited:
        return was is not None and was >= COLLAPSE
    if was is None or now is None:
        return False
    if _is_collapse(was, now):
        return True
    early = _moved_on(state, reading) and not _passed(state, at)
    return early and _is_fall(was, now)


def _is_fall(was: float | None, now: float | None) -> bool:
    """Whether use fell by more than servers correct themselves by: a point or two, up and down, is no news."""
    if was is None or now is None:
        return False
    fell = was - now + TINY
    return fell >= EARLY_FALL or (fell >= FALL and now <= FALL + TINY)


def _is_collapse(was: float | None, now: float | None) -> bool:
    return was is not None and now is not None and was - now >= COLLAPSE - TINY and now <= COLLAPSED_TO + TINY


def _by_boundary(state: SeriesState, reading: Reading, at: datetime) -> Standing:
    """RESET, FROZEN or BELIEVED, as the boundary and the clock have it."""
    if state.reading is None or state.reading.kind is Kind.BALANCE or _unbegun(state):
        return Standing.BELIEVED
    if _is_of_the_last(state, reading, at):
        return Standing.FROZEN
    if not _passed(state, at):
        return Standing.RESET if _is_late(state) and _moved_on(state, reading) else Standing.BELIEVED
    was, now = level(state.reading), level(reading)
    ended = state.boundary is not None and at >= state.boundary
    if _moved_on(state, reading) or (_is_fall(was, now) if ended else _is_collapse(was, now)):
        return Standing.RESET
    if ended and was == now == 0.0 and reading.resets_at is None:
        return Standing.RESET  # nothing used, no boundary: the next window, which nobody has begun
    ends = reading.resets_at or state.boundary
    same = (
        (was is None or now is None or abs(was - now) <= TINY)
        and reading.remaining == state.reading.remaining
        and reading.used == state.reading.used
    )
    return Standing.FROZEN if same and ends is not None and ends <= at else Standing.BELIEVED


def _passed(state: SeriesState, at: datetime) -> bool:
    if state.boundary is None or (state.read_at is not None and state.read_at >= state.boundary):
        return False  # it had passed before the last believed reading: its passing says nothing of this one
    return at >= state.boundary - CLOCKS_DIFFER


def _is_of_the_last(state: SeriesState, reading: Reading, at: datetime) -> bool:
    """Whether the answer is of the window whose end was just seen: it names that end, and more use than there is now.

    Only for a while: a server may also count the new window's use under a date that it forgot to move.
    """
    if not state.episode or state.reading is None or reading.resets_at is None:
        return False
    was, now = level(state.reading), level(reading)
    near = tolerance(reading)
    return (
        was is not None
        and now is not None
        and now - was >= EARLY_FALL
        and reading.resets_at - state.episode_at <= min(CLOCKS_DIFFER, near)
        and at - reading.resets_at <= near
    )


def _is_late(state: SeriesState) -> bool:
    """Whether the boundary had passed when use was last seen to rise: the server is late, if the date was right."""
    if state.boundary is None or state.read_at is None or state.reading is None:
        return False
    whole = length(state.reading) or tolerance(state.reading)
    return timedelta(0) <= state.read_at - state.boundary <= whole


def _moved_on(state: SeriesState, reading: Reading) -> bool:
    if state.boundary is None or reading.resets_at is None:
        return False
    return reading.resets_at > state.boundary and reading.resets_at - state.boundary > tolerance(reading)


def _unbegun(state: SeriesState) -> bool:
    """Whether the window was not in use when it was last read: its boundary then is only now + its length."""
    if state.reading is None or state.boundary is None or state.read_at is None:
        return False
    used = level(state.reading)
    if used is None or used > TINY:
        return False
    whole = length(state.reading)
    if whole is None:
        return True  # it cannot be told whether its boundary rolls; where nothing was used nothing is lost either way
    return state.boundary - state.read_at >= whole - tolerance(state.reading)


def _nearer(reading: Reading, doubted: Reading, believed: Reading) -> bool:
    """Whether the reading speaks for the doubted one."""
    now, doubtful, was = level(reading), level(doubted), level(believed)
    if now is None or doubtful is None or was is None:
        return reading.unlimited and doubted.unlimited
    return abs(now - doubtful) < abs(now - was)


def _doubted(state: SeriesState, reading: Reading, at: datetime, *, turn: bool) -> SeriesState:
    return replace(
        state,
        standing=Standing.SUSPECT,
        doubt=Doubt(reading=reading, at=at, turn=turn),
        doubts=state.doubts + 1,
    )


def _frozen(state: SeriesState) -> SeriesState:
    return replace(state, standing=Standing.FROZEN, doubt=None, doubts=state.doubts + 1)


def _believed(state: SeriesState, reading: Reading, at: datetime) -> SeriesState:
    used = level(reading)
    boundary = reading.resets_at
    if boundary is None and state.boundary is not None and at < state.boundary:
        boundary = state.boundary  # the answer left it out this time
    changed = state.reading is not None and (used, reading.used, reading.remaining) != (
        level(state.reading),
        state.reading.used,
        state.reading.remaining,
    )
    return replace(
        state,
        standing=Standing.BELIEVED,
        reading=reading,
        read_at=at,
        changed_at=at if changed else state.changed_at,
        boundary=boundary,
        doubt=None,
        doubts=0,
        samples=state.samples if used is None else forecast.kept(state.samples, at, used),
    )


def _turned(state: SeriesState, reading: Reading, at: datetime) -> SeriesState:
    """A new episode, with the reading as its first, or its second after the one that was doubted."""
    began = at if state.doubt is None or not state.doubt.turn else state.doubt.at
    if state.boundary is not None and state.boundary < began:
        began = state.boundary
    seen = None if state.doubt is None or state.doubt.at >= at else level(state.doubt.reading)
    doubted = () if state.doubt is None or seen is None else forecast.kept((), state.doubt.at, seen)
    fresh = replace(
        state,
        episode=state.episode + 1,
        episode_at=max(began, state.episode_at),
        samples=doubted,
        boundary=None,
    )
    return replace(_believed(fresh, reading, at), standing=Standing.RESET, changed_at=at)
