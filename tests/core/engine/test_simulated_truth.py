"""Simulated quotas, read with failures, gaps and false values: only true alerts are reported, and each once.

A history is drawn by its seed: windows of several lengths, use in small or 20 % steps, idle hours, polls of a minute to
an hour. Some polls fail or miss the window, boundaries jitter, and now and then one reading is false: 0 or 100.
"""

import json
import random
from datetime import UTC, datetime, timedelta

import pytest

from watcher.core.engine import replay
from watcher.core.model import AlertEvent
from watcher.core.rules.loader import parse_rules

BEGAN = datetime(2026, 3, 4, 9, tzinfo=UTC)
RULES = parse_rules('[[rule]]\nname = "s"\nwhen = "*.* > 80%"\nclear = "< 70%"\n', "rules.toml")
WINDOWS = {  # minutes: length, how far polls may be apart
    ("claude", "five_hour"): (300, (1, 5, 10)),
    ("claude", "seven_day"): (7 * 1440, (30, 60)),
    ("copilot", "premium_interactions"): (30 * 1440, (30, 60, 120)),
}
APART = 6  # polls between two faults


def simulate(seed):
    """(lines as recorded, what was true at each instant: episode and percent)."""
    rng = random.Random(seed)
    (provider, window), (length, paces) = rng.choice(list(WINDOWS.items()))
    every, step, dated = rng.choice(paces), rng.choice([0, 1, 20]), rng.random() < 0.7
    pace = rng.choice([0.3, 1, 2]) * 100 / length
    ends, used, episode, fault, idle = length * (1 - rng.random()), 0.0, 0, 0, False
    lines, truth = [], {}
    for poll in range(min(int(2.5 * length / every), 600)):
        minute = poll * every
        if minute >= ends:
            ends, used, episode, fault = ends + length, 0.0, episode + 1, poll
        idle = idle if rng.random() > 0.02 else not idle
        used = used if idle else min(100, used + pace * every * rng.uniform(0, 2))
        shown = round(used // step * step if step else used, 3)
        at = BEGAN + timedelta(minutes=minute)
        truth[at] = (episode, shown)
        line = {"at": at.isoformat(), "provider": provider, "window": window, "used_percent": shown}
        if dated:
            line["resets_at"] = (BEGAN + timedelta(minutes=ends + rng.uniform(-0.5, 0.5))).isoformat()
        what = rng.random() if poll - fault > APART and minute + APART * every < ends else 1.0
        fault = poll if what < 0.1 else fault
        if what < 0.03:
            line = {"at": at.isoformat(), "provider": provider, "error": "timeout"}
        elif what < 0.05:
            line["used_percent"] = None
        elif what < 0.1:
            line["used_percent"] = 0 if shown > 35 else 100
        lines.append(json.dumps(line).encode())
    return lines, truth


@pytest.mark.parametrize("seed", range(40))
def test_only_true_alerts_are_reported_and_each_once(seed):
    lines, truth = simulate(seed)
    results = list(replay.build_poll_results(replay.read_history_lines(lines, "simulated", set())))
    transitions = [each for step in replay.replay_rules(RULES, results) for each in step.transitions]
    fired = [truth[each.at][0] for each in transitions if each.event is AlertEvent.FIRING]
    assert len(fired) == len(set(fired)), "once in each window"
    fired_in = -1
    for each in transitions:
        episode, used = truth[each.at]
        if each.event is AlertEvent.FIRING:
            assert used > 80, f"false alarm at {each.at}"
            fired_in = episode
        elif each.reason == "reset":
            assert episode > fired_in, f"no window had turned over by {each.at}"
        else:
            assert used < 70, f"not over at {each.at}"
    over = {}
    for episode, used in truth.values():
        over[episode] = over.get(episode, 0) + (used > 80)
    missed = [episode for episode, polls in over.items() if polls >= APART and episode not in fired]
    assert missed == []
