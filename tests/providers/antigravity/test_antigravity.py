"""The editor's cache, from a real SQLite file that another process holds open to the reading."""

import base64
import json
import sqlite3
import struct
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from watcher.core.model import CommandResult, PollFailure, Snapshot
from watcher.credentials import HostInfo
from watcher.polling import fetch
from watcher.providers import Overrides, antigravity
from watcher.providers.antigravity import PROVIDER
from watcher.providers.protobuf import FIXED32, encode_bytes, encode_varint
from watcher.system import foreign_databases

NOW = datetime(2026, 11, 22, tzinfo=UTC)
HALF = "igIUChIKAUF6DQ0AAAA/EgYI9LqMzQY="
FULL = (
    "OhB1c2VyQGV4YW1wbGUuY29tigJXCi0KHENsYXVkZSBTb25uZXQgNC42IChUaGlua2luZyl6DQ2amVk/EgYI9LqMzQYKJgoVR2VtaW5pIDMuMSBQ"
    "cm8gKEhpZ2gpeg0NzcxMPhIGCPyk9cwG"
)
EDITOR = """
import sqlite3, sys
path, value = sys.argv[1:]
connection = sqlite3.connect(path, isolation_level=None)
connection.execute("PRAGMA journal_mode=WAL")
connection.execute("PRAGMA wal_autocheckpoint=0")
connection.execute("INSERT INTO ItemTable VALUES ('antigravityAuthStatus', ?)", (value,))
print("written", flush=True)
sys.stdin.read()
"""


def no_program(_):
    return CommandResult(exit_code=None)


def login(proto):
    return json.dumps(
        {"name": "User", "email": "user@example.com", "apiKey": "ya29.x", "userStatusProtoBinaryBase64": proto}
    )


@pytest.fixture
def database(tmp_path):
    path = tmp_path / ".config/Antigravity/User/globalStorage/state.vscdb"
    path.parent.mkdir(parents=True)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE ItemTable (key TEXT UNIQUE ON CONFLICT REPLACE, value BLOB)")
    connection.execute("INSERT INTO ItemTable VALUES ('antigravityAuthStatus', ?)", (login(HALF),))
    connection.commit()
    connection.close()
    return path


def asked(home, overrides=None):
    around = HostInfo(
        home=home,
        env={},
        platform="linux",
        run_command=no_program,
        read_database=foreign_databases.read_database,
    )
    found = fetch.find_logins(PROVIDER, around, overrides or Overrides(), now=lambda: NOW)
    if found.failures:
        (failure,) = found.failures
        return failure
    (credential,) = found.credentials
    return fetch.poll_account(
        PROVIDER,
        credential,
        now=lambda: NOW,
        send=None,
        read_database=foreign_databases.read_database,
        provider_state={},
    )


def used(snapshot):
    assert isinstance(snapshot, Snapshot), snapshot
    return {each.window: each.used_percent for each in snapshot.readings}


def test_a_cache_at_rest_is_read_and_left_as_it_was(tmp_path, database):
    before = (database.read_bytes(), database.stat().st_mtime_ns, sorted(tmp_path.rglob("*")))
    snapshot = asked(tmp_path)
    assert used(snapshot) == {"a": 50.0}
    assert snapshot.account == "user@example.com"
    assert before == (database.read_bytes(), database.stat().st_mtime_ns, sorted(tmp_path.rglob("*")))


def test_what_the_open_editor_has_only_logged_is_read_and_nothing_is_touched(tmp_path, database):
    argv = [sys.executable, "-c", EDITOR, str(database), login(FULL)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as editor:
        try:
            assert editor.stdout.readline() == "written\n"
            before = {each: (each.stat().st_mtime_ns, each.read_bytes()) for each in database.parent.iterdir()}
            snapshot = asked(tmp_path)
            assert before == {each: (each.stat().st_mtime_ns, each.read_bytes()) for each in database.parent.iterdir()}
        finally:
            editor.kill()
    assert used(snapshot) == {
        "claude_sonnet_4_6_thinking": pytest.approx(15, abs=1e-5),
        "gemini_3_1_pro_high": pytest.approx(80, abs=1e-5),
    }
    resets = [each.resets_at for each in snapshot.readings]
    assert resets == [datetime(2026, 2, 28, 16, 53, 8, tzinfo=UTC), datetime(2026, 2, 24, 7, 25, 48, tzinfo=UTC)]
    assert all(each.stale for each in snapshot.readings)


@pytest.mark.parametrize("percent", range(101))
def test_a_fraction_of_single_precision_is_the_percent_that_it_was_written_for(percent):
    fraction = struct.pack("<f", percent / 100)
    quota = encode_varint(1 << 3 | FIXED32) + fraction
    model = encode_bytes(1, b"Gemini") + encode_bytes(15, quota)
    message = encode_bytes(33, encode_bytes(1, model))
    [reading] = antigravity.parse_user_status(base64.b64encode(message).decode()).readings
    assert reading.used_percent == 100 - percent


def test_another_database_may_be_named(tmp_path, database):
    elsewhere = tmp_path / "elsewhere #1.vscdb"
    database.rename(elsewhere)
    assert used(asked(tmp_path, Overrides(database=str(elsewhere)))) == {"a": 50.0}


def test_credentials_may_name_a_cache_or_the_folder_that_holds_it(tmp_path, database):
    editor = tmp_path / "editor"
    database.parents[2].rename(editor)
    for path in (editor, editor / "User/globalStorage/state.vscdb"):
        assert used(asked(tmp_path, Overrides(credentials=(str(path),)))) == {"a": 50.0}


def test_credentials_may_name_accounts(tmp_path):
    path = tmp_path / "antigravity-accounts.json"
    path.write_text('{"accounts": [{"email": "me@example.com", "refreshToken": "1//r"}]}')
    around = HostInfo(home=tmp_path, env={}, platform="linux", run_command=no_program, read_database=no_program)
    found = fetch.find_logins(PROVIDER, around, Overrides(credentials=(str(path),)))
    assert [(each.account, each.path) for each in found.credentials] == [("me@example.com", str(path))]


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"", "not_signed_in", "Antigravity: signed out: no login in {path}: open Antigravity and sign in"),
        (
            b"no database",
            "shape",
            "{path} is damaged or no SQLite database; let the program that owns it write it again",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path, database, content, kind, words):
    database.write_bytes(content)
    failure = asked(tmp_path)
    assert isinstance(failure, PollFailure)
    assert (failure.kind, failure.message) == (kind, words.format(path=database))


def test_a_named_database_that_is_not_there_is_one_clear_line(tmp_path):
    path = tmp_path / "gone.vscdb"
    failure = asked(tmp_path, Overrides(database=str(path)))
    assert failure.message == f"{path} does not exist: start the program that owns it once, or correct the path"


def test_a_cache_that_breaks_while_it_is_watched_fails_as_the_account_that_it_was(tmp_path, database):
    assert asked(tmp_path).account == "user@example.com"
    database.write_bytes(b"no database")
    failure = asked(tmp_path)
    assert (failure.kind, failure.account) == ("shape", "user@example.com")
