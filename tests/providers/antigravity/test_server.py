"""The language server: a real process with the documented command line, asked over real loopback TLS."""

import base64
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from watcher.core.model import CommandResult, Response, Snapshot, WindowKind
from watcher.credentials import HostInfo, antigravity
from watcher.polling import fetch
from watcher.providers import Overrides
from watcher.providers import antigravity as antigravity_provider
from watcher.providers.antigravity import PROVIDER
from watcher.system import foreign_databases, http, process

NOW = datetime(2026, 2, 24, tzinfo=UTC)
TOKEN = "6f1b3a5e-scrubbed"
SCRIPT = Path(__file__).parents[2] / "data" / "language_server.py"  # a path without the word that marks the editor
MARK = ("--app_data_dir", "antigravity")
PROTO = "igIUChIKAUF6DQ0AAAA/EgYI9LqMzQY="
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@contextmanager
def running(mode="new", *flags, name="/opt/antigravity/bin/language_server_linux_x64", token=TOKEN, **env):
    """The server in a process of its own, and its port."""
    csrf = ("--csrf_token", token) if token else ()
    argv = [name, str(SCRIPT), "--enable_lsp", *csrf, "--extension_server_port", "1", *(flags or MARK)]
    env = {"MODE": mode, "PYTHONHOME": sys.base_prefix, **env}
    with subprocess.Popen(argv, executable=sys.executable, env=env, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server.pid, int(server.stdout.readline())
        finally:
            server.kill()


def machine(home, platform="linux", run=process.run_command):
    return HostInfo(
        home=home, env={}, platform=platform, run_command=run, read_database=foreign_databases.read_database
    )


def asked(home, source="server"):
    """What comes of one poll, or None where there is no login."""
    found = fetch.find_logins(PROVIDER, machine(home), Overrides(source=source))
    assert found.failures == ()
    assert len(found.credentials) <= 1
    for credential in found.credentials:
        return fetch.poll_account(
            PROVIDER,
            credential,
            now=lambda: NOW,
            send=http.send_request,
            read_database=foreign_databases.read_database,
            provider_state={},
        )
    return None


def write_cache(home):
    path = home / ".config/Antigravity/User/globalStorage/state.vscdb"
    path.parent.mkdir(parents=True)
    connection = sqlite3.connect(path)
    login = json.dumps({"email": "me@example.com", "userStatusProtoBinaryBase64": PROTO})
    connection.execute("CREATE TABLE ItemTable (key TEXT UNIQUE ON CONFLICT REPLACE, value BLOB)")
    connection.execute("INSERT INTO ItemTable VALUES ('antigravityAuthStatus', ?)", (login,))
    connection.commit()
    connection.close()
    os.utime(path, (NOW.timestamp(), NOW.timestamp()))


@linux
def test_pools_and_models_of_a_new_build(tmp_path):
    with running("new"):
        snapshot = asked(tmp_path)
    assert isinstance(snapshot, Snapshot), snapshot
    assert (snapshot.account_name, snapshot.plan) == ("Me@Example.com", "Google AI Pro")
    found = {each.window: (each.kind, each.used_percent, each.resets_at) for each in snapshot.readings}
    sonnet, pro = datetime(2026, 2, 28, 16, 53, 8, tzinfo=UTC), datetime(2026, 2, 24, 7, 25, 48, tzinfo=UTC)
    assert found == {
        "gemini_weekly": (WindowKind.WEEKLY, 50.0, None),
        "gemini_5h": (WindowKind.SESSION, 75.0, datetime(2026, 2, 24, 2, tzinfo=UTC)),
        "3p_weekly": (WindowKind.WEEKLY, None, None),
        "claude_and_gpt_five_hour_limit": (WindowKind.SESSION, 0.0, None),
        "claude_and_gpt_obsessions_biweekly": (WindowKind.OTHER, None, None),
        "claude_sonnet_4_6_thinking": (WindowKind.OTHER, 15.0, sonnet),
        "gemini_3_1_pro_high": (WindowKind.OTHER, 80.0, pro),
        "gemini_3_flash": (WindowKind.OTHER, None, sonnet.replace(microsecond=500000)),
    }
    assert {each.source for each in snapshot.readings} == {"server"}
    assert "Gemini 3 Flash" in snapshot.note
    assert snapshot.readings[0].label == "Gemini: Weekly limit"


@linux
@pytest.mark.parametrize(("mode", "name", "plan"), [("old", "Me@Example.com", "Google AI Pro"), ("oldest", "", None)])
def test_an_older_build_gives_models_alone(tmp_path, mode, name, plan):
    with running(mode):
        snapshot = asked(tmp_path)
    assert isinstance(snapshot, Snapshot), snapshot
    assert (snapshot.account_name, snapshot.plan) == (name, plan)
    windows = [each.window for each in snapshot.readings]
    assert windows == ["claude_sonnet_4_6_thinking", "gemini_3_1_pro_high", "gemini_3_flash"]


@linux
def test_a_summary_alone_is_enough(tmp_path):
    with running("bare summary"):
        snapshot = asked(tmp_path)
    assert [each.window for each in snapshot.readings][:2] == ["gemini_weekly", "gemini_5h"]


@linux
def test_a_build_that_does_not_know_the_probe_is_asked_all_the_same(tmp_path):
    with running("no probe"):
        assert isinstance(asked(tmp_path), Snapshot)


def test_the_address_that_accepts_the_probe_is_asked_though_another_one_answers_first():
    addresses = [("https://127.0.0.1:1", ""), ("https://127.0.0.1:2", "")]
    search = antigravity_provider._find_working_endpoint(addresses)
    next(search)
    search.send(Response(status=404, received_at=NOW))
    with pytest.raises(StopIteration) as end:
        search.send(Response(status=200, received_at=NOW))
    assert end.value.value == (addresses[1], NOW)


@linux
def test_a_refusal_under_status_200_gives_nothing(tmp_path):
    with running("signed out"):
        failure = asked(tmp_path)
    assert (failure.kind, failure.message) == (
        "shape",
        "Antigravity: its server names no quota: look for a newer version of this program",
    )


@linux
def test_a_proxy_in_the_environment_is_passed_by(tmp_path, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with running("old"):
        assert isinstance(asked(tmp_path), Snapshot)


@linux
def test_plain_http_is_tried_after_tls(tmp_path):
    with running("old", TLS="no"):
        assert isinstance(asked(tmp_path), Snapshot)


@linux
def test_the_command_line_tool_s_server_needs_no_token(tmp_path):
    with running("old", token=None):
        assert isinstance(asked(tmp_path), Snapshot)


@linux
@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("/opt/windsurf/bin/language_server_linux_x64", ("--app_data_dir", "windsurf")),
        ("/opt/antigravity/bin/other_server", MARK),
        ("/usr/bin/graftcp", ("/opt/antigravity/bin/language_server_linux_x64",)),
    ],
)
def test_what_is_not_antigravity_s_server_is_left_alone(tmp_path, name, flags):
    with running("old", *flags, name=name):
        failure = asked(tmp_path)
    assert (failure.kind, failure.message) == ("offline", 'Antigravity: not running: open it, or set source = "cache"')


@linux
@pytest.mark.parametrize("source", ["server", "auto"])
def test_the_command_line_tool_is_found_without_a_language_server_in_its_name(tmp_path, source):
    with running("new", "chat", name="/home/me/.local/bin/agy", token=None):
        snapshot = asked(tmp_path, source)
    assert {each.window for each in snapshot.readings} >= {"gemini_weekly", "gemini_5h"}


@linux
def test_another_user_s_server_is_not_asked(tmp_path, monkeypatch):
    with running("old"):
        monkeypatch.setattr(antigravity.os, "getuid", lambda: os.geteuid() + 1)
        assert antigravity.find_servers(machine(tmp_path)) == []


@linux
def test_a_port_of_another_process_is_not_asked_whatever_the_command_line_says(tmp_path):
    with running("old", *MARK, "--extension_server_port", "9") as (_, port):
        (found,) = antigravity.find_servers(machine(tmp_path))
    assert {address.rpartition(":")[2] for address, _ in json.loads(found.extra["bases"])} == {str(port)}


@linux
def test_only_sockets_reached_at_the_loopback_address_count(tmp_path):
    folder = tmp_path / "7"
    (folder / "fd").mkdir(parents=True)
    (tmp_path / "net").mkdir()
    (folder / "cmdline").write_bytes(b"/x/agy\0")
    rows = ["header"]
    for inode, address in enumerate(["0100007F", "00000000", "0700A8C0", "0" * 24 + "01000000"], 1):
        (folder / "fd" / str(inode)).symlink_to(f"socket:[{inode}]")
        rows.append(f"{inode}: {address}:{8000 + inode:04X} 0:0 0A 0:0 0:0 0 0 0 {inode}")
    (tmp_path / "net" / "tcp").write_text("\n".join(rows))
    (found,) = antigravity.find_servers(machine(tmp_path), proc_path=tmp_path)
    assert {address.rpartition(":")[2] for address, _ in json.loads(found.extra["bases"])} == {"8001", "8002"}


@linux
@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("/x/language_server_linux_arm", ("--app_data_dir=antigravity",)),
        ("/x/language-server", MARK),
        ("/Applications/Antigravity.app/bin/language_server_macos_arm", ("--lsp",)),
        ("/Applications/Gemini.app/bin/language_server_macos", ("--lsp",)),
    ],
)
def test_its_names_and_marks(tmp_path, name, flags):
    with running("old", *flags, name=name):
        assert isinstance(asked(tmp_path), Snapshot)


@linux
def test_the_token_shows_nowhere(tmp_path):
    with running("old"):
        found = antigravity.find_servers(machine(tmp_path))
    assert TOKEN in json.dumps([each.token for each in found])
    assert TOKEN not in repr(found)


@linux
def test_a_server_that_refuses_its_token_is_no_reading(tmp_path, monkeypatch):
    monkeypatch.setattr(antigravity, "_TOKEN_FLAG", antigravity.re.compile("--csrf_(nothing)"))
    with running("old"):
        failure = asked(tmp_path)
    assert (failure.kind, failure.message) == (
        "forbidden",
        "Antigravity: its server refuses its own token: restart Antigravity",
    )


@linux
def test_it_is_off_unless_asked_for(tmp_path):
    write_cache(tmp_path)
    with running("old"):
        for source in (None, "cache"):
            snapshot = asked(tmp_path, source)
            assert {each.source for each in snapshot.readings} == {"cache"}


@linux
def test_auto_takes_the_server_while_it_runs_and_the_cache_otherwise(tmp_path):
    write_cache(tmp_path)
    with running("old"):
        snapshot = asked(tmp_path, "auto")
        assert ({each.source for each in snapshot.readings}, snapshot.account) == ({"server"}, "me@example.com")
    snapshot = asked(tmp_path, "auto")
    assert ({each.source for each in snapshot.readings}, snapshot.account) == ({"cache"}, "me@example.com")


@linux
def test_auto_takes_the_cache_where_the_server_gives_nothing(tmp_path):
    write_cache(tmp_path)
    with running("signed out"):
        assert {each.source for each in asked(tmp_path, "auto").readings} == {"cache"}


@linux
def test_auto_takes_the_server_where_the_cache_is_broken(tmp_path):
    path = tmp_path / ".config/Antigravity/User/globalStorage/state.vscdb"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database")
    with running("old"):
        assert {each.source for each in asked(tmp_path, "auto").readings} == {"server"}
    found = fetch.find_logins(PROVIDER, machine(tmp_path), Overrides(source="auto"))
    assert [failure.kind for failure in found.failures] == ["shape"]


def test_auto_without_either_is_no_login(tmp_path):
    assert asked(tmp_path, "auto") is None


COMMAND = (
    "/Applications/Antigravity IDE.app/Contents/bin/language_server_macos_arm --enable_lsp --csrf_token=abc"
    " --extension_server_port 51000 --extension_server_csrf_token def --app_data_dir antigravity"
)


@pytest.mark.posix
def test_macos_is_asked_through_pgrep_ps_and_lsof(tmp_path):
    outputs = {
        ("pgrep", "-U", str(os.getuid()), "-i", "-f", "(^|/)language[_-]server|(^|/)agy"): "77\n88\n",
        ("ps", "-ww", "-o", "pid=,command=", "-p", "77,88"): f"   77 {COMMAND}\n   88 grep language_server\n",
        ("lsof", "-nP", "-iTCP", "-sTCP:LISTEN", "-a", "-p", "77"): (
            "COMMAND PID USER FD TYPE DEVICE SIZE/OFF NODE NAME\n"
            "language_ 77 me 11u IPv4 0x1 0t0 TCP 127.0.0.1:51002 (LISTEN)\n"
            "language_ 77 me 12u IPv4 0x1 0t0 TCP 127.0.0.1:51001 (LISTEN)\n"
            "language_ 77 me 13u IPv4 0x1 0t0 TCP 192.168.0.7:51003 (LISTEN)\n"
        ),
    }
    run = lambda command: CommandResult(exit_code=0, stdout=outputs[command.argv])  # noqa: E731
    (found,) = antigravity.find_servers(machine(tmp_path, "darwin", run))
    assert (found.token, found.path) == ("abc", "process 77")
    assert json.loads(found.extra["bases"]) == [
        ["https://127.0.0.1:51001", "abc"],
        ["https://127.0.0.1:51002", "abc"],
        ["http://127.0.0.1:51001", "abc"],
        ["http://127.0.0.1:51002", "abc"],
    ]


def test_windows_is_asked_through_powershell_and_netstat(tmp_path):
    def run(command):
        if command.argv[0] == "powershell":
            line = r'9 "C:\Programs\Antigravity\bin\language_server_windows_x64.exe" --csrf_token abc'
            return CommandResult(exit_code=0, stdout=line + "\r\n")
        assert command.argv == ("netstat", "-ano", "-p", "TCP")
        lines = [
            "  TCP    127.0.0.1:51001        0.0.0.0:0              LISTENING       9",
            "  TCP    127.0.0.1:51002        0.0.0.0:0              LISTENING       99",
            "  TCP    127.0.0.1:51003        127.0.0.1:80           ESTABLISHED     9",
        ]
        return CommandResult(exit_code=0, stdout="\n".join(lines))

    (found,) = antigravity.find_servers(machine(tmp_path, "win32", run))
    assert json.loads(found.extra["bases"]) == [["https://127.0.0.1:51001", "abc"], ["http://127.0.0.1:51001", "abc"]]


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_programs_that_cannot_be_started_find_nothing(tmp_path, platform):
    run = lambda command: CommandResult(exit_code=None, stderr="cannot start")  # noqa: E731, ARG005
    assert antigravity.find_servers(machine(tmp_path, platform, run)) == []


@linux
def test_of_several_servers_the_one_that_answers_is_asked(tmp_path):
    with running("old", TLS="no", token="first"), running("old") as (pid, _):
        (found,) = antigravity.find_servers(machine(tmp_path))
        assert str(pid) in found.path
        assert isinstance(asked(tmp_path), Snapshot)


def test_a_process_table_that_may_not_be_read_finds_nothing(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "cmdline").write_bytes(b"\0".join([b"/opt/antigravity/language_server", b"--csrf_token", b"x"]))
    assert antigravity.find_servers(machine(tmp_path), proc_path=tmp_path) == []


def test_the_documented_cache_is_what_these_tests_use():
    assert base64.b64decode(PROTO).hex() == "8a02140a120a01417a0d0d0000003f120608f4ba8ccd06"
