"""Which login of Codex is asked, where several places hold one."""

import json
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from watcher.core.engine import replay
from watcher.core.model import Reading, Response, Snapshot, WindowKind
from watcher.core.rules.loader import parse_rules
from watcher.credentials import HostInfo, codex_lb
from watcher.polling import fetch
from watcher.providers import Overrides, codex
from watcher.system import paths
from watcher.system.foreign_databases import read_database

NOW = datetime(2026, 11, 20, 15, tzinfo=UTC)
USAGE = {"rate_limit": {"primary_window": {"used_percent": 9, "limit_window_seconds": 18000}}}
CACHE = ".config/opencode/opencode-anthropic-auth/codex-accounts.json"
LATE = {"primary": {"utilization": 25, "windowMs": 18000000}}


@pytest.fixture(autouse=True)
def _no_store_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(codex_lb, "SYSTEM", tmp_path / "system")


def write(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def lay_store(home: Path, token: str = "lb", **fields: str) -> Path:
    key = Fernet.generate_key()
    folder = home / ".codex-lb"
    folder.mkdir(parents=True)
    (folder / "encryption.key").write_bytes(key)
    row = {"access_token_encrypted": Fernet(key).encrypt(token.encode()), "chatgpt_account_id": "ws-1", **fields}
    with closing(sqlite3.connect(folder / "store.db")) as database, database:
        database.execute(f"CREATE TABLE accounts ({', '.join(row)})")
        database.execute(f"INSERT INTO accounts VALUES ({', '.join('?' * len(row))})", list(row.values()))
    return folder / "store.db"


def find(home: Path, **overrides: str):
    around = HostInfo(home=home, env={}, platform="linux", run_command=lambda _: None, read_database=read_database)
    return fetch.find_logins(codex.PROVIDER, around, Overrides(**overrides), now=lambda: NOW)


def ask(login, response: Response):
    return fetch.poll_account(
        codex.PROVIDER, login, now=lambda: NOW, send=lambda _request: response, read_database=read_database, provider_state={},
    )  # fmt: skip


def good() -> Response:
    return Response(status=200, body=json.dumps(USAGE).encode(), received_at=NOW)


def test_an_account_in_every_place_is_asked_once_from_the_best_one(tmp_path):
    """OpenCode's, then Codex's, then a plugin's, then codex-lb's, and what a plugin has cached last of all."""
    write(tmp_path / CACHE, {"accounts": [{"accountID": "ws-1", "usage": LATE}]})
    places = [
        ("", lambda: None),
        ("lb", lambda: lay_store(tmp_path)),
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


def test_without_the_library_other_logins_are_watched_and_a_note_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    path = lay_store(tmp_path)
    line = f"{path} is encrypted: pip install 'ai-usage-watcher[codex-lb]' to watch the accounts in it"
    alone = find(tmp_path)
    assert alone.credentials == ()
    assert [(each.kind, each.message) for each in alone.failures] == [("not_signed_in", line)]
    write(tmp_path / ".codex/auth.json", {"access_token": "own", "account_id": "ws-2"})
    beside = find(tmp_path)
    assert beside.failures == ()
    [login] = beside.credentials
    assert ask(login, good()).note == line
    reached = json.dumps({"rate_limit": {**USAGE["rate_limit"], "allowed": False}}).encode()
    note = ask(login, Response(status=200, body=reached, received_at=NOW)).note
    assert note == f"limit reached: Codex refuses work until the reset; {line}"


def test_the_note_is_said_too_where_only_cached_usage_stands_beside_the_store(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    lay_store(tmp_path)
    write(tmp_path / CACHE, {"accounts": [{"accountID": "ws-1", "usage": LATE}]})
    [login] = find(tmp_path).credentials
    note = ask(login, good()).note
    assert note.startswith("no login: as opencode-anthropic-auth saw it")
    assert "pip install" in note


def test_a_broken_place_beside_the_missing_library_stays_a_trouble(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    lay_store(tmp_path)
    write(tmp_path / ".codex/auth.json", {"access_token": "own", "account_id": "ws-2"})
    (tmp_path / ".opencode").mkdir()
    (tmp_path / ".opencode/openai-codex-accounts.json").write_text("{")
    found = find(tmp_path)
    assert [each.token for each in found.credentials] == ["own"]
    assert [each.message.split(": ")[0].rsplit("/", 1)[1] for each in found.failures] == [
        "openai-codex-accounts.json is not JSON"
    ]


def test_a_token_of_codex_lbs_that_ran_out_names_who_renews_it(tmp_path):
    lay_store(tmp_path)
    [login] = find(tmp_path).credentials
    assert ask(login, Response(status=401, received_at=NOW)).message == (
        "Codex: expired: run `codex` once; this login is codex-lb's: start it once"
    )


@pytest.mark.parametrize(
    ("count", "unit", "said"), [(0, "resets", []), (1, "resets", []), (3, "resets", []), (1, "usd", ["low-balance"])]
)
def test_few_resets_in_hand_are_no_low_balance(count, unit, said):
    """The last row is what the rule is for: what is counted is no money."""
    path, text = paths.read_default_rules()
    few = Reading(window="reset_credits", kind=WindowKind.BALANCE, remaining=Decimal(count), unit=unit)
    history = [Snapshot(provider="codex", at=NOW, readings=(few,))]
    played = list(replay.replay_rules(parse_rules(text, str(path)), history))
    assert [event.rule for moment in played for event in moment.evaluation.transitions] == said


@pytest.mark.parametrize(
    ("base_url", "asked"),
    [
        (None, "http://127.0.0.1:2455/api/codex/usage"),
        ("https://chatgpt.com", codex.USAGE_URL),
        ("http://localhost:9", "http://localhost:9/api/codex/usage"),
    ],
)
def test_the_person_may_have_the_vendor_asked_whatever_proxy_opencode_uses(tmp_path, base_url, asked):
    entry = {"type": "oauth", "access": "t", "accountId": "ws-1"}
    write(tmp_path / ".local/share/opencode/auth.json", {"openai": entry})
    options = {"baseURL": "http://127.0.0.1:2455/v1"}
    write(tmp_path / ".config/opencode/opencode.json", {"provider": {"openai": {"options": options}}})
    [login] = find(tmp_path, base_url=base_url).credentials
    requests = []

    def send(request):
        requests.append(request.url)
        return good()

    fetch.poll_account(
        codex.PROVIDER, login, now=lambda: NOW, send=send, read_database=read_database, provider_state={}, base_url=base_url,
    )  # fmt: skip
    assert requests == [asked]
