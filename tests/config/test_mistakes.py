"""Any config loads, or is refused with a message. None of them ends the program."""

import os
import shutil

import pytest

from watcher.config import loader
from watcher.config.secrets import make_secret_resolver
from watcher.core.model import HostInfo
from watcher.errors import ConfigError
from watcher.system.paths import Paths, find_shipped_rules_dir
from watcher.system.secret_commands import SecretUnavailableError

EVERYTHING = """
[poll]
every = "5m"
hints = true
[providers.claude]
enabled = true
every = "10m"
base_url = "http://127.0.0.1:8080"
token = "env:X"
source = "cache"
[channels.desktop]
type = "desktop"
[channels.team]
type = "slack"
url = "https://hooks.slack.com/services/T/B/x"
[channels.hook]
type = "webhook"
url = "https://h.example.com/"
secret = "s"
headers = { A = "b" }
[channels.run]
type = "command"
argv = ["/bin/true"]
timeout = "5s"
[channels.phone]
type = "ntfy"
topic = "abc"
priority = 3
[channels.am]
type = "alertmanager"
urls = ["http://127.0.0.1:9093"]
labels = { team = "a" }
resend = "1m"
lasts = "24h"
[metrics]
listen = "127.0.0.1:9188"
token = "0123456789abcdef"
textfile = "~/x.prom"
detail = "lean"
account = "alias"
aliases = { a = "b" }
salt = "s"
labels = { team = "a" }
[metrics.push]
url = "https://mimir.example/api/v1/push"
every = "1m"
headers = { A = "b" }
instance = "name"
[route]
default = ["desktop"]
critical = ["team"]
[quiet]
hours = "22:00-08:00"
tz = "Europe/Berlin"
[[rule]]
name = "a"
when = "claude > level"
clear = "< level - 5%"
levels = { warning = "80%" }
notify = ["desktop"]
for = "5m"
remind = "5m"
on = ["firing"]
active = "Mon"
tz = "UTC"
title = "x"
message = "y"
[[rule.example]]
series = "claude.five_hour"
every = "5m"
used = [1]
expect = ["."]
"""
LINES = EVERYTHING.splitlines()
STRANGE = [
    "0x" + "f" * 3900, "[0x" + "f" * 3900 + "]", "inf", "-nan", "true", "[]", "{}", '""', '"\\u0000"', '"\\uD7FF{"',
    "2026-01-01", "[{ a = 1 }]", '"' + "x" * 3000 + '"', "-1", "{ a = { a = {} } }",
]  # fmt: skip


def load(folder, text):
    file = folder / "config.toml"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    return loader.load_config(Paths(folder, folder), str, folder)


def read_error(folder, text):
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return str(caught.value)


def test_it_loads_as_it_is(tmp_path):
    assert len(load(tmp_path, EVERYTHING).rules) == 1


@pytest.mark.parametrize("strange", STRANGE, ids=lambda value: value[:12])
def test_a_strange_value_in_any_place_loads_or_is_refused_in_words(tmp_path, strange):
    for number, line in enumerate(LINES):
        key, equals, _ = line.partition("=")
        if not equals:
            continue
        changed = "\n".join([*LINES[:number], f"{key}= {strange}", *LINES[number + 1 :]])
        try:
            load(tmp_path, changed)
        except ConfigError as error:
            assert f"config.toml:{number + 1}:" in str(error) or key.strip() in str(error)  # noqa: PT017 - both are right


@pytest.mark.parametrize("key", ["poll", "providers", "channels", "route", "quiet", "rule"])
@pytest.mark.parametrize("strange", STRANGE, ids=lambda value: value[:12])
def test_a_strange_value_in_the_place_of_a_table_loads_or_is_refused_in_words(tmp_path, key, strange):
    try:
        load(tmp_path, f"{key} = {strange}\n")
    except ConfigError as error:
        assert "config.toml:1:" in str(error)  # noqa: PT017 - both are right


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[poll]\nevery = 5\n", "config.toml:2:9: `every` takes a text, not a whole number; put it in quotes\n"),
        ('[metrics]\ntextfile = ""\n', "config.toml:2:12: `textfile`: write an absolute path that ends in .prom"),
        ("[poll]\nhints = 1\n", "config.toml:2:9: `hints` takes true or false, not a whole number\n"),
        ('[route]\ndefault = "x"\n', "config.toml:2:11: `default` takes a list, not a text; put it in brackets\n"),
        (
            "[route]\ncritical = [1]\n",
            "config.toml:2:13: `critical` takes a text, not a whole number; put it in quotes\n",
        ),
        ("[providers.claude]\nenabled = []\n", "config.toml:2:11: `enabled` takes true or false, not a list\n"),
        ("channels = 1979-05-27\n", "config.toml:1:12: `channels` takes a table, not a date\n"),
        ("[rule]\nname = 1\n", "config.toml:1:1: rules are written under [[rule]], not as a table\n"),
        ("# words\n\n[channel.x]\n", "config.toml:3:1: unknown key `channel`; did you mean `channels`?\n"),
        ("[channels]\nteam = 5\n", "config.toml:1:1: `channels` takes a table, not a whole number\n"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_in_the_words_of_toml(tmp_path, text, words):
    assert words in read_error(tmp_path, text)


def test_a_list_of_rules_that_is_a_table_is_reported_once(tmp_path):
    assert read_error(tmp_path, '[rule]\nname = "a"\n').count("config.toml:") == 1


def test_an_unknown_zone_is_reported_with_the_most_similar_one(tmp_path):
    text = read_error(tmp_path, '[quiet]\nhours = "22:00-08:00"\ntz = "Europe/Berln"\n')
    assert 'config.toml:3:6: this is no time zone; did you mean "Europe/Berlin"?' in text


def test_an_unknown_kind_of_channel_is_reported_with_the_most_similar_one(tmp_path):
    text = read_error(tmp_path, '[channels.team]\ntype = "slak"\n')
    assert 'config.toml:2:8: unknown type "slak"; did you mean `slack`?' in text


@pytest.mark.posix
def test_a_folder_of_rules_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path):
    paths = Paths(tmp_path / "own", tmp_path)
    paths.config_dir.mkdir()
    before = loader.fingerprint_config_files(paths)
    paths.rules_dir.write_text("no folder: as unreadable as one without the right to look")
    with pytest.raises(ConfigError) as caught:
        loader.load_config(paths, str, tmp_path)
    assert str(caught.value) == f"{paths.rules_dir}:1:1: cannot be read: Not a directory"
    assert loader.fingerprint_config_files(paths) != before  # a running daemon looks, and keeps the last good rules


def test_a_config_whose_folder_cannot_be_read_is_not_taken_for_an_absent_one(tmp_path):
    paths = Paths(tmp_path / "own", tmp_path)
    paths.config_dir.symlink_to(paths.config_dir)  # as unreadable as one without the right to look, also for root
    with pytest.raises(ConfigError) as caught:
        loader.load_config(paths, str, tmp_path)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{paths.config_file}:1:1: cannot be read: ")
    assert second.startswith(f"{paths.rules_dir}:1:1: cannot be read: ")


def test_a_config_that_is_a_link_to_nothing_is_not_taken_for_an_absent_one(tmp_path):
    (tmp_path / "config.toml").symlink_to(tmp_path / "dotfiles")
    with pytest.raises(ConfigError, match=r"config\.toml:1:1: cannot be read: No such file or directory"):
        loader.load_config(Paths(tmp_path, tmp_path), str, tmp_path)


def test_what_an_editor_lays_beside_a_rule_file_is_no_rule_file(tmp_path):
    paths = Paths(tmp_path, tmp_path)
    paths.rules_dir.mkdir()
    (paths.rules_dir / ".#mine.toml").symlink_to("me@host.1234:5678")  # the lock of Emacs
    (paths.rules_dir / "mine.toml").write_text('[[rule]]\nname = "mine"\nwhen = "claude > 80%"\n')
    assert [rule.name for rule in loader.load_config(paths, str, tmp_path).rules] == ["mine"]


@pytest.mark.parametrize(
    "copy",
    [
        "mine (conflicted copy).toml",
        "mine (Ann's conflicted copy 2026-03-04).toml",
        "mine.sync-conflict-20260304-1-AB.toml",
    ],
)
def test_a_copy_that_a_sync_tool_has_set_aside_is_left_out_and_known(tmp_path, copy):
    paths = Paths(tmp_path, tmp_path)
    paths.rules_dir.mkdir()
    for name in (copy, "mine.toml"):
        (paths.rules_dir / name).write_text('[[rule]]\nname = "mine"\nwhen = "claude > 80%"\n')
    assert [rule.path for rule in loader.load_config(paths, str, tmp_path).rules] == [
        str(paths.rules_dir / "mine.toml")
    ]
    assert [path.name for path in paths.list_conflicted_copies()] == [copy]


def test_a_pack_that_is_named_is_in_force_beside_the_files(tmp_path):
    (tmp_path / "config.toml").write_text('[rules]\nuse = ["paid-usage", "reset-reminders"]\n')
    rules = loader.load_config(Paths(tmp_path, tmp_path), str, tmp_path).rules
    assert {"paid-usage-begins", "reset-in-an-hour"} <= {rule.name for rule in rules}
    assert "session" not in {rule.name for rule in rules}


@pytest.mark.parametrize(
    ("use", "problem"),
    [
        ('["reset-remindrs"]', "there is no pack `reset-remindrs`; did you mean `reset-reminders`?"),
        ('["team"]', 'unknown channel "team"'),
        ('"paid-usage"', "`use` takes a list, not a text"),
        ('["copied"]', "there is no pack `copied`; valid: default, expiring-resets,"),
        ('["quiet"]', "this name is taken by the rule in "),
    ],
)
def test_a_pack_that_cannot_be_used_is_reported_at_its_place(tmp_path, use, problem):
    (tmp_path / "rules").mkdir()
    shutil.copy(find_shipped_rules_dir() / "quiet.toml", tmp_path / "rules")
    assert problem in read_error(tmp_path, f"[rules]\nuse = {use}\n")


def test_a_config_that_is_no_toml_makes_no_unknown_channels(tmp_path):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.toml").write_text('[[rule]]\nname = "a"\nwhen = "claude > 80%"\nnotify = ["team"]\n')
    assert "unknown channel" not in read_error(tmp_path, '[channels.team\ntype = "slack"\n')
    assert "unknown channel" not in read_error(tmp_path, '[channels.team]\ntype = "slak"\n')
    assert "unknown channel" in read_error(tmp_path, '[channels.tea]\ntype = "desktop"\n')


def test_a_million_characters_are_refused(tmp_path):
    assert "900,000 characters long" in read_error(tmp_path, "#" * 900_000)
    assert "larger than 1,000,000 bytes" in read_error(tmp_path, "#" * 1_200_000)


@pytest.mark.posix
@pytest.mark.parametrize("file", ["config.toml", "rules/a.toml"])
def test_a_file_that_others_can_write_is_refused_with_the_command_that_fixes_it(tmp_path, file):
    (tmp_path / "rules").mkdir()
    path = tmp_path / file
    path.write_text("")
    path.chmod(0o620)
    with pytest.raises(ConfigError, match=f"chmod go-w {path}"):
        loader.load_config(Paths(tmp_path, tmp_path), str, tmp_path)
    path.chmod(0o644)
    loader.load_config(Paths(tmp_path, tmp_path), str, tmp_path)


@pytest.mark.posix
@pytest.mark.parametrize("file", ["config.toml", "rules/a.toml"])
def test_a_named_pipe_is_refused_at_once(tmp_path, file):
    (tmp_path / "rules").mkdir()
    os.mkfifo(tmp_path / file)
    with pytest.raises(ConfigError, match=f"{tmp_path / file}:1:1: cannot be read: not a regular file"):
        loader.load_config(Paths(tmp_path, tmp_path), str, tmp_path)


@pytest.mark.posix
def test_a_plain_secret_in_a_readable_file_is_refused_also_where_no_secret_is_resolved(tmp_path):
    def refuse(_text):
        raise SecretUnavailableError("not needed")

    path = tmp_path / "config.toml"
    path.write_text('[channels.team]\ntype = "slack"\nurl = "https://hooks.slack.com/services/T/B/X"\n')
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
        loader.load_config(Paths(tmp_path, tmp_path), refuse, tmp_path)


@pytest.mark.posix
@pytest.mark.parametrize("kind", ["pipe", "device", "writable"])
def test_a_secret_is_not_read_from_a_file_that_is_unsafe(tmp_path, kind):
    path = tmp_path / "hook.secret"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.write_text("https://hooks.slack.com/services/T/B/X")
        path.chmod(0o622)
    host_info = HostInfo(home=tmp_path, env={}, platform="linux", run_command=None, read_database=None)
    with pytest.raises(SecretUnavailableError, match=str(path)):
        make_secret_resolver(host_info)(f"file:{path}")
