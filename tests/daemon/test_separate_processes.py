"""`watcher check`, again and again, says what `watcher replay` says of the same history: two ways through one core.

Each answer is judged by a process of its own: the store is opened, one thing is observed, the store is closed.
"""

import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from watcher import pipeline
from watcher.config import loader
from watcher.core.engine import replay
from watcher.core.engine import replay as history
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system.paths import Paths

BEGAN = datetime(2026, 3, 4, 9, tzinfo=UTC)
WINDOW = timedelta(hours=5)
RULES = """
[[rule]]
name = "plain"
when = "claude.five_hour > 80%"
clear = "< 70%"
remind = "1h"

[[rule]]
name = "ladder"
when = "*.session > level"
levels = { info = "50%", warning = "80%", critical = "95%" }
on = ["firing", "escalated", "resolved", "reset"]

[[rule]]
name = "holds"
when = "*.session > 80% and codex.weekly < 50%"
for = "12m"

[[rule]]
name = "overage"
when = "copilot.remaining < 0"

[[rule]]
name = "ahead"
when = "*.session.exhausts_in < 1h and projected > 100%"

[[rule]]
name = "down"
when = "not claude.up"
"""

used = st.sampled_from([0, 3, 20, 50, 71, 79.5, 81, 85, 95, 100])
boundary = st.sampled_from(["right", "right", "right", "jitter", "missing", "moved", "old"])
answer = st.one_of(
    st.tuples(st.just("claude"), used, boundary, st.sampled_from(["", "b"])),
    st.tuples(st.just("claude"), used, boundary, st.just("")),
    st.tuples(st.just("codex"), used),
    st.tuples(st.just("copilot"), st.integers(-20, 300)),
)
silence = st.tuples(st.just("error"), st.sampled_from(["timeout", "expired", "offline"]))
poll = st.tuples(st.sampled_from([1, 5, 5, 5, 30, 400]), st.one_of(answer, answer, answer, silence))


def line(what, at):
    """One answer as a line of a history."""
    sort_transitions = {"at": at.isoformat()}
    if what[0] == "error":
        return sort_transitions | {"provider": "claude", "error": what[1]}
    if what[0] == "codex":
        return sort_transitions | {"provider": "codex", "window": "weekly", "used_percent": what[1]}
    if what[0] == "copilot":
        return sort_transitions | {
            "provider": "copilot",
            "window": "premium_interactions",
            "remaining": what[1],
            "limit": 300,
        }
    turn = BEGAN + WINDOW * ((at - BEGAN) // WINDOW + 1)
    moved = {
        "right": turn,
        "jitter": turn + timedelta(milliseconds=what[1] * 7),
        "missing": None,
        "moved": at + WINDOW,
        "old": turn - WINDOW,
    }[what[2]]
    resets_at = None if moved is None else moved.isoformat()
    return sort_transitions | {
        "provider": "claude",
        "account": what[3],
        "window": "five_hour",
        "used_percent": what[1],
        "resets_at": resets_at,
    }


def replay_transitions(book, news):
    moments = replay.replay_rules(book, news)
    return [each for moment in moments for each in moment.transitions]


def run_processes(home, book, news):
    """What separate processes say, and what the store then recalls."""
    own = Paths(config_dir=home / "config", state_dir=home / "state")
    own.config_dir.mkdir(parents=True)
    own.config_file.write_text(RULES)
    own.config_file.chmod(0o600)
    loaded = loader.load_config(own, lambda text: text, Path("/nowhere"))
    assert [rule.name for rule in loaded.rules] == [rule.name for rule in book]
    paces = replay.measure_intervals(news)
    said = []
    for each in news:
        store = Store(own.state_dir / DATABASE_FILE_NAME, now=each.at)
        every = paces.get(each.provider, replay.DEFAULT_INTERVAL)
        said += pipeline.process_result(store, loaded, each, now=each.at, every=every).transitions
        store.close()
    store = Store(own.state_dir / DATABASE_FILE_NAME, now=news[-1].at)
    recalled = store.readings.load_poll_results(BEGAN - timedelta(days=1))
    kept = store.alerts.load_transitions(since=BEGAN - timedelta(days=1))
    store.close()
    return said, kept, recalled


def sort_transitions(transitions):
    return sorted(
        (each.at, each.rule, str(each.series), each.event, each.severity, each.reason) for each in transitions
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(poll, min_size=1, max_size=20))
def test_processes_one_after_another_decide_what_a_replay_decides(polls):
    at, lines = BEGAN, []
    for minutes, what in polls:
        at += timedelta(minutes=minutes)
        lines.append(json.dumps(line(what, at)))
    news = list(history.build_poll_results(history.read_history_lines(map(str.encode, lines), "readings.jsonl", set())))
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        book = loader.load_config(_paths(home), lambda text: text, Path("/nowhere")).rules
        said, kept, recalled = run_processes(home / "lived", book, news)
        assert sort_transitions(said) == sort_transitions(replay_transitions(book, news))
        assert sort_transitions(kept) == sort_transitions(said)
        assert sort_transitions(replay_transitions(book, recalled)) == sort_transitions(said)


def _paths(home):
    own = Paths(config_dir=home / "config", state_dir=home / "state")
    own.config_dir.mkdir(parents=True)
    own.config_file.write_text(RULES)
    own.config_file.chmod(0o600)
    return own
