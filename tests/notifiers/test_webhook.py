"""The generic webhook: the contract's payload, its signature, and an independent program that checks it."""

import hashlib
import hmac
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import time
from decimal import Decimal
from urllib.parse import urlsplit

import msgspec
import pytest

from watcher.notifiers import webhook
from watcher.notifiers.webhook import build_payload


def test_the_payload_is_the_contract_to_the_key(compose):
    request = compose("webhook")
    assert json.loads(request.body) == {
        "schema": "watcher.alert.v1",
        "id": "claude-session|claude.five_hour|3|firing",
        "event": "firing",
        "rule": "claude-session",
        "severity": "warning",
        "provider": "claude",
        "account": None,
        "window": "five_hour",
        "label": "5-hour window",
        "used_percent": 82.0,
        "remaining": 18,
        "unit": "percent",
        "resets_at": "2026-01-05T16:00:00Z",
        "at": "2026-01-05T14:20:00Z",
        "since": "2026-01-05T14:15:00Z",
        "title": "Claude 5-hour window at 82 %",
        "message": "resets in 1 h 40 min (16:00)",
    }
    assert list(json.loads(request.body)) == list(payload_keys())


def payload_keys():
    return (
        *("schema", "id", "event", "rule", "severity", "provider", "account", "window", "label", "used_percent"),
        *("remaining", "unit", "resets_at", "at", "since", "title", "message"),
    )


def test_unknown_is_null_and_money_is_exact(compose, message):
    sent = compose("webhook", remaining=Decimal("129.46956147"), used_percent=None, resets_at=None, rule="").body
    assert b'"remaining":129.46956147' in sent
    unknown = json.loads(sent)
    assert (unknown["used_percent"], unknown["resets_at"], unknown["rule"]) == (None, None, None)
    assert build_payload(message(remaining=None))["remaining"] is None


def test_the_signature_is_of_the_very_bytes(compose):
    request = compose("webhook", {"secret": "schlüssel"}, title="ü & <b>")
    wanted = hmac.new("schlüssel".encode(), request.body, hashlib.sha256).hexdigest()
    assert request.headers["X-Watcher-Signature-256"] == f"sha256={wanted}"
    assert "X-Watcher-Signature-256" not in compose("webhook", {"secret": ""}).headers


def test_headers_are_the_persons_but_for_ours(compose):
    headers = compose("webhook", {"headers": {"Authorization": "Bearer x", "Idempotency-Key": "mine"}}).headers
    assert headers["Authorization"] == "Bearer x"
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == "claude-session|claude.five_hour|3|firing"


@pytest.mark.parametrize(
    "identity", ["a|b", "zwölf|\U0001f680", "evil\r\nX-Injected: 1", "x" * 500, "ü" * 500, "claude[me@x.de].five_hour"]
)
def test_the_idempotency_key_is_stable_and_fits_a_header(identity):
    key = webhook.make_idempotency_key(identity)
    assert key == webhook.make_idempotency_key(identity)
    assert re.fullmatch(r"[ -~]{1,200}", key)
    assert key != webhook.make_idempotency_key(identity + "x")


@pytest.mark.parametrize(
    "how",
    [{"url": "ftp://x/"}, {"url": "x"}, {"headers": {"X": "a\nb"}}, {"headers": {"X\n": "b"}}, {"headers": {"X": "ü"}}],
)
def test_settings_that_cannot_be_sent_are_refused(channel, how):
    with pytest.raises(msgspec.ValidationError):
        channel("webhook", **how)


# --- Debian's `webhook`, which checks the signature without knowing us -----------------------------------------------

HOOKS = [
    {
        "id": "alert",
        "execute-command": "/bin/true",
        "response-message": "believed",
        "http-methods": ["POST"],
        "trigger-rule": {
            "match": {
                "type": "payload-hmac-sha256",
                "secret": "plantedsecret",
                "parameter": {"source": "header", "name": "X-Watcher-Signature-256"},
            }
        },
    }
]


@pytest.fixture
def receiver(tmp_path):
    """The address of a running `webhook` server."""
    if shutil.which("webhook") is None:
        if os.environ.get("WATCHER_REQUIRE_SYSTEM_TESTS") == "1":
            pytest.fail("missing: webhook; install what .ci/system-packages.txt lists")
        pytest.skip("missing: webhook")
    hooks = tmp_path / "hooks.json"
    hooks.write_text(json.dumps(HOOKS))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["webhook", "-hooks", str(hooks), "-ip", "127.0.0.1", "-port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            assert time.monotonic() < deadline, "the webhook server did not start"
            assert server.poll() is None, "the webhook server ended"
    yield f"http://127.0.0.1:{port}/hooks/alert"
    server.terminate()
    server.wait(10)


def post(request):
    parts = urlsplit(request.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.request("POST", parts.path, request.body, dict(request.headers))
    answer = connection.getresponse()
    said = answer.status, answer.read()
    connection.close()
    return said


@pytest.mark.system
def test_an_independent_receiver_believes_our_signature_and_no_other(compose, receiver):
    good = compose("webhook", {"url": receiver}, title="ü & <b> \U0001f680")
    assert post(good) == (200, b"believed")
    forged = compose("webhook", {"url": receiver, "secret": "another"})
    status, said = post(forged)
    assert status != 200
    assert b"believed" not in said
