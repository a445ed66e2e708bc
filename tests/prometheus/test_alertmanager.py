"""What the daemon shows an Alertmanager: what fires, until when, and how it ends."""

import json
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest

from tests.world import HOOK, SESSION, START, hang_search, make_world
from watcher.core.model import Response
from watcher.errors import OfflineError
from watcher.prometheus import alertmanager  # noqa: F401 - before the clock is frozen: its records are read by type
from watcher.status.document import read_status

M, S, H = timedelta(minutes=1), timedelta(seconds=1), timedelta(hours=1)
PATH = "/api/v2/alerts"
AM = """
[channels.am]
type = "alertmanager"
urls = ["http://am-1:9093", "http://am-2:9093/second"]
[metrics]
salt = "env:SALT"
"""
LADDER = """
[[rule]]
name = "ladder"
when = "claude.five_hour > level"
levels = { warning = "80%", critical = "95%" }
"""
SILENCE = """
[[rule]]
name = "silence"
when = "claude.age > 45m"
"""


class Cluster:
    """Two Alertmanagers of a world: what each was posted, and what it answers."""

    def __init__(self, world):
        self.world = world
        self.posts = []  # (minutes since the start, path, alerts)
        self.said = {PATH: 200, f"/second{PATH}": 200}
        for path in self.said:
            world.answers[path] = self.take

    def take(self, request):
        path = request.url.partition(":9093")[2]
        self.posts.append((self.world.machine.now() - START, path, json.loads(request.body)))
        said = self.said[path]
        if isinstance(said, Exception):
            return said
        return Response(status=said, body=b"planted", received_at=self.world.machine.now())

    def alerts(self, path=PATH):
        """(when, rule, severity, whether it has ended) of everything posted to one."""
        return [
            (at, each["labels"]["alertname"], each["labels"]["severity"], parse(each["endsAt"]) <= START + at)
            for at, where, alerts in self.posts
            if where == path
            for each in alerts
        ]

    def last(self, path=PATH):
        return [alerts for _, where, alerts in self.posts if where == path][-1]

    def times(self, path=PATH):
        return [at for at, where, _ in self.posts if where == path]


def parse(text):
    return datetime.fromisoformat(text)


@contextmanager
def shown(tmp_path, rules=SESSION, config=AM, percent=85):
    with make_world(tmp_path, config + rules, percent) as world:
        world.env["SALT"] = "0123456789"
        yield world, Cluster(world)


def status(world):
    return read_status(world.paths.state_dir, now=world.machine.now())


def test_every_address_is_shown_all_that_fires_every_minute(tmp_path):
    with shown(tmp_path) as (world, cluster):
        world.watch(10 * M)
        assert cluster.times() == [minute * M for minute in range(10)]
        assert cluster.alerts() == cluster.alerts(f"/second{PATH}")
        assert {each[1:] for each in cluster.alerts()} == {("session", "warning", False)}


def test_a_search_for_logins_that_never_ends_holds_up_no_other_provider(tmp_path, monkeypatch):
    hang_search(monkeypatch, "copilot")
    with shown(tmp_path, config=AM + HOOK) as (world, cluster):
        daemon, calls, store = world.daemon()
        calls.until = START + 4 * M
        daemon.run()
        store.close()
        assert cluster.times() == [M, 2 * M, 3 * M]


def test_nothing_is_posted_and_nothing_wakes_up_while_nothing_fires(tmp_path):
    with shown(tmp_path, percent=10) as (world, cluster):
        world.watch(30 * M)
        assert cluster.posts == []
        assert "alertmanager" not in world.store().facts.load("alertmanager")[0]


def test_no_message_waits_in_the_outbox_and_a_notice_goes_elsewhere(tmp_path):
    with shown(tmp_path, config=AM + HOOK, rules=LADDER) as (world, cluster):
        world.watch(10 * M, (5 * M, lambda: world.config(AM + HOOK + "nonsense = 1\n" + LADDER)))
        assert [body["event"] for body in world.received] == ["firing", "notice"]
        assert world.store().outbox.load() == []
        assert cluster.times()[0] == timedelta(0)
        assert all(channel == "hook" for channel, _ in world.store().outbox.finished_counts)


def test_a_level_that_mutes_others_is_posted_before_them_until_it_is_over(tmp_path):
    with shown(tmp_path, LADDER) as (world, cluster):
        world.watch(32 * M, (6 * M, lambda: world.usage(97)), (15 * M, lambda: world.usage(3, START + 9 * H)))
        posts = [[each["labels"]["severity"] for each in alerts] for _, path, alerts in cluster.posts if path == PATH]
        first = posts.index(["critical"])
        assert posts[:first] == [["warning"]] * first
        assert posts[first : first + 2] == [["critical"], ["warning", "critical"]]
        assert posts[-3:] == [["warning", "critical"]] * 3  # over


def test_each_level_is_an_alert_until_all_is_over(tmp_path):
    with shown(tmp_path, LADDER) as (world, cluster):
        world.watch(
            60 * M,
            (6 * M, lambda: world.usage(97)),
            (18 * M, lambda: world.usage(90)),
            (30 * M, lambda: world.usage(3, START + 9 * H)),
        )
        kinds = [each[2:] for each in cluster.alerts()]
        order = list(dict.fromkeys(kinds))
        assert order == [("warning", False), ("critical", False), ("warning", True), ("critical", True)]
        assert [each["labels"]["severity"] for each in cluster.last()] == ["warning", "critical"]
        ends = {(each["startsAt"], each["endsAt"]) for each in cluster.last()}
        assert len(ends) == 1
        assert {each["annotations"]["reason"] for each in cluster.last()} == {"reset"}
        assert all("has reset" in each["annotations"]["summary"] for each in cluster.last())


def test_what_ended_is_shown_for_fifteen_minutes(tmp_path):
    with shown(tmp_path) as (world, cluster):
        world.watch(60 * M, (6 * M, lambda: world.usage(3, START + 9 * H)))
        ended = [at for at, *_, over in cluster.alerts() if over]
        assert 14 * M <= ended[-1] - ended[0] <= 15 * M
        assert cluster.times()[-1] == ended[-1]


def test_an_end_is_shown_until_an_alertmanager_that_was_away_has_seen_it(tmp_path):
    with shown(tmp_path) as (world, cluster):
        away = f"/second{PATH}"

        def leave():
            cluster.said[away] = OfflineError("no route")
            world.usage(3, START + 9 * H)

        world.watch(90 * M, (6 * M, leave), (50 * M, lambda: cluster.said.update({away: 200})))
        assert cluster.alerts(away)[-1][3]
        assert 50 * M <= cluster.times(away)[-1] <= 52 * M


def test_the_end_of_an_alert_is_its_reset(tmp_path):
    with shown(tmp_path) as (world, cluster):
        world.watch(3 * M)
        assert parse(cluster.last()[0]["endsAt"]) == START + 4 * H + 2 * M


def test_a_laptop_that_sleeps_tells_nothing_old_when_it_wakes(tmp_path):
    with shown(tmp_path) as (world, cluster):

        def sleep():
            world.machine.sleeps(6 * H)
            del world.answers["/api/oauth/usage"]  # no network yet: the window has turned over, unseen

        world.watch(6 * H + 30 * M, (5 * M, sleep), (6 * H + 20 * M, lambda: world.usage(3, START + 9 * H)))
        awake = [each for each in cluster.alerts() if each[0] > 6 * H]
        assert awake
        assert all(over for *_, over in awake)


def test_a_restart_shows_the_same_again(tmp_path):
    with shown(tmp_path) as (world, cluster):
        world.watch(3 * M)
        before = cluster.last()
        world.watch(3 * M)
        assert [each["labels"] for each in cluster.last()] == [each["labels"] for each in before]
        assert [each["startsAt"] for each in cluster.last()] == [each["startsAt"] for each in before]


@pytest.mark.parametrize(
    "after",
    [
        SESSION.replace("80%", "90%"),  # edited
        LADDER,  # removed
        SESSION + 'notify = ["hook"]\n',  # to another channel
    ],
)
def test_an_alert_ends_that_is_no_longer_shown_here(tmp_path, after):
    with shown(tmp_path, config=AM + HOOK) as (world, cluster):
        world.watch(20 * M, (5 * M, lambda: world.config(AM + HOOK + after)))
        assert {each[3] for each in cluster.alerts() if each[1] == "session"} == {False, True}
        assert [each[3] for each in cluster.alerts() if each[1] == "session"][-1]


def test_an_alert_that_changes_while_the_watcher_is_away_ends_too(tmp_path):
    with shown(tmp_path) as (world, cluster):
        world.watch(3 * M)
        world.config(AM + LADDER)
        world.watch(3 * M)
        assert ("session", True) in {(each[1], each[3]) for each in cluster.alerts()}


def test_the_route_of_a_severity_is_followed(tmp_path):
    route = '[route]\ndefault = ["hook"]\ncritical = ["am"]\n'
    with shown(tmp_path, LADDER, AM + HOOK + route) as (world, cluster):
        world.watch(30 * M, (6 * M, lambda: world.usage(97)))
        assert {each[1:3] for each in cluster.alerts()} == {("ladder", "critical")}


@pytest.mark.parametrize(
    ("on", "annotation"),
    [('["firing"]', "no"), ('["firing", "resolved"]', None), ('["resolved"]', "absent")],
)
def test_on_decides_what_is_shown(tmp_path, on, annotation):
    with shown(tmp_path, SESSION + f"on = {on}\n") as (world, cluster):
        world.watch(5 * M)
        found = [each["annotations"].get("send_resolved") for *_, alerts in cluster.posts for each in alerts]
        assert set(found) == (set() if annotation == "absent" else {annotation})


def test_quiet_hours_and_snoozes_do_not_apply(tmp_path):
    with shown(tmp_path, config=AM + '[quiet]\nhours = "00:00-23:59"\ntz = "UTC"\n') as (world, cluster):
        world.watch(5 * M)
        assert cluster.times()[0] == timedelta(0)


@pytest.mark.slow  # hours of a simulated day
def test_rules_about_silence_last_and_are_not_shown_while_the_machine_is_offline(tmp_path):
    with shown(tmp_path, SILENCE) as (world, cluster):

        def refuse():
            world.answers["/api/oauth/usage"] = lambda _request: world.json({}, status=500)

        world.watch(3 * H, (5 * M, refuse))
        [last] = cluster.last()
        assert parse(last["endsAt"]) - (START + cluster.times()[-1]) == 24 * H
        assert "account" in last["labels"]
    with shown(tmp_path / "offline", SILENCE) as (world, cluster):
        world.watch(3 * H, (5 * M, lambda: world.answers.pop("/api/oauth/usage")))
        assert any(line.startswith("firing silence") for line in world.log.lines)
        assert cluster.posts == []


def test_one_of_two_is_enough_and_status_says_what_each_answered(tmp_path):
    with shown(tmp_path) as (world, cluster):
        cluster.said[f"/second{PATH}"] = OfflineError("am-2: cannot be reached: look at the network")
        world.watch(5 * M)
        found = [(each.address, each.delivered, each.answer) for each in status(world).alertmanagers]
        assert found == [
            ("am-1:9093", True, "answered 200 OK"),
            ("am-2:9093/second", False, "cannot be reached: look at the network"),
        ]
        assert status(world).stopped_channels == {}
        assert sum("cannot be reached" in line for line in world.log.lines) == 1


@pytest.mark.parametrize("code", [401, 403, 404, 302])
def test_a_channel_stops_that_all_refuse_and_is_used_again_with_new_settings(tmp_path, code):
    with shown(tmp_path, config=AM + HOOK) as (world, cluster):
        cluster.said = dict.fromkeys(cluster.said, code)

        def correct():
            cluster.said = dict.fromkeys(cluster.said, 200)
            world.config(AM.replace("[metrics]", 'headers = { X = "env:SALT" }\n[metrics]') + HOOK + SESSION)

        world.watch(20 * M, (10 * M, correct))
        assert [at for at in cluster.times() if at < 10 * M] == [timedelta(0)]
        assert [at for at in cluster.times() if at >= 10 * M]
        assert [body["event"] for body in world.received] == ["firing", "notice"]
        assert 'Channel "am" has stopped' in world.received[1]["title"]
        assert status(world).stopped_channels == {}


def test_a_test_that_succeeds_ends_the_stop_of_a_channel(tmp_path):
    with shown(tmp_path, config=AM + HOOK) as (world, cluster):
        cluster.said = dict.fromkeys(cluster.said, 401)
        daemon, calls, store = world.daemon()

        def resume():  # as `watcher notify test` does
            cluster.said = dict.fromkeys(cluster.said, 200)
            store.run_transaction(lambda: store.outbox.delete_stop("am"), now=world.machine.now())
            daemon.check_requests()

        calls.until = START + 10 * M
        calls.events = [(START + 5 * M, resume)]
        daemon.run()
        assert cluster.times()[:2] == [timedelta(0), 5 * M]
        assert all(each.delivered for each in status(world).alertmanagers)


def test_a_server_error_is_met_again_with_the_next_beat(tmp_path):
    with shown(tmp_path) as (world, cluster):
        cluster.said = dict.fromkeys(cluster.said, 503)
        world.watch(5 * M, (150 * S, lambda: cluster.said.update(dict.fromkeys(cluster.said, 200))))
        assert cluster.times()[:4] == [minute * M for minute in range(4)]
        assert all(each.delivered for each in status(world).alertmanagers)


def test_a_refused_alert_is_left_out_and_said_once(tmp_path):
    with shown(tmp_path, SESSION + LADDER) as (world, cluster):
        plain = cluster.take

        def refuse(request):
            answer = plain(request)
            bad = any(each["labels"]["alertname"] == "ladder" for each in json.loads(request.body))
            return Response(status=400, received_at=answer.received_at) if bad else answer

        world.answers[PATH] = refuse
        world.watch(10 * M)
        assert sum("refuses ladder" in line for line in world.log.lines) == 1
        assert {each["labels"]["alertname"] for each in cluster.last()} == {"session"}
        assert {each["labels"]["alertname"] for each in cluster.last(f"/second{PATH}")} == {"session", "ladder"}


def test_a_salt_that_is_not_available_keeps_everything_here(tmp_path):
    with shown(tmp_path) as (world, cluster):
        del world.env["SALT"]
        world.watch(5 * M)
        assert cluster.posts == []
        assert all("SALT" in each.answer and not each.delivered for each in status(world).alertmanagers)


def test_a_check_shows_once_what_fires(tmp_path):
    with shown(tmp_path) as (world, cluster):
        world.check()
        assert len(cluster.times()) == 1
        world.check()
        assert len(cluster.times()) == 2
        world.usage(3, START + 9 * H)
        world.machine.passes(5 * H)
        world.check()
        assert cluster.alerts()[-1][3]


def test_two_machines_with_one_salt_name_one_account_alike(tmp_path):
    labels = []
    for machine in ("one", "two"):
        with shown(tmp_path / machine) as (world, cluster):
            world.watch(2 * M)
            labels.append(cluster.last()[0]["labels"])
    assert labels[0] == labels[1]
    assert len(labels[0]["account"]) == 10


def test_the_labels_of_accounts_alone_export_nothing(tmp_path):
    with shown(tmp_path) as (world, _cluster):
        daemon, *_ = world.daemon()
        daemon._start_exporter()
        assert daemon._exporter is None


def test_nothing_is_left_behind_when_the_channel_is_removed(tmp_path):
    with shown(tmp_path) as (world, _cluster):
        world.watch(3 * M)
        world.config(HOOK + SESSION)
        world.watch(3 * M)
        assert status(world).alertmanagers == []


def test_no_email_no_secret_and_no_error_text_leaves(tmp_path):
    rules = '[[rule]]\nname = "silence"\nwhen = "claude.age > 10m"\nmessage = "{account} {series} {plan}: {error}"\n'
    with shown(tmp_path, SESSION + rules) as (world, cluster):
        login = {"accessToken": "sk-ant-oat01-second", "expiresAt": 4102444800000, "subscriptionType": "canary-plan"}
        path = tmp_path / ".claude" / ".credentials.json"
        path.parent.mkdir()
        path.write_text(json.dumps({"claudeAiOauth": login}))
        world.answers["/api/oauth/profile"] = lambda request: world.json(
            {"account": {"email": f"{request.headers['Authorization'][-4:]}@canary.example"}}
        )

        def fail():
            world.answers["/api/oauth/usage"] = lambda _request: world.json({"error": "canary-error"}, status=500)

        world.watch(2 * H, (10 * M, fail))
        posted = json.dumps([alerts for *_, alerts in cluster.posts])
        assert {"fake@canary.example", "cond@canary.example"} <= {each.account for each in status(world).providers}
        assert len({alert["labels"]["account"] for *_, alerts in cluster.posts for alert in alerts}) == 2
        assert "silence" in posted
        assert [word for word in ("canary", "sk-ant", "0123456789", str(tmp_path)) if word in posted] == []
