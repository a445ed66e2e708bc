"""The plugin's account file in its four versions."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from watcher.credentials import HostInfo, files
from watcher.credentials.gemini import ANTIGRAVITY_POOLS, CLI_POOLS, LIMITED_UNTIL_KEY, find_in_accounts
from watcher.errors import NotSignedInError

LATER_MS = 1_900_000_000_000
LATER = datetime.fromtimestamp(LATER_MS / 1000, UTC)


def machine(home, platform="linux", **env):
    return HostInfo(home=home, env=env, platform=platform, run_command=None, read_database=None)


def write(home, content, folder=".config/opencode"):
    path = Path(home, folder, "antigravity-accounts.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def account(name, **more):
    return {"email": f"{name}@example.com", "refreshToken": f"1//{name}", "projectId": f"{name}-project", **more}


def names(found):
    return [each.account_name.partition("@")[0] for each in found]


@pytest.mark.parametrize(
    ("version", "limits", "cli", "antigravity"),
    [
        (1, {"isRateLimited": True, "rateLimitResetTime": LATER_MS}, None, LATER),
        (2, {"rateLimitResetTimes": {"gemini": LATER_MS}}, None, LATER),
        (2, {"rateLimitResetTimes": {"claude": LATER_MS, "gemini": 1}}, None, LATER),
        (3, {"rateLimitResetTimes": {"gemini-cli": LATER_MS, "gemini-antigravity": "soon"}}, LATER, None),
        (3, {"rateLimitResetTimes": {"gemini-cli:gemini-2.5-pro": LATER_MS}}, LATER, None),
        (4, {"rateLimitResetTimes": {"gemini-antigravity": LATER_MS, "gemini-antigravity:x": 5}}, None, LATER),
        (4, {"rateLimitResetTimes": {"another": LATER_MS, "gemini-cli": True}}, None, None),
        (4, {"rateLimitResetTimes": [LATER_MS], "cachedQuota": {"claude": {"remainingFraction": 0}}}, None, None),
        (99, {"rateLimitResetTimes": {"gemini-cli": str(LATER_MS)}}, LATER, None),
        (None, {}, None, None),
    ],
)
def test_every_version_is_read_and_its_refusals_are_of_the_pool_that_they_name(
    tmp_path, version, limits, cli, antigravity
):
    path = write(
        tmp_path, {"version": version, "accounts": [account("a", addedAt=1, lastUsed=2, **limits)], "activeIndex": 0}
    )
    for pools, until in ((CLI_POOLS, cli), (ANTIGRAVITY_POOLS, antigravity)):
        (found,) = find_in_accounts(machine(tmp_path), pools=pools)
        assert (found.account, found.refresh_token, found.extra["project"]) == ("a@example.com", "1//a", "a-project")
        assert found.path == str(path)
        assert found.extra.get(LIMITED_UNTIL_KEY) == (until.isoformat() if until else None)


def test_the_managed_project_is_the_fallback(tmp_path):
    write(
        tmp_path,
        {"accounts": [account("a", projectId=" ", managedProjectId=" managed "), account("b", projectId=None)]},
    )
    assert [each.extra.get("project", "") for each in find_in_accounts(machine(tmp_path))] == ["managed", ""]


def test_disabled_accounts_are_left_out(tmp_path):
    write(tmp_path, {"accounts": [account("a", enabled=False), account("b", enabled=True), account("c")]})
    assert names(find_in_accounts(machine(tmp_path))) == ["b", "c"]


@pytest.mark.parametrize(
    ("index", "order"),
    [
        ({"activeIndexByFamily": {"gemini": 2, "claude": 0}, "activeIndex": 1}, "cab"),
        ({"activeIndexByFamily": {"claude": 0}, "activeIndex": 1}, "bac"),
        ({"activeIndex": 9}, "cab"),
        ({"activeIndex": -3}, "abc"),
        ({"activeIndexByFamily": [], "activeIndex": True}, "abc"),
        ({}, "abc"),
    ],
)
def test_the_active_account_comes_first(tmp_path, index, order):
    write(tmp_path, {"accounts": [account(name) for name in "abc"], **index})
    assert "".join(names(find_in_accounts(machine(tmp_path)))) == order


def test_an_active_account_that_is_disabled_is_passed_over(tmp_path):
    write(tmp_path, {"accounts": [account("a"), account("b", enabled=False)], "activeIndex": 1})
    assert names(find_in_accounts(machine(tmp_path))) == ["a"]


def test_of_one_email_the_login_used_last_counts_and_nameless_ones_stay(tmp_path):
    accounts = [
        account("a", refreshToken="old", lastUsed=1),
        {"refreshToken": "nameless 1"},
        account("A", refreshToken="new", lastUsed=2, email="A@Example.com"),
        {"refreshToken": "nameless 2"},
        account("a", refreshToken="older", addedAt=5),
    ]
    write(tmp_path, {"accounts": accounts})
    assert {each.refresh_token for each in find_in_accounts(machine(tmp_path))} == {"nameless 1", "new", "nameless 2"}


def test_an_odd_entry_costs_only_itself(tmp_path):
    write(
        tmp_path,
        {"accounts": [None, {"email": "x"}, {"refreshToken": 7}, account("a", lastUsed="soon", enabled="yes")]},
    )
    assert names(find_in_accounts(machine(tmp_path))) == ["a"]


@pytest.mark.parametrize(
    ("content", "trouble"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no JSON object"),
        ({}, "holds no list of accounts"),
        ({"accounts": [{"email": "x"}]}, "holds no account that can be used"),
    ],
)
def test_an_unusable_file_is_an_error(tmp_path, content, trouble):
    path = write(tmp_path, content)
    with pytest.raises(NotSignedInError) as caught:
        find_in_accounts(machine(tmp_path))
    assert str(caught.value) == f"{path} {trouble}: sign in again with `opencode auth login`"


def test_no_file_and_no_accounts_are_no_logins(tmp_path):
    assert find_in_accounts(machine(tmp_path)) == []
    write(tmp_path, {"accounts": []})
    assert find_in_accounts(machine(tmp_path)) == []


def test_a_file_that_is_being_replaced_is_looked_for_again(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "wait_for_writer", lambda: write(tmp_path, {"accounts": [account("a")]}))
    path = tmp_path / ".config/opencode/antigravity-accounts.json"
    path.with_name(f"{path.name}.lock").mkdir(parents=True)
    found = find_in_accounts(machine(tmp_path))
    assert names(found) == ["a"]


@pytest.mark.parametrize(
    ("platform", "env", "folder"),
    [
        ("linux", {"OPENCODE_CONFIG_DIR": "{home}/own"}, "own"),
        ("linux", {"XDG_CONFIG_HOME": "{home}/xdg"}, "xdg/opencode"),
        ("linux", {"XDG_CONFIG_HOME": "xdg"}, ".config/opencode"),
        ("darwin", {}, ".config/opencode"),
        ("win32", {}, ".config/opencode"),
        ("win32", {"APPDATA": "{home}/roaming"}, "roaming/opencode"),
    ],
)
def test_the_places_of_every_system(tmp_path, platform, env, folder):
    write(tmp_path, {"accounts": [account("a")]}, folder)
    env = {name: value.format(home=tmp_path) for name, value in env.items()}
    assert names(find_in_accounts(machine(tmp_path, platform, **env))) == ["a"]


def test_another_file_may_be_named(tmp_path):
    write(tmp_path, {"accounts": [account("a")]})
    other = write(tmp_path, {"accounts": [account("b")]}, "other")
    assert names(find_in_accounts(machine(tmp_path), str(other))) == ["b"]
