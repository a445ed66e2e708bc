import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.credentials.homes import machine
from watcher.credentials import codex
from watcher.credentials.files import UnusableSourceError

CODEX = ".opencode/openai-codex-accounts.json"
CACHE = ".config/opencode/opencode-anthropic-auth/codex-accounts.json"


def write(path: Path, *accounts) -> Path:
    return write_json(path, {"version": 1, "accounts": list(accounts)})


def write_json(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def found(home: Path, **env: str):
    return codex.find_plugin_credentials(machine(home, **env))


def test_every_enabled_chatgpt_account_with_a_token_is_found(tmp_path):
    claim = base64.urlsafe_b64encode(json.dumps({"chatgpt_account_id": "claim", "exp": 1769729563}).encode()).decode()
    write(
        tmp_path / CODEX,
        {"accountId": "org-wrong", "email": "me@example.com", "accessToken": f"e30.{claim}.x", "refreshToken": "r"},
        {"accountId": "ws-2", "email": "two@example.com", "accessToken": "t2", "expiresAt": 1769729563641},
        {"email": "three@example.com", "accessToken": "t3"},
        {"accountId": "ws-4", "accessToken": "t4", "enabled": False},
        {"accountId": "ws-5", "refreshToken": "r5"},
    )
    write(tmp_path / ".opencode/projects/one/openai-codex-accounts.json", {"accountId": 6, "access": "t6"})
    write(tmp_path / ".codex/multi-auth/openai-codex-accounts.json", {"accountId": "ws-7", "accessToken": "t7"})
    logins = found(tmp_path)
    assert [(login.account, login.account_name, login.extra.get("account_id")) for login in logins] == [
        ("claim", "me@example.com", "claim"),
        ("ws-2", "two@example.com", "ws-2"),
        ("three@example.com", "three@example.com", None),
        ("6", "", "6"),
        ("ws-7", "", "ws-7"),
    ]
    assert logins[0].expires_at == datetime(2026, 1, 29, 23, 32, 43, tzinfo=UTC)
    assert logins[1].expires_at == datetime(2026, 1, 29, 23, 32, 43, 641000, tzinfo=UTC)


def test_a_broken_file_hides_no_other_account(tmp_path):
    write(tmp_path / CODEX, {"accountId": "ws-1", "accessToken": "t1"})
    (tmp_path / ".codex/multi-auth").mkdir(parents=True)
    (tmp_path / ".codex/multi-auth/openai-codex-accounts.json").write_text("[")
    with pytest.raises(UnusableSourceError) as caught:
        codex.find_plugin_credentials(machine(tmp_path))
    assert [login.token for login in caught.value.credentials] == ["t1"]


@pytest.mark.parametrize("content", [{}, {"accounts": {}}, {"accounts": [{}, 5, None]}, {"openai": 5}, {"tokens": {}}])
def test_a_file_without_accounts_is_nothing(tmp_path, content):
    for name in (CODEX, CACHE, ".opencode/auth/openai.json"):
        write_json(tmp_path / name, content)
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    "content",
    [
        {"type": "oauth", "access": "t", "refresh": "r", "expires": 1769729563641, "accountId": "ws-1"},
        {"openai": {"access": "t", "expires": 1769729563641, "accountId": "ws-1"}},
        {"tokens": {"access_token": "t", "account_id": "ws-1", "expires_at": 1769729563641}},
        {"accounts": [{"accessToken": "t", "chatgptAccountId": "ws-1", "expiresAt": "1769729563641"}]},
    ],
)
def test_the_file_of_one_account_is_read_however_it_is_written(tmp_path, content):
    path = write_json(tmp_path / ".opencode/auth/openai.json", content)
    [login] = found(tmp_path)
    assert (login.token, login.account, login.path, login.refresh_token) == ("t", "ws-1", str(path), "")
    assert login.expires_at == datetime(2026, 1, 29, 23, 32, 43, 641000, tzinfo=UTC)


def test_an_account_chosen_by_hand_beats_the_tokens_own(tmp_path):
    claim = base64.urlsafe_b64encode(json.dumps({"chatgpt_account_id": "claim"}).encode()).decode()
    write(tmp_path / CODEX, {"accountId": "stored", "accountIdOverride": "mine", "accessToken": f"e30.{claim}.x"})
    assert [login.account for login in found(tmp_path)] == ["mine"]


USAGE = {"fetchedAt": 1778410367180, "primary": {"utilization": 25, "windowMs": 18000000}}


def test_an_account_without_a_token_is_known_by_what_was_cached_of_it(tmp_path):
    path = write(
        tmp_path / CACHE,
        {"id": "own", "accountID": "ws-1", "email": "me@example.com", "enabled": True, "usage": USAGE},
        {"id": "own", "accountID": "ws-2", "status": "Active", "usage": USAGE},
        {"id": "own", "email": "off@example.com", "enabled": False, "usage": USAGE},
        {"id": "own", "email": "gone@example.com", "status": "revoked", "usage": USAGE},
        {"id": "own", "usage": USAGE},
        {"id": "own", "email": "bare@example.com", "usage": None},
    )
    one, two = found(tmp_path)
    assert (one.account, one.account_name, one.token, one.path) == ("ws-1", "me@example.com", "", str(path))
    assert one.source_name == "OpenCode plugin's cache"
    assert json.loads(one.extra[codex.CACHED_USAGE_KEY]) == USAGE
    assert (two.account, two.account_name) == ("ws-2", "")


def test_a_token_beside_cached_usage_is_the_login(tmp_path):
    write(tmp_path / CACHE, {"id": "own", "accountID": "ws-1", "access": "t", "expires": 1, "usage": USAGE})
    [login] = found(tmp_path)
    assert (login.token, login.account, login.extra) == ("t", "ws-1", {"account_id": "ws-1"})


@pytest.mark.parametrize(
    ("path", "env"),
    [(CACHE, {}), ("xdg/opencode/opencode-anthropic-auth/codex-accounts.json", {"XDG_CONFIG_HOME": "{home}/xdg"})],
)
def test_the_cache_may_be_in_several_places(tmp_path, path, env):
    write(tmp_path / path, {"accountID": "ws-1", "usage": USAGE})
    env = {name: text.replace("{home}", str(tmp_path)) for name, text in env.items()}
    assert [login.account for login in found(tmp_path, **env)] == ["ws-1"]
