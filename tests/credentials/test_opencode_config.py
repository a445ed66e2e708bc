import json
from pathlib import Path

import pytest

from watcher.credentials import HostInfo, opencode


def nowhere(question):
    raise AssertionError(f"asked {question}")


def machine(home: Path, platform: str = "linux", **env: str) -> HostInfo:
    return HostInfo(home=home, env=env, platform=platform, run_command=nowhere, read_database=nowhere)


def write(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def base_url(host_info: HostInfo, provider: str) -> str:
    return opencode.find_option(host_info, provider, "baseURL")


def named(server: str) -> dict:
    return {"provider": {"openai": {"options": {"baseURL": server}}}}


@pytest.mark.parametrize(
    ("platform", "file", "env"),
    [
        ("linux", ".config/opencode/opencode.json", {}),
        ("linux", ".config/opencode/opencode.jsonc", {}),
        ("linux", "xdg/opencode/opencode.json", {"XDG_CONFIG_HOME": "{home}/xdg"}),
        ("darwin", "own/opencode.json", {"OPENCODE_CONFIG_DIR": "{home}/own"}),
        ("linux", "mine.json", {"OPENCODE_CONFIG": "{home}/mine.json"}),
        ("win32", "AppData/Roaming/opencode/opencode.json", {"APPDATA": "{home}/AppData/Roaming"}),
    ],
)
def test_the_server_of_a_provider_is_found_in_every_place(tmp_path, platform, file, env):
    write(tmp_path / file, named(" http://127.0.0.1:2455/v1 "))
    env = {name: text.replace("{home}", str(tmp_path)) for name, text in env.items()}
    assert base_url(machine(tmp_path, platform, **env), "openai") == "http://127.0.0.1:2455/v1"
    assert base_url(machine(tmp_path, platform, **env), "anthropic") == ""


def test_the_config_may_hold_comments(tmp_path):
    text = """{ // "a" comment
      /* and "another", */
      "provider": {"openai": {"options": {"x": "a,] \\" // b", "baseURL": "http://127.0.0.1:2455/v1",},},},
    }"""
    write(tmp_path / ".config/opencode/opencode.jsonc", text)
    assert base_url(machine(tmp_path), "openai") == "http://127.0.0.1:2455/v1"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "5", "null", named(""), named(5), {"provider": {"openai": "x"}}, {"provider": None}]
)
def test_a_config_that_names_no_server_leaves_it_to_the_next(tmp_path, content):
    write(tmp_path / "xdg/opencode/opencode.json", content)
    host_info = machine(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "xdg"))
    assert base_url(host_info, "openai") == ""
    write(tmp_path / ".config/opencode/opencode.json", named("https://proxy.example.com"))
    assert base_url(host_info, "openai") == "https://proxy.example.com"
