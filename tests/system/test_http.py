import gc
import gzip
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import responses

from watcher.core.model import Request
from watcher.demo.server import FAULTS, Reply, Server, json_reply
from watcher.errors import (
    BlockedError,
    NotSignedInError,
    OfflineError,
    ProviderError,
    ServerError,
    ShapeChangedError,
    TimedOutError,
)
from watcher.system import http

CERTIFICATE = Path(__file__).parents[1] / "data" / "loopback.pem"  # self-signed for 127.0.0.1, for these tests alone
SECRET = "hunter2"
BROKEN = r"^127\.0\.0\.1: the answer broke off or is not HTTP: it is asked again later$"
LONG_S = 10.0  # far more than the limit of any request here, far less than its server would take


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(lambda asked: json_reply({"path": asked.path})) as running:
        yield running


@contextmanager
def raw_server(*pieces: bytes, every_s: float = 0.0) -> Iterator[str]:
    """A server that reads a request and writes these pieces, whatever they are."""
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            try:
                for piece in pieces:
                    connection.sendall(piece)
                    if every_s and done.wait(every_s):
                        return
            except OSError:
                return  # the client has had enough

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/{SECRET}"
    finally:
        done.set()
        listener.close()
        thread.join(5)


def test_an_answer_comes_whole_with_its_headers_in_lower_case(server):
    at = datetime(2026, 1, 29, 15, tzinfo=UTC)
    server.queue_fault("/usage", Reply(status=418, headers={"X-Tea": "Green"}, body=b"short and stout"))
    response = http.send_request(
        Request(url=f"{server.url}/usage?q=1", headers={"Authorization": "Bearer t"}), now=lambda: at
    )
    assert (response.status, response.body, response.received_at) == (418, b"short and stout", at)
    assert response.headers["x-tea"] == "Green"
    asked = server.requests[0]
    assert (asked.method, asked.query, asked.headers["authorization"]) == ("GET", "q=1", "Bearer t")
    assert asked.headers["user-agent"].startswith("ai-usage-watcher/")


def test_a_body_goes_out_as_json_as_a_form_or_as_it_is(server):
    http.send_request(Request(method="POST", url=server.url, json={"a": [1]}))
    http.send_request(Request(method="POST", url=server.url, form={"grant_type": "refresh_token", "x": "a b"}))
    http.send_request(Request(method="POST", url=server.url, body=b"\x00raw", headers={"Content-Type": "x/y"}))
    bodies = [(asked.headers.get("content-type"), asked.body) for asked in server.requests]
    assert bodies == [
        ("application/json", b'{"a": [1]}'),
        ("application/x-www-form-urlencoded", b"grant_type=refresh_token&x=a+b"),
        ("x/y", b"\x00raw"),
    ]


@pytest.mark.parametrize("fault", ["slow", "drip"])
def test_an_answer_that_takes_too_long_is_given_up_in_time(server, fault):
    server.queue_fault("/usage", fault)
    started = time.perf_counter()
    with pytest.raises(TimedOutError, match=r"^127\.0\.0\.1: no whole answer within 0\.3 s: it is asked again later$"):
        http.send_request(Request(url=f"{server.url}/usage", timeout_s=0.3))
    assert time.perf_counter() - started < LONG_S


@pytest.mark.parametrize(
    ("pieces", "every_s", "body"),
    [
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", b"-too-late"), 2 * LONG_S, b"ok"),
        ((b"HTTP/1.1 200 OK\r\n\r\nok", *[b"."] * 100), 0.5, b"ok"),
        ((b"HTTP/1.1 200 OK\r\n\r\nok", *[b"."] * 100), 0.6, b"ok"),
        ((b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nok",), 0.0, b""),
    ],
    ids=["hangs", "drips", "drips across the deadline", "cannot be unpacked"],
)
def test_where_the_status_decides_a_bad_body_is_forgiven(pieces, every_s, body):
    with raw_server(*pieces, every_s=every_s) as url:
        started = time.perf_counter()
        response = http.send_request(Request(url=url, status_decides=True, timeout_s=0.7))
        assert time.perf_counter() - started < LONG_S
    assert response.status == 200
    assert response.body.startswith(body)
    assert len(response.body) < 100


def test_where_the_status_decides_64_kib_are_read(server):
    server.queue_fault("/hook", Reply(body=b"x" * (3 << 20)))
    assert len(http.send_request(Request(url=f"{server.url}/hook", status_decides=True)).body) == 64 * 1024


def test_headers_that_stop_are_given_up_in_time():
    with raw_server(b"HTTP/1.1 200 OK\r\n", b"X-Drop: 1\r\n", every_s=2 * LONG_S) as url:
        started = time.perf_counter()
        with pytest.raises(TimedOutError):
            http.send_request(Request(url=url, timeout_s=0.3))
        assert time.perf_counter() - started < LONG_S


@pytest.mark.parametrize("over", ["directly", "through a proxy"])
def test_a_handshake_that_drips_is_given_up_in_time_and_leaves_no_connection_open(over, monkeypatch):
    """A record of TLS that is announced and comes one byte at a time: each read is quick."""
    monkeypatch.setenv("no_proxy", "")
    established = [b"HTTP/1.1 200 Connection established\r\n\r\n"] if over == "through a proxy" else []
    with raw_server(*established, b"\x16\x03\x03\x40\x00\x02", *[b"\x00"] * 5000, every_s=0.02) as url:
        target = url.replace("http:", "https:")
        if established:
            monkeypatch.setenv("https_proxy", url.rpartition("/")[0])
            target = "https://usage.invalid/x"
        opened = len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0
        started = time.perf_counter()
        with pytest.raises(TimedOutError):
            http.send_request(Request(url=target, timeout_s=0.5))
        assert time.perf_counter() - started < LONG_S
        gc.collect()
        assert sys.platform != "linux" or len(list(Path("/proc/self/fd").iterdir())) <= opened + 1  # the server's own


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"x" * (http.MAX_BODY_BYTES + 1), ""),
        (gzip.compress(b"x" * (64 << 20)), "gzip"),
        (zlib.compress(b"x" * (64 << 20)), "deflate"),
    ],
)
def test_a_huge_answer_is_refused_also_when_it_is_small_while_packed(server, body, encoding):
    server.queue_fault("/usage", Reply(headers={"content-encoding": encoding}, body=body))
    with pytest.raises(ShapeChangedError, match=r"^127\.0\.0\.1: the answer is larger than 2 MiB: no usage data is$"):
        http.send_request(Request(url=f"{server.url}/usage"))


def test_an_answer_of_exactly_the_limit_is_taken(server):
    server.queue_fault("/usage", Reply(body=b"x" * http.MAX_BODY_BYTES))
    assert len(http.send_request(Request(url=f"{server.url}/usage")).body) == http.MAX_BODY_BYTES


@pytest.mark.parametrize(
    ("pack", "encoding"), [(gzip.compress, "gzip"), (gzip.compress, "X-GZIP"), (zlib.compress, "deflate")]
)
def test_a_packed_answer_is_unpacked(server, pack, encoding):
    server.queue_fault("/usage", Reply(headers={"content-encoding": encoding}, body=pack(b'{"five_hour": 1}' * 1000)))
    assert http.send_request(Request(url=f"{server.url}/usage")).body == b'{"five_hour": 1}' * 1000


def test_an_empty_body_with_a_content_encoding_is_empty(server):
    server.queue_fault("/usage", Reply(status=204, headers={"content-encoding": "gzip"}))
    assert http.send_request(Request(url=f"{server.url}/usage")).body == b""


@pytest.mark.parametrize("fault", ["bad gzip", "cut"])
def test_an_answer_that_breaks_off_or_cannot_be_unpacked_is_the_servers_failure(server, fault):
    server.queue_fault("/usage", fault)
    with pytest.raises(ServerError, match=BROKEN):
        http.send_request(Request(url=f"{server.url}/usage"))


def test_chunks_that_stop_in_the_middle_are_the_servers_failure():
    with (
        raw_server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{}") as url,
        pytest.raises(ServerError),
    ):
        http.send_request(Request(url=url))


def test_something_that_is_not_http_is_the_servers_failure():
    with raw_server(b"SSH-2.0-OpenSSH_9.2\r\n\r\n") as url, pytest.raises(ServerError, match=BROKEN):
        http.send_request(Request(url=url))


def test_a_reset_and_a_silent_hang_up_are_no_connection(server):
    server.queue_fault("/usage", "reset")
    with pytest.raises(OfflineError, match=r"^127\.0\.0\.1: the connection broke: it is asked again later$"):
        http.send_request(Request(url=f"{server.url}/usage"))
    with raw_server() as url, pytest.raises(OfflineError):
        http.send_request(Request(url=url))


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("http://127.0.0.1:1/", OfflineError, "127.0.0.1: the connection was refused: look at the network"),
        ("http://usage.invalid/", OfflineError, "usage.invalid: the name cannot be found: look at the network"),
        ("gopher://a/", OfflineError, "a: cannot be reached: look at the network"),
        ("http://[::1/", OfflineError, "not an address that can be asked: look at base_url"),
    ],
)
def test_a_failed_connection_names_its_reason_and_only_the_host(url, error, words):
    with pytest.raises(error) as caught:
        http.send_request(Request(url=f"{url}{SECRET}?key={SECRET}"))
    assert str(caught.value) == words


@pytest.mark.parametrize("token", [f"{SECRET}\nX-Injected: 1", f"{SECRET}\u2026"])
def test_a_token_that_no_header_can_hold_is_refused_and_not_quoted(token):
    with pytest.raises(NotSignedInError) as caught:
        http.send_request(Request(url="http://127.0.0.1:1/", headers={"Authorization": token}))
    assert str(caught.value) == "127.0.0.1: a header holds what cannot be sent: look at the token"


@pytest.mark.parametrize("fault", [name for name in FAULTS if name not in ("slow", "drip")])
def test_no_error_holds_a_path_a_query_or_a_header(server, fault):
    server.queue_fault(f"/{SECRET}", fault)
    sent = ""
    try:
        http.send_request(Request(url=f"{server.url}/{SECRET}?key={SECRET}", headers={"Authorization": SECRET}))
    except ProviderError as error:
        sent = "".join(traceback.format_exception(error))  # as a log would show it, causes and all
    assert SECRET not in sent


# --- redirects ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [None, "/other", "elsewhere", "//usage.invalid/"])
def test_a_redirect_is_an_answer_and_is_not_followed(server, place):
    with Server(lambda _asked: json_reply({"stolen": True})) as elsewhere:
        headers = {} if place is None else {"location": f"{elsewhere.url}/usage" if place == "elsewhere" else place}
        server.queue_fault("/usage", Reply(status=302, headers=headers))
        response = http.send_request(Request(url=f"{server.url}/usage", headers={"Authorization": SECRET}))
        assert response.status == 302
        assert elsewhere.requests == []
    assert [asked.path for asked in server.requests] == ["/usage"]


# --- what is kept, and what is obeyed -------------------------------------------------------------------------------


def test_cookies_are_not_kept_and_a_netrc_is_not_read(server, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server.queue_fault("/usage", Reply(headers={"set-cookie": "session=1; Path=/"}, body=b"{}"))
    http.send_request(Request(url=f"{server.url}/usage"))
    http.send_request(Request(url=f"{server.url}/usage"))
    assert all("cookie" not in asked.headers and "authorization" not in asked.headers for asked in server.requests)


def test_a_loopback_address_bypasses_proxies(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert http.send_request(Request(url=server.url)).status == 200
    assert http.send_request(Request(url=server.url.replace("127.0.0.1", "localhost"))).status == 200


def test_the_proxy_of_the_environment_is_used_for_every_other_host(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    assert http.send_request(Request(url="http://usage.invalid/x")).status == 200
    assert server.requests[0].path == "http://usage.invalid/x"
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with pytest.raises(
        OfflineError, match=r"^usage\.invalid: the proxy 127\.0\.0\.1:1 cannot be used: look at HTTPS_PROXY$"
    ):
        http.send_request(Request(url="http://usage.invalid/x"))


def test_a_deadline_holds_behind_a_proxy_too(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    server.queue_fault("http://usage.invalid/x", "drip")
    with pytest.raises(TimedOutError):
        http.send_request(Request(url="http://usage.invalid/x", timeout_s=0.3))


@contextmanager
def tls_server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    listener = HTTPServer(("127.0.0.1", 0), Handler)
    listener.handle_error = lambda *_: None  # a client that does not trust us hangs up
    listener.socket = context.wrap_socket(listener.socket, server_side=True)
    thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.server_address[1]}/"
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


def test_an_unknown_certificate_is_refused_unless_allowed_on_this_machine():
    with tls_server() as url:
        with pytest.raises(
            BlockedError, match=r"^127\.0\.0\.1: its certificate, signed by loopback for tests, is not trusted \("
        ):
            http.send_request(Request(url=url))
        assert http.send_request(Request(url=url, allow_self_signed=True)).body == b"{}"


@pytest.mark.parametrize("host", ["usage.invalid", "localhost", "127.0.0.1.nip.io", "10.0.0.1", "[2001:db8::1]"])
def test_an_unknown_certificate_is_never_taken_from_another_machine(host):
    with pytest.raises(
        BlockedError, match="is not this machine: an unknown certificate is accepted from loopback only"
    ):
        http.send_request(Request(url=f"https://{host}/", allow_self_signed=True))


def test_it_sends_through_requests():
    with responses.RequestsMock() as mock:
        mock.get("https://api.example.com/usage", json={"a": 1}, headers={"Retry-After": "5"})
        response = http.send_request(Request(url="https://api.example.com/usage"))
    assert (response.body, response.headers["retry-after"]) == (b'{"a": 1}', "5")


def send_to_server_with_date(date):
    at = datetime(2026, 3, 2, 9, 0, 30, tzinfo=UTC)
    with responses.RequestsMock() as mock:
        mock.get("https://api.example.com/usage", headers={} if date is None else {"Date": date})
        return http.send_request(Request(url="https://api.example.com/usage"), now=lambda: at)


@pytest.mark.parametrize(
    ("date", "ahead_s"),
    [
        ("Mon, 02 Mar 2026 09:00:30 GMT", 0),
        ("Mon, 02 Mar 2026 09:00:00 GMT", 30),
        ("Mon, 02 Mar 2026 10:00:30 GMT", -3600),
        ("Mon, 02 Mar 2026 09:00:30 -0000", 0),
    ],
)
def test_the_clock_is_ahead_by_what_the_server_is_behind(date, ahead_s):
    assert send_to_server_with_date(date).clock_ahead == timedelta(seconds=ahead_s)


@pytest.mark.parametrize("date", [None, "", "soon", "Mon, 99 Mar 2026 09:00:00 GMT", "Mon, 02 Mar 99999 09:00:00 GMT"])
def test_an_invalid_date_does_not_say_how_far_the_clock_is_ahead(date):
    assert send_to_server_with_date(date).clock_ahead is None


def test_the_registry_and_the_poll_do_not_import_the_network():
    program = "import sys, watcher.providers.registry, watcher.polling.fetch; print('requests' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
