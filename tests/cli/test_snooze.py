import os
import signal
import sys
from datetime import timedelta

import pytest
from click.shell_completion import ShellComplete

from tests.core.samples import reading
from watcher import pipeline
from watcher.cli import app
from watcher.config import loader as configuration
from watcher.core.model import DeliveryState, Severity, Snapshot, WindowKind
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import clock
from watcher.system.lock import Lock
from watcher.system.paths import resolve_paths

CONFIG = """
[channels.desktop]
type = "desktop"
[channels.team]
type = "slack"
url = "env:NOT_SET_HERE"

[[rule]]
name = "claude-session"
when = "claude.five_hour > 80%"

[[rule]]
name = "weekly-ladder"
when = "*.weekly > level"
levels = { info = "50%", critical = "95%" }
"""

RESOLVE = {"env:NOT_SET_HERE": "https://hooks.example.com/services/T/B/x"}.__getitem__


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WATCHER_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WATCHER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("TZ", "UTC")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text(CONFIG)
    return resolve_paths(os.environ, tmp_path)


@pytest.fixture
def firing(own):
    """A store in which the session fires at 82 % and the week is at 60 %."""
    now = clock.utc_now()
    config = configuration.load_config(own, RESOLVE, own.config_dir.parent)
    store = Store(own.state_dir / DATABASE_FILE_NAME, now=now)
    snapshot = Snapshot(
        provider="claude",
        account="acc-1",
        account_name="me@example.com",
        at=now,
        readings=(
            reading(82.0, resets_at=now + timedelta(hours=2)),
            reading(60.0, window="seven_day", kind=WindowKind.WEEKLY, label="7-day window", resets_at=None),
        ),
    )
    pipeline.process_result(store, config, snapshot, now=now, every=timedelta(minutes=5))
    store.close()
    return own


def load_snoozes(own):
    store = Store(own.state_dir / DATABASE_FILE_NAME, now=clock.utc_now(), read_only=True)
    snoozes = store.snoozes.load()
    store.close()
    return snoozes


def test_a_snooze_for_a_time_is_stored_with_the_level_that_fires(firing, capsys):
    before = clock.utc_now()
    assert app.run(["snooze", "claude-session", "--for", "2h"]) == 0
    (snooze,) = load_snoozes(firing)
    assert (snooze.target, snooze.severity, snooze.episodes) == ("claude-session", Severity.WARNING, None)
    assert timedelta(0) <= snooze.expires_at - before - timedelta(hours=2) < timedelta(seconds=30)
    assert capsys.readouterr().out.startswith("snoozed claude-session until ")


def test_a_snooze_until_the_reset_remembers_the_episode(firing, capsys):
    assert app.run(["snooze", "claude.five_hour", "--until-reset"]) == 0
    (snooze,) = load_snoozes(firing)
    assert (snooze.expires_at, snooze.episodes) == (None, {"claude[acc-1].five_hour": 0})
    assert capsys.readouterr().out == "snoozed claude.five_hour until its reset, or a higher level\n"


def test_a_rule_with_a_wildcard_is_snoozed_until_the_reset_of_each_series(firing):
    (firing.config_dir / "config.toml").write_text(CONFIG.replace("claude.five_hour", "*.session"))
    assert app.run(["snooze", "claude-session", "--until-reset"]) == 0
    assert load_snoozes(firing)[0].episodes == {"claude[acc-1].five_hour": 0}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["snooze", "claude-sesion", "--for", "2h"],
            "neither a rule nor a series is called `claude-sesion`; did you",
        ),
        (["snooze", "claude-session"], "for how long? give one of `--for 2h` and `--until-reset`"),
        (["snooze", "claude-session", "--for", "2h", "--until-reset"], "give one of `--for 2h` and `--until-reset`"),
        (["snooze", "claude-session", "--for", "soon"], "is not a duration: write one such as 45m, 2h, 7d or 1h30m"),
        (
            ["snooze", "claude-session", "--for", "0m"],
            "--for: 0m is over at once: write a duration such as 45m",
        ),
        (["snooze", "--for", "2h"], "which rule or series? such as `watcher snooze session --for 2h`"),
        (["snooze", "claude.seven_day", "--until-reset"], "no reset of `claude.seven_day` is known; give a duration"),
        (["unsnooze"], "which one? a rule or series as `watcher snooze` lists it, or `--all`"),
        (["unsnooze", "claude-session"], "`claude-session` is not snoozed; nothing is snoozed"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(firing, capsys, args, message):
    assert app.run(args) == 64
    assert message in capsys.readouterr().err
    assert load_snoozes(firing) == []


@pytest.mark.usefixtures("firing")
def test_snoozes_are_listed_and_ended(capsys):
    app.run(["snooze", "claude-session", "--for", "2h"])
    app.run(["snooze", "*.weekly", "--for", "7d"])
    capsys.readouterr()
    assert app.run(["snooze"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == ["*.weekly", "claude-session"]
    assert app.run(["unsnooze", "claude-session"]) == 0
    assert capsys.readouterr().out == "no longer snoozed: claude-session\n"
    assert app.run(["unsnooze", "--all"]) == 0
    assert app.run(["snooze"]) == 0
    assert capsys.readouterr().out == "no longer snoozed: *.weekly\nnothing is snoozed\n"


def test_a_later_snooze_of_the_same_takes_the_place_of_the_earlier(firing):
    app.run(["snooze", "claude-session", "--for", "2h"])
    app.run(["snooze", "claude-session", "--for", "3h"])
    assert len(load_snoozes(firing)) == 1


def test_waiting_messages_are_held_and_released(firing):
    now = clock.utc_now()
    config = configuration.load_config(firing, RESOLVE, firing.config_dir.parent)
    app.run(["snooze", "claude", "--for", "2h"])
    store = Store(firing.state_dir / DATABASE_FILE_NAME, now=now)
    pipeline.release_deliveries(store, config, now=now)
    assert {row.state for row in store.outbox.load()} == {DeliveryState.HELD}
    app.run(["unsnooze", "claude"])
    pipeline.release_deliveries(store, config, now=now)
    assert DeliveryState.QUEUED in {row.state for row in store.outbox.load()}
    store.close()


@pytest.mark.skipif(sys.platform == "win32", reason="tests/system/test_windows.py has its event")
def test_a_running_daemon_is_signalled(firing):
    notified = []
    before = signal.signal(signal.SIGUSR1, lambda *_: notified.append(True))
    lock = Lock(firing.state_dir)
    try:
        assert lock.acquire()
        assert app.run(["snooze", "claude-session", "--for", "2h"]) == 0
        assert notified == [True]
    finally:
        lock.release()
        signal.signal(signal.SIGUSR1, before)
    assert app.run(["unsnooze", "claude-session"]) == 0
    assert notified == [True]


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal there")
def test_the_holder_of_the_lock_survives_the_signal(own):
    before = signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    lock = Lock(own.state_dir)
    try:
        assert lock.acquire()
        assert lock.signal_holder()
    finally:
        lock.release()
        signal.signal(signal.SIGUSR1, before)
    assert not lock.signal_holder()


def completions(*words, incomplete=""):
    complete = ShellComplete(app.watcher, {}, "watcher", "_WATCHER_COMPLETE")
    return [item.value for item in complete.get_completions(list(words), incomplete)]


@pytest.mark.usefixtures("firing")
def test_rules_and_series_are_completed():
    assert completions("snooze", incomplete="cl") == ["claude-session", "claude.five_hour", "claude.seven_day"]
    assert completions("snooze", incomplete="we") == ["weekly-ladder"]


def test_completion_is_silent_where_nothing_is_there_or_the_config_is_broken(own, capsys):
    assert completions("snooze", incomplete="claude-") == ["claude-session"]
    (own.config_dir / "config.toml").write_text("rule = [")
    assert completions("snooze") == []
    assert completions("unsnooze") == []
    assert capsys.readouterr() == ("", "")


def test_a_snooze_that_cannot_be_stored_is_an_error(firing, monkeypatch, capsys):
    class Full(Store):
        def _open(self):
            connection = super()._open()
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages}")
            return connection

        def run_transaction(self, work, *, now):
            def fill():
                self.facts.save("filler", "x" * 100_000, now)
                return work()

            return super().run_transaction(fill, now=now)

    monkeypatch.setattr("watcher.cli.snooze.Store", Full)
    assert app.run(["snooze", "claude-session", "--for", "2h"]) == 1
    monkeypatch.undo()
    load_snoozes = Store(firing.state_dir / DATABASE_FILE_NAME, now=clock.utc_now(), read_only=True)
    assert load_snoozes.snoozes.load() == []
    load_snoozes.close()
    message = capsys.readouterr()
    assert "snoozed" not in message.out
    path = firing.state_dir / DATABASE_FILE_NAME
    assert f"cannot write {path} (database or disk is full): free some disk space" in message.err
