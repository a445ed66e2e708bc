"""The login of Antigravity 2.x and `agy`: the system's keyring, or the token file."""

import base64
import json
import os
import sys
from datetime import UTC, datetime

import pytest
from msgspec import structs

from watcher.core.model import CommandResult
from watcher.credentials import HostInfo, antigravity, keyrings
from watcher.credentials.files import UnusableSourceError
from watcher.system import process

LOGIN = {"token": {"access_token": "ya29.a", "refresh_token": "1//r", "expiry": "2026-11-22T09:00:00.123456789+09:00"}}
TEXT = json.dumps(LOGIN)
UTF16 = TEXT.encode("utf-16-le")


@pytest.fixture(autouse=True)
def no_memory(monkeypatch):
    monkeypatch.setattr(keyrings, "_reads", {})


def machine(home, run, platform="linux"):
    return HostInfo(home=home, env={}, platform=platform, run_command=run, read_database=None)


def answer(stdout="", exit_code=0, *, timed_out=False):
    return lambda _: CommandResult(exit_code=exit_code, stdout=stdout, timed_out=timed_out)


def write_token_file(home, content):
    path = home / antigravity.TOKEN_FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT + "\n",
        json.dumps(LOGIN["token"]),
        "go-keyring-base64:" + base64.b64encode(TEXT.encode()).decode(),
        "go-keyring-base64:" + base64.b64encode(UTF16).decode(),
        UTF16.decode("utf-8", "replace"),
        (b"\xff\xfe" + UTF16).decode("utf-8", "replace"),
        TEXT.encode().hex(),
        UTF16.hex(),
    ],
)
def test_every_form_of_the_keyring_s_value_is_read(tmp_path, text):
    (found,) = antigravity.find_own_login(machine(tmp_path, answer(text)))
    assert (found.token, found.refresh_token, found.path) == ("ya29.a", "1//r", "keyring:gemini/antigravity")
    assert found.expires_at == datetime(2026, 11, 22, 0, 0, 0, 123456, UTC)


@pytest.mark.parametrize(
    ("platform", "argv"),
    [
        ("linux", ("secret-tool", "lookup", "service", "gemini", "username", "antigravity")),
        ("darwin", ("/usr/bin/security", "find-generic-password", "-s", "gemini", "-a", "antigravity", "-w")),
    ],
)
def test_each_system_s_own_tool_is_asked_within_two_seconds(tmp_path, platform, argv):
    commands = []

    def run(command):
        commands.append((command.argv, command.timeout_s))
        return CommandResult(exit_code=0, stdout=TEXT)

    around = machine(tmp_path, run, platform)
    assert antigravity.find_own_login(around) == antigravity.find_own_login(around)
    assert commands == [(argv, 2.0)]  # the second look uses the first answer


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_a_keyring_tool_on_path_is_run(tmp_path, monkeypatch):
    tool = tmp_path / "secret-tool"
    tool.write_text(f"#!/bin/sh\n[ \"$*\" = 'lookup service gemini username antigravity' ] && echo '{TEXT}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (found,) = antigravity.find_own_login(machine(tmp_path, process.run_command))
    assert found.token == "ya29.a"


def test_a_keyring_that_asks_for_a_password_is_reported_once_and_costs_only_itself(tmp_path):
    path = write_token_file(tmp_path, TEXT.encode())
    around = machine(tmp_path, answer(exit_code=None, timed_out=True))
    with pytest.raises(UnusableSourceError, match="the keyring asks for a password: unlock it") as caught:
        antigravity.find_own_login(around)
    assert [each.path for each in caught.value.credentials] == [str(path)]
    assert [each.path for each in antigravity.find_own_login(around)] == [str(path)]


@pytest.mark.parametrize("result", [answer(exit_code=1), answer(exit_code=None), answer("")])
def test_without_an_entry_or_a_tool_the_token_file_is_the_login(tmp_path, result):
    assert antigravity.find_own_login(machine(tmp_path, result)) == []
    path = write_token_file(tmp_path, TEXT.encode())
    (found,) = antigravity.find_own_login(machine(tmp_path, result))
    assert (found.path, found.token) == (str(path), "ya29.a")


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"token": {"access_token": 5}}', b"\xff\xfe"])
def test_a_broken_login_is_one_line(tmp_path, content):
    path = write_token_file(tmp_path, content)
    with pytest.raises(UnusableSourceError) as caught:
        antigravity.find_own_login(machine(tmp_path, answer(exit_code=1)))
    assert str(path) in str(caught.value)
    assert "run `agy` once" in str(caught.value)


def test_a_broken_value_in_the_keyring_is_one_line(tmp_path):
    with pytest.raises(UnusableSourceError, match=r"keyring.* run `agy` once"):
        antigravity.find_own_login(machine(tmp_path, answer("junk")))


@pytest.mark.parametrize("held", [TEXT.encode(), UTF16, b"go-keyring-base64:" + base64.b64encode(TEXT.encode())])
def test_on_windows_the_credential_manager_is_the_keyring(tmp_path, held):
    entries = {"gemini:antigravity": held}
    around = structs.replace(machine(tmp_path, None, "win32"), read_credential=lambda name: entries.get(name, b""))
    (found,) = antigravity.find_own_login(around)
    assert (found.token, found.path) == ("ya29.a", "keyring:gemini/antigravity")


def test_on_windows_the_token_file_is_the_login_without_an_entry(tmp_path):
    around = machine(tmp_path, None, "win32")
    assert antigravity.find_own_login(around) == []
    path = write_token_file(tmp_path, TEXT.encode())
    (found,) = antigravity.find_own_login(around)
    assert (found.path, found.token) == (str(path), "ya29.a")
