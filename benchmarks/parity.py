"""Rules on Prometheus against the same rules here: every transition, over the timelines of the tests and random ones.

`python -m benchmarks parity [SEED]`. Needs Debian's `promtool`. Each history goes through the engine and, as what a
watcher exports each minute, through the compiled rules in `promtool test rules`.
"""

import random
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import tomli_w

from tests.core.engine.timeline_files import Player, Timeline, lines
from watcher.core.engine.matching import compile_rule
from watcher.core.engine.staleness import OFFLINE_KIND
from watcher.core.model import PollFailure, PollResult, Reading, Snapshot, WindowKind
from watcher.core.rules.loader import parse_rules
from watcher.prometheus.compiler import CompiledAlert, CompileOptions, compile_rules
from watcher.prometheus.parity import Comparison, Difference, PromtoolError, compare_history
from watcher.system.process import run_command

RANDOM_TIMELINES = 500
START = datetime(2026, 3, 4, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
KEPT_FOR = timedelta(days=7)  # of which nothing is known
TIMELINES = "timelines of the tests"


class Construct(NamedTuple):
    """A construct of the rule language, and random histories for it."""

    rule: dict[str, Any]
    is_exact: bool = True  # by the table of docs/prometheus.md
    lost_polls: float = 0.06  # the part of the polls that fail
    glitches: float = 0.01  # the part of the readings that show 0, and are not believed
    outage: int = 1  # how many polls fail in a row


HALF = "claude.five_hour > 50%"
CONSTRUCTS = {
    "threshold": Construct({"when": "claude.five_hour > 80%"}),
    "own clear": Construct({"when": "claude.five_hour > 80%", "clear": "< 60%"}),
    "levels": Construct({"when": "claude.five_hour > level", "levels": {"warning": "70%", "critical": "90%"}}),
    "for": Construct({"when": HALF, "for": "10m"}, lost_polls=0, glitches=0),
    "kind": Construct({"when": "*.session >= 75%"}),
    "primary": Construct({"when": "claude > 80%"}),
    "logic": Construct({"when": "claude.five_hour > 60% and not (resets_in > 2h or remaining_percent > 30%)"}),
    "remaining": Construct({"when": "claude.five_hour.remaining_percent < 25%"}),
    "amounts": Construct({"when": "claude.five_hour.remaining < 300 or used >= 900", "clear": "remaining > 400"}),
    "another window": Construct({"when": f"{HALF} and claude.seven_day > 60%"}),
    "rate": Construct({"when": "claude.five_hour.rate > 30%"}),
    "forecast": Construct({"when": "claude.five_hour.exhausts_in < 45m and resets_in > 30m"}),
    "projected": Construct({"when": "claude.five_hour.projected > 120%"}),
    "active in UTC": Construct({"when": HALF, "active": "10:00-12:00", "tz": "UTC"}),
    "age": Construct({"when": "claude.age > 8m"}),
    "up": Construct({"when": "not claude.up"}),
    "up, for": Construct({"when": "not claude.up", "for": "10m"}, outage=4),
    "for over lost polls": Construct({"when": HALF, "for": "10m"}, is_exact=False, lost_polls=0.2),
    "use beside silence": Construct(
        {"when": "claude.age > 12m and used_percent > 50%"}, is_exact=False, lost_polls=0.05, outage=8
    ),
    "active in another zone": Construct({"when": HALF, "active": "10:00-12:00", "tz": "Europe/Berlin"}, is_exact=False),
}


def main() -> None:
    """Print how the transitions compare, by construct."""
    source = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    skipped: Counter[str] = Counter()
    rows: dict[str, Comparison] = {}
    for timeline in _load_timelines():
        name, found = _compare_timeline(timeline, skipped)
        rows[name] = rows.get(name, Comparison()) + found
    for number in range(RANDOM_TIMELINES):
        name = [*CONSTRUCTS][number % len(CONSTRUCTS)]
        construct = CONSTRUCTS[name]
        history = list(_make_history(source, construct))
        found = compare_history(_compile(construct.rule), history, CompileOptions(), run_command, every=5 * MINUTE)
        rows[name] = rows.get(name, Comparison()) + found
    print(f"{'construct':34} {'called':11} {'agree':>6} {'one later':>9} {'differ':>6}  largest difference")
    exact = Comparison()
    for name, row in rows.items():
        is_exact = CONSTRUCTS[name].is_exact if name in CONSTRUCTS else name == TIMELINES
        exact += row if is_exact else Comparison()
        called, differ = "exact" if is_exact else "approximate", len(row.differences)
        print(f"{name:34} {called:11} {row.agree:6} {row.near:9} {differ:6}  {_describe_differences(row.differences)}")
        for each in row.differences[:3] if is_exact else ():
            print(f"    {each.at:%d %H:%M} {each.rule} on {each.series} {each.event}: ", end="")
            print("engine alone" if each.engine else "Prometheus alone")
    total = exact.agree + exact.near + len(exact.differences)
    print(f"exact constructs: {exact.agree + exact.near} of {total} agree or are one evaluation later; goal: all")
    print(
        "texts alone are approximate: title, message. Left out:", ", ".join(f"{n} {why}" for why, n in skipped.items())
    )


def _describe_differences(differences: Sequence[Difference]) -> str:
    """How far apart the same transition is on both sides, and how many only one side made."""
    left = [each for each in differences if each.prometheus]
    gaps, alone = [timedelta(0)], 0
    for each in (each for each in differences if each.engine):
        same = [
            other for other in left if (other.rule, other.series, other.event) == (each.rule, each.series, each.event)
        ]
        nearest = min(same, key=lambda other: abs(other.at - each.at), default=None)
        if nearest is None:
            alone += 1
        else:
            left.remove(nearest)
            gaps.append(abs(nearest.at - each.at))
    if not differences:
        return "-"
    return f"{max(gaps) // MINUTE} min; only the engine {alone}, only Prometheus {len(left)}"


def _load_timelines() -> Iterator[Timeline]:
    folder = Path(__file__).parents[1] / "tests" / "core" / "engine" / "timelines"
    for path in sorted(folder.glob("*.toml")):
        yield from msgspec.convert(tomllib.loads(path.read_text("utf-8"))["timeline"], list[Timeline])


def _compile(table: dict[str, Any]) -> list[CompiledAlert]:
    text = tomli_w.dumps({"rule": [{"name": "r", **table}]})
    compiled, refused = compile_rules(parse_rules(text, "r.toml"), CompileOptions(), lambda _path: text)
    assert not refused
    return compiled


def _compare_timeline(timeline: Timeline, skipped: Counter[str]) -> tuple[str, Comparison]:
    """The row of one timeline of the tests, and its comparison: empty where it has what cannot be compared."""
    if timeline.edits:
        skipped["rules edited on the way"] += 1
        return TIMELINES, Comparison()
    player = Player(timeline)
    compiled, refused = compile_rules(player.rules, CompileOptions(), lambda _path: "")
    history: list[PollResult] = []
    for line in lines(timeline):
        history += [each for each in player._make_results(line) if each is not None]  # noqa: SLF001 - the tests' player
    moments = [each.at for each in history]
    approximate = _find_approximation(timeline, history)
    name = f"timelines: {approximate}" if approximate else TIMELINES
    if refused or not compiled:
        skipped["rule refused"] += 1
    elif moments != sorted(moments) or not history:
        skipped["clock set back"] += 1
    else:
        try:
            return name, compare_history(compiled, history, CompileOptions(), run_command, every=player.every)
        except PromtoolError:
            skipped["longer than two weeks"] += 1
    return name, Comparison()


def _find_approximation(timeline: Timeline, history: Sequence[PollResult]) -> str:
    """What of a timeline docs/prometheus.md calls approximate; empty: nothing."""
    player = Player(timeline)
    is_disbelieved = any(state.suspect for _ in player.play() for state in player.engine_state.series_states.values())
    rules = [compile_rule(each) for each in player.rules]
    about_silence = [each for each in rules if each.is_availability_rule]
    failures = [each.kind for each in history if isinstance(each, PollFailure)]
    reasons = {
        "use beside silence": any(each.resolves_on_reset for each in about_silence),
        "one notice while offline": bool(about_silence) and OFFLINE_KIND in failures,
        "active in another zone": any(each.rule.active and each.rule.active.tz != "UTC" for each in rules),
        "window of a name that tells nothing": "code:" in timeline.row,
        "nothing known for days": _find_longest_gap(history) > KEPT_FOR,
        "for over lost polls": any(each.rule.pending_for for each in rules) and bool(failures or is_disbelieved),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _find_longest_gap(history: Sequence[PollResult]) -> timedelta:
    """The longest time between two answers of one account."""
    longest, known_at = timedelta(0), dict[str, datetime]()
    for each in history:
        if isinstance(each, Snapshot):
            longest = max(longest, each.at - known_at.get(each.account, each.at))
            known_at[each.account] = each.at
    return longest


def _make_history(source: random.Random, construct: Construct) -> Iterator[PollResult]:
    """Six hours of polls: use rises and rests, the window resets, polls fail, readings glitch."""
    used, at, resets_at = source.uniform(30, 80), START, START + timedelta(hours=source.randint(2, 4))
    week, failing = source.uniform(40, 60), 0
    while at < START + timedelta(hours=6):
        if at >= resets_at:
            used, resets_at = source.uniform(0, 10), resets_at + timedelta(hours=5)
        used, week = min(used + max(source.gauss(2, 4), 0), 110), week + max(source.gauss(0.3, 0.5), 0)
        shown = round(0.0 if source.random() < construct.glitches else used, 1)
        if failing or source.random() < construct.lost_polls:
            failing = failing - 1 if failing else source.randint(1, construct.outage) - 1
            yield PollFailure(provider="claude", at=at, kind="timeout", message="no answer")
        else:
            session = Reading(
                window="five_hour",
                kind=WindowKind.SESSION,
                used_percent=shown,
                used=Decimal(int(shown * 10)),
                limit=Decimal(1000),
                remaining=Decimal(1000 - int(shown * 10)),
                unit="requests",
                resets_at=resets_at,
                window_seconds=18000,
                source="api",
            )
            weekly = Reading(window="seven_day", kind=WindowKind.WEEKLY, used_percent=round(week, 1), source="api")
            yield Snapshot(provider="claude", at=at, readings=(session, weekly))
        at += 5 * MINUTE
