"""How soon a crossing is noticed and how many requests that costs: our policy, fixed intervals, a menu's adaptive one.

Simulated days of five kinds are polled by each policy for each provider. A provider answers in whole percents, as most
do. A crossing is noticed by the first answer or note above the threshold within the same window; one that nothing shows
before the window turns is missed. Hours in which the machine sleeps do not count as delay: nobody could be told.

What the tools leave on this machine is imperfect: a seventh of the work happens on another machine, tools also write to
their folders without using quota, and a fifth of the server's answers brings no numbers.
Everything is seeded: the same options print the same numbers.
"""

import argparse
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median

from msgspec import Struct, field

from watcher.core.engine import forecast
from watcher.core.engine.thresholds import SeriesOutlook
from watcher.core.model import Pace
from watcher.polling.interval import PollContext, choose_next_poll
from watcher.polling.poller import NEWS_CHECK_EVERY
from watcher.providers.registry import PROVIDERS

STEP_S = 10
STEPS = 24 * 3600 // STEP_S
MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = ("idle", "steady", "bursts", "mixed", "sleep")
CHEAP_DAYS = ("idle", "mixed")  # those on which we must ask less often than every ten minutes
THRESHOLDS = (80.0, 95.0)
ELSEWHERE = 0.15  # of the stretches of work
NO_NUMBERS = 0.2  # of the server's answers to a tool
GOAL_MEDIAN_S, GOAL_P95_S = 60.0, 240.0
NEVER = 10**9


class Model(Struct, frozen=True):
    """One provider as far as polling is concerned."""

    name: str
    pace: Pace
    window: str  # session, day or month
    share: float  # of this window that one percent of a session is
    notes: bool  # whether its tool notes the server's numbers on this machine


def _model(provider: str, window: str, share: float, *, name: str = "", notes: bool = False) -> Model:
    facts = PROVIDERS[provider]
    return Model(name or provider, facts.pace, window, share, notes)


MODELS = (
    _model("claude", "session", 1.0, name="claude_statusline", notes=True),
    _model("codex", "session", 1.0, notes=True),
    _model("claude", "session", 1.0),
    _model("copilot", "month", 0.06),
    _model("nano_gpt", "day", 0.65),
    _model("gemini_cli", "day", 0.65),
    _model("antigravity", "session", 1.0),
)


class Crossing(Struct, frozen=True):
    """A threshold that use passes."""

    step: int
    turn: int
    threshold: float
    elsewhere: bool  # by use on another machine


class Day(Struct):
    """What is true, in steps of `STEP_S`, and when the machine can ask at all."""

    percent: list[int]  # reported
    turn: list[int]  # which window it is
    resets: list[int | None]  # step of that window's end
    local: list[int]  # steps at which the tools on this machine wrote to their session folders, for whatever reason
    notes: list[int]  # steps at which a tool noted what the server said
    looks: list[int]  # steps at which the person opens a menu
    awake: list[bool]
    crossings: list[Crossing]


class Outcome(Struct):
    """What a policy did on one day, or on many."""

    requests: int = 0
    local_s: list[float] = field(default_factory=list)  # from a crossing by use here to its detection
    elsewhere_s: list[float] = field(default_factory=list)
    resets_s: list[float] = field(default_factory=list)
    missed: int = 0

    @property
    def delays_s(self) -> list[float]:
        """From each crossing to its detection."""
        return self.local_s + self.elsewhere_s


# --- the days --------------------------------------------------------------------------------------------------------


def make_day(kind: str, model: Model, draw: random.Random) -> Day:
    """One day of a kind, for one provider's window."""
    rates, here, elsewhere = _use_quota(kind, draw)
    awake = [True] * STEPS
    if kind == "sleep":
        for start, end in ((0.0, 8.6), (12.4, 13.6), (18.1, 20.0), (22.5, 24.0)):
            for step in range(_step(start), _step(end)):
                awake[step] = False
    percent, turn, resets = _windows([rate * model.share for rate in rates], model.window, draw)
    worked = [step for step in range(STEPS) if here[step]]
    looks = sorted(draw.sample(worked, min(len(worked), max(1, len(worked) * STEP_S // 2700))))
    local = sorted({*worked, *_touch_files(draw)})
    notes = list(_write_notes(here, draw)) if model.notes else []
    return Day(percent, turn, resets, local, notes, looks, awake, _find_crossings(percent, turn, awake, elsewhere))


def _use_quota(kind: str, draw: random.Random) -> tuple[list[float], list[bool], list[bool]]:
    """Percent of a session per step; whether the person works on this machine; whether on another one."""
    rates, here, elsewhere = [0.0] * STEPS, [False] * STEPS, [False] * STEPS
    for start, end, per_hour in _stretches(kind, draw):
        place = here if draw.random() >= ELSEWHERE else elsewhere
        for step in range(_step(start), min(_step(end), STEPS)):
            # An agent uses tokens in gulps: most steps nothing, some a lot.
            if draw.random() < 0.3:
                rates[step] += draw.expovariate(1) * per_hour * STEP_S / 3600 / 0.3
            place[step] = True
    return rates, here, elsewhere


def _write_notes(here: Sequence[bool], draw: random.Random) -> Iterator[int]:
    """When an agent heard from the server: many times a turn, sometimes without numbers."""
    step = 0
    while step < STEPS:
        if here[step] and draw.random() >= NO_NUMBERS:
            yield step
        step += draw.randint(1, 6)


def _touch_files(draw: random.Random) -> Iterator[int]:
    """Steps at which a tool writes to its folders although it uses no quota of this account."""
    for _ in range(draw.randint(1, 3)):
        start = draw.uniform(8, 22)
        yield from range(_step(start), min(_step(start + draw.uniform(0.1, 0.7)), STEPS))


def _stretches(kind: str, draw: random.Random) -> Iterator[tuple[float, float, float]]:
    """Start and end in hours, and percent of a session per hour."""
    steady = [(8.8, 12.4), (13.5, 18.1)]
    if kind == "idle":
        for _ in range(draw.randint(1, 3)):
            start = draw.uniform(9, 21)
            yield start, start + draw.uniform(0.1, 0.3), draw.uniform(10, 25)
    if kind in {"steady", "sleep"}:
        for start, end in steady:
            yield from _pieces(start + draw.uniform(-0.3, 0.3), end, draw, 14, 30)
    if kind == "mixed":
        yield from _pieces(9 + draw.uniform(-0.3, 0.3), 12.2, draw, 14, 30)
    if kind in {"bursts", "mixed"}:
        for _ in range(draw.randint(4, 7) if kind == "bursts" else 3):
            start = draw.uniform(9, 20) if kind == "bursts" else draw.uniform(14, 19)
            yield start, start + draw.uniform(0.15, 0.45), draw.uniform(80, 240)
    if kind == "bursts":
        yield from _pieces(9, 18, draw, 4, 10)


def _pieces(start: float, end: float, draw: random.Random, slow: float, fast: float) -> Iterator[tuple[float, ...]]:
    """Work goes on for a while at one speed, pauses, and goes on at another."""
    while start < end:
        until = min(start + draw.uniform(0.2, 0.9), end)
        yield start, until, draw.uniform(slow, fast)
        start = until + draw.choice((0.0, 0.05, 0.25))


def _windows(gains: Sequence[float], window: str, draw: random.Random) -> tuple[list[int], list[int], list[int | None]]:
    used = draw.uniform(68, 79) if window == "month" else 0.0
    ends: int | None = {"day": STEPS, "month": STEPS * 9}.get(window)
    percent, turns, resets, turn = [], [], [], 0
    for step, gain in enumerate(gains):
        if ends is not None and step >= ends:
            used, ends, turn = 0.0, None, turn + 1
        if ends is None and gain:
            ends = step + 5 * 3600 // STEP_S
        used = min(used + gain, 100.0)
        percent.append(int(used))
        turns.append(turn)
        resets.append(ends)
    return percent, turns, resets


def _find_crossings(
    percent: Sequence[int], turn: Sequence[int], awake: Sequence[bool], elsewhere: Sequence[bool]
) -> list[Crossing]:
    """While the machine sleeps nobody can notice: such a crossing counts from the moment it wakes."""
    found = []
    for threshold in THRESHOLDS:
        seen: set[int] = set()
        for step in range(STEPS):
            if percent[step] > threshold and awake[step] and turn[step] not in seen:
                seen.add(turn[step])
                if step and percent[0] <= threshold:
                    found.append(Crossing(step, turn[step], threshold, elsewhere[step]))
    return found


def _step(hours: float) -> int:
    return int(hours * 3600 / STEP_S)


# --- the policies ----------------------------------------------------------------------------------------------------


class Seen(Struct):
    """What a policy has learned so far."""

    asked: list[int] = field(default_factory=list)
    learned: list[tuple[int, int]] = field(default_factory=list)  # (when it was known, of which step)
    value: int = 0
    samples: tuple[forecast.Sample, ...] = ()
    changed: int | None = None
    resets: int | None = None
    woke: int | None = None
    note: int | None = None  # step of the last note that was read

    def learn(self, day: Day, known: int, step: int) -> None:
        """Take in what was true at a step."""
        if not self.learned or day.percent[step] != self.value:
            self.changed = step
        self.value, self.resets = day.percent[step], day.resets[step]
        self.samples = forecast.add_sample(self.samples, _at(step), self.value)
        self.learned.append((known, step))


Policy = Callable[[Seen, Day, Model, int], int]  # -> the step at which to ask, or to think again


def fixed(minutes: int) -> Policy:
    """Every so many minutes, come what may."""

    def choose(seen: Seen, _day: Day, _model: Model, step: int) -> int:
        return seen.asked[-1] + minutes * 60 // STEP_S if seen.asked else step

    return choose


def menu(seen: Seen, day: Day, _model: Model, step: int) -> int:
    """Often while somebody looks at the menu, half-hourly when nobody does."""
    if not seen.asked:
        return step
    looked = bisect_right(day.looks, step)
    idle_s = (step - day.looks[looked - 1]) * STEP_S if looked else NEVER
    minutes = 2 if idle_s < 300 else 5 if idle_s < 1800 else 15 if idle_s < 3600 else 30
    due = seen.asked[-1] + minutes * 60 // STEP_S
    following = day.looks[looked] if looked < len(day.looks) else NEVER  # opening the menu makes it think again
    return min(due, following) if following > step else due


def ours(*, hint: bool) -> Policy:
    """`watcher.polling.interval`, with or without what the tools leave in their folders, as `Poller` uses both."""

    def choose(seen: Seen, day: Day, model: Model, step: int) -> int:
        if hint and seen.asked:
            _read_note(seen, day, step)
        now = _at(step)
        choice = choose_next_poll(_make_context(seen, day, model, step, hint=hint), now)
        instants = [at for at in (choice.at, choice.recheck_at) if at is not None]
        if hint and seen.note is not None:
            instants.append(now + NEWS_CHECK_EVERY)
        return max(-int(-(min(instants) - MIDNIGHT).total_seconds() // STEP_S), 0)

    return choose


def _read_note(seen: Seen, day: Day, step: int) -> None:
    """Take in the newest note, unless an answer is newer."""
    written = bisect_right(day.notes, step)
    newest = day.notes[written - 1] if written else None
    if newest is not None and newest != seen.note:
        seen.note = newest
        if newest > seen.learned[-1][1]:
            seen.learn(day, step, newest)


def _make_context(seen: Seen, day: Day, model: Model, step: int, *, hint: bool) -> PollContext:
    if not seen.asked:
        return PollContext(pace=model.pace)
    used = bisect_right(day.local, step)
    active = _at(day.local[used - 1]) if used else MIDNIGHT - timedelta(days=1)
    length_s = {"session": 5 * 3600, "day": 24 * 3600}.get(model.window, 30 * 24 * 3600)
    outlook = SeriesOutlook(
        name=model.window,
        used_percent=float(seen.value),
        thresholds=THRESHOLDS,
        rate=forecast.estimate_rate(seen.samples, timedelta(seconds=length_s)),
        changed_at=None if seen.changed is None else _at(seen.changed),
        resets_at=None if seen.resets is None else _at(seen.resets),
        window_seconds=length_s,
    )
    polled, asked = seen.learned[-1][1], seen.asked[-1]
    return PollContext(
        pace=model.pace,
        polled_at=_at(polled),
        requested_at=_at(asked) if asked < polled else None,
        series_outlooks=(outlook,),
        recent_requests=tuple(_at(asked) for asked in seen.asked[-130:] if (step - asked) * STEP_S < 3600),
        active_at=active if hint else None,
        woke_at=None if seen.woke is None else _at(seen.woke),
    )


def _at(step: int) -> datetime:
    return MIDNIGHT + timedelta(seconds=step * STEP_S)


# --- a day under a policy --------------------------------------------------------------------------------------------


def live(day: Day, model: Model, policy: Policy) -> Outcome:
    """Ask as the policy says and note when what was seen."""
    seen, step = Seen(), 0
    while step < STEPS:
        if not day.awake[step]:
            step = next((later for later in range(step, STEPS) if day.awake[later]), STEPS)
            seen.woke = step
            continue
        due = policy(seen, day, model, step)
        if due > step:
            step = min(due, _falls_asleep(day, step))
            continue
        seen.asked.append(step)
        seen.learn(day, step, step)
        step += 1
    return _judge(day, seen)


def _falls_asleep(day: Day, step: int) -> int:
    if all(day.awake):
        return NEVER
    return next((later for later in range(step, STEPS) if not day.awake[later]), NEVER)


def _judge(day: Day, seen: Seen) -> Outcome:
    outcome = Outcome(requests=len(seen.asked))
    for crossing in day.crossings:
        noticed = next(
            ((known, of) for known, of in seen.learned if of >= crossing.step and day.percent[of] > crossing.threshold),
            None,
        )
        if noticed is None or day.turn[noticed[1]] != crossing.turn:
            outcome.missed += 1
        else:
            delay_s = sum(day.awake[crossing.step : noticed[0]]) * STEP_S
            (outcome.elsewhere_s if crossing.elsewhere else outcome.local_s).append(delay_s)
    for step in range(1, STEPS):
        if day.turn[step] != day.turn[step - 1] and day.percent[step - 1]:
            known = next((known for known, of in seen.learned if of >= step), None)
            if known is not None:
                outcome.resets_s.append(sum(day.awake[step:known]) * STEP_S)
    return outcome


# --- the report ------------------------------------------------------------------------------------------------------

POLICIES: dict[str, Policy] = {
    "ours": ours(hint=True),
    "ours, no hints": ours(hint=False),
    "fixed 5 min": fixed(5),
    "fixed 10 min": fixed(10),
    "menu adaptive": menu,
}


def measure(model: Model, policy: Policy, days: int, seed: int) -> tuple[dict[str, float], Outcome]:
    """The requests a day for each kind of day, and all outcomes together; the same days for every policy."""
    requests, whole = {}, Outcome()
    for kind in DAYS:
        count = 0
        for number in range(days):
            draw = random.Random(f"{seed} {kind} {model.window} {number}")
            outcome = live(make_day(kind, model, draw), model, policy)
            count += outcome.requests
            whole.local_s += outcome.local_s
            whole.elsewhere_s += outcome.elsewhere_s
            whole.resets_s += outcome.resets_s
            whole.missed += outcome.missed
        requests[kind] = count / days
    return requests, whole


def main() -> None:
    """Print one table for each provider, and whether the goal is met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks cadence", description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=30, help="days of each kind (default 30)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--provider", choices=[model.name for model in MODELS], help="only this one")
    options = parser.parse_args()
    print(f"{options.days} days of each kind: {', '.join(DAYS)}; thresholds {THRESHOLDS[0]:g} and {THRESHOLDS[1]:g} %")
    for model in MODELS:
        if options.provider in {None, model.name}:
            _report(
                model, {name: measure(model, policy, options.days, options.seed) for name, policy in POLICIES.items()}
            )


def _report(model: Model, rows: dict[str, tuple[dict[str, float], Outcome]]) -> None:
    count = len(rows["ours"][1].delays_s) + rows["ours"][1].missed
    print(
        f"\n{model.name}: minimum {_span(model.pace.floor.total_seconds())}, {model.window} window, {count} crossings"
    )
    print(f"{'':15}{'requests a day':^30}{'crossing noticed after':^25}{'elsewhere':^12}{'reset':^12}")
    print(f"{'':15}" + "".join(f"{kind:>6}" for kind in DAYS), end="")
    print(f"{'med':>7}{'p95':>6}{'max':>6}{'miss':>6}{'med':>6}{'p95':>6}{'med':>6}{'max':>6}")
    for name, (requests, outcome) in rows.items():
        delays_s, resets_s = outcome.delays_s, outcome.resets_s
        counts = "".join(f"{requests[kind]:6.0f}" for kind in DAYS)
        delays = f"{_span(_middle(delays_s)):>7}{_span(_high(delays_s)):>6}{_span(max(delays_s, default=0)):>6}"
        elsewhere = f"{_span(_middle(outcome.elsewhere_s)):>6}{_span(_high(outcome.elsewhere_s)):>6}"
        resets = f"{_span(_middle(resets_s)):>6}{_span(max(resets_s, default=0)):>6}"
        print(f"{name:15}{counts}{delays}{outcome.missed:>6}{elsewhere}{resets}")
    print(_verdict(rows))


def _verdict(rows: dict[str, tuple[dict[str, float], Outcome]]) -> str:
    (mine, outcome), (tenth, _) = rows["ours"], rows["fixed 10 min"]
    half, most = _middle(outcome.delays_s), _high(outcome.delays_s)
    misses = [f"median {_span(half)}, not under {_span(GOAL_MEDIAN_S)}"] if half >= GOAL_MEDIAN_S else []
    misses += [f"p95 {_span(most)}, not under {_span(GOAL_P95_S)}"] if most >= GOAL_P95_S else []
    misses += [
        f"{mine[kind]:.0f} requests on {kind} days, not under {tenth[kind]:.0f}"
        for kind in CHEAP_DAYS
        if mine[kind] >= tenth[kind]
    ]
    return "goal missed: " + "; ".join(misses) if misses else "goal met"


def _middle(values: Sequence[float]) -> float:
    return median(values) if values else 0.0


def _high(values: Sequence[float]) -> float:
    return sorted(values)[min(int(len(values) * 0.95), len(values) - 1)] if values else 0.0


def _span(seconds: float) -> str:
    return (
        f"{seconds:.0f}s" if seconds < 120 else f"{seconds / 60:.1f}m" if seconds < 3600 else f"{seconds / 3600:.1f}h"
    )
