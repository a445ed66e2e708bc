"""Sends a `Request` and returns a `Response`, or raises a `ProviderError`. All HTTP requests are sent here.

Rules for every request: 5 s to connect; a timeout for each read, and a deadline for the whole answer that is checked
while its body arrives; at most 2 MiB after decompression, and if the status decides, the first 64 KiB within 2 s; no
redirect to another host, which would receive the token; no cookies, no netrc, no cache. The proxy is that of
`[network]`, else the environment's; none for a loopback address. The system's certificates are trusted, or those that
`[network]` or the environment names. Errors name only the host, because a path or a query may be secret. The caller
retries and interprets the status.
"""

import contextlib
import http.client
import os
import re
import ssl
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies

from watcher import __version__
from watcher.core.formatting import clean_text
from watcher.core.model import NetworkSettings, Request, Response, is_loopback, parse_http_date
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
    from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, select_proxy  # noqa: TID251

NO_SETTINGS = NetworkSettings()
CONNECT_TIMEOUT_S = 5.0
MAX_BODY_BYTES = 2 * 1024 * 1024
MAX_START_BYTES, MAX_START_S = 64 * 1024, 2.0  # of a body where the status decides
MAX_REDIRECTS = 3
CHUNK_BYTES = 64 * 1024
REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
DEFAULT_PORTS = {"http": 80, "https": 443}
TUNNEL_FAILED = "Tunnel connection failed:"  # as in the standard library
_TUNNEL_STATUS = re.compile(f"{TUNNEL_FAILED} ([0-9]{{3}})")

SYSTEM_CA_FILES = (
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/pki/tls/cert.pem",
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/ssl/ca-bundle.pem",  # SUSE
)
# OpenSSL's X509_V_ERR_..., Windows' CERT_E_..., macOS' errSec...: `truststore` gives those of the system
DATE_ERRORS = frozenset({9, 10, 0x800B0101, -67818, -67819})  # expired, not yet valid
NAME_ERRORS = frozenset({62, 64, 0x800B010F, -67602})  # another host name, another address
DER_VERSION_TAG, DER_BMP_STRING_TAG = 0xA0, 0x1E
COMMON_NAME_OID, ORGANISATION_OID = b"\x55\x04\x03", b"\x55\x04\x0a"

ERROR_MAPPING: tuple[tuple[tuple[type[BaseException], ...], type[ProviderError], str], ...] = (
    # the first row with a type among an error's causes counts: the order matters
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
        "no encrypted connection: look for a network login page or a proxy",
    ),
    (
        (exceptions.InvalidHeader, UnicodeError),
        NotSignedInError,
        "a header holds what cannot be sent: look at the token",
    ),
    (
        (exceptions.InvalidSchema, exceptions.InvalidURL, exceptions.MissingSchema),
        OfflineError,
        "not an address that can be asked: look at base_url",
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


def send_request(
    request: Request, *, network: NetworkSettings = NO_SETTINGS, now: Callable[[], datetime] = clock.utc_now
) -> Response:
    """The answer, whatever its status.

    Raises:
        OfflineError: no connection, or it ended before an answer began.
        TimedOutError: no whole answer in `request.timeout_s`.
        ServerError: the answer broke off or cannot be decompressed.
        BlockedError: the far side's certificate is not trusted, or the proxy refuses.
        ShapeChangedError: the answer is larger than 2 MiB.
        NotSignedInError: a header holds what cannot be sent.
    """
    try:
        host = urlsplit(request.url).hostname or "?"
    except ValueError:
        raise OfflineError("not an address that can be asked: look at base_url") from None
    if request.allow_self_signed and not is_loopback(host):
        raise BlockedError(f"{host} is not this machine: an unknown certificate is accepted from loopback only")
    deadline_s, proxy = clock.monotonic_s() + request.timeout_s, ""
    try:
        proxy = _find_proxy(request.url, network)
        is_encrypted = "https" in (urlsplit(request.url).scheme, urlsplit(proxy).scheme)
        context = get_tls_context(network, verified=not request.allow_self_signed) if is_encrypted else None
        return _send_following_redirects(request, _Route(host, proxy, context), now, deadline_s)
    except ProviderError as error:
        error.request_sent = not isinstance(error, BlockedError)  # an answer had begun
        raise
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        causes = list(_iter_causes(error))
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
            raise _explain_certificate(causes, request.url, host, proxy, deadline_s) from None
        if proxy and (explained := _explain_proxy_error(causes, host, proxy, network)):
            raise explained from None
        raise _translate_error(causes, host, request.timeout_s) from None


# --- one exchange ---------------------------------------------------------------------------------------------------


class _Route(NamedTuple):
    """The proxy and TLS settings for one host."""

    host: str
    proxy: str  # empty: none
    context: ssl.SSLContext | None  # None: nothing is encrypted


def _send_following_redirects(
    request: Request, route: _Route, now: Callable[[], datetime], deadline_s: float
) -> Response:
    url = request.url
    for hops in range(MAX_REDIRECTS + 1):
        with _send_once(request, url, route, deadline_s) as answer:
            location = answer.headers.get("location") if answer.status_code in REDIRECT_STATUSES else None
            next_url = _resolve_redirect(url, location)
            if next_url is None or request.method != "GET" or hops == MAX_REDIRECTS:
                read = _read_start_of_body if request.status_decides else _read_body
                body = read(answer, route.host, deadline_s)
                headers = {name.lower(): value for name, value in answer.headers.items()}
                received_at, sent_at = now(), parse_http_date(headers.get("date", ""))
                return Response(
                    status=answer.status_code,
                    headers=headers,
                    body=body,
                    received_at=received_at,
                    clock_ahead=None if sent_at is None else received_at - sent_at,
                )
            url = next_url
    raise AssertionError("unreachable")  # the last hop returns


@contextlib.contextmanager
def _send_once(request: Request, url: str, route: _Route, deadline_s: float) -> Iterator[requests.Response]:
    """Send on a new connection; the body is not yet read. A kept connection would expire between polls."""
    scheme = urlsplit(url).scheme
    remaining_s = _compute_remaining_s(deadline_s)
    with (
        _make_session(route.context) as session,
        session.request(
            request.method,
            url,
            headers=dict(request.headers),
            json=request.json,
            data=request.body if request.body is not None else request.form,
            stream=True,
            allow_redirects=False,
            timeout=(min(CONNECT_TIMEOUT_S, remaining_s), remaining_s),
            proxies={scheme: route.proxy} if route.proxy else None,
        ) as response,
    ):
        if route.proxy and response.status_code == http.client.PROXY_AUTHENTICATION_REQUIRED:
            raise OSError(f"{TUNNEL_FAILED} {response.status_code}")  # as for a tunnel
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


def _read_start_of_body(response: requests.Response, host: str, deadline_s: float) -> bytes:
    """The first 64 KiB of the body, as far as they arrive within 2 s; errors end it."""
    body = bytearray()
    timer = threading.Timer(MAX_START_S, _shut_down, [response])  # a read that hangs checks no deadline
    timer.daemon = True
    timer.start()
    try:
        with contextlib.suppress(ProviderError, urllib3.exceptions.HTTPError, OSError, ValueError):
            for part in _iter_decompressed(_iter_raw(response, deadline_s), response, host):
                body += part
                if len(body) >= MAX_START_BYTES:
                    break
    finally:
        timer.cancel()
    return bytes(body[:MAX_START_BYTES])


def _shut_down(response: requests.Response) -> None:
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # it is closed already
        response.raw.shutdown()


def _iter_raw(response: requests.Response, deadline_s: float) -> Iterator[bytes]:
    """The body in one part for each read of the socket, so that the deadline is checked often."""
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


# --- proxies --------------------------------------------------------------------------------------------------------


def _find_proxy(url: str, network: NetworkSettings) -> str:
    """The proxy for this address; empty: none."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host == "localhost" or is_loopback(host):
        return ""
    if network.no_proxy is None and network.proxy is None:
        found = get_environ_proxies(url)
    else:
        found = {"all": network.proxy} if network.proxy else getproxies()
        if _is_exception(host, getproxies().get("no", "") if network.no_proxy is None else network.no_proxy):
            return ""
    return select_proxy(url, dict(found)) or ""


def _is_exception(host: str, no_proxy: str) -> bool:
    """Whether `no_proxy` names the host: by its name, a domain above it, its address or a network."""
    for each in no_proxy.lower().replace(" ", "").split(","):
        name = each.removeprefix("*").lstrip(".")
        if each == "*" or (name and f".{host}".endswith(f".{name}")):
            return True
        with contextlib.suppress(ValueError):
            if ip_address(host) in ip_network(each, strict=False):
                return True
    return False


def _explain_proxy_error(
    causes: list[BaseException], host: str, proxy: str, network: NetworkSettings
) -> ProviderError | None:
    """The error as one of the proxy, without its password; None if it is not."""
    setting = "`proxy` under [network]" if network.proxy else "HTTPS_PROXY"

    def is_any(*types: type[BaseException]) -> bool:
        return any(isinstance(cause, types) for cause in causes)

    refused = next((found[1] for cause in causes if (found := _TUNNEL_STATUS.search(str(cause)))), None)
    kind: type[ProviderError] = BlockedError
    if refused == "407" or any(type(cause).__name__ == "SOCKS5AuthError" for cause in causes):
        words = f"asks for a name and a password: write NAME:PASSWORD@ before its host in {setting}"
    elif refused is not None:
        words = f"refuses to connect to it (status {refused}): look at {setting}"
    elif is_any(exceptions.InvalidProxyURL, urllib3.exceptions.ProxySchemeUnknown):
        kind, words = OfflineError, f"is not an address that can be used: look at {setting}"
    elif is_any(ConnectionRefusedError, urllib3.exceptions.NewConnectionError):
        kind, words = OfflineError, f"cannot be used: look at {setting}"
    elif is_any(urllib3.exceptions.ConnectTimeoutError) or _was_proxy_silent(causes, proxy):
        kind, words = TimedOutError, f"gives no answer: look at {setting}"
    elif is_any(ssl.SSLError, http.client.BadStatusLine):
        words = f"answers something else, such as a login page: open it in a browser, or look at {setting}"
    elif is_any(exceptions.ProxyError, urllib3.exceptions.ProxyError):
        kind, words = OfflineError, f"cannot be used: look at {setting}"
    else:
        return None
    return kind(f"{host}: the proxy {format_proxy(proxy)} {words}")


def _was_proxy_silent(causes: list[BaseException], proxy: str) -> bool:
    """Whether the timeout came before the proxy had connected."""
    urls = [cause.url for cause in causes if isinstance(cause, urllib3.exceptions.ReadTimeoutError)]
    return any((url or "").rstrip("/").endswith(format_proxy(proxy)) for url in urls)


def format_proxy(proxy: str) -> str:
    """The proxy's host and port, without its password."""
    return proxy.rpartition("://")[2].rpartition("@")[2].split("/")[0]


# --- sessions and certificates --------------------------------------------------------------------------------------


class _Adapter(HTTPAdapter):
    """One TLS context for all connections; by default the library reads the certificates again for each."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if proxy.startswith("https:"):
            kwargs["proxy_ssl_context"] = self._context
        return super().proxy_manager_for(proxy, ssl_context=self._context, **kwargs)

    def cert_verify(self, conn: Any, url: str, verify: object, cert: object) -> None:  # noqa: ARG002 - the library's
        conn.cert_reqs = "CERT_REQUIRED" if self._context.verify_mode == ssl.CERT_REQUIRED else "CERT_NONE"
        conn.ca_certs = conn.ca_cert_dir = None  # the context has them


def _make_session(context: ssl.SSLContext | None) -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no netrc; proxies are looked up for each request
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
    if context is not None:
        session.mount("https://", _Adapter(context))
        if context.verify_mode == ssl.CERT_NONE:
            session.verify = False
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    return session


def get_tls_context(network: NetworkSettings, *, verified: bool) -> ssl.SSLContext:
    """The TLS context of all connections.

    Raises:
        BlockedError: the certificates that the settings name cannot be read.
    """
    if not verified:
        return _make_unverified_context()
    setting, path = network.find_ca_bundle(os.environ)
    extra = os.environ.get("NODE_EXTRA_CA_CERTS", "")
    if not path and sys.platform in ("darwin", "win32"):
        return _add_certificates(_make_system_context(), extra)  # it locks itself during a handshake: not shared
    try:
        return _load_tls_context(path, extra)
    except OSError as error:  # ssl.SSLError is one
        reason = "holds no certificate" if isinstance(error, ssl.SSLError) else "cannot be read"
        raise BlockedError(f"{path} {reason}: correct {setting}") from None


@cache
def _load_tls_context(path: str, extra: str) -> ssl.SSLContext:
    if not path:
        context = _make_system_context()
    elif Path(path).is_dir():
        context = ssl.create_default_context(capath=path)
    else:
        context = ssl.create_default_context(cafile=path)
    return _add_certificates(context, extra)


def _make_system_context() -> ssl.SSLContext:
    """Trusts what the operating system trusts."""
    if sys.platform in ("darwin", "win32"):  # pragma: no cover - asks the system's own API after each handshake
        import truststore  # noqa: PLC0415 - only there

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:  # noqa: RET505 - for mypy, which follows one platform
        # before Python's defaults: a Python of Conda or Homebrew, or one built elsewhere, has certificates of its own
        file = next((each for each in SYSTEM_CA_FILES if Path(each).is_file()), None)
        if file and not os.environ.get("SSL_CERT_DIR"):
            return ssl.create_default_context(cafile=file)
        defaults = ssl.get_default_verify_paths()
        if defaults.cafile or (defaults.capath and any(Path(defaults.capath).iterdir())):
            return ssl.create_default_context()
        return ssl.create_default_context(cafile=file or DEFAULT_CA_BUNDLE_PATH)


def _add_certificates(context: ssl.SSLContext, path: str) -> ssl.SSLContext:
    """Add certificates; as in Node, an unreadable file adds none."""
    if path:
        with contextlib.suppress(OSError):
            context.load_verify_locations(cafile=path)
    return context


def _make_unverified_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# --- a certificate that is not trusted ------------------------------------------------------------------------------


def _explain_certificate(
    causes: list[BaseException], url: str, host: str, proxy: str, deadline_s: float
) -> BlockedError:
    """Whose certificate it is, who signed it, and what to set."""
    failure = next(cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError))
    issuer = read_issuer(_get_presented_certificate(url, host, proxy, deadline_s))
    signed = f", signed by {issuer}," if issuer else ""
    if failure.verify_code in DATE_ERRORS:
        return BlockedError(f"{host}: its certificate{signed} is not valid today: look at the clock of this machine")
    if failure.verify_code in NAME_ERRORS:
        return BlockedError(f"{host}: its certificate{signed} is for another name: look for a network login page")
    cure = "if your network inspects connections, set `ca_bundle` under [network] to the file with its authority"
    return BlockedError(f"{host}: its certificate{signed} is not trusted: {cure}, else look for a login page")


class _PresentedError(Exception):
    """Holds the certificate of an aborted handshake."""


class _GiveUpAfterHandshake(ssl.SSLSocket):
    """Aborts the connection after the handshake, before anything is sent."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - the library's
        super().do_handshake(block)
        certificate = self.getpeercert(binary_form=True)
        self.close()
        raise _PresentedError(certificate)


def _get_presented_certificate(url: str, host: str, proxy: str, deadline_s: float) -> bytes:
    """The server's certificate, from a separate handshake; empty if that fails."""
    context = _make_unverified_context()
    context.sslsocket_class = _GiveUpAfterHandshake
    try:
        with _send_once(Request(url=url), url, _Route(host, proxy, context), deadline_s):
            return b""
    except _PresentedError as presented:
        certificate: bytes = presented.args[0] or b""
        return certificate
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError):
        return b""


def read_issuer(certificate: bytes) -> str:
    """Who signed a certificate: the issuer's common name, else its organisation (RFC 5280, section 4.1)."""
    try:
        [(_, body)] = _iter_der(certificate)
        fields = [content for tag, content in _iter_der(next(_iter_der(body))[1]) if tag != DER_VERSION_TAG]
        names = {}
        for _, group in _iter_der(fields[2]):
            for _, pair in _iter_der(group):
                (_, kind), (tag, text) = _iter_der(pair)
                names[kind] = text.decode("utf-16-be" if tag == DER_BMP_STRING_TAG else "utf-8", "replace")
    except (IndexError, ValueError, StopIteration):
        return ""
    return clean_text(names.get(COMMON_NAME_OID) or names.get(ORGANISATION_OID) or "")


def _iter_der(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The tag and the content of each DER value."""
    while data:
        tag, size, start = data[0], data[1], 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(data[2:start])
        yield tag, data[start : start + size]
        data = data[start + size :]


# --- errors -------------------------------------------------------------------------------------------


def _translate_error(causes: list[BaseException], host: str, total_s: float) -> ProviderError:
    """The error without the library's text, which has the whole URL."""
    for types, meaning, words in ERROR_MAPPING:
        if any(isinstance(cause, types) for cause in causes):
            explained = meaning(f"{host}: {words.format(total_s=total_s)}")
            explained.request_sent = not ERRORS_AFTER_SEND.isdisjoint(types)
            return explained
    return OfflineError(f"{host}: cannot be reached: look at the network")


def _iter_causes(error: object, depth: int = 0) -> Iterator[BaseException]:
    """The error and its causes, in any of the forms that libraries use."""
    if not isinstance(error, BaseException) or depth > 6:  # noqa: PLR2004 - libraries wrap twice or thrice
        return
    yield error
    for inner in (*error.args, getattr(error, "reason", None), error.__cause__, error.__context__):
        yield from _iter_causes(inner, depth + 1)
