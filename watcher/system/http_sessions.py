"""The sessions behind `watcher.system.http`: the library's own parts, bent where its defaults do not hold what that promises.

Never put here what a request or an answer means.
"""

import http.client
import io
import os
import ssl
import threading
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any

import requests  # noqa: TID251 - the door's other half
import urllib3
from requests.adapters import HTTPAdapter  # noqa: TID251 - likewise
from requests.utils import DEFAULT_CA_BUNDLE_PATH  # noqa: TID251 - likewise

from watcher import __version__
from watcher.system import clock

deadline = threading.local()
"""`at_s`: when, on the monotonic clock, the answer that this thread waits for must be whole."""

_sessions: dict[str, requests.Session] = {}
_lock = threading.Lock()


class _Timed(io.RawIOBase):
    """A socket's bytes under one deadline: each read may wait only for what is left of it."""

    def __init__(self, socket: Any, file: io.BufferedReader, at_s: float) -> None:
        self._socket, self._file, self._at_s = socket, file, at_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._at_s - clock.monotonic_s()
        if left_s <= 0:
            raise TimeoutError
        self._socket.settimeout(left_s)
        read: int | None = self._file.raw.readinto(buffer)
        return read

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer whose status line, headers and body share one deadline; a socket's own starts anew with each read."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        at_s = getattr(deadline, "at_s", None)
        if at_s is not None:
            self.fp = io.BufferedReader(_Timed(sock, self.fp, at_s))


class _Connection(urllib3.connection.HTTPConnection):
    response_class = _Answer


class _TlsConnection(urllib3.connection.HTTPSConnection):
    response_class = _Answer


class _Pool(urllib3.HTTPConnectionPool):
    """Uses each connection once: polls are minutes apart, and an idle connection only goes stale."""

    ConnectionCls = _Connection

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.close()


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection
    _put_conn = _Pool._put_conn  # noqa: SLF001 - one answer for both


class _LoopbackPool(_TlsPool):
    def _validate_conn(self, conn: Any) -> None:
        if conn.is_closed:  # as the original, less its warning: on this machine the certificate proves nothing
            conn.connect()


class _Adapter(HTTPAdapter):
    """One TLS context for all connections: the library would read the certificates anew for each."""

    def __init__(self, context: ssl.SSLContext | None, tls_pool: type[_TlsPool]) -> None:
        self._context, self._tls_pool = context, tls_pool
        super().__init__(pool_connections=8, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)
        self._use_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, ssl_context=self._context, **kwargs)
        if not proxy.lower().startswith("socks"):
            self._use_pools(manager)
        return manager

    def cert_verify(self, conn: Any, url: str, verify: object, cert: object) -> None:  # noqa: ARG002 - theirs
        conn.cert_reqs = "CERT_NONE" if self._tls_pool is _LoopbackPool else "CERT_REQUIRED"
        conn.ca_certs = conn.ca_cert_dir = None  # the context has them

    def _use_pools(self, manager: Any) -> None:
        manager.pool_classes_by_scheme = {"http": _Pool, "https": self._tls_pool}


def session(scheme: str) -> requests.Session:
    """The one session for http, https, or TLS on this machine; made when it is first needed."""
    with _lock:
        if scheme not in _sessions:
            _sessions[scheme] = _make_session(scheme)
        return _sessions[scheme]


def _make_session(scheme: str) -> requests.Session:
    made = requests.Session()
    made.trust_env = False  # no netrc; proxies are looked up per request
    made.headers.clear()
    made.headers.update(
        {
            "User-Agent": f"ai-usage-watcher/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "gzip, deflate",
            "Connection": "close",
        }
    )
    made.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    context, pool = None, _TlsPool
    if scheme == "https":
        context = _context(os.environ)
    elif scheme == "loopback":
        context, pool = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), _LoopbackPool
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    adapter = _Adapter(context, pool)
    for prefix in ("http://", "https://"):
        made.mount(prefix, adapter)
    return made


def _context(env: Mapping[str, str]) -> ssl.SSLContext:
    """Trusts what `REQUESTS_CA_BUNDLE` or `CURL_CA_BUNDLE` names, else what requests trusts."""
    named = Path(env.get("REQUESTS_CA_BUNDLE") or env.get("CURL_CA_BUNDLE") or DEFAULT_CA_BUNDLE_PATH)
    return ssl.create_default_context(capath=named) if named.is_dir() else ssl.create_default_context(cafile=named)
