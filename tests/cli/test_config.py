"""`watcher config`: what is in force, without a secret in it."""

import tomllib
from types import SimpleNamespace

import pytest

from watcher.cli import app

CONFIG = """
[poll]
every = "7m"
[providers.claude]
every = "90m"
base_url = "http://127.0.0.1:8080"
[providers.nano_gpt]
enabled = false
token = "sk-nano-1234567890"
[channels.desktop]
type = "desktop"
[channels.team]
type = "slack"
url = "env:TEAM_URL"
[channels.hook]
type = "webhook"
url = "https://hooks.example.com/abc"
secret = "file:hook.secret"
headers = { Authorization = "Bearer planted-header-secret" }
[channels.lost]
type = "discord"
url = "env:NOT_SET"
[route]
default = ["desktop"]
critical = ["desktop", "team"]
[quiet]
hours = "22:00-08:00"
tz = "Europe/Berlin"
[[rule]]
name = "mine"
when = "claude > 80%"
"""
SECRETS = ("sk-nano-1234567890", "T000/B000/planted", "planted-hook-secret", "planted-header-secret")


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WATCHER_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WATCHER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("TEAM_URL", "https://hooks.slack.com/services/T000/B000/planted")
    (tmp_path / "config" / "rules").mkdir(parents=True)
    (tmp_path / "hook.secret").write_text("planted-hook-secret")
    config = tmp_path / "config" / "config.toml"
    config.write_text(CONFIG.replace("file:hook.secret", f"file:{tmp_path.as_posix()}/hook.secret"))
    config.chmod(0o600)

    def say(*words):
        code = app.run(["config", *words])
        message = capsys.readouterr()
        return SimpleNamespace(code=code, out=message.out, err=message.err)

    return SimpleNamespace(say=say, config=config, path=tmp_path)


def test_what_is_in_force_is_shown_as_toml_with_defaults_filled_in(shell):
    answer = shell.say("show")
    assert (answer.code, answer.err) == (0, "")
    shown = tomllib.loads(answer.out)
    assert shown["providers"]["claude"] == {"every": "90m", "base_url": "http://127.0.0.1:8080"}
    assert shown["providers"]["codex"]["every"] == "7m"
    assert shown["providers"]["nano_gpt"]["enabled"] is False
    assert shown["channels"]["desktop"]["type"] == "desktop"
    assert shown["route"] == {"default": ["desktop"], "critical": ["desktop", "team"]}
    assert shown["quiet"] == {"hours": "22:00-08:00", "tz": "Europe/Berlin"}
    assert f"# 1 rule from {shell.config}" in answer.out.splitlines()


def test_what_is_shown_is_a_config_that_the_program_takes(shell):
    channel = '[channels.lamp]\ntype = "command"\nargv = ["/bin/true", "a b"]\n'
    shell.config.write_text(channel + '[route]\ndefault = ["lamp"]\n[rules]\nuse = ["paid-usage"]\n')
    shown = shell.say("show").out
    assert 'argv = ["/bin/true", "***"]' in shown.splitlines()
    assert 'use = ["paid-usage"]' in shown.splitlines()
    shell.config.write_text(shown)
    assert shell.say("show").out == shown


def test_no_secret_is_shown(shell):
    answer = shell.say("show")
    assert answer.code == 0
    for secret in SECRETS:
        assert secret not in answer.out + answer.err
    shown = tomllib.loads(shell.say("show").out)
    assert shown["providers"]["nano_gpt"]["token"] == "***"
    assert shown["channels"]["team"] == {"type": "slack", "url": "***"}
    assert shown["channels"]["hook"]["headers"] == {"Authorization": "***"}


def test_a_password_in_an_address_is_not_shown_however_short(shell):
    text = (
        CONFIG.replace("http://127", "http://me:pw@127")
        + '[channels.phone]\ntype = "ntfy"\ntopic = "not-to-be-guessed"\n'
    )
    shell.config.write_text(f'{text}server = "https://tk_x@ntfy.example"\n')
    out = shell.say("show").out
    assert ("http://***@127.0.0.1:8080" in out, "https://***@ntfy.example" in out) == (True, True)
    assert ("pw" in out, "tk_x" in out, "not-to-be-guessed" in out) == (False, False, False)


def test_a_channel_whose_secret_cannot_be_had_says_why(shell):
    lost = tomllib.loads(shell.say("show").out)["channels"]["lost"]
    assert lost["unavailable"].startswith("the environment variable NOT_SET is not set")


def test_a_config_with_a_mistake_is_not_shown_but_the_mistake(shell):
    shell.config.write_text("[pol]\n")
    answer = shell.say("show")
    assert (answer.code, answer.out) == (78, "")
    assert "unknown key `pol`; did you mean `poll`?" in answer.err


def test_the_places_are_named(shell):
    assert shell.say("path").out == (
        f"config     {shell.path / 'config' / 'config.toml'}\nrules      {shell.path / 'config' / 'rules'}\n"
        f"providers  {shell.path / 'config' / 'providers'}\nstate      {shell.path / 'state'}\n"
    )
