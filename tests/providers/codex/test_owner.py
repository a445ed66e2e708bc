"""Whose a personal access token is."""

import json

import pytest

from tests.providers.codex.codex_poll import NOW, PROVIDER, USAGE, found_in, login, nowhere
from watcher.core.model import Response
from watcher.credentials import Credential
from watcher.errors import OfflineError, TimedOutError
from watcher.polling import fetch
from watcher.providers import codex

WHOAMI = {"chatgpt_account_id": "ws-9", "chatgpt_plan_type": "business", "email": "me@example.com"}


class FakeServer:
    """Answers whoami and usage, and remembers what was asked."""

    def __init__(self, whoami=None):
        self.whoami = (
            whoami if whoami is not None else Response(status=200, body=json.dumps(WHOAMI).encode(), received_at=NOW)
        )
        self.asked = []

    def __call__(self, request):
        self.asked.append(request)
        if request.url != codex.WHOAMI_URL:
            return Response(status=200, body=json.dumps(USAGE).encode(), received_at=NOW)
        if isinstance(self.whoami, Exception):
            raise self.whoami
        return self.whoami

    def poll(self, credential, kept):
        self.asked.clear()
        return fetch.poll_account(
            PROVIDER, credential, now=lambda: NOW, send=self, read_database=nowhere, provider_state=kept
        )  # fmt: skip


def test_a_personal_token_is_asked_once_whose_it_is_and_sent_as_the_tool_sends_it():
    server, kept = FakeServer(), {}
    snapshot = server.poll(login(personal="yes"), kept)
    assert [(each.method, each.url) for each in server.asked] == [
        ("GET", codex.WHOAMI_URL),
        ("GET", codex.USAGE_URL),
    ]
    for each in server.asked:
        assert each.headers["Authorization"] == "Bearer t"
        assert each.headers["originator"] == "codex_cli_rs"
        assert each.headers["User-Agent"].startswith("codex_cli_rs/")
    assert "ChatGPT-Account-Id" not in server.asked[0].headers
    assert server.asked[1].headers["ChatGPT-Account-Id"] == "ws-9"
    assert (snapshot.account_name, snapshot.plan) == ("me@example.com", "business")
    assert server.poll(login(personal="yes"), kept) == snapshot
    assert [each.url for each in server.asked] == [codex.USAGE_URL]
    assert server.asked[0].headers["ChatGPT-Account-Id"] == "ws-9"
    server.poll(Credential(provider="codex", source_name="p", path="p", token="new", extra={"personal": "yes"}), kept)
    assert [each.url for each in server.asked] == [codex.WHOAMI_URL, codex.USAGE_URL]


@pytest.mark.parametrize(
    "whoami",
    [
        Response(status=401, received_at=NOW),
        Response(status=429, received_at=NOW),
        Response(status=200, body=b"<html>", received_at=NOW),
        Response(status=200, body=b'{"email": 5, "chatgpt_account_id": []}', received_at=NOW),
        TimedOutError("no answer"),
    ],
)
def test_a_personal_token_without_an_owner_has_no_name(whoami):
    server, kept = FakeServer(whoami), {}
    snapshot = server.poll(login(personal="yes"), kept)
    assert [reading.used_percent for reading in snapshot.readings] == [9]
    assert (snapshot.account_name, snapshot.plan) == ("", None)
    assert "ChatGPT-Account-Id" not in server.asked[1].headers
    server.poll(login(personal="yes"), kept)
    assert [each.url for each in server.asked] == [codex.USAGE_URL]


def test_a_question_that_never_left_is_asked_again():
    server, kept = FakeServer(OfflineError("offline")), {}
    server.poll(login(personal="yes"), kept)
    server.poll(login(personal="yes"), kept)
    assert [each.url for each in server.asked] == [codex.WHOAMI_URL, codex.USAGE_URL]


def test_beside_other_logins_a_personal_token_goes_by_its_workspace():
    """One person's two workspaces are two quotas: joined by the email, one of them would be lost."""
    assert FakeServer().poll(login(personal="yes", others="yes"), {}).account_name == "ws-9"


def test_a_personal_token_for_another_server_is_shown_to_that_one_alone():
    server = FakeServer()
    server.poll(login(personal="yes", usage_url="https://proxy.example.com/api/codex/usage"), {})
    assert [each.url for each in server.asked] == ["https://proxy.example.com/api/codex/usage"]
    server.poll(login(personal="yes", usage_url="https://chat.openai.com/backend-api/wham/usage"), {})
    assert server.asked[0].url == codex.WHOAMI_URL


def test_a_personal_token_in_the_config_is_asked_whose_it_is_as_one_in_codexs_file(tmp_path):
    server, kept = FakeServer(), {}
    [login] = found_in(tmp_path, token="at-x").credentials
    snapshot = server.poll(login, kept)
    assert [each.url for each in server.asked] == [codex.WHOAMI_URL, codex.USAGE_URL]
    assert all(each.headers["originator"] == "codex_cli_rs" for each in server.asked)
    assert server.asked[1].headers["ChatGPT-Account-Id"] == "ws-9"
    assert (snapshot.account_name, snapshot.plan) == ("me@example.com", "business")
