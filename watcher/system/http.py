"""The only way to the network: a `Request` goes out; a `Response` comes back, or a `ProviderError` says why not.

Rules for every request: 5 s to connect; a timeout for each read, and a deadline for the whole answer that is checked
while its body arrives; at most 2 MiB after decompression; no redirect to another host, because a token would go along;
no cookies, no netrc, no cache. Proxies of the environment are used, except for loopback addresses. Errors name only the
host, because a path or a query may be a secret. Retries and the meaning of a status are up to the caller.
"""

import contextlib
import http.client
import os
import ssl
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from watcher import __version__
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
from watcher.system import clock
from watcher.system.lazy_imports import suppress_imports

with suppress_imports(missing=("chardet", "charset_normalizer"), stubbed=("importlib.metadata",)):
    import requests  # noqa: TID251 - this module is the way to the network
    import urllib3
    from requests import exceptions  # noqa: TID251
    from requests.adapters import HTTPAdapter  # noqa: TID251
    from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies  # noqa: TID251

CONNECT_TIMEOUT_S = 5.0
MAX_BODY_BYTES = 2 * 1024 * 1024
MAX_REDIRECTS = 3
CHUNK_BYTES = 64 * 1024
REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
DEFAULT_PORTS = {"http": 80, "https": 443}

ERROR_MAPPING: tuple[tuple[tuple[type[BaseException], ...], type[ProviderError], str], ...] = (
    # the first row with a type among an error's causes counts: the order matters
    (
        (exceptions.ProxyError, urllib3.exceptions.ProxyError),
        OfflineError,
        "the proxy cannot be used: look at HTTPS_PROXY",
    ),
    ((urllib3.exceptions.NameResolutionError,), OfflineError, "the name cannot be found: look at the network"),
    ((ConnectionRefusedError,), OfflineError, "the connection was refused: look at the network"),
    ((requests.ConnectTimeout,), TimedOutError, f"no connection within {CONNECT_TIMEOUT_S:.0f} s: look at the network"),
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

ERRORS_AFTER_SEND = frozenset(
    {TimeoutError, http.client.IncompleteRead, http.client.RemoteDisconnected, http.client.HTTPException}
)
"""Those that happen only after the request went out, so that its outcome is unknown."""


def send_request(request: Request, *, now: Callable[[], datetime] = clock.utc_now) -> Response:
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
    if request.allow_self_signed and not is_loopback(host):
        raise BlockedError(f"{host} is not this machine: an unknown certificate is accepted from loopback only")
    deadline_s = clock.monotonic_s() + request.timeout_s
    try:
        return _send_following_redirects(request, host, now, deadline_s)
    except ProviderError as error:
        error.request_sent = True  # an answer had begun
        raise
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise _translate_error(error, host, request.timeout_s) from None


def preload_certificates() -> None:
    """Read the certificates now, for a long process; errors are reported at the first request."""
    with contextlib.suppress(OSError):
        _get_tls_context(verified=True)


def is_loopback(host: str) -> bool:
    """Whether that host is this machine by its address; names are not looked up."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


# --- one exchange ---------------------------------------------------------------------------------------------------


def _send_following_redirects(request: Request, host: str, now: Callable[[], datetime], deadline_s: float) -> Response:
    url = request.url
    for hops in range(MAX_REDIRECTS + 1):
        with _send_once(request, url, deadline_s) as answer:
            location = answer.headers.get("location") if answer.status_code in REDIRECT_STATUSES else None
            next_url = _resolve_redirect(url, location)
            if next_url is None or request.method != "GET" or hops == MAX_REDIRECTS:
                body = _read_body(answer, host, deadline_s)
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Response(status=answer.status_code, headers=headers, body=body, received_at=now())
            url = next_url
    raise AssertionError("unreachable")  # the last hop returns


@contextlib.contextmanager
def _send_once(request: Request, url: str, deadline_s: float) -> Iterator[requests.Response]:
    """The answer, its body not yet read. Each has a connection of its own: an idle one would go stale between polls."""
    parts = urlsplit(url)
    is_local = parts.hostname == "localhost" or is_loopback(parts.hostname or "")
    remaining_s = _compute_remaining_s(deadline_s)
    with (
        _make_session(parts.scheme, verified=not request.allow_self_signed) as session,
        session.request(
            request.method,
            url,
            headers=dict(request.headers),
            json=request.json,
            data=request.body if request.body is not None else request.form,
            stream=True,
            allow_redirects=False,
            timeout=(min(CONNECT_TIMEOUT_S, remaining_s), remaining_s),
            proxies=None if is_local else dict(get_environ_proxies(url)),
        ) as response,
    ):
        yield response


def _resolve_redirect(url: str, location: str | None) -> str | None:
    """Where a redirect leads; None where there is none, or where it leads to another scheme, host or port."""
    if not location:
        return None
    target = urljoin(url, location)
    return target if _origin(target) == _origin(url) else None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)


def _compute_remaining_s(deadline_s: float) -> float:
    remaining_s = deadline_s - clock.monotonic_s()
    if remaining_s <= 0:
        raise TimeoutError
    return remaining_s


def _read_body(response: requests.Response, host: str, deadline_s: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in _iter_decompressed(_iter_raw(response, deadline_s), response, host):
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise ShapeChangedError(f"{host}: the answer is larger than 2 MiB: no usage data is")
        parts.append(part)
    return b"".join(parts)


def _iter_raw(response: requests.Response, deadline_s: float) -> Iterator[bytes]:
    """The body as it arrives: each part is what one read of the socket gives, so that the deadline is checked often."""
    while part := response.raw.read1(CHUNK_BYTES, decode_content=False):
        yield part
        _compute_remaining_s(deadline_s)


def _iter_decompressed(raw: Iterator[bytes], response: requests.Response, host: str) -> Iterator[bytes]:
    """The body in parts of bounded size, so that a small answer cannot decompress into a huge one."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        yield from raw
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ServerError(f"{host}: the answer is packed in an unknown way: it is asked again later")
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # gzip or zlib, by its header
    empty = True
    try:
        for packed in raw:
            empty = False
            rest = packed
            while rest:
                yield unpacker.decompress(rest, CHUNK_BYTES)
                rest = unpacker.unconsumed_tail
        yield unpacker.flush(CHUNK_BYTES)
    except zlib.error:
        raise ServerError(f"{host}: the answer cannot be unpacked: it is asked again later") from None
    if not empty and not unpacker.eof:
        raise ServerError(f"{host}: the answer broke off: it is asked again later")


# --- sessions -------------------------------------------------------------------------------------------------------


class _Adapter(HTTPAdapter):
    """One TLS context for all connections; by default the library reads the certificates again for each."""

    def __init__(self, *, verified: bool) -> None:
        self._context = _get_tls_context(verified=verified)
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=self._context, **kwargs)

    def cert_verify(self, conn: Any, url: str, verify: object, cert: object) -> None:  # noqa: ARG002 - the library's
        conn.cert_reqs = "CERT_REQUIRED" if verify else "CERT_NONE"
        conn.ca_certs = conn.ca_cert_dir = None  # the context has them


def _make_session(scheme: str, *, verified: bool) -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no netrc; proxies are looked up for each request
    session.verify = verified
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
    if scheme == "https":
        session.mount("https://", _Adapter(verified=verified))
    if not verified:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    return session


@cache
def _get_tls_context(*, verified: bool) -> ssl.SSLContext:
    if verified:
        return _make_tls_context(os.environ)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _make_tls_context(env: Mapping[str, str]) -> ssl.SSLContext:
    """Trusts what `REQUESTS_CA_BUNDLE` or `CURL_CA_BUNDLE` names, else what requests trusts."""
    path = Path(env.get("REQUESTS_CA_BUNDLE") or env.get("CURL_CA_BUNDLE") or DEFAULT_CA_BUNDLE_PATH)
    return ssl.create_default_context(capath=path) if path.is_dir() else ssl.create_default_context(cafile=path)


# --- errors -------------------------------------------------------------------------------------------


def _translate_error(error: Exception, host: str, total_s: float) -> ProviderError:
    """The error in our words, without the library's text, which holds the whole URL."""
    causes = list(_iter_causes(error))
    for types, meaning, words in ERROR_MAPPING:
        if any(isinstance(cause, types) for cause in causes):
            explained = meaning(f"{host}: {words.format(total_s=total_s)}")
            explained.request_sent = not ERRORS_AFTER_SEND.isdisjoint(types)
            return explained
    return OfflineError(f"{host}: cannot be reached: look at the network")


def _iter_causes(error: object, depth: int = 0) -> Iterator[BaseException]:
    """The error and everything that it wraps, in any of the ways that libraries use."""
    if not isinstance(error, BaseException) or depth > 6:  # noqa: PLR2004 - libraries wrap twice or thrice
        return
    yield error
    for inner in (*error.args, getattr(error, "reason", None), error.__cause__, error.__context__):
        yield from _iter_causes(inner, depth + 1)
