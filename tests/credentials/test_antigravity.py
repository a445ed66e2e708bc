"""Where the editor's cache is, on every system, and which of several it is."""

import json
import os
import sqlite3
from pathlib import Path

import pytest
from msgspec.structs import replace

from watcher.core.model import CommandResult
from watcher.credentials import HostInfo
from watcher.credentials.antigravity import find_cache, list_cache_paths
from watcher.errors import NotSignedInError, ShapeChangedError
from watcher.system import foreign_databases


def machine(home, platform="linux", **env):
    return HostInfo(
        home=home, env=env, platform=platform, run_command=None, read_database=foreign_databases.read_database
    )


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
    assert {home / place / TAIL for place in places} <= set(list_cache_paths(machine(home, platform, **env)))


def test_the_system_s_variables_move_the_cache():
    home = Path("/home/me")
    root = Path(Path.cwd().anchor)  # with the drive where there are drives
    first = list_cache_paths(machine(home, XDG_CONFIG_HOME=str(root / "xdg")))
    assert first[:3] == [
        root / "xdg/Antigravity" / TAIL,
        root / "xdg/Antigravity IDE" / TAIL,
        home / ".config/Antigravity" / TAIL,
    ]
    assert list_cache_paths(machine(home, XDG_CONFIG_HOME="xdg"))[0] == home / ".config/Antigravity" / TAIL
    assert Path("/app/Antigravity", TAIL) in list_cache_paths(machine(home, "win32", APPDATA="/app"))


def test_no_cache_is_no_login(tmp_path):
    assert find_cache(machine(tmp_path)) == []


def test_the_login_names_its_owner(tmp_path):
    path = write(tmp_path / ".config/Antigravity" / TAIL, "\ufeff" + LOGIN, oauth="b2F1dGg=")
    (found,) = find_cache(machine(tmp_path))
    assert (found.path, found.account, found.account_name, found.token) == (
        str(path),
        "me@example.com",
        "Me@Example.com",
        "ya29.x",
    )
    assert found.extra == {"oauth_blob": "b2F1dGg="}


def test_a_value_may_be_bytes(tmp_path):
    write(tmp_path / ".config/Antigravity" / TAIL, LOGIN.encode())
    assert find_cache(machine(tmp_path))[0].account == "me@example.com"


def test_of_two_the_one_with_a_login_wins(tmp_path):
    write(tmp_path / ".config/Antigravity" / TAIL, None)
    signed_in = write(tmp_path / ".config/Antigravity IDE" / TAIL, LOGIN, age_s=1000)
    assert [found.path for found in find_cache(machine(tmp_path))] == [str(signed_in)]


def test_of_two_logins_the_one_written_last_wins(tmp_path):
    write(tmp_path / ".config/Antigravity" / TAIL, LOGIN, age_s=1000)
    newer = write(tmp_path / ".config/Antigravity IDE" / TAIL, LOGIN)
    assert [found.path for found in find_cache(machine(tmp_path))] == [str(newer)]


def test_a_damaged_one_hides_no_good_one(tmp_path):
    damaged = tmp_path / ".config/Antigravity" / TAIL
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"no database")
    with pytest.raises(ShapeChangedError, match="is damaged"):
        find_cache(machine(tmp_path))
    good = write(tmp_path / ".config/Antigravity IDE" / TAIL, LOGIN, age_s=1000)
    assert [found.path for found in find_cache(machine(tmp_path))] == [str(good)]


@pytest.mark.parametrize("named", ["~/elsewhere/state.vscdb", "{home}/elsewhere/state.vscdb"])
def test_another_place_may_be_named(tmp_path, named):
    write(tmp_path / ".config/Antigravity" / TAIL, LOGIN)
    path = tmp_path / "elsewhere" / "state.vscdb"
    with pytest.raises(NotSignedInError, match="does not exist"):
        find_cache(machine(tmp_path), named.format(home=tmp_path))
    write(path, LOGIN)
    (found,) = find_cache(machine(tmp_path), named.format(home=tmp_path))
    assert (found.path, found.account) == (str(path), "me@example.com")


def test_one_that_was_read_before_keeps_its_owner_while_it_cannot_be_read(tmp_path):
    path = write(tmp_path / ".config/Antigravity" / TAIL, LOGIN)
    before = find_cache(machine(tmp_path))
    path.write_bytes(b"no database")
    assert find_cache(machine(tmp_path)) == before


# --- elsewhere, by an option of the running editor --------------------------------------------------------------------


def running(home, *argv, platform="linux", run=None):
    """A machine on which an editor runs with that command line."""
    proc = home / "proc"
    (proc / "77").mkdir(parents=True)
    (proc / "77" / "cmdline").write_bytes(b"\0".join(word.encode() for word in argv))
    (proc / "88").mkdir()
    return HostInfo(
        home=home,
        env={},
        platform=platform,
        run_command=run,
        read_database=foreign_databases.read_database,
        proc_path=proc,
    )


@pytest.mark.parametrize(
    ("argv", "folder"),
    [
        (["{home}/app/antigravity", "--user-data-dir={home}/elsewhere"], "elsewhere"),
        (["{home}/app/antigravity", "--user-data-dir", "{home}/my files", "--type=renderer"], "my files"),
        (["{home}/app/Antigravity IDE", "--x", "--user-data-dir={home}/elsewhere", "--y"], "elsewhere"),
        (["{home}/app/antigravity"], "app/data/user-data"),
        (["{home}/app/antigravity", "{home}/project"], "app/data/user-data"),
    ],
)
def test_the_running_editor_s_options_locate_its_cache(tmp_path, argv, folder):
    path = write(tmp_path / folder / TAIL, LOGIN)
    around = running(tmp_path, *(word.format(home=tmp_path) for word in argv))
    (found,) = find_cache(around)
    assert (found.path, found.account) == (str(path), "me@example.com")
    assert find_cache(machine(tmp_path)) == [], "where running programs are not looked at"


@pytest.mark.parametrize(
    "argv",
    [
        ["{home}/app/windsurf", "--user-data-dir={home}/elsewhere"],
        ["/usr/bin/vim", "{home}/antigravity.txt", "--user-data-dir={home}/elsewhere"],
        ["{home}/app/antigravity", "--user-data-dir=elsewhere"],
        ["{home}/app/antigravity-helper", "--user-data-dir={home}/elsewhere"],
        [],
    ],
)
def test_other_programs_do_not_locate_the_cache(tmp_path, argv):
    write(tmp_path / "elsewhere" / TAIL, LOGIN)
    assert find_cache(running(tmp_path, *(word.format(home=tmp_path) for word in argv))) == []


def test_a_login_in_a_usual_place_comes_first_and_no_program_is_looked_at(tmp_path):
    usual = write(tmp_path / ".config/Antigravity" / TAIL, LOGIN)
    around = running(tmp_path, f"{tmp_path}/antigravity", f"--user-data-dir={tmp_path}/elsewhere", platform="darwin")
    other = write(tmp_path / "elsewhere" / TAIL, LOGIN)
    os.utime(other)
    linux = replace(around, platform="linux")
    assert [each.path for each in find_cache(linux)] == [str(usual)]
    usual.unlink()
    write(usual, None, age_s=9)
    assert [each.path for each in find_cache(linux)] == [str(other)], "one without a login does not stand in its way"


@pytest.mark.posix
def test_on_macos_and_windows_the_system_is_asked(tmp_path):
    path = write(tmp_path / "else where" / TAIL, LOGIN)
    line = f'77 "/Applications/Antigravity.app/Contents/MacOS/Electron" --user-data-dir="{tmp_path}/else where" --x'
    outputs = {
        ("pgrep", "-U", str(os.getuid()), "-i", "-f", "(^|/)antigravity"): "77\n",
        ("ps", "-ww", "-o", "pid=,command=", "-p", "77"): line.replace('"', ""),
    }

    def run(command):
        return CommandResult(exit_code=0, stdout=line if command.argv[0] == "powershell" else outputs[command.argv])

    for platform in ("darwin", "win32"):
        around = replace(running(tmp_path / platform, platform=platform, run=run), home=tmp_path)
        assert [each.path for each in find_cache(around)] == [str(path)]
