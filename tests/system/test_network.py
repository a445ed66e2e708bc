"""Requests in a company's network: real TLS servers, an authority that no system knows, real proxies."""

import ast
import socket
import ssl
import sys
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
import truststore

from tests.company_network import Authority, Proxy, SocksProxy, close_listener
from watcher.core.model import CA_BUNDLE_VARIABLES, Command, NetworkSettings, Request
from watcher.demo.server import Server, json_reply
from watcher.errors import BlockedError, OfflineError, ProviderError, TimedOutError
from watcher.system import environment, http

CERTIFICATE = Path(__file__).parents[1] / "data" / "loopback.pem"
URL = "https://usage.invalid/hunter2"
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", *CA_BUNDLE_VARIABLES, "NODE_EXTRA_CA_CERTS")
DAY = timedelta(days=1)
HEADERS = {"Authorization": "Bearer hunter2"}


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority):
    with authority.serve(lambda _asked: json_reply({"a": 1}), "usage.invalid", "localhost", "127.0.0.1") as running:
        yield running


@pytest.fixture
def local_url(server):
    return f"https://localhost:{urlsplit(server.url).port}/"


@pytest.fixture
def proxy(server):
    with Proxy(urlsplit(server.url).port) as running:
        yield running


own_store = pytest.mark.skipif(sys.platform in {"darwin", "win32"}, reason="the system itself is asked there")


def send(url=URL, *, timeout_s=5.0, **settings):
    request = Request(url=url, headers=HEADERS, timeout_s=timeout_s)
    return http.send_request(request, network=NetworkSettings(**settings)).body


def refusal(url=URL, **settings):
    with pytest.raises(ProviderError) as caught:
        send(url, **settings)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


# --- certificates ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"])
def test_an_authority_that_the_environment_names_is_trusted(name, authority, local_url, monkeypatch):
    monkeypatch.setenv(name, str(authority.file))
    assert send(local_url) == b'{"a": 1}'


def test_the_authority_of_the_config_is_trusted_before_that_of_the_environment(authority, local_url, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    assert send(local_url, ca_bundle=str(authority.file)) == b'{"a": 1}'


def test_a_folder_without_certificates_trusts_nothing(local_url, monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert "is not trusted" in str(refusal(local_url))


@own_store
def test_node_s_variable_adds_to_the_system_s_certificates(authority):
    usual = len(http._load_tls_context("", "").get_ca_certs())
    assert usual > 50
    assert len(http._load_tls_context("", str(authority.file)).get_ca_certs()) == usual + 1
    assert len(http._load_tls_context("", "/nowhere.pem").get_ca_certs()) == usual
    assert len(http._load_tls_context(str(authority.file), "").get_ca_certs()) == 1


@own_store
def test_the_system_s_certificates_are_trusted_and_not_those_that_this_python_brings(authority, monkeypatch, local_url):
    bundle = http.DEFAULT_CA_BUNDLE_PATH  # as with a Python of Conda
    own = ssl.DefaultVerifyPaths(bundle, None, "SSL_CERT_FILE", bundle, "SSL_CERT_DIR", "")
    monkeypatch.setattr(http.ssl, "get_default_verify_paths", lambda: own)
    monkeypatch.setattr(http, "SYSTEM_CA_FILES", ("/nowhere.pem", str(authority.file)))
    monkeypatch.setattr(http, "_load_tls_context", http._load_tls_context.__wrapped__)
    assert len(http._make_system_context().get_ca_certs()) == 1
    assert send(local_url) == b'{"a": 1}'


@own_store
def test_without_certificates_of_the_system_those_of_the_library_are_trusted(monkeypatch, tmp_path):
    nowhere = ssl.DefaultVerifyPaths(None, str(tmp_path), "", "", "", "")
    monkeypatch.setattr(http.ssl, "get_default_verify_paths", lambda: nowhere)
    monkeypatch.setattr(http, "SYSTEM_CA_FILES", ())
    assert len(http._make_system_context().get_ca_certs()) > 50


@own_store
def test_the_certificates_are_read_once():
    settings = NetworkSettings()
    assert http.get_tls_context(settings, verified=True) is http.get_tls_context(settings, verified=True)


def test_an_unknown_authority_is_named_with_the_host_and_what_to_set(local_url, server):
    count = len(server.requests)
    error = refusal(local_url)
    assert isinstance(error, BlockedError)
    assert str(error) == (
        "localhost: its certificate, signed by Example Corp, is not trusted (unable to get local issuer certificate):"
        " if your network inspects connections, set `ca_bundle` under [network] to the file with its authority, else"
        " look at this machine's clock, or for a login page"
    )
    assert not error.request_sent
    assert len(server.requests) == count  # neither the token nor a request went out


def test_an_unknown_authority_is_named_behind_a_proxy_too(proxy):
    assert "usage.invalid: its certificate, signed by Example Corp, is not trusted" in str(
        refusal(proxy=f"http://{proxy.address}")
    )
    assert set(proxy.hosts) == {"usage.invalid:443"}


def test_a_certificate_for_another_name_says_so(authority, proxy):
    error = refusal("https://other.invalid/", proxy=f"http://{proxy.address}", ca_bundle=str(authority.file))
    assert str(error).startswith(
        "other.invalid: its certificate, signed by Example Corp, is not trusted (Hostname mismatch,"
    )


def test_a_certificate_that_has_expired_says_so(authority):
    past = datetime(2026, 1, 2, tzinfo=UTC)
    with authority.serve(lambda _: json_reply({}), "localhost", not_before=past - DAY, not_after=past) as server:
        error = refusal(server.url.replace("http://127.0.0.1", "https://localhost"), ca_bundle=str(authority.file))
    words = "localhost: its certificate, signed by Example Corp, is not trusted (certificate has expired): "
    assert str(error).startswith(words)


def test_on_macos_and_windows_the_system_itself_is_asked(authority, local_url, proxy, monkeypatch):
    """By `truststore`, which trusts OpenSSL's own places on Linux."""
    monkeypatch.setattr(http, "sys", SimpleNamespace(platform="darwin"))
    contexts = [http.get_tls_context(NetworkSettings(), verified=True) for _ in range(2)]
    assert {type(context) for context in contexts} == {truststore.SSLContext}
    assert contexts[0] is not contexts[1]  # it locks itself during a handshake: a slow host must not delay others
    assert "signed by Example Corp, is not trusted" in str(refusal(local_url))
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(authority.file))
    assert send(local_url) == b'{"a": 1}'
    assert send(proxy=f"http://{proxy.address}") == b'{"a": 1}'


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot be read"), ("hello", "holds no certificate")], ids=["absent", "text"]
)
def test_a_bundle_that_is_of_no_use_is_named_with_what_names_it(content, words, tmp_path, local_url, monkeypatch):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    assert str(refusal(local_url, ca_bundle=str(file))) == f"{file} {words}: correct `ca_bundle` under [network]"
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    assert str(refusal(local_url)) == f"{file} {words}: correct SSL_CERT_FILE"


def test_a_bundle_that_is_of_no_use_does_not_stop_what_is_not_encrypted():
    with Server(lambda _asked: json_reply({"a": 1})) as plain:
        assert send(plain.url, ca_bundle="/nowhere.pem") == b'{"a": 1}'


# --- proxies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "scheme"), [(Proxy, "http"), (SocksProxy, "socks5h")])
@pytest.mark.parametrize("login", ["", "me:hunter2@"])
def test_requests_go_through_the_proxy(kind, scheme, login, authority, server):
    with kind(urlsplit(server.url).port, login.rstrip("@")) as running:
        address = f"{scheme}://{login}{running.address}"
        assert send(proxy=address, ca_bundle=str(authority.file)) == b'{"a": 1}'
    assert [host.partition(":")[0] for host in running.hosts] == ["usage.invalid"]


def test_a_proxy_of_the_environment_may_speak_socks(authority, server, monkeypatch):
    with SocksProxy(urlsplit(server.url).port) as running:
        monkeypatch.setenv("ALL_PROXY", f"socks5h://{running.address}")
        assert send(ca_bundle=str(authority.file)) == b'{"a": 1}'


def test_with_socks5_this_machine_looks_up_the_name(authority, server, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", look_up("usage.invalid", socket.getaddrinfo))
    with SocksProxy(urlsplit(server.url).port) as running:
        assert send(proxy=f"socks5://{running.address}", ca_bundle=str(authority.file)) == b'{"a": 1}'
    assert running.hosts == ["127.0.0.1"]


def look_up(name, real):
    def find(host, *rest, **more):
        return real("127.0.0.1" if host == name else host, *rest, **more)

    return find


@pytest.mark.parametrize(
    ("no_proxy", "bypasses"),
    [
        ("usage.invalid", True),
        ("other.invalid, .INVALID", True),
        ("*", True),
        ("sage.invalid", False),
        ("", False),
    ],
)
def test_a_host_of_no_proxy_is_reached_without_it(no_proxy, bypasses, monkeypatch):
    settings = NetworkSettings(proxy="http://proxy.invalid:1", no_proxy=no_proxy)
    assert (http._find_proxy(URL, settings) == "") is bypasses
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert (http._find_proxy(URL, NetworkSettings(proxy="http://proxy.invalid:1")) == "") is bypasses


def test_the_exceptions_of_the_config_apply_to_the_proxy_of_the_environment(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:1")
    assert http._find_proxy(URL, NetworkSettings()) == "http://proxy.invalid:1"
    assert http._find_proxy(URL, NetworkSettings(no_proxy="usage.invalid")) == ""
    assert http._find_proxy("https://10.1.2.3/", NetworkSettings(no_proxy="10.0.0.0/8")) == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_loopback_address_never_goes_to_the_proxy(host):
    assert http._find_proxy(f"http://{host}:8080/", NetworkSettings(proxy="http://proxy.invalid:1")) == ""


@contextmanager
def serve_bytes(answer: bytes | None):
    """Something that answers every connection with these bytes and hangs up; None: it never answers."""
    listener, done = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def serve() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                with near:
                    near.recv(65536)
                    if answer is None:
                        done.wait(60)
                    else:
                        near.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        done.set()
        close_listener(listener)
        thread.join(5)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            BlockedError,
            "asks for a name and a password: write NAME:PASSWORD@ before its host in `proxy` under [network]",
        ),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", BlockedError, "refuses to connect to it (status 403): look at `proxy`"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>Log in</html>",
            BlockedError,
            "answers something else, such as a login page: open it in a browser, or look at `proxy` under [network]",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n", BlockedError, "answers something else, such as a login page"),
        (None, TimedOutError, "gives no answer: look at `proxy` under [network]"),
    ],
    ids=["407", "403", "html", "not http", "hangs"],
)
def test_a_proxy_that_is_of_no_use_is_named_without_its_password(answer, kind, words):
    with serve_bytes(answer) as address:
        error = refusal(proxy=f"http://me:hunter2@{address}", timeout_s=30.0 if answer else 0.5)
    assert isinstance(error, kind)
    assert str(error).startswith(f"usage.invalid: the proxy {address} {words}")
    assert not error.request_sent


def test_a_login_that_a_socks_proxy_refuses_says_so(server):
    with SocksProxy(urlsplit(server.url).port, "me:right") as running:
        error = refusal(proxy=f"socks5h://me:hunter2@{running.address}")
    assert str(error).startswith(f"usage.invalid: the proxy {running.address} asks for a name and a password")


@pytest.mark.parametrize("settings", [{}, {"proxy": "http://127.0.0.1:1"}, {"no_proxy": ""}])
def test_an_address_with_an_impossible_port_is_not_blamed_on_the_proxy(settings):
    words = "usage.invalid: cannot be reached: look at the network"
    assert str(refusal("https://usage.invalid:port/", **settings)) == words


def test_a_proxy_of_an_unknown_kind_says_so():
    words = "cannot be used: look at `proxy` under [network]"
    assert words in str(refusal(proxy="nonsense://127.0.0.1:1"))


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h"])
def test_a_proxy_that_is_not_there_is_named_with_what_names_it(scheme, monkeypatch):
    error = refusal(proxy=f"{scheme}://me:hunter2@127.0.0.1:1")
    assert isinstance(error, OfflineError)
    assert str(error) == "usage.invalid: the proxy 127.0.0.1:1 cannot be used: look at `proxy` under [network]"
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://me:hunter2@127.0.0.1:1")
    assert str(refusal()) == "usage.invalid: the proxy 127.0.0.1:1 cannot be used: look at HTTPS_PROXY"


# --- the environment record -----------------------------------------------------------------------------------------


def test_requests_and_programs_use_the_settings_that_were_applied_last(authority, proxy):
    world = environment.create_environment()
    settings = NetworkSettings(proxy=f"http://{proxy.address}", no_proxy="intra.invalid", ca_bundle=str(authority.file))
    world.apply_network(settings)
    assert world.send(Request(url=URL)).body == b'{"a": 1}'
    wanted = {"https_proxy": settings.proxy, "no_proxy": "intra.invalid", "REQUESTS_CA_BUNDLE": settings.ca_bundle}
    show = Command(argv=(sys.executable, "-c", f"import os; print([os.environ.get(name) for name in {[*wanted]}])"))
    assert world.run(show).stdout.strip() == str([*wanted.values()])
    world.apply_network(NetworkSettings())
    assert not {*wanted.values()} & {*ast.literal_eval(world.run(show).stdout)}
