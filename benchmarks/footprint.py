"""How little the daemon costs: memory, processor, wake-ups, descriptors, threads, database, and whether anything grows.

*At rest*: `watcher run` as a process, six providers on a loopback server, fifty rules, twenty polls of each, then left
alone. *Over time*: the same daemon in a process of its own, under a clock that leaps from job to job and a day that
repeats, for thousands of polls. With `--peer`, claude-monitor is installed into a folder of its own and run beside it.
Linux only: it reads /proc.
"""

import argparse
import json
import os
import platform
import pty
import re
import subprocess  # noqa: TID251 - starts what is measured
import sys
import tempfile
import threading
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from msgspec import Struct

from watcher.core.redaction import Redactor
from watcher.daemon import Daemon
from watcher.demo import machine
from watcher.demo.clock import FastClock, HeldCalls
from watcher.demo.day import Day
from watcher.demo.server import Asked, Reply, Server
from watcher.log import Log
from watcher.providers.registry import PROVIDERS
from watcher.store import FILE_NAME, Store

RULES = 50
ROUNDS = 20
GOAL_MB, GOAL_CPU_S = 30.0, 2.0
FASTEST = 2_000_000.0  # simulated seconds in a second, while nothing is at work
CHILD = "--over-time-child"
TICKS = os.sysconf("SC_CLK_TCK")


class Sample(Struct):
    """A process as the kernel sees it."""

    rss_mb: float
    cpu_s: float
    wakeups: int
    descriptors: int
    threads: int


def sample(process_id: int) -> Sample:
    """Read /proc."""
    folder = Path("/proc") / str(process_id)
    status = (folder / "status").read_text()
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    tasks = [(task / "status").read_text() for task in (folder / "task").iterdir()]
    return Sample(
        rss_mb=_number(status, "VmRSS") / 1024,
        cpu_s=(int(fields[11]) + int(fields[12])) / TICKS,
        wakeups=sum(_number(task, "voluntary_ctxt_switches") for task in tasks),
        descriptors=len(list((folder / "fd").iterdir())),
        threads=len(tasks),
    )


def _number(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    return int(found.group(1)) if found else 0


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


# --- a place to measure in -------------------------------------------------------------------------------------------


@contextmanager
def place(clock: FastClock) -> Iterator[tuple[Path, Server]]:
    """A folder with home, config and fifty rules, and the providers on a server; every day is the demonstration's."""

    def answer(asked: Asked) -> Reply:
        if asked.path == machine.ALERTS:
            return Reply(status=204)
        return machine.answer(asked, clock, today(clock))

    with tempfile.TemporaryDirectory(prefix="watcher-footprint-") as name, Server(answer, remember=0) as server:
        folder = Path(name)
        machine.lay_out(folder, server.url, today(clock), desktop=False)
        config = machine.paths(folder).config_file
        text = config.read_text("utf-8").replace('[poll]\nevery = "10m"\n', "")
        config.write_text(text + rules(RULES - 2), "utf-8")
        yield folder, server


def today(clock: FastClock) -> Day:
    """The simulated day, put on the clock's own date."""
    return Day(clock.now().replace(hour=0, minute=0, second=0, microsecond=0))


def rules(count: int) -> str:
    """Rules of three kinds over all providers."""
    subjects = ("claude.five_hour", "*.weekly", "codex.five_hour", "copilot", "*.session", "nano_gpt.daily", "*.daily")
    conditions = ("{0} > {1}%", "{0}.projected > {1}% and resets_in > 1h", "{0}.remaining_percent < {1}%")
    tables = []
    for number in range(count):
        condition = conditions[number % len(conditions)].format(subjects[number % len(subjects)], 40 + number)
        tables.append(f'[[rule]]\nname = "rule-{number}"\nwhen = "{condition}"\nfor = "{1 + number % 7}m"\n')
    return "\n".join(tables)


# --- at rest ---------------------------------------------------------------------------------------------------------


def at_rest(seconds: float) -> dict[str, float]:
    """`watcher run` after twenty polls of each provider, then left alone for so long."""
    clock = FastClock(Day().at("12:00"), 1)
    with place(clock) as (folder, _):
        own = machine.paths(folder)
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "WATCHER_CONFIG_DIR": str(own.config_dir),
            "WATCHER_STATE_DIR": str(own.state_dir),
            "GEMINI_CLIENT_ID": "i",
            "GEMINI_CLIENT_SECRET": "s",
        }
        watcher = [sys.executable, "-m", "watcher"]
        process = subprocess.Popen([*watcher, "run"], env=env)
        try:
            _pause(3)
            first = sample(process.pid)
            for _ in range(ROUNDS):
                subprocess.run([*watcher, "status", "--refresh"], env=env, check=False, stdout=subprocess.DEVNULL)
            busy = sample(process.pid)
            _pause(seconds)
            quiet = sample(process.pid)
        finally:
            process.terminate()
            process.wait(10)
    a_poll = (busy.cpu_s - first.cpu_s) / ROUNDS / len(PROVIDERS)
    polls_an_hour = sum(timedelta(hours=1) / provider.default for provider in PROVIDERS.values())
    return {
        "rss_mb": quiet.rss_mb,
        "cpu_s_an_hour": a_poll * polls_an_hour + (quiet.cpu_s - busy.cpu_s) * 3600 / seconds,
        "wakeups_a_minute": (quiet.wakeups - busy.wakeups) * 60 / seconds,
        "descriptors": quiet.descriptors,
        "threads": quiet.threads,
    }


# --- over time -------------------------------------------------------------------------------------------------------


def over_time(polls: int) -> list[dict[str, float]]:
    """Ten samples of a daemon that is asked to make so many polls; the child prints them."""
    command = [sys.executable, "-m", "benchmarks", "footprint", CHILD, str(polls)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


class Counting(HeldCalls):
    """Counts polls as they end, and ends the daemon after the last."""

    def __init__(self, clock: FastClock, most: int, every: int, folder: Path) -> None:
        super().__init__(clock)
        self.polls, self._most, self._every, self._folder = 0, most, every, folder
        self.daemon: Daemon | None = None

    def count(self, began: float) -> None:
        """One more poll; print a sample at every tenth of the way."""
        self.polls += 1
        if self.polls % self._every == 0:
            now = sample(os.getpid())
            size = sum(file.stat().st_size for file in machine.paths(self._folder).state_dir.glob(f"{FILE_NAME}*"))
            days = (self._clock.now().timestamp() - began) / 86_400
            print(json.dumps({"polls": self.polls, "days": days, "rss_mb": now.rss_mb, "descriptors": now.descriptors,
                              "threads": now.threads, "db_mb": size / 1e6}), flush=True)  # fmt: skip
        if self.polls >= self._most and self.daemon is not None:
            self.daemon.stop()


def live(polls: int) -> None:
    """The child: a daemon whose clock leaps from job to job."""
    clock = FastClock(Day().at("7:00"), FASTEST)
    clock.hold()
    with place(clock) as (folder, _):
        calls = Counting(clock, polls, max(polls // 10, 1), folder)
        began = clock.now().timestamp()
        own = machine.paths(folder)
        day_doors = machine.doors(folder, clock, today(clock))

        class Told(Log):
            def detail(self, message: str) -> None:  # noqa: ARG002
                calls.count(began)

            def crash(self, where: str, error: BaseException) -> None:
                raise SystemExit(f"{where}: {error!r}")

        store = Store(own.state_dir / FILE_NAME, now=clock.now())
        daemon = Daemon(paths=own, doors=day_doors, store=store, log=Told(), redactor=Redactor(), calls=calls)
        calls.daemon = daemon
        clock.release()
        daemon.run()
        store.close()


# --- beside a peer ---------------------------------------------------------------------------------------------------


def peer(seconds: float) -> Sample | None:
    """claude-monitor in a terminal of its own, after a while; None where it cannot be had or does not stay."""
    with tempfile.TemporaryDirectory(prefix="watcher-peer-") as name:
        folder = Path(name)
        venv.create(folder / "venv", with_pip=True)
        pip = [str(folder / "venv" / "bin" / "pip"), "install", "-q", "claude-monitor"]
        if subprocess.run(pip, check=False, capture_output=True).returncode != 0:
            return None
        (folder / ".claude" / "projects" / "demo").mkdir(parents=True)
        ours, theirs = pty.openpty()
        threading.Thread(target=_swallow, args=(ours,), daemon=True).start()
        env = {"HOME": name, "PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
        command = [str(folder / "venv" / "bin" / "claude-monitor"), "--plan", "pro"]
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
        os.close(theirs)
        try:
            _pause(10)
            if process.poll() is not None:
                return None
            before = sample(process.pid)
            _pause(seconds)
            after = sample(process.pid)
            after.cpu_s = (after.cpu_s - before.cpu_s) * 3600 / seconds
            after.wakeups = round((after.wakeups - before.wakeups) * 60 / seconds)
            return after
        finally:
            process.kill()
            process.wait()


def _swallow(descriptor: int) -> None:
    try:
        while os.read(descriptor, 65536):
            pass
    except OSError:
        return


# --- the report ------------------------------------------------------------------------------------------------------


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks footprint", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="how long to look at it doing nothing (default 60)")
    parser.add_argument("--polls", type=int, default=10_000, help="polls of the long run (default 10000)")
    parser.add_argument("--peer", action="store_true", help="install and run claude-monitor beside it")
    parser.add_argument(CHILD, type=int, default=0, dest="child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        live(options.child)
        return
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} processors")
    print(f"\nat rest: {len(PROVIDERS)} providers, {RULES} rules, {ROUNDS} polls of each, then {options.seconds:g} s")
    resting = at_rest(options.seconds)
    for name, value in resting.items():
        print(f"  {name:<18}{value:8.2f}{_goal(name, value)}")
    if options.peer:
        _beside(resting, peer(options.seconds))
    print(f"\nover time: {options.polls} polls")
    print(f"  {'polls':>7}{'days':>7}{'RSS MB':>8}{'fds':>5}{'threads':>9}{'database MB':>13}")
    rows = over_time(options.polls)
    for row in rows:
        print(f"  {row['polls']:7.0f}{row['days']:7.1f}{row['rss_mb']:8.1f}{row['descriptors']:5.0f}"
              f"{row['threads']:9.0f}{row['db_mb']:13.2f}")  # fmt: skip
    half = rows[len(rows) // 2 :]
    grown = half[-1]["rss_mb"] - half[0]["rss_mb"]
    print(f"  memory over the second half: {grown:+.1f} MB{'' if grown < 1 else '  GROWS'}")


def _goal(name: str, value: float) -> str:
    goals = {"rss_mb": GOAL_MB, "cpu_s_an_hour": GOAL_CPU_S}
    if name not in goals:
        return ""
    return f"  goal {goals[name]:g}: {'met' if value <= goals[name] else 'missed'}"


def _beside(ours: dict[str, float], theirs: Sample | None) -> None:
    if theirs is None:
        print("  claude-monitor could not be installed or did not stay: not compared")
        return
    print(f"  claude-monitor    {theirs.rss_mb:8.2f} MB, {theirs.cpu_s:.1f} s of CPU an hour, "
          f"{theirs.wakeups} wake-ups a minute")  # fmt: skip
    print(f"  ours of theirs    {ours['rss_mb'] / theirs.rss_mb:8.2f} of the memory, "
          f"{ours['cpu_s_an_hour'] / max(theirs.cpu_s, 0.001):.2f} of the CPU")  # fmt: skip
