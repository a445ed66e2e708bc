"""Claude Code's status line input: read, compared with what is known, merged."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from watcher.core.engine.state import SuspectReading, create_series_state
from watcher.core.model import Reading, Series, Snapshot, WindowKind
from watcher.providers.claude import filter_newer_readings, parse_statusline
from watcher.storage.records import merge_snapshots

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ENDS = NOW + timedelta(hours=2)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def limits(used, resets_at=None, window="five_hour"):
    resets_at = resets_at or ENDS.timestamp()
    return {"rate_limits": {window: {"used_percentage": used, "resets_at": resets_at}}}


@pytest.mark.parametrize(
    "resets_at", [ENDS.timestamp(), int(ENDS.timestamp()), ENDS.isoformat(), "2026-03-01T14:00:00Z"]
)
def test_the_reset_may_be_epoch_or_iso(resets_at):
    (reading,) = parse_statusline(limits(23.4, resets_at), NOW).readings
    assert (reading.window, reading.kind, reading.used_percent) == ("five_hour", WindowKind.SESSION, 23.4)
    assert (reading.resets_at, reading.source, reading.window_seconds) == (ENDS, "statusline", 18000)


def test_every_window_is_read_and_money_is_not():
    content = {
        "rate_limits": {
            "five_hour": {"used_percentage": 1},
            "seven_day": {"used_percentage": "4", "resets_at": None},
            "seven_day_opus": {"used_percentage": 0},
            "extra_usage": {"used_percentage": 3},
        }
    }
    found = {
        reading.window: (reading.used_percent, reading.resets_at) for reading in parse_statusline(content, NOW).readings
    }
    assert found == {"five_hour": (1.0, None), "seven_day": (4.0, None), "seven_day_opus": (0.0, None)}


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"rate_limits": None},
        {"rate_limits": {}},
        {"rate_limits": []},
        {"rate_limits": {"five_hour": None}},
        limits(None),
        limits(used=True),
        limits("much"),
        limits(-1),
    ],
)
def test_nothing_known_is_no_snapshot(content):
    assert parse_statusline(content, NOW) is None


def test_a_reset_in_the_past_is_stale_and_no_news():
    snapshot = parse_statusline(limits(80, NOW.timestamp() - 1), NOW)
    assert snapshot.readings[0].stale
    assert filter_newer_readings(snapshot, {}) is None


@pytest.mark.parametrize(
    ("used", "ends"),
    [(1795864735, ENDS), (120, ENDS), (100.5, ENDS), (5, ENDS + timedelta(days=2)), (5, NOW + timedelta(days=9000))],
)
def test_an_impossible_percentage_or_reset_is_left_out(used, ends):
    assert parse_statusline(limits(used, ends.timestamp()), NOW) is None


def make_states(used, suspect=None):
    reading = Reading(window="five_hour", kind=WindowKind.SESSION, used_percent=used, resets_at=ENDS)
    state = create_series_state(Series(provider="claude", window="five_hour"), NOW)
    doubted = (
        SuspectReading(reading=replace(reading, used_percent=suspect), received_at=NOW, is_reset=False)
        if suspect
        else None
    )
    return {state.series: replace(state, reading=reading, read_at=NOW, suspect=doubted)}


@pytest.mark.parametrize(
    ("used", "is_news", "why"),
    [
        (12, True, "it moves on from what is believed"),
        (95, False, "an idle session repeats the suspect value"),
        (96, True, "a second value near the suspect one"),
        (11, False, "an old value"),
    ],
)
def test_a_line_is_compared_with_the_last_believed_value(used, is_news, why):
    snapshot = parse_statusline(limits(used), NOW)
    assert (filter_newer_readings(snapshot, make_states(11.0, suspect=95.0)) is not None) is is_news, why


@pytest.mark.parametrize(
    ("used", "ends", "is_news", "why"),
    [
        (31, ENDS, True, "use grew"),
        (30, ENDS, False, "the same proves nothing about now"),
        (29, ENDS, False, "another session's older word"),
        (29, ENDS + timedelta(minutes=1), False, "boundaries jitter"),
        (2, ENDS + timedelta(hours=3), True, "the next turn"),
        (90, ENDS - timedelta(hours=1), False, "an earlier turn"),
    ],
)
def test_only_what_moves_on_is_news(used, ends, is_news, why):
    snapshot = parse_statusline(limits(used, ends.timestamp()), NOW)
    assert (filter_newer_readings(snapshot, make_states(30.0)) is not None) is is_news, why


def test_a_window_not_known_before_is_news():
    assert filter_newer_readings(parse_statusline(limits(1), NOW), {}).readings[0].used_percent == 1.0


def test_merging_keeps_what_the_status_line_does_not_say():
    opus = Reading(window="seven_day_opus", kind=WindowKind.WEEKLY, used_percent=50.0)
    known = Snapshot(
        provider="claude",
        account="a",
        plan="Max",
        at=NOW - timedelta(hours=1),
        readings=(Reading(window="five_hour", kind=WindowKind.SESSION, used_percent=30.0), opus),
    )
    result = merge_snapshots(
        known,
        parse_statusline(
            {"rate_limits": {**limits(40)["rate_limits"], **limits(4, window="seven_day")["rate_limits"]}}, NOW
        ),
    )
    assert (result.account, result.plan, result.at) == ("a", "Max", NOW)
    assert [(each.window, each.used_percent) for each in result.readings] == [
        ("five_hour", 40.0),
        ("seven_day_opus", 50.0),
        ("seven_day", 4.0),
    ]


def test_merging_into_nothing_is_the_snapshot_itself():
    snapshot = parse_statusline(limits(40), NOW)
    assert merge_snapshots(None, snapshot) is snapshot


@given(
    st.dictionaries(
        st.sampled_from(["rate_limits", "model"]),
        st.dictionaries(
            st.sampled_from(["five_hour", "seven_day", "x"]),
            st.dictionaries(st.sampled_from(["used_percentage", "resets_at"]), JSON) | JSON,
        ),
    )
)
def test_any_json_is_a_snapshot_or_none(content):
    snapshot = parse_statusline(content, NOW)
    assert snapshot is None or all(0 <= each.used_percent <= 100 for each in snapshot.readings)
