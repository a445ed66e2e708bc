"""Which episode a reading belongs to, and whether to believe it.

The first thing that happens to a reading. The episode is a number, counted here and persisted: no timestamp, value or
text is part of it. What is observed, in order of precedence (compared with the last believed reading; the tolerance of
a boundary is 5 % of the window, between 1 min and 1 h)::

    no value, stale, low confidence           unknown    nothing changes
    no earlier reading                        believed   but frozen if its window has just ended
    the boundary of an earlier window         frozen     an old answer: six in a row are the truth after all
    more use, of the window that ended        frozen     the old answer, after the reset was already observed
    rose by 60 points in under three polls    suspect    unless a sixth of the window has gone by
    limited before, now unlimited             suspect
    boundary passed, and it moved on          reset
    boundary passed, and use fell             reset      by 5 points, or to nothing; in the last 2 min before the
                                                         boundary, by as much as for a suspect
    boundary passed, and nothing changed      frozen     the old answer
    boundary moved on early, and use fell     suspect    an early reset, if a second reading confirms it
    use fell by 20 points to 10 % or less     suspect    likewise
    anything else                             believed   the new boundary is taken over

A suspect reading is believed once the next reading is nearer to it than to the last believed one; otherwise it is
dropped. An unused window has a boundary that moves on with the clock: passing it is no reset. Money and credits
(`balance`) are never reset.
"""

from datetime import datetime, timedelta
from decimal import Decimal

from msgspec.structs import replace

from watcher.core.engine import forecast
from watcher.core.engine.state import SeriesState, SuspectReading, Validity
from watcher.core.engine.windows import get_boundary_tolerance, get_used, get_used_percent, get_window_length
from watcher.core.model import Reading, WindowKind

CLOCK_SKEW_TOLERANCE = timedelta(minutes=2)
SHORT_GAP_POLLS = 3
JUMP_PERCENT = 60.0
JUMP_WINDOW_FRACTION = 1 / 6  # in more time than this part of a window, so much use is plausible
MIN_JUMP_SPAN = timedelta(minutes=15)
LARGE_DROP_PERCENT = 20.0
LARGE_DROP_MAX_USED_PERCENT = 10.0
DROP_TO_ZERO_PERCENT = 1.0
DROP_PERCENT = 5.0  # servers correct themselves by less, up and down
MAX_OLD_ANSWERS = 6  # in a row; more come from no lagging server
EPSILON = 1e-6


def apply_reading(state: SeriesState, reading: Reading, at: datetime, every: timedelta) -> SeriesState:
    """The state after a reading.

    Args:
        state: before the reading.
        reading: of this series.
        at: when the answer was received.
        every: the provider's present polling interval.
    """
    if not _is_usable(state, reading):
        return replace(state, validity=Validity.UNKNOWN)
    if state.reading is None or state.read_at is None:
        overdue = timedelta(0) if reading.resets_at is None else at - reading.resets_at
        # Just past its boundary it is the old answer; past it by a whole window, its date is wrong.
        length = get_window_length(reading) or get_boundary_tolerance(reading)
        return _mark_frozen(state) if CLOCK_SKEW_TOLERANCE < overdue <= length else _accept_reading(state, reading, at)
    comparison = _Comparison(state, state.reading, state.read_at, reading, at)
    validity = comparison.classify_by_boundary()
    if validity is Validity.FROZEN:
        return _mark_frozen(state)
    if state.suspect is not None and confirms_suspect(reading, state.suspect.reading, state.reading):
        is_reset = state.suspect.is_reset or validity is Validity.RESET
        return _start_episode(state, reading, at) if is_reset else _accept_reading(state, reading, at)
    is_jump = comparison.is_suspicious_jump(every)
    if is_jump or (validity is Validity.BELIEVED and comparison.is_suspicious_drop()):
        may_be_reset = not is_jump and state.reading.kind is not WindowKind.BALANCE and not reading.unlimited
        return replace(
            state,
            validity=Validity.SUSPECT,
            suspect=SuspectReading(reading=reading, received_at=at, is_reset=may_be_reset),
            suspect_count=state.suspect_count + 1,
        )
    return _start_episode(state, reading, at) if validity is Validity.RESET else _accept_reading(state, reading, at)


def _is_usable(state: SeriesState, reading: Reading) -> bool:
    """Whether the reading holds a value to compare."""
    if reading.stale or reading.low_confidence:
        return False
    if reading.unlimited or get_used_percent(reading) is not None:
        return True
    if state.reading is not None and get_used_percent(state.reading) is not None:
        return False  # the percent is missing this time: unknown
    return any(value is not None for value in (reading.used, reading.remaining, reading.blocked))


class _Comparison:
    """A reading beside the last believed one."""

    def __init__(self, state: SeriesState, last: Reading, last_at: datetime, reading: Reading, at: datetime) -> None:
        self.last, self.last_at, self.reading, self.at = last, last_at, reading, at
        self.episode, self.episode_at, self.boundary = state.episode, state.episode_at, state.boundary_at
        self.previous_boundary, self.suspect_count = state.previous_boundary_at, state.suspect_count
        self.last_used, self.used = get_used_percent(last), get_used_percent(reading)
        self.tolerance = get_boundary_tolerance(reading)

    @property
    def drop(self) -> float | None:
        """How far use fell, in points; None: unknown."""
        return None if self.last_used is None or self.used is None else self.last_used - self.used

    def is_drop(self) -> bool:
        """Whether use fell by more than servers correct themselves by."""
        if self.drop is None or self.used is None:
            return False
        is_to_zero = self.drop >= DROP_TO_ZERO_PERCENT - EPSILON and self.used <= DROP_TO_ZERO_PERCENT + EPSILON
        return is_to_zero or self.drop >= DROP_PERCENT - EPSILON

    def is_large_drop(self) -> bool:
        """Whether use fell so far that only a second reading makes it believable."""
        if self.drop is None or self.used is None:
            return False
        return self.drop >= LARGE_DROP_PERCENT - EPSILON and self.used <= LARGE_DROP_MAX_USED_PERCENT + EPSILON

    def is_suspicious_jump(self, every: timedelta) -> bool:
        """Whether use rose by more than is plausible in the time."""
        if self.drop is None or -self.drop < JUMP_PERCENT - EPSILON:
            return False
        length, span = get_window_length(self.reading), SHORT_GAP_POLLS * every
        if length is not None:
            span = min(span, max(length * JUMP_WINDOW_FRACTION, MIN_JUMP_SPAN))
        return self.at - self.last_at < span

    def is_suspicious_drop(self) -> bool:
        """Whether use fell in a way that needs a second reading."""
        if self.reading.unlimited:
            return self.last_used is not None and self.last_used >= LARGE_DROP_PERCENT
        is_early_reset = self.has_boundary_moved() and not self.has_boundary_passed() and self.is_drop()
        return self.is_large_drop() or is_early_reset

    def classify_by_boundary(self) -> Validity:
        """RESET, FROZEN or BELIEVED, by the boundary and the clock."""
        is_unused = self.is_window_unused()
        if self.is_from_earlier_window() or (not is_unused and self.is_from_previous_window()):
            return Validity.FROZEN
        if is_unused or self.last.kind is WindowKind.BALANCE:
            return Validity.BELIEVED
        if self.boundary is None or not self.has_boundary_passed():
            return Validity.RESET if self.is_reset_overdue() and self.has_boundary_moved() else Validity.BELIEVED
        # A boundary that jitters has not passed before the reading's own has.
        has_ended = self.at >= max(self.boundary, self.reading.resets_at or self.boundary)
        is_not_begun = has_ended and self.last_used == self.used == 0.0 and self.reading.resets_at is None
        if self.has_boundary_moved() or is_not_begun or (self.is_drop() if has_ended else self.is_large_drop()):
            return Validity.RESET
        is_same = (
            (self.drop is None or abs(self.drop) <= EPSILON)
            and self.reading.remaining == self.last.remaining
            and self.reading.used == self.last.used
        )
        return (
            Validity.FROZEN if is_same and (self.reading.resets_at or self.boundary) <= self.at else Validity.BELIEVED
        )

    def has_boundary_passed(self) -> bool:
        """Whether the boundary was passed between the two readings."""
        if self.boundary is None or self.last_at >= self.boundary:
            return False
        return self.at >= self.boundary - CLOCK_SKEW_TOLERANCE

    def has_boundary_moved(self) -> bool:
        """Whether the boundary moved on by more than the tolerance."""
        if self.boundary is None or self.reading.resets_at is None:
            return False
        return self.reading.resets_at - self.boundary > self.tolerance

    def is_from_earlier_window(self) -> bool:
        """Whether the answer names the boundary of an earlier window, after a later one was seen."""
        if self.previous_boundary is None or self.boundary is None or self.reading.resets_at is None:
            return False
        return (
            self.reading.resets_at <= self.previous_boundary + self.tolerance
            and self.boundary - self.reading.resets_at > self.tolerance
            and self.suspect_count < MAX_OLD_ANSWERS
        )

    def is_from_previous_window(self) -> bool:
        """Whether the answer names the end that was just passed, and more use than there is now.

        Only for a while: a server may also count the new window's use under a date that it forgot to move.
        """
        if not self.episode or self.drop is None or self.reading.resets_at is None:
            return False
        return (
            -self.drop >= DROP_PERCENT
            and self.reading.resets_at - self.episode_at <= min(CLOCK_SKEW_TOLERANCE, self.tolerance)
            and self.at - self.reading.resets_at <= self.tolerance
        )

    def is_reset_overdue(self) -> bool:
        """Whether the boundary had passed before the last believed reading: the server resets late."""
        if self.boundary is None:
            return False
        length = get_window_length(self.last) or get_boundary_tolerance(self.last)
        return timedelta(0) <= self.last_at - self.boundary <= length

    def is_window_unused(self) -> bool:
        """Whether the last believed reading was of an unused window, whose boundary moves on with the clock."""
        if self.boundary is None or self.last_used is None or self.last_used > EPSILON:
            return False
        length = get_window_length(self.last)
        if length is None:
            return True  # whether its boundary moves is unknown; without use a reset changes nothing
        return self.boundary - self.last_at >= length - get_boundary_tolerance(self.last)


def confirms_suspect(reading: Reading, suspect: Reading, believed: Reading) -> bool:
    """Whether the reading is nearer to the suspect one than to the believed one."""
    now, suspected, before = get_used_percent(reading), get_used_percent(suspect), get_used_percent(believed)
    if now is None or suspected is None or before is None:
        return reading.unlimited and suspect.unlimited
    return abs(now - suspected) < abs(now - before)


def _mark_frozen(state: SeriesState) -> SeriesState:
    return replace(state, validity=Validity.FROZEN, suspect=None, suspect_count=state.suspect_count + 1)


def _accept_reading(state: SeriesState, reading: Reading, at: datetime) -> SeriesState:
    used = get_used_percent(reading)
    boundary = reading.resets_at
    if boundary is None and state.boundary_at is not None and at < state.boundary_at:
        boundary = state.boundary_at  # the answer left it out this time
    has_changed = state.reading is not None and (used, reading.used, reading.remaining) != (
        get_used_percent(state.reading),
        state.reading.used,
        state.reading.remaining,
    )
    return replace(
        state,
        validity=Validity.BELIEVED,
        reading=reading,
        read_at=at,
        changed_at=at if has_changed else state.changed_at,
        boundary_at=boundary,
        was_used=state.was_used or bool(used),
        used_before=_find_used_before(state, reading),
        suspect=None,
        suspect_count=0,
        samples=state.samples if used is None else forecast.add_sample(state.samples, at, used),
    )


def _find_used_before(state: SeriesState, reading: Reading) -> Decimal | None:
    """What was used when the episode began: the least that was seen, for a server may correct itself."""
    used, last = get_used(reading), state.reading
    if last is None or last.unit != reading.unit:
        return used
    before = get_used(last) if state.used_before is None else state.used_before
    return used if before is None else before if used is None else min(before, used)


def _start_episode(state: SeriesState, reading: Reading, at: datetime) -> SeriesState:
    """A new episode that begins with the reading, or with the suspect one that it confirms."""
    suspect = state.suspect
    began = at if suspect is None or not suspect.is_reset else suspect.received_at
    if state.boundary_at is not None:
        began = min(began, state.boundary_at)
    used, last_used = get_used(reading), None if state.reading is None else get_used(state.reading)
    suspected = None if suspect is None or suspect.received_at >= at else get_used_percent(suspect.reading)
    fresh = replace(
        state,
        episode=state.episode + 1,
        episode_at=max(began, state.episode_at),
        samples=() if suspect is None or suspected is None else forecast.add_sample((), suspect.received_at, suspected),
        boundary_at=None,
        previous_boundary_at=state.boundary_at,
        # A counter that fell began at zero; one that went on counts from where it was.
        used_before=Decimal(0) if used is not None and last_used is not None and used < last_used else last_used,
    )
    return replace(_accept_reading(fresh, reading, at), validity=Validity.RESET, changed_at=at)
