"""How long the commands that run many times a minute take from cold, as multiples of a bare interpreter.

Each command runs as its own process, all of them in turn, and its median is compared with that of `python -c pass` in
the same run: a ratio travels between machines, milliseconds do not. Where `ccusage` is installed it is measured too.
Ends with 1 when a limit is exceeded.
"""

import argparse
import os
import shutil
import statistics
import subprocess  # noqa: TID251 - measures programs from outside
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from watcher.core.model import Reading, Snapshot, WindowKind
from watcher.status.builder import write_status
from watcher.storage.store import DATABASE_FILE_NAME, Store

LIMITS = {
    "--help": 10.3,
    "--version": 10.3,
    "check": 13.5,
    "guard": 9.9,
    "status": 9.75,
    "status --format line": 2.5,
    "ingest claude-statusline": 5.0,
}
"""Command -> how many bare interpreters it may take."""

BARE = "python -c pass"
CHECK_APART = (
    "import os, sys; os.environ['WATCHER_STATE_DIR'] = sys.argv[1]; sys.argv[1:] = ['check'];"
    " from watcher.cli import main; main()"
)
RUNS = 15


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks startup", description=__doc__)
    arguments.add_argument("--runs", type=int, default=RUNS, help="runs of each command")
    runs = arguments.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder))
        took = measure(commands(Path(folder)), {**os.environ, "WATCHER_STATE_DIR": folder, "HOME": folder}, runs)
    bare = took[BARE]
    for name, seconds in took.items():
        limit = LIMITS.get(name)
        ratio = seconds / bare
        bound = "" if limit is None else f"  at most {limit:.1f}" + ("" if ratio <= limit else "  EXCEEDED")
        print(f"{name:28} {seconds * 1000:7.1f} ms {ratio:6.1f} x{bound}")
    sys.exit(any(took[name] / bare > limit for name, limit in LIMITS.items()))


def commands(folder: Path) -> dict[str, list[str]]:
    """Name -> command line, the bare interpreter first. `check` has no login, and a state folder of its own."""
    watcher = [sys.executable, "-m", "watcher"]
    apart = [sys.executable, "-c", CHECK_APART, str(folder / "apart")]
    found = {
        BARE: [sys.executable, "-c", "pass"],
        "status --format line": [*watcher, "status", "--format", "line"],
        "ingest claude-statusline": [*watcher, "ingest", "claude-statusline"],
        "--help": [*watcher, "--help"],
        "--version": [*watcher, "--version"],
        "check": apart,
        "guard": [*watcher, "guard", "claude < 90%"],
        "status": [*watcher, "status"],
    }
    other = shutil.which("ccusage")
    return found if other is None else {**found, "ccusage --version": [other, "--version"]}


def measure(lines: dict[str, list[str]], env: dict[str, str], runs: int) -> dict[str, float]:
    """The median of each command in seconds; taken in turn, so that a busy moment hits all of them."""
    took: dict[str, list[float]] = {name: [] for name in lines}
    for _ in range(runs + 1):
        for name, line in lines.items():
            began = time.perf_counter()
            subprocess.run(line, env=env, input=b'{"model": {}}', capture_output=True, check=False)
            took[name].append(time.perf_counter() - began)
    return {name: statistics.median(each[1:]) for name, each in took.items()}  # the first one fills the caches


def fill(state: Path) -> None:
    """A database and a `status.json` as six providers leave them."""
    now = datetime.now(UTC)  # noqa: TID251 - the commands read the machine's clock too
    store = Store(state / DATABASE_FILE_NAME, now=now)
    for provider in ("antigravity", "claude", "codex", "copilot", "gemini_cli", "nano_gpt"):
        readings = tuple(
            Reading(
                window=f"window_{i}", kind=WindowKind.SESSION, used_percent=10.0 * i, resets_at=now + timedelta(hours=i)
            )
            for i in range(6)
        )
        snapshot = Snapshot(provider=provider, at=now, readings=readings)
        store.run_transaction(lambda snapshot=snapshot: store.readings.save_result(snapshot), now=now)
    write_status(store, None, now=now)
    store.close()
