"""The only door to the network: a `Request` goes out, a `Response` comes back, or a `ProviderError` says why not.

What holds for every request: 5 s to connect; one deadline for the whole answer, however slowly it drips; at most 2 MiB
of it, counted after decompression; no redirect to another host, because a token would go along; no cookies, no netrc,
no cache. Proxies of the environment are obeyed, except for loopback addresses. An error names the host alone: a path or
a query may be a secret. Never retry here, and never give a status a meaning.
"""

import http.client
import io
import os
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from http.cookiejar import DefaultCookiePolicy
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests  # noqa: TID251 - this is the door
import urllib3
from requests import exceptions  # noqa: TID251 - likewise
from requests.adapters import HTTPAdapter  # noqa: TID251 - likewise
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies  # noqa: TID251 - likewise

from watcher import __version__, clock
from watcher.core.model import Request, Response
from watcher.errors import (
    BlockedError,
    NotSignedInError,
    OfflineError,
    ProviderError,
    ServerError,
    ShapeChangedError,
    TimedOutError,
)

CONNECT_S = 5.0
MAX_BODY = 2 * 1024 * 1024
MAX_REDIRECTS = 3
CHUNK = 64 * 1024
REDIRECTS = frozenset({301, 302, 303, 307, 308})
PORTS = {"http": 80, "https": 443}

MEANINGS: tuple[tuple[tuple[type[BaseException], ...], type[ProviderError], str], ...] = (
    # the first that is among an error's causes says what it means; the order is part of the meaning
    (
        (exceptions.ProxyError, urllib3.exceptions.ProxyError),
        OfflineError,
        "the proxy cannot be used: look at HTTPS_PROXY",
    ),
    ((urllib3.exceptions.NameResolutionError,), OfflineError, "the name cannot be found: look at the network"),
    ((ConnectionRefusedError,), OfflineError, "the connection was refused: look at the network"),
    ((requests.ConnectTimeout,), TimedOutError, f"no connection within {CONNECT_S:.0f} s: look at the network"),
    (
        (TimeoutError, requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError),
        TimedOutError,
        "no whole answer within {total_s:g} s: it is asked again later",
    ),
    (
        (ssl.SSLError, exceptions.SSLError, urllib3.exceptions.SSLError),
        BlockedError,
        "its certificate is not trusted: look for a network login page or a proxy",
    ),
    (
        (exceptions.InvalidHeader, UnicodeError),
        NotSignedInError,
        "a header holds what cannot be sent: look at the token",
    ),
    (
        (exceptions.InvalidSchema, exceptions.InvalidURL, exceptions.MissingSchema),
        OfflineError,
        "not an address that can be asked: look at base_url and HTTPS_PROXY",
    ),
    (
        (http.client.IncompleteRead, urllib3.exceptions.IncompleteRead),
        ServerError,
        "the answer broke off: it is asked again later",
    ),
    ((http.client.RemoteDisconnected, ConnectionError), OfflineError, "the connection broke: it is asked again later"),
    (
        (http.client.HTTPException, urllib3.exceptions.ProtocolError),
        ServerError,
        "the answer is not HTTP: it is asked again later",
    ),
)

SENT = frozenset({TimeoutError, http.client.IncompleteRead, http.client.RemoteDisconnected, http.client.HTTPException})
"""Of those, what can only happen after the request went out, so that nobody knows what became of it."""

_sessions: dict[str, requests.Session] = {}
_lock = threading.Lock()
_deadline = threading.local()


def send(request: Request, *, now: Callable[[], datetime] = clock.now) -> Response:
    """The answer, whatever its status.

    Raises:
        OfflineError: no connection, or it ended before an answer began.
        TimedOutError: no whole answer in `request.total_s`.
        ServerError: the answer broke off or cannot be decompressed.
        BlockedError: the far side's certificate is not trusted.
        ShapeChangedError: the answer is larger than 2 MiB.
        NotSignedInError: a header holds what cannot be sent.
    """
    try:
        host = urlsplit(request.url).hostname or "?"
    except ValueError:
        raise OfflineError("not an address that can be asked: look at base_url") from None
    _deadline.at_s = clock.monotonic_s() + request.total_s
    try:
        return _exchange(request, host, now)
    except ProviderError:
        raise
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise _explain(error, host, request.total_s) from None


def is_loopback(host: str) -> bool:
    """Whether that host is this machine by its address; names are not looked up."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


# --- one exchange ---------------------------------------------------------------------------------------------------


def _exchange(request: Request, host: str, now: Callable[[], datetime]) -> Response:
    if request.loopback_tls and not is_loopback(host):
        raise BlockedError(f"{host} is not this machine: an unknown certificate is accepted from loopback only")
    url = request.url
    for hops in range(MAX_REDIRECTS + 1):
        with _ask(request, url) as answer:
            onward = _onward(url, answer.headers.get("location")) if answer.status_code in REDIRECTS else None
            if onward is None or request.method != "GET" or hops == MAX_REDIRECTS:
                body = _body(answer, host)
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Response(status=answer.status_code, headers=headers, body=body, at=now())
            url = onward
    raise AssertionError("unreachable")  # the last hop returns


def _ask(request: Request, url: str) -> requests.Response:
    parts = urlsplit(url)
    loopback = parts.hostname == "localhost" or is_loopback(parts.hostname or "")
    return _session("loopback" if request.loopback_tls else parts.scheme).request(
        request.method,
        url,
        headers=dict(request.headers),
        json=request.json,
        data=request.body if request.body is not None else request.form,
        stream=True,
        allow_redirects=False,
        timeout=(min(CONNECT_S, _left_s()), _left_s()),
        proxies=None if loopback else dict(get_environ_proxies(url)),
    )


def _onward(url: str, location: str | None) -> str | None:
    """Where a redirect leads, if that is the same host by the same means; else None."""
    if not location:
        return None
    onward = urljoin(url, location)
    return onward if _origin(onward) == _origin(url) else None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or PORTS.get(parts.scheme)


def _left_s() -> float:
    left = float(_deadline.at_s) - clock.monotonic_s()
    if left <= 0:
        raise TimeoutError
    return left


def _body(answer: requests.Response, host: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in _decompressed(answer, host):
        size += len(part)
        if size > MAX_BODY:
            raise ShapeChangedError(f"{host}: the answer is larger than 2 MiB: no usage data is")
        parts.append(part)
        _left_s()
    return b"".join(parts)


def _decompressed(answer: requests.Response, host: str) -> Iterator[bytes]:
    """The body in pieces of bounded size, so that a small answer cannot unpack into a huge one."""
    raw = answer.raw.stream(CHUNK, decode_content=False)
    encoding = answer.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        yield from raw
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ServerError(f"{host}: the answer is packed in an unknown way: it is asked again later")
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # gzip or zlib, by its header
    empty = True
    try:
        for packed in raw:
            empty = empty and not packed
            rest = packed
            while rest:
                yield unpacker.decompress(rest, CHUNK)
                rest = unpacker.unconsumed_tail
        yield unpacker.flush(CHUNK)
    except zlib.error:
        raise ServerError(f"{host}: the answer cannot be unpacked: it is asked again later") from None
    if not empty and not unpacker.eof:
        raise ServerError(f"{host}: the answer broke off: it is asked again later")


# --- what a failure means -------------------------------------------------------------------------------------------


def _explain(error: Exception, host: str, total_s: float) -> ProviderError:
    """The same failure in our words. Nothing of the library's text is kept: it holds the whole URL."""
    causes = list(_causes(error))
    for types, meaning, words in MEANINGS:
        if any(isinstance(cause, types) for cause in causes):
            explained = meaning(f"{host}: {words.format(total_s=total_s)}")
            explained.sent = not SENT.isdisjoint(types)
            return explained
    return OfflineError(f"{host}: cannot be reached: look at the network")


def _causes(error: object, depth: int = 0) -> Iterator[BaseException]:
    """The error and everything that it wraps, in whichever way its library does that."""
    if not isinstance(error, BaseException) or depth > 6:  # noqa: PLR2004 - libraries wrap twice or thrice
        return
    yield error
    for inner in (*error.args, getattr(error, "reason", None), error.__cause__, error.__context__):
        yield from _causes(inner, depth + 1)


# --- sessions -------------------------------------------------------------------------------------------------------


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
        at_s = getattr(_deadline, "at_s", None)
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


def _session(scheme: str) -> requests.Session:
    """The one session for http, https, or TLS on this machine; made when it is first needed."""
    with _lock:
        if scheme not in _sessions:
            _sessions[scheme] = _make_session(scheme)
        return _sessions[scheme]


def _make_session(scheme: str) -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no netrc; proxies are looked up per request
    session.headers.clear()
    session.headers.update(
        {
            "User-Agent": f"ai-usage-watcher/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "gzip, deflate",
            "Connection": "close",
        }
    )
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    context, pool = None, _TlsPool
    if scheme == "https":
        context = _context(os.environ)
    elif scheme == "loopback":
        context, pool = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), _LoopbackPool
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    adapter = _Adapter(context, pool)
    for prefix in ("http://", "https://"):
        session.mount(prefix, adapter)
    return session


def _context(env: Mapping[str, str]) -> ssl.SSLContext:
    """Trusts what `REQUESTS_CA_BUNDLE` or `CURL_CA_BUNDLE` names, else what requests trusts."""
    named = Path(env.get("REQUESTS_CA_BUNDLE") or env.get("CURL_CA_BUNDLE") or DEFAULT_CA_BUNDLE_PATH)
    return ssl.create_default_context(capath=named) if named.is_dir() else ssl.create_default_context(cafile=named)
