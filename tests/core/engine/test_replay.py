"""Recorded lines, the poll results they become, and what rules report over them."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from time import process_time

import pytest

from tests.core.samples import NOW
from watcher.core.engine import replay
from watcher.core.engine.replay import build_poll_results, read_history_lines
from watcher.core.model import PollFailure, Reading, Snapshot, WindowKind
from watcher.core.rules.loader import parse_rules
from watcher.errors import UsageError

RULES = parse_rules(
    """
    [[rule]]
    name = "session"
    when = "claude.five_hour > 80%"
    [[rule]]
    name = "quiet"
    when = "*.age > 45m"
    """,
    "rules.toml",
)


def answer(used, minutes, provider="claude", window="five_hour"):
    reading = Reading(window=window, kind=WindowKind.SESSION, used_percent=used)
    return Snapshot(provider=provider, at=NOW + timedelta(minutes=minutes), readings=(reading,), complete=False)


def failure(minutes, provider="claude"):
    return PollFailure(provider=provider, at=NOW + timedelta(minutes=minutes), kind="timeout", message="no answer")


def list_transitions(history, **more):
    return [
        (each.at - NOW, each.rule, each.event.value)
        for moment in replay.replay_rules(RULES, history, **more)
        for each in moment.transitions
    ]


def test_an_availability_rule_fires_when_its_time_has_come_not_at_the_next_line():
    history = [answer(10, 0), *(failure(10 * turn) for turn in range(1, 7))]
    assert list_transitions(history) == [(timedelta(minutes=45, seconds=1), "quiet", "firing")]


def test_a_gap_in_the_history_is_sleep_and_no_silence():
    assert list_transitions([answer(10, 0), answer(11, 5), answer(12, 10), answer(13, 600), answer(14, 605)]) == []


def test_windows_recorded_at_different_times_do_not_stop_each_others_timers():
    rules = parse_rules('[[rule]]\nname = "r"\nwhen = "claude.five_hour > 80%"\nfor = "10m"', "rules.toml")
    history = [
        each for turn in range(4) for each in (answer(81, 5 * turn), answer(20, 5 * turn + 1, window="seven_day"))
    ]
    said = [each.at - NOW for moment in replay.replay_rules(rules, history) for each in moment.transitions]
    assert said == [timedelta(minutes=10)]


def test_the_interval_is_the_usual_pause_between_two_answers():
    history = [answer(1, minutes) for minutes in (0, 10, 20, 29, 600)]
    assert replay.measure_intervals(history) == {"claude": timedelta(minutes=10)}


def test_two_lines_are_too_few_for_an_interval():
    assert replay.measure_intervals([answer(1, 0), answer(1, 30)]) == {}


def test_failures_count_for_the_interval():
    assert replay.measure_intervals([answer(1, 0), failure(5), failure(10), answer(1, 15)]) == {
        "claude": timedelta(minutes=5)
    }


def test_where_the_history_is_too_short_the_providers_own_interval_counts():
    history = [answer(10, 0), answer(85, 20)]
    assert list_transitions(history, default_intervals={"claude": timedelta(minutes=5)}) == [
        (timedelta(minutes=20), "session", "firing")
    ]
    assert list_transitions(history, default_intervals={"claude": timedelta(minutes=10)}) == []


def test_time_passes_to_the_end_that_is_given():
    history = [answer(10, 0), failure(5), failure(10)]
    assert list_transitions(history) == []
    until = NOW + timedelta(minutes=30)
    assert list_transitions(history, until=until) == []


def test_without_rules_there_are_no_transitions():
    assert [moment.transitions for moment in replay.replay_rules((), [answer(99, 0)])] == [()]


@pytest.mark.parametrize("rules", [RULES[:1], RULES], ids=["plain", "with silence"])
def test_ten_thousand_readings_take_well_under_a_second(rules):
    history = [answer(turn % 60 * 1.5, 5 * turn) for turn in range(10_000)]
    began = process_time()
    moments = sum(1 for _ in replay.replay_rules(rules, history))
    assert moments >= 10_000
    assert process_time() - began < 3  # measured: 0.3 s; the rest is for slow machines


AT = "2026-03-02T09:00:00Z"
NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)


def line(**parts):
    return json.dumps({"at": AT, "provider": "claude"} | parts)


def to_bytes(text):
    return text if isinstance(text, bytes) else text.encode()


def build_results(*lines):
    return list(build_poll_results(read_history_lines(map(to_bytes, lines), "readings.jsonl", set())))


def test_a_line_of_the_contract_becomes_a_reading():
    (snapshot,) = build_results(
        line(
            account="me",
            window="five_hour",
            used_percent=81.5,
            used=3,
            limit=300,
            remaining="297",
            resets_at="2026-03-02T12:00:00+01:00",
            window_seconds=18000,
            unlimited=False,
        )
    )
    assert isinstance(snapshot, Snapshot)
    assert (snapshot.provider, snapshot.account, snapshot.at, snapshot.complete) == ("claude", "me", NINE, False)
    (reading,) = snapshot.readings
    assert (reading.window, reading.kind, reading.used_percent) == ("five_hour", WindowKind.SESSION, 81.5)
    assert (reading.used, reading.limit, reading.remaining) == (Decimal(3), Decimal(300), Decimal(297))
    assert reading.resets_at == datetime(2026, 3, 2, 11, tzinfo=UTC)


def test_unknown_may_be_null_or_left_out():
    left_out, null = build_results(line(window="five_hour"), line(account="b", window="five_hour", used_percent=None))
    assert left_out.readings == null.readings


def test_lines_of_one_instant_and_account_are_one_answer():
    one, other = build_results(
        line(window="five_hour", used_percent=1),
        line(window="seven_day", used_percent=2),
        line(account="b", window="five_hour", used_percent=3),
    )
    assert [reading.window for reading in one.readings] == ["five_hour", "seven_day"]
    assert other.account == "b"


def test_an_error_is_a_failure():
    (failure,) = build_results(line(account="me", error="rate_limited"))
    assert isinstance(failure, PollFailure)
    assert (failure.kind, failure.message, failure.account) == ("rate_limited", "rate limited", "me")


def test_empty_lines_are_left_out():
    assert len(build_results("", line(window="five_hour"), "  \n", b"")) == 1


@pytest.mark.parametrize(
    ("window", "seconds", "kind"),
    [
        ("five_hour", None, WindowKind.SESSION),
        ("weekly", None, WindowKind.WEEKLY),
        ("x", 604_800, WindowKind.WEEKLY),
        ("x", None, WindowKind.OTHER),
    ],
)
def test_the_kind_follows_from_the_length_or_the_name(window, seconds, kind):
    assert build_results(line(window=window, window_seconds=seconds))[0].readings[0].kind is kind


def test_a_balance_in_dollars_is_money():
    (snapshot,) = build_results(line(provider="nano_gpt", window="balance_usd", remaining=4.5))
    assert snapshot.readings[0].unit == "usd"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "readings.jsonl, line 2: Input data was truncated"),
        ('{"provider": "claude"}', "readings.jsonl, line 2: Object missing required field `at`"),
        (
            line(at="yesterday", window="five_hour"),
            "line 2: `at`: Invalid RFC3339 encoded datetime",
        ),
        (
            line(used_percent="much", window="w"),
            "readings.jsonl, line 2: `used_percent`: Expected `float | null`, got `str`",
        ),
        (line(), "readings.jsonl, line 2: neither `window` nor `error` is given"),
        (
            line(at="2026-03-02T09:00:00", window="w"),
            "readings.jsonl, line 2: `at`: Expected `datetime` with a timezone component",
        ),
        (
            line(resets_at="2026-03-02T09:00:00", window="w"),
            "readings.jsonl, line 2: `resets_at`: Expected `datetime` with a timezone component",
        ),
        (
            line(at="2026-03-02T08:00:00Z", window="w"),
            "08:00:00Z is earlier than the line before it; sort by `at`",
        ),
        (b'{"at": "\xff"}', "readings.jsonl, line 2: "),
        (line(window="w" * 100_001), "readings.jsonl, line 2: longer than 100000 characters"),
        ("[" * 50_000, "readings.jsonl, line 2: "),
        (line(window="w").replace('"w"', "1e999"), "readings.jsonl, line 2: "),
    ],
)
def test_an_invalid_line_is_named_with_what_is_wrong(text, said):
    with pytest.raises(UsageError) as caught:
        build_results(line(window="five_hour"), text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_number_out_of_range_is_refused():
    with pytest.raises(UsageError):
        build_results('{"at": "2026-03-02T09:00:00Z", "provider": "claude", "window": "w", "used_percent": 1e999}')


def test_a_byte_order_mark_before_the_first_line_is_not_part_of_it():
    text = line(window="five_hour", used_percent=81)
    assert build_results(b"\xef\xbb\xbf" + text.encode()) == build_results(text)


def test_a_null_account_is_no_account():
    assert build_results(line(account=None, window="five_hour")) == build_results(line(window="five_hour"))


@pytest.mark.parametrize(
    ("parts", "wrong"),
    [
        ({"at": "9999-12-31T23:59:59-14:00"}, "9999-12-31T23:59:59-14:00 is not between the years 2001 and 2199"),
        ({"at": "0001-01-01T00:00:00Z"}, "0001-01-01T00:00:00+00:00 is not between the years 2001 and 2199"),
        ({"resets_at": "9999-12-31T23:59:59Z"}, "9999-12-31T23:59:59+00:00 is not between the years 2001 and 2199"),
        ({"used_percent": 1e300}, "`used_percent`: Expected `float` <= 1000000000000000.0"),
        ({"remaining": "sNaN"}, "`sNaN` is no number up to 1e+15"),
        ({"limit": "Infinity"}, "`Infinity` is no number up to 1e+15"),
        ({"window_seconds": 10**18}, "`window_seconds`: Expected `int` <= 315360000"),
    ],
)
def test_an_impossible_time_or_number_is_named_with_its_line(parts, wrong):
    with pytest.raises(UsageError) as caught:
        build_results(line(window="five_hour"), line(window="five_hour", **parts))
    assert str(caught.value).startswith(f"readings.jsonl, line 2: {wrong}")


def test_a_value_of_the_wrong_type_is_named_by_its_key():
    with pytest.raises(
        UsageError, match=r"line 1: `used_percent`: Expected `float \| null`, got `str`; one reading is"
    ):
        build_results(line(window="five_hour", used_percent="90"))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"window": "five_hour", "resetsAt": AT, "used_percent": 1}, "`resetsAt`; did you mean `resets_at`?"),
        ({"windows": "five_hour"}, "`windows`; did you mean `window`?"),
        ({"window": "five_hour", "used_percent": 1, "\x1b[2J": 1, "uesd": 2}, "`uesd`; did you mean `used`?"),
    ],
)
def test_a_misspelled_key_is_an_error(parts, said):
    with pytest.raises(UsageError, match=r"^readings\.jsonl, line 1: unknown key ") as refused:
        build_results(line(**parts))
    assert said in str(refused.value)


def test_unknown_keys_are_ignored():
    assert build_results(line(window="five_hour", plan="max")) == build_results(line(window="five_hour"))
