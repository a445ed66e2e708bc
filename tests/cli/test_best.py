"""`watcher best`: the account with the most room."""

import json

import pytest
from click.testing import CliRunner

from tests.world import START
from watcher.cli import best as module
from watcher.cli.best import best, rank_accounts
from watcher.status.document import AccountStatus, StatusDocument, WindowStatus


def window(used, *, projected=None, name="five_hour", kind="session", **more):
    values = {"used": None, "limit": None, "remaining": None, "unit": "percent", "unlimited": False} | more
    return WindowStatus(
        window=name,
        series=f"x.{name}",
        kind=kind,
        label=name,
        used_percent=used,
        resets_at=START,
        window_seconds=None,
        stale=False,
        projected_percent=projected,
        **values,
    )


def account(provider, *windows, ok=True, stale=False, name=None):
    return AccountStatus(
        provider=provider,
        account=name,
        plan=None,
        ok=ok,
        error=None,
        fetched_at=START,
        stale=stale,
        note=None,
        poll_every_seconds=300,
        next_poll_at=None,
        next_poll_reason=None,
        windows=list(windows),
    )


CLAUDE = account("claude", window(20, projected=95), window(40, name="seven_day", kind="weekly"))
CODEX = account("codex", window(60), name="me@example.com")
SPENT = account("copilot", window(104, name="premium_interactions", kind="monthly"))
FAILING = account("nano_gpt", window(1), ok=False)
OLD = account("gemini_cli", window(1), stale=True)
BALANCE = account("nano_gpt", window(None, name="balance_usd", kind="balance"))
UNLIMITED = account("copilot", window(None, unlimited=True, name="chat"))


@pytest.mark.parametrize(
    ("accounts", "order"),
    [
        ([CLAUDE, CODEX], [("codex", 40), ("claude", 5)]),
        ([SPENT, CODEX], [("codex", 40), ("copilot", -4)]),
        ([FAILING, OLD, BALANCE], []),
        ([CODEX, UNLIMITED], [("copilot", 100), ("codex", 40)]),
        ([account("codex", window(10, blocked=True))], [("codex", 0)]),
    ],
)
def test_an_account_has_the_room_of_its_fullest_window(accounts, order):
    assert [(each.provider, each.room_percent) for each in rank_accounts(accounts)] == order


@pytest.fixture
def ask(monkeypatch):
    def run(accounts, *words):
        document = StatusDocument(generated_at=START, providers=list(accounts))
        monkeypatch.setattr(module, "load_status", lambda *_: document)
        done = CliRunner().invoke(best, words, standalone_mode=False)
        return done.return_value, done.output

    return run


def test_the_first_word_is_the_provider(ask):
    assert ask([CLAUDE, CODEX]) == (0, "codex me@example.com: 40 % left at the reset (five_hour)\n")
    assert ask([CLAUDE, CODEX], "claude")[1].startswith("claude: 5 % left")


def test_exit_codes_say_whether_there_is_room(ask):
    assert ask([SPENT]) == (1, "copilot: used up at the reset (premium_interactions)\n")
    assert ask([FAILING])[0] == 69


def test_json_lists_every_account(ask):
    code, text = ask([CLAUDE, CODEX], "--json")
    document = json.loads(text)
    assert (code, document["schema"], document["best"]["provider"]) == (0, "watcher.best.v1", "codex")
    assert [each["provider"] for each in document["accounts"]] == ["codex", "claude"]
    assert json.loads(ask([], "--json")[1])["best"] is None
