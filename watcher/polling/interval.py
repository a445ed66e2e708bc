"""When to ask each provider next, and why.

Pure: what is known of one login goes in as a `Sight`, an instant with a reason comes out as a `NextPoll`. The same
sight at the same `now` gives the same answer, so the daemon may ask again at any time (a file changed, the machine
woke) and simply believe the new one. Never put a clock, a store or a provider's name here: what differs between
providers is a `Pace`.

In order of force, the strongest first::

    stopped       unsupported: never, until the login changes
    cooldown      429: not before it ends, whatever else is due
    budget        floor between two requests of one token, and a number of them an hour
    refused       expired, forbidden, signed out: 15 min, or at once with another login
    troubled      offline, timeout, server, shape, blocked: back-off
    doubted       the engine does not believe the last answer: once more soon
    reset         30 s after a window turns over
    watched       near a threshold or heading for it: sooner; still: later; else the usual interval
"""

from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from watcher.core.engine.thresholds import SeriesOutlook
from watcher.core.model import Pace

# --- What is known of one login when its next poll is chosen, and what comes of it. Never choose here: `cadence` does


class PollContext(Struct, frozen=True, kw_only=True):
    """All that is known of one login when its next poll is chosen. None is unknown or never."""

    pace: Pace
    polled_at: datetime | None = None  # when it was last asked or heard of, whatever came of it
    requested_at: datetime | None = None  # likewise, where what was heard since came from elsewhere, and was but a part
    series_outlooks: tuple[SeriesOutlook, ...] = ()
    suspect_count: int = 0  # answers in a row that the engine did not believe (suspect, frozen)
    failure_kind: str | None = (
        None  # kind of the last failure (`status --json`: `error.kind`); None: the last poll was good
    )
    failure_count: int = 0  # polls in a row that failed
    retry_at: datetime | None = None  # the failure's own word
    cooldown_until: datetime | None = None  # of the token that will be used, kept on disk
    strikes: int = 0  # 429s of this token that are not yet forgiven
    login_changed: bool = False  # the login now found is not the one that was asked with
    recent_requests: tuple[
        datetime, ...
    ] = ()  # when this token was used in the last hour, by any provider or command; any order
    active_at: datetime | None = None  # newest change in the tool's own session folders; None: no such hint
    woke_at: datetime | None = None  # when the machine last woke from sleep
    jitter: float = 0.0  # -1..1, drawn by the caller: moves back-offs by a tenth, so that clients do not march in step


class NextPoll(Struct, frozen=True, kw_only=True):
    """When to ask next, and why. `at` may be in the past: ask now. None: not until the login changes."""

    at: datetime | None
    reason: str  # for people: "every 5m", "80% expected in 6m", "cooling down after 429"
    recheck_at: datetime | None = (
        None  # when a glance at session folders or logins could bring it forward; None: no use
    )


RESET_DELAY = timedelta(seconds=30)  # servers turn a window over some seconds late
MIN_COOLDOWN = timedelta(minutes=5)
MAX_BACKOFF = timedelta(hours=6)
MAX_COOLDOWN = timedelta(hours=24)  # what a server may demand; longer is a mistake of the server's
REFUSED_EVERY = timedelta(minutes=15)
LOGIN_CHECK_EVERY = timedelta(minutes=3)  # looking for a login costs no request
BLOCKED_EVERY = timedelta(minutes=15)
OFFLINE_FIRST_WAIT = timedelta(minutes=1)
OFFLINE_MAX_WAIT = timedelta(minutes=15)
NEW_LOGIN_DELAY = timedelta(seconds=5)  # the tool may still be writing
USAGE_COUNT_DELAY = timedelta(seconds=60)  # use this young may not be in the server's count yet
MAX_BURST_FACTOR = 3.0  # times the even pace over a window's busy hours: as fast as one person uses it up
BUSY_FRACTIONS = (
    (6, 1.0),
    (24, 1 / 3),
    (24 * 30, 5 / 21),
)  # hours of a window, and the part of them in which people work
NEAR_THRESHOLD_PERCENT = (
    2.0  # points below a threshold at which it is worth looking twice as often while the value moves
)
MAX_AGE_FRACTION = 0.9  # of the age at which a rule speaks
RATE_SAFETY_FACTOR = 1.5  # a rate may rise by this before the next look

LOGIN_FAILURES = frozenset({"not_signed_in", "expired", "forbidden"})


def compute_cooldown(strikes: int, retry_after: timedelta | None, now: datetime) -> datetime:
    """Until when a token rests after a 429.

    Args:
        strikes: 429s of this token that are not yet forgiven, this one included.
        retry_after: what the server said; None or zero where it said nothing.
        now: when the 429 came.
    """
    doubled = min(_double_wait(MIN_COOLDOWN, strikes), MAX_BACKOFF)
    said = min(retry_after or timedelta(0), MAX_COOLDOWN)
    return now + max(doubled, said)


def choose_next_poll(context: PollContext, now: datetime) -> NextPoll:
    """When to ask this login next, and why."""
    if context.failure_kind == "unsupported" and not context.login_changed:
        return NextPoll(at=None, reason="stopped: this account is not supported; sign in with another")
    context = _drop_future_poll(context, now)
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
    """Whether a cooldown lasts. One that ends later than any can was begun by a clock that has been set back since."""
    return until is not None and now < until <= now + MAX_COOLDOWN


def _drop_future_poll(context: PollContext, now: datetime) -> PollContext:
    """The sight without a poll that was made "later" than now: the clock was set back, and nobody waits until then.

    A step back by less than the usual interval makes the next poll that much later and needs no rule.
    """
    if context.polled_at is None or context.polled_at - now <= context.pace.every:
        return context
    return replace(context, polled_at=None, requested_at=None)


def _choose_without_limits(context: PollContext, now: datetime) -> NextPoll:
    """When to ask if tokens had no budget and no cooldown."""
    asked_at = context.polled_at
    if asked_at is None:
        return NextPoll(at=now, reason="not asked yet")
    if context.login_changed:
        return NextPoll(at=asked_at + NEW_LOGIN_DELAY, reason="another login was found")
    if (
        context.woke_at is not None
        and context.woke_at > asked_at
        and context.failure_kind not in LOGIN_FAILURES | {"rate_limited"}
    ):
        return NextPoll(at=context.woke_at, reason="the machine woke")
    if context.failure_kind is not None:
        return _choose_after_failure(context, asked_at, now)
    choice = _choose_after_answer(context, asked_at, now)
    if context.strikes:
        rested = asked_at + context.pace.every
        if choice.at is None or choice.at < rested:
            return NextPoll(at=rested, reason="not sooner: refused with 429 a short while ago")
    return choice


def _find_budget_free_at(context: PollContext, now: datetime) -> datetime | None:
    """The first instant at which this token may be used; None: nothing holds it back."""
    recent = _list_recent_requests(context, now)
    # Offline, no server has seen the last request; and no server has yet seen another login's token.
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
    """Uses of the token in the last hour, oldest first; the last poll counts even where the caller kept no list."""
    known = {at for at in (*context.recent_requests, context.requested_at or context.polled_at) if at is not None}
    return sorted(at for at in known if -context.pace.every <= now - at < timedelta(hours=1))


def _choose_after_failure(context: PollContext, asked_at: datetime, now: datetime) -> NextPoll:
    kind = context.failure_kind
    if kind == "rate_limited":
        until = max(
            context.retry_at or asked_at, context.cooldown_until or compute_cooldown(context.strikes, None, asked_at)
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
    at = asked_at + wait * (1 + context.jitter / 10)
    if context.retry_at is not None and context.retry_at > at:
        return NextPoll(at=context.retry_at, reason=f"{why}; asked to wait")
    return NextPoll(at=at, reason=why, recheck_at=look_at)


def _choose_after_answer(context: PollContext, asked_at: datetime, now: datetime) -> NextPoll:
    pace_ = context.pace
    if context.suspect_count:
        wait = min(_double_wait(pace_.floor, context.suspect_count), pace_.every)
        return NextPoll(at=asked_at + wait, reason="the last answer is doubted")
    intervals = [_choose_interval(watch, context, asked_at) for watch in context.series_outlooks]
    wait, reason = min(intervals, default=(pace_.every, _format_usual_interval(pace_)))
    patience = _compute_max_wait(context)
    if wait > patience:
        wait, reason = patience, f"a rule asks for readings: every {_format_duration(patience)}"
    at = asked_at + wait
    turn = _find_next_reset(context, asked_at)
    # Asking within a floor before the reset would push the look at the new window a whole floor past it; only a
    # crossing that would otherwise never be seen is worth that.
    late = wait >= pace_.every and turn is not None and turn - at < pace_.floor and turn - asked_at <= patience
    if turn is not None and (at > turn or late):
        at, reason = turn, "a window resets"
    whole = min(context.requested_at or asked_at, asked_at) + min(pace_.ceiling, patience)
    if context.requested_at is not None and whole < at:
        at, reason = whole, "only a part was heard since the last whole answer"
    return NextPoll(at=at, reason=reason, recheck_at=_choose_recheck_at(context, at, now))


def _compute_max_wait(context: PollContext) -> timedelta:
    """The longest that may pass without a reading before a rule would take our own calm for the provider's silence."""
    limits = [watch.fresh_for for watch in context.series_outlooks if watch.fresh_for is not None]
    return max(min(limits, default=timedelta.max / 2) * MAX_AGE_FRACTION, context.pace.floor)


def _find_next_reset(context: PollContext, asked_at: datetime) -> datetime | None:
    """Just after the next turn of a window in use. An unused window's boundary rolls with the clock: it never comes."""
    used = (watch for watch in context.series_outlooks if watch.resets_at is not None and watch.used_percent != 0)
    turns = (watch.resets_at + RESET_DELAY for watch in used if watch.resets_at is not None)
    return min((turn for turn in turns if turn > asked_at), default=None)


def _choose_recheck_at(context: PollContext, at: datetime, now: datetime) -> datetime | None:
    """A `stat` is free where a request is not; it pays only while the next request is far away."""
    if context.active_at is None or at - now <= 2 * context.pace.floor:
        return None
    return now + max(context.pace.floor, timedelta(minutes=2))


def _choose_interval(outlook: SeriesOutlook, context: PollContext, asked_at: datetime) -> tuple[timedelta, str]:
    """How long one series can wait, and why."""
    still = _compute_idle_wait(outlook, context, asked_at)
    gap, threshold = _find_next_threshold(outlook)
    if gap is not None:
        nearing = _choose_near_interval(outlook, context.pace, gap, threshold, moving=still is None)
        if nearing is not None:
            return nearing
    if still is None or outlook.pending:
        return context.pace.every, _format_usual_interval(context.pace)
    wait = min(max(context.pace.every, still), context.pace.ceiling)
    if gap is not None:
        # Unused for an hour and one burst from the line: not as late as what cannot cross before the next look.
        wait = min(wait, max(context.pace.every, _estimate_soonest_crossing(outlook, gap)))
    return wait, f"unchanged: every {_format_duration(wait)}"


def _compute_idle_wait(outlook: SeriesOutlook, context: PollContext, asked_at: datetime) -> timedelta | None:
    """How late a series may be asked for having stood still; None: it moves, or nobody knows yet."""
    if outlook.changed_at is None:
        return None
    calm = asked_at - outlook.changed_at
    if context.active_at is not None:
        if context.active_at + USAGE_COUNT_DELAY >= asked_at:
            return None  # the tool is in use: what has not moved yet is about to
        if calm > context.pace.every:
            return context.pace.ceiling
    if calm <= 2 * context.pace.every:
        return None
    return context.pace.every + calm / 4


def _find_next_threshold(outlook: SeriesOutlook) -> tuple[float | None, float]:
    """Points to the next threshold, and that threshold. One just reached is still ahead: `> 80%` waits for 81 at 80."""
    if outlook.used_percent is None:
        return None, 0.0
    above = [threshold for threshold in outlook.thresholds if threshold >= outlook.used_percent]
    return (min(above) - outlook.used_percent, min(above)) if above else (None, 0.0)


def _choose_near_interval(
    outlook: SeriesOutlook, pace: Pace, gap: float, threshold: float, *, moving: bool
) -> tuple[timedelta, str] | None:
    """Sooner than usual, because a threshold is near or reached soon at this rate; None: it is not."""
    floor, every = pace.floor, pace.every
    if outlook.rate is not None and outlook.rate > 0:
        expected = timedelta(hours=min(gap / outlook.rate, 10_000))
        if expected / 2 < every:
            return max(expected / 2, floor), f"{outlook.name}: {threshold:g}% expected in {_format_duration(expected)}"
    if not moving:
        return None
    wait = max(_estimate_soonest_crossing(outlook, gap) / 2, floor)
    if gap <= NEAR_THRESHOLD_PERCENT:
        wait = min(wait, max(every / 2, floor))
    return (wait, f"{outlook.name}: {gap:.3g} points from {threshold:g}%") if wait < every else None


def _estimate_soonest_crossing(outlook: SeriesOutlook, gap: float) -> timedelta:
    """The earliest time in which a busy person could use up `gap` points."""
    hours = outlook.window_seconds / 3600 if outlook.window_seconds else BUSY_FRACTIONS[-1][0]
    busy = next((part for length, part in BUSY_FRACTIONS if hours <= length), BUSY_FRACTIONS[-1][1])
    fastest = max(MAX_BURST_FACTOR * 100 / (hours * busy), RATE_SAFETY_FACTOR * (outlook.rate or 0.0))
    return timedelta(hours=min(gap / fastest, 10_000))


def _double_wait(first: timedelta, times: int) -> timedelta:
    """`first`, doubled at every time after the first; bounded, because counts may be."""
    return first * (1 << min(max(times - 1, 0), 16))


def _format_usual_interval(pace: Pace) -> str:
    return f"every {_format_duration(pace.every)}"


def _format_duration(span: timedelta) -> str:
    """`45s`, `6m`, `1h30m`."""
    seconds = round(span.total_seconds())
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds}s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours}h{minutes:02d}m" if hours and minutes else f"{hours}h" if hours else f"{minutes}m"
