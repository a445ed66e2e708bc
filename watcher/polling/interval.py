"""When to poll each login next, and why.

Pure: a `PollContext` and an instant go in, a `NextPoll` with a reason comes out. The same input gives the same answer,
so the caller may ask again at any time (a file changed, the machine woke) and use the new one. Providers differ only in
their `Pace`.

Strongest rule first::

    stopped       unsupported: not until the login changes
    cooldown      429: not before it ends
    budget        minimum interval between two requests of one token, and a number of them an hour
    refused       expired, forbidden, signed out: 15 min, or at once with another login
    failed        offline, timeout, server, shape, blocked: back-off
    suspect       the engine does not believe the last answer: again soon
    reset         30 s after a window resets
    usage         near a threshold or heading for it: sooner; unchanged: later; else the usual interval
"""

from datetime import datetime, timedelta

from msgspec import Struct

from watcher.core.engine.thresholds import SeriesOutlook
from watcher.core.formatting import format_short_duration
from watcher.core.model import Pace

RULE_TIME_DELAY = timedelta(seconds=2)  # at the very instant `resets_in < 1h` does not hold yet
RESET_DELAY = timedelta(seconds=30)  # servers reset a window some seconds late
MIN_COOLDOWN = timedelta(minutes=5)
MAX_BACKOFF = timedelta(hours=6)
MAX_COOLDOWN = timedelta(hours=24)  # what a server may demand; longer is a mistake of the server
REFUSED_EVERY = timedelta(minutes=15)
LOGIN_CHECK_EVERY = timedelta(minutes=3)  # a search for logins costs no request
BLOCKED_EVERY = timedelta(minutes=15)
OFFLINE_FIRST_WAIT = timedelta(minutes=1)
OFFLINE_MAX_WAIT = timedelta(minutes=15)
NEW_LOGIN_DELAY = timedelta(seconds=5)  # the tool may still be writing
USAGE_COUNT_DELAY = timedelta(seconds=60)  # the server's count may lag behind usage by this much
MAX_BURST_FACTOR = 3.0  # times the even rate over a window's busy hours: the fastest that one person uses it up
BUSY_FRACTIONS = ((6, 1.0), (24, 1 / 3), (24 * 30, 5 / 21))  # hours of a window, and the part in which people work
NEAR_THRESHOLD_PERCENT = 2.0  # this near a threshold a changing value is polled twice as often
MAX_AGE_FRACTION = 0.9  # of the age at which a rule fires
RATE_SAFETY_FACTOR = 1.5  # a rate may rise by this before the next poll

LOGIN_FAILURES = frozenset({"not_signed_in", "expired", "forbidden"})


class PollContext(Struct, frozen=True, kw_only=True):
    """What is known of one login when its next poll is chosen. None is unknown or never."""

    pace: Pace
    polled_at: datetime | None = None  # of the last result, be it a failure or from a local source
    requested_at: datetime | None = None  # of the last request, where local sources gave only a part since
    series_outlooks: tuple[SeriesOutlook, ...] = ()
    suspect_count: int = 0  # answers in a row that the engine did not believe
    failure_kind: str | None = None  # of the last failure, as in `status --json`; None: the last poll succeeded
    failure_count: int = 0  # failed polls in a row
    retry_at: datetime | None = None  # as the failure said
    cooldown_until: datetime | None = None  # of the token
    strikes: int = 0  # 429s of this token that are not yet forgiven
    login_changed: bool = False  # the login is not the one of the last poll
    recent_requests: tuple[datetime, ...] = ()  # with this token in the last hour, in any order
    active_at: datetime | None = None  # newest change in the tool's session folders; None: unknown
    woke_at: datetime | None = None  # when the machine last woke from sleep
    jitter: float = 0.0  # -1..1, drawn by the caller: moves back-offs by a tenth, so that clients do not synchronize


class NextPoll(Struct, frozen=True, kw_only=True):
    """When to poll next, and why. `at` may be in the past: poll now. None: not until the login changes."""

    at: datetime | None
    reason: str  # for people: "every 5m", "80% expected in 6m", "cooling down after 429"
    recheck_at: datetime | None = None  # when local files may bring it forward; None: they cannot


def compute_cooldown(strikes: int, retry_after: timedelta | None, now: datetime) -> datetime:
    """Until when a token is not used after a 429.

    Args:
        strikes: 429s of this token that are not yet forgiven, this one included.
        retry_after: as the server said; None or zero if it said nothing.
        now: when the 429 came.
    """
    doubled = min(_double_wait(MIN_COOLDOWN, strikes), MAX_BACKOFF)
    demanded = min(retry_after or timedelta(0), MAX_COOLDOWN)
    return now + max(doubled, demanded)


def choose_next_poll(context: PollContext, now: datetime) -> NextPoll:
    """When to poll this login next, and why."""
    if context.failure_kind == "unsupported" and not context.login_changed:
        return NextPoll(at=None, reason="stopped: this account is not supported; sign in with another")
    choice = _choose_without_limits(context, now)
    free = _find_budget_free_at(context, now)
    if free is not None and choice.at is not None and choice.at < free:
        spent_up = len(_list_recent_requests(context, now)) >= context.pace.requests_per_hour
        reason = "this token's hourly budget is used up" if spent_up else choice.reason
        choice = NextPoll(at=free, reason=reason, recheck_at=choice.recheck_at)
    until = context.cooldown_until
    if choice.at is not None and until is not None and is_cooling_down(until, now) and until > choice.at:
        return NextPoll(at=until, reason="cooling down after 429")
    return choice


def is_cooling_down(until: datetime | None, now: datetime) -> bool:
    """Whether a cooldown lasts."""
    return until is not None and now < until


def _choose_without_limits(context: PollContext, now: datetime) -> NextPoll:
    """When to poll, budget and cooldown aside."""
    polled_at = context.polled_at
    if polled_at is None:
        return NextPoll(at=now, reason="not polled yet")
    if context.login_changed:
        return NextPoll(at=polled_at + NEW_LOGIN_DELAY, reason="another login was found")
    if (
        context.woke_at is not None
        and polled_at < context.woke_at <= now  # later: before the clock was set back
        and context.failure_kind not in LOGIN_FAILURES | {"rate_limited"}
    ):
        return NextPoll(at=context.woke_at, reason="the machine woke")
    if context.failure_kind is not None:
        return _choose_after_failure(context, polled_at, now)
    choice = _choose_after_answer(context, polled_at, now)
    if context.strikes:
        rested = polled_at + context.pace.every
        if choice.at is None or choice.at < rested:
            return NextPoll(at=rested, reason="not sooner: refused with 429 a short while ago")
    return choice


def _find_budget_free_at(context: PollContext, now: datetime) -> datetime | None:
    """When the budget of this token allows the next request; None: now."""
    recent = _list_recent_requests(context, now)
    # No server has seen the last request while offline, nor the token of another login.
    free = (
        None
        if not recent or context.failure_kind == "offline" or context.login_changed
        else recent[-1] + context.pace.floor
    )
    if len(recent) >= context.pace.requests_per_hour:
        freed = recent[-context.pace.requests_per_hour] + timedelta(hours=1)
        return freed if free is None else max(free, freed)
    return free


def _list_recent_requests(context: PollContext, now: datetime) -> list[datetime]:
    """Requests with the token in the last hour, oldest first, the last poll included."""
    known = {at for at in (*context.recent_requests, context.requested_at or context.polled_at) if at is not None}
    return sorted(at for at in known if -context.pace.every <= now - at < timedelta(hours=1))


def _choose_after_failure(context: PollContext, polled_at: datetime, now: datetime) -> NextPoll:
    kind = context.failure_kind
    if kind == "rate_limited":
        until = max(
            context.retry_at or polled_at, context.cooldown_until or compute_cooldown(context.strikes, None, polled_at)
        )
        return NextPoll(at=until, reason="cooling down after 429")
    look_at = None
    if kind in LOGIN_FAILURES:
        wait, why = max(REFUSED_EVERY, context.pace.every), "waiting for another login"
        look_at = now + LOGIN_CHECK_EVERY
    elif kind == "offline":
        wait, why = min(_double_wait(OFFLINE_FIRST_WAIT, context.failure_count), OFFLINE_MAX_WAIT), "offline"
    elif kind == "blocked":
        first = max(BLOCKED_EVERY, context.pace.every)
        wait, why = min(_double_wait(first, context.failure_count), MAX_BACKOFF), "blocked on the way"
    else:
        wait, why = (
            min(_double_wait(context.pace.every, context.failure_count), context.pace.ceiling),
            f"after a failure: {kind}",
        )
    at = polled_at + wait * (1 + context.jitter / 10)
    if context.retry_at is not None and context.retry_at > at:
        return NextPoll(at=context.retry_at, reason=f"{why}; asked to wait")
    return NextPoll(at=at, reason=why, recheck_at=look_at)


def _choose_after_answer(context: PollContext, polled_at: datetime, now: datetime) -> NextPoll:
    pace = context.pace
    if context.suspect_count:
        wait = min(_double_wait(pace.floor, context.suspect_count), pace.every)
        return NextPoll(at=polled_at + wait, reason="the last answer is suspect")
    intervals = [_choose_interval(outlook, context, polled_at) for outlook in context.series_outlooks]
    wait, reason = min(intervals, default=(pace.every, _format_usual_interval(pace)))
    max_wait = _compute_max_wait(context)
    if wait > max_wait:
        wait, reason = max_wait, f"a rule asks for readings: every {format_short_duration(max_wait)}"
    at = polled_at + wait
    reset_at = _find_next_reset(context, polled_at)
    # A poll less than the minimum interval before the reset would delay the first look at the new window by as much;
    # only a threshold that would otherwise be missed is worth that.
    is_late = wait >= pace.every and reset_at is not None and reset_at - at < pace.floor
    if reset_at is not None and (at > reset_at or (is_late and reset_at - polled_at <= max_wait)):
        at, reason = reset_at, "a window resets"
    rule_times = (time + RULE_TIME_DELAY for outlook in context.series_outlooks for time in outlook.rule_times)
    rule_at = min((each for each in rule_times if each > polled_at), default=at)
    if rule_at < at:
        at, reason = rule_at, "a rule about the time until the reset"
    complete_by = min(context.requested_at or polled_at, polled_at) + min(pace.ceiling, max_wait)
    if context.requested_at is not None and complete_by < at:
        at, reason = complete_by, "only some windows are known since the last answer"
    return NextPoll(at=at, reason=reason, recheck_at=_choose_recheck_at(context, at, now))


def _compute_max_wait(context: PollContext) -> timedelta:
    """The longest wait after which no rule about the age of readings fires."""
    limits = [outlook.fresh_for for outlook in context.series_outlooks if outlook.fresh_for is not None]
    return max(min(limits, default=timedelta.max / 2) * MAX_AGE_FRACTION, context.pace.floor)


def _find_next_reset(context: PollContext, polled_at: datetime) -> datetime | None:
    """Just after the next reset of a window in use. The reset of an unused window moves with the clock."""
    resets = (
        outlook.resets_at + RESET_DELAY
        for outlook in context.series_outlooks
        if outlook.resets_at is not None and outlook.used_percent != 0
    )
    return min((reset_at for reset_at in resets if reset_at > polled_at), default=None)


def _choose_recheck_at(context: PollContext, at: datetime, now: datetime) -> datetime | None:
    """When to look at local files again, while the next poll is far away."""
    if context.active_at is None or at - now <= 2 * context.pace.floor:
        return None
    return now + max(context.pace.floor, timedelta(minutes=2))


def _choose_interval(outlook: SeriesOutlook, context: PollContext, polled_at: datetime) -> tuple[timedelta, str]:
    """How long one series can wait, and why."""
    idle_wait = _compute_idle_wait(outlook, context, polled_at)
    gap, threshold = _find_next_threshold(outlook)
    if gap is not None:
        near = _choose_near_interval(outlook, context.pace, gap, threshold, moving=idle_wait is None)
        if near is not None:
            return near
    if idle_wait is None or outlook.pending:
        return context.pace.every, _format_usual_interval(context.pace)
    wait = min(max(context.pace.every, idle_wait), context.pace.ceiling)
    if gap is not None:
        # A burst may cross the threshold: poll before that can happen.
        wait = min(wait, max(context.pace.every, _estimate_soonest_crossing(outlook, gap)))
    return wait, f"unchanged: every {format_short_duration(wait)}"


def _compute_idle_wait(outlook: SeriesOutlook, context: PollContext, polled_at: datetime) -> timedelta | None:
    """How long an unchanged series can wait; None: it changes, or that is unknown."""
    if outlook.changed_at is None:
        return None
    unchanged_for = polled_at - outlook.changed_at
    if context.active_at is not None:
        if context.active_at + USAGE_COUNT_DELAY >= polled_at:
            return None  # the tool is in use: the value is about to change
        if unchanged_for > context.pace.every:
            return context.pace.ceiling
    if unchanged_for <= 2 * context.pace.every:
        return None
    return context.pace.every + unchanged_for / 4


def _find_next_threshold(outlook: SeriesOutlook) -> tuple[float | None, float]:
    """Points to the next threshold, and that threshold. At exactly 80, `> 80%` is still ahead."""
    if outlook.used_percent is None:
        return None, 0.0
    above = [threshold for threshold in outlook.thresholds if threshold >= outlook.used_percent]
    return (min(above) - outlook.used_percent, min(above)) if above else (None, 0.0)


def _choose_near_interval(
    outlook: SeriesOutlook, pace: Pace, gap: float, threshold: float, *, moving: bool
) -> tuple[timedelta, str] | None:
    """A shorter interval, if a threshold is near or will soon be reached at this rate; else None."""
    floor, every = pace.floor, pace.every
    wait, reason = every, f"{outlook.name}: {gap:.3g} points from {threshold:g}%"
    if moving:
        wait = _estimate_soonest_crossing(outlook, gap) / 2
        if gap <= NEAR_THRESHOLD_PERCENT:
            wait = min(wait, every / 2)
    if moving and outlook.rate is not None and outlook.rate > 0:
        expected = timedelta(hours=min(gap / outlook.rate, 10_000))
        if expected / 2 < every:
            wait = min(wait, expected / 2)
            reason = f"{outlook.name}: {threshold:g}% expected in {format_short_duration(expected)}"
    return (max(wait, floor), reason) if wait < every else None


def _estimate_soonest_crossing(outlook: SeriesOutlook, gap: float) -> timedelta:
    """The shortest time in which one person could use up `gap` points."""
    hours = outlook.window_seconds / 3600 if outlook.window_seconds else BUSY_FRACTIONS[-1][0]
    busy = next((part for length, part in BUSY_FRACTIONS if hours <= length), BUSY_FRACTIONS[-1][1])
    fastest = max(MAX_BURST_FACTOR * 100 / (hours * busy), RATE_SAFETY_FACTOR * (outlook.rate or 0.0))
    return timedelta(hours=min(gap / fastest, 10_000))


def _double_wait(first: timedelta, times: int) -> timedelta:
    """`first`, doubled for each time after the first, within bounds."""
    return first * (1 << min(max(times - 1, 0), 16))


def _format_usual_interval(pace: Pace) -> str:
    return f"every {format_short_duration(pace.every)}"
