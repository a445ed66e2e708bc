"""docs/teams.md, as a reader would follow it: from nothing to an alert at a receiver behind Alertmanager."""

import json
import os
import re
import shutil
import subprocess
import threading
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.prometheus.tools import find_free_port, needs, pushing_world, running_prometheus
from watcher.config.metrics import MetricsTable
from watcher.prometheus.metrics import collect_samples, encode_remote_write

ROOT = Path(__file__).parents[2]
CONTRIB = ROOT / "contrib" / "prometheus"


class Receiver(BaseHTTPRequestHandler):
    alerts: ClassVar[list[dict]] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.alerts.extend(json.loads(body)["alerts"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@needs("prometheus")
@needs("prometheus-alertmanager")
@pytest.mark.slow  # Prometheus and Alertmanager start, and evaluate each five seconds
def test_the_shipped_files_carry_an_alert_to_a_receiver(tmp_path):
    assert "contrib/prometheus" in (ROOT / "docs" / "teams.md").read_text("utf-8")
    hook, port = HTTPServer(("127.0.0.1", 0), Receiver), find_free_port()
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    routes = (CONTRIB / "alertmanager.yml").read_text("utf-8").replace(":9095/hook", f":{hook.server_port}/hook")
    (tmp_path / "am.yml").write_text(routes.replace("route:\n", "route:\n  group_wait: 1s\n", 1))
    config = (CONTRIB / "remote-write.yml").read_text("utf-8").replace("127.0.0.1:9093", f"127.0.0.1:{port}")
    config = config.replace("evaluation_interval: 1m", "evaluation_interval: 5s")
    for name in ("alerts.yml", "watchers.yml"):
        rules = (CONTRIB / name).read_text("utf-8").replace("interval: 1m", "interval: 5s")
        (tmp_path / name).write_text(rules)
        config = re.sub(rf"\b{name}", str(tmp_path / name), config)
    command = [
        shutil.which("prometheus-alertmanager") or "",
        f"--config.file={tmp_path}/am.yml",
        f"--storage.path={tmp_path}/am",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    alertmanager = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        with running_prometheus(tmp_path, config) as address, pushing_world(tmp_path, address, percent=97) as world:
            world.watch(timedelta(seconds=10))
            samples = collect_samples(world.store(), MetricsTable(salt="s"), world.machine.now())
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline and not Receiver.alerts:
                at = datetime.fromtimestamp(time.clock_gettime(time.CLOCK_REALTIME), UTC)
                headers = {"Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"}
                body = encode_remote_write(samples, (), at)
                push = urllib.request.Request(f"{address}/api/v1/write", data=body, headers=headers)
                urllib.request.urlopen(push, timeout=60).close()
                time.sleep(1)
    finally:
        alertmanager.kill()
        alertmanager.wait(60)
        hook.shutdown()
        hook.server_close()
    (alert,) = {each["labels"]["alertname"]: each for each in Receiver.alerts if each["status"] == "firing"}.values()
    assert alert["labels"] | {"account": ""} == {
        "account": "",
        "alertname": "session",
        "kind": "session",
        "provider": "claude",
        "rule": "session",
        "severity": "critical",
        "source": "ai-usage-watcher",
        "window": "five_hour",
    }
    assert "97 %" in alert["annotations"]["summary"]
