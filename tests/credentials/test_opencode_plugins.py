import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.credentials.homes import machine
from watcher.credentials import opencode
from watcher.polling import fetch
from watcher.providers import claude, codex

CLAUDE = ".config/opencode/opencode-anthropic-auth/accounts.json"
ENDS = 1769729563641  # ms
CODEX = ".opencode/openai-codex-accounts.json"


def write(path: Path, *accounts) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": 1, "accounts": list(accounts)}), encoding="utf-8")
    return path


def test_every_enabled_claude_account_with_a_token_is_found(tmp_path):
    write(
        tmp_path / CLAUDE,
        {"id": "a1", "type": "oauth", "access": "t1", "refresh": "r1", "expires": ENDS, "label": "me@example.com"},
        {"id": "a2", "access": "t2", "label": "work", "enabled": True},
        {"id": "a3", "access": "t3", "enabled": False},
        {"id": "a4", "refresh": "r4"},
        "junk",
    )  # fmt: skip
    found = opencode.find_claude_credentials(machine(tmp_path))
    assert [(login.token, login.account, login.account_name) for login in found] == [
        ("t1", "me@example.com", "me@example.com"),
        ("t2", "a2", "work"),
    ]
    assert found[0].expires_at == datetime(2026, 1, 29, 23, 32, 43, 641000, tzinfo=UTC)
    assert all(login.refresh_token == "" for login in found)


@pytest.mark.parametrize(
    ("path", "env"),
    [
        (CLAUDE, {}),
        ("xdg/opencode/opencode-anthropic-auth/accounts.json", {"XDG_CONFIG_HOME": "{home}/xdg"}),
    ],
)
def test_the_claude_accounts_may_be_in_several_places(tmp_path, path, env):
    write(tmp_path / path, {"id": "a1", "access": "t1"})
    env = {name: text.replace("{home}", str(tmp_path)) for name, text in env.items()}
    assert [login.token for login in opencode.find_claude_credentials(machine(tmp_path, **env))] == ["t1"]


@pytest.mark.parametrize("content", ["{}", '{"accounts": {}}', '{"accounts": [{}]}'])
def test_a_file_without_accounts_is_nothing(tmp_path, content):
    (tmp_path / CLAUDE).parent.mkdir(parents=True)
    (tmp_path / CLAUDE).write_text(content)
    assert opencode.find_claude_credentials(machine(tmp_path)) == []


def test_accounts_known_elsewhere_are_asked_once(tmp_path):
    """One person, three places: each place's login is the same account, and OpenCode's own token is used."""
    auth = tmp_path / ".local/share/opencode/auth.json"
    auth.parent.mkdir(parents=True)
    auth.write_text(
        json.dumps({
            "anthropic": {"type": "oauth", "access": "t1", "expires": 0},
            "openai": {"type": "oauth", "access": "t2", "expires": 0, "accountId": "ws-1"},
        })
    )  # fmt: skip
    write(tmp_path / CLAUDE, {"id": "a1", "access": "t1", "label": "me@example.com"})
    write(tmp_path / CODEX, {"accountId": "ws-1", "accessToken": "older", "email": "me@example.com"})
    credentials = tmp_path / ".claude/.credentials.json"
    credentials.parent.mkdir()
    credentials.write_text(json.dumps({"claudeAiOauth": {"accessToken": "t3", "subscriptionType": "max"}}))
    (tmp_path / ".claude.json").write_text(
        json.dumps({"oauthAccount": {"accountUuid": "uuid-1", "emailAddress": "me@example.com"}})
    )
    [login] = fetch.find_logins(claude.PROVIDER, machine(tmp_path)).credentials
    assert (login.token, login.account, login.account_name, login.plan) == ("t1", "uuid-1", "me@example.com", "max")
    [login] = fetch.find_logins(codex.PROVIDER, machine(tmp_path)).credentials
    assert (login.token, login.account, login.account_name) == ("t2", "ws-1", "me@example.com")
