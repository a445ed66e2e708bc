"""How long an evaluation takes, and how long an alert takes until the webhook holds it.

*Evaluation*: one poll of so many series under so many rules of one shape, while nothing fires and while every rule
fires on every series. `evaluated` is the engine alone; `stored` is the whole of a poll: evaluated, planned, stored in a
database file and synced. Prometheus evaluates the equivalent rules over the equivalent series on this machine, by its
own measure; it keeps the state of alerts in memory, so that `evaluated` is the same work and `stored` is more.

*Delivery*: the daemon polls a provider on the loopback, whose answer crosses a threshold; measured from the moment the
answer is sent until the webhook holds the message. Alertmanager gets an alert by a POST and sends it at once
(`group_wait: 0s`); measured from the POST. It evaluates nothing and keeps nothing on disk before it sends.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec import structs

from benchmarks import incumbents
from benchmarks.incumbents import pause
from watcher import pipeline
from watcher.config import loader as configuration
from watcher.core.engine.evaluator import evaluate_poll
from watcher.core.model import DeliveryState, Reading, Snapshot, WindowKind
from watcher.core.redaction import Redactor
from watcher.daemon import REFRESH_FACT, REFRESH_REQUESTED, Daemon
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import clock, environment
from watcher.system.log import Log
from watcher.system.paths import Paths

SHAPES = {
    "a field and a number": ("*.* > {}%", "usage > {}"),
    "`and`": ("*.* > {}% and resets_in > 1h", "usage > {} and on(window) resets - time() > 3600"),
    "`or`": ("*.* > {}% or remaining_percent < 1%", "usage > {} or usage > 99"),
    "missing data": ("*.* > {}% and not age > 1h", "usage > {} unless time() - timestamp(usage) > 3600"),
}
"""Shape of a rule -> as it is written here and there, with a place for its threshold."""

RULES = SERIES = 100
LOW, HIGH = 62.0, 87.0
START = datetime(2026, 3, 4, 9, tzinfo=UTC)
EVERY = timedelta(minutes=5)


# --- one evaluation --------------------------------------------------------------------------------------------------


def ours(when: str, rules: int, series: int, times: int) -> dict[str, tuple[float, float]]:
    """Median seconds (the engine alone, the whole poll): quiet, when all begin to fire, and while all fire."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rules").mkdir()
        tables = [f'[[rule]]\nname = "r{n}"\nwhen = "{when.format(f"{80 + n / 1000:g}")}"\n' for n in range(rules)]
        (folder / "rules" / "all.toml").write_text("".join(tables), "utf-8")
        text = '[channels.hook]\ntype = "webhook"\nurl = "http://127.0.0.1:9/"\n[route]\ndefault = ["hook"]\n'
        (folder / "config.toml").write_text(text, "utf-8")
        (folder / "config.toml").chmod(0o600)
        config = configuration.load_config(Paths(config_dir=folder, state_dir=folder), lambda secret: secret, folder)
        store = Store(folder / DATABASE_FILE_NAME, now=START)
        now = START
        alone: dict[str, list[float]] = {"quiet": [], "all begin": [], "all firing": []}
        spans: dict[str, list[float]] = {"quiet": [], "all begin": [], "all firing": []}
        for phase, base, rounds in (("quiet", 40.0, times), ("all begin", 92.0, 1), ("all firing", 92.0, times)):
            for turn in range(rounds):
                now += EVERY
                answer = _make_snapshot(series, base + turn % 7 / 10, now)
                state = store.alerts.load_state()
                began = clock.monotonic_s()
                evaluate_poll(config.rules, state, answer, now, every=EVERY)
                alone[phase].append(clock.monotonic_s() - began)
                began = clock.monotonic_s()
                observed = pipeline.process_result(store, config, answer, now=now, every=EVERY)
                spans[phase].append(clock.monotonic_s() - began)
                if len(observed.transitions) != (rules * series if phase == "all begin" else 0):
                    raise RuntimeError(f"{phase}: {len(observed.transitions)} transitions")
                _mark_sent(store, now)
        store.close()
    # The first poll reads the state and compiles the rules.
    return {
        phase: (statistics.median(alone[phase][1:] or alone[phase]), statistics.median(found[1:] or found))
        for phase, found in spans.items()
    }


def _mark_sent(store: Store, now: datetime) -> None:
    """Marks everything in the outbox as sent."""
    done = [structs.replace(delivery, state=DeliveryState.SENT) for delivery in store.outbox.load()]
    store.run_transaction(lambda: store.outbox.update(done), now=now)


def _make_snapshot(series: int, used: float, now: datetime) -> Snapshot:
    readings = tuple(
        Reading(
            window=f"w{number}",
            kind=WindowKind.WEEKLY,
            used_percent=used + number / 1000,
            resets_at=START + timedelta(days=7),
            window_seconds=604_800,
        )
        for number in range(series)
    )
    return Snapshot(provider="copilot", at=now, readings=readings)


def theirs(expression: str, rules: int, series: int, times: int) -> dict[str, float]:
    """Prometheus' own median seconds for its group of the same rules: quiet, and while all fire."""
    base = 10.0

    def exposition() -> str:
        ends_s = clock.utc_now().timestamp() + 7 * 86_400
        return "".join(
            f'usage{{window="w{number}"}} {base + number / 1000}\nresets{{window="w{number}"}} {ends_s:.0f}\n'
            for number in range(series)
        )

    alerts = "".join(f"  - {{alert: r{n}, expr: '{expression.format(f'{80 + n / 1000:g}')}'}}\n" for n in range(rules))
    medians = {}
    with tempfile.TemporaryDirectory() as name, incumbents.server(exposition) as exporter:
        text = f"groups:\n- name: g\n  interval: 5s\n  rules:\n{alerts}"
        with incumbents.prometheus(Path(name), exporter, text) as url:
            for phase, base in (("quiet", 10.0), ("all firing", 92.0)):  # noqa: B007 - `exposition` reads it
                pause(11)
                medians[phase] = statistics.median(_durations(url, times))
            firing = json.loads(incumbents.fetched(f"{url}/api/v1/query?query=count(ALERTS)"))["data"]["result"]
            if not firing or int(firing[0]["value"][1]) != rules * series:
                raise RuntimeError(f"Prometheus fires {firing}, not {rules * series}")
    return medians


def _durations(url: str, times: int) -> list[float]:
    found: list[float] = []
    seen = 0.0
    while len(found) < times:
        text = incumbents.fetched(f"{url}/metrics")
        count = incumbents.metric(text, "prometheus_rule_evaluations_total") or 0.0
        last = incumbents.metric(text, "prometheus_rule_group_last_duration_seconds")
        if last is not None and count != seen:
            found.append(last)
            seen = count
        pause(1)
    return found


# --- from an answer to a webhook -------------------------------------------------------------------------------------


class _Quiet(Log):
    def warning(self, message: str) -> None:
        raise RuntimeError(message)


def delivered(times: int) -> list[float]:
    """Seconds from an answer to the webhook, for so many crossings of the real daemon, over real sockets."""
    answered, arrived = [0.0], threading.Event()
    used = [LOW]
    spans: list[float] = []
    resets_at = (clock.utc_now() + timedelta(hours=4)).isoformat()

    def answer() -> str:
        answered[0] = clock.monotonic_s()
        return json.dumps({"five_hour": {"utilization": used[0], "resets_at": resets_at}})

    def receive(_body: bytes) -> None:
        spans.append(clock.monotonic_s() - answered[0])
        arrived.set()

    with tempfile.TemporaryDirectory() as name, incumbents.server(answer, receive) as url:
        home = Path(name)
        own = _write_home(home, url)
        os.environ |= {"HOME": name, "XDG_DATA_HOME": str(home / "data")}
        store = Store(own.state_dir / DATABASE_FILE_NAME, now=clock.utc_now())
        store.close()
        daemons: list[Daemon] = []

        def live() -> None:
            kept = Store(own.state_dir / DATABASE_FILE_NAME, now=clock.utc_now())
            daemons.append(
                Daemon(
                    paths=own,
                    environment=environment.create_environment(),
                    store=kept,
                    log=_Quiet(),
                    redactor=Redactor(),
                )
            )
            daemons[0].run()
            kept.close()

        thread = threading.Thread(target=live, daemon=True)
        thread.start()
        pause(3)
        wishes = Store(own.state_dir / DATABASE_FILE_NAME, now=clock.utc_now())
        for turn in range(times):
            used[0] = HIGH if turn % 2 == 0 else LOW
            arrived.clear()
            now = clock.utc_now()
            wishes.run_transaction(lambda now=now: wishes.facts.save(REFRESH_FACT, REFRESH_REQUESTED, now), now=now)  # type: ignore[misc]
            daemons[0].check_requests()
            if not arrived.wait(10):
                raise RuntimeError(f"no message after the answer of {used[0]:g} %")
            pause(0.3)
        wishes.close()
        daemons[0].stop()
        thread.join(10)
    return spans


def _write_home(home: Path, url: str) -> Paths:
    own = Paths(config_dir=home / "config", state_dir=home / "state")
    login = home / "data" / "opencode" / "auth.json"
    for folder in (own.config_dir, own.state_dir, login.parent):
        folder.mkdir(parents=True)
    token = {"type": "oauth", "access": "sk-ant-oat01-not-real", "refresh": "r", "expires": 4102444800000}
    login.write_text(json.dumps({"anthropic": token}), "utf-8")
    text = f'[providers.claude]\nbase_url = "{url}"\n[channels.hook]\ntype = "webhook"\nurl = "{url}/hook"\n'
    text += '[route]\ndefault = ["hook"]\n[[rule]]\nname = "r"\nwhen = "claude.five_hour > 80%"\nclear = "< 70%"\n'
    own.config_file.write_text(text, "utf-8")
    own.config_file.chmod(0o600)
    return own


def delivered_by_alertmanager(times: int) -> list[float]:
    """Seconds from the POST of an alert to Alertmanager until the webhook holds it."""
    spans: list[float] = []
    arrived = threading.Event()
    posted = [0.0]

    def receive(_body: bytes) -> None:
        spans.append(clock.monotonic_s() - posted[0])
        arrived.set()

    with (
        tempfile.TemporaryDirectory() as name,
        incumbents.server(lambda: "", receive) as url,
        incumbents.alertmanager(Path(name), url) as manager,
    ):
        ends_at = (clock.utc_now() + timedelta(hours=1)).isoformat()
        for number in range(times):
            arrived.clear()
            posted[0] = clock.monotonic_s()
            alert = {"labels": {"alertname": "r", "n": str(number)}, "endsAt": ends_at}
            incumbents.fetched(f"{manager}/api/v2/alerts", [alert])
            if not arrived.wait(15):
                raise RuntimeError("Alertmanager sent nothing")
            pause(0.3)
    return spans


def _quantiles(spans: list[float]) -> tuple[float, float]:
    return statistics.median(spans) * 1000, statistics.quantiles(spans, n=20)[-1] * 1000


def main() -> None:
    """Print both measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=9, help="evaluations of each kind (default: 9)")
    parser.add_argument("--alerts", type=int, default=40, help="alerts to be delivered (default: 40)")
    options = parser.parse_args()
    missing = incumbents.missing()
    if missing:
        print(f"not compared: {' and '.join(missing)} not installed")
    for shape, (when, expression) in SHAPES.items():
        print(f"\n{shape}: {RULES} rules over {SERIES} series, medians of {options.times} in ms")
        mine = ours(when, RULES, SERIES, options.times)
        other = {} if incumbents.PROMETHEUS in missing else theirs(expression, RULES, SERIES, options.times)
        for phase, (engine_s, poll_s) in mine.items():
            text = f"  {phase:<12}evaluated {engine_s * 1000:8.2f}   stored {poll_s * 1000:8.2f}"
            beside = other.get(phase)
            if beside is not None:
                text += f"   Prometheus {beside * 1000:8.2f}   ratios {engine_s / beside:.2f}, {poll_s / beside:.2f}"
            print(text, flush=True)
    half, most = _quantiles(delivered(options.alerts))
    print(f"\nfrom an answer to the webhook, {options.alerts} alerts: p50 {half:.1f} ms, p95 {most:.1f} ms")
    if incumbents.ALERTMANAGER not in missing:
        others = _quantiles(delivered_by_alertmanager(options.alerts))
        print(f"from a POST to Alertmanager to the webhook: p50 {others[0]:.1f} ms, p95 {others[1]:.1f} ms", end="")
        print(f"; ours takes {half / others[0]:.2f} times as long")
    sys.exit(half >= 50)
