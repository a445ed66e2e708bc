"""API keys: of the vendor, and of a proxy that shares subscriptions."""

import pytest

from tests.providers.codex.codex_poll import NOW, PROVIDER, found_in, nowhere, request_for, write
from watcher.core.rules import vocabulary
from watcher.polling import fetch
from watcher.providers import codex


def make_limit(**fields: object) -> dict:
    return {"limit_type": "credits", "limit_window": "5h", "max_value": 200, "current_value": 50, **fields}


def test_an_api_key_of_the_vendor_is_unsupported_without_a_request(tmp_path):
    path = tmp_path / ".codex/auth.json"
    write(path, {"OPENAI_API_KEY": "sk-x"})
    assert found_in(tmp_path).credentials == (), "unasked, it is no login of Codex"
    [key] = found_in(tmp_path, credentials=(str(path),)).credentials
    failure = fetch.poll_account(PROVIDER, key, now=lambda: NOW, send=nowhere, read_database=nowhere, provider_state={})
    assert (failure.kind, failure.message) == (
        "unsupported",
        "Codex: an API key cannot read subscription usage: run `codex login` with ChatGPT",
    )


def test_an_api_key_beside_another_login_is_ignored(tmp_path):
    write(tmp_path / ".codex/auth.json", {"tokens": {"access_token": "t"}})
    write(tmp_path / ".local/share/opencode/auth.json", {"openai": "sk-x"})
    assert [each.token for each in found_in(tmp_path).credentials] == ["t"]
    write(tmp_path / ".codex/auth.json", {"OPENAI_API_KEY": "sk-y"})
    assert found_in(tmp_path).credentials == ()
    (tmp_path / ".codex/auth.json").write_text("{")
    found = found_in(tmp_path)
    assert found.credentials == ()
    assert [failure.kind for failure in found.failures] == ["not_signed_in"]


def test_an_api_key_of_a_proxy_is_kept_beside_other_logins(tmp_path):
    write(tmp_path / ".codex/auth.json", {"tokens": {"access_token": "t"}})
    write(tmp_path / ".local/share/opencode/auth.json", {"openai": "sk-x"})
    write(
        tmp_path / ".config/opencode/opencode.json",
        {"provider": {"openai": {"options": {"baseURL": "http://127.0.0.1:2455/v1"}}}},
    )
    assert {each.token for each in found_in(tmp_path).credentials} == {"t", "sk-x"}


def test_the_persons_own_base_url_may_be_the_proxy(tmp_path):
    write(tmp_path / ".codex/auth.json", {"OPENAI_API_KEY": "sk-x"})
    for found in (
        found_in(tmp_path, base_url="http://127.0.0.1:2455"),
        found_in(tmp_path / "empty", base_url="http://127.0.0.1:2455", token="sk-x"),
    ):
        [key] = found.credentials
        request = request_for(key)
        assert (request.method, request.url) == ("GET", "http://127.0.0.1:2455/v1/usage")
        assert request.headers["Authorization"] == "Bearer sk-x"


def test_a_limit_of_a_key_is_named_by_its_window_and_its_model():
    for word, window, seconds in (
        ("5h", "five_hour", 18000),
        ("7d", "weekly", 604800),
        ("weekly", "weekly", 604800),
        ("Daily", "24h", 86400),
        ("monthly", "monthly", 2592000),
        ("12h", "12h", 43200),
        ("per sprint", "per_sprint", None),
    ):
        [reading] = codex.parse_key_readings({"limits": [make_limit(limit_window=word)]})
        assert (reading.window, reading.window_seconds, reading.used_percent) == (window, seconds, 25)
    [reading] = codex.parse_key_readings({"limits": [make_limit(model_filter="gpt-5.3-codex-spark")]})
    assert (reading.window, reading.label) == (
        "gpt_5_3_codex_spark_five_hour",
        "gpt-5.3-codex-spark 5-hour window",
    )


def test_of_limits_of_several_types_in_one_window_the_fullest_counts():
    limits = [
        make_limit(limit_type="total_tokens", current_value=20),
        make_limit(limit_type="cost_usd", current_value=180),
    ]
    for order in (limits, limits[::-1]):
        [cost] = codex.parse_key_readings({"limits": order})
        assert (cost.window, cost.used_percent, cost.used, cost.unit) == ("five_hour", 90, None, "percent")
    [tokens] = codex.parse_key_readings({"limits": limits[:1]})
    assert (tokens.used, tokens.unit) == (20, "tokens")


@pytest.mark.parametrize(
    "entry",
    [
        make_limit(max_value=0), make_limit(max_value=None), make_limit(current_value=None),
        make_limit(current_value=True), make_limit(limit_window=None), make_limit(limit_window="?"),
        make_limit(current_value=-1), "junk", None,
    ],
)  # fmt: skip
def test_a_limit_that_cannot_be_read_costs_only_itself(entry):
    readings = codex.parse_key_readings({"limits": [entry, make_limit(limit_window="7d")]})
    assert [reading.window for reading in readings] == ["weekly"]


def test_use_is_computed_from_what_remains():
    [reading] = codex.parse_key_readings({"limits": [make_limit(current_value=None, remaining_value=20)]})
    assert (reading.used, reading.used_percent) == (180, 90)


def test_shared_windows_of_a_proxy_have_their_own_ids():
    own = make_limit(source="api_key_limit")
    shared = [make_limit(limit_window="7d", current_value=150), make_limit(current_value=100)]
    readings = codex.parse_key_readings({"limits": [own], "upstream_limits": [*shared, "junk"]})
    assert [(each.window, each.used_percent) for each in readings] == [
        ("five_hour", 25), ("upstream_weekly", 75), ("upstream_five_hour", 50),
    ]  # fmt: skip
    assert readings[1].label == "upstream weekly window"
    assert codex.parse_key_readings({"limits": "junk", "upstream_limits": None}) == []


def test_a_key_may_have_a_limit_for_life():
    entry = make_limit(limit_window="lifetime", limit_type="total_tokens", reset_at="9999-12-31T23:59:59.999999Z")
    [reading] = codex.parse_key_readings({"limits": [entry]})
    assert (reading.window, reading.used_percent, reading.resets_at, reading.unit) == ("lifetime", 25, None, "tokens")


@pytest.mark.parametrize(
    "window",
    ["upstream_five_hour", "lifetime", "upstream_weekly", "cost", "reset_credits"],
)
def test_rules_may_name_every_window_that_is_read(window):
    assert vocabulary.is_window("codex", window)


@pytest.mark.parametrize("window", ["fiv_hour", "lifetimes", "total_tokens", "five_hour_total_tokens"])
def test_what_no_answer_holds_is_no_window(window):
    assert not vocabulary.is_window("codex", window)
