"""ntfy's JSON publication and its limits in bytes."""

import msgspec
import pytest

from watcher.core.model import Severity

EMOJI_TAGS = {"warning", "white_check_mark", "rotating_light", "information_source", "skull", "tada", "info", "bell"}


def test_a_message_is_one_publication_to_the_servers_root(compose):
    request = compose("ntfy", {"server": "http://ntfy.lan:8080/"})
    assert (request.method, request.url) == ("POST", "http://ntfy.lan:8080/")
    assert request.headers == {"Authorization": "Bearer plantedsecret"}
    assert request.json == {
        "topic": "quotas",
        "title": "Claude 5-hour window at 82 %",
        "message": "resets in 1 h 40 min (16:00)\n████████░░ 82 %",
        "priority": 4,
        "tags": ["firing-event", "warning-severity"],
        "click": "https://claude.ai/settings/usage",
    }
    assert not EMOJI_TAGS & set(request.json["tags"])


@pytest.mark.parametrize(
    ("how", "facts", "priority"),
    [
        ({}, {"severity": Severity.INFO}, 3),
        ({}, {"severity": Severity.WARNING}, 4),
        ({}, {"severity": Severity.CRITICAL}, 5),
        ({}, {"severity": Severity.CRITICAL, "event": "resolved"}, 3),
        ({"priority": 1}, {"severity": Severity.CRITICAL}, 1),
    ],
)
def test_priority_is_the_severity_unless_it_is_set(compose, how, facts, priority):
    assert compose("ntfy", how, **facts).json["priority"] == priority


def test_without_a_token_there_is_no_authorization(compose):
    assert compose("ntfy", {"token": ""}).headers == {}


def test_title_and_message_are_clipped_in_bytes_and_never_empty(compose):
    body = compose("ntfy", title="ü" * 400, body="ü" * 5000).json
    assert len(body["title"].encode()) <= 250
    assert len(body["message"].encode()) <= 4096
    assert body["message"].endswith("…")
    assert compose("ntfy", body="").json["message"].startswith("Claude 5-hour window")


@pytest.mark.parametrize(
    "how",
    [
        {"topic": "a/b"},
        {"topic": ""},
        {"topic": "x" * 65},
        {"priority": 0},
        {"priority": 6},
        {"server": "ntfy.sh"},
        {"token": "a\nb"},
    ],
)
def test_settings_that_ntfy_would_refuse_are_refused_here(channel, how):
    with pytest.raises(msgspec.ValidationError):
        channel("ntfy", **how)
