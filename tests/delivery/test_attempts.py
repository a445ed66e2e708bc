"""The way out, against receivers that misbehave: a real socket, and a clock that is moved by hand."""

import socket
from datetime import UTC, timedelta
from email.utils import format_datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from msgspec import structs

from tests.core.samples import NOW, H, M, of, reading, routing, rule, transition
from tests.receiver import receiver
from watcher import notifiers
from watcher.core.model import CommandResult, Delivery, DeliveryOutcome, DeliveryState, Severity, StoppedChannel
from watcher.core.routing.messages import compose_notice
from watcher.core.routing.planner import plan_deliveries, plan_release
from watcher.core.rules.time_intervals import parse_quiet_hours
from watcher.delivery import dispatcher
from watcher.notifiers import NOTIFIERS, Channel
from watcher.system import http

RULES = {"claude-session": rule()}
S = timedelta(seconds=1)
IN_OUTBOX = {DeliveryState.QUEUED, DeliveryState.HELD}


def channel(kind="webhook", name=None, **settings):
    record = msgspec.convert(settings, NOTIFIERS[kind].settings_class)
    return Channel(name=name or kind, type=kind, settings=record)


def due(deliveries, now, excluded=(), next_send_at=None):
    found = dispatcher.find_next_deliveries(deliveries, excluded, next_send_at or {})
    return [delivery for delivery, ready_at in found if ready_at <= now]


def next_at(deliveries, excluded=(), next_send_at=None):
    found = dispatcher.find_next_deliveries(deliveries, excluded, next_send_at or {})
    return min((ready_at for _, ready_at in found), default=None)


class Sender:
    """The daemon's part in small: one thread, and a clock that leaps to what is due next."""

    def __init__(self, *channels, settings=None, limit_s=30.0):
        self.channels = {each.name: each for each in channels}
        kinds = {"desktop": "desktop"} | {each.name: each.type for each in channels}
        self.routing = settings or routing(channels=kinds, default=tuple(self.channels))
        self.rows, self.stops, self.next_send_at = [], [], {}
        self.now = NOW
        self.limit_s = limit_s
        self.times = []

    def save(self, new=(), changed=()):
        known = {row.id: row for row in changed}
        self.rows = [known.get(row.id, row) for row in self.rows]
        self.rows += [structs.replace(row, id=len(self.rows) + place) for place, row in enumerate(new, 1)]

    def open(self):
        return [row for row in self.rows if row.state in IN_OUTBOX]

    def plan(self, *transitions):
        planned = plan_deliveries(transitions, RULES, self.open(), self.routing, (), self.now)
        self.save(planned.new_deliveries, planned.changed_deliveries)

    def stopped(self):
        return {stop.channel for stop in self.stops}

    def send(self, request):
        return http.send_request(structs.replace(request, timeout_s=self.limit_s), now=lambda: self.now)

    def run(self, command):
        raise AssertionError(command)

    def attempt_due(self):
        """Attempt what is due now."""
        for delivery in due(self.open(), self.now, self.stopped(), self.next_send_at):
            begun = dispatcher.prepare_attempt(delivery, RULES, self.routing, self.now)
            self.save(changed=[begun])
            where = self.channels.get(begun.channel)
            if begun.channel == "desktop":
                outcome = DeliveryOutcome(delivered=True, detail="shown")
                where = Channel(name="desktop", type="desktop", settings=None)
            elif where is None:
                outcome = DeliveryOutcome(
                    delivered=False, detail="the channel is no longer in the config", permanent=True
                )
            else:
                outcome = notifiers.send_message(begun.message, where, send=self.send, run=self.run)
            self.times.append(self.now)
            settled = dispatcher.apply_outcome(
                begun, outcome, where, self.routing, self.now, jitter=0.0, stopped_channels=self.stopped()
            )
            self.save(settled.new_deliveries, [settled.delivery])
            if settled.stop:
                self.stops.append(settled.stop)
            if where:
                self.next_send_at[where.name] = dispatcher.compute_next_send_at(where, outcome, self.now)

    def deliver(self, until=24 * H, most=100):
        """Attempt whatever becomes due in that time."""
        end = self.now + until
        for _ in range(most):
            at = next_at(self.open(), self.stopped(), self.next_send_at)
            if at is None or at > end:
                return
            self.now = max(self.now, at)
            self.attempt_due()
        raise AssertionError("it never comes to rest")

    def states(self):
        return [str(row.state) for row in self.rows]


def list_pauses(sender):
    return [later - earlier for earlier, later in zip(sender.times, sender.times[1:], strict=False)]


# --- a receiver that misbehaves and recovers ------------------------------------------------------------------------

AFTER_A_MINUTE = format_datetime(NOW.astimezone(UTC) + M + 2 * S, usegmt=True)


@pytest.mark.parametrize(
    ("fault", "least"),
    [
        ((429, {"Retry-After": "120"}, b""), 120 * S),
        ((429, {"Retry-After": AFTER_A_MINUTE}, b""), 60 * S),
        ((429, {}, b'{"retry_after": 64.5, "global": false}'), 64.5 * S),
        ((429, {"X-RateLimit-Reset-After": "33"}, b""), 33 * S),
        ((429, {"Retry-After": "soon"}, b"{"), 5 * S),
        ((429, {}, b""), 5 * S),
        (500, 5 * S),
        (503, 5 * S),
        ((503, {"Retry-After": "7"}, b""), 7 * S),
    ],
)
def test_what_passes_by_itself_is_sent_again_when_it_may_and_arrives_once(fault, least):
    with receiver([fault]) as server:
        sender = Sender(channel(url=f"{server.url}/hook"))
        sender.plan(transition())
        sender.deliver()
        assert len(server.taken) == 1
        assert server.keys() == [server.keys()[0]] * 2, "each attempt at one message has the same key"
        assert least <= list_pauses(sender)[0] <= least + 2 * S
        assert sender.states() == ["sent"]


@pytest.mark.parametrize("fault", ["drip", "cut"])
def test_a_body_that_never_ends_or_breaks_off_makes_no_second_attempt(fault):
    with receiver([fault]) as server:
        sender = Sender(channel(url=f"{server.url}/hook"), limit_s=1.0)
        sender.plan(transition())
        sender.deliver()
        assert (sender.states(), len(server.got)) == (["sent"], 1)


@pytest.mark.parametrize("fault", ["reset", "hang"])
def test_a_message_whose_fate_is_unknown_is_sent_again_with_its_key(fault):
    with receiver([fault]) as server:
        sender = Sender(channel(url=f"{server.url}/hook"), limit_s=0.5 if fault == "hang" else 30.0)
        sender.plan(transition())
        sender.deliver(until=3 * S)
        (row,) = sender.rows
        assert (str(row.state), row.in_doubt) == ("queued", True)
        assert row.last_response.startswith("unknown: ")
        sender.limit_s = 30.0
        sender.deliver()
        assert sender.states() == ["sent"]
        assert len(server.got) == 2
        assert len(set(server.keys())) == 1
        assert all(server.keys())


def test_a_refused_connection_has_certainly_not_delivered_and_waits():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there, and nobody else gets the port
        sender = Sender(channel(url=f"http://127.0.0.1:{taken.getsockname()[1]}/"))
        sender.plan(transition())
        sender.deliver(until=3 * S)
    assert (sender.states(), sender.rows[0].in_doubt, sender.rows[0].attempts) == (["queued"], False, 1)


# --- a receiver that refuses permanently --------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, (302, {"Location": "http://127.0.0.1:9/elsewhere"}, b"")])
def test_a_permanent_refusal_stops_the_channel_with_one_notice_on_the_desktop(status):
    with receiver([status]) as server:
        sender = Sender(channel(url=f"{server.url}/T0/B0/secret-part"))
        sender.plan(transition())
        sender.deliver()
        sender.plan(of("codex", at=sender.now))
        sender.deliver(until=H)
        assert len(server.got) == 1, "a channel that refused permanently is left alone"
        assert sender.stopped() == {"webhook"}
        notices = [row for row in sender.rows if row.channel == "desktop"]
        assert [row.message.title for row in notices] == ['Channel "webhook" has stopped']
        body = notices[0].message.body
        assert "Not delivered there: Claude 5-hour window at 82 %" in body
        assert "change [channels.webhook] in the config" in body
        assert "secret-part" not in msgspec.json.encode([sender.rows, sender.stops]).decode()


def test_what_waited_for_a_stopped_channel_is_sent_when_its_settings_change():
    with receiver([410]) as server:
        sender = Sender(channel(url=f"{server.url}/old"))
        sender.plan(transition())
        sender.deliver()
        sender.now += H
        assert dispatcher.find_reconfigured_channels(sender.stops, sender.channels) == []
        sender.channels["webhook"] = channel(url=f"{server.url}/new")
        assert dispatcher.find_reconfigured_channels(sender.stops, sender.channels) == ["webhook"]
        sender.stops = []
        sender.save(changed=dispatcher.make_due(sender.open(), ["webhook"], sender.now))
        sender.deliver(until=M)
        assert [path for path, _, _ in server.got] == ["/old", "/new"]
        assert server.titles() == ["Claude 5-hour window at 82 %, resets in 40 min (16:00)"], (
            "worded for the new instant"
        )


def test_the_stop_of_a_channel_that_is_gone_is_forgotten():
    stop = StoppedChannel(channel="team", settings_fingerprint="x", stopped_at=NOW, detail="410")
    assert dispatcher.find_reconfigured_channels([stop], {}) == ["team"]


def test_the_notice_goes_elsewhere_where_there_is_no_desktop_and_nowhere_where_nothing_is_left():
    team, other = channel(name="team", url="http://127.0.0.1:9/"), channel(name="other", url="http://127.0.0.1:9/")
    refused = DeliveryOutcome(delivered=False, detail="answered 410 Gone", permanent=True)
    settings = routing(channels={"team": "webhook", "other": "webhook"}, default=("team", "other"))
    sender = Sender(team, other, settings=settings)
    sender.plan(transition())
    row = sender.rows[0]
    assert [
        n.channel for n in dispatcher.apply_outcome(row, refused, team, settings, NOW, jitter=0).new_deliveries
    ] == ["other"]
    assert (
        dispatcher.apply_outcome(row, refused, team, settings, NOW, jitter=0, stopped_channels={"other"}).new_deliveries
        == ()
    )


def test_the_notice_of_a_stop_waits_for_the_morning():
    night = routing(quiet_hours=parse_quiet_hours("14:00-16:00"))
    refused = DeliveryOutcome(delivered=False, detail="answered 410 Gone", permanent=True)
    sender = Sender(channel(name="team", url="http://127.0.0.1:9/"))
    sender.plan(transition())
    (notice,) = dispatcher.apply_outcome(
        sender.rows[0], refused, sender.channels["team"], night, NOW, jitter=0
    ).new_deliveries
    assert (notice.state, notice.next_attempt_at) == (DeliveryState.HELD, NOW + 100 * M)


def test_a_channel_that_is_no_longer_configured_ends_its_messages():
    sender = Sender(channel(name="team", url="http://127.0.0.1:9/"))
    sender.plan(transition())
    sender.channels = {}
    sender.deliver()
    assert (sender.states(), sender.rows[0].last_response) == (["dead"], "the channel is no longer in the config")
    assert sender.stops == []


# --- order, pace, one at a time -------------------------------------------------------------------------------------


def test_order_is_kept_behind_a_message_that_has_to_wait():
    with receiver([503, 503]) as server:
        sender = Sender(channel(url=server.url))
        sender.plan(transition())
        sender.attempt_due()
        sender.plan(of("codex", at=sender.now))
        sender.deliver()
        assert [title.split()[0] for title in server.titles()] == ["Claude", "Codex"]
        assert len(server.got) == 4


def test_a_channel_that_waits_holds_up_no_other():
    with receiver([(429, {"Retry-After": "3600"}, b"")]) as slow, receiver() as quick:
        sender = Sender(channel(name="slow", url=slow.url), channel(name="quick", url=quick.url))
        sender.plan(transition())
        sender.plan(of("codex", at=sender.now))
        sender.deliver(until=M)
        assert (len(slow.taken), len(quick.taken)) == (0, 2)


@pytest.mark.parametrize(
    ("kind", "settings", "apart"),
    [
        ("slack", {"url": "https://hooks.slack.com/services/T/B/x"}, 1 * S),
        ("discord", {"url": "https://discord.com/api/webhooks/1/x"}, 2 * S),
        ("ntfy", {"topic": "t"}, 5 * S),
        ("apprise", {"url": "json://localhost"}, 1 * S),
        ("webhook", {"url": "http://localhost/"}, 0 * S),
    ],
)
def test_a_channel_gets_no_more_than_it_likes(kind, settings, apart):
    where = channel(kind, **settings)
    assert dispatcher.compute_next_send_at(where, DeliveryOutcome(delivered=True, detail="200"), NOW) == NOW + apart
    asked = DeliveryOutcome(delivered=True, detail="200", retry_after=9 * S)
    assert dispatcher.compute_next_send_at(where, asked, NOW) == NOW + 9 * S


def test_three_messages_to_a_webhook_follow_one_another_without_a_wait():
    with receiver() as server:
        sender = Sender(channel(url=server.url))
        sender.plan(of("claude"), of("codex"), of("copilot"))
        sender.deliver()
        assert len(server.taken) == 3
        assert list_pauses(sender) == [0 * S, 0 * S]


def row(number, where="team", **more):
    change = transition(occurrence=number)
    parts = {
        "id": number,
        "key": change.key,
        "channel": where,
        "message": compose_notice(change.key, "t", "b", NOW),
        "reason": "above",
        "created_at": NOW,
        "next_attempt_at": NOW,
        "expires_at": NOW + 24 * H,
    }
    return Delivery(**(parts | more))


def test_of_each_channel_only_the_first_is_due_and_none_of_a_busy_or_stopped_one():
    waiting = [row(1), row(2), row(3, "desktop"), row(4, "busy"), row(5, "stopped")]
    assert [each.id for each in due(waiting, NOW, {"busy", "stopped"})] == [1, 3]
    assert due(waiting[:2], NOW, {"team"}) == []


def test_what_is_held_or_paced_is_not_due_and_the_next_instant_is_known():
    held, later = row(1, state=DeliveryState.HELD), row(1, next_attempt_at=NOW + M)
    assert [each.id for each in due([held, row(2)], NOW)] == [2]
    assert due([later, row(2)], NOW) == [], "the first keeps its place"
    assert next_at([later, row(2)]) == NOW + M
    assert due([row(1)], NOW, next_send_at={"team": NOW + S}) == []
    assert next_at([row(1)], next_send_at={"team": NOW + S}) == NOW + S
    assert next_at([held]) is None


def test_a_first_attempt_behind_one_that_waits_is_not_about_to_begin():
    def soon(*rows, excluded=(), next_send_at=None):
        found = dispatcher.find_next_deliveries(rows, excluded, next_send_at or {})
        return dispatcher.is_first_attempt_due_soon(found, NOW)

    assert soon(row(1))
    assert soon(row(1), next_send_at={"team": NOW + S})
    assert not soon(row(1, attempts=1, next_attempt_at=NOW + M), row(2))
    assert not soon(row(1, next_attempt_at=NOW + H))
    assert not soon(row(1), excluded={"team"})


def test_an_attempt_that_was_begun_is_marked_before_it_is_made():
    begun = dispatcher.prepare_attempt(row(1), RULES, routing(), NOW)
    assert begun.in_doubt
    assert begun.message.title == "t", "a fresh message is sent as it is kept"


def test_a_desktop_that_took_the_message_silently_does_not_get_it_twice():
    took = DeliveryOutcome(delivered=None, detail="osascript ended with 0", accepted=True)
    desktop = Channel(name="desktop", type="desktop", settings=None)
    settled = dispatcher.apply_outcome(row(1, "desktop", in_doubt=True), took, desktop, routing(), NOW, jitter=0)
    assert settled.delivery.state is DeliveryState.SENT


def test_a_fingerprint_changes_with_the_settings_and_reveals_none():
    one, two = channel(url="https://example.com/secret-1"), channel(url="https://example.com/secret-2")
    assert dispatcher.fingerprint_settings(one) == dispatcher.fingerprint_settings(
        channel(url="https://example.com/secret-1")
    )
    assert dispatcher.fingerprint_settings(one) != dispatcher.fingerprint_settings(two)
    assert "secret" not in dispatcher.fingerprint_settings(one)
    assert len(dispatcher.fingerprint_settings(one)) == 16


# --- bounds ---------------------------------------------------------------------------------------------------------


def test_a_receiver_that_is_down_for_two_days_gets_few_attempts_and_no_flood_at_its_return():
    with receiver([503] * 10_000) as server:
        sender = Sender(channel(url=server.url))
        for hour in range(48):
            for provider in ("claude", "codex", "copilot", "nano_gpt", "gemini_cli"):
                sender.plan(of(provider, at=sender.now, occurrence=hour + 1, read=reading(resets_at=None)))
            planned = plan_release(sender.open(), RULES, sender.routing, (), sender.now)
            sender.save(planned.new_deliveries, planned.changed_deliveries)
            end = sender.now + H
            sender.deliver(until=H)
            sender.now = end
            assert len(sender.open()) <= 4
        assert len(server.got) < 48 * 5, "no more than once in a quarter of an hour, on the whole"
        server.faults = []
        sender.now += H
        sender.attempt_due()
        sender.deliver(until=H)
        assert 1 <= len(server.taken) <= 4
        assert sender.open() == []


def test_a_command_that_is_not_there_is_a_refusal():
    where = channel("command", argv=["/nonexistent/program"])
    gone = CommandResult(exit_code=None, stderr="/nonexistent/program: not found")
    outcome = notifiers.send_message(row(1).message, where, send=None, run=lambda _command: gone)
    assert outcome.permanent
    assert "check the channel's argv" in outcome.detail


def test_an_attempt_never_raises():
    def broken(_request):
        raise RuntimeError("https://hooks.example.com/secret")

    outcome = notifiers.send_message(row(1).message, channel(url="https://example.com/x"), send=broken, run=None)
    assert outcome.delivered is not True
    assert "secret" not in outcome.detail


def test_a_critical_message_is_worded_in_the_readers_zone_when_it_is_sent_late():
    change = transition(severity="critical", read=reading(97))
    settings = routing(formatter=structs.replace(routing().formatter, tz=ZoneInfo("America/New_York")))
    late = row(1, transitions=(change,), key=change.key)
    begun = dispatcher.prepare_attempt(late, RULES, settings, NOW + H)
    assert begun.message.title == "Claude 5-hour window at 97 %, resets in 40 min (10:00)"
    assert (begun.key, begun.message.id, begun.message.severity) == (change.key, change.key, Severity.CRITICAL)
