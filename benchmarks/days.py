"""Days with known truth: what was used, what the servers said of it, and which alerts a person was due.

Two providers with a session window and a weekly one each, asked every five minutes for a day. Behind the answers stands
a simulated account that nobody sees; the answers are what the six APIs have been seen to make of such a thing:

- a boundary that jitters by milliseconds, drifts by minutes, is left out, or rolls with the clock while unused;
- the old answer, served again for a while after a reset; values that dip by a point or two;
- windows missing from an answer, values that are null, single false zeros and false hundreds;
- timeouts and refusals, alone or for half an hour;
- resets before their time, limits that were raised; a week's reset in the middle of the day;
- the machine asleep for hours, with or without another one at work; the watcher restarted; a clock that is off.

The truth: in each turn of a window one alert is due, at the first genuine reading at or above the threshold that got
through; after a raised limit, which ends an alert, another. What no program could tell apart is not generated: a false
value less than 60 points above the true one, or in the first answer after a reset, a silence or a start.
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
    """One answer of one provider, or none."""

    at: datetime
    provider: str
    windows: dict[str, Shown] = {}
    error: str | None = None
    restart: bool = False  # the watcher was restarted just before
    tick: bool = False  # nobody was asked, only time passed


class Due(Struct, frozen=True):
    """An alert that a person is due: to be told from `begins_at` on, once, and not after `ends_at`."""

    series: str
    begins_at: datetime
    ends_at: datetime
    cause: str


class Day(Struct, frozen=True, kw_only=True):
    """One case: what is asked of every engine alike."""

    name: str
    threshold: float
    polls: tuple[Poll, ...]
    due: tuple[Due, ...]
    every_s: float = EVERY.total_seconds()
    clear: str | None = None  # when an alert is over, for engines that can be told
    honest: bool = True  # no value in it is false


class _Window:
    """The account behind the answers, one window of it."""

    def __init__(self, length: timedelta, now: datetime, luck: random.Random) -> None:
        self.length, self.luck = length, luck
        self.used = 0.0
        self.ends_at: datetime | None = None
        self.turn = 0
        self.cause = "crossing"
        self.fallen = False  # before its time, and not yet seen
        self.quiet_until = now  # no false value before: right after what is new it could not be told from the truth
        self.drift = timedelta(0)
        self.frozen_until: datetime | None = None
        self.last: Shown | None = None  # as last answered
        if length == WEEK or luck.random() < 0.5:
            left = luck.random() if luck.random() < 0.8 else luck.random() / 8
            self.ends_at = now + length * left
            self.used = luck.choice((luck.uniform(0, 75), luck.uniform(40, 79), luck.uniform(0, 99)))

    def passes(self, now: datetime, burnt: float) -> None:
        """Time goes by, and use with it."""
        if self.ends_at is not None and now >= self.ends_at:
            self._turn_over(now, "next window")
            if self.length == WEEK:
                self.ends_at = now + self.length
            if self.luck.random() < 0.4:
                self.frozen_until = now + MINUTE * self.luck.randint(1, 14)
        if burnt > 0:
            if self.ends_at is None:
                self.ends_at = now + self.length
            self.used = min(self.used + burnt, 100.0)

    def resets_early(self, now: datetime) -> None:
        """The vendor gives everybody a fresh window; nobody can know before use is seen to have fallen."""
        self._turn_over(now, "early reset")
        self.fallen = True
        if self.length == WEEK:
            self.ends_at = now + self.length

    def is_raised(self, now: datetime) -> None:
        """A larger plan: what was used is less of it."""
        self.quiet_until = now + 4 * EVERY
        self.used *= self.luck.uniform(0.45, 0.6)
        self.cause = "raised limit"
        self.fallen = True

    def _turn_over(self, now: datetime, cause: str) -> None:
        self.used, self.ends_at, self.cause = 0.0, None, cause
        self.turn += 1
        self.drift = timedelta(0)
        self.fallen = False
        self.quiet_until = now + 4 * EVERY

    def shown(self, now: datetime, *, rolls: bool) -> Shown:
        """The truth as a server words it."""
        luck = self.luck
        used = float(int(self.used))
        if used > 2 and luck.random() < 0.2:
            used -= luck.randint(1, 2)
        if self.ends_at is None:
            boundary = now + self.length if rolls else None
        else:
            if luck.random() < 0.02:
                self.drift += timedelta(seconds=luck.randint(-90, 90))
            boundary = self.ends_at + self.drift + timedelta(milliseconds=luck.randint(-400, 400))
            if luck.random() < 0.01:
                boundary = None
        return Shown(used, boundary, int(self.length.total_seconds()))


class _Plan:
    """What will happen on one day, decided beforehand."""

    def __init__(self, luck: random.Random, begins_at: datetime) -> None:
        self.luck = luck
        self.begins_at = begins_at
        self.ends_at = begins_at + timedelta(hours=24)
        self.skew = timedelta(seconds=luck.randint(-90, 90)) if luck.random() < 0.2 else timedelta(0)
        self.asleep = self._spans(luck.choice((0, 1, 1, 2)), 40, 540)
        self.at_work_elsewhere = luck.random() < 0.5
        self.work = self._spans(luck.randint(2, 5), 40, 240)
        self.refused = self._spans(luck.choice((0, 1, 2)), 10, 45)
        self.pace = luck.uniform(0.2, 1.6)  # percent of a session a minute
        self.bursts = luck.random() < 0.15
        self.false_values = luck.choice((0.0, 0.01, 0.03))
        self.alternating = luck.random() < 0.08
        self.early = self._moment(0.15)
        self.raised = self._moment(0.15)
        self.restarts = 0.01 if luck.random() < 0.5 else 0.2

    def _spans(self, count: int, shortest: int, longest: int) -> list[tuple[datetime, datetime]]:
        spans = []
        for _ in range(count):
            start = self.begins_at + MINUTE * self.luck.randint(20, 1380)
            spans.append((start, start + MINUTE * self.luck.randint(shortest, longest)))
        return spans

    def _moment(self, chance: float) -> datetime | None:
        if self.luck.random() >= chance:
            return None
        return self.begins_at + MINUTE * self.luck.randint(60, 1300)

    def burnt(self, now: datetime) -> float:
        """Percent of a session used in this minute."""
        if self.is_asleep(now) and not self.at_work_elsewhere:
            return 0.0
        if not any(start <= now < end for start, end in self.work):
            return 0.0
        return self.luck.expovariate(1 / self.pace) * (4 if self.bursts and self.luck.random() < 0.2 else 1)

    def is_asleep(self, now: datetime) -> bool:
        return any(start <= now < end for start, end in self.asleep)

    def error(self, now: datetime) -> str | None:
        if any(start <= now < end for start, end in self.refused):
            return "rate_limited"
        return "timeout" if self.luck.random() < 0.015 else None


class _Teller:
    """Keeps the truth while the answers go out."""

    def __init__(self) -> None:
        self.open: dict[str, tuple[datetime, str]] = {}  # series -> since, cause
        self.due: list[Due] = []
        self.heard_at: dict[str, datetime] = {}

    def heard_of(self, series: str, window: _Window, at: datetime) -> None:
        """A genuine reading got through."""
        used = 0.0 if window.last is None or window.last.used is None else window.last.used
        if window.fallen and used < CLEARS:
            window.fallen = False
            self.is_over(series, at)
        if used >= THRESHOLD and series not in self.open:
            heard_at = self.heard_at.get(series)
            silent = heard_at is not None and at - heard_at > 3 * EVERY
            cause = "already above" if heard_at is None else "after silence" if silent else window.cause
            self.open[series] = at, cause
        self.heard_at[series] = at

    def is_over(self, series: str, at: datetime) -> None:
        """The turn ended, or a raised limit took the use well below the threshold."""
        if series in self.open:
            since, cause = self.open.pop(series)
            self.due.append(Due(series, since, at, cause))


def generated(number: int, seed: int = 1) -> Day:
    """One day; the same for the same number and seed."""
    luck = random.Random(f"{seed}/{number}")
    begins_at = datetime(2026, 3, 4, tzinfo=UTC) + timedelta(days=number, minutes=luck.randint(0, 1439))
    plan = _Plan(luck, begins_at)
    teller = _Teller()
    servers = [_Server(provider, plan, teller) for provider in WINDOWS]
    polls = [poll for server in servers for poll in server.answers()]
    for series in tuple(teller.open):
        teller.is_over(series, plan.ends_at + timedelta(hours=1))
    polls.sort(key=lambda poll: poll.at)
    due = tuple(sorted(teller.due, key=lambda each: (each.begins_at, each.series)))
    honest = all(since > NEVER for server in servers for since in server.since_false.values())
    return Day(name=f"day {number}", threshold=THRESHOLD, polls=tuple(polls), due=due, honest=honest)


class _Server:
    """One provider's side of a day: the account, what is answered of it, and what is true."""

    def __init__(self, provider: str, plan: _Plan, teller: _Teller) -> None:
        self.provider, self.plan, self.teller, self.luck = provider, plan, teller, plan.luck
        self.windows = {name: _Window(length, plan.begins_at, plan.luck) for name, length in WINDOWS[provider].items()}
        self.rolls = provider == "codex" or self.luck.random() < 0.3
        self.early, self.raised = self.luck.choice(list(self.windows)), self.luck.choice(list(self.windows))
        self.since_false: dict[str, int] = {}  # genuine values answered since the last false one

    def answers(self) -> Iterator[Poll]:
        """All of the day, asked every five minutes while the machine is awake."""
        luck, plan = self.luck, self.plan
        now = asked_at = plan.begins_at
        answered_at = now - EVERY
        while now < plan.ends_at:
            self._passes(now)
            if now >= asked_at and not plan.is_asleep(now):
                asked_at = now + EVERY
                if now - answered_at > 3 * EVERY:
                    for window in self.windows.values():
                        window.quiet_until = max(window.quiet_until, now + 2 * EVERY)
                at = now + plan.skew + timedelta(seconds=luck.randint(0, 20))
                restart = luck.random() < plan.restarts
                error = plan.error(now)
                shown = {}
                if error is None:
                    answered_at = now
                    shown = self._answer(now, at)
                yield Poll(at=at, provider=self.provider, windows=shown, error=error, restart=restart)
            now += MINUTE

    def _passes(self, now: datetime) -> None:
        plan = self.plan
        burnt = plan.burnt(now)
        for name, window in self.windows.items():
            before = window.turn
            window.passes(now, burnt if window.length == SESSION else burnt / 12)
            if name == self.early and plan.early is not None and now >= plan.early and window.used >= 30:
                self.early = ""
                window.resets_early(now)
            if name == self.raised and plan.raised is not None and now >= plan.raised and window.used > THRESHOLD + 1:
                self.raised = ""
                window.is_raised(now)
            if window.turn != before and not window.fallen:
                self.teller.is_over(f"{self.provider}.{name}", now + plan.skew)

    def _answer(self, now: datetime, at: datetime) -> dict[str, Shown]:
        answer: dict[str, Shown] = {}
        for name, window in self.windows.items():
            if window.frozen_until is not None and now < window.frozen_until and window.last is not None:
                answer[name] = window.last
                continue
            window.frozen_until = None
            true = window.shown(now, rolls=self.rolls)
            if self.luck.random() < 0.01:
                if self.luck.random() < 0.5:
                    answer[name] = Shown(None, true.resets_at, true.length_s)
                continue
            false = self._false(name, window, true, at) if now >= window.quiet_until else None
            if false is not None:
                self.since_false[name] = 0
                answer[name] = Shown(false, true.resets_at, true.length_s)
                continue
            self.since_false[name] = self.since_false.get(name, NEVER) + 1
            answer[name] = window.last = true
            self.teller.heard_of(f"{self.provider}.{name}", window, at)
        return answer

    def _false(self, name: str, window: _Window, true: Shown, at: datetime) -> float | None:
        """A false value in place of the true one, if there is to be one now, and it is one that could be doubted."""
        plan, since = self.plan, self.since_false.get(name, NEVER)
        wanted = since > 2 and self.luck.random() < plan.false_values
        if plan.alternating:
            wanted = since == 1 or (since > 1 and self.luck.random() < 0.1)  # every other answer
        heard_at = self.teller.heard_at.get(f"{self.provider}.{name}")
        if not wanted or window.last is None or heard_at is None or at - heard_at >= 2.5 * EVERY:
            return None
        known = [each.used or 0.0 for each in (true, window.last)]
        if min(known) >= COLLAPSES_FROM:
            return 0.0
        return 100.0 if max(known) <= 100 - FALSE_LEAP else None
