import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from watcher.core.engine.windows import classify_length
from watcher.core.model import Reading, Response, Snapshot, WindowKind
from watcher.credentials.files import get_mapping, get_text
from watcher.errors import (
    BlockedError,
    ExpiredError,
    ForbiddenError,
    ProviderError,
    RateLimitedError,
    ServerError,
    ShapeChangedError,
)
from watcher.providers import parsing

SCOPE = "this token lacks the scope user:profile: run `acme` once to get one that has it"
PORTAL = "a web page came instead of data: look for a network login page"
AT = datetime(2026, 1, 29, 15, tzinfo=UTC)


def response(status=200, body=b"{}", **headers) -> Response:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response(status=status, headers=named, body=body, received_at=AT)


def read(*args, **kwargs):
    return parsing.parse_response(response(*args, **kwargs), name="Acme", sign_in_hint="run `acme` once")


@pytest.mark.parametrize(
    ("status", "headers", "body", "error", "words"),
    [
        (401, {}, b"{}", ExpiredError, "expired: run `acme` once"),
        (401, {"content_type": "text/html"}, b"<html>", ExpiredError, "expired: run `acme` once"),
        (402, {}, b"{}", ForbiddenError, "payment required (402): look at the account's billing page"),
        (
            403,
            {},
            b"{}",
            ForbiddenError,
            "this login may not read usage (403): run `acme` once with an account that may",
        ),
        (403, {}, b"scope user:profile", ForbiddenError, SCOPE),
        (
            403,
            {"content_type": "text/html"},
            b"x",
            BlockedError,
            "a bot wall answered (403): try another network, or wait",
        ),
        (403, {}, b"\xef\xbb\xbf\n <!DOCTYPE", BlockedError, "a bot wall answered (403): try another network, or wait"),
        (
            503,
            {"cf_mitigated": "challenge"},
            b"",
            BlockedError,
            "a bot wall answered (503): try another network, or wait",
        ),
        (
            403,
            {"x_ratelimit_remaining": "0"},
            b"{}",
            RateLimitedError,
            "asked too often (403): it is asked again later",
        ),
        (404, {}, b"{}", ServerError, "the usage address is gone (404): look for a newer version of this program"),
        (407, {}, b"", BlockedError, "a proxy asks for a password (407): see to it, or leave this network"),
        (511, {}, b"", BlockedError, "the network asks for a login (511): see to it, or leave this network"),
        (302, {}, b"", BlockedError, "redirected elsewhere (302): look for a network login page"),
        (304, {}, b"", BlockedError, "redirected elsewhere (304): look for a network login page"),
        (429, {}, b"<html>", RateLimitedError, "asked too often (429): it is asked again later"),
        (400, {}, b"{}", ServerError, "the server failed (400): it is asked again later"),
        (500, {}, b"{}", ServerError, "the server failed (500): it is asked again later"),
        (503, {"content_type": "text/html"}, b"<", ServerError, "the server failed (503): it is asked again later"),
        (101, {}, b"", ServerError, "the server failed (101): it is asked again later"),
        (200, {}, b" \n", ShapeChangedError, "the answer is empty: it is asked again later"),
        (204, {}, b"", ShapeChangedError, "the answer is empty: it is asked again later"),
        (200, {}, b"<html>", BlockedError, PORTAL),
        (200, {"content_type": "Text/HTML; x"}, b"{}", BlockedError, PORTAL),
        (200, {}, b'{"a": ', ShapeChangedError, "the answer is not JSON: it is asked again later"),
        (200, {}, b'{"a": "\xff"}', ShapeChangedError, "the answer is not JSON: it is asked again later"),
        (200, {}, b"[" * 200_000, ShapeChangedError, "the answer is not JSON: it is asked again later"),
        (200, {}, b"9" * 5000, ShapeChangedError, "the answer is not JSON: it is asked again later"),
        (
            200,
            {},
            b"[]",
            ShapeChangedError,
            "the answer is not a JSON object: look for a newer version of this program",
        ),
        (
            200,
            {},
            b"null",
            ShapeChangedError,
            "the answer is not a JSON object: look for a newer version of this program",
        ),
    ],
)
def test_every_answer_has_one_meaning(status, headers, body, error, words):
    with pytest.raises(ProviderError) as caught:
        read(status, body, **headers)
    assert type(caught.value) is error
    assert str(caught.value) == f"Acme: {words}"


def test_a_good_answer_is_its_object():
    assert read(200, b'\xef\xbb\xbf{"a": [1.5, NaN, Infinity, -Infinity]}') == {"a": [1.5, None, None, None]}
    assert read(206, b"{}") == {}


@pytest.mark.parametrize(
    ("said", "wait"),
    [
        ("120", timedelta(seconds=120)),
        (" 1.5 ", timedelta(seconds=1.5)),
        ("Thu, 29 Jan 2026 15:05:00 GMT", timedelta(minutes=5)),
        ("Thu, 29 Jan 2026 15:05:00", timedelta(minutes=5)),
        ("Thu, 29 Jan 2026 14:00:00 GMT", None),
        ("0", None),
        ("-5", None),
        ("", None),
        ("soon", None),
        ("999999999999999999999", None),
        ("99999999", timedelta(days=7)),
        ("Thu, 29 Jan 9999 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(said, wait):
    assert parsing.parse_retry_after(response(429, retry_after=said)) == wait
    with pytest.raises(RateLimitedError) as caught:
        read(429, retry_after=said)
    assert caught.value.retry_after == wait


def test_the_end_of_a_rate_limit_replaces_a_missing_wait():
    ends = str(int((AT + timedelta(minutes=9)).timestamp()))
    spent = {"x_ratelimit_remaining": "0"}
    assert parsing.parse_retry_after(response(403, x_ratelimit_reset=ends, **spent)) == timedelta(minutes=9)
    assert parsing.parse_retry_after(response(403, x_ratelimit_reset=ends, retry_after="60", **spent)) == timedelta(
        minutes=1
    )
    assert parsing.parse_retry_after(response(403, x_ratelimit_reset="1769000000", **spent)) is None
    assert parsing.parse_retry_after(response(403, x_ratelimit_reset=ends, x_ratelimit_remaining="7")) is None


def test_no_retry_after_is_no_wait():
    assert parsing.parse_retry_after(response(429)) is None


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, 5.0), (-0.5, -0.5), ("5", 5.0), (" -1e3 ", -1000.0), ("+.5", 0.5), ("5.", 5.0), (Decimal("1.5"), 1.5),
        (True, None), (False, None), (None, None), ("", None), ("five", None), ("5%", None), ("1_000", None),
        ("NaN", None), ("inf", None), (float("nan"), None), (float("inf"), None), ("1e999", None), (10**400, None),
        (1e16, None), ("٣", None), ([5], None), ({}, None), ("0x10", None), (Decimal("NaN"), None),
    ],
)  # fmt: skip
def test_a_number_is_a_finite_number_or_its_digits_and_never_a_boolean(value, number):
    assert parsing.parse_number(value) == number


@pytest.mark.parametrize(
    ("value", "exact"),
    [("129.46956147", "129.46956147"), (0.1, "0.1"), (-3821, "-3821"), (True, None), ("1e400", None), (" 7 ", "7")],
)
def test_a_decimal_keeps_every_digit(value, exact):
    assert parsing.parse_decimal(value) == (None if exact is None else Decimal(exact))


def test_counts_are_whole_and_percentages_are_not_negative():
    assert [parsing.parse_count(value) for value in (18000, "604800", 5.0, 5.5, -1, True, None)] == [
        18000, 604800, 5, None, None, None, None,
    ]  # fmt: skip
    assert [parsing.parse_percent(value) for value in (0, "104.5", -0.1, False)] == [0, 104.5, None, None]


def test_a_whole_next_to_nothing_makes_no_infinite_percentage():
    assert parsing.compute_percent(Decimal(45), Decimal("1e-320")) is None


def test_a_ratio_needs_a_positive_whole():
    assert parsing.compute_percent(Decimal(45), Decimal(60000)) == 0.075
    for part, whole in ((None, Decimal(1)), (Decimal(1), None), (Decimal(1), Decimal(0)), (Decimal(1), Decimal(-1))):
        assert parsing.compute_percent(part, whole) is None


def test_texts_mappings_and_slugs():
    assert [get_text({"a": value}, "a") for value in (" pro\n", "", "  ", 5, None)] == ["pro", "", "", "", ""]
    assert get_mapping({"a": {"b": {"c": 1}}}, "a", "b") == {"c": 1}
    assert get_mapping({"a": [1]}, "a", "b") == {}
    assert parsing.as_mapping([1]) == parsing.as_mapping(None) == {}
    assert parsing.as_mappings([{"a": 1}, "junk", None, {}]) == [{"a": 1}, {}]
    assert parsing.as_mappings({"a": 1}) == parsing.as_mappings(None) == []
    names = {
        "GPT-5.3-Codex-Spark": "gpt_5_3_codex_spark",
        " Claude Sonnet 4.6 (Thinking)": "claude_sonnet_4_6_thinking",
    }
    assert {name: parsing.slugify(name) for name in names} == names
    assert parsing.slugify("???") == ""


def test_a_snapshot_s_texts_are_printable_and_bounded_and_its_windows_unique():
    dirty = Reading(window="w" * 900, kind=WindowKind.OTHER, label="a\x00\x1b[1m\u202eb", unit="\x07")
    again = Reading(window="w" * 901, kind=WindowKind.OTHER, label="last")
    named = Reading(window="five_hour", kind=WindowKind.SESSION, label="x" * 900)
    snapshot = Snapshot(
        provider="acme", account_name=" me\n", plan="\x00", at=AT, note="n" * 900, readings=(dirty, named, again)
    )
    clean = parsing.clean_snapshot(snapshot)
    assert (clean.account_name, clean.plan) == ("me", None)
    assert [each.window for each in clean.readings] == ["w" * 200, "five_hour"]
    assert [each.label for each in clean.readings] == ["last", "x" * 197 + "..."]
    assert len(clean.note) == 400
    [only] = parsing.clean_snapshot(replace(snapshot, readings=(dirty,))).readings
    assert (only.label, only.unit) == ("a[1mb", "units")


@pytest.mark.parametrize(
    ("said", "instant"),
    [
        ("2026-01-29T20:00:00Z", "2026-01-29T20:00:00+00:00"),
        ("2026-01-29T20:00:00+00:00", "2026-01-29T20:00:00+00:00"),
        ("2026-01-29T21:30:00+01:30", "2026-01-29T20:00:00+00:00"),
        ("2026-01-29T20:00:00-0800", "2026-01-30T04:00:00+00:00"),
        ("2026-01-29T20:00:00.123Z", "2026-01-29T20:00:00.123+00:00"),
        ("2026-01-29T20:00:00.364238+00:00", "2026-01-29T20:00:00.364238+00:00"),
        ("2026-01-29T20:00:00.123456789Z", "2026-01-29T20:00:00.123456+00:00"),
        ("2026-01-29 20:00:00", "2026-01-29T20:00:00+00:00"),
        ("2026-01-29T20:00", "2026-01-29T20:00:00+00:00"),
        (" 2026-02-01 ", "2026-02-01T00:00:00+00:00"),
        (1769716800, "2026-01-29T20:00:00+00:00"),
        (1769716800.5, "2026-01-29T20:00:00.5+00:00"),
        ("1769716800", "2026-01-29T20:00:00+00:00"),
        (1738540800000, "2025-02-03T00:00:00+00:00"),
        ("1738540800000", "2025-02-03T00:00:00+00:00"),
        (1738540800000.0, "2025-02-03T00:00:00+00:00"),
        *((value, None) for value in (
            None, "", " ", "soon", True, 0, -1, 5, 3600, 1e20, "0001-01-01", "2026-13-01", "2026-02-30T00:00:00Z",
            "9999-12-31T23:59:59-12:00", "2026-01-29T25:00:00Z", [], {}, float("nan"), "2026-01-29T20:00:00Zulu",
            "2026-01-29T20:00:00+99:99",
        )),
    ],
)  # fmt: skip
def test_an_instant_is_read_in_all_its_forms(said, instant):
    found = parsing.parse_timestamp(said)
    assert found == (None if instant is None else datetime.fromisoformat(instant))
    assert found is None or found.tzinfo is UTC


def test_a_relative_instant_counts_from_the_answer():
    assert parsing.add_seconds(AT, 7252) == datetime(2026, 1, 29, 17, 0, 52, tzinfo=UTC)
    assert parsing.add_seconds(AT, "0") == AT
    assert [parsing.add_seconds(AT, value) for value in (-1, None, True, 1e9, "x")] == [None] * 5


@pytest.mark.parametrize(
    ("seconds", "kind"),
    [
        (None, WindowKind.OTHER),
        (0, WindowKind.OTHER),
        (1, WindowKind.SESSION),
        (18000, WindowKind.SESSION),
        (21600, WindowKind.SESSION),
        (21601, WindowKind.OTHER),
        (86400, WindowKind.DAILY),
        (604800, WindowKind.WEEKLY),
        (2592000, WindowKind.MONTHLY),
        (2628000, WindowKind.MONTHLY),
        (28 * 86400, WindowKind.MONTHLY),
        (31 * 86400, WindowKind.MONTHLY),
        (1209600, WindowKind.OTHER),
    ],
)
def test_a_windows_kind_is_its_length(seconds, kind):
    assert classify_length(seconds or 0) is kind


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes().map(datetime.isoformat),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(anything)
def test_no_field_however_odd_raises(value):
    for function in (
        parsing.parse_number,
        parsing.parse_decimal,
        parsing.parse_count,
        parsing.parse_percent,
        parsing.parse_timestamp,
    ):
        result = function(value)
        assert result is None or not isinstance(result, bool)
    parsing.add_seconds(AT, value)
    parsing.as_mapping(value)
    parsing.as_mappings(value)


@given(st.binary(max_size=200) | anything.map(lambda value: json.dumps(value).encode()))
def test_no_body_however_odd_raises_anything_but_the_documented_errors(body):
    with suppress(ShapeChangedError, BlockedError):
        assert isinstance(read(200, body), dict)


@given(st.integers(100, 999), st.text(st.characters(codec="latin-1"), max_size=30), st.binary(max_size=50))
def test_no_status_however_odd_raises_anything_but_the_documented_errors(status, said, body):
    try:
        read(status, body, retry_after=said)
    except ProviderError as error:
        assert str(error).startswith("Acme: ")  # noqa: PT017
