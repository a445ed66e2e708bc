"""What is asked of Nano-GPT; what its answers mean is in the recorded ones."""

from watcher.credentials import Credential
from watcher.demo.server import Server, json_reply
from watcher.polling import fetch
from watcher.providers.nano_gpt import PROVIDER
from watcher.system import clock, http

ANSWERS = {
    "/api/subscription/v1/usage": {"limits": {"daily": 10}, "daily": {"used": 1}},
    "/api/check-balance": {"usd_balance": "1.50"},
}


def test_the_key_goes_along_with_both_questions_and_nothing_else_does():
    login = Credential(provider="nano_gpt", source_name="OpenCode", path="auth.json", token="the-key")
    with Server(lambda asked: json_reply(ANSWERS[asked.path])) as server:
        snapshot = fetch.poll_account(
            PROVIDER,
            login,
            now=clock.utc_now,
            send=http.send_request,
            read_database=None,
            provider_state={},
            base_url=server.url,
        )
        usage, balance = server.requests
    assert [reading.window for reading in snapshot.readings] == ["daily", "balance_usd"]
    said = [{name.lower(): text for name, text in asked.headers.items()} for asked in (usage, balance)]
    assert (usage.method, usage.path, usage.body) == ("GET", "/api/subscription/v1/usage", b"")
    assert (said[0]["x-api-key"], said[0]["authorization"]) == ("the-key", "Bearer the-key")
    assert (balance.method, balance.path, balance.body) == ("POST", "/api/check-balance", b"")
    assert (said[1]["x-api-key"], said[1]["content-length"]) == ("the-key", "0")
