"""A mistake in the config that was mended since is not said any more, and one that stands is said as it stands."""

import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from watcher.cli.config_recheck import CHECK_EVERY_S, wait_for_change
from watcher.config.changes import SETTLE_FOR, fingerprint_config_files
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system.paths import Paths

WRONG = "[poll]\nevery = 'soon'\n"
COMMAND = '[channels.team]\ntype = "slack"\nurl = "cmd:pass show slack"\n'


@pytest.fixture
def config(empty_home):
    """Writes the config of a machine on which the last reading of it stumbled, ten minutes ago."""
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


def said(home):
    return json.loads(home.watcher("status", "--json").stdout)["config_error"]


def test_a_mended_config_is_not_complained_of_before_the_watcher_has_read_it(empty_home, config):
    config("[poll]\nevery = '5m'\n")
    assert said(empty_home) is None
    assert "mistake" not in empty_home.watcher("status").stdout


def test_a_mistake_that_stands_is_said_as_it_is_now(empty_home, config):
    config(f"# a line more\n{WRONG}")
    assert "config.toml:3:9: `every`: " in said(empty_home)
    assert "config.toml:3:9: `every`: " in empty_home.watcher("status").stdout


def test_a_file_whose_mode_was_the_mistake_is_fine_once_nobody_else_reads_it(empty_home, config):
    secret = '[channels.team]\ntype = "slack"\nurl = "https://hooks.slack.com/services/T0/B0/xyz"\n'
    config(secret, before_that=True, mode=0o644)
    assert "chmod 600" in said(empty_home)
    config(secret, before_that=True)
    assert said(empty_home) is None


def test_what_a_password_manager_would_show_is_not_taken_for_mended(empty_home, config):
    config(COMMAND, before_that=True)
    assert said(empty_home) == "config.toml:2:9: it was so"


# --- waiting for it ---------------------------------------------------------------------------------------------------


class Waits:
    """What happens during each wait, in order; the end of the script ends the wait."""

    def __init__(self, *script):
        self.script, self.spans = list(script), []

    def __call__(self, seconds):
        self.spans.append(seconds)
        if not self.script:
            raise AssertionError("waited longer than expected")
        return self.script.pop(0)() is True


def nothing():
    return False


@pytest.fixture
def own(tmp_path):
    own = Paths(config_dir=tmp_path, state_dir=tmp_path / "state")
    own.config_file.write_text(WRONG)
    own.config_file.chmod(0o600)
    return own


def test_a_mended_file_is_waited_for_until_nobody_writes_it_any_more(own):
    waits = Waits(nothing, lambda: own.config_file.write_text("[po"), lambda: own.config_file.write_text(""), nothing)
    wait_for_change(own, fingerprint_config_files(own, include_modes=True), waits)
    assert waits.spans == [CHECK_EVERY_S, CHECK_EVERY_S, SETTLE_FOR.total_seconds(), SETTLE_FOR.total_seconds()]


@pytest.mark.parametrize(
    "mend",
    [
        lambda own: own.config_file.chmod(0o640),
        lambda own: own.config_file.unlink(),
        lambda own: (own.rules_dir.mkdir(), (own.rules_dir / "a.toml").touch()),
    ],
)
def test_a_mode_a_file_less_and_a_file_more_are_changes(own, mend):
    waits = Waits(lambda: mend(own) and None, nothing)
    wait_for_change(own, fingerprint_config_files(own, include_modes=True), waits)
    assert waits.script == []


def test_whoever_says_that_it_is_time_is_heard_at_once(own):
    waits = Waits(lambda: True)
    wait_for_change(own, fingerprint_config_files(own, include_modes=True), waits)
    assert waits.spans == [CHECK_EVERY_S]


def test_what_is_mended_while_the_mistake_is_still_being_told_is_a_change(own):
    before = fingerprint_config_files(own, include_modes=True)
    own.config_file.write_text("")
    waits = Waits(nothing, nothing)
    wait_for_change(own, before, waits)
    assert waits.script == []
