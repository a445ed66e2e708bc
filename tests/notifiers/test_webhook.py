"""The generic webhook: the contract's payload, its signature, and an independent program that checks it."""

import hashlib
import hmac
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
from decimal import Decimal
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.notifiers.conftest import child_path
from tests.prometheus.tools import find_free_port, wait_until_ready
from watcher.core.model import Severity
from watcher.notifiers import webhook
from watcher.notifiers.webhook import PAYLOAD_KEYS, build_payload


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
    assert tuple(json.loads(request.body)) == PAYLOAD_KEYS


def test_unknown_is_null_and_money_is_exact(compose, message):
    sent = compose("webhook", remaining=Decimal("129.46956147"), used_percent=None, resets_at=None, rule="").body
    assert b'"remaining":129.46956147' in sent
    unknown = json.loads(sent)
    assert (unknown["used_percent"], unknown["resets_at"], unknown["rule"]) == (None, None, None)
    payload = build_payload(message(remaining=None, body="", unit=""))
    assert (payload["remaining"], payload["unit"], payload["message"]) == (None, None, "")


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


# --- a body of the person's own ------------------------------------------------------------------------------------


def body_of(compose, template, how=None, **changes):
    return json.loads(compose("webhook", {"json": template, **(how or {})}, **changes).body)


@pytest.mark.parametrize(
    ("template", "sent"),
    [
        ("{title}", "Claude 5-hour window at 82 %"),
        ("{provider}: {used_percent} % ({remaining} left{account})", "claude: 82 % (18 left)"),
        ("{used_percent}", 82.0),
        ("{remaining}", 18),
        ("{account}", None),
        ("{resets_at} {since}", "2026-01-05T16:00:00Z 2026-01-05T14:15:00Z"),
        ("{{title}} {{}}", "{title} {}"),
        ({"{title}": [1, True, 2.5, {"a": ["{severity}"]}]}, {"{title}": [1, True, 2.5, {"a": ["warning"]}]}),
        ([], []),
    ],
)
def test_names_in_braces_become_values_that_keep_their_type(compose, template, sent):
    assert body_of(compose, template) == sent


HOSTILE = [
    '"}, "admin": true, {"',
    "{severity}",
    "{{title}}",
    "\\",
    "\\u0022",
    "</script>",
    "\u2028",
    "🚀 ü",
    "{",
    "null",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_never_changes_the_structure(compose, value):
    template = {"a": "{title}", "b": ["x {title} y {label}"], "c": 1}
    wanted = {"a": value, "b": [f"x {value} y {value}"], "c": 1}
    assert body_of(compose, template, title=value, label=value) == wanted


@given(value=st.text())
def test_no_text_at_all_changes_the_structure(compose, value):
    value = value.encode("utf-8", "replace").decode()
    assert body_of(compose, {"a": "{title}", "b": "<{title}>"}, title=value) == {"a": value, "b": f"<{value}>"}


def test_texts_are_clipped_to_what_every_service_takes(compose):
    sent = body_of(compose, "{title}\n{message}", title="t" * 300, body="b" * 5000)
    assert len(sent) <= 1000
    assert sent.endswith("b…")


def test_a_map_chooses_a_word_or_number_by_value(compose):
    how = {"map": {"event": {"resolved": "resolve", "*": "trigger"}, "severity": {"warning": 7}}}
    template = {"do": "{event}", "priority": "{severity}", "text": "p{severity}"}
    assert body_of(compose, template, how) == {"do": "trigger", "priority": 7, "text": "p7"}
    assert body_of(compose, template, how, event="resolved")["do"] == "resolve"
    assert body_of(compose, "{severity}", how, severity=Severity.CRITICAL) == "critical"


@pytest.mark.parametrize("title", ["a\r\nX-Injected: 1", "ü 🚀 82 %", "\u2028x", "\x00"])
def test_a_value_in_a_header_stays_in_it(compose, title):
    headers = compose("webhook", {"headers": {"X-Title": "<{title}>", "X-Priority": "{severity}"}}, title=title).headers
    assert headers["X-Priority"] == "warning"
    assert re.fullmatch(r"<[ -~]*>", headers["X-Title"])


def test_the_signature_is_of_the_persons_own_body(compose):
    request = compose("webhook", {"json": {"text": "{title}"}})
    wanted = hmac.new(b"plantedsecret", request.body, hashlib.sha256).hexdigest()
    assert request.headers["X-Watcher-Signature-256"] == f"sha256={wanted}"


@pytest.mark.parametrize(
    ("success", "answer", "outcome"),
    [
        ("ok", (200, b'{"ok": true}'), (True, False)),
        ("ok", (200, b'{"ok": false}'), (False, True)),
        ("ok", (200, b'{"ok": "yes"}'), (False, True)),
        ("ok", (200, b'{"ok": false, "parameters": {"retry_after": 3}}'), (False, False)),
        ("ok", (200, b"<html>"), (False, True)),
        ("ok", (500, b'{"ok": true}'), (False, False)),
        ("status == `1`", (200, b'{"status": 1}'), (True, False)),
        ("@ == null", (204, b""), (True, False)),
        ("", (200, b'{"ok": false}'), (True, False)),
    ],
)
def test_success_decides_what_a_good_status_means(channel, answered, success, answer, outcome):
    found = webhook.interpret_result(answered(*answer), channel("webhook", success=success).settings)
    assert (found.delivered, found.permanent) == outcome


def test_jmespath_is_imported_only_for_a_channel_with_success():
    program = (
        "import sys; from watcher.notifiers.webhook import Settings; Settings(url='https://x.example', json='{title}');"
        "assert 'jmespath' not in sys.modules; Settings(url='https://x.example', success='ok');"
        "assert 'jmespath' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": child_path()})


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
    port = find_free_port()
    server = subprocess.Popen(
        ["webhook", "-hooks", str(hooks), "-ip", "127.0.0.1", "-port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_ready(f"http://127.0.0.1:{port}/", server)
        yield f"http://127.0.0.1:{port}/hooks/alert"
    finally:
        server.kill()
        server.wait(60)


def post(request):
    parts = urlsplit(request.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
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
