"""Which turn of the window is this, and is the reading to be believed?

The first thing that happens to a reading. What comes out is the series' state: the reading last believed, the episode,
the doubt if there is one. No timestamp, value or text is part of an episode's identity: it is a number that is counted
here and persisted. Never put a rule here: what a reading means to a person is `watcher.core.engine.state_machine`'s to say.

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

from watcher.core.engine import forecast
from watcher.core.engine.state import SeriesState, SuspectReading, Validity
from watcher.core.engine.windows import get_boundary_tolerance, get_used_percent, get_window_length
from watcher.core.model import Reading, WindowKind

CLOCK_SKEW_TOLERANCE = timedelta(minutes=2)
SHORT_GAP_POLLS = 3
JUMP_PERCENT = 60.0
JUMP_WINDOW_FRACTION = 1 / 6  # of the window: in more time so much may well be used, however seldom it is asked
MIN_JUMP_SPAN = timedelta(minutes=15)  # however short the window, three polls of the usual pace
LARGE_DROP_PERCENT = 20.0
LARGE_DROP_MAX_USED_PERCENT = 10.0
DROP_TO_ZERO_PERCENT = 1.0
DROP_PERCENT = 5.0
EPSILON = 1e-6


def apply_reading(state: SeriesState, reading: Reading, at: datetime, every: timedelta) -> SeriesState:
    """The state after a reading.

    Args:
        state: before it.
        reading: of this series.
        at: when the answer was received.
        every: how often this provider is asked at present.
    """
    if not _is_usable(state, reading):
        return replace(state, standing=Validity.UNKNOWN)
    if state.reading is None:
        overdue = timedelta(0) if reading.resets_at is None else at - reading.resets_at
        # Past its boundary it is the old answer still; past it by a whole window, the date is what is out of order.
        whole = get_window_length(reading) or get_boundary_tolerance(reading)
        return _mark_frozen(state) if CLOCK_SKEW_TOLERANCE < overdue <= whole else _accept_reading(state, reading, at)
    standing = _classify_by_boundary(state, reading, at)
    if standing is Validity.FROZEN:
        return _mark_frozen(state)
    if state.doubt is not None and _confirms_suspect(reading, state.doubt.reading, state.reading):
        turned = state.doubt.turn or standing is Validity.RESET
        return _start_episode(state, reading, at) if turned else _accept_reading(state, reading, at)
    leaps = _is_suspicious_jump(state, reading, at, every)
    if leaps or (standing is Validity.BELIEVED and _is_suspicious_drop(state, reading, at)):
        turn = not leaps and state.reading.kind is not WindowKind.BALANCE and not reading.unlimited
        return _mark_suspect(state, reading, at, is_reset=turn)
    return _start_episode(state, reading, at) if standing is Validity.RESET else _accept_reading(state, reading, at)


def _is_usable(state: SeriesState, reading: Reading) -> bool:
    """Whether the reading says anything that could be judged."""
    if reading.stale or reading.low_confidence:
        return False
    if reading.unlimited or get_used_percent(reading) is not None:
        return True
    if state.reading is not None and get_used_percent(state.reading) is not None:
        return False  # the percent is missing today: unknown, not gone
    return reading.used is not None or reading.remaining is not None


def _is_suspicious_jump(state: SeriesState, reading: Reading, at: datetime, every: timedelta) -> bool:
    if state.reading is None or state.read_at is None:
        return False
    was, now = get_used_percent(state.reading), get_used_percent(reading)
    if was is None or now is None or now - was < JUMP_PERCENT - EPSILON:
        return False
    whole = get_window_length(reading)
    few = SHORT_GAP_POLLS * every
    return at - state.read_at < (few if whole is None else min(few, max(whole * JUMP_WINDOW_FRACTION, MIN_JUMP_SPAN)))


def _is_suspicious_drop(state: SeriesState, reading: Reading, at: datetime) -> bool:
    """Whether use fell in a way that only a second reading can make believable."""
    if state.reading is None:
        return False
    was, now = get_used_percent(state.reading), get_used_percent(reading)
    if reading.unlimited:
        return was is not None and was >= LARGE_DROP_PERCENT
    if was is None or now is None:
        return False
    if _is_large_drop(was, now):
        return True
    early = _has_boundary_moved(state, reading) and not _has_boundary_passed(state, at)
    return early and _is_drop(was, now)


def _is_drop(before: float | None, after: float | None) -> bool:
    """Whether use fell by more than servers correct themselves by: a point or two, up and down, is no news."""
    if before is None or after is None:
        return False
    fell = before - after + EPSILON
    return fell >= DROP_PERCENT or (fell >= DROP_TO_ZERO_PERCENT and after <= DROP_TO_ZERO_PERCENT + EPSILON)


def _is_large_drop(before: float | None, after: float | None) -> bool:
    return (
        before is not None
        and after is not None
        and before - after >= LARGE_DROP_PERCENT - EPSILON
        and after <= LARGE_DROP_MAX_USED_PERCENT + EPSILON
    )


def _classify_by_boundary(state: SeriesState, reading: Reading, at: datetime) -> Validity:
    """RESET, FROZEN or BELIEVED, as the boundary and the clock have it."""
    if state.reading is None or state.reading.kind is WindowKind.BALANCE or _is_unused_window(state):
        return Validity.BELIEVED
    if _is_from_previous_window(state, reading, at):
        return Validity.FROZEN
    if not _has_boundary_passed(state, at):
        return Validity.RESET if _is_reset_overdue(state) and _has_boundary_moved(state, reading) else Validity.BELIEVED
    was, now = get_used_percent(state.reading), get_used_percent(reading)
    ended = state.boundary is not None and at >= state.boundary
    if _has_boundary_moved(state, reading) or (_is_drop(was, now) if ended else _is_large_drop(was, now)):
        return Validity.RESET
    if ended and was == now == 0.0 and reading.resets_at is None:
        return Validity.RESET  # nothing used, no boundary: the next window, which nobody has begun
    ends = reading.resets_at or state.boundary
    same = (
        (was is None or now is None or abs(was - now) <= EPSILON)
        and reading.remaining == state.reading.remaining
        and reading.used == state.reading.used
    )
    return Validity.FROZEN if same and ends is not None and ends <= at else Validity.BELIEVED


def _has_boundary_passed(state: SeriesState, at: datetime) -> bool:
    if state.boundary is None or (state.read_at is not None and state.read_at >= state.boundary):
        return False  # it had passed before the last believed reading: its passing says nothing of this one
    return at >= state.boundary - CLOCK_SKEW_TOLERANCE


def _is_from_previous_window(state: SeriesState, reading: Reading, at: datetime) -> bool:
    """Whether the answer is of the window whose end was just seen: it names that end, and more use than there is now.

    Only for a while: a server may also count the new window's use under a date that it forgot to move.
    """
    if not state.episode or state.reading is None or reading.resets_at is None:
        return False
    was, now = get_used_percent(state.reading), get_used_percent(reading)
    near = get_boundary_tolerance(reading)
    return (
        was is not None
        and now is not None
        and now - was >= DROP_PERCENT
        and reading.resets_at - state.episode_at <= min(CLOCK_SKEW_TOLERANCE, near)
        and at - reading.resets_at <= near
    )


def _is_reset_overdue(state: SeriesState) -> bool:
    """Whether the boundary had passed when use was last seen to rise: the server is late, if the date was right."""
    if state.boundary is None or state.read_at is None or state.reading is None:
        return False
    whole = get_window_length(state.reading) or get_boundary_tolerance(state.reading)
    return timedelta(0) <= state.read_at - state.boundary <= whole


def _has_boundary_moved(state: SeriesState, reading: Reading) -> bool:
    if state.boundary is None or reading.resets_at is None:
        return False
    return reading.resets_at > state.boundary and reading.resets_at - state.boundary > get_boundary_tolerance(reading)


def _is_unused_window(state: SeriesState) -> bool:
    """Whether the window was not in use when it was last read: its boundary then is only now + its length."""
    if state.reading is None or state.boundary is None or state.read_at is None:
        return False
    used = get_used_percent(state.reading)
    if used is None or used > EPSILON:
        return False
    whole = get_window_length(state.reading)
    if whole is None:
        return True  # it cannot be told whether its boundary rolls; where nothing was used nothing is lost either way
    return state.boundary - state.read_at >= whole - get_boundary_tolerance(state.reading)


def _confirms_suspect(reading: Reading, suspect: Reading, believed: Reading) -> bool:
    """Whether the reading speaks for the doubted one."""
    now, doubtful, was = get_used_percent(reading), get_used_percent(suspect), get_used_percent(believed)
    if now is None or doubtful is None or was is None:
        return reading.unlimited and suspect.unlimited
    return abs(now - doubtful) < abs(now - was)


def _mark_suspect(state: SeriesState, reading: Reading, at: datetime, *, is_reset: bool) -> SeriesState:
    return replace(
        state,
        standing=Validity.SUSPECT,
        doubt=SuspectReading(reading=reading, at=at, turn=is_reset),
        doubts=state.doubts + 1,
    )


def _mark_frozen(state: SeriesState) -> SeriesState:
    return replace(state, standing=Validity.FROZEN, doubt=None, doubts=state.doubts + 1)


def _accept_reading(state: SeriesState, reading: Reading, at: datetime) -> SeriesState:
    used = get_used_percent(reading)
    boundary = reading.resets_at
    if boundary is None and state.boundary is not None and at < state.boundary:
        boundary = state.boundary  # the answer left it out this time
    changed = state.reading is not None and (used, reading.used, reading.remaining) != (
        get_used_percent(state.reading),
        state.reading.used,
        state.reading.remaining,
    )
    return replace(
        state,
        standing=Validity.BELIEVED,
        reading=reading,
        read_at=at,
        changed_at=at if changed else state.changed_at,
        boundary=boundary,
        doubt=None,
        doubts=0,
        samples=state.samples if used is None else forecast.add_sample(state.samples, at, used),
    )


def _start_episode(state: SeriesState, reading: Reading, at: datetime) -> SeriesState:
    """A new episode, with the reading as its first, or its second after the one that was doubted."""
    began = at if state.doubt is None or not state.doubt.turn else state.doubt.at
    if state.boundary is not None and state.boundary < began:
        began = state.boundary
    seen = None if state.doubt is None or state.doubt.at >= at else get_used_percent(state.doubt.reading)
    doubted = () if state.doubt is None or seen is None else forecast.add_sample((), state.doubt.at, seen)
    fresh = replace(
        state,
        episode=state.episode + 1,
        episode_at=max(began, state.episode_at),
        samples=doubted,
        boundary=None,
    )
    return replace(_accept_reading(fresh, reading, at), standing=Validity.RESET, changed_at=at)
