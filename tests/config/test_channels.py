"""What a channel's own settings demand is a mistake with a place, and a secret that cannot be had only a delay."""

from pathlib import Path

import msgspec
import pytest

from tests.notifiers.conftest import FACTS
from watcher.config import loader, secrets
from watcher.core.model import CommandResult, HostInfo, Message
from watcher.errors import ConfigError
from watcher.notifiers.webhook import build_request
from watcher.system.paths import Paths

MESSAGE = Message(**FACTS | {"title": "One title"})


def make_host_info(env):
    return HostInfo(
        home=Path("/nowhere"),
        env=env,
        platform="linux",
        run_command=lambda _: CommandResult(exit_code=1),
        read_database=lambda _: None,
    )


HOOK = 'type = "webhook"\nurl = "https://x.example/"\n'


@pytest.fixture
def load(tmp_path):
    """`load(text, env)`: that text read as a config.toml."""

    def read(text, env=None, mode=0o600):
        own = Paths(config_dir=tmp_path, state_dir=tmp_path)
        own.config_file.write_text(text, "utf-8")
        own.config_file.chmod(mode)
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
        (f'{HOOK}json = {{ a = [1, "x {{titel}}"] }}', ":4:21:", "unknown name in braces; did you mean `title`?"),
        (f'{HOOK}[channels.mine.json]\na.b = "\\n{{ title }}"', ":5:10:", "unknown name in braces; did you mean"),
        (f'{HOOK}[[channels.mine.json.rows]]\na = "{{zzz}}"', ":5:6:", "unknown name in braces; valid: schema, id"),
        (f'{HOOK}headers = {{ X = "{{severty}}" }}', ":4:18:", "did you mean `severity`?"),
        (f"{HOOK}success = 'ok ==='", ":4:", "`success`: not JMESPath: unexpected `=`"),
        (f"{HOOK}success = 'lenght(a)'", ":4:12:", "JMESPath has no function `lenght`"),
        (f'{HOOK}map = {{ evnt = {{ a = "b" }} }}', ":4:", "unknown name `evnt`; did you mean `event`?"),
        (f'{HOOK}map = {{ event = {{ resolvd = "b" }} }}', ":4:", "did you mean `resolved`?"),
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


def test_secrets_in_a_body_are_resolved_and_hold_no_names(load):
    text = f'[channels.w]\n{HOOK}json = {{ token = "env:TOKEN", rows = ["env:TOKEN", "{{title}}"] }}\n'
    read = load(text, {"TOKEN": "planted{title}secret"})
    settings = read.channels["w"].settings
    sent = msgspec.json.decode(build_request(MESSAGE, settings).body)
    assert sent == {"token": "planted{title}secret", "rows": ["planted{title}secret", "One title"]}
    assert "planted{title}secret" in read.secrets
    assert load(text).broken_channels["w"] == "the environment variable TOKEN is not set where the watcher runs"


@pytest.mark.posix
def test_a_plain_secret_in_a_body_needs_a_private_file_and_is_redacted(load):
    text = f'[channels.w]\n{HOOK}json = {{ token = "plantedsecret", text = "hello {{title}}" }}\n'
    secrets = load(text).secrets
    assert "plantedsecret" in secrets
    assert "hello {title}" not in secrets
    with pytest.raises(ConfigError, match="holds a secret in a file that others can read"):
        load(text, mode=0o644)
    load(
        f'[channels.w]\n{HOOK}json = {{ text = "hello" }}\nheaders = {{ X = "{{severity}}" }}\n'.replace(
            "https://x.example/", "http://127.0.0.1:1/"
        ),
        mode=0o644,
    )
