"""Valid answers with any of their fields replaced by anything: nothing but the documented errors, nothing invented."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from watcher.core.model import PollFailure, Response, Snapshot
from watcher.credentials import Credential
from watcher.polling import fetch
from watcher.providers import parsing, registry

DATA = Path(__file__).parent / "data"
NOW = datetime(2026, 1, 29, 15, tzinfo=UTC)
MINE = ("claude", "codex")

odd_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", " ", "5", "-1", "NaN", "1e999", "99%", "2026-02-30", "9999-12-31T23:59:59Z", "all", "\x00"])
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


def bodies(provider: str) -> list[Any]:
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((DATA / provider).glob("*.json"))]
    good = [each for record in records for each in record["exchanges"] if each.get("status", 200) == 200]
    return [exchange["body"] for exchange in good if isinstance(exchange.get("body"), dict)]


def list_paths(value: Any, path: tuple = ()) -> list[tuple]:
    """The path of every field of a body, at any depth."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [each for key, item in inner for each in [(*path, key), *list_paths(item, (*path, key))]]


def replace_field(value: Any, path: tuple, new: Any) -> Any:
    """The same body with one field replaced; unchanged where an earlier replacement removed the path."""
    if not path:
        return new
    if isinstance(value, dict) and path[0] in value:
        return {**value, path[0]: replace_field(value[path[0]], path[1:], new)}
    if isinstance(value, list) and isinstance(path[0], int) and path[0] < len(value):
        return [*value[: path[0]], replace_field(value[path[0]], path[1:], new), *value[path[0] + 1 :]]
    return value


def list_leaves(value: Any) -> list[Any]:
    if isinstance(value, (dict, list)):
        return [leaf for item in (value.values() if isinstance(value, dict) else value) for leaf in list_leaves(item)]
    return [value]


@st.composite
def broken_bodies(draw: st.DrawFn, provider: str) -> Any:
    body = draw(st.sampled_from(bodies(provider)))
    for path in draw(st.lists(st.sampled_from(list_paths(body) or [()]), max_size=6)):
        body = replace_field(body, path, draw(odd_values))
    return body


def ask(provider: str, body: bytes) -> Snapshot | PollFailure:
    response = Response(status=200, headers={"content-type": "application/json"}, body=body, received_at=NOW)
    login = Credential(provider=provider, source_name="p", path="p", token="t")
    return fetch.poll_account(
        registry.PROVIDERS[provider], login, now=lambda: NOW, send=lambda _request: response,
        read_database=lambda question: pytest.fail(f"asked {question}"), provider_state={},
    )  # fmt: skip


def check_outcome(outcome: Snapshot | PollFailure) -> None:
    if isinstance(outcome, PollFailure):
        assert outcome.kind in ("shape", "blocked")
        assert "unexpected" not in outcome.message
        return
    windows = [reading.window for reading in outcome.readings]
    assert 0 < len(windows) == len(set(windows))
    assert all(window and window == parsing.slugify(window) for window in windows)
    for reading in outcome.readings:
        assert reading.used_percent is None or 0 <= reading.used_percent <= 1e18
        assert reading.resets_at is None or reading.resets_at.tzinfo is UTC
        assert reading.label == reading.label.strip()
        for amount in (reading.used, reading.limit, reading.remaining):
            assert amount is None or amount.is_finite()


def list_possible_percents(body: Any, *, amounts: bool) -> set[float]:
    """Every percentage that the body can mean: a number in it; of amounts also one in another, or what one leaves."""
    numbers = {number for leaf in list_leaves(body) if (number := parsing.parse_number(leaf)) is not None}
    if amounts:
        numbers |= {max(0, 100 - number) for number in numbers} | {
            part / whole * 100 for part in numbers for whole in numbers if whole > 0
        }
    return {round(number, 6) for number in numbers}


@pytest.mark.parametrize("provider", MINE)
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_nothing_is_read_that_the_body_does_not_say(provider, data):
    body = data.draw(broken_bodies(provider))
    outcome = ask(provider, json.dumps(body).encode())
    check_outcome(outcome)
    for reading in outcome.readings if isinstance(outcome, Snapshot) else ():
        if reading.used_percent is not None:
            amounts = reading.limit is not None or reading.window == "individual_limit"
            assert round(reading.used_percent, 6) in list_possible_percents(body, amounts=amounts)


@pytest.mark.parametrize(
    ("provider", "name", "owner"),
    [
        ("claude", "normal", {"five_hour": "five_hour", "seven_day": "seven_day", "extra_usage": "extra_usage"}),
        ("claude", "extra_usage_eur", {"five_hour": "five_hour", "extra_usage": "extra_usage"}),
        ("codex", "team", {"rate_limit": "five_hour weekly", "code_review_rate_limit": "code_review_weekly"}),
        ("codex", "normal", {"credits": "credits", "additional_rate_limits": "gpt_5_3_codex_spark"}),
    ],
)
@given(data=st.data())
def test_a_broken_field_costs_its_own_window_and_no_other(provider, name, owner, data):
    body = json.loads((DATA / provider / f"{name}.json").read_text(encoding="utf-8"))["exchanges"][0]["body"]
    whole = ask(provider, json.dumps(body).encode())
    key = data.draw(st.sampled_from(sorted(owner)))
    path = (key, *data.draw(st.sampled_from([(), *list_paths(body[key])])))
    outcome = ask(provider, json.dumps(replace_field(body, path, data.draw(odd_values))).encode())
    others = [reading for reading in whole.readings if not _is_owned(reading.window, owner[key])]
    assert [reading for reading in outcome.readings if reading in others] == others


def _is_owned(window: str, owned: str) -> bool:
    return any(window == word or (word.endswith("spark") and window.startswith(word)) for word in owned.split())


@pytest.mark.parametrize("provider", MINE)
@given(body=st.binary(max_size=300) | odd_values.map(lambda value: json.dumps(value).encode()))
def test_a_body_of_anything_at_all_is_a_failure_or_sound(provider, body):
    check_outcome(ask(provider, body))


@pytest.mark.parametrize("provider", MINE)
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_a_body_cut_anywhere_is_a_failure(provider, data):
    body = json.dumps(data.draw(st.sampled_from(bodies(provider)))).encode()
    assert isinstance(ask(provider, body[: data.draw(st.integers(0, len(body) - 1))]), PollFailure)
