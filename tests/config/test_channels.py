"""What a channel's own settings demand is a mistake with a place, and a secret that cannot be had only a delay."""

from pathlib import Path

import pytest

from watcher.config import loader, secrets
from watcher.core.model import CommandResult, HostInfo
from watcher.errors import ConfigError
from watcher.system.paths import Paths


def make_host_info(env):
    return HostInfo(
        home=Path("/nowhere"),
        env=env,
        platform="linux",
        run_command=lambda _: CommandResult(exit_code=1),
        read_database=lambda _: None,
    )


@pytest.fixture
def load(tmp_path):
    """`load(text, env)`: that text read as a config.toml."""

    def read(text, env=None):
        own = Paths(config_dir=tmp_path, state_dir=tmp_path)
        own.config_file.write_text(text, "utf-8")
        own.config_file.chmod(0o600)
        resolve = secrets.make_secret_resolver(make_host_info(env or {}))
        return loader.load_config(own, resolve, Path("/nowhere"))

    return read


@pytest.mark.parametrize(
    ("table", "place", "words"),
    [
        ('type = "slack"\nurl = "http://hooks.slack.com/services/plantedsecret"', ":3:7:", "must begin with https://"),
        ('type = "discord"\nurl = "https://discord.com/plantedsecret"', ":3:7:", "must be a channel's webhook"),
        ('type = "command"\nargv = []', ":3:8:", "must name a program"),
        ('type = "command"\nargv = ["x"]\ntimeout = "1h"', ":4:11:", 'must be between "1s" and "5m"'),
        ('type = "ntfy"\ntopic = "a/b"', ":3:9:", "must be 1 to 64 letters"),
        ('type = "ntfy"\ntopic = "a"\npriority = 9', ":4:12:", "<= 5"),
        ('type = "webhook"\nurl = "x"\nsecret = "s"', ":3:7:", "must be a web address"),
    ],
)
def test_a_setting_that_cannot_work_is_a_mistake_with_a_place(load, table, place, words):
    with pytest.raises(ConfigError) as refusal:
        load(f"[channels.mine]\n{table}\n")
    first = str(refusal.value).splitlines()[0]
    assert place in first
    assert words in first
    assert "plantedsecret" not in first


def test_a_secret_that_cannot_be_had_now_is_no_mistake(load):
    read = load('[channels.team]\ntype = "slack"\nurl = "env:SLACK_URL"\n')
    assert read.channels["team"].settings is None
    assert read.broken_channels["team"] == "the environment variable SLACK_URL is not set where the watcher runs"


def test_a_header_may_be_a_secret_of_its_own(load):
    text = '[channels.w]\ntype = "webhook"\nurl = "https://x.example/"\nheaders = { Authorization = "env:TOKEN" }\n'
    read = load(text, {"TOKEN": "plantedsecret"})
    assert read.channels["w"].settings.headers == {"Authorization": "plantedsecret"}
    assert "plantedsecret" in read.secrets
