"""`watcher status` and `watcher check` as a person runs them."""

import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from tests.cli.conftest import Home
from watcher.storage.store import Store
from watcher.system.lock import Lock


def test_check_exits_10_while_an_alert_fires(served):
    assert served.checked.returncode == 10
    assert "firing: claude-session on claude.five_hour (warning)" in served.checked.stdout


def test_status_says_the_same_in_every_form(served):
    text = served.watcher("status", COLUMNS="120").stdout
    document = json.loads(served.watcher("status", "--json").stdout)
    (claude,) = [each for each in document["providers"] if each["provider"] == "claude"]
    (session,) = [each for each in claude["windows"] if each["window"] == "five_hour"]
    line = served.watcher("status", "claude", "--template", "{used_percent:.0f}").stdout.strip()
    assert document["schema"] == "watcher.status.v1"
    assert line == f"{session['used_percent']:.0f}"
    (shown,) = re.findall(r"5-hour window +[█░]+ +(8[0-9.]+) %!", text)
    assert float(shown) == pytest.approx(session["used_percent"], abs=0.05)
    assert [(each["rule"], each["state"]) for each in document["alerts"]] == [("claude-session", "firing")]


@pytest.mark.parametrize("words", [[], ["--template", "{used_percent}"]])
def test_series_without_a_reading_are_reported_with_those_that_have_one(served, words):
    done = served.watcher("status", "claude.seven_day_opus", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("no reading of `claude.seven_day_opus`; there are: antigravity.")
    document = json.loads(served.watcher("status", "claude.seven_day_opus", "--json").stdout)
    assert (document["providers"], document["alerts"]) == ([], [])


def test_piped_it_has_no_colour_and_a_terminal_without_utf_8_gets_ascii(served):
    assert "\x1b" not in served.watcher("status").stdout
    assert served.watcher("status", PYTHONIOENCODING="ascii", COLUMNS="80").stdout.isascii()


@pytest.mark.parametrize(("env", "coloured"), [({"NO_COLOR": "1"}, False), ({"TERM": "xterm-256color"}, True)])
def test_a_terminal_has_colour_unless_refused(served, env, coloured):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "watcher", "status"],
        env={**served.env, "TERM": "xterm", "COLUMNS": "80", **env},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as running:
        os.close(theirs)
        seen = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            if not part:
                break
            seen += part
    os.close(ours)
    assert running.returncode == 0
    assert "5-hour window" in seen.decode()
    assert (b"\x1b[33m" in seen) is coloured


def test_a_fresh_machine_shows_how_to_begin(empty_home):
    done = empty_home.watcher("status")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("No readings yet in ")
    assert "watcher init" in done.stdout
    document = json.loads(empty_home.watcher("status", "--json").stdout)
    assert (document["providers"], document["alerts"]) == ([], [])
    assert not empty_home.paths.state_dir.exists()


def test_a_mistake_in_the_config_is_shown_until_it_is_fixed(empty_home):
    empty_home.paths.config_dir.mkdir(parents=True)
    empty_home.paths.config_file.write_text("[poll]\nevry = 1\n")
    assert empty_home.watcher("check").returncode == 78
    done = empty_home.watcher("status")
    assert done.returncode == 0
    assert "the config has a mistake, and nothing is polled until it is fixed:\n" in done.stdout
    assert "config.toml:2:1: unknown key `evry`; did you mean `every`?" in done.stdout
    empty_home.paths.config_file.write_text("")
    assert empty_home.watcher("check").returncode == 0
    assert "the config has" not in empty_home.watcher("status").stdout


@pytest.mark.skipif(os.name != "posix", reason="touch is a POSIX program")
def test_the_config_is_compared_without_running_the_command_of_a_secret(empty_home, tmp_path):
    empty_home.paths.config_dir.mkdir(parents=True)
    empty_home.paths.config_file.write_text("[poll]\nevry = 1\n")
    assert empty_home.watcher("check").returncode == 78
    mark = tmp_path / "asked"
    empty_home.paths.config_file.write_text(f'[channels.chat]\ntype = "slack"\nurl = "cmd:touch {mark}"\n')
    assert "the config has" not in empty_home.watcher("status").stdout
    assert not mark.exists()


CONTRACT = {
    "": {"schema", "generated_at", "providers", "alerts"},
    "providers": {"provider", "account", "plan", "ok", "error", "fetched_at", "stale", "windows"},
    "alerts": {"rule", "series", "state", "severity", "since"},
    "windows": {
        "window",
        "kind",
        "label",
        "used_percent",
        "used",
        "limit",
        "remaining",
        "unit",
        "unlimited",
        "resets_at",
        "window_seconds",
    },
}


def test_the_document_has_every_key_of_the_contract(served):
    document = json.loads(served.watcher("status", "--json").stdout)
    assert document.keys() >= CONTRACT[""]
    assert all(each.keys() >= CONTRACT["alerts"] for each in document["alerts"])
    for account in document["providers"]:
        assert account.keys() >= CONTRACT["providers"]
        assert all(each.keys() >= CONTRACT["windows"] for each in account["windows"])
    windows = {(a["provider"], w["window"]): w for a in document["providers"] for w in a["windows"]}
    assert windows["copilot", "chat"]["unlimited"] is True
    assert windows["copilot", "chat"]["used_percent"] is None
    assert windows["copilot", "premium_interactions"]["remaining"] == 9
    assert windows["claude", "five_hour"]["window_seconds"] == 18000
    assert windows["claude", "five_hour"]["resets_at"].endswith("Z")


def test_a_daemon_that_was_killed_does_not_count_as_running(empty_home):
    now = datetime.now(UTC)
    store = Store(empty_home.paths.state_dir / "watcher.db", now=now)
    store.run_transaction(lambda: store.facts.save("heartbeat", "running", now), now=now)
    store.close()
    assert "not watching in the background since " in empty_home.watcher("status").stdout
    lock = Lock(empty_home.paths.state_dir)
    assert lock.acquire()
    assert "watching in the background" in empty_home.watcher("status").stdout
    lock.release()


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signal here")
def test_a_refresh_is_done_by_the_running_daemon(tmp_path, served):
    home = Home(tmp_path)
    (tmp_path / "home").mkdir()
    home.paths.config_dir.mkdir(parents=True)
    config = (served.paths.config_dir / "config.toml").read_text("utf-8")
    (home.paths.config_dir / "config.toml").write_text(config)
    auth = tmp_path / "home" / ".local" / "share" / "opencode" / "auth.json"
    auth.parent.mkdir(parents=True)
    auth.write_text(json.dumps({"nano-gpt": {"type": "api", "key": "demo-nano"}}))
    argv = [sys.executable, "-m", "watcher", "run"]
    with subprocess.Popen(argv, env=home.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as daemon:
        try:
            assert "watching" in daemon.stderr.readline()
            done = home.watcher("status", "nano_gpt", "--refresh", "--json")
            document = json.loads(done.stdout)
            assert (done.returncode, done.stderr) == (0, "")
            assert document["daemon_running"]
            assert [each["ok"] for each in document["providers"]] == [True]
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.communicate(timeout=30)
    assert daemon.returncode == 0


@pytest.mark.parametrize(
    ("words", "code"), [(["status"], 1), (["status", "--json"], 1), (["guard", "claude < 90%"], 69)]
)
def test_a_damaged_database_is_one_line_with_what_to_do(empty_home, words, code):
    state = empty_home.paths.state_dir
    state.mkdir(parents=True)
    (state / "watcher.db").write_bytes(b"not a database " * 100)
    done = empty_home.watcher(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"{state / 'watcher.db'} is damaged: move it away; ")
    assert done.stderr.count("\n") == 1
