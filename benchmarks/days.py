"""Days with known truth: what was used, what the servers answered, and which alerts were due.

Two providers, each with a session window and a weekly one, are polled every five minutes for a day. Behind the answers
is a simulated account; the answers show what the six APIs have been seen to do:

- a boundary that jitters by milliseconds, drifts by minutes, is left out, or moves on with the clock while unused;
- the old answer, served again for a while after a reset; values that drop by a point or two;
- windows missing from an answer, null values, single false zeros and false hundreds;
- timeouts and refusals, alone or for half an hour;
- early resets, raised limits; the reset of a week in the middle of the day;
- the machine asleep for hours, with or without another one at work; the watcher restarted; a clock that is off.

The truth: in each episode one alert is due, at the first genuine reading at or above the threshold that arrived; and
another one after a raised limit, which ends an alert. Some false values no program could tell apart, so there are none
less than 60 points above the true one, and none in the first answer after a reset, a gap or a start.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from msgspec import Struct

THRESHOLD = 80
CLEARS = THRESHOLD - 5
EVERY = timedelta(minutes=5)
SESSION, WEEK = timedelta(hours=5), timedelta(days=7)
MINUTE = timedelta(minutes=1)
WINDOWS = {
    "claude": {"five_hour": SESSION, "seven_day": WEEK},
    "codex": {"five_hour": SESSION, "weekly": WEEK},
}
FALSE_LEAP = 65  # a false hundred is at least so far from the truth
NEVER = 10_000  # answers ago
COLLAPSES_FROM = 25  # a false zero after less would not look like one


class Shown(Struct, frozen=True):
    """What an answer says of one window."""

    used: float | None
    resets_at: datetime | None
    length_s: int


class Poll(Struct, frozen=True, kw_only=True):
    """The result of one poll."""

    at: datetime
    provider: str
    windows: dict[str, Shown] = {}
    error: str | None = None
    restart: bool = False  # the watcher restarts just before
    tick: bool = False  # no poll, only time has passed


class Due(Struct, frozen=True):
    """An alert that is due: to be reported once, from `begins_at` on and not after `ends_at`."""

    series: str
    begins_at: datetime
    ends_at: datetime


class Day(Struct, frozen=True, kw_only=True):
    """One case, the same for every engine."""

    name: str
    threshold: float
    polls: tuple[Poll, ...]
    due: tuple[Due, ...]
    every_s: float = EVERY.total_seconds()
    clear: str | None = None  # the clearing condition, for engines that take one
    honest: bool = True  # without false values


class _Window:
    """One window of the simulated account."""

    def __init__(self, length: timedelta, now: datetime, rng: random.Random) -> None:
        self.length, self.rng = length, rng
        self.used = 0.0
        self.ends_at: datetime | None = None
        self.turn = 0
        self.has_dropped = False  # early, and not yet part of an answer
        self.quiet_until = now  # no false value before: just after a change it could not be told from the truth
        self.drift = timedelta(0)
        self.frozen_until: datetime | None = None
        self.last: Shown | None = None  # as last answered
        if length == WEEK or rng.random() < 0.5:
            left = rng.random() if rng.random() < 0.8 else rng.random() / 8
            self.ends_at = now + length * left
            self.used = rng.choice((rng.uniform(0, 75), rng.uniform(40, 79), rng.uniform(0, 99)))

    def advance(self, now: datetime, use: float) -> None:
        """Lets time pass."""
        if self.ends_at is not None and now >= self.ends_at:
            self._start_window(now)
            if self.length == WEEK:
                self.ends_at = now + self.length
            if self.rng.random() < 0.4:
                self.frozen_until = now + MINUTE * self.rng.randint(1, 14)
        if use > 0:
            if self.ends_at is None:
                self.ends_at = now + self.length
            self.used = min(self.used + use, 100.0)

    def reset_early(self, now: datetime) -> None:
        """The vendor resets every window; nobody can know before use drops."""
        self._start_window(now)
        self.has_dropped = True
        if self.length == WEEK:
            self.ends_at = now + self.length

    def raise_limit(self, now: datetime) -> None:
        """Raises the limit: the use so far is less of it."""
        self.quiet_until = now + 4 * EVERY
        self.used *= self.rng.uniform(0.45, 0.6)
        self.has_dropped = True

    def _start_window(self, now: datetime) -> None:
        self.used, self.ends_at = 0.0, None
        self.turn += 1
        self.drift = timedelta(0)
        self.has_dropped = False
        self.quiet_until = now + 4 * EVERY

    def shown(self, now: datetime, *, rolls: bool) -> Shown:
        """The truth as a server answers it."""
        rng = self.rng
        used = float(int(self.used))
        if used > 2 and rng.random() < 0.2:
            used -= rng.randint(1, 2)
        if self.ends_at is None:
            boundary = now + self.length if rolls else None
        else:
            if rng.random() < 0.02:
                self.drift += timedelta(seconds=rng.randint(-90, 90))
            boundary = self.ends_at + self.drift + timedelta(milliseconds=rng.randint(-400, 400))
            if rng.random() < 0.01:
                boundary = None
        return Shown(used, boundary, int(self.length.total_seconds()))


class _Plan:
    """What happens on one day."""

    def __init__(self, rng: random.Random, begins_at: datetime) -> None:
        self.rng = rng
        self.begins_at = begins_at
        self.ends_at = begins_at + timedelta(hours=24)
        self.skew = timedelta(seconds=rng.randint(-90, 90)) if rng.random() < 0.2 else timedelta(0)
        self.asleep = self._spans(rng.choice((0, 1, 1, 2)), 40, 540)
        self.at_work_elsewhere = rng.random() < 0.5
        self.work = self._spans(rng.randint(2, 5), 40, 240)
        self.refused = self._spans(rng.choice((0, 1, 2)), 10, 45)
        self.pace = rng.uniform(0.2, 1.6)  # percent of a session a minute
        self.bursts = rng.random() < 0.15
        self.false_values = rng.choice((0.0, 0.01, 0.03))
        self.alternating = rng.random() < 0.08
        self.early = self._moment(0.15)
        self.raised = self._moment(0.15)
        self.restarts = 0.01 if rng.random() < 0.5 else 0.2

    def _spans(self, count: int, shortest: int, longest: int) -> list[tuple[datetime, datetime]]:
        spans = []
        for _ in range(count):
            start = self.begins_at + MINUTE * self.rng.randint(20, 1380)
            spans.append((start, start + MINUTE * self.rng.randint(shortest, longest)))
        return spans

    def _moment(self, chance: float) -> datetime | None:
        if self.rng.random() >= chance:
            return None
        return self.begins_at + MINUTE * self.rng.randint(60, 1300)

    def use(self, now: datetime) -> float:
        """Percent of a session used in this minute."""
        if self.is_asleep(now) and not self.at_work_elsewhere:
            return 0.0
        if not any(start <= now < end for start, end in self.work):
            return 0.0
        return self.rng.expovariate(1 / self.pace) * (4 if self.bursts and self.rng.random() < 0.2 else 1)

    def is_asleep(self, now: datetime) -> bool:
        return any(start <= now < end for start, end in self.asleep)

    def error(self, now: datetime) -> str | None:
        if any(start <= now < end for start, end in self.refused):
            return "rate_limited"
        return "timeout" if self.rng.random() < 0.015 else None


class _TruthRecorder:
    """Records which alerts are due while the answers are made."""

    def __init__(self) -> None:
        self.open: dict[str, datetime] = {}  # series -> since
        self.due: list[Due] = []
        self.heard_at: dict[str, datetime] = {}

    def record_reading(self, series: str, window: _Window, at: datetime) -> None:
        """Records a genuine reading that arrived."""
        used = 0.0 if window.last is None or window.last.used is None else window.last.used
        if window.has_dropped and used < CLEARS:
            window.has_dropped = False
            self.close_alert(series, at)
        if used >= THRESHOLD and series not in self.open:
            self.open[series] = at
        self.heard_at[series] = at

    def close_alert(self, series: str, at: datetime) -> None:
        """Ends an alert: the window was reset, or a raised limit took the use well below the threshold."""
        if series in self.open:
            self.due.append(Due(series, self.open.pop(series), at))


def generate_day(number: int, seed: int = 1) -> Day:
    """Generates one day; the same for the same number and seed."""
    rng = random.Random(f"{seed}/{number}")
    begins_at = datetime(2026, 3, 4, tzinfo=UTC) + timedelta(days=number, minutes=rng.randint(0, 1439))
    plan = _Plan(rng, begins_at)
    truth = _TruthRecorder()
    servers = [_Server(provider, plan, truth) for provider in WINDOWS]
    polls = [poll for server in servers for poll in server.answers()]
    for series in tuple(truth.open):
        truth.close_alert(series, plan.ends_at + timedelta(hours=1))
    polls.sort(key=lambda poll: poll.at)
    due = tuple(sorted(truth.due, key=lambda each: (each.begins_at, each.series)))
    honest = all(since > NEVER for server in servers for since in server.since_false.values())
    return Day(name=f"day {number}", threshold=THRESHOLD, polls=tuple(polls), due=due, honest=honest)


class _Server:
    """One provider on one day."""

    def __init__(self, provider: str, plan: _Plan, truth: _TruthRecorder) -> None:
        self.provider, self.plan, self.truth, self.rng = provider, plan, truth, plan.rng
        self.windows = {name: _Window(length, plan.begins_at, plan.rng) for name, length in WINDOWS[provider].items()}
        self.rolls = provider == "codex" or self.rng.random() < 0.3
        self.early, self.raised = self.rng.choice(list(self.windows)), self.rng.choice(list(self.windows))
        self.since_false: dict[str, int] = {}  # genuine values answered since the last false one

    def answers(self) -> Iterator[Poll]:
        """The results of the day's polls, every five minutes while the machine is awake."""
        rng, plan = self.rng, self.plan
        now = poll_at = plan.begins_at
        answered_at = now - EVERY
        while now < plan.ends_at:
            self._advance(now)
            if now >= poll_at and not plan.is_asleep(now):
                poll_at = now + EVERY
                if now - answered_at > 3 * EVERY:
                    for window in self.windows.values():
                        window.quiet_until = max(window.quiet_until, now + 2 * EVERY)
                at = now + plan.skew + timedelta(seconds=rng.randint(0, 20))
                restart = rng.random() < plan.restarts
                error = plan.error(now)
                shown = {}
                if error is None:
                    answered_at = now
                    shown = self._answer(now, at)
                yield Poll(at=at, provider=self.provider, windows=shown, error=error, restart=restart)
            now += MINUTE

    def _advance(self, now: datetime) -> None:
        plan = self.plan
        use = plan.use(now)
        for name, window in self.windows.items():
            before = window.turn
            window.advance(now, use if window.length == SESSION else use / 12)
            if name == self.early and plan.early is not None and now >= plan.early and window.used >= 30:
                self.early = ""
                window.reset_early(now)
            if name == self.raised and plan.raised is not None and now >= plan.raised and window.used > THRESHOLD + 1:
                self.raised = ""
                window.raise_limit(now)
            if window.turn != before and not window.has_dropped:
                self.truth.close_alert(f"{self.provider}.{name}", now + plan.skew)

    def _answer(self, now: datetime, at: datetime) -> dict[str, Shown]:
        answer: dict[str, Shown] = {}
        for name, window in self.windows.items():
            if window.frozen_until is not None and now < window.frozen_until and window.last is not None:
                answer[name] = window.last
                continue
            window.frozen_until = None
            true = window.shown(now, rolls=self.rolls)
            if self.rng.random() < 0.01:
                if self.rng.random() < 0.5:
                    answer[name] = Shown(None, true.resets_at, true.length_s)
                continue
            false = self._make_false_value(name, window, true, at) if now >= window.quiet_until else None
            if false is not None:
                self.since_false[name] = 0
                answer[name] = Shown(false, true.resets_at, true.length_s)
                continue
            self.since_false[name] = self.since_false.get(name, NEVER) + 1
            answer[name] = window.last = true
            self.truth.record_reading(f"{self.provider}.{name}", window, at)
        return answer

    def _make_false_value(self, name: str, window: _Window, true: Shown, at: datetime) -> float | None:
        """A false value in place of the true one, if one is chosen now and a program could suspect it."""
        plan, since = self.plan, self.since_false.get(name, NEVER)
        is_chosen = since > 2 and self.rng.random() < plan.false_values
        if plan.alternating:
            is_chosen = since == 1 or (since > 1 and self.rng.random() < 0.1)  # every other answer
        heard_at = self.truth.heard_at.get(f"{self.provider}.{name}")
        if not is_chosen or window.last is None or heard_at is None or at - heard_at >= 2.5 * EVERY:
            return None
        known = [each.used or 0.0 for each in (true, window.last)]
        if min(known) >= COLLAPSES_FROM:
            return 0.0
        return 100.0 if max(known) <= 100 - FALSE_LEAP else None
