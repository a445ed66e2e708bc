"""`watcher ingest claude-statusline`: quick, quiet, and never a reason for a broken status line."""

import io
import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.conftest import HOME_VARIABLE, run_command
from watcher import cli
from watcher.cli import ingest_statusline
from watcher.cli.ingest_statusline import process_input
from watcher.polling import inbox

NOWHERE = Path(os.devnull, "state")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
INPUT = {
    "model": {"display_name": "Opus"},
    "transcript_path": "/home/me/secret-project/transcript.jsonl",
    "rate_limits": {
        "five_hour": {"used_percentage": 23.4, "resets_at": (NOW + timedelta(hours=2, minutes=10)).timestamp()},
        "seven_day": {"used_percentage": 4, "resets_at": "2026-03-03T15:00:00Z"},
    },
}


def line(content, state, env=None):
    return process_input(json.dumps(content).encode(), state, NOW, env or {})


def test_it_prints_the_usage_and_stores_the_limits(tmp_path):
    assert line(INPUT, tmp_path) == "Opus · 5h 23% (2h10m) · 7d 4% (2d3h)"
    assert inbox.pop_entry(tmp_path, inbox.CLAUDE_STATUSLINE) == ({"rate_limits": INPUT["rate_limits"]}, NOW)


def test_only_the_limits_are_stored(tmp_path):
    line(INPUT, tmp_path)
    assert "secret-project" not in (tmp_path / "inbox" / "claude-statusline.json").read_text("utf-8")


@pytest.mark.parametrize(
    ("transcript", "env", "folder"),
    [
        (
            "/home/me/.claude-work/projects/-home-me-projects-x/1.jsonl",
            {"CLAUDE_CONFIG_DIR": "/y"},
            "/home/me/.claude-work",
        ),
        ("C:\\Users\\me\\.claude\\projects\\x\\1.jsonl", {}, "C:\\Users\\me\\.claude"),
        (None, {"CLAUDE_CONFIG_DIR": "/home/me/.claude-work"}, "/home/me/.claude-work"),
        (3, {}, None),
    ],
)
def test_the_session_and_its_config_folder_are_stored(tmp_path, transcript, env, folder):
    line({**INPUT, "transcript_path": transcript, "session_id": "s-1"}, tmp_path, env)
    content, _ = inbox.pop_entry(tmp_path, inbox.CLAUDE_STATUSLINE)
    assert (content.get("folder"), content["session"]) == (folder, "s-1")


def test_an_epoch_in_the_place_of_a_percentage_is_not_shown(tmp_path):
    window = {"used_percentage": 1795864735, "resets_at": 1795864735}
    assert line({"rate_limits": {"five_hour": window}}, tmp_path) == "Claude"


def test_what_is_stored_is_private(tmp_path):
    state = tmp_path / "state"
    line(INPUT, state)
    modes = [
        stat.S_IMODE(each.stat().st_mode)
        for each in (state, state / "inbox", state / "inbox" / "claude-statusline.json")
    ]
    assert modes == ([0o700, 0o700, 0o600] if os.name == "posix" else [0o777, 0o777, 0o666])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "Claude"),
        ({"model": {"display_name": "Opus"}}, "Opus"),
        ({"model": {"display_name": "\x1b[31mOpus\n"}}, "[31mOpus"),
        ({"model": 3, "rate_limits": []}, "Claude"),
        ({"rate_limits": {"five_hour": {"used_percentage": 99.6}}}, "5h 100%"),
        ({"rate_limits": {"five_hour": {"used_percentage": 5, "resets_at": NOW.timestamp() + 59}}}, "5h 5% (1m)"),
        ({"rate_limits": {"five_hour": {"used_percentage": 5, "resets_at": NOW.timestamp() - 59}}}, "5h 5%"),
        ({"rate_limits": {"five_hour": {"used_percentage": 5, "resets_at": "soon"}}}, "5h 5%"),
        ({"rate_limits": {"five_hour": {"used_percentage": True}}}, "Claude"),
        ({"rate_limits": {"five_hour": None, "seven_day": {"used_percentage": "7"}}}, "7d 7%"),
        ([], "watcher: no JSON object came from Claude Code"),
    ],
)
def test_whatever_is_known_is_shown(tmp_path, content, message):
    assert line(content, tmp_path) == message


def test_invalid_json_is_reported(tmp_path):
    assert process_input(b"{", tmp_path, NOW, {}) == "watcher: no JSON object came from Claude Code"


def test_without_limits_nothing_is_stored(tmp_path):
    line({"model": {"display_name": "Opus"}}, tmp_path)
    assert inbox.pop_entry(tmp_path, inbox.CLAUDE_STATUSLINE) is None


@pytest.mark.posix
def test_a_folder_that_cannot_be_written_is_noted_in_the_line(tmp_path):
    (tmp_path / "state").write_text("a file")
    assert (
        line({"rate_limits": {"five_hour": {"used_percentage": 5}}}, tmp_path / "state")
        == "5h 5% · not kept: File exists"
    )


def test_too_large_input_is_noted_in_the_line(tmp_path):
    content = {"rate_limits": {"five_hour": {"used_percentage": 5}, "x": "y" * 70_000}}
    assert line(content, tmp_path) == "5h 5% · not kept: larger than any status line"
    assert inbox.pop_entry(tmp_path, inbox.CLAUDE_STATUSLINE) is None


@given(st.binary(max_size=50) | st.builds(lambda text: json.dumps({"rate_limits": text}).encode(), st.text()))
def test_any_input_gives_one_line(data):
    message = process_input(data, NOWHERE, NOW, {})
    assert message
    assert "\n" not in message


ARGUMENTS = ("ingest", "claude-statusline")


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[[[[", b"null", json.dumps(INPUT).encode()])
def test_the_command_ends_well_whatever_comes(tmp_path, data):
    done = run_command(*ARGUMENTS, env={"WATCHER_STATE_DIR": str(tmp_path)}, stdin=data)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


def test_the_command_runs_as_a_process(tmp_path):
    env = {**os.environ, "WATCHER_STATE_DIR": str(tmp_path), "PYTHONUTF8": "1"}
    argv = [sys.executable, "-m", "watcher", *ARGUMENTS]
    done = subprocess.run(argv, input=json.dumps(INPUT), capture_output=True, env=env, encoding="utf-8", check=True)
    assert done.stdout.startswith("Opus · 5h 23%")


def test_ctrl_c_while_it_waits_for_input_leaves_no_traceback(monkeypatch):
    def interrupted(_args):
        raise KeyboardInterrupt

    codes = []
    monkeypatch.setattr(cli, "dispatch", interrupted)
    monkeypatch.setattr(os, "_exit", codes.append)
    cli.main()
    assert codes == [cli.EXIT_INTERRUPTED]


def test_a_status_line_without_any_home_is_still_a_line(monkeypatch, capsys):
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user that the system does not know
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"{}"), encoding="utf-8"))
    assert ingest_statusline.run_statusline() == 0
    assert capsys.readouterr().out == f"watcher: no home folder is known for this user: set {HOME_VARIABLE} to it\n"


def test_the_command_imports_nothing_heavy():
    code = "import sys, watcher.cli.ingest_statusline; print(*sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"click", "msgspec", "requests", "sqlite3", "loguru", "rich", "schedule"} & set(modules)
