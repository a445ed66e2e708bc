"""Which login of Codex is asked, where several places hold one."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from watcher.core.engine import replay
from watcher.core.model import Reading, Response, Snapshot, WindowKind
from watcher.core.rules.loader import parse_rules
from watcher.credentials import HostInfo
from watcher.polling import fetch
from watcher.providers import Overrides, codex
from watcher.system import paths
from watcher.system.foreign_databases import read_database

NOW = datetime(2026, 11, 20, 15, tzinfo=UTC)
USAGE = {"rate_limit": {"primary_window": {"used_percent": 9, "limit_window_seconds": 18000}}}
CACHE = ".config/opencode/opencode-anthropic-auth/codex-accounts.json"
LATE = {"primary": {"utilization": 25, "windowMs": 18000000}}


def write(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def find(home: Path, **overrides: str):
    around = HostInfo(home=home, env={}, platform="linux", run_command=lambda _: None, read_database=read_database)
    return fetch.find_logins(codex.PROVIDER, around, Overrides(**overrides), now=lambda: NOW)


def ask(login, response: Response):
    return fetch.poll_account(
        codex.PROVIDER, login, now=lambda: NOW, send=lambda _request: response, read_database=read_database,
        provider_state={},
    )  # fmt: skip


def make_answer() -> Response:
    return Response(status=200, body=json.dumps(USAGE).encode(), received_at=NOW)


def test_an_account_in_every_place_is_asked_once_from_the_best_one(tmp_path):
    """OpenCode's, then Codex's, then a plugin's, and what a plugin has cached last of all."""
    write(tmp_path / CACHE, {"accounts": [{"accountID": "ws-1", "usage": LATE}]})
    places = [
        ("", lambda: None),
        ("plugin", lambda: write(tmp_path / ".opencode/auth/openai.json", {"access": "plugin", "accountId": "ws-1"})),
        ("own", lambda: write(tmp_path / ".codex/auth.json", {"access_token": "own", "account_id": "ws-1"})),
        (
            "opencode",
            lambda: write(
                tmp_path / ".local/share/opencode/auth.json",
                {"openai": {"type": "oauth", "access": "opencode", "accountId": "ws-1"}},
            ),
        ),
    ]
    for token, lay in places:
        lay()
        assert [(each.token, each.account) for each in find(tmp_path).credentials] == [(token, "ws-1")]


@pytest.mark.parametrize(
    ("count", "unit", "said"), [(0, "resets", []), (1, "resets", []), (3, "resets", []), (1, "usd", ["low-balance"])]
)
def test_few_resets_in_hand_are_no_low_balance(count, unit, said):
    """The last row is what the rule is for: what is counted is no money."""
    path, text = paths.read_default_rules()
    few = Reading(window="reset_credits", kind=WindowKind.BALANCE, remaining=Decimal(count), unit=unit)
    history = [Snapshot(provider="codex", at=NOW, readings=(few,))]
    played = list(replay.replay_rules(parse_rules(text, str(path)), history))
    assert [event.rule for moment in played for event in moment.transitions] == said


@pytest.mark.parametrize(
    ("base_url", "asked"),
    [
        (None, "http://127.0.0.1:2455/api/codex/usage"),
        ("https://chatgpt.com", codex.USAGE_URL),
        ("http://localhost:9", "http://localhost:9/api/codex/usage"),
    ],
)
def test_base_url_overrides_opencode_s_proxy(tmp_path, base_url, asked):
    entry = {"type": "oauth", "access": "t", "accountId": "ws-1"}
    write(tmp_path / ".local/share/opencode/auth.json", {"openai": entry})
    options = {"baseURL": "http://127.0.0.1:2455/v1"}
    write(tmp_path / ".config/opencode/opencode.json", {"provider": {"openai": {"options": options}}})
    [login] = find(tmp_path, base_url=base_url).credentials
    requests = []

    def send(request):
        requests.append(request.url)
        return make_answer()

    fetch.poll_account(
        codex.PROVIDER, login, now=lambda: NOW, send=send, read_database=read_database,
        provider_state={}, base_url=base_url,
    )  # fmt: skip
    assert requests == [asked]
