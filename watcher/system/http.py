"""Sends a `Request` and returns a `Response`, or raises a `ProviderError`. All HTTP requests are sent here.

Rules for every request: 5 s to connect; a timeout for each read, and a deadline for the whole answer that is checked
while its body arrives; at most 2 MiB after decompression, or the first 64 KiB if the status decides; no redirect is
followed, as it could take the token elsewhere; no cookies, no netrc, no cache. The proxy is that of
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
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
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
    from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy, should_bypass_proxies  # noqa: TID251

NO_SETTINGS = NetworkSettings()
CONNECT_TIMEOUT_S = 5.0
MAX_BODY_BYTES = 2 * 1024 * 1024
MAX_START_BYTES = 64 * 1024  # of a body where the status decides
CHUNK_BYTES = 64 * 1024
TUNNEL_FAILED = "Tunnel connection failed:"  # as in the standard library
PROXY_ERRORS = (
    exceptions.InvalidProxyURL,
    urllib3.exceptions.ProxyError,
    urllib3.exceptions.ProxySchemeUnknown,
    urllib3.exceptions.NewConnectionError,
)
_TUNNEL_STATUS = re.compile(f"{TUNNEL_FAILED} ([0-9]{{3}})")

SYSTEM_CA_FILES = (
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/pki/tls/cert.pem",
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/ssl/ca-bundle.pem",  # SUSE
)

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
    ((http.client.RemoteDisconnected, ConnectionError), OfflineError, "the connection broke: it is asked again later"),
    (
        (http.client.HTTPException, urllib3.exceptions.ProtocolError, urllib3.exceptions.DecodeError),
        ServerError,
        "the answer broke off or is not HTTP: it is asked again later",
    ),
)

ERRORS_AFTER_SEND = frozenset({TimeoutError, http.client.RemoteDisconnected, http.client.HTTPException})
"""Those that happen only after the request went out, so that its outcome is unknown."""


def send_request(
    request: Request, *, network: NetworkSettings = NO_SETTINGS, now: Callable[[], datetime] = clock.utc_now
) -> Response:
    """The answer, whatever its status.

    Raises:
        OfflineError: no connection, or it ended before an answer began.
        TimedOutError: no whole answer in `request.timeout_s`.
        ServerError: the answer broke off or cannot be read.
        BlockedError: the far side's certificate is not trusted, or the proxy refuses.
        ShapeChangedError: the answer is larger than 2 MiB.
        NotSignedInError: a header holds what cannot be sent.
    """
    try:
        host = urlsplit(request.url).hostname or "?"
    except ValueError:
        raise OfflineError("not an address that can be asked: look at base_url") from None
    if request.allow_self_signed and (host == "localhost" or not is_loopback(host)):  # an address, not a name
        raise BlockedError(f"{host} is not this machine: an unknown certificate is accepted from loopback only")
    deadline_s, proxy = clock.monotonic_s() + request.timeout_s, ""
    try:
        proxy = _find_proxy(request.url, network)
        is_encrypted = "https" in (urlsplit(request.url).scheme, urlsplit(proxy).scheme)
        context = get_tls_context(network, verified=not request.allow_self_signed) if is_encrypted else None
        with _send_once(request, proxy, context) as answer:
            body = _read_body(answer, request, host, deadline_s)
            headers = {name.lower(): value for name, value in answer.headers.items()}
            received_at, sent_at = now(), parse_http_date(headers.get("date", ""))
            return Response(
                status=answer.status_code,
                headers=headers,
                body=body,
                received_at=received_at,
                clock_ahead=None if sent_at is None else received_at - sent_at,
            )
    except ProviderError as error:
        error.request_sent = not isinstance(error, BlockedError)  # an answer had begun
        raise
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        causes = list(_iter_causes(error))
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
            raise _explain_certificate(causes, request.url, host, proxy) from None
        if proxy and (explained := _explain_proxy_error(causes, host, proxy, network)):
            raise explained from None
        raise _translate_error(causes, host, request.timeout_s) from None


# --- one exchange ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _send_once(request: Request, proxy: str, context: ssl.SSLContext | None) -> Iterator[requests.Response]:
    """Send on a new connection; the body is not yet read. A kept connection would expire between polls.

    Args:
        request: the request.
        proxy: empty: none.
        context: None: nothing is encrypted.
    """
    with (
        _make_session(context) as session,
        session.request(
            request.method,
            request.url,
            headers=dict(request.headers),
            json=request.json,
            data=request.body if request.body is not None else request.form,
            stream=True,
            allow_redirects=False,
            timeout=(min(CONNECT_TIMEOUT_S, request.timeout_s), request.timeout_s),
            proxies={urlsplit(request.url).scheme: proxy} if proxy else None,
        ) as response,
    ):
        if proxy and response.status_code == http.client.PROXY_AUTHENTICATION_REQUIRED:
            raise OSError(f"{TUNNEL_FAILED} {response.status_code}")  # as for a tunnel
        yield response


def _read_body(response: requests.Response, request: Request, host: str, deadline_s: float) -> bytes:
    """The decompressed body; if the status decides, its first 64 KiB as far as they arrive.

    Each part is one read of the socket, so that the deadline is checked often.
    """
    limit = MAX_START_BYTES if request.status_decides else MAX_BODY_BYTES
    body = bytearray()
    # a read that waits checks no deadline, and a process that is ended after it cannot tell that the message arrived
    timer = threading.Timer(deadline_s - clock.monotonic_s(), _shut_down, [response])
    timer.daemon = True
    if request.status_decides:
        timer.start()
    try:
        while len(body) <= limit and (part := response.raw.read1(CHUNK_BYTES, decode_content=True)):
            body += part
            if clock.monotonic_s() > deadline_s:
                raise TimeoutError
    except (urllib3.exceptions.HTTPError, OSError, ValueError):
        if not request.status_decides:
            raise
    finally:
        timer.cancel()
    if len(body) > limit and not request.status_decides:
        raise ShapeChangedError(f"{host}: the answer is larger than 2 MiB: no usage data is")
    return bytes(body[:limit])


def _shut_down(response: requests.Response) -> None:
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # it is closed already
        response.raw.shutdown()


# --- proxies --------------------------------------------------------------------------------------------------------


def _find_proxy(url: str, network: NetworkSettings) -> str:
    """The proxy for this address; empty: none."""
    if is_loopback(urlsplit(url).hostname or "") or should_bypass_proxies(url, no_proxy=network.no_proxy):
        return ""
    return select_proxy(url, {"all": network.proxy} if network.proxy else getproxies()) or ""


def _explain_proxy_error(
    causes: list[BaseException], host: str, proxy: str, network: NetworkSettings
) -> ProviderError | None:
    """The error as one of the proxy, without its password; None if it is not."""
    setting = "`proxy` under [network]" if network.proxy else "HTTPS_PROXY"

    def is_any(*types: type[BaseException]) -> bool:
        return any(isinstance(cause, types) for cause in causes)

    def is_of_proxy(url: str | None) -> bool:
        return (url or "").rstrip("/").endswith(format_proxy(proxy))

    refused = next((found[1] for cause in causes if (found := _TUNNEL_STATUS.search(str(cause)))), None)
    kind: type[ProviderError] = BlockedError
    if refused == "407" or any(type(cause).__name__ == "SOCKS5AuthError" for cause in causes):
        words = f"asks for a name and a password: write NAME:PASSWORD@ before its host in {setting}"
    elif refused is not None:
        words = f"refuses to connect to it (status {refused}): look at {setting}"
    elif is_any(ssl.SSLError, http.client.BadStatusLine):
        words = f"answers something else, such as a login page: open it in a browser, or look at {setting}"
    elif any(isinstance(cause, urllib3.exceptions.ReadTimeoutError) and is_of_proxy(cause.url) for cause in causes):
        kind, words = TimedOutError, f"gives no answer: look at {setting}"
    elif is_any(*PROXY_ERRORS):
        kind, words = OfflineError, f"cannot be used: look at {setting}"
    else:
        return None
    return kind(f"{host}: the proxy {format_proxy(proxy)} {words}")


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
    agent = f"ai-usage-watcher/{__version__}"
    session.headers.update({"User-Agent": agent, "Accept-Encoding": "gzip, deflate", "Connection": "close"})
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


def _explain_certificate(causes: list[BaseException], url: str, host: str, proxy: str) -> BlockedError:
    """Whose certificate it is, who signed it, what the system's own check says, and what to set."""
    failure = next(cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError))
    issuer = _find_issuer(url, proxy)
    signed = f", signed by {issuer}," if issuer else ""
    reason = clean_text(failure.verify_message)
    cure = "if your network inspects connections, set `ca_bundle` under [network] to the file with its authority"
    return BlockedError(
        f"{host}: its certificate{signed} is not trusted ({reason}): {cure}, else look at this machine's clock, or for"
        " a login page"
    )


class _PresentedError(Exception):
    """Holds the certificate of an aborted handshake."""


class _GiveUpAfterHandshake(ssl.SSLSocket):
    """Aborts the connection after the handshake, before anything is sent."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - the library's
        super().do_handshake(block)
        # `getpeercert` has no fields of what was not verified; `truststore` relies on this method too
        certificate = self._sslobj.get_unverified_chain()[0].get_info()  # type: ignore[attr-defined]
        self.close()
        raise _PresentedError(certificate)


def _find_issuer(url: str, proxy: str) -> str:
    """Who signed the server's certificate, from a separate handshake; empty if that fails."""
    context = _make_unverified_context()
    context.sslsocket_class = _GiveUpAfterHandshake
    try:
        with _send_once(Request(url=url), proxy, context):
            return ""
    except _PresentedError as presented:
        names = dict(pair for group in presented.args[0]["issuer"] for pair in group)
        return clean_text(names.get("commonName") or names.get("organizationName") or "")
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError):
        return ""


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
