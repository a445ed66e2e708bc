import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from watcher import poll
from watcher.core.model import Response
from watcher.credentials import Credential, Surroundings
from watcher.providers import Overrides, claude

NOW = datetime(2026, 1, 29, 15, tzinfo=UTC)
PROVIDER = claude.PROVIDER


def nowhere(question):
    raise AssertionError(f"asked {question}")


def machine(home: Path, **env: str) -> Surroundings:
    return Surroundings(home=home, env=env, platform="linux", run=nowhere, read_database=nowhere)


def request_for(credential: Credential):
    return next(claude.ask(credential, NOW, {}))


def sign_in(home: Path) -> None:
    path = home / ".local/share/opencode/auth.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"anthropic": {"type": "oauth", "access": "t", "expires": 0}}))


def test_it_asks_as_claude_code_does():
    request = request_for(Credential(provider="claude", place="p", path="p", token="sk-ant-oat01-x"))
    assert (request.method, request.url) == ("GET", "https://api.anthropic.com/api/oauth/usage")
    assert request.headers == {
        "Authorization": "Bearer sk-ant-oat01-x",
        "anthropic-beta": "oauth-2025-04-20",
        "User-Agent": "claude-code/2.1.80",
        "Accept": "application/json",
        "Content-Type": "application/json",
    }
    assert request.json is request.form is request.body is None


@pytest.mark.parametrize(
    ("env", "agent", "beta"),
    [
        ({}, "claude-code/2.1.80", "oauth-2025-04-20"),
        ({"ANTHROPIC_CLI_VERSION": "3.0.1"}, "claude-code/3.0.1", "oauth-2025-04-20"),
        ({"ANTHROPIC_CODE_USER_AGENT": "me/1", "ANTHROPIC_CLI_VERSION": "3.0.1"}, "me/1", "oauth-2025-04-20"),
        ({"ANTHROPIC_OAUTH_BETA": "oauth-2027"}, "claude-code/2.1.80", "oauth-2027"),
    ],
)
def test_the_environment_may_name_another_version(tmp_path, env, agent, beta):
    sign_in(tmp_path)
    [login] = poll.find(PROVIDER, machine(tmp_path, **env)).credentials
    headers = request_for(login).headers
    assert (headers["User-Agent"], headers["anthropic-beta"]) == (agent, beta)


def test_the_config_may_give_the_token_or_the_file(tmp_path):
    sign_in(tmp_path)
    mine = tmp_path / "mine.json"
    for content in ({"claudeAiOauth": {"accessToken": "mine"}}, {"anthropic": {"type": "oauth", "access": "mine"}}):
        mine.write_text(json.dumps(content))
        found = poll.find(PROVIDER, machine(tmp_path), Overrides(credentials=str(mine)))
        assert [login.token for login in found.credentials] == ["mine"]
        assert found.failures == ()
    found = poll.find(PROVIDER, machine(tmp_path), Overrides(token="given", credentials=str(mine)))
    assert [(login.token, login.account) for login in found.credentials] == [("given", "")]


def test_only_one_question_is_asked_for_an_answer():
    asked = []

    def send(request):
        asked.append(request.url)
        return Response(status=200, body=b'{"five_hour": {"utilization": 1}}', at=NOW)

    kept: dict = {}
    for _ in range(3):
        poll.ask(
            PROVIDER, Credential(provider="claude", place="p", path="p", token="t"), now=lambda: NOW, send=send,
            read_database=nowhere, kept=kept,
        )  # fmt: skip
    assert asked == [claude.URL] * 3
