"""Antigravity without a login in its cache: the same account is asked for at Google, and no other."""

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.core.model import CommandResult, PollFailure, Request, Response, Snapshot, WindowKind
from watcher.credentials import HostInfo
from watcher.credentials import antigravity as antigravity_logins
from watcher.errors import OfflineError, ShapeChangedError
from watcher.polling import fetch
from watcher.providers import Overrides, antigravity
from watcher.providers.antigravity import PLAN_NAME, PROVIDER
from watcher.system import foreign_databases

NOW = datetime(2026, 11, 22, tzinfo=UTC)
CLIENT = {"GEMINI_CLIENT_ID": "id", "GEMINI_CLIENT_SECRET": "secret"}
HALF = "igIUChIKAUF6DQ0AAAA/EgYI9LqMzQY="
RESET = "2026-11-23T00:00:00Z"
TOKEN = {"access_token": "ya29.new", "expires_in": 3599}
MODELS = {
    "models": {
        "gemini-3.1-pro-high": {
            "displayName": "Gemini 3.1 Pro (High)",
            "quotaInfo": {"remainingFraction": 0.2, "resetTime": RESET},
        },
        "claude-sonnet": {"label": "Claude Sonnet 4.6 (Thinking)", "quotaInfo": {"resetTime": RESET}},
        "gpt": {"modelName": "GPT", "quotaInfo": {"remainingFraction": 1}},
        "odd": {"displayName": "Odd", "quotaInfo": {"remainingFraction": True, "resetTime": 5}},
        "none": {"displayName": "No quota"},
        "junk": 7,
    }
}
FULL = {"models": {"a": {"displayName": "A", "quotaInfo": {"remainingFraction": 1}}}}


def cache(home, **login):
    path = home / ".config/Antigravity/User/globalStorage/state.vscdb"
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE ItemTable (key TEXT UNIQUE ON CONFLICT REPLACE, value BLOB)")
    if login:
        connection.execute("INSERT INTO ItemTable VALUES ('antigravityAuthStatus', ?)", (json.dumps(login),))
    connection.commit()
    connection.close()
    return path


def accounts(home, *emails, path=".config/opencode/antigravity-accounts.json", active=0):
    where = home / path
    where.parent.mkdir(parents=True, exist_ok=True)
    entries = [{"email": email, "refreshToken": f"1//{email}", "projectId": "project-1"} for email in emails]
    where.write_text(json.dumps({"version": 4, "accounts": entries, "activeIndexByFamily": {"gemini": active}}))
    return str(where)


def no_program(_):
    return CommandResult(exit_code=None, stderr="cannot start")


class FakeServer:
    """Google, answering by the method that is asked for; what it does not know is offline."""

    def __init__(self, **answers):
        self.answers = {"token": TOKEN, **answers}
        self.asked: list[Request] = []

    def __call__(self, request):
        self.asked.append(request)
        said = self.answers.get(request.url.rpartition(":")[2].rpartition("/")[2])
        if said is None:
            raise OfflineError("no such server")
        status, body = said if isinstance(said, tuple) else (200, said)
        return Response(status=status, body=json.dumps(body).encode(), received_at=NOW)

    def methods(self):
        return [request.url.rpartition(":")[2].rpartition("/")[2] for request in self.asked]


def asked(home, server, overrides=None, env=CLIENT):
    around = HostInfo(
        home=home,
        env=env,
        platform="linux",
        run_command=no_program,
        read_database=foreign_databases.read_database,
    )
    found = fetch.find_logins(PROVIDER, around, overrides or Overrides(), now=lambda: NOW)
    if not found.credentials:
        return found.failures[0] if found.failures else None
    (credential,) = found.credentials
    return fetch.poll_account(
        PROVIDER,
        credential,
        now=lambda: NOW,
        send=server,
        read_database=foreign_databases.read_database,
        provider_state={},
    )


def test_signed_out_in_the_cache_the_active_account_is_asked_for(tmp_path):
    cache(tmp_path)
    accounts(tmp_path, "other@x.io", "me@x.io", active=1)
    server = FakeServer(fetchAvailableModels=MODELS)
    snapshot = asked(tmp_path, server)
    assert isinstance(snapshot, Snapshot), snapshot
    assert (snapshot.account, snapshot.plan) == ("me@x.io", PLAN_NAME)
    assert {each.window: each.used_percent for each in snapshot.readings} == {
        "gemini_3_1_pro_high": pytest.approx(80),
        "claude_sonnet_4_6_thinking": None,
        "gpt": None,
        "odd": None,
    }
    assert snapshot.readings[0].resets_at == datetime(2026, 11, 23, tzinfo=UTC)
    assert all(each.low_confidence for each in snapshot.readings)
    assert not any(each.stale for each in snapshot.readings)
    assert "there is no login in Antigravity's cache" in snapshot.note
    assert server.methods() == ["token", "retrieveUserQuotaSummary", "fetchAvailableModels"]
    assert server.asked[0].form["refresh_token"] == "1//me@x.io"
    assert server.asked[1].json == {"project": "project-1"}
    assert server.asked[1].headers["Authorization"] == "Bearer ya29.new"


@pytest.mark.parametrize(
    ("pool", "said"), [("gemini-antigravity", True), ("claude:sonnet", True), ("gemini-cli", False)]
)
def test_a_plugin_s_refusal_in_antigravity_s_pools_is_noted(tmp_path, pool, said):
    cache(tmp_path)
    path = Path(accounts(tmp_path, "me@x.io"))
    content = json.loads(path.read_text("utf-8"))
    content["accounts"][0]["rateLimitResetTimes"] = {pool: 1_900_000_000_000}
    path.write_text(json.dumps(content), encoding="utf-8")
    snapshot = asked(tmp_path, FakeServer(fetchAvailableModels=MODELS))
    assert ("OpenCode's plugin was refused until 2030-03-17" in snapshot.note) is said


@pytest.mark.parametrize(("reset", "asks"), [("2026-11-23T00:00:00Z", 2), ("2026-11-22T00:01:30Z", 3)])
def test_google_is_asked_every_five_minutes_and_after_a_reset_however_often_the_cache_is_looked_at(
    tmp_path, reset, asks
):
    cache(tmp_path)
    accounts(tmp_path, "me@x.io")
    model = {"displayName": "A", "quotaInfo": {"remainingFraction": 0.5, "resetTime": reset}}
    server = FakeServer(fetchAvailableModels={"models": {"a": model}})
    around = HostInfo(
        home=tmp_path,
        env=CLIENT,
        platform="linux",
        run_command=no_program,
        read_database=foreign_databases.read_database,
    )
    (credential,) = fetch.find_logins(PROVIDER, around).credentials
    kept = {}
    for minute in (0, 1, 5):
        at = NOW + timedelta(minutes=minute, seconds=30 * minute)
        snapshot = fetch.poll_account(
            PROVIDER,
            credential,
            now=lambda at=at: at,
            send=server,
            read_database=foreign_databases.read_database,
            provider_state=kept,
        )
        assert [each.used_percent for each in snapshot.readings] == [50]
    assert server.methods().count("fetchAvailableModels") == asks


def test_a_cache_that_has_a_login_is_enough(tmp_path):
    cache(tmp_path, email="me@x.io", userStatusProtoBinaryBase64=HALF)
    accounts(tmp_path, "me@x.io")
    server = FakeServer()
    assert [each.used_percent for each in asked(tmp_path, server).readings] == [50]
    assert server.asked == []


@pytest.mark.parametrize(
    ("login", "emails", "env", "why"),
    [
        ({}, [], CLIENT, "there is no account"),
        ({}, ["me@x.io"], {}, "without a client no token can be made"),
        ({"email": "me@x.io"}, ["you@x.io"], CLIENT, "it is another person's"),
    ],
)
def test_without_the_same_account_the_cache_s_error_stays(tmp_path, login, emails, env, why):
    path = cache(tmp_path, **login)
    if emails:
        accounts(tmp_path, *emails)
    server = FakeServer()
    failure = asked(tmp_path, server, env=env)
    message = f"Antigravity: signed out: no login in {path}: open Antigravity and sign in"
    assert (failure.kind, failure.message) == ("not_signed_in", message), why
    assert server.asked == []


def test_an_account_that_gives_nothing_either_leaves_the_first_word(tmp_path):
    cache(tmp_path)
    accounts(tmp_path, "me@x.io")
    for server in (
        FakeServer(),
        FakeServer(token=(400, {"error": "invalid_grant"})),
        FakeServer(fetchAvailableModels={}),
    ):
        failure = asked(tmp_path, server)
        assert (failure.kind, failure.message[:23]) == ("not_signed_in", "Antigravity: signed out")


def test_a_damaged_cache_is_an_error(tmp_path):
    path = cache(tmp_path)
    path.write_bytes(b"no database")
    accounts(tmp_path, "me@x.io")
    failure = asked(tmp_path, FakeServer(fetchAvailableModels=MODELS))
    assert isinstance(failure, PollFailure)
    assert str(path) in failure.message


@pytest.mark.parametrize("damage", [None, b"no database"])
def test_a_named_accounts_file_replaces_any_cache(tmp_path, damage):
    if damage:
        cache(tmp_path).write_bytes(damage)
    named = Overrides(accounts=accounts(tmp_path, "me@x.io", path="elsewhere.json"))
    snapshot = asked(tmp_path, FakeServer(fetchAvailableModels=MODELS), named)
    assert (snapshot.account, snapshot.plan) == ("me@x.io", PLAN_NAME)
    assert "there is no login in Antigravity's cache" in snapshot.note


def test_without_a_cache_and_without_a_named_file_there_is_no_login(tmp_path):
    accounts(tmp_path, "me@x.io")
    assert asked(tmp_path, FakeServer()) is None


BUCKETS = [
    {"bucketId": "gemini-weekly", "window": "weekly", "remainingFraction": 0.03, "resetTime": RESET},
    {"bucketId": "gemini-5h", "window": "5h", "remainingFraction": 0.25},
    {"bucketId": "3p-weekly", "window": "WEEKLY", "remainingFraction": 1},
    {"bucketId": "3p-5h", "window": "FIVE_HOUR", "disabled": True, "remainingFraction": 1},
    {"bucketId": "weekly words", "displayName": "Weekly", "window": "5h", "remainingFraction": 0.5},
]
GROUPS = {"groups": [{"displayName": "Pool", "buckets": BUCKETS}]}


@pytest.mark.parametrize("wrap", [[], ["quotaSummary"], ["response"], ["response", "quotaSummary"]])
def test_the_daily_host_gives_the_true_quota_by_the_length_that_it_names(tmp_path, wrap):
    cache(tmp_path)
    accounts(tmp_path, "me@x.io")
    answer = GROUPS
    for name in reversed(wrap):
        answer = {name: answer}
    server = FakeServer(retrieveUserQuotaSummary=answer, fetchAvailableModels=FULL)
    snapshot = asked(tmp_path, server)
    assert {each.window: (each.kind, each.used_percent, each.low_confidence) for each in snapshot.readings} == {
        "gemini_weekly": (WindowKind.WEEKLY, 97, False),
        "gemini_5h": (WindowKind.SESSION, 75, False),
        "3p_weekly": (WindowKind.WEEKLY, 0, False),
        "3p_5h": (WindowKind.SESSION, None, False),
        "weekly_words": (WindowKind.SESSION, 50, False),
    }
    assert server.methods() == ["token", "retrieveUserQuotaSummary"]
    assert server.asked[1].url == "https://daily-cloudcode-pa.googleapis.com/v1internal:retrieveUserQuotaSummary"
    assert server.asked[1].json == {"project": "project-1"}
    assert server.asked[1].headers["User-Agent"].startswith("antigravity/cli/")


def test_full_at_the_production_host_alone_is_unknown(tmp_path):
    cache(tmp_path)
    accounts(tmp_path, "me@x.io")
    for refusal in (None, (404, {}), (403, {"error": {}}), {"groups": []}):
        snapshot = asked(tmp_path, FakeServer(retrieveUserQuotaSummary=refusal, fetchAvailableModels=FULL))
        assert [(each.used_percent, each.low_confidence) for each in snapshot.readings] == [(None, True)]
        assert "only the production host answered" in snapshot.note


def test_after_a_rate_limit_of_the_daily_host_the_production_host_is_not_requested(tmp_path):
    server = FakeServer(retrieveUserQuotaSummary=(429, {}), fetchAvailableModels=FULL)
    failure = asked(tmp_path, server, Overrides(accounts=accounts(tmp_path, "me@x.io")))
    assert failure.kind == "rate_limited"
    assert "fetchAvailableModels" not in server.methods()


# --- the login of Antigravity 2.x and of `agy` ------------------------------------------------------------------------


def write_own_login(home, expiry="2026-11-22T09:00:00.123456789+09:00"):
    path = home / ".gemini/antigravity-cli/antigravity-oauth-token"
    path.parent.mkdir(parents=True)
    token = {"access_token": "ya29.own", "refresh_token": "1//own", "expiry": expiry, "token_type": "Bearer"}
    path.write_text(json.dumps({"token": token, "auth_method": "consumer"}))
    return path


OWN_ANSWERS = {
    "loadCodeAssist": {"cloudaicompanionProject": "p-1", "paidTier": {"name": "Google AI Pro"}},
    "userinfo?alt=json": {"email": "Me@x.io"},
    "retrieveUserQuotaSummary": GROUPS,
}


def test_the_own_login_is_asked_with_its_own_token_before_an_old_cache_is_read(tmp_path):
    write_own_login(tmp_path, "2026-11-22T11:00:00+09:00")
    cache(tmp_path, email="me@x.io", userStatusProtoBinaryBase64=HALF)
    server = FakeServer(**OWN_ANSWERS)
    snapshot = asked(tmp_path, server)
    assert (snapshot.account_name, snapshot.plan) == ("Me@x.io", "Google AI Pro")
    assert snapshot.readings[0].used_percent == 97
    assert "token" not in server.methods()
    assert {each.headers["Authorization"] for each in server.asked} == {"Bearer ya29.own"}


def test_where_the_server_gives_nothing_the_own_login_is_asked_with_its_own_token(tmp_path, monkeypatch):
    write_own_login(tmp_path, "2026-11-22T11:00:00+09:00")
    cache(tmp_path, email="me@x.io", apiKey="ya29.editor", userStatusProtoBinaryBase64=HALF)
    monkeypatch.setattr(antigravity_logins, "find_servers", lambda _: [antigravity_logins.NOT_RUNNING])
    server = FakeServer(**OWN_ANSWERS)
    assert asked(tmp_path, server, Overrides(source="auto")).readings[0].used_percent == 97
    assert {each.headers["Authorization"] for each in server.asked} == {"Bearer ya29.own"}
    snapshot = asked(tmp_path, FakeServer(), Overrides(source="auto"))
    assert [each.source for each in snapshot.readings] == ["cache"]


def test_an_own_login_that_has_ended_is_renewed_in_memory(tmp_path):
    path = write_own_login(tmp_path)
    before = path.read_bytes()
    server = FakeServer(**OWN_ANSWERS)
    assert asked(tmp_path, server).readings[0].used_percent == 97
    assert server.asked[0].form["refresh_token"] == "1//own"
    assert path.read_bytes() == before


def test_without_a_client_an_ended_own_login_says_what_to_do_or_leaves_the_cache(tmp_path):
    write_own_login(tmp_path)
    failure = asked(tmp_path, FakeServer(), env={})
    assert failure.kind == "not_signed_in"
    assert failure.message.endswith("set both, or run `agy` once")
    cache(tmp_path, email="me@x.io", userStatusProtoBinaryBase64=HALF)
    snapshot = asked(tmp_path, FakeServer(), env={})
    assert [each.source for each in snapshot.readings] == ["cache"]


def test_the_stale_jetski_file_is_not_read(tmp_path):
    path = tmp_path / ".gemini/jetski-standalone-oauth-token"
    path.parent.mkdir()
    path.write_text('{"access_token": "ya29.stale"}')
    assert asked(tmp_path, FakeServer(**OWN_ANSWERS)) is None


@pytest.mark.parametrize(
    ("answers", "kind", "message"),
    [
        (
            {"token": (400, {"error": "invalid_grant"})},
            "expired",
            "Antigravity: Google took this login back: sign in again with `opencode auth login`",
        ),
        (
            {"fetchAvailableModels": (403, {"error": {"message": "UNSUPPORTED_CLIENT"}})},
            "shape",
            "Antigravity: Google gives this account no quota: open Antigravity once",
        ),
        (
            {"fetchAvailableModels": {"models": []}},
            "shape",
            "Antigravity: no model in the answer (models): nothing is claimed",
        ),
    ],
)
def test_a_named_account_that_fails_gives_its_own_error(tmp_path, answers, kind, message):
    failure = asked(tmp_path, FakeServer(**answers), Overrides(accounts=accounts(tmp_path, "me@x.io")))
    assert (failure.kind, failure.message) == (kind, message)


def test_a_named_accounts_file_that_is_broken_is_one_line_and_hides_no_cache(tmp_path):
    cache(tmp_path, email="me@x.io", userStatusProtoBinaryBase64=HALF)
    path = tmp_path / "elsewhere.json"
    path.write_text("{")
    around = HostInfo(
        home=tmp_path,
        env=CLIENT,
        platform="linux",
        run_command=no_program,
        read_database=foreign_databases.read_database,
    )
    found = fetch.find_logins(PROVIDER, around, Overrides(accounts=str(path)), now=lambda: NOW)
    assert [each.account for each in found.credentials] == ["me@x.io"]
    assert [each.message for each in found.failures] == [
        f"{path} is not JSON: sign in again with `opencode auth login`"
    ]


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from(["0.5", 10**400]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
QUOTA = st.fixed_dictionaries({}, optional={"remainingFraction": ANY, "resetTime": ANY})
NAMES = {"displayName": ANY, "label": ANY, "modelName": ANY, "quotaInfo": QUOTA | ANY}


@given(st.dictionaries(st.text(max_size=4), st.fixed_dictionaries({}, optional=NAMES) | ANY, max_size=4) | ANY)
def test_any_answer_is_readings_within_their_bounds_or_a_documented_error(models):
    try:
        readings = antigravity.parse_available_models({"models": models})
    except ShapeChangedError:
        return
    assert all(each.used_percent is None or 0 <= each.used_percent <= 100 for each in readings)
    assert len({each.window for each in readings}) == len(readings)


# --- a cache that is not written any more -----------------------------------------------------------------------------


def test_an_unchanged_cache_is_not_opened_again(tmp_path, monkeypatch):
    path = cache(tmp_path, email="me@x.io", userStatusProtoBinaryBase64=HALF)
    opened, kept, at = [], {}, [datetime.now(UTC) + timedelta(minutes=1)]
    open_file = foreign_databases._query_rows
    monkeypatch.setattr(foreign_databases, "_query_rows", lambda *how: [opened.append(how), open_file(*how)][1])

    def read(question):
        return foreign_databases.read_database(question, now=lambda: at[0])

    around = HostInfo(home=tmp_path, env={}, platform="linux", run_command=no_program, read_database=read)

    def poll_once():
        (credential,) = fetch.find_logins(PROVIDER, around, now=lambda: at[0]).credentials
        return fetch.poll_account(
            PROVIDER, credential, now=lambda: at[0], send=None, read_database=read, provider_state=kept
        )

    first = poll_once()
    at[0] += timedelta(minutes=1)
    again = poll_once()
    assert len(opened) == 2
    assert (again.readings, again.account, again.at) == (first.readings, "me@x.io", at[0])
    connection = sqlite3.connect(path)
    connection.execute("UPDATE ItemTable SET value = replace(value, 'me@', 'it@')")
    connection.commit()
    connection.close()
    at[0] += timedelta(minutes=1)
    assert poll_once().account == "it@x.io"
    assert len(opened) == 4
