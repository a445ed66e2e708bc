"""Claude Code's status line, from the inbox to the alert: with a daemon and without, for one account or several."""

import json
from datetime import timedelta

import pytest

from tests.world import START, make_world
from watcher.credentials import Credential
from watcher.polling import inbox, statusline

RULES = """
[channels.hook]
type = "webhook"
url = "http://127.0.0.1:9/hook"
[route]
default = ["hook"]
[[rule]]
name = "session"
when = "claude.five_hour > 80%"
"""
ENDS = START + timedelta(hours=4)


@pytest.fixture
def world(tmp_path):
    with make_world(tmp_path, RULES, 10) as world:
        yield world


def write_statusline(world, used, **more):
    window = {"used_percentage": used, "resets_at": ENDS.timestamp()}
    inbox.write_entry(
        world.paths.state_dir,
        inbox.CLAUDE_STATUSLINE,
        {"rate_limits": {"five_hour": window, **more}},
        world.machine.now(),
    )


def known(world):
    store = world.store()
    try:
        return [
            (account.account, reading.window, reading.used_percent, reading.source)
            for account in store.accounts.load()
            for reading in (account.snapshot.readings if account.snapshot else ())
        ]
    finally:
        store.close()


def test_the_daemon_takes_the_word_and_an_alert_goes_out(world):
    world.watch(
        timedelta(minutes=40),
        (timedelta(minutes=5), lambda: write_statusline(world, 60)),
        (timedelta(minutes=10), lambda: world.usage(91, ENDS)),
        (timedelta(minutes=11), lambda: write_statusline(world, 90)),
    )
    assert [body["event"] for body in world.received] == ["firing"]


def test_numbers_after_a_pause_of_hours_are_taken_within_minutes(world):
    minute, told = timedelta(minutes=1), []
    world.watch(
        timedelta(minutes=200),
        (2 * minute, lambda: (world.usage(60, ENDS), write_statusline(world, 60))),
        (180 * minute, lambda: (world.usage(91, ENDS), write_statusline(world, 90))),
        (183 * minute, lambda: told.extend(body["event"] for body in world.received)),
    )
    assert told == ["firing"]


def test_on_a_fresh_machine_it_is_the_first_reading(world):
    write_statusline(world, 20)
    world.import_statusline()
    assert known(world) == [("", "five_hour", 20.0, "statusline")]


def test_its_alert_waits_for_the_process_that_sends(world):
    write_statusline(world, 90)
    world.import_statusline()
    assert world.received == []
    store = world.store()
    assert [delivery.message.rule for delivery in store.outbox.load()] == ["session"]
    store.close()


def test_windows_that_it_does_not_speak_of_stay(world):
    world.answers["/api/oauth/usage"] = lambda _request: world.json(
        {"five_hour": {"utilization": 1, "resets_at": ENDS.isoformat()}, "seven_day_opus": {"utilization": 50}}
    )
    world.check()
    write_statusline(world, 20)
    world.import_statusline()
    assert [(window, used) for _, window, used, _ in known(world)] == [("five_hour", 20.0), ("seven_day_opus", 50.0)]


def test_old_words_of_an_idle_session_change_nothing(world):
    world.check()
    write_statusline(world, 5)
    world.import_statusline()
    assert known(world) == [("", "five_hour", 10.0, "api")]


def sign_in(world, folder, account=None):
    """Claude Code's login in a config folder, with the account that it names."""
    place = world.home / folder
    place.mkdir(parents=True, exist_ok=True)
    login = {"accessToken": f"sk-ant-oat01-{account}", "expiresAt": 4102444800000}
    (place / ".credentials.json").write_text(json.dumps({"claudeAiOauth": login}))
    if account is not None:
        owner = {"accountUuid": account, "emailAddress": f"{account}@x.io"}
        beside = world.home if folder == ".claude" else place
        (beside / ".claude.json").write_text(json.dumps({"oauthAccount": owner}))


def limit_requests(world):
    world.answers["/api/oauth/usage"] = lambda _request: world.json({"error": {}}, 429)


def receive_statusline(world, used, ends=ENDS, **owner):
    window = {"used_percentage": used, "resets_at": ends.timestamp()}
    content = {"rate_limits": {"five_hour": window}, **owner}
    inbox.write_entry(world.paths.state_dir, inbox.CLAUDE_STATUSLINE, content, world.machine.now())
    world.machine.passes(timedelta(minutes=1))
    world.import_statusline()


def read_percents(world):
    return {account: used for account, _, used, source in known(world) if source == "statusline"}


def test_the_line_of_another_config_folder_is_not_counted_to_this_account(world):
    world.login({})
    sign_in(world, ".claude", "a")
    sign_in(world, ".claude-work", "b")
    world.check()
    limit_requests(world)
    receive_statusline(world, 88, folder=str(world.home / ".claude-work"))
    assert read_percents(world) == {}
    receive_statusline(world, 12, folder=str(world.home / ".claude"))
    assert read_percents(world) == {"a": 12.0}


def test_the_line_of_a_folder_without_a_login_is_not_counted(world):
    world.login({})
    sign_in(world, ".claude", "a")
    world.check()
    receive_statusline(world, 88, folder=str(world.home / "elsewhere"))
    assert read_percents(world) == {}


def test_where_nothing_says_whose_it_is_a_line_counts_only_if_its_resets_agree_with_an_answer(world):
    world.login({})
    sign_in(world, ".claude-work", "b")
    world.env["CLAUDE_CONFIG_DIR"] = str(world.home / ".claude-work")
    world.check()
    receive_statusline(world, 88, ENDS - timedelta(hours=1))
    assert read_percents(world) == {}
    receive_statusline(world, 15, ENDS + timedelta(minutes=1))
    assert read_percents(world) == {"b": 15.0}


def test_after_another_login_an_old_session_is_not_counted_to_the_new_account(world):
    world.login({})
    sign_in(world, ".claude", "a")
    world.check()
    receive_statusline(world, 60, session="old")
    assert read_percents(world) == {"a": 60.0}
    sign_in(world, ".claude", "b")
    limit_requests(world)
    world.machine.passes(timedelta(minutes=30))
    world.check()
    receive_statusline(world, 88, session="old")
    receive_statusline(world, 89, session="never seen before")
    assert "b" not in read_percents(world)
    world.usage(20, ENDS)
    world.machine.passes(timedelta(minutes=30))
    world.check()
    receive_statusline(world, 90, session="old")
    assert "b" not in read_percents(world), "the session began with the other account"
    receive_statusline(world, 30, ENDS - timedelta(hours=1), session="new")
    assert "b" not in read_percents(world), "its window ends at another time"
    receive_statusline(world, 31, session="new")
    assert read_percents(world)["b"] == 31.0


def test_an_absurd_line_blocks_no_later_one(world):
    world.check()
    for used in (1795864735, 120, 11, 99, 12):
        receive_statusline(world, used)
    assert read_percents(world) == {"": 12.0}


def login(account):
    return Credential(provider="claude", source_name="OpenCode", path="x", token=f"t-{account}", account=account)


@pytest.mark.parametrize(
    ("logins", "owner"),
    [
        ([login("a")], "a"),
        ([login("a"), login("b")], None),
        ([], ""),
    ],
)
def test_whose_use_it_is_without_a_name(world, logins, owner):
    write_statusline(world, 20)
    store = world.store()
    snapshots = statusline.read_news(store, logins, world.home) or ()
    store.close()
    assert [snapshot.account for snapshot in snapshots] == ([] if owner is None else [owner])


def test_an_entry_without_readings_is_taken_and_changes_nothing(world):
    inbox.write_entry(world.paths.state_dir, inbox.CLAUDE_STATUSLINE, {"rate_limits": json.loads("[]")}, START)
    store = world.store()
    assert statusline.read_news(store, (), world.home) == ()
    store.close()
    assert inbox.pop_entry(world.paths.state_dir, inbox.CLAUDE_STATUSLINE) is None


def test_while_it_delivers_the_provider_is_polled_less_but_still_for_the_other_windows(world):
    """Claude Code tells of two windows; a weekly limit of one model may be the one that binds."""

    def answer(used):
        scoped = {"kind": "weekly_scoped", "group": "weekly", "percent": used}
        scope = {"model": {"display_name": "Fable"}}
        ends = ENDS.isoformat()
        content = {"five_hour": {"utilization": used, "resets_at": ends}, "limits": [{**scoped, "scope": scope}]}
        world.answers["/api/oauth/usage"] = lambda _: world.json(content)

    world.config(RULES + '[[rule]]\nname = "blind"\nwhen = "claude.seven_day_fable.age > 45m"\n')
    answer(10)
    used = [10 + minute / 6 for minute in range(0, 180, 3)]
    each = [(timedelta(minutes=3 * n), used[n]) for n in range(1, len(used))]
    world.watch(
        timedelta(hours=3), *[(at, lambda now=now: (answer(now), write_statusline(world, now))) for at, now in each]
    )
    polls = [at - START for at in world.polls()]
    assert polls == [timedelta(minutes=30 * n) for n in range(len(polls))]
    assert len(polls) >= 6, "and not eighteen, as without it"
    assert world.received == []


def test_a_rule_s_patience_holds_for_what_it_does_not_say(world):
    world.config(RULES + '[[rule]]\nname = "blind"\nwhen = "claude.seven_day.age > 15m"\n')
    both = {"five_hour": {"utilization": 10, "resets_at": ENDS.isoformat()}, "seven_day": {"utilization": 3}}
    world.answers["/api/oauth/usage"] = lambda _: world.json(both)
    events = [(timedelta(minutes=3 * n), lambda n=n: write_statusline(world, 10 + n)) for n in range(1, 20)]
    world.watch(timedelta(hours=1), *events)
    assert world.received == []
    assert 4 <= len(world.polls()) <= 6
