"""Programs of Prometheus, where they are installed, and a watcher that pushes to one."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest
import requests

from tests.world import HOOK, SESSION, make_world
from watcher.system import http

PUSH = """
[metrics]
salt = "env:SALT"
labels = { team = "search" }
[metrics.push]
url = "http://127.0.0.1:9/api/v1/write"
every = "1m"
headers = { Authorization = "env:PUSH_TOKEN" }
"""


def needs(program):
    """Skips a test where the program is not installed; never where nothing may be skipped."""
    absent = shutil.which(program) is None and not os.environ.get("WATCHER_REQUIRE_SYSTEM_TESTS")
    return pytest.mark.skipif(absent, reason=f"needs {program}")


def find_free_port():
    """Below the ports that the system gives to whoever asks for any, so that it is still free when it is used."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def wait_until_ready(address, program):
    """Until it answers; it fails at once where the program has ended."""
    deadline = time.monotonic() + 120
    while True:
        with suppress(requests.RequestException):
            if requests.get(address, timeout=10).ok:
                return
        assert program.poll() is None, f"{program.args[0]} has ended with {program.returncode}"
        assert time.monotonic() < deadline, f"{program.args[0]} is not ready"
        time.sleep(0.1)


@contextmanager
def running_prometheus(tmp_path, config="global: {scrape_interval: 1h}\n"):
    """A real Prometheus that takes pushes; yields its address."""
    port = find_free_port()
    folder = tmp_path / "prometheus"
    folder.mkdir()
    (folder / "p.yml").write_text(config)
    program = subprocess.Popen(
        [
            shutil.which("prometheus") or "prometheus",
            f"--config.file={folder}/p.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-remote-write-receiver",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(f"{address}/-/ready", program)
        yield address
    finally:
        program.kill()
        program.wait(60)


@contextmanager
def pushing_world(tmp_path, address, *, percent, rules=SESSION):
    """A world at the present time, whose daemon pushes to that address and reaches nothing else."""
    with make_world(tmp_path, HOOK + rules + PUSH.replace("http://127.0.0.1:9", address), percent) as world:
        world.env |= {"SALT": "s", "PUSH_TOKEN": "Bearer push-secret"}
        usual = world.send
        world.send = lambda request: (
            http.send_request(request) if request.url.endswith("/api/v1/write") else usual(request)
        )
        # what Prometheus takes must not be far from its own clock
        world.machine.set_by(datetime.fromtimestamp(time.clock_gettime(time.CLOCK_REALTIME), UTC) - world.machine.now())
        world.usage(percent, world.machine.now() + timedelta(hours=4))
        yield world


def ask(address, expression, at):
    """What a query gives at an instant; fails where it is refused."""
    parameters = urllib.parse.urlencode({"query": expression, "time": at.timestamp()})
    with urllib.request.urlopen(f"{address}/api/v1/query?{parameters}", timeout=60) as answer:
        return json.load(answer)["data"]["result"]
