"""Tokens that are renewed in memory, and the project that is learnt: what is remembered between polls."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from watcher.core.model import PollFailure, Response, Snapshot
from watcher.credentials import Credential, HostInfo
from watcher.demo.server import Server, json_reply
from watcher.errors import OfflineError, TimedOutError
from watcher.polling import fetch
from watcher.providers import google
from watcher.providers.gemini_cli import PROVIDER
from watcher.system import foreign_databases, http

START = datetime(2026, 1, 30, tzinfo=UTC)
BUCKETS = {"buckets": [{"modelId": "gemini-2.5-pro", "remainingFraction": 0.85, "resetTime": "2026-01-30T17:05:02Z"}]}
LOGIN = Credential(
    provider="gemini_cli",
    source_name="x",
    path="x",
    refresh_token="1//one",
    account="me@example.com",
    extra={"clients": json.dumps([["client-1", "secret-1"]]), "project": "p"},
)


class Google:
    """Answers as Google does, and remembers what it was asked."""

    def __init__(self, **answers):
        self.asked, self.sent, self.now, self.kept = [], [], START, {}
        self.answers = {
            "token": {"access_token": "ya29.new", "expires_in": 3599},
            "retrieveUserQuota": BUCKETS,
            **answers,
        }

    def send(self, request):
        method = request.url.rpartition("/")[2].rpartition(":")[2]
        self.asked.append(method)
        self.sent.append(request)
        answer = self.answers.get(method)
        if isinstance(answer, Exception):
            raise answer
        status = 404 if answer is None else 200
        return Response(status=status, body=json.dumps(answer or {}).encode(), received_at=self.now)

    def poll(self, credential=LOGIN, after=timedelta(0)):
        self.now += after
        self.asked, self.sent = [], []
        return fetch.poll_account(
            PROVIDER, credential, now=lambda: self.now, send=self.send, read_database=None, provider_state=self.kept
        )


def test_a_renewed_token_serves_until_a_minute_before_its_end():
    server = Google()
    assert isinstance(server.poll(), Snapshot)
    assert server.asked == ["token", "retrieveUserQuota"]
    server.poll(after=timedelta(seconds=3538))
    assert server.asked == ["retrieveUserQuota"]
    assert server.sent[0].headers["Authorization"] == "Bearer ya29.new"
    server.poll(after=timedelta(seconds=1))
    assert server.asked == ["token", "retrieveUserQuota"]


def test_what_is_asked_of_google():
    server = Google()
    server.poll()
    assert server.sent[0].form == {
        "client_id": "client-1",
        "client_secret": "secret-1",
        "grant_type": "refresh_token",
        "refresh_token": "1//one",
    }
    assert server.sent[1].json == {"project": "p"}


def test_another_login_never_uses_the_token_of_the_one_before():
    server = Google()
    server.poll()
    server.poll(replace(LOGIN, refresh_token="1//two"))
    assert server.asked == ["token", "retrieveUserQuota"]


@pytest.mark.parametrize("lives", [None, -63_905_328_001, 0, 1e15, True, "soon"])
def test_a_token_without_an_end_that_can_be_is_not_kept(lives):
    server = Google(token={"access_token": "ya29.new", "expires_in": lives})
    for _ in range(2):
        server.poll()
        assert server.asked == ["token", "retrieveUserQuota"]


def test_the_project_is_learnt_once_an_hour():
    login = replace(LOGIN, extra={"clients": LOGIN.extra["clients"]})
    server = Google(loadCodeAssist={"cloudaicompanionProject": "found", "currentTier": {"id": "legacy-tier"}})
    assert server.poll(login).plan == "Legacy"
    assert server.asked == ["token", "loadCodeAssist", "retrieveUserQuota"]
    assert server.sent[2].json == {"project": "found"}
    assert server.poll(login, timedelta(minutes=30)).plan == "Legacy"
    assert (server.asked, server.sent[0].json) == (["retrieveUserQuota"], {"project": "found"})
    server.poll(login, timedelta(minutes=31))
    assert "loadCodeAssist" in server.asked


@pytest.mark.parametrize(
    ("tier", "domain", "plan"),
    [
        ("standard-tier", "", "Paid"),
        ("free-tier", "work.com", "Workspace"),
        ("free-tier", "", "Free"),
        ("new", "", None),
    ],
)
def test_the_plan_s_name(tier, domain, plan):
    login = replace(LOGIN, extra={"clients": LOGIN.extra["clients"], "domain": domain})
    server = Google(loadCodeAssist={"cloudaicompanionProject": {"projectId": "x"}, "currentTier": {"id": tier}})
    assert server.poll(login).plan == plan


@pytest.mark.parametrize("trouble", [OfflineError("x"), TimedOutError("x")])
def test_a_project_that_cannot_be_learnt_costs_no_reading(trouble):
    login = replace(LOGIN, extra={"clients": LOGIN.extra["clients"]})
    server = Google(loadCodeAssist=trouble)
    snapshot = server.poll(login)
    assert (snapshot.readings[0].used_percent, snapshot.note) == (
        15.0,
        "no project known: low confidence: set GEMINI_PROJECT_ID",
    )
    assert server.sent[-1].json == {}


def test_a_rate_limit_while_the_project_is_asked_for_ends_the_poll():
    login = replace(LOGIN, extra={"clients": LOGIN.extra["clients"]})
    server = Google()
    plain = server.send

    def limited(request):
        answer = plain(request)
        return Response(status=429, received_at=answer.received_at) if server.asked[-1] == "loadCodeAssist" else answer

    server.send = limited
    assert server.poll(login).kind == "rate_limited"
    assert server.asked == ["token", "loadCodeAssist"]


def test_whose_a_nameless_login_is_is_asked_once_beside_others_and_costs_no_reading():
    nameless = replace(LOGIN, account="", extra={**LOGIN.extra, "others": "yes"})
    for said, name in (
        ({"email": "me@x.io", "id": "1"}, "me@x.io"),
        ({"id": "123"}, "123"),
        ({"email": 5}, ""),
        (None, ""),
    ):
        server = Google(**{"userinfo?alt=json": said})
        for _ in range(2):
            assert server.poll(nameless).account_name == name
        assert server.asked == ["retrieveUserQuota"]
    alone = replace(nameless, extra=LOGIN.extra)
    server = Google()
    server.poll(alone)
    assert server.asked == ["token", "retrieveUserQuota"]


@pytest.mark.parametrize(
    ("provider", "client"),
    [
        ("gemini_cli", {"ideType": "GEMINI_CLI", "pluginType": "GEMINI"}),
        ("antigravity", {"ideType": "ANTIGRAVITY", "platform": "PLATFORM_UNSPECIFIED", "pluginType": "GEMINI"}),
    ],
)
def test_the_metadata_names_the_client(provider, client):
    login = replace(LOGIN, provider=provider, token="ya29.x", expires_at=START + timedelta(hours=1), extra={})
    conversation = google.GoogleSession(login, START, {}).fetch_project()
    request = next(conversation)
    assert (request.url, request.json) == (f"{google.API_URL}loadCodeAssist", {"metadata": client})


def test_no_account_is_onboarded():
    login = replace(LOGIN, extra={"clients": LOGIN.extra["clients"]})
    server = Google(loadCodeAssist={"allowedTiers": [{"id": "free-tier", "isDefault": True}]})
    server.poll(login)
    assert "onboardUser" not in server.asked


def test_a_plugin_s_refusal_is_noted():
    login = replace(LOGIN, extra={**LOGIN.extra, "limited_until": "2026-01-30T01:00:00+00:00"})
    server = Google()
    assert server.poll(login).note == "OpenCode's plugin was refused until 2026-01-30T01:00:00+00:00"
    assert server.poll(login, timedelta(hours=2)).note is None


@pytest.mark.parametrize("delay", ["0s", "soon", 5, None, "1e9s", "-3s"])
def test_a_wait_that_cannot_be_read_is_unknown(delay):
    body = json.dumps({"error": {"details": [{"retryDelay": delay}]}}).encode()
    assert google.parse_retry_delay(Response(status=429, body=body, received_at=START)) is None


def test_from_the_accounts_file_to_the_reading_through_a_real_server(tmp_path):
    path = tmp_path / ".config/opencode/antigravity-accounts.json"
    path.parent.mkdir(parents=True)
    account = {"email": "me@example.com", "refreshToken": "1//r", "projectId": "demo", "addedAt": 1, "lastUsed": 2}
    path.write_text(json.dumps({"version": 3, "accounts": [account], "activeIndex": 0}))
    before = (path.read_bytes(), path.stat().st_mtime_ns, sorted(Path(tmp_path).rglob("*")))
    env = {"GEMINI_CLIENT_ID": "client-1", "GEMINI_CLIENT_SECRET": "secret-1"}
    around = HostInfo(
        home=tmp_path, env=env, platform="linux", run_command=None, read_database=foreign_databases.read_database
    )

    def answer(asked):
        if (asked.method, asked.path) == ("POST", "/token"):
            assert b"refresh_token=1%2F%2Fr" in asked.body
            return json_reply({"access_token": "ya29.new", "expires_in": 3599})
        assert (asked.method, asked.path) == ("POST", "/v1internal:retrieveUserQuota")
        assert (asked.headers["authorization"], json.loads(asked.body)) == ("Bearer ya29.new", {"project": "demo"})
        return json_reply(BUCKETS)

    with Server(answer) as server:
        (credential,) = fetch.find_logins(PROVIDER, around).credentials
        outcome = fetch.poll_account(
            PROVIDER,
            credential,
            now=lambda: START,
            send=http.send_request,
            read_database=foreign_databases.read_database,
            provider_state={},
            base_url=server.url,
        )
    assert not isinstance(outcome, PollFailure), outcome
    assert [(each.window, each.used_percent) for each in outcome.readings] == [("gemini_2_5_pro", 15.0)]
    assert before == (path.read_bytes(), path.stat().st_mtime_ns, sorted(Path(tmp_path).rglob("*")))


@pytest.mark.parametrize(
    ("status", "said", "ends"),
    [
        (403, '{"error": {"details": [{"reason": "UNSUPPORTED_CLIENT"}]}}', True),
        (400, "IneligibleTierError: this tier", True),
        (403, "This client is no longer supported by Gemini Code Assist for individuals.", True),
        (404, "Please migrate to Antigravity to go on with Gemini", True),
        (403, "no longer supported", False),
        (403, "Please migrate to Antigravity", False),
        (401, '{"error": {"status": "UNAUTHENTICATED"}}', False),
        (403, '{"error": {"status": "PERMISSION_DENIED"}}', False),
        (500, "UNSUPPORTED_CLIENT", False),
        (200, "UNSUPPORTED_CLIENT", False),
    ],
)
def test_the_end_of_personal_accounts_is_known_by_its_words_alone(status, said, ends):
    assert (
        google.is_account_unsupported(
            Response(status=status, body=said.encode(), received_at=datetime(2026, 6, 18, tzinfo=UTC))
        )
        is ends
    )
