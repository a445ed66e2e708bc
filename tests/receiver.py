"""A receiver on the loopback that follows a list: each request gets the next fault of it, then good answers."""

import json
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HANG_S = 60.0  # longer than any test waits


class Receiver:
    """What came in, and what is to be done next.

    Attributes:
        got: (path, headers in lower case, body) of every request that was read to its end, in order.
        taken: bodies of those that were answered with success.
        faults: what to do with the next requests: a status, (status, headers, body), "reset", "hang", "drip", "cut".
    """

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.taken: list[bytes] = []
        self.faults: list[Any] = []
        self.good: tuple[int, dict[str, str], bytes] = (200, {}, b"ok")
        self.release = threading.Event()
        self.url = ""

    def titles(self) -> list[str]:
        return [json.loads(body).get("title", "") for body in self.taken]

    def keys(self) -> list[str]:
        return [headers.get("idempotency-key", "") for _, headers, _ in self.got]


@contextmanager
def receiver(faults: Sequence[Any] = ()) -> Iterator[Receiver]:  # noqa: C901 - a handler with its faults
    ours = Receiver()
    ours.faults = list(faults)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            ours.got.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            fault = ours.faults.pop(0) if ours.faults else ours.good
            if isinstance(fault, str):
                self.misbehave(fault)
                return
            status, headers, answer = (fault, {}, b"no") if isinstance(fault, int) else fault
            if 200 <= status < 300:
                ours.taken.append(body)
            self.answer(status, headers, answer)

        def answer(self, status: int, headers: dict[str, str], answer: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def misbehave(self, fault: str) -> None:
            self.close_connection = True
            if fault == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            elif fault == "hang":
                ours.release.wait(HANG_S)
            elif fault == "drip":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not ours.release.wait(0.05):
                    self.wfile.write(b".")
            elif fault == "cut":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")

        def log_message(self, *_: object) -> None:
            pass

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    ours.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield ours
    finally:
        ours.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
