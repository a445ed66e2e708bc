"""A whole company on one Prometheus: thousands of watchers push each minute, and the default rules run over all.

`python -m benchmarks fleet [WATCHERS] [MINUTES]`. Needs Debian's `prometheus` and `prometheus-alertmanager`. Each
watcher has one account with one window; its samples are encoded as a watcher does, and sent with the moment of the
push. Printed: refused pushes, memory and CPU of Prometheus, the time of one evaluation, and the time from a crossing to
the webhook behind Alertmanager, which has the route of `contrib/prometheus`.
"""

import http.client
import json
import os
import shutil
import subprocess  # noqa: TID251 - starts Prometheus
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from tests.prometheus.tools import find_free_port
from tests.receiver import receiver
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
    port, alertmanager_port = find_free_port(), find_free_port()
    with tempfile.TemporaryDirectory() as folder, receiver() as webhook:
        programs = [_start_alertmanager(Path(folder), alertmanager_port, f"{webhook.url}/hook")]
        try:
            programs.append(_start_prometheus(Path(folder), port, alertmanager_port))
            _wait_until_ready(alertmanager_port)
            _wait_until_ready(port)
            _measure(programs[1].pid, port, watchers, minutes, webhook.taken)
        finally:
            for program in programs:
                program.terminate()
                program.wait(30)


def _start_alertmanager(folder: Path, port: int, url: str) -> "subprocess.Popen[bytes]":
    """With the shipped route: a new group waits 30 s for further alerts, as is the default."""
    text = (ROOT / "contrib" / "prometheus" / "alertmanager.yml").read_text("utf-8")
    (folder / "am.yml").write_text(text.replace("http://127.0.0.1:9095/hook", url), "utf-8")
    command = [
        shutil.which("prometheus-alertmanager") or sys.exit("install the package `prometheus-alertmanager`"),
        f"--config.file={folder}/am.yml",
        f"--storage.path={folder}/am",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _start_prometheus(folder: Path, port: int, alertmanager_port: int) -> "subprocess.Popen[bytes]":
    text = (ROOT / "rules" / "default.toml").read_text("utf-8")
    compiled, _ = compile_rules(parse_rules(text, "rules/default.toml"), CompileOptions(), lambda _path: text)
    (folder / "rules.yml").write_text(format_rule_file(compiled, CompileOptions()), "utf-8")
    config = {
        "global": {"evaluation_interval": "1m"},
        "rule_files": [f"{folder}/rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager_port}"]}]}]},
    }
    (folder / "p.yml").write_text(json.dumps(config), "utf-8")  # JSON is YAML
    command = [
        shutil.which("prometheus") or sys.exit("install the package `prometheus`"),
        f"--config.file={folder}/p.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-remote-write-receiver",
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _wait_until_ready(port: int) -> None:
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=1).close()
        except OSError:
            threading.Event().wait(0.2)
        else:
            return


def _measure(pid: int, port: int, watchers: int, minutes: int, notifications: Sequence[bytes]) -> None:
    names = [f"watcher-{number}" for number in range(watchers)]
    refused, crossed_at, alert_at, notified_at = 0, None, None, None

    def look() -> None:
        nonlocal alert_at, notified_at
        if crossed_at is not None and alert_at is None and _is_alerting(port):
            alert_at = monotonic_s()
        if notified_at is None and any(CROSSED.encode() in body for body in notifications):
            notified_at = monotonic_s()

    cpu_before = _read_cpu_s(pid)
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
    groups = _get(port, "/api/v1/rules")["groups"]
    series = _get(port, "/api/v1/status/tsdb")["headStats"]["numSeries"]
    print(f"watchers, series                 {watchers}, {series}")
    print(f"refused pushes                   {refused}")
    print(f"memory of Prometheus             {_read_memory_mb(pid):.0f} MB")
    print(f"CPU of Prometheus                {(_read_cpu_s(pid) - cpu_before) / minutes:.1f} s a minute")
    print(f"one evaluation of the rules      {sum(each['evaluationTime'] for each in groups):.2f} s")
    for what, at in (("alert", alert_at), ("webhook", notified_at)):
        after = "none came" if at is None or crossed_at is None else f"{at - crossed_at:.0f} s"
        print(f"from the crossing to the {what:8}{after}")


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


def _get(port: int, path: str) -> dict:  # type: ignore[type-arg]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return json.load(answer)["data"]  # type: ignore[no-any-return]


def _is_alerting(port: int) -> bool:
    return any(each["labels"].get("account") == CROSSED for each in _get(port, "/api/v1/alerts")["alerts"])


def _read_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _read_memory_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    main()
