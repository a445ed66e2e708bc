import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from watcher.core.model import Response
from watcher.credentials import Credential, HostInfo
from watcher.errors import OfflineError, TimedOutError
from watcher.polling import accounts, fetch
from watcher.providers import Overrides, claude

NOW = datetime(2026, 1, 29, 15, tzinfo=UTC)
PROVIDER = claude.PROVIDER


def nowhere(question):
    raise AssertionError(f"asked {question}")


def machine(home: Path, **env: str) -> HostInfo:
    return HostInfo(home=home, env=env, platform="linux", run_command=nowhere, read_database=nowhere)


def request_for(credential: Credential):
    return next(claude.fetch_usage(credential, NOW, {}))


def sign_in(home: Path) -> None:
    path = home / ".local/share/opencode/auth.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"anthropic": {"type": "oauth", "access": "t", "expires": 0}}))


def test_it_asks_as_claude_code_does():
    request = request_for(Credential(provider="claude", source_name="p", path="p", token="sk-ant-oat01-x"))
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
    [login] = fetch.find_logins(PROVIDER, machine(tmp_path, **env)).credentials
    headers = request_for(login).headers
    assert (headers["User-Agent"], headers["anthropic-beta"]) == (agent, beta)


def test_the_config_may_give_the_token_or_the_file(tmp_path):
    sign_in(tmp_path)
    mine = tmp_path / "mine.json"
    for content in ({"claudeAiOauth": {"accessToken": "mine"}}, {"anthropic": {"type": "oauth", "access": "mine"}}):
        mine.write_text(json.dumps(content))
        found = fetch.find_logins(PROVIDER, machine(tmp_path), Overrides(credentials=(str(mine),)))
        assert [login.token for login in found.credentials] == ["mine"]
        assert found.failures == ()
    found = fetch.find_logins(PROVIDER, machine(tmp_path), Overrides(token="given", credentials=(str(mine),)))
    assert [(login.token, login.account) for login in found.credentials] == [("given", "")]


USAGE = b'{"five_hour": {"utilization": 1}}'
PROFILE = b'{"account": {"uuid": "u", "email_address": "me@example.com"}, "organization": {"uuid": "o"}}'


PROFILE_URL, ACCOUNT_URL = claude.OWNER_URLS


class FakeServer:
    """Answers usage always, and the owner as configured; records the requests."""

    def __init__(self, profile: Response | Exception, account: Response | Exception | None = None) -> None:
        self.owners, self.asked = {PROFILE_URL: profile, ACCOUNT_URL: account or profile}, []

    def __call__(self, request) -> Response:
        self.asked.append(request.url)
        if request.url == claude.USAGE_URL:
            return Response(status=200, body=USAGE, received_at=NOW)
        assert request.headers["Authorization"] == "Bearer t"
        said = self.owners[request.url]
        if isinstance(said, Exception):
            raise said
        return said


def ask(server: FakeServer, kept: dict, **extra: str):
    login = Credential(provider="claude", source_name="p", path="p", token="t", extra=extra)
    return fetch.poll_account(PROVIDER, login, now=lambda: NOW, send=server, read_database=nowhere, provider_state=kept)


def test_only_one_question_is_asked_for_an_answer():
    server, kept = FakeServer(OfflineError("never asked")), {}
    for _ in range(3):
        assert ask(server, kept).account_name == ""
    assert server.asked == [claude.USAGE_URL] * 3


def test_a_nameless_login_beside_others_is_asked_whose_it_is_once_for_each_token():
    server, kept = FakeServer(Response(status=200, body=PROFILE, received_at=NOW)), {}
    for _ in range(3):
        snapshot = ask(server, kept, others="yes")
        assert (snapshot.account, snapshot.account_name) == ("", "me@example.com")
    assert server.asked == [claude.USAGE_URL, PROFILE_URL, claude.USAGE_URL, claude.USAGE_URL]


@pytest.mark.parametrize(
    "profile",
    [
        TimedOutError("api.anthropic.com: no answer"),
        *(Response(status=status, body=b"{}", received_at=NOW) for status in (401, 403, 404, 429, 500)),
        *(
            Response(status=200, body=body, received_at=NOW)
            for body in (b"", b"<html>", b"{}", b'{"account": 5, "email": 7}')
        ),
    ],
)
def test_not_learning_whose_it_is_costs_no_reading_and_is_not_tried_again(profile):
    server, kept = FakeServer(profile), {}
    for _ in range(2):
        snapshot = ask(server, kept, others="yes")
        assert [reading.window for reading in snapshot.readings] == ["five_hour"]
        assert (snapshot.account, snapshot.account_name) == ("", "")
    assert server.asked.count(PROFILE_URL) == 1


@pytest.mark.parametrize(
    ("profile", "account", "name", "asked"),
    [
        ((403, {}), (200, {"email": "me@example.com"}), "me@example.com", 2),
        ((200, {}), (200, {"account": {"emailAddress": "me@example.com"}}), "me@example.com", 2),
        ((200, {"account": {"uuid": "uuid-1", "email": None}}), (500, {}), "uuid-1", 1),
        ((429, {}), (200, {"email": "me@example.com"}), "", 1),
        ((404, {}), (404, {}), "", 2),
    ],
)
def test_the_account_is_asked_if_the_profile_has_no_owner(profile, account, name, asked):
    first, second = (
        Response(status=status, body=json.dumps(body).encode(), received_at=NOW) for status, body in (profile, account)
    )
    server = FakeServer(first, second)
    assert ask(server, {}, others="yes").account_name == name
    assert len(server.asked) == 1 + asked


def test_one_account_with_two_tokens_is_merged(tmp_path):
    sign_in(tmp_path)
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude/.credentials.json").write_text('{"claudeAiOauth": {"accessToken": "t2"}}')
    account = {"oauthAccount": {"accountUuid": "uuid-1", "emailAddress": "Me@example.com"}}
    (tmp_path / ".claude.json").write_text(json.dumps(account))
    nameless, named = fetch.find_logins(PROVIDER, machine(tmp_path)).credentials
    server = FakeServer(Response(status=200, body=PROFILE, received_at=NOW))
    snapshot = fetch.poll_account(
        PROVIDER, nameless, now=lambda: NOW, send=server, read_database=nowhere, provider_state={}
    )
    assert snapshot.account_name.casefold() == named.account_name.casefold()
    owners = {accounts.hash_token(nameless): named.account}
    assert accounts.merge_anonymous([nameless, named], owners, NOW) == [replace(named, fallbacks=(nameless,))]
    [only] = accounts.merge_anonymous([nameless, replace(named, expires_at=NOW)], owners, NOW)
    assert (only.account, only.token) == ("uuid-1", nameless.token), "the only one that can answer stands in"
