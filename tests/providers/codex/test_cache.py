"""Usage that another program cached, for an account without a login of its own."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from watcher.credentials import HostInfo
from watcher.polling import fetch
from watcher.providers import codex

SEEN = datetime(2026, 5, 10, 10, 52, 47, 180000, tzinfo=UTC)
USAGE = {
    "fetchedAt": 1778410367180,
    "planType": "pro",
    "primary": {"utilization": 25, "resetsAt": "2026-05-10T15:15:02.180Z", "label": "5h", "windowMs": 18000000},
    "secondary": {"utilization": 75, "resetsAt": "2026-05-15T19:42:30.180Z", "label": "Weekly", "windowMs": 604800000},
    "sparkPrimary": {"utilization": 10, "resetsAt": "2026-05-10T15:52:47.715Z", "windowMs": 18000000},
    "sparkSecondary": None,
    "creditsBalance": "3.5",
    "creditsUnlimited": False,
}


def nowhere(question):
    raise AssertionError(f"asked {question}")


def write(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_cache(home: Path, usage=USAGE, **account) -> None:
    account = {"id": "own", "accountID": "ws-1", "email": "me@example.com", "enabled": True, **account}
    path = home / ".config/opencode/opencode-anthropic-auth/codex-accounts.json"
    write(path, {"version": 1, "accounts": [{**account, "usage": usage}]})


def logins(home: Path):
    around = HostInfo(home=home, env={}, platform="linux", run_command=nowhere, read_database=nowhere)
    return fetch.find_logins(codex.PROVIDER, around).credentials


def ask(home: Path, at: datetime):
    [login] = logins(home)
    return fetch.poll_account(
        codex.PROVIDER, login, now=lambda: at, send=nowhere, read_database=nowhere, provider_state={}
    )


def test_cached_usage_is_shown_without_a_request(tmp_path):
    write_cache(tmp_path)
    snapshot = ask(tmp_path, SEEN + timedelta(minutes=20))
    assert [(each.window, each.used_percent, each.remaining, each.stale) for each in snapshot.readings] == [
        ("five_hour", 25, None, False),
        ("weekly", 75, None, False),
        ("spark_five_hour", 10, None, False),
        ("credits", None, 3.5, False),
    ]
    assert snapshot.readings[0].resets_at == datetime(2026, 5, 10, 15, 15, 2, 180000, tzinfo=UTC)
    assert {each.source for each in snapshot.readings} == {"cache"}
    assert (snapshot.account, snapshot.account_name, snapshot.plan) == ("ws-1", "me@example.com", "pro")
    assert snapshot.note == (
        "no login: as opencode-anthropic-auth saw it at 2026-05-10 10:52 UTC; `codex login` brings it up to date"
    )


def test_what_is_older_than_the_slowest_poll_is_marked_and_never_judged(tmp_path):
    write_cache(tmp_path)
    assert all(each.stale for each in ask(tmp_path, SEEN + timedelta(minutes=31)).readings)
    write_cache(tmp_path, {**USAGE, "fetchedAt": None})
    snapshot = ask(tmp_path, SEEN)
    assert all(each.stale for each in snapshot.readings)
    assert "at an unknown time" in snapshot.note


def test_what_is_past_its_reset_is_marked(tmp_path):
    over = {"utilization": 99, "resetsAt": "2026-05-10T10:55:00Z", "windowMs": 18000000}
    write_cache(tmp_path, {**USAGE, "primary": over})
    readings = ask(tmp_path, SEEN + timedelta(minutes=5)).readings
    assert [each.window for each in readings if each.stale] == ["five_hour"]


@pytest.mark.parametrize("usage", [{}, {"primary": None}, {"primary": {"utilization": "lots"}}, {"primary": []}])
def test_an_empty_cache_is_an_error(tmp_path, usage):
    write_cache(tmp_path, usage)
    failure = ask(tmp_path, SEEN)
    assert failure.kind == "not_signed_in"
    assert failure.message.endswith("codex-accounts.json holds neither a token nor usage: run `codex login`")


@pytest.mark.parametrize(
    ("tokens", "account"),
    [
        ({"access_token": "t", "account_id": "ws-1"}, {"email": None}),
        ({"access_token": "t", "account_id": "ws-1"}, {}),
        ({"access_token": "t", "id_token": "e30.eyJlbWFpbCI6Ik1lQGV4YW1wbGUuY29tIn0.x"}, {"accountID": "the plugin's"}),
        ({"access_token": "e30.eyJleHAiOjF9.x", "account_id": "ws-1"}, {}),  # run out long ago, and still the login
    ],
)
def test_an_account_that_can_be_asked_is_never_read_from_the_cache(tmp_path, tokens, account):
    write_cache(tmp_path, **account)
    write(tmp_path / ".codex/auth.json", {"tokens": tokens})
    assert [each.token for each in logins(tmp_path)] == [tokens["access_token"]]


def test_another_persons_cached_account_is_shown_beside_the_login(tmp_path):
    write_cache(tmp_path, email="two@example.com")
    write(tmp_path / ".codex/auth.json", {"tokens": {"access_token": "t", "account_id": "ws-2"}})
    assert [(each.token, each.account) for each in logins(tmp_path)] == [("t", "ws-2"), ("", "ws-1")]
