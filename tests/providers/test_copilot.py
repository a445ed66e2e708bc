"""What is asked of GitHub; what its answers mean is in the recorded ones."""

import pytest

from watcher.credentials import copilot
from watcher.demo.server import Server, json_reply
from watcher.polling import fetch
from watcher.providers.copilot import PROVIDER
from watcher.system import clock, http

ANSWER = {"quota_snapshots": {"premium_interactions": {"entitlement": 300, "remaining": -1}}}


@pytest.fixture
def server():
    with Server(lambda asked: json_reply({"login": "octocat"} if asked.path == "/user" else ANSWER)) as running:
        yield running


def ask(server, kept, **login):
    credential = copilot.make_credential("OpenCode", "auth.json", "gho_a", **login)
    return fetch.poll_account(
        PROVIDER,
        credential,
        now=clock.utc_now,
        send=http.send_request,
        read_database=None,
        provider_state=kept,
        base_url=server.url,
    )


def test_it_asks_as_an_editor_does(server):
    assert ask(server, {}, user="octocat").readings[0].used_percent == pytest.approx(100.3333, abs=1e-4)
    [asked] = server.requests
    assert (asked.method, asked.path, asked.body) == ("GET", "/copilot_internal/user", b"")
    said = {name.lower(): text for name, text in asked.headers.items()}
    assert said["authorization"] == "token gho_a"
    assert said["editor-version"].startswith("vscode/")
    assert said["x-github-api-version"] == "2025-04-01"
    assert said["user-agent"].startswith("GitHubCopilotChat/")
    assert said["editor-plugin-version"].startswith("copilot-chat/")


def test_whose_a_nameless_token_is_is_asked_once(server):
    kept = {}
    for _ in range(3):
        assert ask(server, kept).account_name == "octocat"
    assert [asked.path for asked in server.requests].count("/user") == 1


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("github.com", "https://api.github.com/copilot_internal/user"),
        ("acme.ghe.com", "https://api.acme.ghe.com/copilot_internal/user"),
    ],
)
def test_an_enterprise_has_an_address_of_its_own(host, url):
    login = copilot.make_credential("OpenCode", "auth.json", "gho_a", user="me", host=host)
    assert next(PROVIDER.fetch_usage(login, None, {})).url == url
