"""One account is one row and one alert, in any number of places and under any number of tokens."""

import json
from datetime import timedelta

import pytest

from tests.world import START, make_world
from watcher import pipeline
from watcher.config import loader
from watcher.core.model import Reading, Snapshot, Snooze, WindowKind
from watcher.credentials import Credential
from watcher.credentials import claude_code as tool
from watcher.credentials.files import short_hash
from watcher.polling import accounts, inbox
from watcher.polling.account_registry import AccountRegistry
from watcher.status import builder

RULE = '[[rule]]\nname = "a"\nwhen = "claude.five_hour > 80%"\n[channels.h]\ntype = "webhook"\nurl = "http://127.0.0.1:9/hook"\n'
ROUTE = '[route]\ndefault = ["h"]\n'
CHANNEL = 'type = "webhook"\nurl = "http://127.0.0.1:9/hook"\n'
PROFILE = "/api/oauth/profile"
USER = "/oauth2/v1/userinfo"
QUOTA = "/v1internal:retrieveUserQuota"


@pytest.fixture
def world(tmp_path):
    with make_world(tmp_path, RULE + ROUTE, 85) as world:
        yield world


def claude_code(world, token="sk-ant-oat01-second", **account):
    folder = world.home / ".claude"
    folder.mkdir(exist_ok=True)
    (folder / ".credentials.json").write_text(json.dumps({"claudeAiOauth": {"accessToken": token}}))
    if account:
        (world.home / ".claude.json").write_text(json.dumps({"oauthAccount": account}))


def rows(world):
    return {
        each.account: None if each.failure is None else each.failure.message
        for each in world.store().accounts.load()
        if each.provider == "claude"
    }


def store_number(world, key):
    store = world.store()
    return store.run_transaction(lambda: store.accounts.assign_number("claude", key), now=world.machine.now())


def set_owners(world, **owners):
    """Whose each token is; the others cannot be asked."""

    def profile(request):
        token = request.headers["Authorization"].rpartition("-")[2]
        return world.json({"account": {"email": owners[token]}}) if token in owners else world.json({}, 403)

    world.answers[PROFILE] = profile


def asked(world, path):
    return sum(each == path for _, each in world.asked)


def test_two_anonymous_logins_of_one_account_are_one_row_and_one_alert(world):
    claude_code(world)
    set_owners(world, fake="me@x.io", second="me@x.io")
    world.watch(timedelta(hours=1))
    assert rows(world) == {"": None}
    assert world.titles() == ["firing: Claude 5-hour window at 85 %, resets in 4 h (13:00)"]
    usages = asked(world, "/api/oauth/usage")
    assert asked(world, PROFILE) == 2
    world.check()
    assert asked(world, "/api/oauth/usage") - usages <= 1, "a restart does not forget that they are one"
    assert asked(world, PROFILE) == 2


def test_two_people_are_two_rows_and_keep_their_keys_over_restarts(world):
    claude_code(world)
    set_owners(world, fake="me@x.io", second="you@x.io")
    world.check()
    before = rows(world)
    assert set(before) == {"", short_hash(str(world.home / ".claude/.credentials.json"))}
    world.machine.passes(timedelta(minutes=30))
    world.check()
    assert rows(world) == before
    assert len(world.received) == 2


def test_a_login_that_proves_to_be_a_known_account_leaves_no_row_and_no_alert(world):
    world.check()
    assert rows(world) == {"": None}
    assert len(world.received) == 1
    world.machine.passes(timedelta(minutes=30))
    claude_code(world, accountUuid="uuid-1", emailAddress="me@x.io")
    set_owners(world, fake="me@x.io")
    world.check()
    assert rows(world) == {"uuid-1": None}
    now = world.machine.now()
    shown = builder.build_status(world.store(), builder.ConfigFacts(), now=now)
    assert [(each.account, each.ok) for each in shown.providers] == [("me@x.io", True)]
    assert [alert.series for alert in shown.alerts] == ["claude.five_hour"]
    assert {series.account for _, series in world.store().alerts.load_state().alert_states} == {"uuid-1"}
    assert len(world.received) == 1, "it was told already"


ME = {"accountUuid": "uuid-1", "emailAddress": "me@x.io"}


def plugin(world, token="sk-ant-oat01-plugin"):
    path = world.home / ".config/opencode/opencode-anthropic-auth/accounts.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"accounts": [{"id": "1", "email": "Me@x.io", "access": token}]}))


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ({}, {"token": "sk-ant-oat01-second", **ME}, "the same token names itself"),
        ({}, {"token": "sk-ant-oat01-renewed", **ME}, "the same place does, its token renewed meanwhile"),
        ({"emailAddress": "me@x.io"}, {"token": "sk-ant-oat01-renewed", **ME}, "an email has an id now"),
    ],
)
def test_a_renamed_account_keeps_its_alerts_and_its_history(world, before, after, why):
    world.login({})
    claude_code(world, **before)
    world.check()
    [old] = rows(world)
    world.machine.passes(timedelta(minutes=30))
    claude_code(world, **after)
    world.check()
    assert rows(world) == {"uuid-1": None}, why
    assert len(world.received) == 1, why
    store = world.store()
    [series] = store.readings.load_series()
    assert series.account == "uuid-1" != old
    assert len(list(store.readings.iter_history(series, since=START))) == 2
    assert [each.series for each in store.alerts.load_transitions(since=START)] == [series]
    world.machine.passes(timedelta(minutes=30))
    world.usage(20)
    world.watch(timedelta(minutes=30))
    assert [title.partition(":")[0] for title in world.titles()] == ["firing", "resolved"]


def test_a_fallback_keeps_its_cooldown_when_it_becomes_the_first_login(world):
    def usage(request):
        refused = request.headers["Authorization"].endswith("plugin")
        return world.json({}, 401) if refused else world.json({}, 429, **{"retry-after": "7200"})

    world.login({})
    plugin(world)
    claude_code(world, **ME)
    world.answers["/api/oauth/usage"] = usage
    world.check()
    assert asked(world, "/api/oauth/usage") == 2, "the first is refused, and its spare told to wait"
    (world.home / ".config/opencode/opencode-anthropic-auth/accounts.json").unlink()
    world.watch(timedelta(minutes=119))
    assert asked(world, "/api/oauth/usage") == 2
    world.watch(timedelta(minutes=10))
    assert asked(world, "/api/oauth/usage") == 3


def test_a_renewed_login_in_the_keychain_is_tried_as_soon_as_the_old_one_is_refused(world, monkeypatch):
    def sign_in(token):
        login = {"accessToken": token, "expiresAt": 1_900_000_000_000}
        world.keychain["Claude Code-credentials"] = json.dumps({"claudeAiOauth": login})

    def alive_s():
        return world.machine.alive.total_seconds()

    tool.keyrings._reads.clear()
    monkeypatch.setattr(tool.keyrings.clock, "monotonic_s", alive_s)
    world.login({})
    world.platform = "darwin"
    usage, good = world.answers["/api/oauth/usage"], ["old"]
    world.answers["/api/oauth/usage"] = lambda request: (
        usage(request) if request.headers["Authorization"].endswith(good[0]) else world.json({}, 401)
    )
    sign_in("sk-ant-oat01-old")
    world.check()
    world.machine.passes(timedelta(minutes=6))
    good[0] = "new"
    sign_in("sk-ant-oat01-new")
    world.check()
    tool.keyrings._reads.clear()
    assert rows(world) == {"": None}


def test_the_status_line_updates_an_account_that_was_renamed(world):
    world.login({})
    claude_code(world)
    world.check()
    world.machine.passes(timedelta(minutes=1))
    claude_code(world, **ME)
    window = {"used_percentage": 91, "resets_at": (START + timedelta(hours=4)).timestamp()}
    said = {"rate_limits": {"five_hour": window}}
    inbox.write_entry(world.paths.state_dir, inbox.CLAUDE_STATUSLINE, said, world.machine.now())
    world.import_statusline()
    assert rows(world) == {"uuid-1": None}
    world.machine.passes(timedelta(minutes=30))
    world.check()
    assert rows(world) == {"uuid-1": None}
    assert len(world.received) == 1


def test_a_login_with_an_id_continues_an_account_of_the_same_email(world):
    world.login({})
    plugin(world)
    world.check()
    assert rows(world) == {"me@x.io": None}
    world.machine.passes(timedelta(minutes=30))
    plugin(world, token="")
    claude_code(world, **ME)
    world.check()
    assert rows(world) == {"uuid-1": None}
    assert len(world.received) == 1


def test_an_account_that_is_renamed_twice_is_still_one(world):
    world.login({})
    claude_code(world)
    for account in ({}, {"emailAddress": "me@x.io"}, ME, {}, ME):
        (world.home / ".claude.json").write_text(json.dumps({"oauthAccount": account}))
        world.check()
        world.machine.passes(timedelta(minutes=30))
    assert len([each for each in rows(world).values() if each is None]) == 1
    assert len(world.received) == 1


def test_of_two_accounts_of_one_person_the_signed_out_one_is_reported(world):
    world.login({})
    claude_code(world, accountUuid="uuid-2", emailAddress="me@x.io")
    world.check()
    world.machine.passes(timedelta(minutes=30))
    claude_code(world, token="sk-ant-oat01-other", **ME)
    world.check()
    assert rows(world) == {"uuid-1": None, "uuid-2": "Claude: not signed in here, another account is"}
    assert len(world.received) == 2


def test_a_message_that_waits_follows_its_renamed_account(world):
    world.login({})
    claude_code(world)
    world.answers["/hook"] = lambda _: world.json({}, 503)
    world.check()
    world.machine.passes(timedelta(minutes=30))
    claude_code(world, **ME)
    world.usage(20)
    world.check()
    assert rows(world) == {"uuid-1": None}
    waiting = [each for row in world.store().outbox.load() for each in row.transitions]
    assert [str(each.event) for each in waiting] == ["firing", "resolved"]
    assert {each.alert_id for each in waiting} == {"a|claude[uuid-1].five_hour"}, "its end finds its beginning"


def test_a_message_that_is_being_sent_follows_its_renamed_account(world):
    world.login({})
    claude_code(world)
    receive = world.answers["/hook"]

    def renamed_meanwhile(_request):
        world.answers["/hook"] = lambda _: world.json({}, 503)
        store, now = world.store(), world.machine.now()
        store.run_transaction(lambda: store.accounts.rename("claude", "", "uuid-1"), now=now)
        return world.json({}, 503)

    world.answers["/hook"] = renamed_meanwhile
    world.check()
    assert [each.series.account for row in world.store().outbox.load() for each in row.transitions] == ["uuid-1"]
    world.machine.passes(timedelta(minutes=30))
    claude_code(world, **ME)
    world.usage(20)
    world.check()
    world.answers["/hook"] = receive
    world.machine.passes(timedelta(hours=2))
    world.check()
    assert [title.partition(":")[0] for title in world.titles()] == ["resolved"], "beginning and end in one message"


def test_a_login_that_becomes_anonymous_keeps_its_history(world):
    world.login({})
    claude_code(world, **ME)
    world.check()
    world.machine.passes(timedelta(minutes=30))
    (world.home / ".claude.json").write_text("{}")
    world.check()
    assert rows(world) == {"": None}, "the token is the same"
    assert [series.account for series in world.store().readings.load_series()] == [""]
    assert len(world.received) == 1


def test_messages_of_the_next_account_with_a_key_have_ids_of_their_own(world):
    world.check()
    world.machine.passes(timedelta(minutes=30))
    claude_code(world, **ME)
    set_owners(world, fake="me@x.io")
    world.check()
    assert rows(world) == {"uuid-1": None}
    assert len(world.received) == 1
    world.machine.passes(timedelta(minutes=30))
    world.login({"anthropic": {"type": "oauth", "access": "sk-ant-oat01-another", "expires": 0}})
    world.check()
    assert rows(world) == {"": None, "uuid-1": None}
    ids = [body["id"] for body in world.received]
    number = store_number(world, "")
    assert ids == ["a|claude.five_hour|0|firing", f"a|claude.five_hour|0|firing|account {number}"]
    world.usage(20)
    world.machine.passes(timedelta(minutes=30))
    world.check()
    assert [title.partition(":")[0] for title in world.titles()[2:]] == ["resolved", "resolved"]


@pytest.mark.parametrize(
    ("target", "after"),
    [
        ("claude[ab12cd34].five_hour", "claude[uuid-1].five_hour"),
        ("*[ab12cd34]", "*[uuid-1]"),
        ("codex[ab12cd34]", "codex[ab12cd34]"),
        ("claude[ab12cd34x]", "claude[ab12cd34x]"),
        ("claude.five_hour", "claude.five_hour"),
    ],
)
def test_a_snooze_that_names_a_key_follows_the_renamed_account(world, target, after):
    world.check()
    store, now = world.store(), world.machine.now()
    store.run_transaction(lambda: store.accounts.rename("claude", "", "ab12cd34"), now=now)
    store.run_transaction(lambda: store.snoozes.save(Snooze(target=target, created_at=now)), now=now)
    store.run_transaction(lambda: store.accounts.rename("claude", "ab12cd34", "uuid-1"), now=now)
    assert [each.target for each in store.snoozes.load()] == [after]


def test_a_snooze_until_the_reset_follows_the_renamed_account(world):
    world.login({})
    claude_code(world)
    world.usage(50)
    world.check()
    store, now = world.store(), world.machine.now()
    snooze = Snooze(target="claude.five_hour", created_at=now, episodes={"claude.five_hour": 0})
    store.run_transaction(lambda: store.snoozes.save(snooze), now=now)
    world.machine.passes(timedelta(minutes=30))
    claude_code(world, **ME)
    world.usage(90)
    world.check()
    assert [each.episodes for each in world.store().snoozes.load()] == [{"claude[uuid-1].five_hour": 0}]
    assert world.received == []


def test_a_login_that_names_its_owner_later_leaves_no_second_row(world):
    world.login({})
    claude_code(world)
    world.check()
    assert rows(world) == {"": None}
    world.machine.passes(timedelta(minutes=30))
    set_owners(world, second="me@x.io")
    world.login({"anthropic": {"type": "oauth", "access": "sk-ant-oat01-fake", "expires": 0}})
    world.check()  # two nameless ones: both are asked whose they are
    world.machine.passes(timedelta(minutes=30))
    claude_code(world, accountUuid="uuid-1", emailAddress="me@x.io")
    world.login({})
    world.check()
    assert set(rows(world)) - {"uuid-1"} <= {short_hash(str(world.home / ".local/share/opencode/auth.json"))}


def test_two_logins_with_unknown_owners_are_two_rows(world):
    claude_code(world)
    world.check()
    assert len(rows(world)) == 2
    world.machine.passes(timedelta(minutes=30))
    world.check()
    assert asked(world, PROFILE) == 2, "asked in vain once for each token"


def test_a_broken_login_file_is_no_failure_of_an_account_that_answers(world):
    (world.home / ".claude").mkdir()
    (world.home / ".claude/.credentials.json").write_text("{")
    world.config(RULE + ROUTE + '[[rule]]\nname = "b"\nwhen = "not claude.up"\n')
    world.watch(timedelta(hours=2))
    assert rows(world) == {"": None}
    [shown] = builder.build_status(world.store(), builder.ConfigFacts(), now=world.machine.now()).providers
    assert shown.ok
    assert ".credentials.json is not JSON: run `claude` once" in shown.note
    assert len(world.received) == 1, "nothing but the use itself"


def test_an_account_whose_login_file_is_broken_has_failed(world):
    world.check()
    claude_code(world)
    (world.home / ".local/share/opencode/auth.json").write_text("{")
    world.machine.passes(timedelta(minutes=30))
    world.check()
    found = rows(world)
    assert found.pop("").endswith("auth.json is not JSON: sign in again with `opencode auth login`")
    assert list(found.values()) == [None], "the other has a key of its own, and no trouble"


@pytest.mark.slow  # hours of a simulated day
def test_a_discontinued_service_is_polled_again_only_with_another_login(world):
    """Gemini CLI's cut-off: polling stops, a renewed access token does not begin it again, another login does."""

    def sign_in(refresh, access):
        (world.home / ".gemini").mkdir(exist_ok=True)
        content = {"access_token": access, "refresh_token": refresh, "expiry_date": 1_900_000_000_000}
        (world.home / ".gemini/oauth_creds.json").write_text(json.dumps(content))

    world.login({})
    body = {"error": {"code": 403, "message": "UNSUPPORTED_CLIENT"}}
    quota = "/v1internal:retrieveUserQuota"
    world.answers["/v1internal:loadCodeAssist"] = lambda _: world.json(body, 403)
    world.answers[quota] = lambda _: world.json({"buckets": [{"modelId": "m", "remainingFraction": 0.5}]})
    sign_in("1//one", "ya29.a")
    world.watch(timedelta(hours=3))
    assert asked(world, "/v1internal:loadCodeAssist") == 1
    sign_in("1//one", "ya29.b")
    world.watch(timedelta(hours=3))
    world.check()
    assert asked(world, "/v1internal:loadCodeAssist") == 1, "the same login, whatever its access token"
    world.answers["/v1internal:loadCodeAssist"] = lambda _: world.json({"cloudaicompanionProject": "p"})
    sign_in("1//two", "ya29.c")
    world.check()
    assert asked(world, quota) == 1


GITHUB = {"gho_opencode": "octocat", "gho_editor": "octocat"}


def github(world, refused, status):
    """One person's token of OpenCode, which names no owner, and one of an editor; some may not read quota."""
    world.login(
        {"github-copilot": {"type": "oauth", "access": "gho_opencode", "refresh": "gho_opencode", "expires": 0}}
    )
    path = world.home / ".config/github-copilot/apps.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"github.com:Iv1": {"user": "octocat", "oauth_token": "gho_editor"}}))
    quota = {"quota_snapshots": {"chat": {"entitlement": 100, "remaining": 10}}}

    def token(request):
        return request.headers["Authorization"].partition(" ")[2]

    world.answers["/copilot_internal/user"] = lambda request: (
        world.json({}, status) if token(request) in refused else world.json(quota)
    )
    world.answers["/user"] = lambda request: world.json({"login": GITHUB[token(request)]})


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("refused", [["gho_opencode"], ["gho_editor"]])
def test_a_refused_token_beside_a_good_one_of_the_same_person_is_no_failure(world, refused, status):
    world.config('[[rule]]\nname = "a"\nwhen = "copilot.chat > 80%"\n[channels.h]\n' + CHANNEL + ROUTE)
    github(world, refused, status)
    for _ in range(3):
        world.check()
        world.machine.passes(timedelta(minutes=30))
    shown = [each for each in world.store().accounts.load() if each.provider == "copilot"]
    if (refused, status) == (["gho_opencode"], 401):  # an invalid token: its owner is unknown
        assert [each.account for each in shown if each.failure is None] == ["octocat"]
    else:
        assert [(each.account, each.failure) for each in shown] == [("octocat", None)]
    assert asked(world, "/user") <= 1
    assert len(world.received) == 1


def google(world, **owners):
    """OpenCode's Google login and one of the plugin's, neither of which says whose it is; `owners` by access token."""
    opencode = {"type": "oauth", "access": "ya29.first", "refresh": "1//first|p", "expires": 1_900_000_000_000}
    world.login({"google": opencode})
    path = world.home / ".config/opencode/antigravity-accounts.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": 4, "accounts": [{"refreshToken": "1//second", "projectId": "p"}]}))
    world.env |= {"GEMINI_CLIENT_ID": "id", "GEMINI_CLIENT_SECRET": "secret"}
    world.answers["/token"] = lambda _: world.json({"access_token": "ya29.second", "expires_in": 3599})
    world.answers[QUOTA] = lambda _: world.json({"buckets": [{"modelId": "m", "remainingFraction": 0.1}]})

    def user(request):
        token = request.headers["Authorization"].rpartition(".")[2]
        return world.json({"email": owners[token]}) if token in owners else world.json({}, 403)

    world.answers[USER] = user


@pytest.mark.parametrize(
    ("owners", "rows_", "sent"),
    [
        ({"first": "me@x.io", "second": "Me@x.io"}, 1, 1),
        ({"first": "me@x.io", "second": "you@x.io"}, 2, 2),
        ({}, 2, 2),
    ],
)
def test_the_owners_of_two_anonymous_google_logins_are_looked_up_once(world, owners, rows_, sent):
    world.config('[[rule]]\nname = "a"\nwhen = "gemini_cli.m > 80%"\n[channels.h]\n' + CHANNEL + ROUTE)
    google(world, **owners)
    for _ in range(3):
        world.check()
        world.machine.passes(timedelta(minutes=30))
    shown = [each for each in world.store().accounts.load() if each.provider == "gemini_cli"]
    assert [each.failure for each in shown] == [None] * rows_
    assert {each.name.casefold() for each in shown} - set(keys_of(shown)) == {
        name.casefold() for name in owners.values()
    }
    assert asked(world, USER) == 2
    assert len(world.received) == sent


def keys_of(shown):
    return [each.account for each in shown]


def test_the_owner_of_a_token_is_looked_up_once_over_restarts(world):
    world.login({"github-copilot": {"type": "oauth", "access": "gho_a", "refresh": "gho_a", "expires": 0}})
    world.answers["/copilot_internal/user"] = lambda _: world.json({"quota_snapshots": {"chat": {"unlimited": True}}})
    world.answers["/user"] = lambda _: world.json({"login": "octocat"})
    for _ in range(3):
        world.check()
        world.machine.passes(timedelta(minutes=30))
    assert asked(world, "/copilot_internal/user") == 3
    assert asked(world, "/user") == 1
    assert [each.name for each in world.store().accounts.load()] == ["octocat"]


def test_the_status_line_updates_the_account_that_is_shown(world):
    claude_code(world)
    set_owners(world, fake="me@x.io", second="me@x.io")
    world.check()
    world.machine.passes(timedelta(minutes=1))
    window = {"used_percentage": 91, "resets_at": (START + timedelta(hours=4)).timestamp()}
    said = {"rate_limits": {"five_hour": window}}
    inbox.write_entry(world.paths.state_dir, inbox.CLAUDE_STATUSLINE, said, world.machine.now())
    world.import_statusline()
    [account] = [each for each in world.store().accounts.load() if each.provider == "claude"]
    assert (account.account, [each.used_percent for each in account.snapshot.readings]) == ("", [91])


def test_two_anonymous_logins_are_one_account_in_whatever_order_they_answer(world):
    store, now = world.store(), world.machine.now()
    registry, config = AccountRegistry(store), loader.load_config(world.paths, lambda text: text, world.home)
    first, second = accounts.assign_keys(
        [Credential(provider="claude", source_name=name, path=f"/{name}", token=name) for name in ("a", "b")]
    )
    registry.record_credentials("claude", [first, second], now)
    for login in (second, first):
        reading = Reading(window="five_hour", kind=WindowKind.SESSION, used_percent=85.0)
        result = Snapshot(provider="claude", account=login.account, account_name="me@x.io", at=now, readings=(reading,))
        assert registry.record_owner("claude", login, result)
        registry.settle("claude", config, now)
        pipeline.process_result(store, config, result, now=now, every=timedelta(minutes=5))
    assert [(each.account, each.name) for each in store.accounts.load()] == [("", "me@x.io")]
    assert len(store.outbox.load()) == 1
    assert [login.account for login in registry.list_logins("claude", now)] == [""]
    assert not registry.record_owner("claude", first, result), "it is known already"
