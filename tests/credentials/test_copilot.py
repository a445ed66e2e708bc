"""GitHub tokens of four places and three systems."""

import base64
import json

import pytest

from watcher.core.model import CommandResult
from watcher.credentials import HostInfo, copilot, keyrings
from watcher.credentials.files import UnusableSourceError
from watcher.errors import NotSignedInError
from watcher.polling import fetch
from watcher.providers import Overrides
from watcher.providers.copilot import PROVIDER, find_credentials


def machine(home, platform="linux", run=None, **env):
    return HostInfo(home=home, env=env, platform=platform, run_command=run, read_database=None)


def write(home, path, content):
    where = home / path
    where.parent.mkdir(parents=True, exist_ok=True)
    where.write_text(content if isinstance(content, str) else json.dumps(content))
    return where


def found(host_info, **overrides):
    logins = fetch.find_logins(PROVIDER, host_info, Overrides(**overrides)).credentials
    return [(each.source_name, each.token, each.account_name) for each in logins]


def test_opencode_comes_first(tmp_path):
    entry = {"type": "oauth", "access": "gho_a", "refresh": "gho_a", "expires": 0}
    write(tmp_path, ".local/share/opencode/auth.json", {"github-copilot": entry})
    write(tmp_path, ".config/github-copilot/hosts.json", {"github.com": {"user": "octocat", "oauth_token": "gho_b"}})
    assert found(machine(tmp_path)) == [("OpenCode", "gho_a", ""), ("GitHub Copilot", "gho_b", "octocat")]


@pytest.mark.parametrize(
    ("access", "refresh", "token"),
    [
        ("gho_a", "gho_a", "gho_a"),
        ("tid=1;exp=2;sku=x", "gho_a", "gho_a"),
        ("gho_a", "", "gho_a"),
        ("of-another-kind", "no-token-of-github", "of-another-kind"),
    ],
)
def test_github_s_own_token_is_taken_of_the_two_that_opencode_keeps(tmp_path, access, refresh, token):
    path = tmp_path / ".local/share/opencode/auth.json"
    path.parent.mkdir(parents=True)
    login = {"type": "oauth", "access": access, "refresh": refresh, "expires": 0}
    path.write_text(json.dumps({"github-copilot": login}))
    (found,) = find_credentials(machine(tmp_path), Overrides())
    assert found.token == token


def test_enterprise_has_its_own_host(tmp_path):
    entry = {"type": "oauth", "access": "gho_a", "enterpriseUrl": "https://acme.ghe.com/"}
    write(tmp_path, ".local/share/opencode/auth.json", {"github-copilot": entry})
    (credential,) = find_credentials(machine(tmp_path), Overrides())
    assert credential.extra == {"host": "acme.ghe.com"}


def test_hosts_come_before_apps_and_each_user_once(tmp_path):
    write(
        tmp_path,
        ".config/github-copilot/apps.json",
        {
            "github.com:Iv1.abc": {"user": "Octocat", "oauth_token": "gho_apps", "githubAppId": "Iv1.abc"},
            "github.com:Iv2.abc": {"user": "second", "oauth_token": "gho_second"},
            "acme.ghe.com": {"user": "octocat", "oauth_token": "gho_acme"},
        },
    )
    write(
        tmp_path, ".config/github-copilot/hosts.json", {"github.com": {"user": "octocat", "oauth_token": "gho_hosts"}}
    )
    assert found(machine(tmp_path)) == [
        ("GitHub Copilot", "gho_hosts", "octocat"),
        ("GitHub Copilot", "gho_second", "second"),
        ("GitHub Copilot", "gho_acme", "octocat"),
    ]


@pytest.mark.parametrize(
    ("platform", "env", "folder"),
    [
        ("linux", {"XDG_CONFIG_HOME": "{home}/xdg"}, "xdg"),
        ("linux", {"XDG_CONFIG_HOME": "xdg"}, ".config"),
        ("darwin", {}, "Library/Application Support"),
        ("win32", {}, "AppData/Local"),
        ("win32", {"LOCALAPPDATA": "{home}/local"}, "local"),
        ("win32", {}, ".config"),
    ],
)
def test_the_editors_places(tmp_path, platform, env, folder):
    write(tmp_path, f"{folder}/github-copilot/apps.json", {"github.com": {"oauth_token": "gho_a"}})
    env = {name: value.format(home=tmp_path) for name, value in env.items()}
    run = lambda command: CommandResult(exit_code=44)  # noqa: E731, ARG005
    assert found(machine(tmp_path, platform, run, **env)) == [("GitHub Copilot", "gho_a", "")]


GH = """\
# a comment
github.com:
    git_protocol: https
    users:
        octocat:
            oauth_token: gho_octo
        second:
            oauth_token: "gho_second"
    user: octocat
    oauth_token: gho_octo
acme.ghe.com:
    oauth_token: gho_acme
    user: me
"""


@pytest.mark.parametrize(
    ("platform", "env", "folder"),
    [
        ("linux", {}, ".config/gh"),
        ("darwin", {}, ".config/gh"),
        ("linux", {"XDG_CONFIG_HOME": "{home}/xdg"}, "xdg/gh"),
        ("linux", {"GH_CONFIG_DIR": "{home}/gh"}, "gh"),
        ("win32", {"APPDATA": "{home}/roaming"}, "roaming/GitHub CLI"),
    ],
)
def test_github_cli_with_several_users(tmp_path, platform, env, folder):
    write(tmp_path, f"{folder}/hosts.yml", GH)
    env = {name: value.format(home=tmp_path) for name, value in env.items()}
    run = lambda command: CommandResult(exit_code=44)  # noqa: E731, ARG005
    assert found(machine(tmp_path, platform, run, **env)) == [
        ("GitHub CLI", "gho_octo", "octocat"),
        ("GitHub CLI", "gho_second", "second"),
        ("GitHub CLI", "gho_acme", "me"),
    ]


def test_github_cli_with_the_token_in_the_keyring_is_no_login_and_no_trouble(tmp_path):
    write(tmp_path, ".config/gh/hosts.yml", "github.com:\n    user: octocat\n    git_protocol: ssh\n")
    assert found(machine(tmp_path)) == []


def test_the_keychain_is_asked_on_macos_alone_and_seldom(tmp_path, monkeypatch):
    monkeypatch.setattr(keyrings, "_reads", {})
    asked = []

    def run(command):
        asked.append(command.argv[3])
        packed = "go-keyring-base64:" + base64.b64encode(b"gho_gh").decode()
        return CommandResult(exit_code=0, stdout={"copilot-cli": "gho_cli\n", "gh:github.com": packed}[command.argv[3]])

    mac = machine(tmp_path, "darwin", run)
    for _ in range(3):
        assert found(mac) == [("Copilot CLI", "gho_cli", "")]
    assert asked == ["copilot-cli", "gh:github.com"]
    assert found(machine(tmp_path, "linux", run)) == []


def test_github_cli_is_asked_only_for_hosts_that_have_no_other_login(tmp_path, monkeypatch):
    """Its tokens are often refused: one must not be reported as a failure beside a login that works."""
    monkeypatch.setattr(keyrings, "_reads", {})
    write(tmp_path, ".config/gh/hosts.yml", GH)
    everywhere = [("GitHub CLI", "gho_octo"), ("GitHub CLI", "gho_second"), ("GitHub CLI", "gho_acme")]
    assert [login[:2] for login in found(machine(tmp_path))] == everywhere
    write(tmp_path, ".config/github-copilot/hosts.json", {"github.com": {"user": "octocat", "oauth_token": "gho_b"}})
    assert [login[:2] for login in found(machine(tmp_path))] == [
        ("GitHub Copilot", "gho_b"),
        ("GitHub CLI", "gho_acme"),
    ]

    def run(command):
        stdout = "gho_keychain" if command.argv[3] == "gh:github.com" else ""
        return CommandResult(exit_code=0 if stdout else 44, stdout=stdout)

    mac = machine(tmp_path, "darwin", run)
    assert [login[1] for login in found(mac)] == ["gho_b", "gho_acme"]


def test_a_keychain_entry_that_cannot_be_unpacked_is_no_login_and_hides_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(keyrings, "_reads", {})
    packed = {"copilot-cli": "go-keyring-base64:!", "gh:github.com": "go-keyring-base64:/w=="}
    mac = machine(tmp_path, "darwin", lambda command: CommandResult(exit_code=0, stdout=packed[command.argv[3]]))
    write(tmp_path, ".config/github-copilot/hosts.json", {"github.com": {"user": "octocat", "oauth_token": "gho_b"}})
    assert found(mac) == [("GitHub Copilot", "gho_b", "octocat")]


def test_a_token_without_a_name_takes_it_from_another_place(tmp_path):
    entry = {"type": "oauth", "access": "gho_a", "refresh": "gho_a", "expires": 0}
    write(tmp_path, ".local/share/opencode/auth.json", {"github-copilot": entry})
    write(tmp_path, ".config/github-copilot/apps.json", {"github.com:Iv1": {"user": "octocat", "oauth_token": "gho_a"}})
    assert found(machine(tmp_path)) == [("OpenCode", "gho_a", "octocat")]


def test_a_broken_place_hides_no_good_one(tmp_path):
    broken = write(tmp_path, ".config/github-copilot/hosts.json", {"github.com": {"user": "octocat"}})
    write(tmp_path, ".config/github-copilot/apps.json", {"github.com": {"oauth_token": "gho_a"}, "x": 3})
    with pytest.raises(UnusableSourceError) as caught:
        find_credentials(machine(tmp_path), Overrides())
    assert [each.token for each in caught.value.credentials] == ["gho_a"]
    assert str(caught.value) == f"{broken} holds no oauth_token: sign in to GitHub Copilot again in the editor"


@pytest.mark.parametrize(
    ("name", "content", "tokens"),
    [
        ("hosts.json", {"github.com": {"oauth_token": "gho_h"}}, ["gho_h"]),
        ("auth.json", {"github-copilot": {"type": "oauth", "access": "gho_o"}}, ["gho_o"]),
        ("hosts.yml", GH, ["gho_octo", "gho_second", "gho_acme"]),
    ],
)
def test_a_file_may_be_named(tmp_path, name, content, tokens):
    path = write(tmp_path, name, content)
    assert [token for _, token, _ in found(machine(tmp_path), credentials=(str(path),))] == tokens


def test_a_token_may_be_named(tmp_path):
    assert found(machine(tmp_path), token="gho_mine") == [("config", "gho_mine", "")]


def test_a_file_named_that_is_not_there_is_no_login(tmp_path):
    assert found(machine(tmp_path), credentials=(str(tmp_path / "gone.json"),)) == []
    assert copilot.find_in_gh(machine(tmp_path)) == []


def test_invalid_json_is_an_error_with_a_hint(tmp_path):
    path = write(tmp_path, "hosts.json", "{")
    with pytest.raises(NotSignedInError) as caught:
        find_credentials(machine(tmp_path), Overrides(credentials=(str(path),)))
    assert str(caught.value) == f"{path} is not JSON: sign in to GitHub Copilot again in the editor"
