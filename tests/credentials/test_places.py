"""Where a provider by file finds its token."""

import json

import pytest

from watcher.core.model import CommandResult, QueryResult
from watcher.credentials import HostInfo, places
from watcher.errors import NotSignedInError


@pytest.fixture
def host(tmp_path):
    (tmp_path / ".local/share/opencode").mkdir(parents=True)
    (tmp_path / ".local/share/opencode/auth.json").write_text('{"acme": {"type": "api", "key": "k-opencode"}}')
    (tmp_path / "auth.json").write_text(json.dumps({"a@b": {"key": "k-json"}}))
    (tmp_path / "token").write_text(" k-file \n")
    (tmp_path / ".config/Cursor/User/globalStorage").mkdir(parents=True)
    (tmp_path / ".config/Cursor/User/globalStorage/state.vscdb").touch()

    def run(command):
        codes = {("pass", "acme key"): 0, ("no-such-program",): None}
        return CommandResult(exit_code=codes.get(command.argv, 1), stdout="k-command\n")

    def read(query):
        rows = (("k-editor",),) if query.parameters == ("cursorAuth/accessToken",) else ()
        return QueryResult(rows=rows, modified_at=None, received_at=None)

    return HostInfo(
        home=tmp_path, env={"ACME": "k-env", "EMPTY": " "}, platform="linux", run_command=run, read_database=read
    )


def find(host, *named):
    return places.find_token(host, named)


@pytest.mark.parametrize(
    ("place", "token", "source"),
    [
        ("env:ACME", "k-env", "environment"),
        ("file:~/token", "k-file", "file"),
        ("file:~/auth.json#values(@)[0].key", "k-json", "file"),
        ("cmd:pass 'acme key'", "k-command", "command"),
        ("opencode:acme", "k-opencode", "OpenCode"),
        ("vscdb:Cursor#cursorAuth/accessToken", "k-editor", "Cursor"),
    ],
)
def test_every_kind_of_place_gives_its_token(host, place, token, source):
    found = find(host, place)
    assert (found.token, found.source_name) == (token, source)
    assert token not in found.path


@pytest.mark.parametrize(
    "place",
    ["env:OTHER", "env:EMPTY", "file:~/none", "file:~/auth.json#nothing", "opencode:other", "vscdb:Cursor#x"],
)
def test_an_absent_place_is_no_login(host, place):
    assert find(host, place) is None


def test_the_first_place_that_is_there_counts(host):
    assert find(host, "env:OTHER", "file:~/none", "env:ACME", "file:~/token").token == "k-env"
    assert find(host, "cmd:false", "env:ACME").token == "k-env", "a broken place hides no good one"


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("cmd:false", "the command false ended with 1: run it by hand"),
        ("cmd:no-such-program", "the command no-such-program cannot be started: run it by hand"),
        ("cmd:a 'b", "cmd: cannot be split into words"),
        ("file:~/loop", "loop cannot be read"),
        ("file:~/token#a", "is not JSON"),
        ("file:~/.config", "cannot be read"),
        pytest.param("file:~/open", "others can write it", marks=pytest.mark.posix),
    ],
)
def test_a_place_that_cannot_be_used_is_one_line(host, place, line):
    (host.home / "loop").symlink_to(host.home / "pool")
    (host.home / "pool").symlink_to(host.home / "loop")
    (host.home / "open").write_text("k")
    (host.home / "open").chmod(0o666)
    with pytest.raises(NotSignedInError, match=line):
        find(host, place)
