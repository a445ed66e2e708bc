"""A loopback HTTP server that simulates all providers and a webhook, and fails on request.

It binds to 127.0.0.1 only. A handler decides on the answers; this module sends them: complete, late, cut off, refused.
"""

import json
import socket
import struct
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from msgspec import Struct, field


class ReceivedRequest(Struct, frozen=True, kw_only=True):
    """A request as it arrived."""

    method: str
    path: str  # without the query
    query: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes


class Reply(Struct, frozen=True, kw_only=True):
    """An answer as it is sent. The last four fields make it a bad one."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_s: float = 0.0  # before the first byte
    chunk_delay_s: float = 0.0  # after each sixteenth of the body: a server that is slow to finish
    truncate_body: bool = False  # announces the whole body, sends half of it, closes the connection
    reset_connection: bool = False  # sends a TCP reset instead of an answer


def json_reply(value: Any, status: int = 200, **headers: str) -> Reply:
    """A JSON answer; underscores in header names become dashes."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status=status, headers={"content-type": "application/json", **named}, body=json.dumps(value).encode())


_HTML_PAGE = (
    b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>Checking your browser</body></html>"
)
_RATE_LIMIT_BODY = {
    "type": "error",
    "error": {"type": "rate_limit_error", "message": "Rate limited. Please try again later."},
}

FAULTS: Mapping[str, Reply] = {
    "429": json_reply(_RATE_LIMIT_BODY, 429),
    "429 retry-after 0": json_reply(_RATE_LIMIT_BODY, 429, retry_after="0"),
    "429 retry-after 600": json_reply(_RATE_LIMIT_BODY, 429, retry_after="600"),
    "401": json_reply({"error": {"message": "OAuth token has expired."}}, 401),
    "403": json_reply({"error": {"message": "not allowed"}}, 403),
    "404": json_reply({"message": "Not Found"}, 404),
    "500": json_reply({"error": "internal"}, 500),
    "502 html": Reply(status=502, headers={"content-type": "text/html"}, body=_HTML_PAGE),
    "html": Reply(headers={"content-type": "text/html"}, body=_HTML_PAGE),
    "challenge": Reply(status=403, headers={"content-type": "text/html", "cf-mitigated": "challenge"}, body=_HTML_PAGE),
    "empty": Reply(headers={"content-type": "application/json"}),
    "null": json_reply(None),
    "list": json_reply([]),
    "object": json_reply({}),
    "torn json": Reply(headers={"content-type": "application/json"}, body=b'{"five_hour": {"utiliz'),
    "not utf-8": Reply(headers={"content-type": "application/json"}, body=b'{"plan": "\xff\xfe"}'),
    "deep": Reply(headers={"content-type": "application/json"}, body=b"[" * 100_000),
    "huge": Reply(headers={"content-type": "application/json"}, body=b'"' + b"x" * (3 << 20) + b'"'),
    "bad gzip": Reply(headers={"content-type": "application/json", "content-encoding": "gzip"}, body=b"not gzip"),
    "elsewhere": Reply(status=302, headers={"location": "https://elsewhere.invalid/login"}),
    "slow": Reply(headers={"content-type": "application/json"}, body=b"{}", delay_s=120.0),
    "drip": Reply(headers={"content-type": "application/json"}, body=b" " * 160, chunk_delay_s=10.0),
    "cut": Reply(
        headers={"content-type": "application/json"}, body=b'{"five_hour": null, "seven_day": null}', truncate_body=True
    ),
    "reset": Reply(reset_connection=True),
}
"""Bad answers that APIs have been seen to give, by name."""

RequestHandler = Callable[[ReceivedRequest], Reply]
_LINGER_FOR_RESET = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class Server:
    """Answers on a free port of 127.0.0.1 while `with Server(handler) as server:` runs."""

    def __init__(self, handler: RequestHandler, *, max_requests: int | None = None) -> None:
        self._answer_request = handler
        self._lock = threading.Lock()
        self._requests: deque[ReceivedRequest] = deque(maxlen=max_requests)
        self._faults: defaultdict[str, deque[Reply]] = defaultdict(deque)
        self._closing = threading.Event()
        self._http = _Listener(("127.0.0.1", 0), self._make_handler_class())
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), name="demo-server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()  # ends the delays of slow answers
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def requests(self) -> list[ReceivedRequest]:
        """All requests so far, or the last `max_requests`, in order of arrival."""
        with self._lock:
            return list(self._requests)

    def queue_fault(self, path: str, fault: str | Reply, times: int = 1) -> None:
        """Answer the next requests to a path with a reply, or with one of `FAULTS`. Several calls queue up."""
        reply = FAULTS[fault] if isinstance(fault, str) else fault
        with self._lock:
            self._faults[path].extend([reply] * times)

    def clear_faults(self) -> None:
        """Remove all queued faults."""
        with self._lock:
            self._faults.clear()

    def _choose_reply(self, request: ReceivedRequest) -> Reply:
        with self._lock:
            self._requests.append(request)
            queued = self._faults.get(request.path)
            if queued:
                return queued.popleft()
        return self._answer_request(request)

    def _make_handler_class(self) -> type[BaseHTTPRequestHandler]:
        reply, closing = self._choose_reply, self._closing

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                path, _, query = self.path.partition("?")
                headers = {name.lower(): text for name, text in self.headers.items()}
                body = self.rfile.read(length)
                asked = ReceivedRequest(method=self.command, path=path, query=query, headers=headers, body=body)
                _send_reply(self, reply(asked), closing)

            do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the names that the library calls

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
                """Print nothing: the terminal belongs to the demonstration."""

        return Handler


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a client that does not read must not prevent closing

    def shutdown_request(self, request: Any) -> None:
        """Close; a connection to be reset must not be shut down before."""
        if request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_LINGER_FOR_RESET)) == _LINGER_FOR_RESET:
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: many faults make the client close the connection."""


def _send_reply(handler: BaseHTTPRequestHandler, reply: Reply, closing: threading.Event) -> None:
    if reply.delay_s:
        closing.wait(reply.delay_s)
    if reply.reset_connection:
        # Linger for zero seconds: the close sends RST instead of FIN.
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_FOR_RESET)
        handler.close_connection = True
        return
    handler.send_response(reply.status)
    for name, text in reply.headers.items():
        handler.send_header(name, text)
    handler.send_header("content-length", str(len(reply.body)))
    handler.end_headers()
    if reply.truncate_body:
        handler.wfile.write(reply.body[: len(reply.body) // 2])
        handler.close_connection = True
        return
    piece = max(len(reply.body) // 16, 1) if reply.chunk_delay_s else max(len(reply.body), 1)
    for start in range(0, len(reply.body), piece):
        handler.wfile.write(reply.body[start : start + piece])
        if reply.chunk_delay_s and closing.wait(reply.chunk_delay_s):
            return
