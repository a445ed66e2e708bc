"""Each preset of docs/channels.md, as a config, against a server that takes only what the vendor documents."""

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema
import pytest

from watcher import notifiers
from watcher.config import loader, secrets
from watcher.core.model import HostInfo, Severity
from watcher.demo.server import Reply, Server, json_reply
from watcher.system import http
from watcher.system.paths import Paths

PAGE = Path(__file__).parents[2].joinpath("docs", "channels.md").read_text("utf-8")
EXAMPLES = dict(re.findall(r"^### ([^\n]+)\n(?:(?!^#).)*?```toml\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL))
COLOUR = {"type": "string", "pattern": "^#[0-9a-f]{6}$"}


def text(longest, pattern="."):
    return {"type": "string", "minLength": 1, "maxLength": longest, "pattern": pattern}


def record(required, **optional):
    keys = {**required, **optional}
    return {"type": "object", "properties": keys, "required": list(required), "additionalProperties": False}


def rows(item):
    return {"type": "array", "items": item, "minItems": 1}


TEXT_BLOCK = record(
    {"type": {"const": "TextBlock"}, "text": {"type": "string"}},
    weight={"enum": ["lighter", "default", "bolder"]},
    color={"enum": ["default", "dark", "light", "accent", "good", "warning", "attention"]},
    wrap={"type": "boolean"},
)
CARD = record(
    {
        "$schema": {"const": "http://adaptivecards.io/schemas/adaptive-card.json"},
        "type": {"const": "AdaptiveCard"},
        "version": text(5, r"^1\.\d$"),
        "body": rows(TEXT_BLOCK),
    }
)
PAGERDUTY_PAYLOAD = record(
    {"summary": text(1024), "source": text(255), "severity": {"enum": ["critical", "error", "warning", "info"]}},
    timestamp=text(40, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"),
    custom_details={"type": "object"},
)
PARAGRAPH = record({"textParagraph": record({"text": text(4000)})})
CHAT_CARD = record(
    {"header": record({"title": text(300)}), "sections": rows(record({"widgets": rows(PARAGRAPH)}))},
)
ATTACHMENT = record({"title": text(300), "text": {"type": "string"}, "color": COLOUR}, fallback=text(300))

VENDORS = {
    "Telegram": (
        "/bot123:planted/sendMessage",
        record(
            {"chat_id": text(50), "text": text(4096)},
            link_preview_options=record({"is_disabled": {"type": "boolean"}}),
        ),
        json_reply({"ok": True, "result": {"message_id": 1}}),
    ),
    "Microsoft Teams": (
        "/workflows/planted",
        record(
            {
                "type": {"const": "message"},
                "attachments": rows(
                    record({"contentType": {"const": "application/vnd.microsoft.card.adaptive"}, "content": CARD})
                ),
            }
        ),
        Reply(status=202),
    ),
    "Google Chat": (
        "/v1/spaces/AAA/messages",
        record({"cardsV2": rows(record({"cardId": text(50), "card": CHAT_CARD}))}),
        json_reply({"name": "spaces/AAA/messages/1"}),
    ),
    "Mattermost": ("/hooks/planted", record({"attachments": rows(ATTACHMENT)}), Reply(body=b"ok")),
    "Rocket.Chat": ("/hooks/1/planted", record({"attachments": rows(ATTACHMENT)}), json_reply({"success": True})),
    "Pushover": (
        "/1/messages.json",
        record({"token": text(30), "user": text(30), "message": text(1024)}, priority={"enum": [-2, -1, 0, 1]}),
        json_reply({"status": 1, "request": "647d2300"}),
    ),
    "Gotify": (
        "/message",
        record({"message": text(5000)}, title={"type": "string"}, priority={"type": "integer", "minimum": 0}),
        json_reply({"id": 25, "appid": 5, "message": "x", "priority": 5}),
    ),
    "PagerDuty": (
        "/v2/enqueue",
        record(
            {
                "routing_key": text(32),
                "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
                "dedup_key": text(255),
                "payload": PAGERDUTY_PAYLOAD,
            },
            client=text(100),
        ),
        json_reply({"status": "success", "message": "Event processed", "dedup_key": "x"}, 202),
    ),
    "Home Assistant": (
        "/api/services/notify/notify",
        record({"message": text(5000)}, title={"type": "string"}),
        json_reply([]),
    ),
}
"""Name -> path, JSON Schema of the body, answer."""

TOKEN_HEADERS = {"Gotify": "x-gotify-key", "Home Assistant": "authorization"}
HOSTILE = '"}],"admin":true,{"a":["<users/all> {title} {{ \\ ü 🚀'


def test_every_preset_of_the_page_is_tested():
    assert set(EXAMPLES) == set(VENDORS)


@pytest.fixture(params=VENDORS)
def vendor(request):
    return request.param


@pytest.fixture
def server(vendor):
    path, schema, answer = VENDORS[vendor]

    def take(asked):
        if (asked.method, asked.path) != ("POST", path) or asked.headers["content-type"] != "application/json":
            return Reply(status=404)
        jsonschema.validate(json.loads(asked.body), schema)
        header = TOKEN_HEADERS.get(vendor)
        return answer if header is None or asked.headers.get(header) == "planted{x}secret" else Reply(status=401)

    with Server(take) as running:
        yield running


@pytest.fixture
def deliver(vendor, server, tmp_path, message):
    """Send one message through the channel as docs/channels.md shows it, at another address."""
    example, path = EXAMPLES[vendor], VENDORS[vendor][0]
    written = re.search(r'url +=\s*"(env:\w+|[^"]+)"(?:\s*# (http\S+))?', example)
    shown = written[2] or written[1]
    if not shown.startswith("env:"):
        assert urlsplit(shown).path.count("/") == path.count("/")
    own = Paths(config_dir=tmp_path, state_dir=tmp_path)
    own.config_file.write_text(example.replace(f'"{written[1]}"', f'"{server.url}{path}"'), "utf-8")
    own.config_file.chmod(0o600)
    names = set(re.findall(r"env:(\w+)", example))
    host_info = HostInfo(
        home=tmp_path, env=dict.fromkeys(names, "planted{x}secret"), platform="linux", run_command=None,
        read_database=None,
    )  # fmt: skip
    [channel] = loader.load_config(own, secrets.make_secret_resolver(host_info), tmp_path).channels.values()

    def send(**changes):
        return notifiers.send_message(message(**changes), channel, send=http.send_request, run=None)

    return send


@pytest.mark.parametrize("severity", Severity)
def test_a_preset_sends_what_its_vendor_documents(deliver, server, severity):
    outcome = deliver(severity=severity)
    assert outcome.delivered, outcome.detail
    [asked] = server.requests
    assert "Claude 5-hour window at 82 %" in asked.body.decode()


@pytest.mark.parametrize(
    "facts",
    [
        {"title": HOSTILE, "body": HOSTILE, "label": HOSTILE, "account": HOSTILE},
        {"title": "t" * 1000, "body": "b" * 9000},
        {
            "body": "",
            "rule": "",
            "provider": "",
            "window": "",
            "used_percent": None,
            "resets_at": None,
            "event": "digest",
        },
    ],
    ids=["hostile", "long", "digest"],
)
def test_no_message_leaves_the_documented_shape(deliver, facts):
    outcome = deliver(**facts)
    assert outcome.delivered, outcome.detail


@pytest.mark.parametrize("vendor", ["PagerDuty"], indirect=True)
def test_an_incident_begins_and_ends_with_its_alert(deliver, server):
    for event in ("firing", "escalated", "reminder", "resolved"):
        assert deliver(event=event, id=f"claude-session|claude.five_hour|3|{event}").delivered
    sent = [json.loads(asked.body) for asked in server.requests]
    assert [each["event_action"] for each in sent] == ["trigger", "trigger", "trigger", "resolve"]
    assert {each["dedup_key"] for each in sent} == {"claude-session|claude||five_hour"}
    assert {each["routing_key"] for each in sent} == {"planted{x}secret"}
