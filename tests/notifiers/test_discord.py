"""Discord's embed, judged by a schema of its documented limits and by what its Markdown would read."""

import json
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.notifiers.conftest import clean_message
from watcher.core.model import Severity
from watcher.notifiers import discord
from watcher.notifiers.base import count_utf16_units

SCHEMA = jsonschema.Draft202012Validator(json.loads(Path(__file__).with_name("discord.schema.json").read_text("utf-8")))
SPECIAL = "\\*_~`|<>@#:()[]{}!-&\n1. aé\U0001f680"


def check_body(body):
    """The schema, and the rules that no schema says: 6,000 in all, counted as Discord's client counts, never empty."""
    SCHEMA.validate(json.loads(json.dumps(body)))
    total = 0
    for embed in body["embeds"]:
        texts = [embed["title"], embed["description"]]
        texts += [field[part] for field in embed["fields"] for part in ("name", "value")]
        assert count_utf16_units(embed["title"]) <= 256
        assert count_utf16_units(embed["description"]) <= 4096
        assert any(text.strip() for text in texts)
        total += sum(map(count_utf16_units, texts))
    assert total <= 6000


def test_the_schema_can_fail():
    for body in (
        {"embeds": [{"title": "x"}]},
        {"embeds": [], "allowed_mentions": {"parse": []}},
        {"embeds": [{"title": "x" * 257}], "allowed_mentions": {"parse": []}},
        {"embeds": [{"title": "x", "color": 0x1000000}], "allowed_mentions": {"parse": []}},
        {"embeds": [{"title": "x"}], "allowed_mentions": {"parse": ["everyone"]}},
    ):
        assert not SCHEMA.is_valid(body)


def test_a_message_is_one_embed_with_bar_reset_colour_and_alert(compose):
    body = compose("discord").json
    check_body(body)
    [embed] = body["embeds"]
    assert embed == {
        "title": r"Claude 5\-hour window at 82 %",
        "description": r"resets in 1 h 40 min \(16\:00\)",
        "url": "https://claude.ai/settings/usage",
        "color": 0xD29922,
        "fields": [
            {"name": "Used", "value": "████████░░ 82 %", "inline": True},
            {"name": "Resets", "value": "<t:1767628800:f> (<t:1767628800:R>)", "inline": True},
        ],
        "timestamp": "2026-01-05T14:20:00+00:00",
    }


@given(
    title=st.text(SPECIAL, max_size=600) | st.text(max_size=50),
    body=st.text(SPECIAL, max_size=200) | st.integers(3900, 9000).map(lambda size: "*" * size),
    identity=st.text(SPECIAL, max_size=500),
    severity=st.sampled_from(Severity),
    used=st.none() | st.floats(-1e9, 1e9),
    remaining=st.none() | st.decimals(-(10**20), 10**20),
    unit=st.text(SPECIAL, max_size=400),
)
def test_whatever_the_text_the_payload_keeps_discords_limits(
    message, channel, *, title, body, identity, severity, used, remaining, unit
):
    sent = message(
        title=title, body=body, id=identity, severity=severity, used_percent=used, remaining=remaining, unit=unit
    )
    check_body(discord.build_request(clean_message(sent), channel("discord").settings).json)


@given(st.text(SPECIAL, max_size=80))
def test_a_backslash_precedes_every_mark_that_could_format_or_mention(raw):
    escaped = discord.escape_markdown(raw)
    bare = re.sub(r"\\[^0-9A-Za-z\s]", "x", escaped)
    assert not re.search(r"[\\*_~`|<>@#:()\[\]{}!-]", bare)
    assert not re.search(r"(?m)^\s*\d+\.", bare)
    assert re.sub(r"\\([^0-9A-Za-z\s])", r"\1", escaped) == raw


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        (
            "https://discord.com/api/webhooks/123/abc-_D",
            "https://discord.com/api/v10/webhooks/123/abc-_D?wait=true",
        ),
        ("https://discordapp.com/api/webhooks/1/a", "https://discord.com/api/v10/webhooks/1/a?wait=true"),
        ("https://ptb.discord.com/api/v8/webhooks/1/a/", "https://discord.com/api/v10/webhooks/1/a?wait=true"),
        (
            "https://discord.com/api/webhooks/1/a?thread_id=77&wait=false",
            "https://discord.com/api/v10/webhooks/1/a?thread_id=77&wait=true",
        ),
        ("http://127.0.0.1:8080/api/webhooks/1/a", "http://127.0.0.1:8080/api/v10/webhooks/1/a?wait=true"),
    ],
)
def test_the_address_gets_the_version_and_asks_for_proof(compose, url, asked):
    assert compose("discord", {"url": url}).url == asked


@pytest.mark.parametrize(
    "url", ["https://discord.com/channels/1/2", "http://discord.com/api/webhooks/1/a", "discord", "https://x/\n", ""]
)
def test_an_address_that_is_no_webhook_is_refused_without_being_shown(channel, url):
    with pytest.raises(msgspec.ValidationError, match="`url` must") as refusal:
        channel("discord", url=url)
    assert not url or url not in str(refusal.value).replace("https://discord.com/api/webhooks/NUMBER/TOKEN", "")


def test_the_pause_after_the_last_message_the_limit_allows_is_kept(answered):
    outcome = discord.interpret_result(
        answered(200, b"{}", x_ratelimit_remaining="0", x_ratelimit_reset_after="1.25"), None
    )
    assert (outcome.delivered, outcome.retry_after) == (True, timedelta(seconds=1.25))
    assert (
        discord.interpret_result(
            answered(200, b"{}", x_ratelimit_remaining="3", x_ratelimit_reset_after="1"), None
        ).retry_after
        is None
    )


@pytest.mark.parametrize(
    ("status", "body", "detail"),
    [
        (404, b'{"code": 10015}', "Discord refused it with code 10015: the webhook has been deleted; make a new one"),
        (401, b'{"code": 50027}', "Discord refused it with code 50027: the address is wrong; copy it again"),
        (400, b'{"code": 50035}', "Discord refused it with code 50035: it was not understood; please report this"),
        (
            400,
            b'{"code": 220001}',
            (
                "Discord refused it with code 220001: its channel is a forum: add ?thread_id=NUMBER of a thread to the "
                "address"
            ),
        ),
        (400, b'{"code": [1]}', None),
        (403, b"<html>", None),
    ],
)
def test_a_refusal_is_permanent_and_explained(answered, status, body, detail):
    outcome = discord.interpret_result(answered(status, body), None)
    assert (outcome.delivered, outcome.permanent) == (False, True)
    assert detail is None or outcome.detail == detail


def test_what_is_left_is_a_field_where_the_percent_does_not_show_it(compose):
    [embed] = compose("discord", remaining=Decimal(-3821), unit="requests").json["embeds"]
    assert embed["fields"][1] == {"name": "Remaining", "value": r"\-3,821 requests", "inline": True}
