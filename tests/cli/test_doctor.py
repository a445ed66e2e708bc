import json

import pytest

from tests.doctor.host import SECRETS, FakeHost
from watcher.cli import app
from watcher.system import environment


@pytest.fixture
def host(tmp_path, monkeypatch):
    found = FakeHost(tmp_path)
    monkeypatch.setattr(environment, "create_environment", found.environment)
    monkeypatch.setenv("COLUMNS", "90")
    return found


def test_a_failure_is_exit_code_1_and_comes_with_its_fix(host, capsys):
    path = host.sign_in_to_claude()
    del host.env["TEAM_URL"]
    assert app.run(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "rules"
    assert any(line.startswith("  fail  team: its secret cannot be read: the environment variable") for line in lines)
    assert "        -> set it, then watcher notify test team" in lines
    assert str(path) in "".join(lines)
    assert lines[-1].endswith(" failed")


def test_warnings_alone_are_exit_code_0(host, capsys):
    host.sign_in_to_claude()
    host.config('[channels.team]\ntype = "slack"\nurl = "env:TEAM_URL"\n[[rule]]\nname = "a"\nwhen = "claude > 80%"\n')
    assert app.run(["doctor"]) == 0
    assert "fail" not in capsys.readouterr().out


def test_no_line_is_wider_than_the_terminal_except_for_a_long_word(host, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    host.sign_in_to_gemini()
    app.run(["doctor", "--provider", "gemini_cli"])
    wide = [line for line in capsys.readouterr().out.splitlines() if len(line) > 60]
    assert all(len(line.split()[-1]) > 30 for line in wide), wide


def test_one_provider_is_shown_with_every_fact_of_its_login(host, capsys):
    id_token = host.sign_in_to_gemini()
    assert app.run(["doctor", "--provider", "gemini_cli"]) == 0
    text = capsys.readouterr().out
    facts = {
        line.split("  ")[0]: line.split("  ")[-1].strip() for line in map(str.strip, text.splitlines()) if "  " in line
    }
    assert facts["email"] == "me@work.example"
    assert facts["account id"] == "123456789012345678901"
    assert facts["scopes"] == "openid, https://www.googleapis.com/auth/cloud-platform"
    assert facts["expires"] == "2026-03-04 10:00 UTC"
    assert facts["refresh token"].startswith("present, 36 characters, 1//pla")
    for secret in (SECRETS["gemini"], SECRETS["gemini refresh"], id_token):
        assert secret not in text
    assert "claude" not in text


def test_the_document_holds_every_finding_and_no_secret(host, capsys):
    host.sign_in_to_claude()
    host.sign_in_to_gemini()
    app.run(["doctor", "--json"])
    text = capsys.readouterr().out
    document = json.loads(text)
    assert document["schema"] == "watcher.doctor.v1"
    assert set(document["checks"][0]) == {"group", "subject", "verdict", "message", "cure", "provider", "facts"}
    assert document["ok"] == all(each["verdict"] != "fail" for each in document["checks"])
    groups = list(dict.fromkeys(each["group"] for each in document["checks"]))
    assert groups == ["rules", "logins", "answers", "channels", "watching", "database", "files", "clock"]
    for secret in SECRETS.values():
        assert secret not in text


def test_a_config_with_a_mistake_leaves_the_rest_examined(host, capsys):
    host.config("[channels.desktop\n")
    assert app.run(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "-> watcher rules check" in text
    assert "login item" in text


def test_long_sentences_are_wrapped_and_no_path_is_broken(host, capsys):
    path = host.sign_in_to_claude()
    app.run(["doctor"])
    out = capsys.readouterr().out
    assert str(path) in out
    assert all(len(line) <= 90 or str(host.home.parent) in line for line in out.splitlines())


def test_what_a_file_says_cannot_move_the_cursor(host, capsys):
    host.config('[[rule]]\nname = "a\\u001b[2Jb"\nwhen = "nobody > 1"\n')
    assert app.run(["doctor"]) == 1
    assert "\x1b" not in capsys.readouterr().out


def test_a_poor_terminal_gets_what_it_can_show(empty_home):
    login = empty_home.folder / "home" / "jürgen.json"
    login.write_text("{}")
    empty_home.paths.config_dir.mkdir()
    empty_home.paths.config_file.write_text(f'[providers.claude]\ncredentials = "{login}"\n')
    done = empty_home.watcher("doctor", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert (done.returncode, done.stderr) == (1, "")
    assert "j?rgen.json" in done.stdout


def test_an_unknown_provider_is_misuse(host, capsys):
    assert host.paths.config_file.exists()
    assert app.run(["doctor", "--provider", "claud"]) == 64
    assert "no provider is called `claud`; did you mean `claude`?" in capsys.readouterr().err
