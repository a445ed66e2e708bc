import json
import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from watcher.core.model import DatabaseQuery, QueryResult
from watcher.credentials import HostInfo, opencode
from watcher.errors import NotSignedInError
from watcher.system.foreign_databases import read_database

USUAL = ".local/share/opencode/auth.json"


def nowhere(question):
    raise AssertionError(f"asked {question}")


def machine(home: Path, platform: str = "linux", read=nowhere, **env: str) -> HostInfo:
    return HostInfo(home=home, env=env, platform=platform, run_command=nowhere, read_database=read)


def write(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def key(text: str) -> dict:
    return {"anthropic": {"type": "oauth", "access": text, "expires": 0}}


@pytest.mark.parametrize(
    ("platform", "folder", "env"),
    [
        ("linux", ".local/share/opencode", {}),
        ("linux", "xdg/opencode", {"XDG_DATA_HOME": "{home}/xdg"}),
        ("linux", ".local/share/opencode", {"XDG_DATA_HOME": ""}),
        ("linux", ".local/share/opencode", {"XDG_DATA_HOME": "relative"}),
        ("linux", "own", {"OPENCODE_DATA_DIR": "{home}/own"}),
        ("darwin", ".local/share/opencode", {}),
        ("darwin", "Library/Application Support/opencode", {}),
        ("win32", ".local/share/opencode", {}),
        ("win32", "AppData/Local/opencode", {"LOCALAPPDATA": "{home}/AppData/Local"}),
        ("win32", "AppData/Roaming/opencode", {"APPDATA": "{home}/AppData/Roaming"}),
    ],
)
def test_the_login_is_found_in_every_place(tmp_path, platform, folder, env):
    path = write(tmp_path / folder / "auth.json", key("token"))
    env = {name: text.replace("{home}", str(tmp_path)) for name, text in env.items()}
    entry = opencode.find_entry(machine(tmp_path, platform, **env), "anthropic")
    assert (entry.token, entry.path) == ("token", str(path))


def test_the_first_file_that_holds_the_key_wins(tmp_path):
    write(tmp_path / "xdg/opencode/auth.json", {"openai": {"type": "api", "key": "x"}})
    write(tmp_path / USUAL, key("usual"))
    assert opencode.find_entry(machine(tmp_path, XDG_DATA_HOME=str(tmp_path / "xdg")), "anthropic").token == "usual"
    write(tmp_path / "xdg/opencode/auth.json", key("named"))
    assert opencode.find_entry(machine(tmp_path, XDG_DATA_HOME=str(tmp_path / "xdg")), "anthropic").token == "named"


def test_a_named_file_is_the_only_one_read(tmp_path):
    write(tmp_path / USUAL, key("usual"))
    path = write(tmp_path / "mine.json", key("mine"))
    assert opencode.find_entry(machine(tmp_path), "anthropic", str(path)).token == "mine"
    assert opencode.find_entry(machine(tmp_path), "anthropic", str(tmp_path / "none.json")) is None


@pytest.mark.parametrize(
    ("value", "kind", "token"),
    [
        ({"type": "oauth", "access": " a ", "refresh": "r", "expires": 0}, "oauth", "a"),
        ({"type": "oauth", "access": "a"}, "oauth", "a"),
        ({"access": "a", "refresh": None}, "oauth", "a"),
        ({"type": "api", "key": "k"}, "api", "k"),
        ({"key": "k"}, "api", "k"),
        ({"type": "api", "apiKey": "k"}, "api", "k"),
        ({"type": "api", "value": "k"}, "api", "k"),
        ({"type": "wellknown", "key": "NAME", "token": "t"}, "wellknown", "t"),
        ("bare", "api", "bare"),
        ({"type": 5, "token": "t"}, "5", "t"),
    ],
)
def test_every_kind_of_entry_gives_its_token(tmp_path, value, kind, token):
    write(tmp_path / USUAL, {"other": 5, "anthropic": value})
    entry = opencode.find_entry(machine(tmp_path), "anthropic")
    assert (entry.kind, entry.token) == (kind, token)


@pytest.mark.parametrize(
    "value", [5, [], {}, "", " ", True, {"type": "oauth", "access": ""}, {"type": "oauth", "access": 7}]
)
def test_an_entry_without_a_token_names_the_file_and_the_entry(tmp_path, value):
    path = write(tmp_path / USUAL, {"anthropic": value, "openai": {"type": "api", "key": "x"}})
    with pytest.raises(NotSignedInError) as caught:
        opencode.find_entry(machine(tmp_path), "anthropic")
    words = f"{path}: the entry `anthropic` holds no token: sign in again with `opencode auth login`"
    assert str(caught.value) == words
    assert opencode.find_entry(machine(tmp_path), "openai").token == "x"


def test_a_key_that_is_not_there_or_null_is_no_login(tmp_path):
    write(tmp_path / USUAL, {"anthropic": None})
    assert opencode.find_entry(machine(tmp_path), "anthropic") is None
    assert opencode.find_entry(machine(tmp_path), "openai") is None


@pytest.mark.parametrize(
    ("expires", "at"),
    [
        (1769729563641, "2026-01-29T23:32:43.641+00:00"),
        ("1769729563641", "2026-01-29T23:32:43.641+00:00"),
        (1769729563641.0, "2026-01-29T23:32:43.641+00:00"),
        (1769729563, "2026-01-29T23:32:43+00:00"),
        (3600, "2026-01-01T01:00:00+00:00"),
        *((never, None) for never in (0, "0", 0.0, -1, "", "soon", None, True, [], float("inf"), float("nan"), 1e300)),
    ],
)
def test_an_end_is_read_in_all_its_forms_and_zero_means_never(tmp_path, expires, at):
    path = write(tmp_path / USUAL, {"anthropic": {"type": "oauth", "access": "a", "expires": expires}})
    written = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    os.utime(path, (written, written))
    found = opencode.find_entry(machine(tmp_path), "anthropic").expires_at
    assert found == (None if at is None else datetime.fromisoformat(at))


def test_a_changed_file_is_read_again(tmp_path):
    write(tmp_path / USUAL, key("old"))
    assert opencode.find_entry(machine(tmp_path), "anthropic").token == "old"
    write(tmp_path / USUAL, key("new"))
    assert opencode.find_entry(machine(tmp_path), "anthropic").token == "new"


@pytest.mark.parametrize(
    ("value", "token"),
    [('{"key": "k"}', "k"), ('{"type": "oauth", "access": "a"}', "a"), ("bare-key", "bare-key"), ('"k"', "k")],
)
def test_after_a_move_to_opencode_2_the_login_is_in_its_database(tmp_path, value, token):
    path = tmp_path / ".local/share/opencode/opencode.db"
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE credential (id TEXT, integration_id TEXT, value TEXT)")
        database.execute("INSERT INTO credential VALUES ('1', 'anthropic', ?)", (value,))
    database.close()
    host_info = machine(tmp_path, read=read_database)
    assert opencode.find_entry(host_info, "anthropic").token == token
    assert opencode.find_entry(host_info, "anthropic").path == str(path)
    assert opencode.find_entry(host_info, "openai") is None
    write(tmp_path / USUAL, key("file first"))
    assert opencode.find_entry(host_info, "anthropic").token == "file first"


def test_a_database_of_opencode_without_the_table_or_the_value_is_no_login(tmp_path):
    path = tmp_path / ".local/share/opencode/opencode.db"
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE other (id TEXT)")
    database.close()
    assert opencode.find_entry(machine(tmp_path, read=read_database), "anthropic") is None

    def odd(_question: DatabaseQuery) -> QueryResult:
        return QueryResult(
            rows=((None,),), modified_at=datetime(2026, 1, 1, tzinfo=UTC), received_at=datetime(2026, 1, 1, tzinfo=UTC)
        )

    with pytest.raises(NotSignedInError):
        opencode.find_entry(machine(tmp_path, read=odd), "anthropic")
