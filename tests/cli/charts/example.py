"""A week that was never lived, for the picture in the README: the same on every machine, drawn from readings alone."""

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

from watcher.cli.charts import TimeRange, Track, svg
from watcher.core.engine import evaluator, thresholds
from watcher.core.engine.evaluator import EngineState
from watcher.core.engine.timeline import build_usage_history
from watcher.core.model import Reading, Series, Snapshot, Transition, WindowKind
from watcher.core.rules.loader import parse_rules

FILE = Path(__file__).parents[3] / "docs" / "usage.svg"
START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
SPAN = TimeRange(start=START, end=START + timedelta(days=7), tz=UTC)
STEP = timedelta(minutes=10)
SESSION, WEEK = Series(provider="claude", window="five_hour"), Series(provider="claude", window="seven_day")
RULES = """
[[rule]]
name = "session"
when = "claude.five_hour > level"
levels = { warning = "80%", critical = "95%" }
[[rule]]
name = "week"
when = "claude.seven_day > 70%"
"""


def draw() -> str:
    """The picture."""
    snapshots = list(_week())
    rules = parse_rules(RULES, "example.toml", channels=())
    memory, sent = EngineState({}, {}), list[Transition]()
    for snapshot in snapshots:
        judged = evaluator.evaluate_poll(rules, memory, snapshot, snapshot.at, every=STEP, tz=UTC)
        memory = evaluator.apply_evaluation(memory, judged)
        sent += judged.transitions
    tracks = [
        Track(
            name=name,
            usage_history=build_usage_history(series, [(each.at, each.readings[index]) for each in snapshots]),
            threshold_lines=thresholds.find_threshold_lines(memory.series_states[series], rules),
            transitions=tuple(each for each in sent if each.series == series),
        )
        for index, (series, name) in enumerate(((SESSION, "Claude, 5-hour window"), (WEEK, "Claude, 7-day window")))
    ]
    return svg.render_svg(tracks, SPAN, title="AI usage, last 7 days")


def _week():
    """Use on weekdays; at night the machine sleeps, and nothing is read."""
    used, week, ends = 0.0, 31.0, START + timedelta(hours=13)
    turns = START + timedelta(days=3, hours=15)
    for step in range(int(timedelta(days=7) / STEP)):
        at = START + step * STEP
        if at >= ends:
            used = 0.0
        if at >= turns:
            week, turns = 0.0, turns + timedelta(days=7)
        hour = at.hour + at.minute / 60
        if 8 <= hour < 19 and at.weekday() < 5:
            if not used:
                ends = at + timedelta(hours=5)
            pace = 1.5 + 2.2 * math.sin(at.day * 1.9 + at.hour / 3.1) ** 2
            used, week = min(used + pace, 100.0), week + pace / 9
        if not 1 <= hour < 7:
            yield Snapshot(provider="claude", at=at, readings=(_session(used, at, ends), _seven_days(week, turns)))


def _session(used, at, ends):
    return Reading(
        window="five_hour",
        kind=WindowKind.SESSION,
        label="5-hour window",
        used_percent=round(used, 1),
        resets_at=ends if used else at + timedelta(hours=5),
        window_seconds=5 * 3600,
    )


def _seven_days(week, turns):
    return Reading(
        window="seven_day",
        kind=WindowKind.WEEKLY,
        label="7-day window",
        used_percent=round(week, 1),
        resets_at=turns,
        window_seconds=7 * 86400,
    )


if __name__ == "__main__":
    FILE.write_text(draw(), "utf-8")
