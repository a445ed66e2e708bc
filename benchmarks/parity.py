"""Rules on Prometheus against the same rules here: every transition, over the timelines of the tests and random ones.

`python -m benchmarks parity [SEED]`. Needs Debian's `promtool`. Each history goes through the engine and, as what a
watcher exports each minute, through the compiled rules in `promtool test rules`.
"""

import random
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from tests.core.engine.timeline_files import Player, Timeline, lines
from watcher.core.model import PollFailure, PollResult, Reading, Snapshot, WindowKind
from watcher.core.rules.loader import parse_rules
from watcher.prometheus.compiler import CompiledAlert, CompileOptions, compile_rules
from watcher.prometheus.parity import Comparison, PromtoolError, compare_history
from watcher.system.process import run_command

RANDOM_TIMELINES = 500
START = datetime(2026, 3, 4, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RULES: dict[str, dict[str, Any]] = {
    "threshold": {"when": "claude.five_hour > 80%"},
    "own clear": {"when": "claude.five_hour > 80%", "clear": "< 60%"},
    "levels": {"when": "claude.five_hour > level", "levels": {"warning": "70%", "critical": "90%"}},
    "for": {"when": "claude.five_hour > 80%", "for": "10m"},
    "kind": {"when": "*.session >= 75%"},
    "primary": {"when": "claude > 80%"},
    "logic": {"when": "claude.five_hour > 60% and not (resets_in > 2h or remaining_percent > 30%)"},
    "remaining": {"when": "claude.five_hour.remaining_percent < 25%"},
    "forecast": {"when": "claude.five_hour.exhausts_in < 45m and resets_in > 30m"},
    "projected": {"when": "claude.five_hour.projected > 120%"},
    "age": {"when": "claude.age > 8m"},
    "up": {"when": "not claude.up"},
}
"""Construct -> a rule with it."""


def main() -> None:
    """Print how the transitions compare, by construct."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    rows: dict[str, Comparison] = {}
    skipped: Counter[str] = Counter()
    for timeline in _load_timelines():
        found = _compare_timeline(timeline, skipped)
        if found is not None:
            rows["timelines of the tests"] = rows.get("timelines of the tests", Comparison()) + found
    source = random.Random(seed)
    for number in range(RANDOM_TIMELINES):
        construct = [*RULES][number % len(RULES)]
        history = list(_make_history(source))
        found = compare_history(_compile(RULES[construct]), history, CompileOptions(), run_command, every=5 * MINUTE)
        rows[construct] = rows.get(construct, Comparison()) + found
    print(f"{'construct':24} {'agree':>7} {'one later':>10} {'differ':>7}")
    for name, row in rows.items():
        print(f"{name:24} {row.agree:7} {row.near:10} {len(row.differences):7}")
        for each in row.differences[:3]:
            print(
                f"    {each.at:%d %H:%M} {each.series} {each.event}: {'engine' if each.engine else 'Prometheus'} alone"
            )
    print("timelines left out:", ", ".join(f"{why} {count}" for why, count in skipped.most_common()))


def _load_timelines() -> Iterator[Timeline]:
    folder = Path(__file__).parents[1] / "tests" / "core" / "engine" / "timelines"
    for path in sorted(folder.glob("*.toml")):
        yield from msgspec.convert(tomllib.loads(path.read_text("utf-8"))["timeline"], list[Timeline])


def _compile(table: dict[str, Any]) -> list[CompiledAlert]:
    text = tomli_w.dumps({"rule": [{"name": "r", **table}]})
    compiled, refused = compile_rules(parse_rules(text, "r.toml"), CompileOptions(), lambda _path: text)
    assert not refused
    return compiled


def _compare_timeline(timeline: Timeline, skipped: Counter[str]) -> Comparison | None:
    """One timeline of the tests; None where it has what cannot be compared."""
    if timeline.edits:
        skipped["rules edited on the way"] += 1
        return None
    player = Player(timeline)
    compiled, refused = compile_rules(player.rules, CompileOptions(), lambda _path: "")
    if refused or not compiled:
        skipped["rule refused"] += 1
        return None
    history: list[PollResult] = []
    for line in lines(timeline):
        history += [each for each in player._make_results(line) if each is not None]  # noqa: SLF001 - the tests' player
    moments = [each.at for each in history]
    if moments != sorted(moments) or not history:
        skipped["clock set back"] += 1
        return None
    try:
        return compare_history(compiled, history, CompileOptions(), run_command, every=player.every)
    except PromtoolError:
        skipped["longer than two weeks"] += 1
        return None


def _make_history(source: random.Random) -> Iterator[PollResult]:
    """Six hours of polls: use rises and rests, the window resets, polls fail, readings glitch."""
    used, at, resets_at = source.uniform(30, 80), START, START + timedelta(hours=source.randint(2, 4))
    while at < START + timedelta(hours=6):
        if at >= resets_at:
            used, resets_at = source.uniform(0, 10), resets_at + timedelta(hours=5)
        used = min(used + max(source.gauss(2, 4), 0), 110)
        shown = 0.0 if source.random() < 0.01 else used
        if source.random() < 0.06:
            yield PollFailure(provider="claude", at=at, kind="timeout", message="no answer")
        else:
            reading = Reading(
                window="five_hour",
                kind=WindowKind.SESSION,
                used_percent=round(shown, 1),
                resets_at=resets_at,
                window_seconds=18000,
                source="api",
            )
            yield Snapshot(provider="claude", at=at, readings=(reading,))
        at += 5 * MINUTE


if __name__ == "__main__":
    main()
