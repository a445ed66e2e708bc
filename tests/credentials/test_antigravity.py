"""Where the editor's cache is, on every system, and which of several it is."""

import json
import os
import sqlite3
from pathlib import Path

import pytest

from watcher import files
from watcher.credentials import Surroundings
from watcher.credentials.antigravity import cache, candidates
from watcher.errors import NotSignedInError, ShapeChangedError


def machine(home, platform="linux", **env):
    return Surroundings(home=home, env=env, platform=platform, run=None, read_database=files.read_database)


def write(path, content, *, oauth=None, age_s=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE ItemTable (key TEXT UNIQUE ON CONFLICT REPLACE, value BLOB)")
    if content is not None:
        connection.execute("INSERT INTO ItemTable VALUES ('antigravityAuthStatus', ?)", (content,))
    if oauth is not None:
        connection.execute("INSERT INTO ItemTable VALUES ('antigravityUnifiedStateSync.oauthToken', ?)", (oauth,))
    connection.commit()
    connection.close()
    os.utime(path, (1_700_000_000 - age_s, 1_700_000_000 - age_s))
    return path


LOGIN = json.dumps({"email": "Me@Example.com", "apiKey": "ya29.x", "userStatusProtoBinaryBase64": "AA=="})
TAIL = "User/globalStorage/state.vscdb"


@pytest.mark.parametrize(
    ("platform", "env", "places"),
    [
        ("linux", {}, [".config/Antigravity", ".config/Antigravity IDE"]),
        ("darwin", {}, ["Library/Application Support/Antigravity", "Library/Application Support/Antigravity IDE"]),
        ("win32", {}, ["AppData/Roaming/Antigravity", "AppData/Roaming/Antigravity IDE"]),
    ],
)
def test_the_usual_places(platform, env, places):
    home = Path("/home/me")
    assert candidates(machine(home, platform, **env)) == [home / place / TAIL for place in places]


def test_the_system_may_say_otherwise():
    home = Path("/home/me")
    first = candidates(machine(home, XDG_CONFIG_HOME="/xdg"))
    assert first[:3] == [
        Path("/xdg/Antigravity", TAIL),
        Path("/xdg/Antigravity IDE", TAIL),
        home / ".config/Antigravity" / TAIL,
    ]
    assert candidates(machine(home, XDG_CONFIG_HOME="xdg"))[0] == home / ".config/Antigravity" / TAIL
    assert candidates(machine(home, "win32", APPDATA="/app"))[0] == Path("/app/Antigravity", TAIL)


def test_no_cache_is_no_login(tmp_path):
    assert cache(machine(tmp_path)) == []


def test_the_login_says_whose_it_is(tmp_path):
    path = write(tmp_path / ".config/Antigravity" / TAIL, "\ufeff" + LOGIN, oauth="b2F1dGg=")
    (found,) = cache(machine(tmp_path))
    assert (found.path, found.account, found.account_name, found.token) == (
        str(path),
        "me@example.com",
        "Me@Example.com",
        "ya29.x",
    )
    assert found.extra == {"oauth_blob": "b2F1dGg="}


def test_a_value_may_be_bytes(tmp_path):
    write(tmp_path / ".config/Antigravity" / TAIL, LOGIN.encode())
    assert cache(machine(tmp_path))[0].account == "me@example.com"


def test_of_two_the_one_with_a_login_wins(tmp_path):
    write(tmp_path / ".config/Antigravity" / TAIL, None)
    signed_in = write(tmp_path / ".config/Antigravity IDE" / TAIL, LOGIN, age_s=1000)
    assert [found.path for found in cache(machine(tmp_path))] == [str(signed_in)]


def test_of_two_logins_the_one_written_last_wins(tmp_path):
    write(tmp_path / ".config/Antigravity" / TAIL, LOGIN, age_s=1000)
    newer = write(tmp_path / ".config/Antigravity IDE" / TAIL, LOGIN)
    assert [found.path for found in cache(machine(tmp_path))] == [str(newer)]


def test_a_damaged_one_hides_no_good_one(tmp_path):
    damaged = tmp_path / ".config/Antigravity" / TAIL
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"no database")
    with pytest.raises(ShapeChangedError, match="is damaged"):
        cache(machine(tmp_path))
    good = write(tmp_path / ".config/Antigravity IDE" / TAIL, LOGIN, age_s=1000)
    assert [found.path for found in cache(machine(tmp_path))] == [str(good)]


@pytest.mark.parametrize("named", ["~/elsewhere/state.vscdb", "{home}/elsewhere/state.vscdb"])
def test_another_place_may_be_named(tmp_path, named):
    write(tmp_path / ".config/Antigravity" / TAIL, LOGIN)
    path = tmp_path / "elsewhere" / "state.vscdb"
    with pytest.raises(NotSignedInError, match="is not there"):
        cache(machine(tmp_path), named.format(home=tmp_path))
    write(path, LOGIN)
    (found,) = cache(machine(tmp_path), named.format(home=tmp_path))
    assert (found.path, found.account) == (str(path), "me@example.com")


def test_one_that_was_read_before_keeps_its_owner_while_it_cannot_be_read(tmp_path):
    path = write(tmp_path / ".config/Antigravity" / TAIL, LOGIN)
    before = cache(machine(tmp_path))
    path.write_bytes(b"no database")
    assert cache(machine(tmp_path)) == before
