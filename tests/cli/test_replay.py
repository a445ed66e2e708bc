"""`watcher replay`, as a person and as a script see it."""

import json
from types import SimpleNamespace

import pytest

from tests.cli.sample_history import EVERY, NOW
from tests.core.samples import reading
from watcher.cli import app
from watcher.cli.context import load_effective_config
from watcher.core.model import Snapshot
from watcher.pipeline import process_result
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import clock

RULES = """
[[rule]]
name = "claude-session"
when = "claude.five_hour > 80%"
clear = "< 70%"
remind = "20m"

[[rule]]
name = "spent"
when = "claude.five_hour >= 95%"
severity = "critical"
on = ["reset"]
"""


def line(minute, **parts):
    return {"at": f"2026-03-02T09:{minute:02}:00Z", "provider": "claude", "window": "five_hour"} | parts


READINGS = [
    line(0, used_percent=70, resets_at="2026-03-02T09:28:00Z", window_seconds=18000),
    line(5, used_percent=81, resets_at="2026-03-02T09:28:00Z", window_seconds=18000),
    {"at": "2026-03-02T09:10:00Z", "provider": "claude", "error": "timeout"},
    line(15, used_percent=79, resets_at="2026-03-02T09:28:00Z", window_seconds=18000),
    line(20, used_percent=96, resets_at="2026-03-02T09:28:00Z", window_seconds=18000),
    line(25, used_percent=97, resets_at="2026-03-02T09:28:00Z", window_seconds=18000),
    line(30, used_percent=85, resets_at="2026-03-02T14:28:00Z", window_seconds=18000),
    line(35, used_percent=60, resets_at="2026-03-02T14:28:00Z", window_seconds=18000),
]


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("WATCHER_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WATCHER_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "rules.toml").write_text(RULES)
    (tmp_path / "readings.jsonl").write_text("\n".join(json.dumps(each) for each in READINGS))

    def say(*words, rules="rules.toml"):
        code = app.run(["replay", str(tmp_path / rules), *words])
        message = capsys.readouterr()
        return SimpleNamespace(code=code, out=message.out, err=message.err)

    return SimpleNamespace(say=say, path=tmp_path, readings=str(tmp_path / "readings.jsonl"))


def test_json_is_one_object_a_line_with_the_words_of_the_contract(shell):
    answer = shell.say(shell.readings, "--json")
    assert (answer.code, answer.err) == (0, "")
    message = [json.loads(text) for text in answer.out.splitlines()]
    assert message[0] == {
        "at": "2026-03-02T09:05:00Z",
        "rule": "claude-session",
        "series": "claude.five_hour",
        "event": "firing",
        "severity": "warning",
        "reason": "above",
    }
    assert [(each["at"][11:16], each["rule"], each["event"], each["reason"]) for each in message[1:]] == [
        ("09:25", "claude-session", "reminder", "remind"),
        ("09:30", "claude-session", "resolved", "reset"),
        ("09:30", "claude-session", "firing", "above"),
        ("09:30", "spent", "resolved", "reset"),
        ("09:35", "claude-session", "resolved", "recovered"),
    ]


def test_for_people_it_is_a_timeline_and_a_count(shell):
    answer = shell.say(shell.readings)
    assert answer.code == 0
    *events, count = answer.out.splitlines()
    assert count == "6 transitions from 8 answers under 2 rules"
    assert "81 %  claude-session on claude.five_hour  (above)" in events[0]


def test_readings_may_come_on_stdin(shell, monkeypatch):
    with open(shell.readings, encoding="utf-8") as readings:  # noqa: PTH123 - stands for the terminal's own
        monkeypatch.setattr("sys.stdin", readings)
        assert len(shell.say("-", "--json").out.splitlines()) == 6


def test_a_line_that_makes_no_sense_is_bad_usage_and_named(shell):
    bad = shell.path / "bad.jsonl"
    bad.write_text(json.dumps(READINGS[0]) + "\n{}\n")
    answer = shell.say(str(bad))
    assert answer.code == 64
    assert f"{bad}, line 2: " in answer.err


def test_rules_with_a_mistake_are_bad_config_with_a_caret(shell):
    (shell.path / "broken.toml").write_text('[[rule]]\nname = "r"\nwhen = "claude.five_hour > 2h"\n')
    answer = shell.say(shell.readings, rules="broken.toml")
    assert answer.code == 78
    assert "^" in answer.err


def test_a_file_that_is_not_there_is_bad_usage(shell):
    for answer in (shell.say("nowhere.jsonl"), shell.say(shell.readings, rules="nowhere.toml")):
        assert answer.code == 64
        assert "cannot read" in answer.err


def test_exactly_one_source_of_readings_is_required(shell):
    for words in ((), (shell.readings, "--since", "7d")):
        answer = shell.say(*words)
        assert answer.code == 64
        assert "either a file of readings or --since" in answer.err


def test_since_without_a_store_says_what_to_do(shell):
    answer = shell.say("--since", "7d")
    assert answer.code == 69
    assert "no readings yet" in answer.err


def test_stored_accounts_have_their_names(shell, monkeypatch):
    store = Store(shell.path / "state" / DATABASE_FILE_NAME, now=NOW)
    for key, name in (("acc-1", "me@example.com"), ("acc-2", "you@example.com")):
        usage = Snapshot(provider="claude", account=key, account_name=name, at=NOW, readings=(reading(85.0),))
        process_result(store, load_effective_config(), usage, now=NOW, every=EVERY)
    store.close()
    monkeypatch.setattr(clock, "utc_now", lambda: NOW)
    answer = shell.say("--since", "2d")
    assert "claude-session on claude[me@example.com].five_hour" in " ".join(answer.out.split())
    assert "acc-1" not in answer.out


def test_since_wants_a_duration(shell):
    answer = shell.say("--since", "yesterday")
    assert answer.code == 64
    assert "--since: " in answer.err


def test_an_account_cannot_move_the_terminals_cursor(shell):
    odd = line(0, used_percent=90, account="a\x1b[2J\nb")
    (shell.path / "odd.jsonl").write_text(json.dumps(odd))
    answer = shell.say(str(shell.path / "odd.jsonl"))
    assert "claude[a\\x1b[2J\\nb].five_hour" in answer.out


def test_a_misspelt_key_is_named_with_the_line_and_what_was_meant(shell):
    good, bad = json.dumps(line(0, used_percent=70)), json.dumps(line(5, used_precent=81))
    (shell.path / "odd.jsonl").write_text(f"{good}\n{bad}\n")
    answer = shell.say(str(shell.path / "odd.jsonl"))
    assert (answer.code, answer.out) == (64, "")
    assert (
        answer.err == f"{shell.path / 'odd.jsonl'}, line 2: unknown key `used_precent`; did you mean `used_percent`?\n"
    )


def test_unknown_keys_of_a_reading_are_ignored_and_reported_once(shell):
    notified = [line(minute, used_percent=81, plan="max", note="mine") for minute in range(3)]
    (shell.path / "odd.jsonl").write_text("\n".join(map(json.dumps, notified)))
    answer = shell.say(str(shell.path / "odd.jsonl"), "--json")
    assert (answer.code, answer.out.count('"event":"firing"')) == (0, 1)
    assert answer.err == f"{shell.path / 'odd.jsonl'}: `note`, `plan` mean nothing to replay and were ignored\n"
