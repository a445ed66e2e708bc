"""What may be shown of a login: enough to tell one from another, never enough to use it."""

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_logins_unchanged import FILES
from watcher.core.model import CommandResult, QueryResult
from watcher.credentials import Credential, HostInfo, gemini
from watcher.doctor.providers import describe_credential
from watcher.polling import fetch
from watcher.providers import Overrides
from watcher.providers.registry import PROVIDERS, RESERVED_IDS

NOW = datetime(2026, 1, 30, 12, tzinfo=UTC)


def test_the_facts_of_gemini_s_own_file(tmp_path):
    payload = {"iss": "https://accounts.google.com", "email": "me@work.com", "sub": "123456789012345678901"}
    id_token = "e30." + base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=") + ".c2lnbmF0dXJl"
    folder = tmp_path / ".gemini"
    folder.mkdir()
    content = {
        "access_token": "ya29.secret-access-token",
        "refresh_token": "1//secret-refresh-token",
        "id_token": id_token,
        "scope": "openid https://www.googleapis.com/auth/cloud-platform",
        "expiry_date": 1_769_778_302_000,
        "quota_project_id": "my-project",
    }
    (folder / "oauth_creds.json").write_text(json.dumps(content))
    client = {"GEMINI_CLIENT_ID": "client-1.apps.googleusercontent.com", "GEMINI_CLIENT_SECRET": "a-secret"}
    host_info = HostInfo(home=tmp_path, env=client, platform="linux", run_command=None, read_database=None)
    (credential,) = gemini.find_in_cli(host_info)
    assert describe_credential(credential) == {
        "place": "Gemini CLI",
        "source": str(folder / "oauth_creds.json"),
        "account": "me@work.com",
        "email": "me@work.com",
        "account id": "123456789012345678901",
        "access token": "present, 24 characters, ya29.s...oken",
        "refresh token": "present, 23 characters, 1//sec...oken",
        "id token": f"present, {len(id_token)} characters, {id_token[:6]}...dXJl",
        "expires": "2026-01-30 13:05 UTC",
        "scopes": "openid, https://www.googleapis.com/auth/cloud-platform",
        "project": "my-project",
    }


def test_the_other_places_of_an_account_are_named():
    spares = tuple(
        Credential(provider="copilot", source_name="x", path=path, token="gho_x") for path in ("/b", "/c", "/b")
    )
    login = Credential(provider="copilot", source_name="OpenCode", path="/a", token="gho_a", fallbacks=spares)
    assert describe_credential(login)["also in"] == "/b, /c"
    assert "also in" not in describe_credential(spares[0])


def test_a_missing_token_is_shown_as_missing():
    found = describe_credential(Credential(provider="gemini_cli", source_name="x", path="y", token=""))
    assert found == {"place": "x", "source": "y", "access token": "missing", "refresh token": "missing"}


@pytest.mark.parametrize(
    ("expires_at", "said"),
    [
        (None, "not said"),
        (datetime(2026, 1, 31, tzinfo=UTC), "2026-01-31 00:00 UTC"),
        (datetime(2026, 1, 29, tzinfo=UTC), "2026-01-29 00:00 UTC"),
    ],
)
def test_when_a_login_ends(expires_at, said):
    credential = Credential(provider="claude", source_name="x", path="y", token="t", expires_at=expires_at)
    assert describe_credential(credential)["expires"] == said


def test_every_provider_s_login_can_be_shown():
    credential = Credential(
        provider="antigravity",
        source_name="Antigravity",
        path="/state.vscdb",
        token="ya29.secret-access-token",
        account="me@example.com",
        account_name="Me@Example.com",
        extra={"oauth_blob": "a-long-secret-blob-of-text", "host": "acme.ghe.com", "account_id": "acct"},
    )
    found = describe_credential(credential)
    assert found["sign-in blob"] == "present, 26 characters, a-long...text"
    assert (found["host"], found["account id"], found["account"]) == ("acme.ghe.com", "acct", "Me@Example.com")


@given(
    st.dictionaries(
        st.sampled_from(["email", "sub"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()),
    )
)
def test_any_claim_can_be_shown(claims):
    token = "e30." + base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=") + ".x"
    found = describe_credential(Credential(provider="gemini_cli", source_name="x", path="y", extra={"id_token": token}))
    assert all(isinstance(fact, str) and fact for fact in found.values())


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=list(PROVIDERS))
def test_what_is_shown_of_each_providers_logins_holds_no_secret(provider, tmp_path):
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    cache = {"email": "user@example.com", "apiKey": "ya29.secret-of-the-editor"}
    env = {"GEMINI_CLIENT_ID": "client", "GEMINI_CLIENT_SECRET": "a-secret-of-the-client"}
    rows = QueryResult(rows=((json.dumps(cache), "a-long-secret-blob-of-text"),), modified_at=NOW, received_at=NOW)
    around = HostInfo(
        home=tmp_path,
        env=env,
        platform="linux",
        run_command=lambda _: CommandResult(exit_code=1),
        read_database=lambda _: rows,
    )
    (tmp_path / ".config/Antigravity/User/globalStorage").mkdir(parents=True)
    (tmp_path / ".config/Antigravity/User/globalStorage/state.vscdb").touch()
    overrides = None if provider.id in RESERVED_IDS else Overrides(token="a-secret-of-another-vendor")
    logins = fetch.find_logins(provider, around, overrides).credentials
    assert logins
    for login in logins:
        shown = describe_credential(login)
        secrets = [login.token, login.refresh_token, *(login.extra.get(key, "") for key in ("id_token", "oauth_blob"))]
        assert any(secrets)
        for secret in filter(None, [*secrets, "a-secret-of-the-client"]):
            assert not any(secret in fact for fact in shown.values()), secret
        assert shown["access token"].startswith("present, ") == bool(login.token)
        assert shown["place"] == login.source_name
        assert (shown.get("expires") == "not said") == (login.expires_at is None and bool(login.token))
        assert shown.get("account", "") == (login.account_name or login.account)
