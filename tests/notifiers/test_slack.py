"""Slack's blocks, judged by slack_sdk's own models and by what Slack would read as a mention."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.attachments import BlockAttachment
from slack_sdk.models.blocks import Block

from tests.notifiers.conftest import clean_message
from watcher.core.model import Severity
from watcher.notifiers import slack

SPECIAL = "<>&!@#|*_~`:^\n aé\U0001f680"


def check_body(body):
    """Every block is one that slack_sdk knows, within its limits, and comes out of its model unchanged."""
    [attachment] = body["attachments"]
    for blocks in (body["blocks"], attachment["blocks"]):
        models = Block.parse_all(blocks)
        assert [model.to_dict() for model in models] == blocks  # to_dict() validates
    BlockAttachment(blocks=Block.parse_all(attachment["blocks"]), color=attachment["color"]).to_dict()
    assert 0 < len(body["text"]) <= 10_000
    assert re.fullmatch("#[0-9a-f]{6}", attachment["color"])


def marked_up(part):
    """Every text in which Slack looks for mentions, links and formats."""
    if isinstance(part, dict):
        if part.get("type") == "mrkdwn":
            yield part["text"]
        for value in part.values():
            yield from marked_up(value)
    elif isinstance(part, list):
        for value in part:
            yield from marked_up(value)


def test_the_judge_can_fail(compose):
    body = compose("slack").json
    body["blocks"][0]["text"]["text"] = "x" * 151
    with pytest.raises(SlackObjectFormationError):
        check_body(body)


def test_a_message_is_a_header_and_beside_a_coloured_bar_its_numbers(compose):
    request = compose("slack")
    check_body(request.json)
    assert request.url == "https://hooks.slack.example/services/T0/B0/plantedsecret"
    assert request.json["text"] == "Claude 5-hour window at 82 %: resets in 1 h 40 min (16:00)"
    assert request.json["blocks"] == [
        {"type": "header", "text": {"type": "plain_text", "text": "Claude 5-hour window at 82 %", "emoji": False}}
    ]
    assert request.json["attachments"] == [
        {
            "color": "#d29922",
            "blocks": [
                {
                    "type": "section",
                    "text": {"type": "plain_text", "text": "resets in 1 h 40 min (16:00)", "emoji": False},
                },
                {
                    "type": "section",
                    "fields": [
                        {"type": "plain_text", "text": "Used\n████████░░ 82 %", "emoji": False},
                        {
                            "type": "mrkdwn",
                            "text": "Resets\n<!date^1767628800^{date_short_pretty}, {time}|2026-01-05 16:00 UTC>",
                        },
                    ],
                },
                {
                    "type": "context",
                    "elements": [{"type": "mrkdwn", "text": "<https://claude.ai/settings/usage|Usage page>"}],
                },
            ],
        }
    ]


@given(
    title=st.text(SPECIAL, max_size=300) | st.text(max_size=50),
    body=st.text(SPECIAL, max_size=200) | st.integers(2800, 9000).map(lambda size: "&" * size),
    identity=st.text(SPECIAL, max_size=500),
    severity=st.sampled_from(Severity),
    used=st.none() | st.floats(-1e9, 1e9),
    remaining=st.none() | st.decimals(-(10**20), 10**20),
    unit=st.text(SPECIAL, max_size=400),
    link=st.text(SPECIAL, max_size=40).map("https://".__add__),
)
def test_whatever_the_text_the_blocks_are_valid_and_hold_no_mention(
    message, channel, *, title, body, identity, severity, used, remaining, unit, link
):
    sent = message(
        title=title,
        body=body,
        id=identity,
        severity=severity,
        used_percent=used,
        remaining=remaining,
        unit=unit,
        link=link,
    )
    payload = slack.build_request(clean_message(sent), channel("slack").settings).json
    check_body(payload)
    assert "<" not in payload["text"]
    assert ">" not in payload["text"]
    for text in marked_up(payload):  # only our own link and date
        assert re.fullmatch(r"<https://[^<>|]*\|Usage page>|Resets\n<!date\^\d+\^[^<>|]*\|[^<>|]*>", text)


@pytest.mark.parametrize("mention", ["<!channel>", "<!here>", "<@U012AB3CD>", "<https://evil.example|click>", "*bold*"])
def test_text_from_outside_is_shown_and_not_read(compose, mention):
    payload = compose("slack", title=mention, body=mention).json
    assert payload["blocks"][0]["text"] == {"type": "plain_text", "text": mention, "emoji": False}
    assert payload["attachments"][0]["blocks"][0]["text"] == {"type": "plain_text", "text": mention, "emoji": False}
    assert payload["mrkdwn"] is False
    assert "<" not in payload["text"]


@pytest.mark.parametrize(
    ("status", "body", "delivered", "permanent", "detail"),
    [
        (200, b"ok", True, False, "answered 200 OK"),
        (200, b'{"success":true}', True, False, "answered 200 OK"),  # Rocket.Chat
        (200, b"", True, False, "answered 200 OK"),
        (204, b"", True, False, "answered 204 No Content"),
        (
            200,
            b"\n<!DOCTYPE html><title>please log in</title>",
            False,
            False,
            "a web page answered in place of Slack; check the address and the network",
        ),
        (
            403,
            b"invalid_token",
            False,
            True,
            "Slack answered invalid_token; the address is wrong or withdrawn; make a new webhook",
        ),
        (
            410,
            b"channel_is_archived",
            False,
            True,
            "Slack answered channel_is_archived; the channel is archived; make a webhook for another one",
        ),
        (
            404,
            b"no_service",
            False,
            True,
            "Slack answered no_service; the webhook is switched off or removed; make a new one",
        ),
        (
            403,
            b"plantedsecret",
            False,
            True,
            "answered 403 Forbidden; the receiver forbids it; check the secret and its permissions",
        ),
        (500, b"rollup_error", False, False, "answered 500 Internal Server Error; will be sent again"),
    ],
)
def test_slacks_reasons_are_understood(answered, *, status, body, delivered, permanent, detail):
    outcome = slack.interpret_result(answered(status, body), None)
    assert (outcome.delivered, outcome.permanent, outcome.detail) == (delivered, permanent, detail)


@pytest.mark.parametrize("url", ["http://hooks.slack.com/services/x", "hooks.slack.com/x", "https://", "https://x y/"])
def test_an_address_without_tls_or_that_is_none_is_refused(channel, url):
    with pytest.raises(msgspec.ValidationError, match="`url` must"):
        channel("slack", url=url)
