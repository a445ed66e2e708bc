"""The daemon as a whole, under a clock moved by hand: its polls, messages and recovery."""

import itertools
import json
from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.world import HOOK, SESSION, START, ManualQueue, make_world
from watcher.core.model import Response, Snooze
from watcher.daemon import REFRESH_DONE, REFRESH_FACT, REFRESH_REQUESTED
from watcher.errors import ConfigError, TimedOutError
from watcher.polling import inbox
from watcher.status.document import read_status

H, M, S = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)

CONFIG = HOOK + SESSION


@pytest.fixture
def world(tmp_path):
    with make_world(tmp_path, CONFIG) as world:
        yield world


def test_an_alert_goes_out_once_and_its_end_once(world):
    world.watch(
        2 * H,
        (15 * M, lambda: world.usage(85)),
        (40 * M, lambda: world.usage(79)),
        (60 * M, lambda: world.usage(84)),
        (80 * M, lambda: world.usage(60)),
    )
    assert [body["event"] for body in world.received] == ["firing", "resolved"]


def test_a_restart_repeats_no_message(world):
    world.usage(85)
    world.watch(30 * M)
    world.watch(30 * M)
    world.check()
    assert [body["event"] for body in world.received] == ["firing"]


def test_a_restart_does_not_ask_before_the_time_that_was_chosen(world):
    world.watch(1 * M)
    asked = len(world.polls())
    world.watch(1 * M)
    assert len(world.polls()) == asked == 1


def test_between_jobs_the_process_does_not_wake(world):
    calls = world.watch(H)
    jobs = len(world.polls()) + 12 + 4  # polls, a heartbeat each five minutes, the daemon's beginning
    assert len(calls.waits) <= jobs


@pytest.mark.slow  # hours of a simulated day
def test_an_unchanged_window_is_polled_less_and_less_often_despite_a_balance(world):
    window = {"utilization": 50, "resets_at": (START + 24 * H).isoformat()}
    spent = {"is_enabled": True, "monthly_limit": None, "used_credits": 0, "utilization": None}
    world.answers["/api/oauth/usage"] = lambda _request: world.json({"five_hour": window, "extra_usage": spent})
    world.watch(6 * H)
    waits = [(then - before) / M for before, then in itertools.pairwise(world.polls())]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (10, 30)


@pytest.mark.slow  # hours of a simulated day
def test_a_rule_about_age_does_not_fire_because_polls_are_rare(world):
    world.config(CONFIG + '[[rule]]\nname = "blind"\nwhen = "*.age > 25m"\n')
    world.usage(3, START + 24 * H)
    world.watch(6 * H)
    assert world.received == []


@pytest.mark.slow  # hours of a simulated day
def test_a_glitch_after_hours_without_change_is_suspect_though_polls_are_far_apart(world):
    world.usage(3, START + 24 * H)
    good, glitches = world.answers["/api/oauth/usage"], [100]

    def answer(request):
        if glitches and world.machine.now() > START + 4 * H:
            world.usage(glitches.pop(), START + 24 * H)
            glitch, world.answers["/api/oauth/usage"] = world.answers["/api/oauth/usage"], answer
            return glitch(request)
        return good(request)

    world.answers["/api/oauth/usage"] = answer
    world.watch(6 * H)
    assert not glitches
    assert world.received == []
    late = [at for at in world.polls() if at > START + 4 * H]
    assert late[1] - late[0] <= 10 * M


def test_one_failing_provider_stops_no_other(world):
    world.login(
        {
            "anthropic": {"type": "oauth", "access": "sk-ant-oat01-fake", "refresh": "r", "expires": 0},
            "github-copilot": {"type": "oauth", "access": "gho_fake", "refresh": "gho_fake", "expires": 0},
        }
    )
    world.answers["/copilot_internal/user"] = lambda _request: world.json({"message": "boom"}, 500)
    world.usage(85)
    world.watch(30 * M)
    assert [body["event"] for body in world.received] == ["firing"]
    assert sum("copilot" in line for line in world.log.lines) == 1


def test_a_provider_that_raises_anything_is_reported_and_the_loop_goes_on(world):
    def explode(_request):
        raise ZeroDivisionError("not an error this program knows")

    world.answers["/api/oauth/usage"] = explode
    world.watch(15 * M, (12 * M, lambda: world.usage(85)))
    world.watch(H)
    assert [body["event"] for body in world.received] == ["firing"]
    assert any("ZeroDivisionError" in line for line in world.log.lines)


def test_a_429_starts_a_cooldown_that_a_restart_does_not_end(world):
    world.answers["/api/oauth/usage"] = lambda _request: world.json({"error": {}}, 429, **{"retry-after": "1800"})
    world.watch(M)
    world.watch(10 * M)
    world.watch(10 * M)
    assert len(world.polls()) == 1
    world.usage(85)
    world.watch(15 * M)
    assert len(world.polls()) == 2
    assert [body["event"] for body in world.received] == ["firing"]


def test_cooldowns_double_while_429s_go_on(world):
    world.answers["/api/oauth/usage"] = lambda _request: world.json({"error": {}}, 429, **{"retry-after": "0"})
    world.watch(3 * H)
    polls = world.polls()
    gaps = [later - earlier for earlier, later in itertools.pairwise(polls)]
    assert gaps[0] >= 5 * M
    assert all(later >= 1.9 * earlier for earlier, later in itertools.pairwise(gaps))


def test_a_message_refused_for_a_while_is_tried_until_it_arrives(world):
    fails = [world.json({}, 500), TimedOutError("no answer"), world.json({}, 429, **{"retry-after": "120"})]
    receive = world.answers["/hook"]
    world.answers["/hook"] = lambda request: fails.pop(0) if fails else receive(request)
    world.usage(85)
    world.watch(H)
    assert [body["event"] for body in world.received] == ["firing"]


def test_a_channel_that_refuses_permanently_is_tried_again_when_its_settings_change(world):
    tries = []
    world.answers["/hook"] = lambda request: tries.append(request) or world.json({}, 410)
    world.usage(85)
    world.watch(3 * H)
    assert len(tries) == 1
    world.config(CONFIG.replace("/hook", "/new"))
    received = []
    world.answers["/new"] = lambda request: received.append(request) or world.json({})
    world.watch(H)
    assert len(received) == 1


def test_after_a_sleep_every_provider_is_polled_once_and_alerts_are_sent_once(world):
    def night():
        world.usage(85, START + 12 * H)
        world.machine.sleeps(8 * H)

    world.watch(9 * H, (31 * M, night))
    woke = START + 31 * M + 8 * H
    after = [at for at in world.polls() if at >= woke]
    assert after[0] - woke <= 5 * M
    assert len([at for at in after if at - after[0] < M]) == 1
    assert [body["event"] for body in world.received] == ["firing"]


@pytest.mark.slow  # hours of a simulated day
def test_after_a_night_many_alerts_are_one_digest(world):
    world.login(
        {
            "anthropic": {"type": "oauth", "access": "sk-ant-oat01-fake", "refresh": "r", "expires": 0},
            "github-copilot": {"type": "oauth", "access": "gho_fake", "refresh": "gho_fake", "expires": 0},
            "nano-gpt": {"type": "api", "key": "fake-key"},
        }
    )

    def everything(used, left):
        window = {"utilization": used, "resets_at": (START + 90 * H).isoformat()}
        world.answers["/api/oauth/usage"] = lambda _: world.json({"five_hour": window, "seven_day": window})
        quotas = {"premium_interactions": {"entitlement": 300, "remaining": left}}
        copilot = {"copilot_plan": "pro", "quota_reset_date": "2026-04-01", "quota_snapshots": quotas}
        world.answers["/copilot_internal/user"] = lambda _: world.json(copilot)
        nano = {"active": True, "limits": {"daily": 300}, "daily": {"used": 300 - left, "remaining": left}}
        world.answers["/api/subscription/v1/usage"] = lambda _: world.json(nano)

    def night():
        everything(85, 30)
        world.machine.sleeps(8 * H)

    world.config(CONFIG.replace("claude.five_hour > 80%", "*.* > 80%"))
    everything(50, 150)
    world.watch(9 * H, (31 * M, night))
    assert [body["event"] for body in world.received] == ["digest"]


def test_a_clock_set_back_delays_nothing(world):
    world.watch(H, (12 * M, lambda: (world.machine.set_by(-H), world.usage(85))))
    assert [body["event"] for body in world.received] == ["firing"]


@pytest.mark.slow  # a simulated day
def test_a_clock_that_was_a_day_ahead_stops_no_poll_when_it_is_corrected(world):
    world.watch(H, (12 * M, lambda: world.machine.set_by(-24 * H)))
    back = [at for at in world.polls() if at < START]
    assert back[0] - (START + 12 * M - 24 * H) <= 10 * M
    assert len(back) >= 5


def test_a_clock_that_runs_a_day_ahead_for_a_while_stops_no_poll_when_it_is_corrected(world):
    daemon, calls, store = world.daemon()

    def put_right() -> None:
        world.machine.set_by(-24 * H)
        calls.until = START + H

    calls.until = START + 25 * H
    calls.events = [(START + 6 * M, lambda: world.machine.set_by(24 * H)), (START + 24 * H + 20 * M, put_right)]
    daemon.run()
    store.close()
    assert max(world.polls()) > START + 24 * H
    assert any(START + 20 * M <= at <= START + H for at in world.polls())


def test_a_changed_config_is_in_force_within_minutes(world):
    world.usage(75)
    world.watch(H, (10 * M, lambda: world.config(CONFIG.replace("80%", "72%"))))
    assert [body["event"] for body in world.received] == ["firing"]


def test_the_network_of_the_config_is_in_force_from_the_start_and_after_each_edit(world, monkeypatch):
    applied, environment = (
        [],
        replace(world.make_environment(), apply_network=lambda settings: applied.append(settings.proxy)),
    )
    monkeypatch.setattr(world, "make_environment", lambda: environment)
    broken = CONFIG + '[network]\nproxy = "no address"\n'
    world.watch(
        H,
        (10 * M, lambda: world.config(CONFIG + '[network]\nproxy = "http://proxy:1"\n')),
        (30 * M, lambda: world.config(broken)),
    )
    assert applied == [None, "http://proxy:1"]


def test_a_config_saved_in_two_steps_is_in_force_after_the_second(world):
    changed = CONFIG.replace("80%", "72%")
    world.watch(
        30 * M,
        (10 * M, lambda: world.config("[[rule]]\n")),
        (10 * M + S, lambda: world.config(changed)),
        (20 * M, lambda: world.usage(75)),
    )
    assert [line for line in world.log.lines if "config loaded" in line] == ["config loaded: 1 rule, 1 channel"]
    assert [body["event"] for body in world.received] == ["notice", "firing"]


def test_a_config_with_a_mistake_leaves_the_old_one_in_force_and_is_reported_once(world):
    world.watch(
        2 * H,
        (10 * M, lambda: world.config("[[rule]\n")),
        (40 * M, lambda: world.usage(85)),
        (60 * M, lambda: world.config("[[rule]\n")),
    )
    assert [body["event"] for body in world.received] == ["notice", "firing"]
    store = world.store()
    problem, _ = store.facts.load("config_error")
    assert "config.toml:1" in problem


def test_a_fixed_config_clears_the_problem(world):
    world.watch(H, (10 * M, lambda: world.config("[[rule]\n")), (30 * M, lambda: world.config(CONFIG)))
    store = world.store()
    assert store.facts.load("config_error")[0] == ""


def test_a_notice_names_the_file_without_the_home_folder(world):
    world.watch(60 * M, (10 * M, lambda: world.config(CONFIG + '[[rule]]\nname = "x"\nwhen = "claude >"\n')))
    [body] = [each for each in world.received if each["event"] == "notice"]
    assert "~/.config/w/config.toml:" in body["message"]
    assert str(world.home) not in json.dumps(body)


def test_a_config_with_a_mistake_does_not_start(world):
    world.config("[poll]\nevery = 'soon'\n")
    with pytest.raises(ConfigError, match=r"config\.toml:2"):
        world.daemon()


def test_a_server_that_hangs_delays_no_other(world):
    daemon, calls, store = world.daemon()
    calls.hold = True
    calls.until = START + H
    daemon.run()
    store.close()
    accounts = world.store().facts.load("heartbeat")
    assert accounts[0] == "stopped"


def test_a_login_that_appears_later_is_found_without_a_restart(world):
    (world.home / ".local/share/opencode/auth.json").unlink()
    world.usage(85)
    login = {"anthropic": {"type": "oauth", "access": "sk-ant-oat01-fake", "refresh": "r", "expires": 0}}
    world.watch(H, (20 * M, lambda: world.login(login)))
    assert [body["event"] for body in world.received] == ["firing"]


def test_a_renewed_login_is_polled_within_minutes_and_the_refused_one_is_not(world):
    world.usage(85)
    good = world.answers["/api/oauth/usage"]
    world.answers["/api/oauth/usage"] = lambda request: (
        good(request)
        if "renewed" in request.headers["Authorization"]
        else Response(status=401, received_at=START, body=b"{}")
    )
    login = {"anthropic": {"type": "oauth", "access": "sk-ant-oat01-renewed", "refresh": "r", "expires": 0}}
    world.watch(12 * M, (7 * M, lambda: world.login(login)))
    assert [body["event"] for body in world.received] == ["firing"]
    first, second = world.polls()
    assert 7 * M <= second - first <= 10 * M


def test_the_status_line_costs_no_request_and_brings_the_news_sooner(world):
    def handed(percent):
        limits = {"five_hour": {"used_percentage": percent, "resets_at": (START + 4 * H).isoformat()}}
        inbox.write_entry(world.paths.state_dir, inbox.CLAUDE_STATUSLINE, {"rate_limits": limits}, world.machine.now())

    world.usage(60)
    world.watch(17 * M, (1 * M, lambda: handed(60)), (11 * M, lambda: handed(61)), (13 * M, lambda: handed(85)))
    assert [body["event"] for body in world.received] == ["firing"]
    assert world.received[0]["at"] < (START + 15 * M).isoformat()
    assert not [at for at in world.polls() if at > START + 11 * M]


def test_a_rule_that_must_hold_fires_under_an_hourly_cron_too(world):
    world.config(CONFIG.replace('clear = "< 70%"', 'for = "10m"'))
    for used in (50, 85, 86, 87):
        world.usage(used)
        world.check()
        world.machine.passes(H)
    assert [body["event"] for body in world.received] == ["firing"]


def test_a_night_between_two_checks_adds_nothing_to_the_clock_of_a_rule(world):
    world.config(CONFIG.replace('clear = "< 70%"', 'for = "30m"'))
    world.answers["/api/oauth/usage"] = lambda _request: world.json({"five_hour": {"utilization": 85}})
    for pause in (10 * M, 10 * M, 8 * H, 10 * M):
        world.check()
        world.machine.passes(pause)
    assert world.received == [], "it held for twenty minutes, then nobody looked"
    world.check()
    assert [body["event"] for body in world.received] == ["firing"]


def test_an_hourly_cron_reports_a_window_used_up_within_the_hour(world):
    for used in (5, 90, 91):
        world.usage(used)
        world.check()
        world.machine.passes(H)
    assert [body["event"] for body in world.received] == ["firing"]
    assert world.received[0]["used_percent"] == 90


def test_a_rule_about_age_fires_under_an_hourly_cron_too(world):
    world.config(CONFIG.replace("claude.five_hour > 80%", "claude.age > 90m").replace('clear = "< 70%"', ""))
    world.check()
    world.answers["/api/oauth/usage"] = lambda _request: world.json({}, 500)
    for _ in range(4):
        world.machine.passes(H)
        world.check()
    assert [body["event"] for body in world.received] == ["firing"]


def test_a_provider_that_is_switched_on_reports_that_it_has_no_login(world):
    world.config(CONFIG + "[providers.codex]\nenabled = true\n")
    world.check()
    codex = [account for account in world.store().accounts.load() if account.provider == "codex"]
    assert [account.failure.kind for account in codex] == ["not_signed_in"]
    assert "switched on in the config, but no login is found" in codex[0].failure.message
    assert world.received == []


def test_stop_ends_the_loop_after_the_call_in_hand(world):
    daemon, calls, store = world.daemon()
    calls.until = START + 24 * H
    calls.events = [(START + 7 * M, daemon.stop)]
    daemon.run()
    assert world.machine.now() == START + 7 * M
    store.close()


def test_what_was_queued_before_a_crash_is_sent_after_it(world):
    world.usage(85)
    world.answers["/hook"] = lambda _request: world.json({}, 503)
    world.watch(M)
    assert world.received == []
    world.answers["/hook"] = world._receive
    world.watch(H)
    assert [body["event"] for body in world.received] == ["firing"]


def test_hand_is_a_real_queue(world):
    calls = ManualQueue(world.machine)
    calls.put(lambda: None)
    assert calls.get(0) is not None


def test_a_request_for_a_poll_is_served_and_its_end_recorded(world):
    def wish():
        store = world.store()
        store.run_transaction(
            lambda: store.facts.save(REFRESH_FACT, REFRESH_REQUESTED, world.machine.now()), now=world.machine.now()
        )
        store.close()
        daemon.check_requests()

    daemon, calls, store = world.daemon()
    calls.until = START + 7 * M
    calls.events = [(START + 6 * M, wish)]
    daemon.run()
    assert [round((at - START) / M) for at in world.polls()] == [0, 6]
    assert store.facts.load(REFRESH_FACT)[0] == REFRESH_DONE


def test_a_check_of_the_snoozes_polls_no_provider(world):
    daemon, calls, _ = world.daemon()
    calls.until = START + 7 * M
    calls.events = [(START + 6 * M, daemon.check_requests)]
    daemon.run()
    assert len(world.polls()) == 1


@pytest.mark.parametrize("fixed", ['{"github.com": {"user": "octocat", "oauth_token": "gho_x"}}', None])
def test_a_broken_login_file_is_no_failure_any_more_once_it_is_fixed(world, fixed):
    hosts = world.home / ".config" / "github-copilot" / "hosts.json"
    hosts.parent.mkdir(parents=True)
    hosts.write_text("{")
    quota = {"quota_snapshots": {"premium_interactions": {"entitlement": 300, "remaining": 1}}}
    world.answers["/copilot_internal/user"] = lambda _request: world.json(quota)

    def mend():
        hosts.write_text(fixed) if fixed else hosts.unlink()

    def copilots():
        store = world.store()
        try:
            return [
                (each.account, each.failure is None) for each in store.accounts.load() if each.provider == "copilot"
            ]
        finally:
            store.close()

    world.watch(2 * M)
    assert copilots() == [("", False)]
    world.watch(65 * M, (5 * M, mend))
    assert copilots() == ([("octocat", True)] if fixed else [])


def test_one_github_account_in_two_places_is_one_account(world):
    world.login({"github-copilot": {"type": "oauth", "access": "gho_opencode", "expires": 0}})
    hosts = world.home / ".config" / "github-copilot" / "hosts.json"
    hosts.parent.mkdir(parents=True)
    hosts.write_text('{"github.com": {"user": "Octocat", "oauth_token": "gho_editor"}}')
    quota = {"quota_snapshots": {"premium_interactions": {"entitlement": 300, "remaining": -1}}}
    world.answers["/copilot_internal/user"] = lambda _request: world.json(quota)
    world.answers["/user"] = lambda _request: world.json({"login": "octocat"})
    world.config(CONFIG + '[[rule]]\nname = "overage"\nwhen = "copilot.remaining < 0"\n')
    world.watch(65 * M)
    assert [body["event"] for body in world.received] == ["firing"]
    assert len([path for _, path in world.asked if path == "/user"]) == 1
    firing = [line for line in world.log.lines if line.startswith("firing")]
    assert firing == ["firing overage on copilot.premium_interactions: above"]  # as `watcher status` writes it
    store = world.store()
    assert [account.account for account in store.accounts.load() if account.provider == "copilot"] == ["octocat"]
    store.close()


def test_one_check_does_not_wait_for_a_channel_that_refuses(world):
    world.config(
        CONFIG.replace("[channels.hook]", "[channels.dead]\ntype = 'slack'\nurl = 'env:NOWHERE'\n[channels.hook]")
    )
    world.answers["/hook"] = lambda _request: world.json({}, 404)
    world.usage(90)
    before = world.machine.now()
    world.check()
    assert world.machine.now() - before < 1 * M


def test_a_changed_file_mode_reloads_the_config(world):
    literal = CONFIG.replace("http://127.0.0.1:9/hook", "https://example.com/a-secret-place")
    daemon, calls, store = world.daemon()
    calls.until = START + 4 * M

    def unreadable():
        world.config(literal)
        world.paths.config_file.chmod(0o644)
        daemon.reload()

    def mended():
        assert "chmod 600" in store.facts.load("config_error")[0]
        world.paths.config_file.chmod(0o600)
        daemon.check_requests()

    calls.events = [(START + M, unreadable), (START + 2 * M, mended)]
    daemon.run()
    store.close()
    assert world.store().facts.load("config_error")[0] == ""


# --- routes that change, channels that return ------------------------------------------------------------------------

PAGER = HOOK.replace("channels.hook", "channels.pager").replace("/hook", "/pager")


def route_to(world, *names):
    listed = ", ".join(f'"{name}"' for name in names)
    world.config(HOOK + PAGER + f"[route]\ndefault = [{listed}]\n" + SESSION)


def read_undelivered(world):
    status = read_status(world.paths.state_dir, now=world.machine.now())
    return [(each.channel, each.state) for each in status.undelivered]


@pytest.mark.parametrize("after", [("pager",), ("hook", "pager")], ids=["another channel", "one more channel"])
def test_what_no_channel_took_goes_to_the_channels_of_a_new_route_once(world, after):
    world.usage(85, START + 48 * H)
    take = world.answers.pop("/hook")
    route_to(world, "hook")
    world.check()
    route_to(world, *after)
    world.answers["/pager"] = take
    world.machine.sleeps(10 * M)
    world.check()
    assert world.titles() == ["firing: Claude 5-hour window at 85 %, resets in 47 h 50 min (Wed 09:00)"]
    assert read_undelivered(world) == [("hook", "queued")] * (len(after) - 1)
    world.machine.sleeps(10 * M)
    world.check()
    assert len(world.received) == 1


def test_a_new_route_repeats_nothing_that_was_delivered(world):
    world.usage(85, START + 48 * H)
    take = world.answers["/pager"] = world.answers.pop("/hook")
    route_to(world, "hook", "pager")
    world.check()
    assert len(world.received) == 1
    for names in (("pager",), ("hook",), ("pager", "hook")):
        world.answers["/hook"] = take
        route_to(world, *names)
        world.machine.sleeps(10 * M)
        world.check()
    assert len(world.received) == 1


def test_an_alert_that_fired_before_there_was_a_route_is_sent_on_the_first(world):
    world.usage(85, START + 48 * H)
    route_to(world)
    world.check()
    world.machine.sleeps(5 * H)
    world.usage(92, START + 48 * H)
    route_to(world, "hook")
    world.check()
    [sent] = world.received
    assert (sent["event"], sent["title"].partition(",")[0]) == ("firing", "Claude 5-hour window at 92 %")
    assert sent["message"].startswith("Since 09:00.")


@pytest.mark.slow  # days of simulated time
@pytest.mark.parametrize("days", [1.5, 3])
def test_what_still_fires_after_a_long_outage_of_the_channel_is_sent_once_with_its_start(world, days):
    world.usage(85, START + 200 * H)
    take = world.answers.pop("/hook")
    world.watch(timedelta(days=days))
    assert world.received == []
    assert read_undelivered(world) == [("hook", "queued")]
    world.answers["/hook"] = take
    world.watch(2 * H)
    [sent] = world.received
    assert (sent["event"], "Since Mon 09:00." in sent["message"]) == ("firing", True)
    world.watch(30 * H)
    assert len(world.received) == 1


# --- a clock that ran ahead -------------------------------------------------------------------------------------------


@pytest.mark.slow  # hours of a simulated day
@pytest.mark.parametrize("runs_on", [True, False], ids=["the daemon runs on", "it starts again"])
@pytest.mark.parametrize(
    ("status", "asked"),
    [
        pytest.param(503, {}, marks=pytest.mark.slow),
        pytest.param(429, {"retry-after": "3600"}, marks=pytest.mark.slow),
        (200, {}),
    ],
)
def test_a_channel_used_while_the_clock_was_a_day_ahead_delivers_once_it_is_right(world, runs_on, status, asked):
    world.machine.set_by(24 * H)
    world.usage(85, START + 28 * H)
    take = world.answers["/hook"]
    world.answers["/hook"] = lambda _request: world.json({}, status, **asked)

    def set_right():
        world.machine.set_by(-24 * H)
        world.answers["/hook"] = take
        world.usage(96, START + 28 * H)

    world.config(CONFIG + '[[rule]]\nname = "high"\nwhen = "claude.five_hour > 95%"\nseverity = "critical"\n')
    if runs_on:
        world.watch(2 * M + 90 * M, (2 * M, set_right))
    else:
        world.watch(2 * M)
        set_right()
        world.watch(90 * M)
    assert [body["rule"] for body in world.received] == (["high"] if status == 200 else ["session", "high"])


@pytest.mark.slow  # a simulated day
@pytest.mark.parametrize("runs_on", [True, False], ids=["the daemon runs on", "it starts again"])
def test_a_provider_that_refused_while_the_clock_was_ahead_is_asked_again_once_it_is_right(world, runs_on):
    answer = world.answers["/api/oauth/usage"]
    world.machine.set_by(19 * H)
    world.answers["/api/oauth/usage"] = lambda _request: world.json({}, 429)

    def set_right():
        world.machine.set_by(-19 * H)
        world.answers["/api/oauth/usage"] = answer

    if runs_on:
        world.watch(32 * M, (2 * M, set_right))
    else:
        world.watch(2 * M)
        set_right()
        world.watch(30 * M)
    polls = world.polls()
    right = [at for at in polls if at < START + 2 * H]
    assert len(polls) > len(right) > 1
    assert right[0] > START + 3 * M, "the cooldown of 5 minutes is kept"


def test_a_snooze_of_a_clock_that_ran_ahead_ends_when_it_was_meant_to(world):
    store = world.store()
    ahead = START + 24 * H
    snooze = Snooze(target="session", created_at=ahead, expires_at=ahead + H)
    store.run_transaction(lambda: store.snoozes.save(snooze), now=START)
    store.close()
    world.usage(85, START + 48 * H)
    world.check()
    assert world.received == []
    world.machine.sleeps(H + M)
    world.check()
    assert [body["event"] for body in world.received] == ["firing"]


# --- the first polls come before time is evaluated and anything is released -----------------------------------------

QUIET = '[quiet]\nhours = "22:00-08:00"\ntz = "UTC"\n'


def test_one_check_sends_what_quiet_hours_held_back_once_they_are_over(world):
    world.config(CONFIG + QUIET)
    world.machine.sleeps(14 * H)
    world.usage(85, START + 48 * H)
    world.check()
    assert world.received == []
    world.machine.sleeps(9 * H + 5 * M)
    world.check()
    assert [body["event"] for body in world.received] == ["firing"]


def test_one_check_sends_what_a_snooze_held_back_once_it_is_over(world):
    store = world.store()
    snooze = Snooze(target="session", created_at=START, expires_at=START + H)
    store.run_transaction(lambda: store.snoozes.save(snooze), now=START)
    store.close()
    world.usage(85, START + 48 * H)
    world.check()
    assert world.received == []
    world.machine.sleeps(H + M)
    world.check()
    assert [body["event"] for body in world.received] == ["firing"]


def test_a_message_held_overnight_is_not_sent_if_the_first_poll_ends_its_alert(world):
    world.config(CONFIG + QUIET)
    world.machine.sleeps(14 * H)
    world.usage(85, START + 15 * H)
    world.watch(5 * M)
    world.machine.sleeps(11 * H)
    world.usage(10, START + 28 * H)
    world.watch(30 * M)
    assert world.received == []


def at_hours(world, *levels):
    """`check` at these hours after the start, each with this use of one window; what was sent last."""
    for hour, percent in levels:
        world.machine.sleeps(START + hour * H - world.machine.now())
        world.usage(percent, START + 48 * H)
        sent = len(world.received)
        world.check()
    return [(body["event"], body["title"].partition(",")[0]) for body in world.received[sent:]]


@pytest.mark.parametrize("way", ["quiet hours", "snooze"])
@pytest.mark.parametrize(
    ("night", "reported"),
    [
        ([(14, 60), (19, 86), (24, 88)], ("firing", "Claude 5-hour window at 88 %")),
        ([(14, 60), (24, 40)], ("resolved", "Claude 5-hour window is back to 40 %")),
        ([(14, 60), (16, 86), (18, 50), (24, 30)], ("resolved", "Claude 5-hour window is back to 30 %")),
    ],
    ids=["fires again", "has ended", "fired again and ended"],
)
def test_what_is_let_go_tells_the_present(world, way, night, reported):
    if way == "quiet hours":
        world.config(CONFIG + QUIET)
    assert at_hours(world, (10, 85)) == [("firing", "Claude 5-hour window at 85 %")]
    if way == "snooze":
        store = world.store()
        snooze = Snooze(target="session", created_at=START, expires_at=START + 23 * H)
        store.run_transaction(lambda: store.snoozes.save(snooze), now=world.machine.now())
        store.close()
    *held, last = night
    assert at_hours(world, *held) == []
    assert at_hours(world, last) == [reported]
    assert len(world.received) == 2


@pytest.mark.slow  # hours of a simulated day
@pytest.mark.parametrize("gap", ["the watcher was stopped", "the machine slept"])
def test_a_gap_fires_no_rule_about_age_though_one_provider_is_polled_rarely(world, gap):
    world.login(
        {
            "anthropic": {"type": "oauth", "access": "sk-ant-oat01-fake", "refresh": "r", "expires": 0},
            "github-copilot": {"type": "oauth", "access": "gho_fake", "refresh": "gho_fake", "expires": 0},
        }
    )
    quota = {"quota_snapshots": {"premium_interactions": {"entitlement": 300, "remaining": 200}}}
    world.answers["/copilot_internal/user"] = lambda _request: world.json(quota)
    world.config(HOOK + '[[rule]]\nname = "blind"\nwhen = "*.age > 45m"\n[providers.copilot]\nevery = "3h"\n')
    world.usage(50, START + 48 * H)
    if gap == "the machine slept":
        world.watch(12 * H, (3 * H, lambda: world.machine.sleeps(7 * H)))
    else:
        world.watch(3 * H)
        world.machine.sleeps(7 * H)
        world.watch(H)
    assert world.received == []


def test_a_removed_database_is_written_again_reported_once_and_repeats_no_alert(world):
    world.config(HOOK + SESSION)
    world.usage(91)

    def remove():
        for file in world.paths.state_dir.glob("watcher.db*"):
            file.unlink()

    world.watch(timedelta(minutes=90), (timedelta(minutes=7), remove))
    world.machine.passes(timedelta(minutes=10))
    world.check()
    assert [body["event"] for body in world.received] == ["firing", "notice"]
    assert "removed or replaced" in world.received[1]["message"]


def test_a_megabyte_of_text_in_an_answer_stays_in_kilobytes_and_on_one_line(world):
    name = "A\u202e\x1b[31m\x07\n" + "x" * 1_000_000
    scoped = {"kind": "weekly_scoped", "group": "weekly", "percent": 91, "scope": {"model": {"display_name": name}}}
    content = {"five_hour": {"utilization": 91}, "w" * 200_000: {"utilization": 95}, "limits": [scoped]}
    world.answers["/api/oauth/usage"] = lambda _request: world.json(content)
    world.config(HOOK + '[[rule]]\nname = "all"\nwhen = "*.* > 50%"\n')
    world.check()
    written = json.dumps(world.received, ensure_ascii=False)
    assert written.count("91 %") + written.count("95 %") >= 3
    assert len(written) < 20_000
    assert not [
        mark
        for mark in ("\u202e", "\x1b", "\x07")
        if mark in written or mark.encode("unicode_escape").decode() in written
    ]
    sizes = {file.name: file.stat().st_size for file in world.paths.state_dir.iterdir()}
    assert sizes["status.json"] < 20_000
    assert sizes["watcher.db"] < 400_000


ACME = """
id = "acme"
name = "Acme"
token = ["env:ACME"]
[[request]]
url = "https://api.acme.example/quota"
[[window]]
id = "daily"
used_percent = "used"
"""


@pytest.mark.usefixtures("own_providers")
def test_a_providers_file_is_in_force_from_its_edit_to_its_end(world):
    folder = world.paths.config_dir / "providers"
    folder.mkdir()
    world.env["ACME"] = "k-1"
    world.answers["/quota"] = lambda _request: world.json({"used": 90})
    world.config(CONFIG + '[[rule]]\nname = "acme"\nwhen = "*.daily > 80%"\n')

    def asked():
        return len([path for _, path in world.asked if path == "/quota"])

    world.watch(30 * M)
    assert asked() == 0
    world.watch(
        H,
        (10 * M, lambda: (folder / "acme.toml").write_text(ACME)),
        (30 * M, lambda: (folder / "acme.toml").write_text(ACME.replace('"used"', '"used["'))),
        (50 * M, lambda: (folder / "acme.toml").write_text(ACME)),
    )
    assert world.titles()[0].startswith("firing: Acme")
    assert 3 <= asked() <= 8
    before = asked()
    (folder / "acme.toml").unlink()
    world.watch(2 * H)
    assert asked() == before
    assert not [line for line in world.log.lines if "CRASH" in line]


def test_a_provider_of_the_catalogue_is_on_where_its_token_is(world):
    world.answers["/v1/credits"] = lambda _request: world.json({"balance": "4.50"})
    world.config(CONFIG + '[[rule]]\nname = "low"\nwhen = "vercel.balance.remaining < $5"\n')
    world.watch(30 * M)
    assert world.titles() == []
    world.env["AI_GATEWAY_API_KEY"] = "k-1"
    world.watch(30 * M)
    assert world.titles()[0].startswith("firing: Vercel AI Gateway")


def sign_in_to_claude_code(world, name):
    folder = world.home / ".claude"
    folder.mkdir(exist_ok=True)
    login = {"accessToken": f"sk-ant-oat01-{name}", "expiresAt": 4102444800000, "scopes": ["user:profile"]}
    (folder / ".credentials.json").write_text(json.dumps({"claudeAiOauth": login}))
    account = {"accountUuid": f"uuid-{name}", "emailAddress": f"{name}@example.com"}
    (world.home / ".claude.json").write_text(json.dumps({"oauthAccount": account}))


def test_an_account_that_was_switched_away_from_is_silent_and_takes_up_its_alert_again(tmp_path):
    silence = '[[rule]]\nname = "quiet"\nwhen = "*.age > 45m or not *.up"\n'
    with make_world(tmp_path, CONFIG + silence, 85) as world:
        world.login({})
        sign_in_to_claude_code(world, "work")
        world.watch(20 * M)
        sign_in_to_claude_code(world, "private")
        world.usage(10)
        world.watch(3 * H)
        document = read_status(world.paths.state_dir, now=world.machine.now())
        work = next(each for each in document.providers if each.account == "work@example.com")
        assert "not signed in here" in work.error.message
        assert [window.used_percent for window in work.windows] == [85]
        sign_in_to_claude_code(world, "work")
        world.usage(86)
        world.watch(30 * M)
        world.usage(60)
        world.watch(30 * M)
        assert [body["event"] for body in world.received] == ["firing", "resolved"]
