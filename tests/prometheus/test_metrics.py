"""The samples of a watcher: what is exported, what is missing, and the texts and bytes that leave."""

import re
import shutil
import struct
import subprocess
from datetime import timedelta

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.prometheus.tools import needs
from tests.world import HOOK, SESSION, START, make_world
from watcher import pipeline
from watcher.config.loader import load_config
from watcher.config.metrics import MetricsTable, _load_salt
from watcher.core.model import PollFailure, Reading, Snapshot, WindowKind
from watcher.errors import TimedOutError
from watcher.prometheus.metrics import (
    FAMILIES,
    STALE_NAN,
    Sample,
    collect_samples,
    encode_remote_write,
    format_text,
    label_account,
)
from watcher.storage.store import Store
from watcher.system.paths import Paths

M = timedelta(minutes=1)
SALTED = MetricsTable(salt="team secret")


@pytest.fixture
def world(tmp_path):
    with make_world(tmp_path, HOOK + SESSION) as world:
        yield world


def collect(world, labels=SALTED):
    return collect_samples(world.store(), labels, world.machine.now())


def values(samples, name):
    return [each.value for each in samples if each.name == f"ai_usage_{name}"]


def test_a_window_is_exported_as_the_engine_believes_it(world):
    world.usage(85)
    world.watch(4 * M)
    samples = collect(world)
    assert values(samples, "window_used_ratio") == [0.85]
    assert values(samples, "window_reset_timestamp_seconds") == [(START + timedelta(hours=4)).timestamp()]
    assert values(samples, "window_length_seconds") == [5 * 3600]
    assert values(samples, "window_read_timestamp_seconds") == [START.timestamp()]
    assert values(samples, "window_primary") == [1]
    assert values(samples, "account_up") == [1]
    (firing,) = [each for each in samples if each.name == "ai_usage_alert_firing"]
    assert dict(firing.labels) | {"account": ""} == {
        "provider": "claude",
        "account": "",
        "window": "five_hour",
        "kind": "session",
        "rule": "session",
        "severity": "warning",
    }


def test_unknown_is_a_missing_sample_and_never_zero(world):
    world.usage(50)
    world.watch(4 * M)
    world.answers["/api/oauth/usage"] = lambda _request: TimedOutError("no answer")
    world.watch(10 * M)
    samples = collect(world)
    assert values(samples, "window_used_ratio") == []
    assert values(samples, "window_read_timestamp_seconds") == [START.timestamp()]
    assert values(samples, "account_up") == [0]
    (error,) = [each for each in samples if each.name == "ai_usage_account_error_info"]
    assert dict(error.labels)["kind"] == "timeout"
    assert not any(value == "no answer" for each in samples for _, value in each.labels)


def test_an_account_that_was_switched_away_from_is_neither_up_nor_down(world):
    world.usage(50)
    world.watch(4 * M)
    (account,) = world.store().accounts.load()
    away = PollFailure(
        provider="claude",
        account=account.account,
        at=world.machine.now(),
        kind="not_signed_in",
        message="",
        switched_away=True,
    )
    world.store().readings.save_result(away)
    assert values(collect(world), "account_up") == []


def test_a_reading_that_is_not_believed_is_not_exported(world):
    world.usage(3)
    world.watch(4 * M)
    world.usage(100)
    world.machine.passes(10 * M)
    world.watch(M / 2)
    assert len(world.polls()) == 2
    assert values(collect(world), "window_used_ratio") == []
    assert values(collect(world), "window_read_timestamp_seconds") == [START.timestamp()]


def test_a_window_of_a_name_that_tells_nothing_is_exported_once_it_is_used(world):
    windows = {"five_hour": {"utilization": 50, "resets_at": None}, "tangelo": {"utilization": 0, "resets_at": None}}
    world.answers["/api/oauth/usage"] = lambda _request: world.json(windows)
    world.watch(4 * M)
    assert values(collect(world), "window_used_ratio") == [0.5]
    windows["tangelo"]["utilization"] = 5
    world.watch(10 * M)
    assert sorted(values(collect(world), "window_used_ratio")) == [0.05, 0.5]


def test_a_window_that_is_gone_ends_its_alerts_on_prometheus(tmp_path):
    """The failure of a provider whose account is not known yet, until an account answers."""
    reading = Reading(window="five_hour", kind=WindowKind.SESSION, used_percent=5.0, source="api")
    failure = PollFailure(provider="claude", at=START, kind="expired", message="")
    answer = Snapshot(provider="claude", account="b", at=START + M, readings=(reading,))
    config = load_config(Paths(tmp_path, tmp_path), {}.get, tmp_path)
    with Store(tmp_path / "watcher.db", now=START) as store:

        def process(result):
            pipeline.process_result(store, config, result, now=result.at, every=5 * M)
            return collect_samples(store, SALTED, result.at)

        failing = process(failure)
        store.accounts.forget_unanswered("claude", "")
        ended, later = process(answer), collect_samples(store, SALTED, START + 17 * M)
    found = [(values(each, "account_up"), values(each, "window_episodes_total")) for each in (failing, ended, later)]
    assert found == [([0], [0]), ([1, 1], [1, 0]), ([1], [0])]


def test_a_new_episode_counts(world):
    world.usage(50)
    world.watch(4 * M)
    (before,) = values(collect(world), "window_episodes_total")
    world.usage(2, START + timedelta(hours=9))
    world.machine.passes(timedelta(hours=5))
    world.watch(30 * M)
    assert values(collect(world), "window_episodes_total") == [before + 1]


def test_lean_leaves_out_half(world):
    world.watch(4 * M)
    full, lean = collect(world), collect(world, MetricsTable(salt="s", detail="lean"))
    names = {each.name for each in full} - {each.name for each in lean}
    assert names >= {"ai_usage_window_length_seconds", "ai_usage_window_primary"}
    assert "ai_usage_window_used_ratio" in {each.name for each in lean}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (MetricsTable(account="name"), "me@example.com"),
        (MetricsTable(account="none"), ""),
        (MetricsTable(account="alias", aliases={"me@example.com": "me"}), "me"),
        (MetricsTable(account="alias", aliases={"key-1": "me"}), "me"),
    ],
)
def test_an_account_is_labelled_as_the_config_says(labels, expected):
    assert label_account(labels, "claude", "key-1", "me@example.com") == expected


def test_an_account_is_a_salted_hash_unless_it_has_an_alias():
    plain = label_account(MetricsTable(salt="a"), "claude", "key-1", "me@example.com")
    assert re.fullmatch("[0-9a-f]{10}", plain)
    assert label_account(MetricsTable(salt="a"), "claude", "key-1", "another name") == plain
    assert label_account(MetricsTable(salt="b"), "claude", "key-1", "me@example.com") != plain
    assert label_account(MetricsTable(salt="a"), "codex", "key-1", "me@example.com") != plain
    without_alias = MetricsTable(account="alias", salt="a", aliases={"you@example.com": "you"})
    assert label_account(without_alias, "claude", "key-1", "me@example.com") == plain


HOSTILE = [
    Sample("ai_usage_account_up", (("account", 'a"b\\c\nd'), ("provider", "clàude\ud800")), 1),
    Sample("ai_usage_window_episodes_total", (("window", "w"),), 3),
    Sample("ai_usage_window_exhaustion_timestamp_seconds", (), float("inf")),
    Sample("ai_usage_window_used_ratio", (), 0.1),
]


@pytest.mark.parametrize(("openmetrics", "parse"), [(False, parse_text), (True, parse_openmetrics)])
def test_both_texts_are_read_by_the_official_parser(openmetrics, parse):
    order = list(FAMILIES)
    samples = sorted(HOSTILE, key=lambda each: order.index(each.name))
    text = format_text(samples, openmetrics=openmetrics)
    read = {
        (each.name, tuple(sorted(each.labels.items()))): each.value for family in parse(text) for each in family.samples
    }
    expected = {
        (each.name, tuple((name, value.encode("utf-8", "replace").decode()) for name, value in each.labels)): each.value
        for each in samples
    }
    assert read == expected
    assert text.endswith("# EOF\n") == openmetrics


@needs("promtool")
def test_promtool_finds_nothing_wrong(world):
    world.usage(85)
    world.watch(4 * M)
    text = format_text(collect(world))
    done = subprocess.run(
        [shutil.which("promtool") or "", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.strip(), done.stdout.strip()) == (0, "", "")
    assert "ai_usage_window_used_ratio{" in text


def decompress(block):
    """Snappy with literals only, read as its format description says."""
    length = shift = position = 0
    while True:
        byte = block[position]
        length |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            break
    out = b""
    while position < len(block):
        assert block[position] == 61 << 2
        size = int.from_bytes(block[position + 1 : position + 3], "little") + 1
        out += block[position + 3 : position + 3 + size]
        position += 3 + size
    assert len(out) == length
    return out


@pytest.mark.parametrize("count", [0, 1, 3000])
def test_a_push_of_any_size_is_valid_snappy(count):
    samples = [Sample("ai_usage_account_up", (("account", f"a{number}"),), number) for number in range(count)]
    content = decompress(encode_remote_write(samples, (), START))
    assert content.count(b"ai_usage_account_up") == count


def test_a_series_that_ended_gets_a_staleness_marker():
    content = decompress(encode_remote_write((), [("ai_usage_account_up", (("account", "a"),))], START))
    assert STALE_NAN in content
    assert struct.unpack("<d", STALE_NAN)[0] != struct.unpack("<d", STALE_NAN)[0]


def test_the_salt_is_made_once_also_in_a_state_folder_that_is_not_there_yet(tmp_path):
    salt = _load_salt(tmp_path / "state")
    assert len(salt) == 64
    assert _load_salt(tmp_path / "state") == salt
