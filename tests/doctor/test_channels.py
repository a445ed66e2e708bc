from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.doctor.host import CONFIG, SECRETS, one, summarize
from watcher.core.model import Delivery, DeliveryState, Response, StoppedChannel
from watcher.core.routing import messages
from watcher.doctor import DesktopUnavailableError, config
from watcher.errors import OfflineError


def delivery(now, channel, state, outcome="", key="k"):
    return Delivery(
        key=key,
        channel=channel,
        message=messages.compose_notice("k", "title", "body", now),
        reason="",
        state=state,
        created_at=now - timedelta(hours=3),
        next_attempt_at=now,
        expires_at=now,
        last_response=outcome,
    )


def keep(host, *deliveries):
    host.write(lambda store: store.outbox.enqueue(deliveries))


def test_a_channel_is_ok_once_it_accepted_a_message(host):
    keep(host, delivery(host.clock.at, "desktop", DeliveryState.SENT))
    found = list(config.check_channels(host.context()))
    assert summarize(found) == [
        ("desktop", "ok", "accepted a message 3 h ago"),
        ("team", "warn", "it has not accepted a message yet"),
    ]
    assert found[1].cure == "watcher notify test team"


def test_an_accepted_test_message_is_enough(host):
    host.write(lambda store: store.facts.save("tried team", "taken", host.clock.at - timedelta(hours=1)))
    assert summarize([one(config.check_channels(host.context()), "team")]) == [
        ("team", "ok", "accepted a test message 1 h ago")
    ]


def test_a_missing_secret_fails_and_is_named_by_its_variable(host):
    del host.env["TEAM_URL"]
    found = one(config.check_channels(host.context()), "team")
    assert found.verdict == "fail"
    assert "the environment variable TEAM_URL is not set" in found.message
    assert found.cure == "set it, then watcher notify test team"


def test_a_stopped_channel_fails_with_the_server_s_message(host):
    stop = StoppedChannel(channel="team", settings_fingerprint="0", stopped_at=host.clock.at, detail="404 no_service")
    host.write(lambda store: store.outbox.save_stop(stop))
    found = one(config.check_channels(host.context()), "team")
    assert (found.verdict, found.message) == ("fail", "it was stopped after a permanent error: 404 no_service")
    assert found.cure == "correct [channels.team], then watcher notify test team"


def test_messages_that_were_given_up_are_counted(host):
    lost = delivery(host.clock.at, "team", DeliveryState.DEAD, outcome="no connection")
    keep(host, lost, replace(lost, key="k2"))
    found = one(config.check_channels(host.context()), "team")
    assert (found.verdict, found.message) == ("warn", "2 messages not delivered in the last week: no connection")


def test_an_unused_channel_is_a_warning(host):
    host.config(CONFIG.replace('critical = ["desktop", "team"]', ""))
    found = one(config.check_channels(host.context()), "team")
    assert (found.verdict, found.message) == ("warn", "no route and no rule uses it, so it never gets a message")
    host.config(
        CONFIG.replace('critical = ["desktop", "team"]', "").replace(
            'name = "session"', 'name = "session"\nnotify = ["team"]'
        )
    )
    assert "not accepted a message" in one(config.check_channels(host.context()), "team").message


def test_a_route_of_a_severity_that_no_rule_has_is_no_use(host):
    host.config(CONFIG.replace(', critical = "95%"', ""))
    assert "no route and no rule uses it" in one(config.check_channels(host.context()), "team").message


def test_routes_that_lead_nowhere_are_a_failure(host):
    host.config('[channels.desktop]\ntype = "desktop"\n[route]\ndefault = []\n')
    assert ("route", "fail", "no route leads to a channel, so no alert is sent") in summarize(
        config.check_channels(host.context())
    )


def test_a_config_that_cannot_be_read_has_no_channels_to_judge(host):
    host.config("[channels")
    assert list(config.check_channels(host.context())) == []


# --- the desktop ------------------------------------------------------------------------------------------------------


def unanswered():
    raise DesktopUnavailableError("no notification daemon is running; start one, for instance dunst or mako")


def test_the_notification_service_is_named(host):
    context = replace(host.context(), query_desktop=lambda: "dunst 1.9.0 answers on the session bus")
    assert summarize(config.check_desktop(context)) == [
        ("notifications", "ok", "dunst 1.9.0 answers on the session bus")
    ]


def test_no_notification_service_is_a_failure_where_alerts_go_there(host):
    (found,) = config.check_desktop(replace(host.context(), query_desktop=unanswered))
    assert (found.verdict, found.message) == ("fail", "no notification daemon is running")
    assert found.cure == "start one, for instance dunst or mako"
    host.config(CONFIG.replace('"desktop"]', '"team"]').replace('["desktop", "team"]', '["team"]'))
    (found,) = config.check_desktop(replace(host.context(), query_desktop=unanswered))
    assert found.verdict == "warn"


def test_where_no_channel_needs_the_desktop_it_is_not_asked(host):
    host.config('[channels.team]\ntype = "slack"\nurl = "env:TEAM_URL"\n')
    assert summarize(config.check_desktop(replace(host.context(), query_desktop=unanswered))) == [
        ("notifications", "ok", "no channel uses the desktop")
    ]


@pytest.mark.posix
def test_without_a_bus_the_finding_has_a_cure(host):
    host.env["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=/nowhere/bus"
    (found,) = config.check_desktop(host.context())
    assert found.verdict == "fail"
    assert "the session bus cannot be reached" in found.message


@pytest.mark.posix
def test_on_other_systems_the_program_that_shows_it_is_looked_for(host, tmp_path):
    host.platform = "darwin"
    (found,) = config.check_desktop(host.context())
    assert (found.verdict, found.message) == ("fail", "none of terminal-notifier, osascript is on PATH")
    (tmp_path / "osascript").write_text("")
    (tmp_path / "osascript").chmod(0o755)
    host.env["PATH"] = str(tmp_path)
    (found,) = config.check_desktop(host.context())
    assert (found.verdict, found.message.split(";")[0]) == ("ok", "shown by osascript")


def test_a_webhook_s_address_is_in_no_finding(host):
    findings = [*config.check_channels(host.context()), *config.check_desktop(host.context())]
    assert SECRETS["team"] not in repr(findings)


@pytest.mark.parametrize(
    ("answers", "verdict", "message"),
    [
        ((200, 200), "ok", "Alertmanager 127.0.0.1:9093, version 0.25.0, is ready"),
        ((503, 200), "fail", "Alertmanager 127.0.0.1:9093: not ready: answered 503 Service Unavailable"),
        (None, "fail", "Alertmanager 127.0.0.1:9093: the connection was refused"),
    ],
)
def test_each_alertmanager_is_asked_whether_it_is_ready(host, answers, verdict, message):
    host.config('[channels.am]\ntype = "alertmanager"\nurls = ["http://127.0.0.1:9093"]\n' + CONFIG)

    def send(request):
        if answers is None:
            raise OfflineError("127.0.0.1: the connection was refused")
        status = answers[request.url == "http://127.0.0.1:9093/api/v2/status"]
        return Response(status=status, body=b'{"versionInfo": {"version": "0.25.0"}}', received_at=host.clock.at)

    found = summarize(config.check_channels(replace(host.context(), send=send)))
    assert ("am", verdict, message) in found


def test_headers_that_go_unencrypted_to_another_machine_are_a_warning(host):
    table = '[channels.am]\ntype = "alertmanager"\nurls = ["http://am-1:9093"]\nheaders = { X = "env:TEAM_URL" }\n'
    host.config(table + CONFIG)
    good = Response(status=200, body=b"{}", received_at=host.clock.at)
    found = summarize(config.check_channels(replace(host.context(), send=lambda _request: good)))
    assert ("am", "warn", "Alertmanager am-1:9093 is ready, but `headers` go there unencrypted") in found
