"""The only door to the network: a `Request` goes out, a `Response` comes back, or a `ProviderError` says why not.

What holds for every request: 5 s to connect; one deadline for the whole answer, however slowly it drips; at most 2 MiB
of it, counted after decompression; no redirect to another host, because a token would go along; no cookies, no netrc,
no cache. Proxies of the environment are obeyed, except for loopback addresses. An error names the host alone: a path or
a query may be a secret. Never retry here, and never give a status a meaning.
"""

import contextlib
import http.client
import ssl
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime
from ipaddress import ip_address
from urllib.parse import urljoin, urlsplit

import requests  # noqa: TID251 - this is the door
import urllib3
from requests import exceptions  # noqa: TID251 - likewise
from requests.utils import get_environ_proxies  # noqa: TID251 - likewise

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
from watcher.system.http_sessions import deadline, session

CONNECT_TIMEOUT_S = 5.0
MAX_BODY_BYTES = 2 * 1024 * 1024
MAX_REDIRECTS = 3
CHUNK_BYTES = 64 * 1024
REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
DEFAULT_PORTS = {"http": 80, "https": 443}

ERROR_MAPPING: tuple[tuple[tuple[type[BaseException], ...], type[ProviderError], str], ...] = (
    # the first that is among an error's causes says what it means; the order is part of the meaning
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
"""Of those, what can only happen after the request went out, so that nobody knows what became of it."""


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
    deadline.at_s = clock.monotonic_s() + request.timeout_s
    try:
        return _send_following_redirects(request, host, now)
    except ProviderError as error:
        error.request_sent = True  # an answer had begun
        raise
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise _translate_error(error, host, request.timeout_s) from None


def preload_certificates() -> None:
    """Read the certificates now, for a process that will need them for long. What is wrong with them is said later."""
    with contextlib.suppress(OSError):
        session("https")


def is_loopback(host: str) -> bool:
    """Whether that host is this machine by its address; names are not looked up."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


# --- one exchange ---------------------------------------------------------------------------------------------------


def _send_following_redirects(request: Request, host: str, now: Callable[[], datetime]) -> Response:
    url = request.url
    for hops in range(MAX_REDIRECTS + 1):
        with _send_once(request, url) as answer:
            onward = (
                _resolve_redirect(url, answer.headers.get("location"))
                if answer.status_code in REDIRECT_STATUSES
                else None
            )
            if onward is None or request.method != "GET" or hops == MAX_REDIRECTS:
                body = _read_body(answer, host)
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Response(status=answer.status_code, headers=headers, body=body, received_at=now())
            url = onward
    raise AssertionError("unreachable")  # the last hop returns


def _send_once(request: Request, url: str) -> requests.Response:
    parts = urlsplit(url)
    loopback = parts.hostname == "localhost" or is_loopback(parts.hostname or "")
    return session("loopback" if request.allow_self_signed else parts.scheme).request(
        request.method,
        url,
        headers=dict(request.headers),
        json=request.json,
        data=request.body if request.body is not None else request.form,
        stream=True,
        allow_redirects=False,
        timeout=(min(CONNECT_TIMEOUT_S, _remaining_s()), _remaining_s()),
        proxies=None if loopback else dict(get_environ_proxies(url)),
    )


def _resolve_redirect(url: str, location: str | None) -> str | None:
    """Where a redirect leads, if that is the same host by the same means; else None."""
    if not location:
        return None
    onward = urljoin(url, location)
    return onward if _origin(onward) == _origin(url) else None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)


def _remaining_s() -> float:
    left = float(deadline.at_s) - clock.monotonic_s()
    if left <= 0:
        raise TimeoutError
    return left


def _read_body(response: requests.Response, host: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in _iter_decompressed(response, host):
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise ShapeChangedError(f"{host}: the answer is larger than 2 MiB: no usage data is")
        parts.append(part)
        _remaining_s()
    return b"".join(parts)


def _iter_decompressed(response: requests.Response, host: str) -> Iterator[bytes]:
    """The body in pieces of bounded size, so that a small answer cannot unpack into a huge one."""
    raw = response.raw.stream(CHUNK_BYTES, decode_content=False)
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
            empty = empty and not packed
            rest = packed
            while rest:
                yield unpacker.decompress(rest, CHUNK_BYTES)
                rest = unpacker.unconsumed_tail
        yield unpacker.flush(CHUNK_BYTES)
    except zlib.error:
        raise ServerError(f"{host}: the answer cannot be unpacked: it is asked again later") from None
    if not empty and not unpacker.eof:
        raise ServerError(f"{host}: the answer broke off: it is asked again later")


# --- what a failure means -------------------------------------------------------------------------------------------


def _translate_error(error: Exception, host: str, total_s: float) -> ProviderError:
    """The same failure in our words. Nothing of the library's text is kept: it holds the whole URL."""
    causes = list(_iter_causes(error))
    for types, meaning, words in ERROR_MAPPING:
        if any(isinstance(cause, types) for cause in causes):
            explained = meaning(f"{host}: {words.format(total_s=total_s)}")
            explained.request_sent = not ERRORS_AFTER_SEND.isdisjoint(types)
            return explained
    return OfflineError(f"{host}: cannot be reached: look at the network")


def _iter_causes(error: object, depth: int = 0) -> Iterator[BaseException]:
    """The error and everything that it wraps, in whichever way its library does that."""
    if not isinstance(error, BaseException) or depth > 6:  # noqa: PLR2004 - libraries wrap twice or thrice
        return
    yield error
    for inner in (*error.args, getattr(error, "reason", None), error.__cause__, error.__context__):
        yield from _iter_causes(inner, depth + 1)
