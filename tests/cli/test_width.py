"""At eighty columns no command's sentence is cut or runs over: only a word that is longer, such as a path, may."""

import json
import sys

import pytest

from watcher.cli import history
from watcher.cli.output import echo_error, format_columns

COMMANDS = (
    ("check",), ("status",), ("history",), ("history", "claude"), ("rules", "list"),
    ("rules", "explain", "claude-session"), ("rules", "test"), ("doctor",), ("snooze",), ("help", "exit-codes"),
    ("notify", "test"), ("rules", "list", "--packs"),
)  # fmt: skip


def too_long(text, width=80):
    """Lines over the width of which the last word begins within what the width allows."""
    lines = [line for line in text.splitlines() if len(line) > width]
    return [line for line in lines if len(line.split()[-1]) < width - 24]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_line_runs_over_eighty_columns(served, words):
    message = served.watcher(*words, COLUMNS="80")
    assert message.stdout
    assert too_long(message.stdout) == []


def test_why_a_channel_failed_is_broken_at_words(empty_home):
    empty_home.paths.config_dir.mkdir(parents=True)
    config = '[channels.team]\ntype = "slack"\nurl = "env:A_NAME_THAT_NOBODY_HAS_SET_ON_THIS_MACHINE"\n'
    empty_home.paths.config_file.write_text(config)
    lines = empty_home.watcher("notify", "test", COLUMNS="60").stdout.splitlines()
    assert lines[0] == "team (slack): NOT delivered: the environment variable"
    assert (len(lines) > 2, max(map(len, lines)) <= 60) == (True, True)


def test_a_long_account_does_not_make_a_replay_unreadable(empty_home):
    rules, readings = empty_home.folder / "rules.toml", empty_home.folder / "readings.jsonl"
    rules.write_text('[[rule]]\nname = "a-rule-with-quite-a-long-name"\nwhen = "claude.five_hour > 80%"\n')
    line = {"at": "2026-03-02T09:00:00Z", "provider": "claude", "account": "someone.long@example.com"}
    readings.write_text(json.dumps(line | {"window": "five_hour", "used_percent": 90}))
    lines = empty_home.watcher("replay", str(rules), str(readings), COLUMNS="80").stdout.splitlines()
    assert [len(each) <= 80 for each in lines] == [True, True, True]
    assert lines[1].startswith("    ")
    whole = empty_home.watcher("replay", str(rules), str(readings)).stdout.splitlines()
    assert " ".join(" ".join(lines[:2]).split()) == " ".join(whole[0].split())


# --- the pieces -------------------------------------------------------------------------------------------------------

ROWS = [("09:00", "ok", "the condition does not hold"), ("09:05", "firing", "the condition has held so long: fired")]


def test_the_last_column_goes_on_below_itself():
    assert list(format_columns(ROWS, "  ", width=44)) == [
        "  09:00  ok      the condition does not hold",
        "  09:05  firing  the condition has held so",
        "                 long: fired",
    ]


def test_where_that_would_be_too_narrow_it_goes_on_below_the_row():
    assert list(format_columns(ROWS, "  ", width=36))[2:] == [
        "  09:05  firing  the condition has",
        "      held so long: fired",
    ]


def test_series_names_have_lines_of_their_own_where_the_sparkline_would_have_no_room(served):
    whole, narrow = (served.watcher("history", COLUMNS=width).stdout.splitlines() for width in ("120", "66"))
    assert whole[0].split()[:2] == ["series", "usage"]
    assert [line.strip() for line in narrow[:2]] == ["series", narrow[1].strip()]
    assert narrow[1].startswith("  usage")
    assert history.MIN_SPARKLINE_WIDTH <= len(narrow[1]) <= 66
    assert {line.split()[0] for line in whole[:-2]} == set(narrow[:-3:2])


def test_an_error_is_broken_at_words_on_a_terminal_and_one_line_elsewhere(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    text = 'rules.toml:2:8: rule "mine": unexpected `>`; valid here: a value such as `80%`'
    quoted = '  2 | when = "a line of the file, which is as long as it is"'
    echo_error(f"{text}\n{quoted}")
    assert capsys.readouterr().err == f"{text}\n{quoted}\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    echo_error(f"{text}\n{quoted}")
    lines = capsys.readouterr().err.splitlines()
    assert (lines[-1], len(lines) > 3, max(map(len, lines[:-1])) <= 40) == (quoted, True, True)
