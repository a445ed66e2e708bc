"""The daemon in trouble: a network that is late, a config in the making, what fails for hours."""

from datetime import timedelta

import pytest

from tests.world import HOOK, SESSION, START, ManualQueue, hang_search, make_world
from watcher.errors import OfflineError
from watcher.storage.store import Store

D, H, M, S = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
CONFIG = HOOK + SESSION


@pytest.fixture
def world(tmp_path):
    with make_world(tmp_path, CONFIG) as world:
        yield world


def watch(world, span, *events):
    calls = ManualQueue(world.machine)
    daemon, calls, store = world.daemon(calls)
    began = world.machine.now()
    calls.until = began + span
    calls.events = [(began + after, lambda event=event: event(daemon, calls)) for after, event in events]
    daemon.run()
    store.close()
    return calls


def failure(world):
    store = Store(world.paths.state_dir / "watcher.db", now=world.machine.now())
    (account,) = (each for each in store.accounts.load() if each.provider == "claude")
    store.close()
    return account.failure


@pytest.mark.parametrize("provider", ["codex", "nano_gpt"])  # shown, and searched, before and after claude
def test_a_check_ends_although_a_search_for_logins_never_does(world, monkeypatch, provider):
    hang_search(monkeypatch, provider)
    world.usage(85)
    daemon, calls, store = world.daemon()
    calls.until = START + H
    daemon.run_once()
    store.close()
    assert world.machine.now() == START + 10 * M
    assert [body["event"] for body in world.received] == ["firing"]


def test_a_network_that_is_late_after_a_sleep_is_tried_again_soon_and_fires_no_alert(world):
    silence = (
        '[[rule]]\nname = "blind"\nwhen = "*.age > 45m"\n[[rule]]\nname = "down"\nwhen = "not claude.up"\nfor = "5m"\n'
    )
    world.config(CONFIG + silence)
    good = world.answers["/api/oauth/usage"]
    up_at = START + 31 * M + 8 * H + 40 * S

    def answer(request):
        if START + 31 * M < world.machine.now() < up_at:
            raise OfflineError("no network yet")
        return good(request)

    def night(*_):
        world.usage(50, START + 12 * H)
        nonlocal good
        good = world.answers["/api/oauth/usage"]
        world.answers["/api/oauth/usage"] = answer
        world.machine.sleeps(8 * H)

    watch(world, 10 * H, (31 * M, night))
    woke = [at for at in world.polls() if at >= START + 31 * M + 8 * H]
    assert woke[0] - (START + 31 * M + 8 * H) < 5 * M
    assert woke[1] - woke[0] <= 90 * S
    assert world.received == []
    assert failure(world) is None


def test_a_changed_config_is_in_force_at_the_next_waking_of_any_kind(world):
    rules = []
    watch(
        world,
        8 * M,
        (7 * M, lambda *_: world.config(CONFIG.replace('"session"', '"new"'))),  # between heartbeats
        (7 * M + S, lambda daemon, _: daemon.check_requests()),
        (7 * M + 2 * S, lambda daemon, _: rules.extend(rule.name for rule in daemon.config.rules)),
    )
    assert rules == ["new"]


def test_a_config_that_is_refused_is_read_once_and_not_at_every_waking(world):
    watch(
        world,
        8 * M,
        (6 * M, lambda *_: world.config("[[rule]\n")),
        *[(6 * M + n * S, lambda daemon, _: daemon.check_requests()) for n in range(1, 20)],
    )
    assert sum("cannot be used" in line for line in world.log.lines) == 1
    assert [body["event"] for body in world.received] == ["notice"]


def test_a_reload_during_a_reload_reads_the_latest(world):
    calls = ManualQueue(world.machine)
    daemon, calls, store = world.daemon(calls)
    calls.until = START + 10 * M
    start, held = calls.start_thread, []

    def twice():
        calls.start_thread = held.append
        daemon.reload()
        daemon.reload()

    def go_on():
        assert len(held) == 1  # one at a time
        world.config(CONFIG.replace('"session"', '"new"'))
        calls.start_thread = start
        while held:
            start(held.pop(0))

    calls.events = [(START + 6 * M, twice), (START + 6 * M + S, go_on)]
    daemon.run()
    store.close()
    assert [rule.name for rule in daemon.config.rules] == ["new"]
    assert sum("config loaded" in line for line in world.log.lines) == 1


@pytest.mark.slow  # hours of a simulated day
def test_a_failing_channel_is_one_line_when_it_begins_and_one_when_it_ends(world):
    receive = world.answers["/hook"]
    world.answers["/hook"] = lambda _request: world.json({}, 503)
    world.usage(85)
    watch(
        world,
        8 * H,
        (2 * H, lambda *_: world.usage(60)),
        (3 * H, lambda *_: world.usage(85)),
        (5 * H, lambda *_: world.answers.update({"/hook": receive})),
    )
    said = [line for line in world.log.lines if line.startswith("channel hook")]
    assert len(said) == 2
    assert said[1] == "channel hook: delivers again"


@pytest.mark.slow  # hours of a simulated day
def test_a_failing_provider_is_one_line_when_it_begins_and_one_when_it_ends(world):
    good = world.answers["/api/oauth/usage"]
    world.answers["/api/oauth/usage"] = lambda _request: world.json({}, 503)
    watch(world, 8 * H, (5 * H, lambda *_: world.answers.update({"/api/oauth/usage": good})))
    said = [line for line in world.log.lines if line.startswith("claude")]
    assert len(said) == 2
    assert said[1] == "claude: answers again"


@pytest.mark.slow  # a simulated day
def test_a_quiet_day_leaves_no_line(world):
    world.usage(50, START + 30 * H)
    watch(world, D)
    assert world.log.lines == []


@pytest.mark.parametrize("kind", ["webhook", "slack", "ntfy"])
def test_a_check_ends_where_the_secret_of_a_channel_is_not_available(tmp_path, kind):
    key = "topic" if kind == "ntfy" else "url"
    with make_world(tmp_path, f'[channels.hook]\ntype = "{kind}"\n{key} = "file:~/none"\n{SESSION}', 90) as world:
        world.check()
        assert world.machine.now() < START + M
        (waiting,) = world.store().outbox.load()
        assert waiting.state == "queued"
    assert not [line for line in world.log.lines if "CRASH" in line]
