"""What rules say to a history stays the same, transition by transition: timelines and random walks, frozen."""

import sys
from collections import defaultdict
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from blackbox_replays import Case, replay_batch, select_transitions
from blackbox_world import DATA, load

CASES = [Case(**load(path)) for path in sorted((DATA / "replays").glob("*.json"))]
BATCHES: dict[str, list[Case]] = defaultdict(list)
for each in CASES:
    BATCHES[each.batch].append(each)


@cache
def replayed(batch: str) -> str:
    """What one process printed of all cases of a batch."""
    with TemporaryDirectory() as folder:
        ran = replay_batch(BATCHES[batch], Path(folder), sys.executable)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}: {case.says}")
def test_a_history_gives_the_same_transitions(case):
    found = [
        {key: each.get(key) for key in ("at", "rule", "series", "event", "severity", "reason")}
        for each in select_transitions(case, replayed(case.batch))
    ]
    assert found == case.expected


def test_no_frozen_case_is_missing_or_empty():
    assert len(CASES) >= 250
    assert len({case.name for case in CASES}) == len(CASES)
    assert sum(len(case.expected) for case in CASES) >= 500
