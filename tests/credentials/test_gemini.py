"""Google logins of three places, each account once, with the clients that may renew them."""

import base64
import json
from datetime import UTC, datetime

import pytest

from watcher.credentials import HostInfo, gemini
from watcher.credentials.files import UnusableSourceError
from watcher.errors import NotSignedInError, UnsupportedError
from watcher.polling import fetch
from watcher.providers import Overrides, gemini_cli

CLIENT = {"GEMINI_CLIENT_ID": "client-1", "GEMINI_CLIENT_SECRET": "secret-1"}
OTHER = {"GEMINI_OAUTH_CLIENT_ID": "client-2", "GEMINI_OAUTH_CLIENT_SECRET": "secret-2"}


def machine(home, **env):
    return HostInfo(home=home, env=env, platform="linux", run_command=None, read_database=None)


def write(home, path, content):
    where = home / path
    where.parent.mkdir(parents=True, exist_ok=True)
    where.write_text(content if isinstance(content, str) else json.dumps(content))
    return where


def opencode(home, entry):
    return write(home, ".local/share/opencode/auth.json", {"google": entry})


def accounts(home, *entries):
    return write(home, ".config/opencode/antigravity-accounts.json", {"version": 3, "accounts": list(entries)})


def cli(home, **more):
    content = {
        "access_token": "ya29.x",
        "refresh_token": "1//cli",
        "expiry_date": 1_769_792_702_000,
        "token_type": "Bearer",
    }
    return write(home, ".gemini/oauth_creds.json", {**content, **more})


def id_token(**claims):
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2ln"


def find(home, overrides=None, **env):
    return list(gemini_cli.find_credentials(machine(home, **env), overrides or Overrides()))


def test_opencode_keeps_the_project_beside_the_refresh_token(tmp_path):
    path = opencode(
        tmp_path, {"type": "oauth", "access": "ya29.a", "refresh": "1//r|project|managed", "expires": 1_769_792_702_000}
    )
    (found,) = find(tmp_path, **CLIENT)
    assert (found.path, found.token, found.refresh_token) == (str(path), "ya29.a", "1//r")
    assert found.extra == {"project": "project", "clients": '[["client-1", "secret-1"]]'}
    assert found.expires_at == datetime(2026, 1, 30, 17, 5, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("refresh", "token", "project"),
    [
        ("1//r||managed", "1//r", "managed"),
        ("1//r", "1//r", None),
        ("1//r|", "1//r", None),
        ("1//r|a|b|c", "1//r", "a"),
    ],
)
def test_parts_may_be_missing(tmp_path, refresh, token, project):
    opencode(tmp_path, {"type": "oauth", "refresh": refresh, "access": "", "expires": 0})
    (found,) = find(tmp_path)
    assert (found.refresh_token, found.extra.get("project")) == (token, project)


def test_an_api_key_is_no_login(tmp_path):
    opencode(tmp_path, {"type": "api", "key": "AIza"})
    assert find(tmp_path) == []


def test_every_enabled_account_is_a_login(tmp_path):
    accounts(
        tmp_path,
        {"email": "A@example.com", "refreshToken": "1//a", "projectId": "pa"},
        {"email": "b@example.com", "refreshToken": "1//b", "rateLimitResetTimes": {"gemini-cli": 1_900_000_000_000}},
        {"email": "c@example.com", "refreshToken": "1//c", "enabled": False},
    )
    found = find(tmp_path, **CLIENT)
    assert [(each.account, each.account_name, each.refresh_token) for each in found] == [
        ("a@example.com", "A@example.com", "1//a"),
        ("b@example.com", "b@example.com", "1//b"),
    ]
    assert found[0].extra["project"] == "pa"
    assert found[1].extra["limited_until"] == "2030-03-17T17:46:40+00:00"


def test_the_cli_s_own_login_names_its_owner(tmp_path):
    token = id_token(aud="client-2", email="Me@work.com", sub="123456789012345678901", hd="work.com")
    path = cli(tmp_path, id_token=token, scope="openid email", project_id="mine")
    (found,) = find(tmp_path, **CLIENT, **OTHER)
    assert (found.source_name, found.path, found.token, found.refresh_token) == (
        "Gemini CLI",
        str(path),
        "ya29.x",
        "1//cli",
    )
    assert (found.account, found.account_name) == ("me@work.com", "Me@work.com")
    assert found.expires_at == datetime(2026, 1, 30, 17, 5, 2, tzinfo=UTC)
    assert found.extra == {
        "project": "mine",
        "clients": '[["client-2", "secret-2"], ["client-1", "secret-1"]]',
        "subject": "123456789012345678901",
        "scopes": "openid email",
        "id_token": token,
        "domain": "work.com",
    }


@pytest.mark.parametrize(
    ("audience", "first"),
    [("client-2", "client-2"), (["x", "client-2"], "client-2"), ("x", "client-1"), ([], "client-1"), (7, "client-1")],
)
def test_the_client_that_issued_the_login_is_tried_first(tmp_path, audience, first):
    cli(tmp_path, id_token=id_token(aud=audience, email="me@work.com"))
    (found,) = find(tmp_path, **CLIENT, **OTHER)
    clients = [id_ for id_, _ in json.loads(found.extra["clients"])]
    assert clients[0] == first
    assert sorted(clients) == ["client-1", "client-2"]


@pytest.mark.parametrize(
    ("more", "env", "project"),
    [
        ({"quota_project_id": "q"}, {}, "q"),
        ({"project_id": "p", "quota_project_id": "q"}, {"GEMINI_PROJECT_ID": "e"}, "p"),
        ({}, {"GEMINI_PROJECT_ID": "e"}, "e"),
        ({"project_id": 7}, {}, None),
    ],
)
def test_where_the_cli_s_project_is(tmp_path, more, env, project):
    cli(tmp_path, **more)
    assert find(tmp_path, **env)[0].extra.get("project") == project


def test_the_environment_s_project_is_used_for_the_only_login(tmp_path):
    opencode(tmp_path, {"type": "oauth", "access": "ya29.a", "refresh": "1//r", "expires": 0})
    [only] = find(tmp_path, GEMINI_PROJECT_ID=" e ")
    assert only.extra["project"] == "e"
    accounts(tmp_path, {"email": "other@work.com", "refreshToken": "1//o"})
    assert [each.extra.get("project") for each in find(tmp_path, GEMINI_PROJECT_ID="e")] == [None, None]


@pytest.mark.parametrize("expiry", [1_769_792_702_000, 1_769_792_702_000.0, "1769792702000"])
def test_the_expiry_may_be_any_number(tmp_path, expiry):
    cli(tmp_path, expiry_date=expiry)
    assert find(tmp_path)[0].expires_at == datetime(2026, 1, 30, 17, 5, 2, tzinfo=UTC)


@pytest.mark.parametrize("broken", ["", "a.b", "a.!.c", "e30.WzFd.c2ln", 7])
def test_a_broken_id_token_costs_only_the_name(tmp_path, broken):
    cli(tmp_path, id_token=broken)
    (found,) = find(tmp_path)
    assert (found.account, found.token) == ("", "ya29.x")


@pytest.mark.parametrize("chosen", ["gemini-api-key", "api-key", "vertex-ai"])
def test_a_login_by_key_has_no_quota_to_read(tmp_path, chosen):
    cli(tmp_path)
    path = write(tmp_path, ".gemini/settings.json", {"security": {"auth": {"selectedType": chosen}}})
    with pytest.raises(UnusableSourceError) as caught:
        find(tmp_path)
    (trouble,) = caught.value.errors
    assert isinstance(trouble, UnsupportedError)
    assert str(trouble) == (
        f"{path}: Gemini CLI signs in by {chosen}, which has no quota to read: choose Login with Google in `gemini`"
    )


@pytest.mark.parametrize("settings", [{"security": {"auth": {"selectedType": "oauth-personal"}}}, {}, {"security": 3}])
def test_other_settings_change_nothing(tmp_path, settings):
    cli(tmp_path)
    write(tmp_path, ".gemini/settings.json", settings)
    assert len(find(tmp_path)) == 1


def test_one_account_in_three_places_is_asked_once(tmp_path):
    opencode(tmp_path, {"type": "oauth", "access": "ya29.a", "refresh": "1//a", "expires": 0})
    accounts(tmp_path, {"email": "me@example.com", "refreshToken": "1//a", "projectId": "pa"})
    cli(tmp_path, id_token=id_token(email="ME@example.com"))
    (found,) = fetch.find_logins(gemini_cli.PROVIDER, machine(tmp_path)).credentials
    assert (found.source_name, found.account, found.extra["project"]) == ("OpenCode", "me@example.com", "pa")


def test_the_login_that_is_used_knows_what_the_account_s_others_know(tmp_path):
    """The project, without which every model seems full; the plan's domain; and when the plugin was refused."""
    expired = {"type": "oauth", "access": "ya29.a", "refresh": "1//a", "expires": 1_700_000_000_000}
    opencode(tmp_path, expired)
    accounts(
        tmp_path,
        {
            "email": "me@example.com",
            "refreshToken": "1//a",
            "projectId": "pa",
            "rateLimitResetTimes": {"gemini-cli": 1_900_000_000_000},
        },
    )
    cli(tmp_path, id_token=id_token(email="me@example.com", hd="example.com"))
    (found,) = fetch.find_logins(gemini_cli.PROVIDER, machine(tmp_path, GEMINI_PROJECT_ID="env")).credentials
    assert (found.source_name, found.extra["project"], found.extra["domain"]) == ("OpenCode", "pa", "example.com")
    assert gemini.LIMITED_UNTIL_KEY in found.extra
    accounts(tmp_path, {"email": "me@example.com", "refreshToken": "1//a"})
    (found,) = fetch.find_logins(gemini_cli.PROVIDER, machine(tmp_path, GEMINI_PROJECT_ID="env")).credentials
    assert found.extra["project"] == "env"


def test_a_nameless_cli_login_counts_only_where_it_is_alone(tmp_path):
    cli(tmp_path)
    assert [each.source_name for each in find(tmp_path)] == ["Gemini CLI"]
    accounts(tmp_path, {"email": "me@example.com", "refreshToken": "1//a"})
    assert [each.account for each in find(tmp_path)] == ["me@example.com"]


def test_a_broken_place_hides_no_good_one(tmp_path):
    broken = write(tmp_path, ".local/share/opencode/auth.json", "{")
    cli(tmp_path)
    with pytest.raises(UnusableSourceError) as caught:
        find(tmp_path)
    assert [each.source_name for each in caught.value.credentials] == ["Gemini CLI"]
    assert str(broken) in str(caught.value)


def test_a_broken_cli_login_is_an_error_with_a_hint(tmp_path):
    path = write(tmp_path, ".gemini/oauth_creds.json", "{")
    with pytest.raises(NotSignedInError) as caught:
        gemini.find_in_cli(machine(tmp_path))
    assert str(caught.value) == f"{path} is not JSON: run `gemini` once and sign in with Google"


def test_token_file_and_accounts_are_configurable(tmp_path):
    accounts(tmp_path, {"email": "usual@example.com", "refreshToken": "1//u"})
    (found,) = find(tmp_path, Overrides(token="ya29.mine"))
    assert (found.source_name, found.token) == ("config", "ya29.mine")
    other = write(tmp_path, "other.json", {"accounts": [{"email": "o@example.com", "refreshToken": "1//o"}]})
    assert [each.account for each in find(tmp_path, Overrides(accounts=str(other)))] == ["o@example.com"]
    creds = write(tmp_path, "creds.json", {"access_token": "ya29.f", "refresh_token": "1//f"})
    assert [each.token for each in find(tmp_path, Overrides(credentials=(str(creds),)))] == ["ya29.f"]
    auth = write(tmp_path, "auth.json", {"google": {"type": "oauth", "access": "ya29.o", "refresh": "1//o"}})
    assert [each.token for each in find(tmp_path, Overrides(credentials=(str(auth),)))] == ["ya29.o"]


def test_clients_come_from_the_environment_and_from_an_installed_cli(tmp_path):
    script = write(
        tmp_path, "oauth2.js", "const OAUTH_CLIENT_ID = 'client-3';\nconst OAUTH_CLIENT_SECRET = \"secret-3\";\n"
    )
    env = {**CLIENT, **OTHER, "GEMINI_OAUTH2_JS_PATH": str(script)}
    assert gemini.find_clients(env) == [("client-1", "secret-1"), ("client-2", "secret-2"), ("client-3", "secret-3")]
    assert gemini.find_clients({"GEMINI_CLIENT_ID": "half"}) == []
    assert gemini.find_clients({"GEMINI_OAUTH2_JS_PATH": str(tmp_path / "gone.js")}) == []


def test_secrets_do_not_show(tmp_path):
    cli(tmp_path)
    assert "secret-1" not in repr(find(tmp_path, **CLIENT))


def test_a_file_without_a_token_is_an_error(tmp_path):
    path = write(tmp_path, ".gemini/oauth_creds.json", {"token_type": "Bearer"})
    with pytest.raises(NotSignedInError) as caught:
        gemini.find_in_cli(machine(tmp_path))
    assert str(caught.value) == f"{path} holds no token: run `gemini` once and sign in with Google"


def test_a_named_file_is_known_by_its_shape(tmp_path):
    path = write(tmp_path, "named.json", {"accounts": [{"email": "o@example.com", "refreshToken": "1//o"}]})
    assert [each.account for each in find(tmp_path, Overrides(credentials=(str(path),)))] == ["o@example.com"]


def test_a_named_accounts_file_that_is_missing_is_an_error(tmp_path):
    path = tmp_path / "gone.json"
    (failure,) = fetch.find_logins(gemini_cli.PROVIDER, machine(tmp_path), Overrides(accounts=str(path))).failures
    assert failure.message == f"{path} does not exist: look at `accounts` under [providers.gemini_cli]"
