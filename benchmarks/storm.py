"""Sets off ten thousand alerts and kills the process while it sends them: lost and repeated alerts, and the time taken.

*At once*: one response sets off all of them. More than three alerts from one poll become one digest, so what counts
is alerts sent, not messages. *Singly*: one response after the other, each with one change of an alert and so with one
message: a hundred windows cross their threshold in turn, up and back. The real daemon's loop runs in a child process,
on a real database, over real sockets, and is killed (SIGKILL) at random moments. *Unsent*: all begin with one
response and end with the next, before anything was sent; measured for half as many too, to show that the time grows
in proportion.

For comparison Debian's Alertmanager gets as many alerts and sends each as it comes. It is killed once in the middle and
started again on its own folder: once as it is and once with all alerts sent to it again, as Prometheus would.
"""

import argparse
import json
import random
import signal
import statistics
import subprocess  # noqa: TID251 - what is killed must be another process
import sys
import tempfile
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec import Struct, structs

from benchmarks import incumbents
from benchmarks.incumbents import pause
from watcher import pipeline
from watcher.config import loader as configuration
from watcher.core.model import DeliveryState, Reading, Snapshot, WindowKind
from watcher.core.redaction import Redactor
from watcher.daemon import Daemon
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import clock, environment
from watcher.system.log import Log
from watcher.system.paths import Paths

CHILD = "--child"
WINDOWS, LOW, HIGH = 100, 62.0, 87.0
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
TIMEOUT_S = 420.0


class Outcome(Struct, kw_only=True):
    """The figures of one storm."""

    alerts: int
    messages: int = 0
    killed: int = 0
    lost: int = 0
    cut_off: int = 0  # repeated after a kill, because the response to the first was lost
    twice: int = 0  # repeated without need
    seconds: float = 0.0  # until the last message arrived, all starts included


class Receiver:
    """Counts what arrives, by key and process."""

    def __init__(self) -> None:
        self.received: list[tuple[str, int]] = []
        self.life = 0
        self.last_s = 0.0

    def receive(self, body: bytes) -> None:
        """One message."""
        self.last_s = clock.monotonic_s()
        self.received.append((json.loads(body)["id"], self.life))


# --- this program ----------------------------------------------------------------------------------------------------


def run_watcher(alerts: int, kills: int, seed: int, *, singly: bool) -> Outcome:
    """Run, kill and restart this program until everything is sent."""
    rng = random.Random(seed)
    receiver = Receiver()
    outcome = Outcome(alerts=alerts)
    with tempfile.TemporaryDirectory() as name, incumbents.server(lambda: "", receiver.receive) as url:
        folder = Path(name)
        _write_config(folder, url)
        marks = sorted(rng.sample(range(1, alerts if singly else kills * 4 + 1), kills))
        began = clock.monotonic_s()
        while clock.monotonic_s() - began < TIMEOUT_S:
            receiver.life += 1
            command = [sys.executable, "-m", "benchmarks", "storm", CHILD, name, str(alerts), str(int(singly))]
            process = subprocess.Popen(command)
            if not marks:
                process.wait(TIMEOUT_S)
                break
            mark = marks.pop(0)
            while process.poll() is None:  # until the mark is reached; with one digest: shortly after the start
                if len(receiver.received) >= mark if singly else _is_under_way(folder, rng):
                    process.send_signal(signal.SIGKILL)
                    outcome.killed += 1
                    break
                pause(0.002)
            process.wait()
            pause(0.05)
        outcome.seconds = receiver.last_s - began
        _compare(folder, receiver, outcome)
    return outcome


def _is_under_way(folder: Path, rng: random.Random) -> bool:
    """Whether the process has begun to work; returns at a random moment after that."""
    if not (folder / "at work").exists():
        return False
    (folder / "at work").unlink()
    pause(rng.random() * 0.8)
    return True


def _write_config(folder: Path, url: str) -> None:
    text = f'[channels.hook]\ntype = "webhook"\nurl = "{url}"\n[route]\ndefault = ["hook"]\n'
    text += "".join(f"[providers.{name}]\nenabled = false\n" for name in ("claude", "codex", "nano_gpt", "gemini_cli"))
    text += "[providers.antigravity]\nenabled = false\n[providers.copilot]\nenabled = false\n"
    text += '[[rule]]\nname = "r"\nwhen = "*.* > 80%"\n'
    (folder / "config.toml").write_text(text, "utf-8")
    (folder / "config.toml").chmod(0o600)


def _compare(folder: Path, receiver: Receiver, outcome: Outcome) -> None:
    store = Store(folder / DATABASE_FILE_NAME, now=clock.utc_now(), read_only=True)
    received = Counter(key for key, _ in receiver.received)
    sent_counts: Counter[str] = Counter()
    for delivery in store.outbox.load_finished(DeliveryState.SENT, since=LONG_AGO):
        for transition in delivery.transitions:
            sent_counts[transition.key] += received[delivery.key]
    store.close()
    outcome.messages = len(received)
    outcome.lost = outcome.alerts - sum(1 for count in sent_counts.values() if count)
    lives: dict[str, int] = {}
    for key, life in receiver.received:
        if key in lives:
            outcome.cut_off += life != lives[key]
            outcome.twice += life == lives[key]
        lives[key] = life


def measure_unsent(alerts: int) -> float:
    """Seconds of the poll that ends so many alerts of which nothing was sent yet."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_config(folder, "http://127.0.0.1:9/")
        config = configuration.load_config(Paths(config_dir=folder, state_dir=folder), lambda secret: secret, folder)
        store = Store(folder / DATABASE_FILE_NAME, now=clock.utc_now())
        span = 0.0
        for used in (HIGH, LOW):
            answer = _make_snapshot({f"w{number}": used for number in range(alerts)})
            began = clock.monotonic_s()
            seen = pipeline.process_result(store, config, answer, now=answer.at, every=timedelta(minutes=5))
            span = clock.monotonic_s() - began
            messages = len(store.outbox.load())
            if len(seen.transitions) != alerts or messages != 1:
                raise RuntimeError(f"{len(seen.transitions)} transitions, {messages} messages")
        store.close()
    return span


class _StderrLog(Log):
    def warning(self, message: str) -> None:
        print(message, file=sys.stderr)

    def report_error(self, where: str, error: BaseException) -> None:
        raise RuntimeError(where) from error


def child(folder: Path, alerts: int, *, singly: bool) -> None:
    """The process that is killed: processes the responses that it has not processed yet, and sends the alerts."""
    store = Store(folder / DATABASE_FILE_NAME, now=clock.utc_now())
    own = Paths(config_dir=folder, state_dir=folder)
    world = structs.replace(environment.create_environment(), jitter=lambda: 0.0)
    daemon = Daemon(paths=own, environment=world, store=store, log=_StderrLog(), redactor=Redactor())
    daemon._dispatcher.apply_config(daemon.config)  # noqa: SLF001 - the daemon's own loop, fed by hand
    known = len(store.alerts.load_transitions(since=LONG_AGO))
    (folder / "at work").touch()
    _run_until_sent(daemon)
    answers = (
        (_cross_next(number) for number in range(known, alerts))
        if singly
        else iter([] if known else [_fire_all(alerts)])
    )
    for answer in answers:
        daemon._on_result(answer)  # noqa: SLF001 - likewise
        _run_until_sent(daemon)
    store.close()


def _run_until_sent(daemon: Daemon) -> None:
    daemon._run_loop(lambda: not daemon._dispatcher.is_busy)  # noqa: SLF001 - likewise


def _fire_all(alerts: int) -> Snapshot:
    """A response that sets off an alert on each of so many windows."""
    return _make_snapshot({f"w{number}": HIGH for number in range(alerts)})


def _cross_next(number: int) -> Snapshot:
    """A response in which the next of `WINDOWS` windows crosses the threshold, upwards or back."""
    turn, window = divmod(number, WINDOWS)
    return _make_snapshot({f"w{window}": LOW if turn % 2 else HIGH})


def _make_snapshot(used: dict[str, float]) -> Snapshot:
    readings = tuple(
        Reading(window=window, kind=WindowKind.WEEKLY, used_percent=percent, window_seconds=604_800)
        for window, percent in used.items()
    )
    return Snapshot(provider="copilot", at=clock.utc_now(), readings=readings, complete=False)


# --- Alertmanager ----------------------------------------------------------------------------------------------------


def run_alertmanager(alerts: int, *, sent_again: bool) -> Outcome:
    """Run Alertmanager and kill it when half of the alerts have arrived."""
    received: Counter[str] = Counter()
    before: set[str] = set()
    lock = threading.Lock()
    last_s = [0.0]

    def receive(body: bytes) -> None:
        with lock:
            last_s[0] = clock.monotonic_s()
            received.update(alert["labels"]["n"] for alert in json.loads(body)["alerts"])

    outcome = Outcome(alerts=alerts, killed=1)
    port = incumbents.free_port()
    with tempfile.TemporaryDirectory() as name, incumbents.server(lambda: "", receive) as hook:
        folder = Path(name)
        began = clock.monotonic_s()
        with incumbents.alertmanager(folder, hook, port) as manager:
            _post(manager, alerts)
            while len(received) < alerts // 2 and clock.monotonic_s() - began < TIMEOUT_S / 3:
                pause(0.01)
        before = set(received)  # the block's end killed it
        with incumbents.alertmanager(folder, hook, port) as manager:
            if sent_again:
                _post(manager, alerts)
            _wait_until_quiet(received)
        outcome.seconds = last_s[0] - began
    outcome.messages = sum(received.values())
    outcome.lost = alerts - len(received)
    outcome.twice = sum(count - 1 for number, count in received.items() if number in before)
    return outcome


def _post(manager: str, alerts: int) -> None:
    ends_at = (clock.utc_now() + timedelta(hours=1)).isoformat()
    for first in range(0, alerts, 500):
        batch = [
            {"labels": {"alertname": "r", "n": str(number)}, "endsAt": ends_at} for number in range(first, first + 500)
        ]
        incumbents.fetched(f"{manager}/api/v2/alerts", batch)


def _wait_until_quiet(received: Counter[str]) -> None:
    """Wait until nothing has come for ten seconds."""
    last, still = -1, 0
    while still < 10:
        still = still + 1 if sum(received.values()) == last else 0
        last = sum(received.values())
        pause(1)


# --- the report ------------------------------------------------------------------------------------------------------


def _row(name: str, outcome: Outcome) -> str:
    return (
        f"{name:<34}{outcome.alerts:>7}{outcome.messages:>9}{outcome.killed:>7}{outcome.lost:>6}{outcome.cut_off:>9}"
        f"{outcome.twice:>7}{outcome.seconds:>8.1f}"
    )


def _compare_sizes(alerts: int) -> None:
    half, whole = (statistics.median(measure_unsent(count) for _ in range(3)) for count in (alerts // 2, alerts))
    print(f"\n{alerts} that end unsent are evaluated, planned and saved in {whole:.2f} s,", end=" ")
    print(f"{whole / half:.1f} times the time of {alerts // 2}")


def main() -> None:
    """Print a row for each storm; exit 1 where this program lost an alert or repeated one without need."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alerts", type=int, default=10_000, help="how many (default: 10000; a multiple of 500)")
    parser.add_argument("--kills", type=int, default=5, help="how often to kill (default: 5)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(CHILD, nargs=3, dest="child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        folder, alerts, singly = options.child
        child(Path(folder), int(alerts), singly=bool(int(singly)))
        return
    print(f"{'':<34}{'alerts':>7}{'messages':>9}{'killed':>7}{'lost':>6}{'cut off':>9}{'twice':>7}{'seconds':>8}")
    at_once = run_watcher(options.alerts, options.kills, options.seed, singly=False)
    print(_row("this program, at once", at_once))
    singly = run_watcher(options.alerts, options.kills, options.seed, singly=True)
    print(_row("this program, singly", singly))
    if incumbents.ALERTMANAGER in incumbents.missing():
        print("not compared: prometheus-alertmanager not installed")
    else:
        print(_row("Alertmanager", run_alertmanager(options.alerts, sent_again=False)))
        print(_row("Alertmanager, all sent to it again", run_alertmanager(options.alerts, sent_again=True)))
    _compare_sizes(options.alerts)
    sys.exit(any(one.lost or one.twice for one in (at_once, singly)))
