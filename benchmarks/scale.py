"""One machine with much to watch: 20 accounts, 40 providers by file, 200 windows, 100 rules.

- from a poll's answer to its decision: CPU of the evaluation, the plan of messages and the transaction, and of all that
  the daemon does after it (`status.json`, the time of the next poll);
- memory of a process that does so, beside one with six accounts of two windows and 50 rules;
- the database after a simulated year of polls, and `status`, `history` and `report` on it.

Ends with 1 where a goal is missed. Linux only: memory is what the kernel says.
"""

import argparse
import json
import math
import os
import resource
import statistics
import subprocess  # noqa: TID251 - what is measured must be another process
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

from msgspec import structs

from watcher import pipeline
from watcher.config import loader as configuration
from watcher.config.loader import Config
from watcher.core.engine import thresholds
from watcher.core.model import DeliveryState, Reading, Snapshot, WindowKind
from watcher.polling.interval import PollContext, choose_next_poll
from watcher.providers.registry import PROVIDERS, read_index
from watcher.status.builder import write_status
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import clock
from watcher.system.paths import Paths

CHILD = "--child"
SMALL, LARGE = (6, 2, 50, 0), (20, 10, 100, 40)  # accounts, windows of each, rules, providers by file
ROUNDS = 20
EVERY = timedelta(minutes=10)
DAYS, FULL_DAYS = 365, 30  # of these, so many with every poll; before, the readings that remain after a month
GOALS = {"decision": 20.0, "memory": 6.0, "database": 60.0, "command": 1.0}


def lay_out(folder: Path, rules: int, by_file: int) -> Paths:
    """A config with so many rules and providers by file, of which the catalogue is a part."""
    paths = Paths(config_dir=folder / "config", state_dir=folder / "state")
    for each in (paths.config_dir, paths.state_dir, paths.providers_dir):
        each.mkdir(parents=True, exist_ok=True)
    for number in range(max(by_file - len(read_index()), 0)):
        text = f'id = "own_{number}"\nname = "Own {number}"\ntoken = ["env:OWN_{number}"]\n'
        text += '[[request]]\nurl = "https://example.com/usage"\n'
        text += '[[window]]\nid = "monthly"\nkind = "monthly"\nused = "used"\nlimit = "limit"\n'
        (paths.providers_dir / f"own_{number}.toml").write_text(text, "utf-8")
    enabled = "".join(f"[providers.{each.id}]\nenabled = true\n" for each in read_index()) if by_file else ""
    tables = "".join(
        f'[[rule]]\nname = "r{number}"\nwhen = "{condition}"\n' for number, condition in _conditions(rules)
    )
    channel = '[channels.hook]\ntype = "webhook"\nurl = "http://127.0.0.1:9/"\n[route]\ndefault = ["hook"]\n'
    paths.config_file.write_text(channel + enabled + tables, "utf-8")
    paths.config_file.chmod(0o600)
    return paths


def _conditions(count: int) -> list[tuple[int, str]]:
    shapes = (
        "*.* > {}%",
        "claude.* > {}%",
        "*.weekly > {}% and resets_in > 1h",
        "codex.age > {}m",
        "*.* > {}% or rate > 50%",
    )
    return [(number, shapes[number % len(shapes)].format(50 + number % 50)) for number in range(count)]


def make_snapshots(accounts: int, windows: int, now: datetime) -> list[Snapshot]:
    """One answer of each account; use rises by day and rests at night."""
    names = ("claude", "codex", "copilot", "nano_gpt", "gemini_cli", "antigravity")
    share = 0.5 - 0.5 * math.cos(now.timestamp() / 86_400 * 2 * math.pi)
    return [
        Snapshot(
            provider=names[number % len(names)],
            account=f"a{number}",
            account_name=f"a{number}@example.com",
            at=now,
            readings=tuple(
                Reading(
                    window=f"w{window}",
                    kind=WindowKind.WEEKLY,
                    used_percent=round(share * (40 + number + window), 1),
                    resets_at=now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=7),
                    window_seconds=604_800,
                )
                for window in range(windows)
            ),
        )
        for number in range(accounts)
    ]


def load(paths: Paths) -> Config:
    """The config in force."""
    return configuration.load_config(paths, lambda secret: secret, paths.config_dir)


def run_polls(paths: Paths, accounts: int, windows: int) -> tuple[float, float]:
    """Median ms of CPU of one poll: to its decision, and with all that follows."""
    config = load(paths)
    now = clock.utc_now() - ROUNDS * EVERY
    store = Store(paths.state_dir / DATABASE_FILE_NAME, now=now)
    decisions, wholes = [], []
    for _ in range(ROUNDS):
        now += EVERY
        for snapshot in make_snapshots(accounts, windows, now):
            began_s = time.process_time()
            pipeline.process_result(store, config, snapshot, now=now, every=EVERY)
            decisions.append(time.process_time() - began_s)
            write_status(store, config, now=now)
            state = store.alerts.load_state()
            outlook = thresholds.build_outlook(state, config.rules, snapshot.provider, snapshot.account)
            pace = config.providers[snapshot.provider].pace
            choose_next_poll(PollContext(pace=pace, polled_at=now, series_outlooks=outlook.series_outlooks), now)
            wholes.append(time.process_time() - began_s)
            sent = [structs.replace(each, state=DeliveryState.SENT) for each in store.outbox.load()]
            store.run_transaction(lambda sent=sent: store.outbox.update(sent), now=now)  # type: ignore[misc]
    store.close()
    return statistics.median(decisions) * 1000, statistics.median(wholes) * 1000


def child(folder: Path, accounts: int, windows: int) -> None:
    """Print how this process stands after its polls."""
    paths = Paths(config_dir=folder / "config", state_dir=folder / "state")
    decision_ms, whole_ms = run_polls(paths, accounts, windows)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text("ascii").splitlines())
    found = {"decision": decision_ms, "whole": whole_ms, "rss": int(status["VmRSS"].split()[0]) / 1024}
    print(json.dumps({**found, "providers": len(PROVIDERS)}))


def measure(folder: Path, size: tuple[int, int, int, int]) -> dict[str, float]:
    """What a process of this size reports."""
    accounts, windows, rules, by_file = size
    lay_out(folder, rules, by_file)
    command = [sys.executable, "-OO", "-m", "benchmarks", "scale", CHILD, str(folder), str(accounts), str(windows)]
    env = {name: value for name, value in os.environ.items() if name != "WATCHER_STATE_DIR"} | {"MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def simulate_year(folder: Path, accounts: int, windows: int) -> tuple[float, float]:
    """MB of the database after a year of polls, and the largest that it was, with its journal."""
    path = folder / "state" / DATABASE_FILE_NAME
    path.unlink(missing_ok=True)
    midnight = clock.utc_now().replace(hour=0, minute=0, second=0, microsecond=0)
    began, largest = midnight - timedelta(days=DAYS), 0.0
    store = Store(path, now=began)
    for day in range(DAYS):
        every = EVERY if day >= DAYS - FULL_DAYS else timedelta(hours=1)
        start = began + timedelta(days=day)

        def work(start: datetime = start, every: timedelta = every) -> None:
            for poll in range(timedelta(days=1) // every):
                for snapshot in make_snapshots(accounts, windows, start + poll * every):
                    store.readings.save_result(snapshot)
            store.delete_old_records(start + timedelta(days=1))

        store.run_transaction(work, now=start)
        store.reserve_room()
        largest = max(largest, _measure_size(path))
    store.close()
    paths = Paths(config_dir=folder / "config", state_dir=folder / "state")
    run_polls(paths, accounts, windows)  # `status` shows what the daemon left
    return _measure_size(path), largest


def _measure_size(path: Path) -> float:
    return sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*")) / 2**20


def time_command(folder: Path, *words: str) -> tuple[float, float]:
    """Seconds of CPU and of the clock that a command takes, each the median of three runs."""
    env = {**os.environ, "WATCHER_CONFIG_DIR": str(folder / "config"), "WATCHER_STATE_DIR": str(folder / "state")}
    cpu, took = [], []
    for _ in range(3):
        began_s, before = clock.monotonic_s(), resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "watcher", *words]
        subprocess.run(command, env=env | {"HOME": str(folder)}, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(clock.monotonic_s() - began_s)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(cpu), statistics.median(took)


def main() -> None:
    """Print each figure beside its goal; exit 1 where one is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(CHILD, nargs=3, dest="child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(Path(options.child[0]), int(options.child[1]), int(options.child[2]))
        return
    missed = []

    def show(what: str, value: float, unit: str, goal: float) -> None:
        is_missed = value >= goal
        missed.append(is_missed)
        aim = "" if math.isinf(goal) else f"  goal {goal:g}{'  MISSED' if is_missed else ''}"
        print(f"{what:<46}{value:>8.2f} {unit:<3}{aim}", flush=True)

    accounts, windows, rules, _by_file = LARGE
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small, large = measure(folder / "small", SMALL), measure(folder / "large", LARGE)
        print(f"{accounts} accounts, {accounts * windows} windows, {rules} rules, {large['providers']:.0f} providers")
        show("from a poll to its decision, CPU", large["decision"], "ms", GOALS["decision"])
        show("  with status.json and the next poll's time", large["whole"], "ms", math.inf)
        show(
            f"memory beyond the {small['rss']:.1f} MB of six accounts",
            large["rss"] - small["rss"],
            "MB",
            GOALS["memory"],
        )
        size, largest = simulate_year(folder / "large", accounts, windows)
        show("database after a year", size, "MB", GOALS["database"])
        show("  at most, with its journal", largest, "MB", math.inf)
        for words in (("status",), ("history",), ("report", "-o", "-")):
            cpu_s, took_s = time_command(folder / "large", *words)
            show(f"watcher {words[0]}, CPU ({took_s:.2f} s by the clock)", cpu_s, "s", GOALS["command"])
    sys.exit(any(missed))
