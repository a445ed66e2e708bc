"""Nano-GPT's key, in OpenCode or in the environment."""

import json

import pytest

from watcher.credentials import HostInfo
from watcher.providers import Overrides
from watcher.providers.nano_gpt import find_credentials


def keys(home, overrides=None, **env):
    host_info = HostInfo(home=home, env=env, platform="linux", run_command=None, read_database=None)
    return [
        (each.source_name, each.path.removeprefix(str(home)).replace("\\", "/"), each.token)
        for each in find_credentials(host_info, overrides or Overrides())
    ]


def write(home, entry, path=".local/share/opencode/auth.json"):
    where = home / path
    where.parent.mkdir(parents=True, exist_ok=True)
    where.write_text(json.dumps({"nano-gpt": entry}))
    return where


@pytest.mark.parametrize("entry", [{"type": "api", "key": "k"}, {"key": " k "}, "k"])
def test_opencode_keeps_an_object_or_a_bare_key(tmp_path, entry):
    write(tmp_path, entry)
    assert keys(tmp_path) == [("OpenCode", "/.local/share/opencode/auth.json", "k")]


def test_the_environment_comes_second(tmp_path):
    assert keys(tmp_path, NANOGPT_API_KEY=" e ") == [("environment", "env:NANOGPT_API_KEY", "e")]
    write(tmp_path, "k")
    assert [token for _, _, token in keys(tmp_path, NANOGPT_API_KEY="e")] == ["k", "e"]


def test_a_blank_variable_is_no_key(tmp_path):
    assert keys(tmp_path, NANOGPT_API_KEY=" ") == []


def test_a_key_or_a_file_may_be_named(tmp_path):
    write(tmp_path, "usual")
    other = write(tmp_path, "other", "other.json")
    assert [token for _, _, token in keys(tmp_path, Overrides(token="mine"))] == ["mine"]
    assert [token for _, _, token in keys(tmp_path, Overrides(credentials=(str(other),)), NANOGPT_API_KEY="e")] == [
        "other"
    ]
