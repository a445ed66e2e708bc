"""The results of polls as they were: a replay from the store gives what the daemon decided."""

from datetime import timedelta

import pytest

from tests.world import HOOK, START, make_world
from watcher.config import loader
from watcher.core.engine import replay
from watcher.core.model import PollFailure, Reading, Snapshot, WindowKind
from watcher.errors import ServerError, TimedOutError
from watcher.storage.store import Store

D, H, M = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
CONFIG = f"""{HOOK}[[rule]]
name = "quiet"
when = "claude.age > 45m"
remind = "1h"
[[rule]]
name = "down"
when = "not claude.up"
for = "12m"
[[rule]]
name = "session"
when = "claude.five_hour > 80%"
"""


@pytest.fixture
def world(tmp_path):
    with make_world(tmp_path, CONFIG) as world:
        yield world


def fails_with(error):
    def answer(_request):
        return error

    return answer


def test_a_replay_from_the_store_equals_what_the_daemon_decided(world):
    def breaks(error):
        return lambda: world.answers.update({"/api/oauth/usage": fails_with(error)})

    world.watch(
        9 * H,
        (1 * H, breaks(TimedOutError("no answer"))),
        (2 * H, breaks(ServerError("503"))),
        (3 * H, lambda: world.usage(85)),
        (5 * H, breaks(TimedOutError("no answer"))),
        (5 * H + 20 * M, lambda: world.usage(86)),
    )
    store = world.store()
    past, said = store.readings.load_poll_results(START - H), store.alerts.load_transitions(since=START - H)
    rules = loader.load_config(world.paths, lambda text: text, world.home).rules
    played = replay.replay_rules(rules, past, until=world.machine.now())
    again = [each for moment in played for each in moment.transitions]
    story = [(each.rule, each.event.value) for each in said]
    assert ("quiet", "reminder") in story
    assert story.count(("down", "firing")) == 2

    def shape(transitions):
        return sorted((each.rule, each.event, each.reason, each.severity) for each in transitions)

    assert shape(again) == shape(said)
    for then, now in zip(sorted(said, key=_order), sorted(again, key=_order), strict=True):
        assert abs(then.at - now.at) < timedelta(minutes=1)


def _order(transition):
    return transition.rule, transition.at


# --- how the store keeps them -----------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "watcher.db", now=START)
    yield store
    store.close()


def failure(after, kind="timeout", **facts):
    return PollFailure(
        **{"provider": "claude", "account": "a", "at": START + after, "kind": kind, "message": "no", **facts}
    )


def answer(after):
    reading = Reading(window="five_hour", kind=WindowKind.SESSION, used_percent=10.0)
    return Snapshot(provider="claude", account="a", at=START + after, readings=(reading,))


def record(store, *news):
    for each in news:
        store.run_transaction(lambda each=each: store.readings.save_result(each), now=each.at)


def test_every_failed_poll_is_kept(store):
    polls = [failure(each * M) for each in (0, 5, 10, 40, 45)]
    record(store, *polls)
    assert store.readings.load_failures(since=START) == polls
    assert store.readings.load_failures(since=START + 7 * M) == polls[2:]


@pytest.mark.parametrize(
    "between",
    [
        answer(7 * M),
        failure(7 * M, kind="server"),
        failure(7 * M, message="another"),
        failure(7 * M, retry_at=START + H),
    ],
)
def test_failures_are_loaded_in_time_order(store, between):
    news = [failure(0 * M), failure(5 * M), between, failure(10 * M), failure(15 * M)]
    record(store, *news)
    assert store.readings.load_failures(since=START) == [each for each in news if isinstance(each, PollFailure)]


def test_failures_are_kept_by_account_even_if_the_clock_is_set_back(store):
    polls = [failure(0 * M), failure(0 * M, account="b"), failure(5 * M), failure(4 * M)]
    record(store, *polls)
    assert store.readings.load_failures(since=START) == [polls[0], polls[3], polls[2], polls[1]]


def test_failures_are_deleted_with_the_readings_of_their_time(store):
    record(store, failure(0 * M), answer(M), failure(10 * M), failure(D))
    store.run_transaction(lambda: store.delete_old_records(START + 14 * D + 5 * M), now=START)
    assert [each.at for each in store.readings.load_failures(since=START)] == [START + 10 * M, START + D]


def test_failures_of_a_joined_account_are_deleted(store):
    record(store, failure(0 * M), failure(0 * M, account="b"))
    store.run_transaction(lambda: store.accounts.join("claude", "a", "b"), now=START)
    assert [each.account for each in store.readings.load_failures(since=START)] == ["b"]
