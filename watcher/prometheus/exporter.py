"""Exports the samples: a scrape of `/metrics`, a text file for node_exporter, a push by remote write.

The daemon calls `update` after each cycle. A scrape is answered from memory by one thread that sleeps in `accept`; a
push runs on the daemon's scheduler. A failure is recorded and logged; it never ends the daemon.
"""

import hmac
import json
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import structs

from watcher import __version__
from watcher.config.metrics import MetricsTable, PushTable
from watcher.core.model import DeliveryOutcome, Request, Response, is_loopback
from watcher.errors import ProviderError
from watcher.notifiers.base import Send, format_status, interpret_response
from watcher.prometheus.metrics import (
    Labels,
    Sample,
    collect_samples,
    encode_remote_write,
    format_text,
    hash_label,
)
from watcher.storage.store import METRICS_PROBLEMS_FACT, Store
from watcher.system.clock import monotonic_s
from watcher.system.environment import Environment
from watcher.system.scheduler import Scheduler, WorkQueue

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
MAX_HEADER_BYTES = 8192
CONNECTION_TIMEOUT_S = 2.0
BACKLOG = 4
MAX_PUSH_DELAY = timedelta(minutes=5)
PUSH_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 2.0  # of the last push, for which the end of the daemon waits
_PUSH_JOB = "metrics push"


class Exporter:
    """The exports of one daemon: scrape, text file, push."""

    def __init__(  # noqa: PLR0913 - what a daemon is made of
        self,
        settings: MetricsTable,
        *,
        store: Store,
        environment: Environment,
        scheduler: Scheduler,
        work_queue: WorkQueue,
        log_warning: Callable[[str], None],
    ) -> None:
        self._log_warning = log_warning
        self._problems: dict[str, str] = {}
        self._store, self._environment = store, environment
        self._settings = settings = settings.with_salt(store.path.parent)
        self._scheduler, self._work_queue = scheduler, work_queue
        self._samples: list[Sample] = []
        self._pushed: set[tuple[str, Labels]] = set()
        self._push_delay = timedelta(0)  # after the next failure
        self._listener = self._listen() if settings.listen else None
        if settings.push is not None:
            # spread over the interval by the machine, so that many machines do not push at once
            share = int(hash_label(settings, socket.gethostname()), 16) % 1000 / 1000
            self._scheduler.schedule_after(_PUSH_JOB, settings.push.interval * share, self._push)

    def update(self) -> None:
        """Collect the samples from the store, for scrapes and the text file."""
        now = self._environment.clock.now()
        self._samples = collect_samples(self._store, self._settings, now)
        if self._settings.textfile is not None:
            try:
                write_textfile(Path(self._settings.textfile), format_text(self._samples))
            except OSError as error:
                self._set_problem("textfile", f"{self._settings.textfile} cannot be written: {error.strerror}")
            else:
                self._set_problem("textfile", "")

    def close(self) -> None:
        """Stop listening, and push a staleness marker for every series."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in `accept`
            self._listener.close()
        self._scheduler.cancel(_PUSH_JOB)
        if self._settings.push is not None and self._pushed:
            body = encode_remote_write([], sorted(self._pushed), self._environment.clock.now())
            send_push(self._settings.push, body, self._environment.send, STOP_TIMEOUT_S)
        self._settings = structs.replace(self._settings, push=None)  # also for a push in flight

    def _set_problem(self, export: str, problem: str) -> None:
        """Record a problem of an export (listen, textfile, push), and log a new one. Empty: there is none."""
        if self._problems.get(export, "") == problem:
            return
        self._problems[export] = problem
        if problem:
            self._log_warning(f"metrics: {problem}")
        now = self._environment.clock.now()
        text = json.dumps({each: about for each, about in self._problems.items() if about})
        self._store.save_fact(METRICS_PROBLEMS_FACT, text, now)

    # --- scrape -----------------------------------------------------------------------------------------------------

    def _listen(self) -> socket.socket | None:
        host, port = self._settings.address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family)
        try:
            if sys.platform != "win32":  # a restart takes the port at once; on Windows the option would share it
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            self._set_problem("listen", f"cannot listen on {host}:{port}: {error.strerror or error}")
            return None
        threading.Thread(target=self._serve, args=(listener,), daemon=True, name="metrics").start()
        return listener

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # it was closed
                return
            with connection, suppress(OSError):
                connection.sendall(self._answer(_read_head(connection)))
                connection.shutdown(socket.SHUT_WR)

    def _answer(self, head: bytes | None) -> bytes:
        if head is None:
            return _make_response("431 Request Header Fields Too Large")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, _, rest = first.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if not self._is_known_host(headers.get("host", "")):
            return _make_response("403 Forbidden")
        if not self._is_authorized(headers.get("authorization", "")):
            return _make_response("401 Unauthorized", extra="WWW-Authenticate: Bearer\r\n")
        if path != "/metrics":
            return _make_response("404 Not Found")
        if method != "GET":
            return _make_response("405 Method Not Allowed", extra="Allow: GET\r\n")
        openmetrics = "application/openmetrics-text" in headers.get("accept", "")
        body = format_text(self._samples, openmetrics=openmetrics).encode()
        return _make_response("200 OK", body, OPENMETRICS_TYPE if openmetrics else TEXT_TYPE)

    def _is_known_host(self, host: str) -> bool:
        """Whether a request names this machine, and not a page's own host that resolves to it (DNS rebinding)."""
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        # A request to another machine's name carries a token, which a page does not have.
        is_own = is_loopback(name.lower().strip("[]")) or name.lower() == self._settings.address[0]
        return is_own or self._settings.token is not None

    def _is_authorized(self, authorization: str) -> bool:
        token = self._settings.token
        return token is None or hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode())

    # --- push -------------------------------------------------------------------------------------------------------

    def _push(self) -> None:
        push = self._settings.push
        if push is None:
            return
        now = self._environment.clock.now()
        samples = add_push_labels(collect_samples(self._store, self._settings, now), self._settings)
        present = {(each.name, each.labels) for each in samples}
        body = encode_remote_write(samples, sorted(self._pushed - present), now)
        self._work_queue.run_in_thread(
            lambda: send_push(push, body, self._environment.send), partial(self._on_pushed, present)
        )

    def _on_pushed(self, present: set[tuple[str, Labels]], result: DeliveryOutcome) -> None:
        push = self._settings.push
        if push is None:
            return
        self._set_problem("push", result.detail)
        if result.permanent:
            return
        delay = push.interval
        if result.delivered:
            self._pushed, self._push_delay = present, timedelta(0)
        else:
            delay = max(delay, self._push_delay)
            self._push_delay = min(2 * delay, MAX_PUSH_DELAY)
            delay *= 1 + 0.1 * self._environment.jitter()
        self._scheduler.schedule_after(_PUSH_JOB, max(delay, result.retry_after or timedelta(0)), self._push)


def write_textfile(path: Path, text: str) -> None:
    """Replace the file atomically, readable by everyone: node_exporter runs as another user.

    Raises:
        OSError: the folder is missing or cannot be written.
    """
    draft = path.with_name(f".{path.name}.tmp")
    try:
        draft.write_bytes(text.encode())
        draft.chmod(0o644)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _read_head(connection: socket.socket) -> bytes | None:
    """Read the head of a request, up to the empty line; None if it is too long.

    Raises:
        OSError: it did not arrive in time.
    """
    deadline_s, head = monotonic_s() + CONNECTION_TIMEOUT_S, b""
    while b"\r\n\r\n" not in head:
        if len(head) > MAX_HEADER_BYTES:
            return None
        connection.settimeout(max(deadline_s - monotonic_s(), 0.001))
        piece = connection.recv(4096)
        if not piece:
            raise ConnectionError("closed")
        head += piece
    return head.partition(b"\r\n\r\n")[0]


def _make_response(status: str, body: bytes = b"", kind: str = TEXT_TYPE, extra: str = "") -> bytes:
    body = body or (b"" if status == "200 OK" else status.encode() + b"\n")
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{extra}\r\n"
    )
    return head.encode() + body


def add_push_labels(samples: list[Sample], settings: MetricsTable) -> list[Sample]:
    """The samples with `job` and `instance`, which a scrape would add."""
    kind = settings.push.instance if settings.push is not None else "none"
    host = socket.gethostname()
    instance = {"hash": hash_label(settings, host), "name": host, "none": ""}[kind]
    further = tuple((name, value) for name, value in (("instance", instance), ("job", "ai-usage-watcher")) if value)
    return [Sample(each.name, tuple(sorted((*each.labels, *further))), each.value) for each in samples]


def send_push(push: PushTable, body: bytes, send: Send, timeout_s: float = PUSH_TIMEOUT_S) -> DeliveryOutcome:
    """Push once. Never raises."""
    headers = {
        "Content-Encoding": "snappy",
        "Content-Type": "application/x-protobuf",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
        "User-Agent": f"ai-usage-watcher/{__version__}",
        **push.headers,
    }
    request = Request(method="POST", url=push.url, headers=headers, body=body, timeout_s=timeout_s, status_decides=True)
    try:
        return interpret_push_response(send(request))
    except ProviderError as error:
        return DeliveryOutcome(delivered=False, detail=str(error))  # names the host
    except Exception as error:  # noqa: BLE001 - a push never ends the daemon
        return DeliveryOutcome(delivered=False, detail=f"{urlsplit(push.url).hostname}: {type(error).__name__}")


def interpret_push_response(response: Response) -> DeliveryOutcome:
    """The outcome by status, as for a channel; `detail` is empty where there is nothing to report."""
    outcome = interpret_response(response)
    if outcome.delivered:
        return structs.replace(outcome, detail="")
    text = response.body[:65536].decode("utf-8", "replace").lower()
    if response.status == HTTPStatus.BAD_REQUEST and ("out of order" in text or "duplicate sample" in text):
        detail = "another watcher pushes the same series: give each machine its own `instance`"
        return DeliveryOutcome(delivered=True, detail=detail)
    if outcome.permanent:
        hint = "check `url` and `headers` of [metrics.push], and its log"
        if response.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            hint = 'set detail = "lean" in [metrics]'
        detail = f"answered {format_status(response.status)}; {hint}; nothing is pushed until the settings change"
        return structs.replace(outcome, detail=detail)
    return outcome
