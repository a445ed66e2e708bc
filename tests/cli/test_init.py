"""`watcher init`: says what it found, writes what is missing, overwrites nothing, asks only a person."""

import json
import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from watcher.cli.init import CONFIG_TEMPLATE, NO_DESKTOP_MESSAGE

FILES = [
    "config.toml", "rules/default.toml", "providers/providers.schema.json", "rules/rules.schema.json",
    "watcher.schema.json",
]  # fmt: skip


def login(home):
    path = home.folder / "home" / ".local" / "share" / "opencode" / "auth.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"anthropic": {"type": "oauth", "access": "sk-ant-oat01-secret-token", "expires": 0}}))
    return path


def written(home):
    folder = home.paths.config_dir
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_it_says_where_it_found_what_and_what_to_do_about_the_rest(empty_home):
    path = login(empty_home)
    done = empty_home.watcher("init")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"  Claude          found in OpenCode: {path}\n" in done.stdout
    assert "  Codex           not found; run `codex` once\n" in done.stdout
    assert "secret-token" not in done.stdout
    assert done.stdout.endswith(
        "Next:\n"
        "  watcher check           poll once, and show the result\n"
        "  watcher notify test     does a notification reach you?\n"
        "  watcher agent install   watch from now on, and at every login\n"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has desktops and machines without one")
@pytest.mark.parametrize("address", ["unix:path=/nowhere", ""])
def test_a_machine_without_a_desktop_gets_a_hint_at_other_channels(empty_home, address):
    if not address and Path(f"/run/user/{os.getuid()}/bus").exists():
        pytest.skip("this machine has a desktop")
    done = empty_home.watcher("init", DBUS_SESSION_BUS_ADDRESS=address)
    assert (NO_DESKTOP_MESSAGE in done.stdout) is not bool(address)
    assert done.stdout.index("Next:") > done.stdout.find(NO_DESKTOP_MESSAGE)


def test_it_writes_for_the_owner_alone_with_the_schema_on_top(empty_home):
    empty_home.watcher("init")
    folder = empty_home.paths.config_dir
    assert written(empty_home) == sorted(FILES)
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in FILES} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in FILES[:2]:
        first = (folder / name).read_text("utf-8").splitlines()[0]
        assert (folder / name).parent.joinpath(first.removeprefix("#:schema ")).resolve().is_file()
    assert empty_home.watcher("rules", "check").returncode == 0


def test_a_second_time_changes_nothing(empty_home):
    empty_home.watcher("init")
    folder = empty_home.paths.config_dir
    for name in FILES[:2]:
        (folder / name).write_text("# mine\n")
    before = {name: (folder / name).read_bytes() for name in FILES}
    done = empty_home.watcher("init")
    assert done.stdout.count("kept, it was there already") == 5
    assert {name: (folder / name).read_bytes() for name in FILES} == before


def test_a_schema_of_an_older_version_is_renewed(empty_home):
    empty_home.watcher("init")
    schema = empty_home.paths.config_dir / "watcher.schema.json"
    schema.write_text("{}")
    assert "renewed, it belongs to this program" in empty_home.watcher("init").stdout
    assert json.loads(schema.read_text("utf-8"))["title"]


def test_a_login_in_the_place_that_the_config_names_is_found(empty_home, tmp_path):
    elsewhere = tmp_path / "auth.json"
    login(empty_home).rename(elsewhere)
    empty_home.paths.config_dir.mkdir(parents=True)
    empty_home.paths.config_file.write_text(f"[providers.claude]\ncredentials = '{elsewhere}'\n")
    assert f"  Claude          found in OpenCode: {elsewhere}\n" in empty_home.watcher("init").stdout


def test_a_mistake_in_the_config_is_reported_and_no_obstacle(empty_home):
    empty_home.paths.config_dir.mkdir(parents=True)
    empty_home.paths.config_file.write_text("[poll]\nevry = 1\n")
    done = empty_home.watcher("init")
    assert done.returncode == 0
    assert "config.toml:2:1: unknown key `evry`; did you mean `every`?" in done.stderr


def test_a_folder_that_cannot_be_written_is_one_line(empty_home, tmp_path):
    (tmp_path / "file").touch()
    done = empty_home.watcher("init", WATCHER_CONFIG_DIR=str(tmp_path / "file"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"cannot write {tmp_path / 'file' / 'config.toml'}: ")
    assert done.stderr.endswith("; make the folder writable or set WATCHER_CONFIG_DIR\n")


def converse(home, *answers):
    """Run it on a terminal; each answer is typed when its question stands there."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "watcher", "init"]
    with subprocess.Popen(
        argv, env={**home.env, "TERM": "dumb"}, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as running:
        os.close(theirs)
        seen = ""
        waiting = list(answers)
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            if not part:
                break
            seen += part.decode()
            if waiting and waiting[0][0] in seen:
                os.write(ours, waiting.pop(0)[1].encode() + b"\n")
    os.close(ours)
    assert not waiting
    return running.returncode, seen


def test_on_a_terminal_enter_is_no_to_everything(empty_home):
    code, _ = converse(empty_home, ("Enter: none", ""), ("at every login?", ""))
    assert code == 0
    assert (empty_home.paths.config_dir / "config.toml").read_text("utf-8") == CONFIG_TEMPLATE


def test_a_requested_channel_is_used_and_its_address_is_in_a_file_of_its_own(empty_home):
    address = "https://hooks.slack.com/services/T0/B0/verysecret"
    code, seen = converse(empty_home, ("Enter: none", "slack"), ("incoming webhook", address), ("at every login?", "n"))
    folder = empty_home.paths.config_dir
    assert code == 0
    assert "verysecret" not in seen
    assert "verysecret" not in (folder / "config.toml").read_text("utf-8")
    assert stat.S_IMODE((folder / "slack.secret").stat().st_mode) == 0o600
    shown = tomllib.loads(empty_home.watcher("config", "show").stdout)
    assert shown["channels"]["slack"] == {"type": "slack", "url": "***"}
    assert shown["route"]["default"] == ["desktop", "slack"]


def test_a_topic_stands_in_the_config(empty_home):
    converse(empty_home, ("Enter: none", "ntfy"), ("Topic", "my-topic-8731"), ("at every login?", "n"))
    config = tomllib.loads((empty_home.paths.config_dir / "config.toml").read_text("utf-8"))
    assert config["channels"]["ntfy"] == {"type": "ntfy", "topic": "my-topic-8731"}
    assert written(empty_home) == sorted(FILES)


def test_a_wrong_paste_is_asked_again_with_why_and_enter_leaves_it_out(empty_home):
    good = "https://hooks.slack.com/services/T0/B0/verysecret"
    code, seen = converse(
        empty_home,
        ("Enter: none", "slak"),
        ("did you mean `slack`?", "slack, discord"),
        ("slack: Address of its incoming webhook", "xoxb-paste"),
        ("Enter to leave slack out\r\nslack: Address of its incoming webhook (not shown):", good),
        ("discord: Address of its incoming webhook", good),
        ("Enter to leave discord out\r\ndiscord: Address of its incoming webhook (not shown):", ""),
        ("at every login?", "n"),
    )
    assert code == 0
    assert "`url` must be a web address that begins with https://" in seen
    assert "discord is left out" in seen
    assert "xoxb-paste" not in seen
    config = tomllib.loads((empty_home.paths.config_dir / "config.toml").read_text("utf-8"))
    assert set(config["channels"]) == {"desktop", "slack"}


def test_several_channels_are_taken_at_once(empty_home):
    address = "https://hooks.slack.com/services/T0/B0/verysecret"
    converse(
        empty_home,
        ("Enter: none", "slack, ntfy"),
        ("slack: Address", address),
        ("ntfy: Topic", "my-topic-8731"),
        ("at every login?", "n"),
    )
    shown = tomllib.loads(empty_home.watcher("config", "show").stdout)
    assert shown["route"]["default"] == ["desktop", "slack", "ntfy"]
    assert set(shown["channels"]) == {"desktop", "slack", "ntfy"}


def test_no_channel_is_offered_where_a_config_is_there(empty_home):
    empty_home.watcher("init")
    _, seen = converse(empty_home, ("at every login?", "n"))
    assert "Enter: none" not in seen
