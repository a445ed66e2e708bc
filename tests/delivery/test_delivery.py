"""What is delivered and when, with the whole daemon: quiet hours, snoozes, channels that are down."""

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from freezegun import freeze_time

from tests.world import START, Machine, ManualQueue, StuckError, World
from watcher.core.model import DeliveryState, Severity, Snooze
from watcher.delivery import dispatcher
from watcher.errors import TimedOutError
from watcher.status.builder import ConfigFacts, build_status

D, H, M, S = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
BERLIN = ZoneInfo("Europe/Berlin")
WINDOWS = ("five_hour", "seven_day", "seven_day_opus", "seven_day_sonnet")
FAR = START + 90 * D

HOOK = """
[poll]
every = "10m"
[channels.hook]
type = "webhook"
url = "http://127.0.0.1:9/hook"
"""
pytestmark = pytest.mark.posix  # Windows has no `tzset`

RULE = """
[[rule]]
name = "full"
when = "*.* > level"
levels = { warning = "80%", critical = "95%" }
clear = "< 70%"
"""
NIGHT = '[quiet]\nhours = "22:00-08:00"\n'


@pytest.fixture(autouse=True)
def berlin(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def make_world(tmp_path):
    """`make_world(at)`: a world at that instant."""
    make_world = []
    with freeze_time(START.replace(tzinfo=None), ignore=["watcher"]) as frozen:  # only `schedule` reads that clock

        def make(at=START, config=HOOK + RULE):
            world = World(tmp_path, Machine(frozen, at))
            world.config(config)
            set_usage(world)
            make_world.append(world)
            return world

        yield make
        for world in make_world:
            assert not [line for line in world.log.lines if line.startswith("CRASH")]
            world.leave()


@pytest.fixture
def world(make_world):
    return make_world()


def set_usage(world, *percents):
    """What each of Claude's windows says from now on; left out: half."""
    shares = dict(zip(WINDOWS, percents, strict=False))
    body = {each: {"utilization": shares.get(each, 50), "resets_at": FAR.isoformat()} for each in WINDOWS}
    world.answers["/api/oauth/usage"] = lambda _request: world.json(body)


def fail_hook(world, status=503, **headers):
    world.answers["/hook"] = lambda _request: world.json({}, status, **headers)


def restore_hook(world):
    world.answers["/hook"] = world._receive


def list_attempts(world):
    return [at for at, path in world.asked if path == "/hook"]


def outbox(world):
    store = world.store()
    rows = store.outbox.load()
    store.close()
    return rows


def local(*parts):
    """That wall time in Berlin; a sum, because under freezegun a new instant would be of its own class."""
    return START + (datetime(*parts, tzinfo=BERLIN).astimezone(UTC) - START)


# --- nights ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow  # hours of a simulated day
def test_a_night_ends_in_one_digest_of_what_still_fires(make_world):
    world = make_world(local(2026, 3, 2, 21), HOOK + RULE + NIGHT)
    world.watch(
        14 * H,
        (3 * H, lambda: set_usage(world, 85, 82, 90)),
        (6 * H, lambda: set_usage(world, 86, 82, 40)),
    )
    assert world.titles() == ["digest: After quiet hours: 2 alerts"]
    assert world.received[0]["message"].splitlines()[0].startswith("Claude 5-hour window at 86 %, resets in ")
    assert world.received[0]["at"].startswith("2026-03-03T07:00:0"), "at eight in Berlin"


@pytest.mark.slow  # a simulated night or day
def test_what_is_critical_wakes_and_its_end_waits_for_the_morning(make_world):
    world = make_world(local(2026, 3, 2, 21), HOOK + RULE + NIGHT)
    seen = []
    world.watch(
        14 * H,
        (3 * H, lambda: set_usage(world, 97)),
        (5 * H, lambda: set_usage(world, 60)),
        (10 * H, lambda: seen.extend(world.titles())),
    )
    assert [title.partition(":")[0] for title in seen] == ["firing"]
    assert [body["event"] for body in world.received] == ["firing", "resolved"]


@pytest.mark.slow  # a simulated night or day
def test_what_begins_and_ends_at_night_is_never_sent(make_world):
    world = make_world(local(2026, 3, 2, 21), HOOK + RULE + NIGHT)
    world.watch(14 * H, (3 * H, lambda: set_usage(world, 85)), (5 * H, lambda: set_usage(world, 60)))
    assert world.received == []
    assert outbox(world) == []


@pytest.mark.slow  # a simulated night or day
def test_the_end_of_what_was_sent_in_the_evening_is_sent_in_the_morning(make_world):
    world = make_world(local(2026, 3, 2, 20), HOOK + RULE + NIGHT)
    set_usage(world, 85)
    world.watch(14 * H, (5 * H, lambda: set_usage(world, 60)))
    assert [body["event"] for body in world.received] == ["firing", "resolved"]
    assert list_attempts(world)[1] == local(2026, 3, 3, 8)


@pytest.mark.slow  # a simulated night
@pytest.mark.parametrize(
    ("evening", "morning"),
    [
        ((2026, 3, 28, 21), (2026, 3, 29, 8)),  # an hour shorter
        ((2026, 10, 24, 21), (2026, 10, 25, 8)),  # an hour longer
    ],
)
def test_the_night_ends_at_eight_by_the_clock_on_the_wall_when_it_is_changed(make_world, evening, morning):
    world = make_world(local(*evening), HOOK + RULE + NIGHT)
    world.watch(14 * H, (3 * H, lambda: set_usage(world, 85)))
    assert [body["event"] for body in world.received] == ["firing"]
    assert list_attempts(world) == [local(*morning)]


@pytest.mark.slow  # a simulated night or day
def test_a_restart_at_night_keeps_the_silence_and_the_morning(make_world):
    world = make_world(local(2026, 3, 2, 21), HOOK + RULE + NIGHT)
    world.watch(4 * H, (2 * H, lambda: set_usage(world, 85)))
    world.watch(2 * H)
    assert world.received == []
    world.watch(8 * H)
    assert [body["event"] for body in world.received] == ["firing"]


@pytest.mark.slow  # a simulated night or day
def test_a_channel_that_is_down_in_the_evening_is_left_alone_at_night(make_world):
    world = make_world(local(2026, 3, 2, 21, 30), HOOK + RULE + NIGHT)
    set_usage(world, 85)
    fail_hook(world)
    world.watch(14 * H, (10 * H, lambda: restore_hook(world)))
    quiet = [at for at in list_attempts(world) if local(2026, 3, 2, 22) <= at < local(2026, 3, 3, 8)]
    assert quiet == []
    assert [body["event"] for body in world.received] == ["firing"]


@pytest.mark.slow  # a simulated night or day
def test_what_may_have_arrived_in_the_evening_is_not_sent_again_at_night(make_world):
    world = make_world(local(2026, 3, 2, 21, 59, 58), HOOK + RULE + NIGHT)
    set_usage(world, 85)
    world.answers["/hook"] = lambda _request: TimedOutError("the server gave no answer in 20 s", request_sent=True)
    world.watch(14 * H, (H, lambda: restore_hook(world)))
    assert list_attempts(world)[0] < local(2026, 3, 2, 22)
    assert list_attempts(world)[1:] == [local(2026, 3, 3, 8)]


# --- snoozes ---------------------------------------------------------------------------------------------------------


def snooze(world, target, **more):
    store = world.store()
    series = {str(state.series): state.episode for state in store.alerts.load_state().series_states.values()}
    parts = {"target": target, "created_at": world.machine.now()} | more
    if parts.pop("until_reset", False):
        parts["episodes"] = {name: number for name, number in series.items() if name.endswith("five_hour")}
    store.run_transaction(lambda: store.snoozes.save(Snooze(**parts)), now=world.machine.now())
    store.close()


def test_a_snooze_holds_back_for_its_time_and_what_still_fires_is_sent_then(world):
    world.watch(M)
    snooze(world, "full", expires_at=START + 3 * H)
    world.watch(6 * H, (30 * M, lambda: set_usage(world, 85)))
    assert [body["event"] for body in world.received] == ["firing"]
    assert list_attempts(world) == [START + 3 * H]


def test_a_higher_level_ends_a_snooze(world):
    set_usage(world, 85)
    world.watch(M)
    snooze(world, "full", expires_at=START + 9 * H, severity=Severity.WARNING)
    world.watch(6 * H, (2 * H, lambda: set_usage(world, 97)))
    assert [body["event"] for body in world.received] == ["firing", "escalated"]
    assert world.store().snoozes.load() == []


def test_a_snooze_until_the_reset_is_over_with_it(world):
    def until(percent, resets_at):
        body = {"five_hour": {"utilization": percent, "resets_at": resets_at.isoformat()}}
        return lambda: world.answers.update({"/api/oauth/usage": lambda _request: world.json(body)})

    first, second = START + 3 * H, START + 8 * H
    until(75, first)()
    world.watch(M)
    snooze(world, "claude.five_hour", until_reset=True)
    world.watch(
        7 * H,
        (20 * M, until(85, first)),
        (3 * H, until(2, second)),
        (5 * H, until(60, second)),
        (6 * H, until(88, second)),
    )
    assert [body["event"] for body in world.received] == ["firing"]
    assert list_attempts(world)[0] > START + 6 * H


# --- channels that are down or slow ----------------------------------------------------------------------------------


def test_a_channel_that_was_down_gets_beginning_and_end_in_one_message(world):
    fail_hook(world)
    set_usage(world, 85)
    world.watch(4 * H, (H, lambda: set_usage(world, 60)), (2 * H, lambda: restore_hook(world)))
    (message,) = world.received
    assert message["event"] == "resolved"
    assert message["message"].startswith("At 10:00: Claude 5-hour window at 85 %. This could not be delivered")


def test_more_than_three_alerts_of_one_poll_are_one_message(world):
    set_usage(world, 85, 86, 87, 88)
    world.watch(H)
    assert world.titles() == ["digest: 4 alerts"]


def test_three_alerts_of_one_poll_are_three_messages_one_after_the_other(world):
    set_usage(world, 85, 86, 87)
    world.watch(H)
    first, second, third = list_attempts(world)
    assert first <= second <= third <= first + S
    assert [message["used_percent"] for message in world.received] == [85, 86, 87]


def test_the_wait_that_a_channel_asks_for_is_obeyed_and_holds_up_no_other(make_world):
    other = (
        '[channels.other]\ntype = "webhook"\nurl = "http://127.0.0.1:9/other"\n[route]\ndefault = ["hook", "other"]\n'
    )
    world = make_world(config=HOOK + other + RULE)
    seen = []
    world.answers["/other"] = lambda _request: (seen.append(world.machine.now()), world.json({}))[1]
    fail_hook(world, 429, **{"retry-after": "1800"})
    set_usage(world, 85)
    world.watch(2 * H, (10 * M, lambda: restore_hook(world)))
    first, second = list_attempts(world)
    assert second - first >= 1800 * S
    assert second - first < 1810 * S
    assert seen == [first]


@pytest.mark.slow  # a simulated night or day
def test_what_could_not_be_delivered_for_a_day_is_dead_and_shown_in_status(world):
    fail_hook(world)
    set_usage(world, 85)
    world.watch(25 * H)
    store = world.store()
    (dead,) = store.outbox.load_finished(DeliveryState.DEAD, since=START)
    assert dead.last_response.startswith("not delivered within 24 h; the last answer: answered 503 Service Unavailable")
    shown = build_status(store, ConfigFacts(), now=world.machine.now())
    assert "Claude 5-hour window at 85 %" in repr(shown)
    assert len(list_attempts(world)) < 25 * 4 + 12, "ever more slowly, a quarter of an hour apart at last"


@pytest.mark.slow  # a week of the daemon; `tests/core/routing/test_planner.py` has the planner's part
def test_a_channel_that_is_down_for_a_week_costs_little_and_comes_back_without_a_flood(make_world):
    world = make_world(config=HOOK.replace("10m", "30m") + RULE)
    fail_hook(world)
    sizes = []

    def change(number):
        def apply():
            set_usage(world, *((85, 97, 60, 88)[(number + each) % 4] for each in range(4)))
            sizes.append(len(outbox(world)))

        return apply

    world.watch(7 * D + H, *((number * 4 * H + M, change(number)) for number in range(42)))
    assert max(sizes) <= 6
    restore_hook(world)
    world.watch(2 * H)
    assert 1 <= len(world.received) <= 4
    assert outbox(world) == []


def test_a_permanent_refusal_stops_the_channel_until_the_config_changes(make_world):
    other = (
        '[channels.other]\ntype = "webhook"\nurl = "http://127.0.0.1:9/other"\n[route]\ndefault = ["hook", "other"]\n'
    )
    world = make_world(config=HOOK + other + RULE)
    seen = []
    world.answers["/other"] = lambda request: (seen.append(request.body.decode()), world.json({}))[1]
    world.answers["/new"] = world._receive
    fail_hook(world, 404)
    set_usage(world, 85)
    world.watch(3 * H)
    assert len(list_attempts(world)) == 1
    assert sum("has stopped" in body for body in seen) == 1
    world.config((HOOK + other + RULE).replace("9/hook", "9/new"))
    world.watch(H)
    assert [body["event"] for body in world.received] == ["firing"]


DISCORD = """
[channels.hook]
type = "discord"
url = "http://127.0.0.1:9/api/webhooks/1/token"
"""
DISCORD_PATH = "/api/v10/webhooks/1/token"


def posted(world):
    return [at for at, path in world.asked if path == DISCORD_PATH]


def test_discords_own_wait_is_obeyed_to_the_second(make_world):
    world = make_world(config=DISCORD + RULE)
    answers = [world.json({"retry_after": 64.5, "global": False}, 429), world.json({})]
    world.answers[DISCORD_PATH] = lambda _request: answers.pop(0)
    set_usage(world, 85)
    world.watch(H)
    first, second = posted(world)
    assert 64.5 * S <= second - first < 66 * S


def test_the_pause_after_the_last_message_that_discord_allows_is_kept(make_world):
    world = make_world(config=DISCORD + RULE)
    limits = {"x-ratelimit-remaining": "0", "x-ratelimit-reset-after": "40"}
    world.answers[DISCORD_PATH] = lambda _request: world.json({}, **limits)
    set_usage(world, 85, 86)
    world.watch(H)
    first, second = posted(world)
    assert second - first == 40 * S


def test_a_restart_obeys_the_wait_that_a_channel_asked_for(world):
    fail_hook(world, 429, **{"retry-after": "1800"})
    set_usage(world, 85)
    world.watch(M)
    restore_hook(world)
    world.watch(H)
    first, second = list_attempts(world)
    assert second - first >= 1800 * S


def test_a_test_message_that_arrives_ends_a_stop_and_what_waited_is_sent(world):
    fail_hook(world, 404)
    set_usage(world, 85)
    world.watch(H)
    restore_hook(world)
    world.watch(H)
    assert world.received == [], "nothing has changed as far as the watcher knows"
    store, now = world.store(), world.machine.now()
    store.run_transaction(lambda: dispatcher.resume_channels(store.outbox, ["hook"], now), now=now)
    store.close()
    world.watch(M)
    assert [body["event"] for body in world.received] == ["firing"]


def test_a_receiver_that_hangs_delays_neither_polls_nor_other_channels_and_is_sent_to_after_a_restart(make_world):
    other = (
        '[channels.other]\ntype = "webhook"\nurl = "http://127.0.0.1:9/other"\n[route]\ndefault = ["hook", "other"]\n'
    )
    world = make_world(config=HOOK + other + RULE)
    world.answers["/other"] = world._receive
    begun = []

    def hang(request):
        begun.append(request.headers["Idempotency-Key"])
        raise StuckError

    world.answers["/hook"] = hang
    set_usage(world, 85)
    daemon, calls, store = world.daemon(ManualQueue(world.machine))
    calls.until, calls.events = START + 3 * H, [(START + H, lambda: set_usage(world, 60))]
    daemon.run()
    store.close()
    assert [body["event"] for body in world.received] == ["firing", "resolved"]
    assert len(world.polls()) > 10
    assert len(begun) == 1, "no second attempt while one hangs"
    assert len(set(begun)) == 1, "nothing gets ahead of it"
    world.received.clear()
    restore_hook(world)
    world.watch(M)
    assert [body["event"] for body in world.received] == ["firing", "resolved"]
    assert world.received[0]["id"] == begun[0]
