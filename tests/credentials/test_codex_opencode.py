import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.credentials.homes import jwt, machine, nowhere, write
from tests.credentials.servers import SERVERS
from watcher.credentials import HostInfo
from watcher.credentials import codex as codex_opencode
from watcher.polling import fetch
from watcher.providers import codex
from watcher.system.foreign_databases import read_database

AUTH = codex_opencode.AUTH_CLAIM
CONFIG = ".config/opencode/opencode.json"


def options(**named: str) -> dict:
    return {"provider": {"openai": {"options": named}}}


def from_opencode(tmp_path, **entry):
    write(tmp_path / ".local/share/opencode/auth.json", {"openai": entry})
    return list(codex_opencode.find_opencode_credentials(machine(tmp_path)))


def test_opencodes_login_is_read_with_its_account(tmp_path):
    [login] = from_opencode(tmp_path, type="oauth", access="t", refresh="r", expires=1769904000000, accountId=71)
    assert (login.source_name, login.token, login.account) == ("OpenCode", "t", "71")
    assert login.extra == {"account_id": "71"}
    assert login.expires_at == datetime(2026, 2, 1, tzinfo=UTC)
    assert login.refresh_token == ""


def test_opencodes_account_may_be_overridden_by_hand(tmp_path):
    token = jwt(**{AUTH: {"chatgpt_account_id": "claim"}})
    [login] = from_opencode(tmp_path, type="oauth", access=token, accountId="stored")
    assert login.account == "claim"
    [login] = from_opencode(tmp_path, type="oauth", access=token, accountIdOverride="mine")
    assert login.account == "mine"


def test_opencodes_api_key_is_marked_as_one_unless_it_is_a_token_after_all(tmp_path):
    assert from_opencode(tmp_path, type="api", key="sk-x")[0].extra == {"api_key": "yes"}
    assert from_opencode(tmp_path, type="api", key=jwt(sub="x"))[0].extra == {}
    assert list(codex_opencode.find_opencode_credentials(machine(tmp_path / "empty"))) == []


def test_what_other_programs_add_to_the_entry_does_no_harm(tmp_path):
    [login] = from_opencode(
        tmp_path, type="oauth", access="t", accountId="ws-1", organizationIdOverride="org-2", accountLabel="work",
        multiAccount=True, idToken=jwt(email="me@example.com"),
    )  # fmt: skip
    assert (login.account, login.account_name, login.extra) == ("ws-1", "me@example.com", {"account_id": "ws-1"})


@pytest.mark.parametrize("entry", ["sk-x", {"key": "sk-x"}, {"token": "sk-x"}, {"apiKey": "sk-x"}, {"value": "sk-x"}])
def test_an_api_key_may_be_written_in_several_ways(tmp_path, entry):
    write(tmp_path / ".local/share/opencode/auth.json", {"openai": entry})
    [login] = codex_opencode.find_opencode_credentials(machine(tmp_path))
    assert (login.token, login.extra) == ("sk-x", {"api_key": "yes"})


@SERVERS
def test_opencode_s_config_names_the_proxy_of_an_api_key(tmp_path, server, asked):
    write(tmp_path / CONFIG, options(baseURL=server))
    [login] = from_opencode(tmp_path, type="api", key="sk-x")
    assert (login.source_name, login.token, login.extra.get("usage_url")) == ("OpenCode", "sk-x", asked)


@SERVERS
def test_a_chatgpt_login_is_asked_about_at_the_proxy_that_opencode_uses(tmp_path, server, asked):
    write(tmp_path / CONFIG, options(baseURL=server))
    [login] = from_opencode(tmp_path, type="oauth", access="t", accountId="ws-1")
    assert login.extra.get("usage_url") == (asked and asked.replace("/v1/usage", "/api/codex/usage"))
    assert ("if_unknown" in login.extra) == (asked is not None)


def write_database(home: Path, value) -> Path:
    path = home / ".local/share/opencode/opencode.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE credential (id TEXT, integration_id TEXT, value TEXT)")
        database.execute("INSERT INTO credential VALUES ('1', 'openai', ?)", (json.dumps(value),))
    return path


def test_after_a_move_to_opencode_2_the_database_holds_the_login_that_is_renewed(tmp_path):
    """The file stays behind with a token of the same account, which runs out."""
    old = {"type": "oauth", "access": "old", "expires": 1769729563641, "accountId": "ws-1"}
    new = {"type": "oauth", "access": "new", "expires": 1893456000000, "accountId": "ws-1"}
    write(tmp_path / ".local/share/opencode/auth.json", {"openai": old})
    path = write_database(tmp_path, new)
    around = HostInfo(home=tmp_path, env={}, platform="linux", run_command=nowhere, read_database=read_database)
    assert [login.token for login in codex_opencode.find_opencode_credentials(around)] == ["old", "new"]
    for at, token in ((datetime(2026, 1, 1, tzinfo=UTC), "old"), (datetime(2026, 6, 1, tzinfo=UTC), "new")):
        [login] = fetch.find_logins(codex.PROVIDER, around, now=lambda at=at: at).credentials
        assert (login.token, login.account) == (token, "ws-1")
    write(tmp_path / ".local/share/opencode/auth.json", {})
    [login] = codex_opencode.find_opencode_credentials(around)
    assert (login.token, login.path) == ("new", str(path))


def test_a_broken_database_hides_no_login_in_the_file(tmp_path):
    write(tmp_path / ".local/share/opencode/auth.json", {"openai": {"type": "oauth", "access": "t"}})
    path = tmp_path / ".local/share/opencode/opencode.db"
    path.write_bytes(b"no database" * 100)
    around = HostInfo(home=tmp_path, env={}, platform="linux", run_command=nowhere, read_database=read_database)
    found = fetch.find_logins(codex.PROVIDER, around)
    assert [login.token for login in found.credentials] == ["t"]
    assert [str(path) in failure.message for failure in found.failures] == [True]
