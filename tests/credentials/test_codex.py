import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.credentials.homes import jwt, write
from tests.credentials.servers import SERVERS
from watcher.core.model import Command, CommandResult
from watcher.credentials import HostInfo, codex, keyrings
from watcher.errors import NotSignedInError

USUAL = ".codex/auth.json"
AUTH, PROFILE = codex.AUTH_CLAIM, codex.PROFILE_CLAIM


def nowhere(question):
    raise AssertionError(f"asked {question}")


def machine(home: Path, platform: str = "linux", run=nowhere, **env: str) -> HostInfo:
    return HostInfo(home=home, env=env, platform=platform, run_command=run, read_database=nowhere)


@pytest.fixture(autouse=True)
def _no_memory():
    keyrings._reads.clear()
    yield
    keyrings._reads.clear()


def keychain(payload, asked=None):
    """macOS's `security`, which holds Codex's login."""

    def run(command: Command) -> CommandResult:
        assert command.argv == ("/usr/bin/security", "find-generic-password", "-s", "Codex Auth", "-w")
        assert command.timeout_s == keyrings.TIMEOUT_S
        if asked is not None:
            asked.append(command)
        return CommandResult(exit_code=44 if payload is None else 0, stdout=f"{payload}\n", stderr="")

    return run


def find(tmp_path, content, **env):
    write(tmp_path / USUAL, content)
    return codex.find_codex_credentials(machine(tmp_path, **env))


def test_the_login_is_read_with_all_that_its_tokens_say(tmp_path):
    access = jwt(**{"exp": 1769729563, AUTH: {"chatgpt_account_id": "ws-1", "chatgpt_plan_type": "pro"}})
    id_token = jwt(email="me@example.com")
    tokens = {"access_token": access, "refresh_token": "rt", "id_token": id_token, "account_id": "stored"}
    [login] = find(tmp_path, {"OPENAI_API_KEY": None, "tokens": tokens, "last_refresh": "2026-01-01T00:00:00Z"})
    assert (login.provider, login.source_name, login.token) == ("codex", "Codex", access)
    assert (login.account, login.account_name, login.plan) == ("ws-1", "me@example.com", "pro")
    assert login.expires_at == datetime(2026, 1, 29, 23, 32, 43, tzinfo=UTC)
    assert login.extra == {"account_id": "ws-1"}
    assert login.refresh_token == ""  # never needed, so never carried


@pytest.mark.parametrize(
    ("access", "id_token", "stored", "account"),
    [
        (jwt(**{AUTH: {"chatgpt_account_id": "claim"}}), "", "stored", "claim"),
        (jwt(sub="x"), jwt(**{AUTH: {"chatgpt_account_id": "claim"}}), "stored", "claim"),
        (jwt(chatgpt_account_id="top"), "", "stored", "top"),
        (jwt(), "", "stored", "stored"),
        ("opaque", "", "stored", "stored"),
        ("opaque", "", 71, "71"),
        (jwt(), "", "org-wrong", ""),
        (jwt(organizations=[{"id": " "}, "junk", {"id": "team-1"}]), "", "org-wrong", "team-1"),
        (jwt(organizations="junk"), "", "", ""),
        (jwt(**{AUTH: {"chatgpt_account_id": " "}}), "", "stored", "stored"),
        (jwt(**{AUTH: "junk"}), "", "stored", "stored"),
        ("a.%%%.c", "", "stored", "stored"),
        ("a.W10.c", "", "stored", "stored"),
    ],
)
def test_the_account_is_the_claim_else_what_is_stored(tmp_path, access, id_token, stored, account):
    [login] = find(tmp_path, {"tokens": {"access_token": access, "id_token": id_token, "account_id": stored}})
    assert login.account == login.extra.get("account_id", "") == account


def test_an_email_replaces_a_missing_account_but_is_never_sent_as_one(tmp_path):
    [login] = find(tmp_path, {"tokens": {"access_token": jwt(**{PROFILE: {"email": "me@example.com"}})}})
    assert (login.account, login.account_name, login.extra) == ("me@example.com", "me@example.com", {})


def test_camel_case_is_read_too(tmp_path):
    [login] = find(tmp_path, {"tokens": {"accessToken": "t", "accountId": "ws-1", "idToken": "x"}})
    assert (login.token, login.account) == ("t", "ws-1")


def test_tokens_beside_an_api_key_are_used(tmp_path):
    [login] = find(tmp_path, {"OPENAI_API_KEY": "sk-x", "tokens": {"access_token": "t"}})
    assert login.token == "t"


@pytest.mark.parametrize("content", [{}, {"OPENAI_API_KEY": None}, {"OPENAI_API_KEY": " ", "tokens": None}])
def test_a_file_without_a_login_is_none(tmp_path, content):
    assert find(tmp_path, content) == []


@pytest.mark.parametrize("content", [{"OPENAI_API_KEY": "sk-x"}, {"OPENAI_API_KEY": "sk-x", "tokens": None}])
def test_an_api_key_alone_is_marked_as_one(tmp_path, content):
    [login] = find(tmp_path, content)
    assert (login.token, login.account, login.extra) == ("sk-x", "", {"api_key": "yes"})


@SERVERS
def test_codex_s_config_names_the_proxy_of_an_api_key(tmp_path, server, asked):
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex/config.toml").write_text(f'chatgpt_base_url = "{server}"')
    assert find(tmp_path, {"OPENAI_API_KEY": "sk-x"})[0].extra.get("usage_url") == asked


def test_tokens_without_an_access_token_name_the_file(tmp_path):
    with pytest.raises(NotSignedInError) as caught:
        find(tmp_path, {"tokens": {"refresh_token": "rt"}})
    assert str(caught.value) == f"{tmp_path / USUAL} holds no access token: run `codex login`"


@pytest.mark.parametrize("name", ["personal_access_token", "personalAccessToken"])
def test_a_personal_access_token_is_a_login(tmp_path, name):
    [login] = find(tmp_path, {name: "pat"})
    assert (login.token, login.extra) == ("pat", {"personal": "yes"})


@pytest.mark.parametrize("pack", [json.dumps, lambda content: json.dumps(content).encode().hex()])
def test_without_a_file_macos_keychain_holds_the_login(tmp_path, pack):
    asked: list = []
    tokens = {"access_token": "t", "refresh_token": "rt", "account_id": "ws-1"}
    mac = machine(tmp_path, "darwin", keychain(pack({"tokens": tokens}), asked))
    [login] = codex.find_codex_credentials(mac)
    assert (login.token, login.account, login.path) == ("t", "ws-1", "keychain:Codex Auth")
    assert login.refresh_token == ""
    assert codex.find_codex_credentials(mac) == [login]
    assert len(asked) == 1  # a dialog may open each time
    assert codex.find_codex_credentials(mac, str(tmp_path / "mine.json")) == []
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex/config.toml").write_text('chatgpt_base_url = "https://proxy.example.com"')
    assert codex.find_codex_credentials(mac)[0].extra["usage_url"] == "https://proxy.example.com/api/codex/usage"


def test_a_home_of_its_own_is_not_looked_for_in_the_keychain(tmp_path):
    """The entry there may be another home's."""
    assert codex.find_codex_credentials(machine(tmp_path, "darwin", nowhere, CODEX_HOME=str(tmp_path / "own"))) == []


def test_where_there_is_a_file_the_keychain_is_left_alone(tmp_path):
    write(tmp_path / USUAL, {"tokens": {"access_token": "file"}})
    assert [login.token for login in codex.find_codex_credentials(machine(tmp_path, "darwin", nowhere))] == ["file"]
    for platform in ("linux", "win32"):
        assert codex.find_codex_credentials(machine(tmp_path / "empty", platform, nowhere)) == []


@pytest.mark.parametrize("payload", [None, "", "junk", "[]", "{}", "00ff"])
def test_a_keychain_without_a_login_or_that_refuses_is_no_login(tmp_path, payload):
    asked: list = []
    mac = machine(tmp_path, "darwin", keychain(payload, asked))
    assert codex.find_codex_credentials(mac) == codex.find_codex_credentials(mac) == []
    assert len(asked) == 1


def test_a_keychain_entry_without_an_access_token_is_named(tmp_path):
    with pytest.raises(NotSignedInError, match=r"^keychain:Codex Auth holds no access token: run `codex login`$"):
        codex.find_codex_credentials(machine(tmp_path, "darwin", keychain('{"tokens": {"refresh_token": "rt"}}')))


def test_codex_home_is_the_only_place_where_it_is_set(tmp_path):
    write(tmp_path / USUAL, {"tokens": {"access_token": "usual"}})
    assert [login.token for login in codex.find_codex_credentials(machine(tmp_path))] == ["usual"]
    assert codex.find_codex_credentials(machine(tmp_path, CODEX_HOME=str(tmp_path / "own"))) == []
    write(tmp_path / "own/auth.json", {"tokens": {"access_token": "own"}})
    assert [
        login.token for login in codex.find_codex_credentials(machine(tmp_path, CODEX_HOME=str(tmp_path / "own")))
    ] == ["own"]
    mine = write(tmp_path / "mine.json", {"tokens": {"access_token": "mine"}})
    assert [login.token for login in codex.find_codex_credentials(machine(tmp_path), str(mine))] == ["mine"]


@pytest.mark.parametrize(
    ("base", "address"),
    [
        ("https://chatgpt.com", "https://chatgpt.com/backend-api/wham/usage"),
        ("https://chat.openai.com/", "https://chat.openai.com/backend-api/wham/usage"),
        ("https://chatgpt.com/backend-api/", "https://chatgpt.com/backend-api/wham/usage"),
        ("https://chatgpt.com:443/x", "https://chatgpt.com:443/x/backend-api/wham/usage"),
        ("https://proxy.example.com/x/backend-api", "https://proxy.example.com/x/backend-api/wham/usage"),
        ("https://proxy.example.com", "https://proxy.example.com/api/codex/usage"),
        ("https://me:secret@proxy.example.com/", "https://proxy.example.com/api/codex/usage"),
        ("https://ChatGPT.com", "https://ChatGPT.com/backend-api/wham/usage"),
        ("ftp://proxy.example.com", None),
        ("https://", None),
        ("https://[", None),
        ("https://proxy.example.com:port", None),
        ("", None),
    ],
)
def test_codexs_own_config_may_name_another_server(tmp_path, base, address):
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex/config.toml").write_text(f'model = "x"\nchatgpt_base_url = "{base}"\n')
    [login] = find(tmp_path, {"tokens": {"access_token": "t"}})
    assert login.extra.get("usage_url") == address
    [login] = find(tmp_path, {"personal_access_token": "t"})
    assert login.extra.get("usage_url") == address


@pytest.mark.parametrize("content", ["chatgpt_base_url = 5", "not toml", "\0"])
def test_a_broken_config_of_codex_costs_nothing(tmp_path, content):
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex/config.toml").write_text(content)
    [login] = find(tmp_path, {"tokens": {"access_token": "t"}})
    assert "usage_url" not in login.extra


@pytest.mark.parametrize(
    ("token", "account", "extra"),
    [
        ("sk-x", "", {"api_key": "yes"}),
        (jwt(**{AUTH: {"chatgpt_account_id": "ws-1"}}), "ws-1", {"account_id": "ws-1"}),
        ("at-opaque", "", {"personal": "yes"}),
    ],
)
def test_a_configured_token_is_classified_by_its_form(token, account, extra):
    login = codex.make_credential_from_token(token)
    assert (login.token, login.source_name, login.account, login.extra) == (token, "config", account, extra)


def test_a_named_file_is_read_from_any_place(tmp_path):
    """The config folder was Codex's home once."""
    legacy = write(tmp_path / ".config/codex/auth.json", {"tokens": {"access_token": "legacy"}})
    assert codex.find_codex_credentials(machine(tmp_path)) == []
    assert [login.token for login in codex.find_codex_credentials(machine(tmp_path), str(legacy))] == ["legacy"]


def test_a_login_of_long_ago_is_still_tried_because_the_server_is_the_judge(tmp_path):
    [login] = find(tmp_path, {"tokens": {"access_token": "t"}, "last_refresh": "2020-01-01T00:00:00Z"})
    assert (login.token, login.expires_at) == ("t", None)


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_the_place_is_the_same_on_every_system(tmp_path, platform):
    write(tmp_path / USUAL, {"tokens": {"access_token": "t"}})
    assert [login.token for login in codex.find_codex_credentials(machine(tmp_path, platform, CODEX_HOME=""))] == ["t"]


def test_a_claim_is_read_whatever_letters_its_encoding_needs(tmp_path):
    """Base64 for addresses, without padding: `-` and `_` stand for `+` and `/`."""
    access = jwt(**{AUTH: {"chatgpt_account_id": "ws-1"}, PROFILE: {"email": "\u00fb\u00ff?~~>@x.io"}})
    raw = base64.urlsafe_b64encode('{"chatgpt_account_id": "ws-\u00ff\u00fe~?>"}'.encode()).decode().rstrip("=")
    assert set("-_") & set(raw)
    assert find(tmp_path, {"tokens": {"access_token": access}})[0].account == "ws-1"
    assert find(tmp_path, {"tokens": {"access_token": f"e30.{raw}.x"}})[0].account == "ws-\u00ff\u00fe~?>"


def test_the_id_token_fills_in_what_the_access_token_does_not_say(tmp_path):
    id_token = jwt(**{"email": "me@example.com", AUTH: {"chatgpt_account_id": "ws-1", "chatgpt_plan_type": "team"}})
    [login] = find(tmp_path, {"tokens": {"access_token": "opaque", "id_token": id_token}})
    assert (login.account, login.account_name, login.plan) == ("ws-1", "me@example.com", "team")


def test_codexs_own_config_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / ".codex").mkdir()
    text = 'chatgpt_base_url = "https://proxy.example.com"\r\n'
    (tmp_path / ".codex/config.toml").write_bytes(text.encode("utf-8-sig"))
    [login] = find(tmp_path, {"tokens": {"access_token": "t"}})
    assert login.extra.get("usage_url") == "https://proxy.example.com/api/codex/usage"
