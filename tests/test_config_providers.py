"""What a provider's table demands of its values."""

from pathlib import Path

import pytest

from watcher import config, secrets
from watcher.core.model import Finished
from watcher.errors import ConfigError
from watcher.paths import Paths


def load(folder, text):
    own = Paths(config_dir=folder, state_dir=folder)
    own.config_file.write_text(text, "utf-8")
    resolve = secrets.resolver({}, Path("/nowhere"), lambda _: Finished(exit_code=1))
    return config.load(own, resolve, Path("/home/me"))


@pytest.mark.parametrize("source", ["cache", "server", "auto"])
def test_antigravity_s_sources(tmp_path, source):
    found = load(tmp_path, f'[providers.antigravity]\nsource = "{source}"\n')
    assert found.providers["antigravity"].overrides.source == source


def test_a_source_that_there_is_not_is_a_mistake_that_says_which_there_are(tmp_path):
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path, '[providers.antigravity]\nsource = "sever"\n')
    assert str(refusal.value).splitlines()[0].endswith(":2:10: `source`: choose one of cache, server, auto")


def test_a_value_of_the_wrong_kind_says_which_kind(tmp_path):
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path, "[providers.claude]\ncredentials = 3\n")
    assert ":2:15: `credentials` takes a text, not a whole number" in str(refusal.value)


def test_a_path_may_begin_at_home(tmp_path):
    found = load(tmp_path, '[providers.antigravity]\ndatabase = "~/elsewhere/state.vscdb"\n')
    assert found.providers["antigravity"].overrides.database == "/home/me/elsewhere/state.vscdb"
