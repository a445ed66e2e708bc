"""How soon a crossing is noticed and how many requests that costs: our policy, fixed intervals, a menu's adaptive one.

Simulated days of five kinds are polled by each policy for each provider. A provider answers in whole percents, as most
do. A crossing is noticed by the first answer above the threshold within the same window; one that no answer shows
before the window turns is missed. Hours in which the machine sleeps do not count as delay: nobody could be told.
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
from watcher.core.model import Pace, make_pace
from watcher.polling.interval import PollContext, choose_next_poll
from watcher.providers.registry import PROVIDERS

STEP_S = 10
STEPS = 24 * 3600 // STEP_S
MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = ("idle", "steady", "bursts", "mixed", "sleep")
CHEAP_DAYS = ("idle", "mixed")  # those on which we must ask less often than every ten minutes
THRESHOLDS = (80.0, 95.0)
NEVER = 10**9


class Model(Struct, frozen=True):
    """One provider as far as polling is concerned."""

    name: str
    pace: Pace
    window: str  # session, day or month
    share: float  # of this window that one percent of a session is


def _model(provider: str, window: str, share: float) -> Model:
    facts = PROVIDERS[provider]
    return Model(provider, make_pace(facts.min_interval, facts.default_interval, facts.max_interval), window, share)


MODELS = (
    _model("claude", "session", 1.0),
    _model("codex", "session", 1.0),
    _model("copilot", "month", 0.06),
    _model("nano_gpt", "day", 0.65),
    _model("gemini_cli", "day", 0.65),
    _model("antigravity", "session", 1.0),
)


class Day(Struct):
    """What is true, in steps of `STEP_S`, and when the machine can ask at all."""

    percent: list[int]  # reported
    turn: list[int]  # which window it is
    resets: list[int | None]  # step of that window's end
    local: list[int]  # steps at which the tools on this machine wrote to their session folders
    looks: list[int]  # steps at which the person opens a menu
    awake: list[bool]
    crossings: list[tuple[int, int, float]]  # step, turn, threshold


class Outcome(Struct):
    """What a policy did on one day."""

    requests: int = 0
    delays_s: list[float] = field(default_factory=list)
    resets_s: list[float] = field(default_factory=list)
    missed: int = 0


# --- the days --------------------------------------------------------------------------------------------------------


def make_day(kind: str, model: Model, draw: random.Random) -> Day:
    """One day of a kind, for one provider's window."""
    rates, local, looks = _activity(kind, draw)
    awake = [True] * STEPS
    if kind == "sleep":
        for start, end in ((0.0, 8.6), (12.4, 13.6), (18.1, 20.0), (22.5, 24.0)):
            for step in range(_step(start), _step(end)):
                awake[step] = False
    percent, turn, resets = _windows([rate * model.share for rate in rates], model.window, draw)
    return Day(percent, turn, resets, local, looks, awake, _crossings(percent, turn, awake))


def _activity(kind: str, draw: random.Random) -> tuple[list[float], list[int], list[int]]:
    """Percent of a session per step; the steps of local use; the steps at which a person looks at a menu."""
    rates, here = [0.0] * STEPS, [False] * STEPS
    for start, end, per_hour, is_local in _stretches(kind, draw):
        for step in range(_step(start), min(_step(end), STEPS)):
            # An agent uses tokens in gulps: most steps nothing, some a lot.
            if draw.random() < 0.3:
                rates[step] += draw.expovariate(1) * per_hour * STEP_S / 3600 / 0.3
            here[step] = here[step] or is_local
    worked = [step for step in range(STEPS) if here[step]]
    looks = sorted(draw.sample(worked, min(len(worked), max(1, len(worked) * STEP_S // 2700))))
    return rates, worked, looks


def _stretches(kind: str, draw: random.Random) -> Iterator[tuple[float, float, float, bool]]:
    """Start and end in hours, percent of a session per hour, and whether it happens on this machine."""
    steady = [(8.8, 12.4), (13.5, 18.1)]
    if kind == "idle":
        for _ in range(draw.randint(1, 3)):
            start = draw.uniform(9, 21)
            yield start, start + draw.uniform(0.1, 0.3), draw.uniform(10, 25), True
    if kind in {"steady", "sleep"}:
        for start, end in steady:
            yield from _pieces(start + draw.uniform(-0.3, 0.3), end, draw, 14, 30)
    if kind == "mixed":
        yield from _pieces(9 + draw.uniform(-0.3, 0.3), 12.2, draw, 14, 30)
    if kind in {"bursts", "mixed"}:
        for _ in range(draw.randint(4, 7) if kind == "bursts" else 3):
            start = draw.uniform(9, 20) if kind == "bursts" else draw.uniform(14, 19)
            yield start, start + draw.uniform(0.15, 0.45), draw.uniform(80, 240), draw.random() < 0.85
    if kind == "bursts":
        yield from _pieces(9, 18, draw, 4, 10)


def _pieces(
    start: float, end: float, draw: random.Random, slow: float, fast: float
) -> Iterator[tuple[float, float, float, bool]]:
    """Work goes on for a while at one speed, pauses, and goes on at another."""
    while start < end:
        until = min(start + draw.uniform(0.2, 0.9), end)
        yield start, until, draw.uniform(slow, fast), draw.random() < 0.9
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


def _crossings(percent: Sequence[int], turn: Sequence[int], awake: Sequence[bool]) -> list[tuple[int, int, float]]:
    """While the machine sleeps nobody can notice: such a crossing counts from the moment it wakes."""
    found = []
    for threshold in THRESHOLDS:
        seen: set[int] = set()
        for step in range(STEPS):
            if percent[step] > threshold and awake[step] and turn[step] not in seen:
                seen.add(turn[step])
                if step and percent[0] <= threshold:
                    found.append((step, turn[step], threshold))
    return sorted(found)


def _step(hours: float) -> int:
    return int(hours * 3600 / STEP_S)


# --- the policies ----------------------------------------------------------------------------------------------------


class Seen(Struct):
    """What a policy has learned so far."""

    asked: list[int] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    samples: tuple[forecast.Sample, ...] = ()
    changed: int | None = None
    resets: int | None = None
    woke: int | None = None


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
    """`watcher.polling.interval`, with or without a glance at the tools' session folders."""

    def choose(seen: Seen, day: Day, model: Model, step: int) -> int:
        sight = _sight(seen, day, model, step, hint=hint)
        now = _at(step)
        choice = choose_next_poll(sight, now)
        instants = [at for at in (choice.at, choice.recheck_at) if at is not None]
        return max(-int(-(min(instants) - MIDNIGHT).total_seconds() // STEP_S), 0)

    return choose


def _sight(seen: Seen, day: Day, model: Model, step: int, *, hint: bool) -> PollContext:
    if not seen.asked:
        return PollContext(pace=model.pace)
    used = bisect_right(day.local, step)
    active = _at(day.local[used - 1]) if used else MIDNIGHT - timedelta(days=1)
    length_s = {"session": 5 * 3600, "day": 24 * 3600}.get(model.window, 30 * 24 * 3600)
    watch = SeriesOutlook(
        name=model.window,
        used_percent=float(seen.values[-1]),
        thresholds=THRESHOLDS,
        rate=forecast.estimate_rate(seen.samples, timedelta(seconds=length_s)),
        changed_at=None if seen.changed is None else _at(seen.changed),
        resets_at=None if seen.resets is None else _at(seen.resets),
        window_seconds=length_s,
    )
    recent = tuple(_at(asked) for asked in seen.asked[-130:] if (step - asked) * STEP_S < 3600)
    return PollContext(
        pace=model.pace,
        polled_at=_at(seen.asked[-1]),
        series_outlooks=(watch,),
        recent_requests=recent,
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
        value = day.percent[step]
        if not seen.values or value != seen.values[-1]:
            seen.changed = step
        seen.asked.append(step)
        seen.values.append(value)
        seen.samples = forecast.add_sample(seen.samples, _at(step), value)
        seen.resets = day.resets[step]
        step += 1
    return _judged(day, seen)


def _falls_asleep(day: Day, step: int) -> int:
    if all(day.awake):
        return NEVER
    return next((later for later in range(step, STEPS) if not day.awake[later]), NEVER)


def _judged(day: Day, seen: Seen) -> Outcome:
    outcome = Outcome(requests=len(seen.asked))
    for crossed, turn, threshold in day.crossings:
        noticed = next((at for at in seen.asked if at >= crossed and day.percent[at] > threshold), None)
        if noticed is None or day.turn[noticed] != turn:
            outcome.missed += 1
        else:
            outcome.delays_s.append(sum(day.awake[crossed:noticed]) * STEP_S)
    for step in range(1, STEPS):
        if day.turn[step] != day.turn[step - 1] and day.percent[step - 1]:
            noticed = next((at for at in seen.asked if at >= step), None)
            if noticed is not None:
                outcome.resets_s.append(sum(day.awake[step:noticed]) * STEP_S)
    return outcome


# --- the report ------------------------------------------------------------------------------------------------------

POLICIES: dict[str, Policy] = {
    "ours": ours(hint=True),
    "ours, no hint": ours(hint=False),
    **{f"fixed {minutes} min": fixed(minutes) for minutes in (1, 5, 10, 15)},
    "menu adaptive": menu,
}


class Row(Struct):
    """One policy for one provider, over all days of all kinds."""

    requests: dict[str, float]
    delays_s: list[float]
    resets_s: list[float]
    missed: int


def measure(model: Model, policy: Policy, days: int, seed: int) -> Row:
    """The same days for every policy."""
    row = Row({}, [], [], 0)
    for kind in DAYS:
        outcomes = [
            live(make_day(kind, model, random.Random(f"{seed} {kind} {model.name} {number}")), model, policy)
            for number in range(days)
        ]
        row.requests[kind] = sum(outcome.requests for outcome in outcomes) / days
        for outcome in outcomes:
            row.delays_s += outcome.delays_s
            row.resets_s += outcome.resets_s
            row.missed += outcome.missed
    return row


def main() -> None:
    """Print one table for each provider, and whether the goal is met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks cadence", description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=12, help="days of each kind (default 12)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--provider", choices=[model.name for model in MODELS], help="only this one")
    options = parser.parse_args()
    print(f"{options.days} days of each kind: {', '.join(DAYS)}; thresholds {THRESHOLDS[0]:g} and {THRESHOLDS[1]:g} %")
    for model in MODELS:
        if options.provider in {None, model.name}:
            _report(
                model, {name: measure(model, policy, options.days, options.seed) for name, policy in POLICIES.items()}
            )


def _report(model: Model, rows: dict[str, Row]) -> None:
    print(f"\n{model.name}: floor {_span(model.pace.floor.total_seconds())}, {model.window} window")
    print(f"{'':15}{'requests a day':^30}{'crossing noticed after':^25}{'reset':^9}")
    print(
        f"{'':15}"
        + "".join(f"{kind:>6}" for kind in DAYS)
        + f"{'med':>7}{'p95':>6}{'max':>6}{'miss':>6}{'med':>6}{'max':>6}"
    )
    for name, row in rows.items():
        requests = "".join(f"{row.requests[kind]:6.0f}" for kind in DAYS)
        delays = (
            f"{_span(_middle(row.delays_s)):>7}{_span(_high(row.delays_s)):>6}{_span(max(row.delays_s, default=0)):>6}"
        )
        resets = f"{_span(_middle(row.resets_s)):>6}{_span(max(row.resets_s, default=0)):>6}"
        broken = "  breaks the floor" if name == "fixed 1 min" and model.pace.floor > timedelta(minutes=1) else ""
        print(f"{name:15}{requests}{delays}{row.missed:>6}{resets}{broken}")
    print(_verdict(model, rows))


def _verdict(model: Model, rows: dict[str, Row]) -> str:
    mine, tenth = rows["ours"], rows["fixed 10 min"]
    misses = []
    if _middle(mine.delays_s) >= 90:
        misses.append(f"median {_span(_middle(mine.delays_s))}, not under 90s")
    if _high(mine.delays_s) >= 300:
        misses.append(f"p95 {_span(_high(mine.delays_s))}, not under 5m")
    misses += [
        f"{mine.requests[kind]:.0f} requests on {kind} days, not under {tenth.requests[kind]:.0f}"
        for kind in CHEAP_DAYS
        if mine.requests[kind] >= tenth.requests[kind]
    ]
    if not misses:
        return "goal met"
    if model.name == "antigravity":
        return "goal missed: " + "; ".join(misses) + "; these are looks at a local file, no request is made"
    floor = model.pace.floor.total_seconds()
    why = f"; a floor of {_span(floor)} alone gives a median of {_span(floor / 2)} blind" if floor / 2 >= 90 else ""
    return "goal missed: " + "; ".join(misses) + why


def _middle(values: Sequence[float]) -> float:
    return median(values) if values else 0.0


def _high(values: Sequence[float]) -> float:
    return sorted(values)[min(int(len(values) * 0.95), len(values) - 1)] if values else 0.0


def _span(seconds: float) -> str:
    return (
        f"{seconds:.0f}s" if seconds < 120 else f"{seconds / 60:.1f}m" if seconds < 3600 else f"{seconds / 3600:.1f}h"
    )
