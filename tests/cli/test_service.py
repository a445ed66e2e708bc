"""The daemon's process where it cannot start: one notification, however often a login item starts it."""

import os
import sys
from contextlib import closing
from datetime import timedelta
from types import SimpleNamespace

import pytest
from freezegun import freeze_time

from tests.world import START, Machine, World
from watcher.cli import service
from watcher.cli.service import CONFIG_ERROR_FACT
from watcher.storage.store import Store
from watcher.system.paths import Paths


@pytest.fixture
def refuse(tmp_path, monkeypatch):
    monkeypatch.setattr(service, "notify_desktop", lambda _title, body, _doors: notified.append(body))
    notified: list[str] = []
    with freeze_time(START.replace(tzinfo=None), ignore=["watcher"]) as frozen:
        world = World(tmp_path, Machine(frozen))

        def once(text: str) -> list[str]:
            store = Store(world.paths.state_dir / "watcher.db", now=START)
            service._report_config_error(text, store, world.log, world.make_environment())
            return notified

        once.world = world
        yield once


def test_each_mistake_in_the_config_notifies_the_desktop_once(refuse):
    assert refuse("config.toml:1: a mistake") == ["config.toml:1: a mistake"]
    assert refuse("config.toml:1: a mistake") == ["config.toml:1: a mistake"]
    assert refuse("config.toml:2: another") == ["config.toml:1: a mistake", "config.toml:2: another"]
    assert len(refuse.world.log.lines) == 3  # the log has every start


def test_status_shows_why_it_did_not_start(refuse):
    refuse("config.toml:1: a mistake")
    with closing(Store(refuse.world.paths.state_dir / "watcher.db", now=START)) as store:
        assert store.facts.load(CONFIG_ERROR_FACT) == ("config.toml:1: a mistake", START)


@pytest.mark.parametrize(
    ("env", "is_one"),
    [
        ({"SYSTEMD_EXEC_PID": str(os.getpid())}, True),
        ({"SYSTEMD_EXEC_PID": str(os.getpid() + 1), "INVOCATION_ID": "x"}, False),  # a shell within some unit
        ({"XPC_SERVICE_NAME": "io.github.ai-usage-watcher"}, True),
        ({"XPC_SERVICE_NAME": "application.com.apple.Terminal"}, False),
        ({}, False),
    ],
)
def test_a_login_item_is_not_confused_with_what_a_shell_inherits(env, is_one):
    assert service._is_login_item(env) is is_one


def test_a_process_without_a_standard_error_is_a_login_item_of_windows(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert service._is_login_item({})


@pytest.mark.parametrize(
    "fix",
    [
        lambda own: own.config_file.write_text(""),
        lambda own: own.config_file.chmod(0o640),
        lambda own: own.config_file.unlink(),
        lambda own: (own.rules_dir.mkdir(), (own.rules_dir / "a.toml").touch()),
    ],
)
def test_a_change_of_any_config_file_ends_the_wait(tmp_path, fix, monkeypatch):
    monkeypatch.setattr(service, "CONFIG_CHECK_EVERY_S", 0.01)
    monkeypatch.setattr(service, "SETTLE_FOR", timedelta(0))
    monkeypatch.setattr(service, "sys", SimpleNamespace(platform="win32"))
    own = Paths(config_dir=tmp_path, state_dir=tmp_path / "state")
    own.config_file.write_text("[poll]\n")
    own.config_file.chmod(0o600)
    before = service.fingerprint_config_files(own)
    fix(own)
    service._wait_for_config_change(own, before)
