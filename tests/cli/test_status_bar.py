"""`watcher status --format`: quick, and never without a line."""

import json
import subprocess
import sys

import pytest

from watcher.cli import status_bar

HEAVY = {"click", "msgspec", "rich", "requests", "loguru", "urllib3", "schedule", "tomllib", "asyncio", "sqlite3"}
FORMATS = ("line", "tmux", "waybar")


def test_a_terminal_without_the_character_gets_another():
    assert status_bar.sanitize_line("a · ü", "ascii") == "a | ?"
    assert status_bar.sanitize_line("a · ü", "utf-8") == "a · ü"
    assert status_bar.sanitize_line("a\x1b[2J\nb", "utf-8") == "a?[2J?b"


@pytest.mark.parametrize("form", FORMATS)
def test_a_damaged_database_is_reported_in_the_bar_with_exit_code_0(empty_home, form):
    state = empty_home.paths.state_dir
    state.mkdir(parents=True)
    (state / "watcher.db").write_bytes(b"not a database " * 100)
    done = empty_home.watcher("status", "--format", form)
    assert done.returncode == 0
    assert done.stderr == ""
    assert "watcher: no readings (" in done.stdout
    assert "watcher.db is damaged" in done.stdout
    if form == "waybar":
        assert json.loads(done.stdout)["class"] == "error"


@pytest.mark.parametrize("form", FORMATS)
def test_a_machine_without_readings_says_so(empty_home, form):
    done = empty_home.watcher("status", f"--format={form}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "no readings yet" in done.stdout
    assert not empty_home.paths.state_dir.exists()


@pytest.mark.usefixtures("still_clock")
@pytest.mark.parametrize("form", FORMATS)
def test_a_database_without_the_file_is_read_once(serving, form):
    serving.watcher("check")
    quick = serving.watcher("status", "--format", form).stdout
    (serving.paths.state_dir / "status.json").unlink()
    assert serving.watcher("status", "--format", form).stdout == quick


@pytest.mark.usefixtures("still_clock")
def test_the_quick_way_and_clicks_way_say_the_same(served):
    quick, slow = served.watcher("status", "--format", "line"), served.watcher("-v", "status", "--format", "line")
    assert quick.stdout.startswith("claude 83%! ")  # it fires
    assert quick.stdout == slow.stdout


@pytest.mark.parametrize(
    ("words", "message"), [(["status", "--format=line"], "claude"), (["ingest", "claude-statusline"], "Claude Code")]
)
def test_the_quick_ways_import_nothing_heavy(served, words, message):
    code = (
        f"import os, sys; sys.argv = ['watcher', *{words!r}]\n"
        "from watcher.cli import main\n"
        "os._exit = lambda _: print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=served.env, input="", capture_output=True, text=True, check=True
    )
    assert message in done.stdout
    assert not HEAVY & set(done.stderr.split())
