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

from msgspec.structs import replace

from watcher.core.sight import NextPoll, Pace, Sight, Watch

AFTER_RESET = timedelta(seconds=30)  # servers turn a window over some seconds late
COOLDOWN_LEAST = timedelta(minutes=5)
COOLDOWN_DOUBLED_TO = timedelta(hours=6)
COOLDOWN_MOST = timedelta(hours=24)  # what a server may demand; longer is a mistake of the server's
REFUSED_EVERY = timedelta(minutes=15)
LOGIN_LOOKED_FOR_EVERY = timedelta(minutes=3)  # looking for a login costs no request
BLOCKED_EVERY = timedelta(minutes=15)
LOST_FIRST = timedelta(minutes=5)  # after the first thread that never came back
OFFLINE_FIRST = timedelta(minutes=1)
OFFLINE_MOST = timedelta(minutes=15)
NEW_LOGIN_AFTER = timedelta(seconds=5)  # the tool may still be writing
COUNTED_AFTER = timedelta(seconds=60)  # use this young may not be in the server's count yet
SWIFT = 3.0  # times the even pace over a window's busy hours: as fast as one person uses it up
BUSY = ((6, 1.0), (24, 1 / 3), (24 * 30, 5 / 21))  # hours of a window, and the part of them in which people work
NEAR = 2.0  # points below a threshold at which it is worth looking twice as often while the value moves
PATIENT = 0.9  # of the age at which a rule speaks
HASTE = 1.5  # a rate may rise by this before the next look

REFUSALS = frozenset({"not_signed_in", "expired", "forbidden"})


def pace(floor: timedelta, default: timedelta, ceiling: timedelta, every: timedelta | None = None) -> Pace:
    """A provider's pace with the person's own `every`, which never undercuts the floor and may exceed the ceiling."""
    usual = max(default if every is None else every, floor)
    return Pace(floor=floor, every=usual, ceiling=max(ceiling, usual))


def cooldown(strikes: int, retry_after: timedelta | None, now: datetime) -> datetime:
    """Until when a token rests after a 429.

    Args:
        strikes: 429s of this token that are not yet forgiven, this one included.
        retry_after: what the server said; None or zero where it said nothing.
        now: when the 429 came.
    """
    doubled = min(_doubled(COOLDOWN_LEAST, strikes), COOLDOWN_DOUBLED_TO)
    said = min(retry_after or timedelta(0), COOLDOWN_MOST)
    return now + max(doubled, said)


def after_loss(lost: int, now: datetime) -> datetime:
    """Until when a provider rests that has kept so many threads for good: their number stays small for ever."""
    return now + _doubled(LOST_FIRST, lost)


def forgive(strikes: int) -> int:
    """Strikes after a good answer: one less, so that a server that refuses every other request is not asked faster."""
    return max(strikes - 1, 0)


def next_poll(sight: Sight, now: datetime) -> NextPoll:
    """When to ask this login next, and why."""
    if sight.failure == "unsupported" and not sight.login_changed:
        return NextPoll(at=None, reason="stopped: this account is not supported; sign in with another")
    sight = _by_this_clock(sight, now)
    choice = _wanted(sight, now)
    free = _budget_frees(sight, now)
    if free is not None and choice.at is not None and choice.at < free:
        spent_up = len(_recent(sight, now)) >= sight.pace.an_hour
        reason = "this token's hourly budget is used up" if spent_up else choice.reason
        choice = NextPoll(at=free, reason=reason, look_at=choice.look_at)
    until = sight.cooldown_until
    if choice.at is not None and until is not None and is_resting(until, now) and until > choice.at:
        return NextPoll(at=until, reason="cooling down after 429")
    return choice


def is_resting(until: datetime | None, now: datetime) -> bool:
    """Whether a cooldown lasts. One that ends later than any can was begun by a clock that has been set back since."""
    return until is not None and now < until <= now + COOLDOWN_MOST


def _by_this_clock(sight: Sight, now: datetime) -> Sight:
    """The sight without a poll that was made "later" than now: the clock was set back, and nobody waits until then.

    A step back by less than the usual interval makes the next poll that much later and needs no rule.
    """
    if sight.asked_at is None or sight.asked_at - now <= sight.pace.every:
        return sight
    return replace(sight, asked_at=None, requested_at=None)


def _wanted(sight: Sight, now: datetime) -> NextPoll:
    """When to ask if tokens had no budget and no cooldown."""
    asked_at = sight.asked_at
    if asked_at is None:
        return NextPoll(at=now, reason="not asked yet")
    if sight.login_changed:
        return NextPoll(at=asked_at + NEW_LOGIN_AFTER, reason="another login was found")
    if sight.woke_at is not None and sight.woke_at > asked_at and sight.failure not in REFUSALS | {"rate_limited"}:
        return NextPoll(at=sight.woke_at, reason="the machine woke")
    if sight.failure is not None:
        return _after_failure(sight, asked_at, now)
    choice = _after_answer(sight, asked_at, now)
    if sight.strikes:
        rested = asked_at + sight.pace.every
        if choice.at is None or choice.at < rested:
            return NextPoll(at=rested, reason="not sooner: refused with 429 a short while ago")
    return choice


def _budget_frees(sight: Sight, now: datetime) -> datetime | None:
    """The first instant at which this token may be used; None: nothing holds it back."""
    recent = _recent(sight, now)
    # Offline, no server has seen the last request; and no server has yet seen another login's token.
    free = None if not recent or sight.failure == "offline" or sight.login_changed else recent[-1] + sight.pace.floor
    if len(recent) >= sight.pace.an_hour:
        freed = recent[-sight.pace.an_hour] + timedelta(hours=1)
        return freed if free is None else max(free, freed)
    return free


def _recent(sight: Sight, now: datetime) -> list[datetime]:
    """Uses of the token in the last hour, oldest first; the last poll counts even where the caller kept no list."""
    known = {at for at in (*sight.spent, sight.requested_at or sight.asked_at) if at is not None}
    return sorted(at for at in known if -sight.pace.every <= now - at < timedelta(hours=1))


def _after_failure(sight: Sight, asked_at: datetime, now: datetime) -> NextPoll:
    kind = sight.failure
    if kind == "rate_limited":
        until = max(sight.retry_at or asked_at, sight.cooldown_until or cooldown(sight.strikes, None, asked_at))
        return NextPoll(at=until, reason="cooling down after 429")
    look_at = None
    if kind in REFUSALS:
        wait, why = max(REFUSED_EVERY, sight.pace.every), "waiting for another login"
        look_at = now + LOGIN_LOOKED_FOR_EVERY
    elif kind == "offline":
        wait, why = min(_doubled(OFFLINE_FIRST, sight.failures), OFFLINE_MOST), "offline"
    elif kind == "blocked":
        first = max(BLOCKED_EVERY, sight.pace.every)
        wait, why = min(_doubled(first, sight.failures), COOLDOWN_DOUBLED_TO), "blocked on the way"
    else:
        wait, why = min(_doubled(sight.pace.every, sight.failures), sight.pace.ceiling), f"after a failure: {kind}"
    at = asked_at + wait * (1 + sight.jitter / 10)
    if sight.retry_at is not None and sight.retry_at > at:
        return NextPoll(at=sight.retry_at, reason=f"{why}; asked to wait")
    return NextPoll(at=at, reason=why, look_at=look_at)


def _after_answer(sight: Sight, asked_at: datetime, now: datetime) -> NextPoll:
    pace_ = sight.pace
    if sight.doubts:
        wait = min(_doubled(pace_.floor, sight.doubts), pace_.every)
        return NextPoll(at=asked_at + wait, reason="the last answer is doubted")
    intervals = [_interval(watch, sight, asked_at) for watch in sight.watches]
    wait, reason = min(intervals, default=(pace_.every, _usual(pace_)))
    patience = _patience(sight)
    if wait > patience:
        wait, reason = patience, f"a rule asks for readings: every {_brief(patience)}"
    at = asked_at + wait
    turn = _next_reset(sight, asked_at)
    # Asking within a floor before the reset would push the look at the new window a whole floor past it; only a
    # crossing that would otherwise never be seen is worth that.
    late = wait >= pace_.every and turn is not None and turn - at < pace_.floor and turn - asked_at <= patience
    if turn is not None and (at > turn or late):
        at, reason = turn, "a window resets"
    whole = min(sight.requested_at or asked_at, asked_at) + min(pace_.ceiling, patience)
    if sight.requested_at is not None and whole < at:
        at, reason = whole, "only a part was heard since the last whole answer"
    return NextPoll(at=at, reason=reason, look_at=_glance(sight, at, now))


def _patience(sight: Sight) -> timedelta:
    """The longest that may pass without a reading before a rule would take our own calm for the provider's silence."""
    limits = [watch.fresh_for for watch in sight.watches if watch.fresh_for is not None]
    return max(min(limits, default=timedelta.max / 2) * PATIENT, sight.pace.floor)


def _next_reset(sight: Sight, asked_at: datetime) -> datetime | None:
    """Just after the next turn of a window in use. An unused window's boundary rolls with the clock: it never comes."""
    used = (watch for watch in sight.watches if watch.resets_at is not None and watch.used_percent != 0)
    turns = (watch.resets_at + AFTER_RESET for watch in used if watch.resets_at is not None)
    return min((turn for turn in turns if turn > asked_at), default=None)


def _glance(sight: Sight, at: datetime, now: datetime) -> datetime | None:
    """A `stat` is free where a request is not; it pays only while the next request is far away."""
    if sight.active_at is None or at - now <= 2 * sight.pace.floor:
        return None
    return now + max(sight.pace.floor, timedelta(minutes=2))


def _interval(watch: Watch, sight: Sight, asked_at: datetime) -> tuple[timedelta, str]:
    """How long one series can wait, and why."""
    still = _stillness(watch, sight, asked_at)
    gap, threshold = _gap(watch)
    if gap is not None:
        nearing = _nearing(watch, sight.pace, gap, threshold, moving=still is None)
        if nearing is not None:
            return nearing
    if still is None or watch.pending:
        return sight.pace.every, _usual(sight.pace)
    wait = min(max(sight.pace.every, still), sight.pace.ceiling)
    if gap is not None:
        # Unused for an hour and one burst from the line: not as late as what cannot cross before the next look.
        wait = min(wait, max(sight.pace.every, _soonest(watch, gap)))
    return wait, f"unchanged: every {_brief(wait)}"


def _stillness(watch: Watch, sight: Sight, asked_at: datetime) -> timedelta | None:
    """How late a series may be asked for having stood still; None: it moves, or nobody knows yet."""
    if watch.changed_at is None:
        return None
    calm = asked_at - watch.changed_at
    if sight.active_at is not None:
        if sight.active_at + COUNTED_AFTER >= asked_at:
            return None  # the tool is in use: what has not moved yet is about to
        if calm > sight.pace.every:
            return sight.pace.ceiling
    if calm <= 2 * sight.pace.every:
        return None
    return sight.pace.every + calm / 4


def _gap(watch: Watch) -> tuple[float | None, float]:
    """Points to the next threshold, and that threshold. One just reached is still ahead: `> 80%` waits for 81 at 80."""
    if watch.used_percent is None:
        return None, 0.0
    above = [threshold for threshold in watch.thresholds if threshold >= watch.used_percent]
    return (min(above) - watch.used_percent, min(above)) if above else (None, 0.0)


def _nearing(watch: Watch, pace_: Pace, gap: float, threshold: float, *, moving: bool) -> tuple[timedelta, str] | None:
    """Sooner than usual, because a threshold is near or reached soon at this rate; None: it is not."""
    floor, every = pace_.floor, pace_.every
    if watch.rate is not None and watch.rate > 0:
        expected = timedelta(hours=min(gap / watch.rate, 10_000))
        if expected / 2 < every:
            return max(expected / 2, floor), f"{watch.name}: {threshold:g}% expected in {_brief(expected)}"
    if not moving:
        return None
    wait = max(_soonest(watch, gap) / 2, floor)
    if gap <= NEAR:
        wait = min(wait, max(every / 2, floor))
    return (wait, f"{watch.name}: {gap:.3g} points from {threshold:g}%") if wait < every else None


def _soonest(watch: Watch, gap: float) -> timedelta:
    """The earliest time in which a busy person could use up `gap` points."""
    hours = watch.window_seconds / 3600 if watch.window_seconds else BUSY[-1][0]
    busy = next((part for length, part in BUSY if hours <= length), BUSY[-1][1])
    fastest = max(SWIFT * 100 / (hours * busy), HASTE * (watch.rate or 0.0))
    return timedelta(hours=min(gap / fastest, 10_000))


def _doubled(first: timedelta, times: int) -> timedelta:
    """`first`, doubled at every time after the first; bounded, because counts may be."""
    return first * (1 << min(max(times - 1, 0), 16))


def _usual(pace_: Pace) -> str:
    return f"every {_brief(pace_.every)}"


def _brief(span: timedelta) -> str:
    """`45s`, `6m`, `1h30m`."""
    seconds = round(span.total_seconds())
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds}s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours}h{minutes:02d}m" if hours and minutes else f"{hours}h" if hours else f"{minutes}m"
