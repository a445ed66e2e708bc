"""A whole company on one Prometheus: thousands of watchers push each minute, and the default rules run over all.

`python -m benchmarks fleet [WATCHERS] [MINUTES]`. Needs Debian's `prometheus` and `prometheus-alertmanager`. Each
watcher has one account with one window; its samples are encoded as a watcher does, and sent with the moment of the
push. Printed: refused pushes, memory and CPU of Prometheus, the time of one evaluation, and the time from a crossing to
the webhook behind Alertmanager, which has the route of `contrib/prometheus`.
"""

import http.client
import json
import sys
import tempfile
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks import incumbents
from benchmarks.footprint import cost
from watcher.core.rules.loader import parse_rules
from watcher.prometheus.compiler import CompileOptions, compile_rules, format_rule_file
from watcher.prometheus.metrics import Sample, encode_remote_write
from watcher.system.clock import monotonic_s, utc_now

ROOT = Path(__file__).parents[1]
SENDERS = 8
CROSSED = "watcher-0"


def main() -> None:
    """Print the figures."""
    watchers, minutes = (int(word) for word in (*sys.argv[1:], "5000", "3")[:2]) if len(sys.argv) > 1 else (5000, 3)
    if missing := incumbents.missing():
        sys.exit(f"install {' and '.join(missing)}")
    port, alertmanager_port, bodies = incumbents.free_port(), incumbents.free_port(), list[bytes]()
    with tempfile.TemporaryDirectory() as name, incumbents.server(lambda: "", bodies.append) as webhook:
        folder = Path(name)
        alertmanager = _write_alertmanager(folder, f"{webhook}/hook")
        prometheus = _write_prometheus(folder, alertmanager_port)
        with incumbents.running(alertmanager, alertmanager_port), incumbents.running(prometheus, port) as program:
            _measure(program.pid, port, watchers, minutes, bodies)


def _write_alertmanager(folder: Path, url: str) -> list[str]:
    """With the shipped route: a new group waits 30 s for further alerts, as is the default. Returns the command."""
    text = (ROOT / "contrib" / "prometheus" / "alertmanager.yml").read_text("utf-8")
    (folder / "am.yml").write_text(text.replace("http://127.0.0.1:9095/hook", url), "utf-8")
    command = [incumbents.ALERTMANAGER, f"--config.file={folder}/am.yml", f"--storage.path={folder}/am"]
    return [*command, "--cluster.listen-address="]


def _write_prometheus(folder: Path, alertmanager_port: int) -> list[str]:
    text = (ROOT / "rules" / "default.toml").read_text("utf-8")
    compiled, _ = compile_rules(parse_rules(text, "rules/default.toml"), CompileOptions(), lambda _path: text)
    (folder / "rules.yml").write_text(format_rule_file(compiled, CompileOptions()), "utf-8")
    config = {
        "global": {"evaluation_interval": "1m"},
        "rule_files": [f"{folder}/rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager_port}"]}]}]},
    }
    (folder / "p.yml").write_text(json.dumps(config), "utf-8")  # JSON is YAML
    command = [incumbents.PROMETHEUS, f"--config.file={folder}/p.yml", f"--storage.tsdb.path={folder}/data"]
    return [*command, "--web.enable-remote-write-receiver"]


def _measure(pid: int, port: int, watchers: int, minutes: int, notifications: Sequence[bytes]) -> None:
    names = [f"watcher-{number}" for number in range(watchers)]
    refused, crossed_at, alert_at, notified_at = 0, None, None, None

    def look() -> None:
        nonlocal alert_at, notified_at
        if crossed_at is not None and alert_at is None and _is_alerting(port):
            alert_at = monotonic_s()
        if notified_at is None and any(CROSSED.encode() in body for body in notifications):
            notified_at = monotonic_s()

    before = cost(pid)
    for minute in range(minutes):
        began = monotonic_s()
        used = {CROSSED: 0.97} if minute == minutes - 1 else {}
        if used:
            crossed_at = monotonic_s()
        refused += _push_all(port, names, used)
        pushed_s = monotonic_s() - began
        while monotonic_s() - began < 60:
            look()
            threading.Event().wait(1)
        print(f"minute {minute + 1}: {watchers} pushes in {pushed_s:.1f} s, {refused} refused so far")
    deadline = monotonic_s() + 180
    while notified_at is None and monotonic_s() < deadline:
        look()
        threading.Event().wait(1)
    groups, after = _get(port, "/api/v1/rules")["groups"], cost(pid)
    series = _get(port, "/api/v1/status/tsdb")["headStats"]["numSeries"]
    print(f"watchers, series                 {watchers}, {series}")
    print(f"refused pushes                   {refused}")
    print(f"memory of Prometheus             {after.rss:.0f} MB")
    print(f"CPU of Prometheus                {(after.cpu_s - before.cpu_s) / minutes:.1f} s a minute")
    print(f"one evaluation of the rules      {sum(each['evaluationTime'] for each in groups):.2f} s")
    for what, at in (("alert", alert_at), ("webhook", notified_at)):
        span = "none came" if at is None or crossed_at is None else f"{at - crossed_at:.0f} s"
        print(f"from the crossing to the {what:8}{span}")


def _make_samples(name: str, used: float, now: datetime) -> list[Sample]:
    window = (("account", name), ("instance", name), ("job", "ai-usage-watcher"), ("kind", "session"))
    window = tuple(sorted((*window, ("provider", "claude"), ("window", "five_hour"))))
    account = tuple(each for each in window if each[0] not in ("kind", "window"))
    stamp, ends_at = now.timestamp(), (now + timedelta(hours=3)).timestamp()
    values = {
        "used_ratio": used,
        "reset_timestamp_seconds": ends_at,
        "length_seconds": 18000,
        "read_timestamp_seconds": stamp,
        "quiet_since_timestamp_seconds": stamp,
        "burn_ratio_per_second": 0.00001,
        "exhaustion_timestamp_seconds": ends_at,
        "episodes_total": 1,
        "primary": 1,
    }
    return [
        *(Sample(f"ai_usage_window_{key}", window, value) for key, value in values.items()),
        Sample("ai_usage_account_up", account, 1),
        Sample("ai_usage_account_poll_interval_seconds", account, 300),
        Sample("ai_usage_last_cycle_timestamp_seconds", account[1:], stamp),
    ]


def _push_all(port: int, names: list[str], used: dict[str, float]) -> int:
    """Push for every watcher, from a few connections; the number of refusals."""
    refused: list[int] = []

    def send(part: list[str]) -> None:
        connection, count = http.client.HTTPConnection("127.0.0.1", port, timeout=30), 0
        for name in part:
            now = utc_now()
            body = encode_remote_write(_make_samples(name, used.get(name, 0.4), now), (), now)
            headers = {"Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"}
            connection.request("POST", "/api/v1/write", body, headers)
            answer = connection.getresponse()
            answer.read()
            count += answer.status // 100 != 2
        refused.append(count)
        connection.close()

    threads = [threading.Thread(target=send, args=(names[start::SENDERS],)) for start in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(refused)


def _get(port: int, path: str) -> Any:
    return json.loads(incumbents.fetched(f"http://127.0.0.1:{port}{path}"))["data"]


def _is_alerting(port: int) -> bool:
    return any(each["labels"].get("account") == CROSSED for each in _get(port, "/api/v1/alerts")["alerts"])
