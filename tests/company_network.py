"""A company's network on the loopback: an authority of its own, TLS servers, a CONNECT proxy and a SOCKS5 proxy."""

import base64
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import trustme

from watcher.demo.server import RequestHandler, Server


class Authority:
    """Signs certificates; `file` holds its own."""

    def __init__(self, folder: Path, name: str = "Example Corp") -> None:
        self._ca = trustme.CA(organization_name=name)
        self.file = folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(self.file)

    @contextmanager
    def serve(self, handler: RequestHandler, *hosts: str, **fields: Any) -> Iterator[Server]:
        """An HTTPS server with a certificate for these hosts; `fields` as `not_after`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*hosts, **fields).configure_cert(context)
        server = Server(handler)
        server._http.socket = context.wrap_socket(server._http.socket, server_side=True, do_handshake_on_connect=False)
        with server:
            yield server


class Proxy:
    """Leads every connection to one port of this machine, whatever host was asked for; notes those hosts."""

    def __init__(self, port: int, login: str = "") -> None:
        self._port, self._login = port, login
        self.hosts: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        close_listener(self._listener)
        self._thread.join(5)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, suppress(OSError):
            if not self._shake_hands(near):
                return
            with socket.create_connection(("127.0.0.1", self._port)) as far:
                back = threading.Thread(target=forward, args=(far, near), daemon=True)
                back.start()
                forward(near, far)
                back.join(5)

    def _shake_hands(self, near: socket.socket) -> bool:
        """HTTP's CONNECT."""
        asked = near.recv(65536).decode()
        self.hosts.append(asked.split()[1])
        wanted = f"Proxy-Authorization: Basic {base64.b64encode(self._login.encode()).decode()}"
        if self._login and wanted.lower() not in asked.lower():
            near.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n")
            return False
        near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return True


class SocksProxy(Proxy):
    """SOCKS 5 (RFC 1928, and RFC 1929 for the name and the password)."""

    def _shake_hands(self, near: socket.socket) -> bool:
        methods = near.recv(255)[2:]
        near.sendall(b"\x05\x02" if self._login else b"\x05\x00")
        if self._login:
            if 2 not in methods:
                return False
            given = near.recv(513)
            name = given[2 : 2 + given[1]]
            is_right = f"{name.decode()}:{given[3 + given[1] :].decode()}" == self._login
            near.sendall(b"\x01\x00" if is_right else b"\x01\x01")
            if not is_right:
                return False
        asked = near.recv(512)
        self.hosts.append(asked[5 : 5 + asked[4]].decode() if asked[3] == 3 else socket.inet_ntoa(asked[4:8]))
        near.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        return True


def close_listener(listener: socket.socket) -> None:
    """Close it. On Linux `shutdown` wakes a thread in `accept`; elsewhere it fails, and `close` does."""
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def forward(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
