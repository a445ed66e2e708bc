import json
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from tests.providers.codex.codex_poll import (
    NOW,
    PROVIDER,
    USAGE,
    asked,
    found_in,
    login,
    machine,
    nowhere,
    request_for,
    write,
)
from watcher.core.model import Response, Snapshot
from watcher.credentials import Credential
from watcher.demo.server import Reply, Server
from watcher.polling import fetch
from watcher.providers import Overrides, codex
from watcher.system import http


def test_it_asks_for_the_workspace_of_the_login():
    request = request_for(login(account_id="ws-1"))
    assert (request.method, request.url) == ("GET", "https://chatgpt.com/backend-api/wham/usage")
    assert request.headers == {
        "Authorization": "Bearer t",
        "Accept": "application/json",
        "User-Agent": "codex-cli",
        "Cache-Control": "no-cache",
        "ChatGPT-Account-Id": "ws-1",
    }


def test_without_a_known_workspace_none_is_named():
    assert "ChatGPT-Account-Id" not in request_for(login()).headers
    assert "ChatGPT-Account-Id" not in request_for(login(account_id="")).headers


def test_another_server_that_codex_uses_is_asked_instead():
    assert request_for(login(usage_url="https://proxy.example.com/x")).url == "https://proxy.example.com/x"


def test_the_config_may_give_the_token_or_the_file(tmp_path):
    mine = tmp_path / "mine.json"
    for content in ({"tokens": {"access_token": "mine"}}, {"openai": {"type": "oauth", "access": "mine"}}):
        mine.write_text(json.dumps(content))
        found = fetch.find_logins(PROVIDER, machine(tmp_path), Overrides(credentials=(str(mine),)))
        assert [login.token for login in found.credentials] == ["mine"]
    found = fetch.find_logins(PROVIDER, machine(tmp_path), Overrides(token="given"))
    assert [login.token for login in found.credentials] == ["given"]


def test_the_answer_names_the_account_for_people():
    body = json.dumps({"email": "me@example.com", "credits": {"balance": 1}}).encode()
    snapshot = fetch.poll_account(
        PROVIDER, login(), now=lambda: NOW, send=lambda _request: Response(status=200, body=body, received_at=NOW),
        read_database=nowhere, provider_state={},
    )  # fmt: skip
    assert (snapshot.account, snapshot.account_name) == ("", "me@example.com")


PLANS = (
    "guest", "free", "go", "plus", "pro", "prolite", "free_workspace", "team", "business", "education", "quorum", "k12",
    "enterprise", "edu", "unknown", "self_serve_business_prolite", "one that nobody has heard of yet",
)  # fmt: skip


@pytest.mark.parametrize("plan", PLANS)
def test_every_plan_is_shown_as_it_is_called(plan):
    assert asked({**USAGE, "plan_type": plan}).plan == plan


@pytest.mark.parametrize("content", [{}, {"rate_limit": None}, {"credits": {"balance": None}, "promo": None}])
def test_an_answer_without_a_window_or_a_balance_is_an_error_and_not_nothing_used(content):
    assert asked(content).kind == "shape"


@pytest.mark.parametrize("detail", ["Could not validate", {"code": "x", "message": "secret words"}, None])
@pytest.mark.parametrize(
    ("status", "kind"), [(401, "expired"), (403, "forbidden"), (404, "server"), (429, "rate_limited"), (500, "server")]
)
def test_a_refusal_is_classified_by_status_and_never_repeats_the_body(status, kind, detail):
    body = json.dumps({"detail": detail}).encode()
    headers = {"retry-after": "90"} if status == 429 else {}
    failure = fetch.poll_account(
        PROVIDER, login(), now=lambda: NOW, read_database=nowhere, provider_state={},
        send=lambda _request: Response(status=status, headers=headers, body=body, received_at=NOW),
    )  # fmt: skip
    assert failure.kind == kind
    assert "secret" not in failure.message
    assert "validate" not in failure.message
    assert failure.retry_at == (NOW + timedelta(seconds=90) if status == 429 else None)


def test_an_answer_that_may_be_cached_is_never_given_to_another_account():
    """The address is the same for all accounts: a cache by address would hand one's answer to the next."""
    answers = {"Bearer a": 11, "Bearer b": 22}

    def answer(asked):
        limit = {"primary_window": {"used_percent": answers[asked.headers["authorization"]]}}
        headers = {"content-type": "application/json", "cache-control": "public, max-age=300"}
        return Reply(headers=headers, body=json.dumps({"rate_limit": limit}).encode())

    with Server(answer) as server:
        for token in ("a", "b", "a"):
            snapshot = fetch.poll_account(
                PROVIDER, Credential(provider="codex", source_name="p", path="p", token=token), now=lambda: NOW,
                send=http.send_request, read_database=nowhere, provider_state={}, base_url=server.url,
            )  # fmt: skip
            assert [each.used_percent for each in snapshot.readings] == [answers[f"Bearer {token}"]]
        assert [each.headers["cache-control"] for each in server.requests] == ["no-cache"] * 3


def test_the_user_agent_is_configurable(tmp_path):
    write(tmp_path / ".codex/auth.json", {"tokens": {"access_token": "t"}})
    [login] = found_in(tmp_path, user_agent="codex_cli_rs/1.2.3").credentials
    assert request_for(login).headers["User-Agent"] == "codex_cli_rs/1.2.3"
    [login] = found_in(tmp_path / "empty", token="at-x", user_agent="mine/1").credentials
    first = codex.fetch_usage(login, NOW, {})
    assert next(first).headers["User-Agent"] == "mine/1"


PROXY = {"usage_url": "https://proxy.example.com/api/codex/usage", "if_unknown": "vendor"}


@pytest.mark.parametrize(
    ("proxy", "hosts"),
    [
        (Response(status=200, body=json.dumps(USAGE).encode(), received_at=NOW), ["proxy.example.com"]),
        (Response(status=429, received_at=NOW), ["proxy.example.com"]),
        (Response(status=500, received_at=NOW), ["proxy.example.com"]),
        (Response(status=200, body=b"{}", received_at=NOW), ["proxy.example.com"]),
        (Response(status=200, body=b"<html>", received_at=NOW), ["proxy.example.com", "chatgpt.com"]),
        *(
            (Response(status=each, received_at=NOW), ["proxy.example.com", "chatgpt.com"])
            for each in (401, 403, 404, 405)
        ),
    ],
)
def test_opencodes_proxy_answers_for_the_vendor_unless_it_knows_nothing_of_the_login(proxy, hosts):
    asked = []

    def send(request):
        asked.append(urlsplit(request.url).hostname)
        is_proxy = request.url == PROXY["usage_url"]
        return proxy if is_proxy else Response(status=200, body=json.dumps(USAGE).encode(), received_at=NOW)

    outcome = fetch.poll_account(
        PROVIDER, login(account_id="ws-1", **PROXY), now=lambda: NOW, send=send, read_database=nowhere,
        provider_state={},
    )  # fmt: skip
    assert asked == hosts
    assert isinstance(outcome, Snapshot) == (len(hosts) == 2 or proxy.body.startswith(b'{"rate'))


def test_a_login_that_both_refuse_has_run_out():
    failure = fetch.poll_account(
        PROVIDER, login(**PROXY), now=lambda: NOW, send=lambda _request: Response(status=401, received_at=NOW),
        read_database=nowhere, provider_state={},
    )  # fmt: skip
    assert failure.kind == "expired"


def test_a_proxy_that_codex_itself_names_is_the_only_one_asked():
    proxy = login(usage_url="https://proxy.example.com/api/codex/usage")
    failure = fetch.poll_account(
        PROVIDER, proxy, now=lambda: NOW,
        send=lambda _request: Response(status=404, received_at=NOW), read_database=nowhere,
        provider_state={},
    )  # fmt: skip
    assert failure.kind == "server"


@pytest.mark.parametrize("flags", [{"limit_reached": True}, {"allowed": False}])
def test_a_reached_limit_is_noted(flags):
    assert asked({"rate_limit": {**USAGE["rate_limit"], **flags}}).note == (
        "limit reached: Codex refuses work until the reset"
    )
