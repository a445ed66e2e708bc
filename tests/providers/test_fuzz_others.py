"""Copilot, Nano-GPT, Gemini CLI, Antigravity: a reading that the body bears out, or one of the documented errors."""

import base64
import copy
import json
from datetime import UTC, datetime
from math import isclose
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from watcher.core.model import PollFailure, QueryResult, Response, Snapshot
from watcher.credentials import Credential
from watcher.polling import fetch
from watcher.providers import antigravity, parsing, registry
from watcher.providers import parsing as fractions
from watcher.providers.protobuf import MalformedError

AT = datetime(2026, 2, 24, tzinfo=UTC)
DATA = Path(__file__).parent / "data"
FUZZED = [path for id_ in ("copilot", "nano_gpt", "gemini_cli") for path in sorted((DATA / id_).glob("*.json"))]
GOOD = [path for path in FUZZED if "windows" in json.loads(path.read_text("utf-8"))["expect"]]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-3, 3)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["1", "-1", "1e999", "NaN", "2026-02-28T00:00:00Z", "9" * 400, 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)


def list_leaves(value, path=()):
    """Every place in a JSON value."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from list_leaves(inner, (*path, key))
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from list_leaves(inner, (*path, index))


def replace_field(value, path, new):
    if not path:
        return new
    inner = value
    try:
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = new
    except (KeyError, IndexError, TypeError):
        pass  # an earlier replacement took the place away
    return value


def ask(provider, record, bodies):
    left = list(bodies)
    at = datetime.fromisoformat(record["at"])
    fields = {"provider": provider.id, "source_name": "recorded", "path": "recorded", **record["credential"]}
    fields["expires_at"] = datetime.fromisoformat(fields["expires_at"]) if fields.get("expires_at") else None

    def send(_request):
        status, body = left.pop(0) if left else (404, b"{}")
        return Response(status=status, body=body, received_at=at)

    return fetch.poll_account(
        provider, Credential(**fields), now=lambda: at, send=send, read_database=None, provider_state={}
    )


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_field_may_become_anything(data):
    path = data.draw(st.sampled_from(GOOD), label="record")
    record = json.loads(path.read_text(encoding="utf-8"))
    provider = registry.PROVIDERS[path.parent.name]
    bodies = []
    for exchange in record["exchanges"]:
        body = copy.deepcopy(exchange.get("body", {}))
        for place in data.draw(
            st.lists(st.sampled_from(list(list_leaves(body))), max_size=6, unique=True), label="places"
        ):
            body = replace_field(body, place, data.draw(JSON, label="value"))
        bodies.append((exchange["status"], json.dumps(body).encode()))
    outcome = ask(provider, record, bodies)
    event_of(outcome)
    if isinstance(outcome, PollFailure):
        assert "unexpected" not in outcome.message
        return
    windows = [reading.window for reading in outcome.readings]
    assert len(windows) == len(set(windows))
    said = b" ".join(body for _, body in bodies).decode().lower()
    meant = percents([json.loads(body) for _, body in bodies])
    for reading in outcome.readings:
        assert reading.used_percent is None or 0 <= reading.used_percent < 1e18
        assert reading.used_percent is None or any(isclose(reading.used_percent, each, abs_tol=1e-6) for each in meant)
        assert reading.resets_at is None or reading.resets_at.tzinfo is UTC
        assert not (reading.unlimited and reading.used_percent is not None)
        for number in (reading.limit, reading.remaining):
            assert number is None or number.is_finite()
        assert reading.label.lower()[:3] in said or reading.window.split("_")[0] in said


def percents(value):
    """Every percentage used that a body can mean: a number in it, or its hundredfold, used or left, or of another."""
    numbers = set(numbers_of(value))
    parts = {abs(number) for number in numbers} | numbers
    left = {max(0.0, 100 - number) for number in numbers} | {100 * (1 - min(max(number, 0), 1)) for number in numbers}
    of_whole = {ratio for part in parts for whole in numbers if whole > 0 for ratio in _of(part, whole)}
    of_both = {100 * part / (part + rest) for part in numbers for rest in numbers if part + rest > 0}
    return {*numbers, *(100 * number for number in numbers), *left, *of_whole, *of_both}


def _of(part, whole):
    return 100 * part / whole, max(0.0, 100 * (whole - part) / whole), 100 * (whole + part) / whole


def numbers_of(value):
    if isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from numbers_of(inner)
    else:
        text = value.strip().removesuffix("%") if isinstance(value, str) else value
        number = parsing.parse_number(text)
        if number is not None:
            yield number


def event_of(outcome):
    assert isinstance(outcome, (Snapshot, PollFailure))


@pytest.mark.parametrize("id_", ["copilot", "nano_gpt", "gemini_cli"])
@given(body=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()), status=st.integers(200, 599))
def test_any_body_is_a_snapshot_or_a_documented_failure(id_, body, status):
    record = json.loads((DATA / id_ / "normal.json").read_text(encoding="utf-8"))
    outcome = ask(registry.PROVIDERS[id_], record, [(status, body)] * 6)
    event_of(outcome)
    assert "unexpected" not in getattr(outcome, "message", "")


QUOTA = st.fixed_dictionaries({}, optional={"remainingFraction": JSON, "resetTime": JSON})
REMAINING = st.fixed_dictionaries({}, optional={"remainingFraction": JSON, "case": JSON, "value": JSON})
BUCKET = dict.fromkeys(("bucketId", "displayName", "description", "disabled", "resetTime", "remainingFraction"), JSON)
GROUPS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "displayName": JSON,
            "buckets": st.lists(st.fixed_dictionaries({}, optional={**BUCKET, "remaining": REMAINING | JSON}) | JSON),
        },
    ),
    max_size=3,
)
MODELS = st.lists(st.fixed_dictionaries({}, optional={"label": JSON, "quotaInfo": QUOTA | JSON}) | JSON, max_size=4)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(groups=GROUPS | JSON, models=MODELS | JSON, wrap=st.sampled_from(["response", "summary", ""]))
def test_any_language_server_answer_gives_readings_that_it_contains(groups, models, wrap):
    summary = {wrap: {"groups": groups}} if wrap else {"groups": groups}
    meant = percents([groups, models])
    for reading in (*antigravity.parse_summary(summary), *antigravity.parse_models(models)):
        assert reading.window == parsing.slugify(reading.window) != ""
        assert reading.used_percent is None or any(isclose(reading.used_percent, each, abs_tol=1e-6) for each in meant)
        assert reading.resets_at is None or reading.resets_at.tzinfo is UTC


@given(
    content=JSON
    | st.fixed_dictionaries({"userTier": JSON, "planStatus": JSON | st.fixed_dictionaries({"planInfo": JSON})})
)
def test_a_plan_is_words_or_nothing(content):
    plan = antigravity.parse_plan(parsing.as_mapping(content))
    assert plan is None or plan == plan.strip() != ""


OWNER = st.dictionaries(st.sampled_from(["email", "account", "login", "id", "uuid"]), JSON)
WHOSE = {"claude": "/oauth/", "copilot": "/user", "gemini_cli": "userinfo"}


@pytest.mark.parametrize("id_", WHOSE)
@given(
    said=JSON | st.dictionaries(st.sampled_from(["email", "account", "login", "id", "uuid"]), JSON),
    status=st.integers(200, 599),
)
def test_no_owner_answer_costs_a_reading(id_, said, status):
    record = json.loads((DATA / id_ / "normal.json").read_text(encoding="utf-8"))
    good = record["exchanges"][-1]["body"]
    body = json.dumps(said).encode()

    def send(request):
        if WHOSE[id_] in request.url and "usage" not in request.url and "copilot_internal" not in request.url:
            return Response(status=status, body=body, received_at=AT)
        return Response(status=200, body=json.dumps(good).encode(), received_at=AT)

    login = Credential(provider=id_, source_name="x", path="x", token="t", extra={"others": "yes", "project": "p"})
    outcome = fetch.poll_account(
        registry.PROVIDERS[id_], login, now=lambda: AT, send=send, read_database=None, provider_state={}
    )
    assert isinstance(outcome, Snapshot), outcome
    assert outcome.readings
    assert outcome.account_name == outcome.account_name.strip()


VECTOR = base64.b64decode(
    json.loads(json.loads((DATA / "antigravity" / "everything.json").read_text("utf-8"))["exchanges"][0]["rows"][0][0])[
        "userStatusProtoBinaryBase64"
    ]
)


def read(raw):
    value = json.dumps({"userStatusProtoBinaryBase64": base64.b64encode(raw).decode()})
    found = fetch.poll_account(
        antigravity.PROVIDER,
        Credential(provider="antigravity", source_name="x", path="x"),
        now=lambda: AT,
        send=None,
        read_database=lambda _: QueryResult(rows=((value,),), modified_at=AT, received_at=AT),
        provider_state={},
    )
    if isinstance(found, PollFailure):
        assert found.kind in ("shape", "not_signed_in")
        assert "unexpected" not in found.message
        return []
    return found.readings


@given(st.binary(max_size=200))
def test_any_bytes_in_the_cache_are_models_or_an_error(raw):
    for reading in read(raw):
        assert reading.used_percent is None or 0 <= reading.used_percent <= 100


@given(st.integers(0, len(VECTOR) - 1), st.binary(min_size=1, max_size=3), st.integers(0, 3))
def test_a_damaged_cache_names_no_model_that_it_does_not_hold(at, new, cut):
    raw = VECTOR[:at] + new + VECTOR[at + cut :]
    for reading in read(raw):
        assert reading.label.encode() in raw
        assert reading.used_percent is None or 0 <= reading.used_percent <= 100


@given(st.integers(0, len(VECTOR)))
def test_a_cache_cut_short_is_an_error_or_what_came_before(length):
    whole = {reading.window for reading in read(VECTOR)}
    assert {reading.window for reading in read(VECTOR[:length])} <= whole


@given(st.text(max_size=40))
def test_any_text_is_base64_or_malformed(text):
    try:
        antigravity.decode_base64(text)
    except MalformedError:
        return


@given(st.none() | st.floats())
def test_what_is_used_is_known_or_unknown(left):
    used = fractions.compute_used_percent(left)
    assert used is None or 0 <= used <= 100
    assert (used is None) == (left is None or left != left or abs(left) == float("inf"))  # noqa: PLR0124
