"""Prometheus and Alertmanager as Debian packages them, on the loopback, for as long as a block lasts.

They are what one would otherwise take for rules and delivery. Nothing here is installed: where a program is missing,
the benchmark says so and goes on.
"""

import json
import re
import shutil
import socket
import subprocess  # noqa: TID251 - starts what is measured
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PROMETHEUS, ALERTMANAGER = "prometheus", "prometheus-alertmanager"
WITHIN_S = 30.0


def missing() -> list[str]:
    """Those of the two that are not installed."""
    return [name for name in (PROMETHEUS, ALERTMANAGER) if shutil.which(name) is None]


def pause(seconds: float) -> None:
    """Wait."""
    threading.Event().wait(seconds)


def free_port() -> int:
    """A port of the loopback that nobody uses at this moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def server(get: Callable[[], str], post: Callable[[bytes], None] = lambda _: None) -> Iterator[str]:
    """Its address: answers every GET with what `get` says, hands every POST to `post`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.reply(get().encode())

        def do_POST(self) -> None:
            post(self.rfile.read(int(self.headers.get("content-length", 0))))
            self.reply(b"{}")

        def reply(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Listener(ThreadingHTTPServer):
        request_queue_size = 512

        def handle_error(self, *_: object) -> None:
            """The other end was killed: that is what this is for."""

    listener = Listener(("127.0.0.1", 0), Handler)
    threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.server_address[1]}"
    finally:
        listener.shutdown()
        listener.server_close()


def fetched(url: str, body: Any = None) -> str:
    """The answer to a GET, or to a POST of JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=WITHIN_S) as answer:
        text: str = answer.read().decode()
        return text


@contextmanager
def running(command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """One of both, that listens on a port of the loopback and is ready; ended with the block."""
    listening = [*command, f"--web.listen-address=127.0.0.1:{port}"]
    process = subprocess.Popen(listening, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(int(WITHIN_S / 0.1)):
            try:
                fetched(f"http://127.0.0.1:{port}/-/ready")
                break
            except (urllib.error.URLError, OSError):
                pause(0.1)
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def prometheus(folder: Path, exporter: str, rules: str) -> Iterator[str]:
    """Prometheus at settings of one second; its address.

    Args:
        folder: for its files.
        exporter: address of what it scrapes.
        rules: the text of its rule file.
    """
    port = free_port()
    (folder / "rules.yml").write_text(rules, "utf-8")
    target = json.dumps([{"targets": [exporter.removeprefix("http://")]}])
    text = "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yml]\n"
    text += f"scrape_configs: [{{job_name: j, static_configs: {target}}}]\n"
    (folder / "prometheus.yml").write_text(text, "utf-8")
    command = [PROMETHEUS, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    with running(command, port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def alertmanager(folder: Path, webhook: str, port: int = 0) -> Iterator[str]:
    """Alertmanager that sends each alert by itself and at once, keeping its state in `folder`; its address."""
    port = port or free_port()
    receiver = f"[{{url: '{webhook}', max_alerts: 0}}]"
    text = "route: {receiver: hook, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 4h}\n"
    text += f"receivers: [{{name: hook, webhook_configs: {receiver}}}]\n"
    (folder / "alertmanager.yml").write_text(text, "utf-8")
    command = [ALERTMANAGER, f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/data"]
    with running([*command, "--cluster.listen-address="], port):
        yield f"http://127.0.0.1:{port}"


def metric(text: str, name: str) -> float | None:
    """The first sample of a metric in an exposition."""
    found = re.search(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
    return None if found is None else float(found.group(1))
