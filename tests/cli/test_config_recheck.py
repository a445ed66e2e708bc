"""`watcher status` shows the mistakes of the config as it is now."""

import json
import os
import signal
from datetime import UTC, datetime, timedelta

import pytest

from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system.lock import Lock

WRONG = "[poll]\nevery = 'soon'\n"


@pytest.fixture
def config(empty_home):
    """Writes the config of a machine on which it was refused ten minutes ago."""
    refused_at = datetime.now(UTC) - timedelta(minutes=10)
    store = Store(empty_home.paths.state_dir / DATABASE_FILE_NAME, now=refused_at)
    store.run_transaction(
        lambda: store.facts.save("config_error", "config.toml:2:9: it was so", refused_at), now=refused_at
    )
    store.close()

    def write(text, *, before_that=False, mode=0o600):
        path = empty_home.paths.config_file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        at = (refused_at - timedelta(minutes=before_that)).timestamp()
        if before_that:
            for each in (path, path.parent):
                os.utime(each, (at, at))

    return write


def message(home):
    return json.loads(home.watcher("status", "--json").stdout)["config_error"]


def test_a_fixed_config_is_not_reported_before_the_watcher_has_loaded_it(empty_home, config):
    config("[poll]\nevery = '5m'\n")
    assert message(empty_home) is None
    assert "mistake" not in empty_home.watcher("status").stdout


def test_a_remaining_mistake_is_shown_as_it_is_now(empty_home, config):
    config(f"# a line more\n{WRONG}")
    assert "config.toml:3:9: `every`: " in message(empty_home)
    assert "config.toml:3:9: `every`: " in empty_home.watcher("status").stdout


def test_a_file_with_a_wrong_mode_is_fine_once_it_is_private(empty_home, config):
    secret = '[channels.team]\ntype = "slack"\nurl = "https://hooks.slack.com/services/T0/B0/xyz"\n'
    config(secret, before_that=True, mode=0o644)
    assert "chmod 600" in message(empty_home)
    config(secret, before_that=True)
    assert message(empty_home) is None


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signal here")
def test_an_edit_that_the_daemon_has_not_seen_is_checked_and_signalled(empty_home):
    seen_at = datetime.now(UTC) - timedelta(minutes=2)
    lock = Lock(empty_home.paths.state_dir)
    assert lock.acquire()
    sent = []
    before = signal.signal(signal.SIGUSR1, lambda *_: sent.append(True))
    try:
        store = Store(empty_home.paths.state_dir / DATABASE_FILE_NAME, now=seen_at)
        store.run_transaction(lambda: store.facts.save("heartbeat", "running", seen_at), now=seen_at)
        store.close()
        empty_home.paths.config_dir.mkdir(parents=True)
        empty_home.paths.config_file.write_text("[poll]\nevery = 'soon'\n")
        assert "config.toml:2:9: `every`: " in message(empty_home)
        assert not sent
        empty_home.paths.config_file.write_text("[poll]\nevery = '5m'\n")
        assert message(empty_home) is None
        assert sent
    finally:
        signal.signal(signal.SIGUSR1, before)
        lock.release()
