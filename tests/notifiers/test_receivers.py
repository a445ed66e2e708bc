"""Each HTTP channel against a real server on this machine that behaves, and that misbehaves in every known way."""

import socket
from datetime import timedelta

import pytest
from msgspec import structs

from watcher import notifiers
from watcher.core.model import CommandResult
from watcher.demo.server import Reply, Server, json_reply
from watcher.system import http

PATHS = {
    "slack": "/services/T0/B0/plantedsecret",
    "discord": "/api/webhooks/123/plantedsecret",
    "webhook": "/plantedsecret",
    "ntfy": "/",
}
ASKED = PATHS | {"discord": "/api/v10/webhooks/123/plantedsecret"}
GOOD = {
    "slack": Reply(body=b"ok"),
    "discord": json_reply({"id": "1"}),
    "webhook": Reply(status=204),
    "ntfy": json_reply({"id": "x", "event": "message"}),
}
HTTP_CHANNELS = tuple(PATHS)


@pytest.fixture(params=HTTP_CHANNELS)
def kind(request):
    return request.param


@pytest.fixture
def server(kind):
    with Server(lambda _: GOOD[kind]) as running:
        yield running


@pytest.fixture
def deliver(kind, server, channel, message):
    """One attempt; where nothing will come, with a fraction of the time that a real one has."""
    how = {"server": server.url} if kind == "ntfy" else {"url": server.url + PATHS[kind]}

    def attempt(*, limit_s=20.0, **changes):
        def send(request):
            return http.send_request(structs.replace(request, timeout_s=min(request.timeout_s, limit_s)))

        return notifiers.send_message(message(**changes), channel(kind, **how), send=send, run=not_run)

    return attempt


def not_run(_command):
    return CommandResult(exit_code=1)


def test_a_message_arrives_once_as_a_post(deliver, server, kind):
    outcome = deliver(title="Claude \U0001f680 ü <!channel> @everyone")
    assert outcome.delivered, outcome.detail
    [asked] = server.requests
    assert (asked.method, asked.path) == ("POST", ASKED[kind])
    assert asked.headers["content-type"] == "application/json"
    assert asked.query == ("wait=true" if kind == "discord" else "")
    assert (b"claude.five_hour" in asked.body) is (kind == "webhook")  # an id is for programs, not for people


@pytest.mark.parametrize(
    ("reply", "wait"),
    [
        (Reply(status=429), None),
        (Reply(status=429, headers={"Retry-After": "30"}), timedelta(seconds=30)),
        (Reply(status=429, headers={"Retry-After": "Fri, 31 Dec 2199 23:59:59 GMT"}), timedelta(hours=24)),
        (Reply(status=429, headers={"Retry-After": "Sat, 01 Jan 2000 00:00:00 GMT"}), timedelta(0)),
        (json_reply({"message": "You are being rate limited.", "retry_after": 0.57}, 429), timedelta(seconds=0.57)),
        (json_reply({"retry_after": 1.5}, 429, Retry_After="2"), timedelta(seconds=2)),
        (Reply(status=429, headers={"X-RateLimit-Reset-After": "4.2"}), timedelta(seconds=4.2)),
    ],
)
def test_a_rate_limit_is_obeyed_in_every_form(deliver, server, kind, reply, wait):
    server.queue_fault(ASKED[kind], reply)
    outcome = deliver()
    assert (outcome.delivered, outcome.permanent, outcome.retry_after) == (False, False, wait)
    assert deliver().delivered


@pytest.mark.parametrize(
    ("reply", "delivered", "permanent"),
    [
        (Reply(status=500, body=b"<html>plantedsecret</html>"), False, False),
        (Reply(status=503, headers={"Retry-After": "5"}), False, False),
        (Reply(status=404, body=b"plantedsecret"), False, True),
        (Reply(status=410), False, True),
        (Reply(status=400, body=b"\xff\xfe{"), False, True),
        (Reply(status=302, headers={"Location": "https://elsewhere.invalid/plantedsecret"}), False, True),
        (Reply(status=307, headers={"Location": "/another"}), False, True),
        (Reply(reset_connection=True), None, False),
        (Reply(delay_s=30.0), None, False),
        (Reply(body=b"x" * 160, chunk_delay_s=10.0), True, False),
        (Reply(body=b"ok" * 100, truncate_body=True), True, False),
        (Reply(body=b"x" * (3 << 20)), True, False),
    ],
    ids=["500", "503", "404", "410", "400", "302", "307", "reset", "silence", "drip", "cut", "huge"],
)
def test_each_fault_is_temporary_permanent_or_unknown_and_reveals_no_secret(
    deliver, server, kind, *, reply, delivered, permanent
):
    server.queue_fault(ASKED[kind], reply)
    outcome = deliver(limit_s=1.0 if reply.delay_s or reply.chunk_delay_s else 20.0)
    assert (outcome.delivered, outcome.permanent) == (delivered, permanent), outcome.detail
    assert "plantedsecret" not in outcome.detail
    assert len(server.requests) == 1  # no redirect was followed, and nothing was sent twice


def test_a_refused_connection_has_certainly_not_delivered(kind, channel, message):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there, and nobody else gets the port
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        how = {"server": url} if kind == "ntfy" else {"url": url + PATHS[kind]}
        outcome = notifiers.send_message(message(), channel(kind, **how), send=http.send_request, run=not_run)
    assert (outcome.delivered, outcome.permanent) == (False, False)
    assert outcome.detail == "127.0.0.1: the connection was refused: look at the network"


def test_every_attempt_at_one_message_carries_one_key(channel, message):
    with Server(lambda _: Reply(status=204)) as server:
        server.queue_fault("/hook", Reply(reset_connection=True))
        mine = channel("webhook", url=f"{server.url}/hook")
        assert notifiers.send_message(message(), mine, send=http.send_request, run=not_run).delivered is None
        assert notifiers.send_message(message(), mine, send=http.send_request, run=not_run).delivered is True
        first, second = server.requests
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.body == second.body
    assert first.headers["x-watcher-signature-256"] == second.headers["x-watcher-signature-256"]
