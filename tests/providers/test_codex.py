import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from watcher import poll
from watcher.core.model import Response
from watcher.credentials import Credential, Surroundings
from watcher.errors import OfflineError, TimedOutError
from watcher.providers import Overrides, codex, codex_windows

NOW = datetime(2026, 1, 29, 15, tzinfo=UTC)
PROVIDER = codex.PROVIDER


def nowhere(question):
    raise AssertionError(f"asked {question}")


def machine(home: Path, **env: str) -> Surroundings:
    return Surroundings(home=home, env=env, platform="linux", run=nowhere, read_database=nowhere)


def login(**extra: str) -> Credential:
    return Credential(provider="codex", place="p", path="p", token="t", extra=extra)


def request_for(credential: Credential):
    return next(codex.ask(credential, NOW, {}))


def test_it_asks_for_the_workspace_of_the_login():
    request = request_for(login(account_id="ws-1"))
    assert (request.method, request.url) == ("GET", "https://chatgpt.com/backend-api/wham/usage")
    assert request.headers == {
        "Authorization": "Bearer t",
        "Accept": "application/json",
        "User-Agent": "codex-cli",
        "ChatGPT-Account-Id": "ws-1",
    }


def test_without_a_known_workspace_none_is_named():
    assert "ChatGPT-Account-Id" not in request_for(login()).headers
    assert "ChatGPT-Account-Id" not in request_for(login(account_id="")).headers


WHOAMI = {"chatgpt_account_id": "ws-9", "chatgpt_plan_type": "business", "email": "me@example.com"}
USAGE = {"rate_limit": {"primary_window": {"used_percent": 9, "limit_window_seconds": 18000}}}


class Door:
    """Answers whoami and usage, and remembers what was asked."""

    def __init__(self, whoami=None):
        self.whoami = whoami if whoami is not None else Response(status=200, body=json.dumps(WHOAMI).encode(), at=NOW)
        self.asked = []

    def __call__(self, request):
        self.asked.append(request)
        if request.url != codex.WHOAMI_URL:
            return Response(status=200, body=json.dumps(USAGE).encode(), at=NOW)
        if isinstance(self.whoami, Exception):
            raise self.whoami
        return self.whoami

    def poll(self, credential, kept):
        self.asked.clear()
        return poll.ask(
            PROVIDER, credential, now=lambda: NOW, send=self, read_database=nowhere, kept=kept
        )  # fmt: skip


def test_a_personal_token_is_asked_once_whose_it_is_and_sent_as_the_tool_sends_it():
    door, kept = Door(), {}
    snapshot = door.poll(login(personal="yes"), kept)
    assert [(each.method, each.url) for each in door.asked] == [("GET", codex.WHOAMI_URL), ("GET", codex.URL)]
    for each in door.asked:
        assert each.headers["Authorization"] == "Bearer t"
        assert each.headers["originator"] == "codex_cli_rs"
        assert each.headers["User-Agent"].startswith("codex_cli_rs/")
    assert "ChatGPT-Account-Id" not in door.asked[0].headers
    assert door.asked[1].headers["ChatGPT-Account-Id"] == "ws-9"
    assert (snapshot.account_name, snapshot.plan) == ("me@example.com", "business")
    assert door.poll(login(personal="yes"), kept) == snapshot
    assert [each.url for each in door.asked] == [codex.URL]
    assert door.asked[0].headers["ChatGPT-Account-Id"] == "ws-9"
    door.poll(Credential(provider="codex", place="p", path="p", token="new", extra={"personal": "yes"}), kept)
    assert [each.url for each in door.asked] == [codex.WHOAMI_URL, codex.URL]


@pytest.mark.parametrize(
    "whoami",
    [
        Response(status=401, at=NOW),
        Response(status=429, at=NOW),
        Response(status=200, body=b"<html>", at=NOW),
        Response(status=200, body=b'{"email": 5, "chatgpt_account_id": []}', at=NOW),
        TimedOutError("no answer"),
    ],
)
def test_a_personal_token_that_nobody_names_costs_only_the_name(whoami):
    door, kept = Door(whoami), {}
    snapshot = door.poll(login(personal="yes"), kept)
    assert [reading.used_percent for reading in snapshot.readings] == [9]
    assert (snapshot.account_name, snapshot.plan) == ("", None)
    assert "ChatGPT-Account-Id" not in door.asked[1].headers
    door.poll(login(personal="yes"), kept)
    assert [each.url for each in door.asked] == [codex.URL]


def test_a_question_that_never_left_is_asked_again():
    door, kept = Door(OfflineError("offline")), {}
    door.poll(login(personal="yes"), kept)
    door.poll(login(personal="yes"), kept)
    assert [each.url for each in door.asked] == [codex.WHOAMI_URL, codex.URL]


def test_beside_other_logins_a_personal_token_goes_by_its_workspace():
    """One person's two workspaces are two quotas: joined by the email, one of them would be lost."""
    assert Door().poll(login(personal="yes", others="yes"), {}).account_name == "ws-9"


def test_a_personal_token_for_another_server_is_shown_to_that_one_alone():
    door = Door()
    door.poll(login(personal="yes", usage_url="https://proxy.example.com/api/codex/usage"), {})
    assert [each.url for each in door.asked] == ["https://proxy.example.com/api/codex/usage"]
    door.poll(login(personal="yes", usage_url="https://chat.openai.com/backend-api/wham/usage"), {})
    assert door.asked[0].url == codex.WHOAMI_URL


def test_another_server_that_codex_uses_is_asked_instead():
    assert request_for(login(usage_url="https://proxy.example.com/x")).url == "https://proxy.example.com/x"


def test_the_config_may_give_the_token_or_the_file(tmp_path):
    mine = tmp_path / "mine.json"
    for content in ({"tokens": {"access_token": "mine"}}, {"openai": {"type": "oauth", "access": "mine"}}):
        mine.write_text(json.dumps(content))
        found = poll.find(PROVIDER, machine(tmp_path), Overrides(credentials=str(mine)))
        assert [login.token for login in found.credentials] == ["mine"]
    found = poll.find(PROVIDER, machine(tmp_path), Overrides(token="given"))
    assert [login.token for login in found.credentials] == ["given"]


def test_the_answer_names_the_account_for_people():
    body = json.dumps({"email": "me@example.com", "credits": {"balance": 1}}).encode()
    snapshot = poll.ask(
        PROVIDER, login(), now=lambda: NOW, send=lambda _request: Response(status=200, body=body, at=NOW),
        read_database=nowhere, kept={},
    )  # fmt: skip
    assert (snapshot.account, snapshot.account_name) == ("", "me@example.com")


@pytest.mark.parametrize(
    ("seconds", "window", "label"),
    [
        (18000, "five_hour", "5-hour window"),
        (604800, "weekly", "weekly window"),
        (2592000, "monthly", "monthly window"),
        (2628000, "monthly", "monthly window"),
        (21600, "6h", "6-hour window"),
        (86400, "24h", "24-hour window"),
        (5400, "90m", "90-minute window"),
    ],
)
def test_a_window_is_named_by_its_length_whatever_its_slot(seconds, window, label):
    for slot in ("primary_window", "secondary_window"):
        [reading] = codex_windows.windows({slot: {"used_percent": 1, "limit_window_seconds": seconds}}, NOW)
        assert (reading.window, reading.label, reading.window_seconds) == (window, label, seconds)


def test_a_window_that_says_its_length_beats_one_that_is_guessed():
    limit = {
        "primary_window": {"used_percent": 1},
        "secondary_window": {"used_percent": 2, "limit_window_seconds": 18000},
    }
    assert [(reading.window, reading.used_percent) for reading in codex_windows.read({"rate_limit": limit}, NOW)] == [
        ("five_hour", 2)
    ]


def test_a_reset_is_absolute_where_that_is_given_and_counted_from_the_answer_where_not():
    ends = int((NOW + timedelta(hours=2)).timestamp())
    both = {"used_percent": 1, "reset_at": ends, "reset_after_seconds": 60}
    for fields, resets_at in (
        (both, NOW + timedelta(hours=2)),
        ({**both, "reset_at": None}, NOW + timedelta(minutes=1)),
        ({**both, "reset_at": ends * 1000}, NOW + timedelta(hours=2)),
        ({"used_percent": 1}, None),
    ):
        [reading] = codex_windows.windows({"primary_window": fields}, NOW)
        assert reading.resets_at == resets_at
