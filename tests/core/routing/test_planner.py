from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.core.samples import BERLIN, NOW, SERIES, H, M, of, reading, routing, rule, transition
from watcher.core.model import AlertEvent, DeliveryState, Series, Severity, Snooze
from watcher.core.routing.messages import write_message
from watcher.core.routing.planner import find_next_release, plan_deliveries, plan_release
from watcher.core.rules.time_intervals import parse_quiet_hours

NIGHT = parse_quiet_hours("22:00-08:00")
QUIET = routing(quiet_hours=NIGHT)
EVENING = datetime(2026, 1, 7, 23, 0, tzinfo=BERLIN).astimezone(UTC)
MORNING = datetime(2026, 1, 8, 8, 0, tzinfo=BERLIN).astimezone(UTC)
RULES = {"claude-session": rule(), "blind": rule("blind", "*.age > 45m", None)}
PROVIDERS = ("claude", "codex", "copilot", "nano_gpt", "gemini_cli", "antigravity")
ENDED = {DeliveryState.SENT, DeliveryState.WITHDRAWN, DeliveryState.DEAD}


class Outbox:
    """An outbox as the store keeps it, with channels that deliver on demand."""

    def __init__(self, settings=None, rules=None, snoozes=()):
        self.routing = settings or routing()
        self.rules = RULES if rules is None else rules
        self.snoozes = list(snoozes)
        self.rows = []
        self.suppressions = []

    def open(self):
        return [row for row in self.rows if row.state not in ENDED]

    def save(self, planned):
        known = {row.id: row for row in planned.changed_deliveries}
        assert all(row_id for row_id in known)
        self.rows = [known.get(row.id, row) for row in self.rows]
        for row in planned.new_deliveries:
            assert row.state not in ENDED
            self.rows.append(structs.replace(row, id=len(self.rows) + 1))
        keys = [(row.key, row.channel) for row in self.rows]
        assert len(keys) == len(set(keys)), "the store refuses a second row of one key and channel"
        self.snoozes = [snooze for snooze in self.snoozes if snooze not in planned.ended_snoozes]
        self.suppressions += planned.suppressions
        return planned

    def plan(self, *transitions, now=None, **more):
        now = now or transitions[0].at
        return self.save(plan_deliveries(transitions, self.rules, self.open(), self.routing, self.snoozes, now, **more))

    def release(self, now, **more):
        return self.save(plan_release(self.open(), self.rules, self.routing, self.snoozes, now, **more))

    def update_queued(self, **changes):
        """Change what is queued, as an attempt at it does."""
        queued = DeliveryState.QUEUED
        self.rows = [structs.replace(row, **changes) if row.state is queued else row for row in self.rows]

    def deliver(self, channel=None):
        """Send what may be sent; the titles that the reader gets."""
        ready = [row for row in self.open() if row.state is DeliveryState.QUEUED and channel in {None, row.channel}]
        done = {row.id for row in ready}
        self.rows = [structs.replace(row, state=DeliveryState.SENT) if row.id in done else row for row in self.rows]
        return [row.message.title for row in ready]

    def states(self):
        return [str(row.state) for row in self.rows]

    def reasons(self):
        return [suppression.reason for suppression in self.suppressions]


def at(now, event="firing", **more):
    return transition(event, at=now, **more)


# --- routes ---------------------------------------------------------------------------------------------------------


def test_a_transition_goes_to_the_route_of_its_severity():
    outbox = Outbox(routing(routes={Severity.CRITICAL: ("desktop", "team")}))
    outbox.plan(transition())
    outbox.plan(of("codex", severity="critical"))
    assert [row.channel for row in outbox.rows] == ["desktop", "desktop", "team"]


def test_a_channel_of_any_earlier_severity_gets_the_end():
    outbox = Outbox(routing(routes={Severity.CRITICAL: ("team",), Severity.INFO: ()}))
    outbox.plan(transition(severity="warning"))
    outbox.deliver()
    outbox.plan(at(NOW + M, "escalated", severity="critical"))
    outbox.deliver()
    seen = (Severity.WARNING, Severity.CRITICAL)
    outbox.plan(at(NOW + 2 * M, "resolved", severity="info", notified_severities=seen))
    assert [(row.channel, row.key.rpartition("|")[2]) for row in outbox.rows] == [
        ("desktop", "firing"),
        ("team", "critical"),
        ("desktop", "resolved"),
        ("team", "resolved"),
    ]


def test_a_rules_own_channels_come_before_any_route():
    outbox = Outbox(rules={"claude-session": rule(notify=("team",))})
    outbox.plan(transition())
    assert [row.channel for row in outbox.rows] == ["team"]


@pytest.mark.parametrize(
    ("settings", "notify", "reason"),
    [
        (routing(default=()), None, "no route leads to a channel"),
        (routing(), ("gone",), "there is no such channel"),
        (routing(), (), "no route leads to a channel"),
    ],
)
def test_what_reaches_no_channel_has_a_reason(settings, notify, reason):
    outbox = Outbox(settings, {"claude-session": rule(notify=notify)})
    outbox.plan(transition())
    assert outbox.rows == []
    assert outbox.reasons() == [reason]


def test_each_channel_has_its_own_row_and_key():
    outbox = Outbox(routing(default=("desktop", "team")))
    outbox.plan(transition())
    assert [(row.channel, row.key) for row in outbox.rows] == [
        ("desktop", "claude-session|claude[acc-1].five_hour|3|firing"),
        ("team", "claude-session|claude[acc-1].five_hour|3|firing"),
    ]
    assert all(row.expires_at == NOW + 24 * H for row in outbox.rows)


def test_a_second_firing_a_second_reminder_and_each_level_have_keys_of_their_own():
    keys = [
        transition().key,
        transition(occurrence=2).key,
        transition("escalated", "warning").key,
        transition("escalated", "critical").key,
        transition("reminder").key,
        transition("reminder", occurrence=2).key,
        transition(episode=4).key,
    ]
    assert len(set(keys)) == len(keys)


# --- what has not arrived may still change --------------------------------------------------------------------------


def test_a_channel_that_was_down_gets_beginning_and_end_in_one_message():
    outbox = Outbox()
    outbox.plan(transition())
    outbox.update_queued(attempts=3, next_attempt_at=NOW + 20 * M, last_response="answered 503")
    outbox.plan(at(NOW + 5 * M, "resolved", read=reading(64)))
    (row,) = outbox.open()
    assert row.message.title == "Claude 5-hour window is back to 64 %, resets in 1 h 35 min (16:00)"
    assert row.message.body.startswith("At 14:20: Claude 5-hour window at 82 %. ")
    assert row.key == row.message.id == "claude-session|claude[acc-1].five_hour|3|resolved"
    assert row.next_attempt_at == NOW + 20 * M, "a new message does not hasten a channel that waits"


def test_what_may_have_arrived_stays_and_its_end_follows():
    outbox = Outbox()
    outbox.plan(transition())
    outbox.update_queued(in_doubt=True)
    outbox.plan(at(NOW + M, "resolved"))
    assert [row.message.event for row in outbox.rows] == ["firing", "resolved"]
    assert outbox.states() == ["queued", "queued"]


def test_the_end_of_a_delivered_alert_is_sent():
    outbox = Outbox()
    outbox.plan(transition())
    assert len(outbox.deliver()) == 1
    outbox.plan(at(NOW + M, "resolved", read=reading(64)))
    assert outbox.deliver() == ["Claude 5-hour window is back to 64 %, resets in 1 h 39 min (16:00)"]


def test_of_several_levels_only_the_highest_is_read():
    outbox = Outbox()
    outbox.plan(transition(severity="info"))
    outbox.plan(at(NOW + M, "escalated", severity="warning", read=reading(90)))
    outbox.plan(at(NOW + 2 * M, "escalated", severity="critical", read=reading(96)))
    (row,) = outbox.open()
    assert (row.message.event, row.message.severity) == ("firing", Severity.CRITICAL)
    assert row.message.title == "Claude 5-hour window at 96 %, resets in 1 h 38 min (16:00)"
    assert row.message.since == NOW


def test_an_escalation_of_a_delivered_alert_is_an_escalation():
    outbox = Outbox()
    outbox.plan(transition(severity="info"))
    outbox.deliver()
    outbox.plan(at(NOW + M, "escalated", severity="warning"))
    outbox.plan(at(NOW + 2 * M, "escalated", severity="critical"))
    assert [row.key.rpartition("five_hour|3|")[2] for row in outbox.open()] == ["escalated|critical"]


def test_an_end_after_a_reminder_that_was_not_sent_is_sent():
    outbox = Outbox()
    outbox.plan(transition())
    outbox.deliver()
    outbox.plan(at(NOW + H, "reminder"))
    outbox.plan(at(NOW + 2 * H, "resolved"))
    assert [row.message.event for row in outbox.open()] == ["resolved"]


def test_a_reminder_of_what_is_still_on_its_way_is_a_duplicate():
    outbox = Outbox()
    outbox.plan(transition())
    outbox.plan(at(NOW + H, "reminder"))
    assert outbox.states() == ["queued"]
    assert outbox.reasons()[-1] == "duplicate: what it would repeat is still on its way"
    outbox.update_queued(in_doubt=True)
    outbox.plan(at(NOW + 2 * H, "reminder", occurrence=2))
    assert outbox.states() == ["queued"]


def test_a_reset_and_a_new_firing_in_one_poll_are_two_messages_in_order():
    outbox = Outbox()
    outbox.plan(transition())
    outbox.deliver()
    outbox.plan(at(NOW + H, "resolved", reason="reset", read=reading(85)), at(NOW + H, episode=4, read=reading(85)))
    assert [row.message.event for row in outbox.open()] == ["resolved", "firing"]


def test_a_new_firing_takes_the_place_of_the_history_that_was_not_delivered():
    outbox = Outbox()
    outbox.plan(transition())
    outbox.plan(at(NOW + M, "resolved"))
    outbox.plan(at(NOW + 2 * M, occurrence=2))
    (row,) = outbox.open()
    assert (row.message.event, row.key) == ("firing", "claude-session|claude[acc-1].five_hour|3|firing|2")


def test_an_alert_that_closed_quietly_withdraws_its_message():
    outbox = Outbox()
    outbox.plan(transition())
    outbox.save(
        plan_deliveries(
            (), outbox.rules, outbox.open(), outbox.routing, (), NOW + M, closed_alerts=[("claude-session", SERIES)]
        )
    )
    assert (outbox.states(), outbox.rows[0].last_response) == (["withdrawn"], "the alert is over")


def test_a_quiet_close_does_not_withdraw_a_held_end():
    outbox = Outbox(QUIET)
    outbox.plan(transition())
    outbox.deliver()
    outbox.plan(at(EVENING, "resolved"), closed_alerts=[("claude-session", SERIES)])
    outbox.save(
        plan_deliveries(
            (), outbox.rules, outbox.open(), outbox.routing, (), EVENING + M, closed_alerts=[("claude-session", SERIES)]
        )
    )
    assert outbox.states() == ["sent", "held"]


def test_what_waits_on_a_channel_no_longer_routed_to_does_not_outlive_its_alert():
    outbox = Outbox(routing(default=("team",)))
    outbox.plan(transition())
    outbox.routing = routing(default=("desktop",))
    outbox.plan(at(NOW + M, "resolved"))
    assert [(row.channel, str(row.state)) for row in outbox.rows] == [("team", "withdrawn"), ("desktop", "queued")]


def test_a_withdrawn_message_leaves_its_waiting_time_to_the_next():
    outbox = Outbox()
    outbox.plan(of("claude"))
    outbox.update_queued(attempts=1, next_attempt_at=NOW + H)  # the receiver asked for it
    outbox.plan(of("codex", at=NOW + M))
    planned = plan_deliveries(
        (),
        outbox.rules,
        outbox.open(),
        outbox.routing,
        (),
        NOW + M,
        closed_alerts=[("claude-session", of("claude").series)],
    )
    outbox.save(planned)
    assert [(str(row.state), row.next_attempt_at) for row in outbox.rows][1] == ("queued", NOW + H)


@pytest.mark.parametrize("began_at", [NOW, EVENING - H - M])
def test_a_message_that_is_held_after_a_refused_attempt_delays_no_other(began_at):
    """It waits for the morning, or for the end of its snooze; what is critical does not."""
    outbox = Outbox(QUIET)
    outbox.plan(of("claude", at=began_at))
    outbox.update_queued(attempts=1, next_attempt_at=began_at + M, last_response="answered 503")
    outbox.snoozes = [Snooze(target="claude", created_at=began_at, expires_at=MORNING)] if began_at == NOW else []
    outbox.release(began_at + M)
    assert outbox.states() == ["held"]
    urgent = began_at + 10 * M
    outbox.plan(of("codex", severity="critical", at=urgent))
    assert [row.next_attempt_at for row in outbox.open() if row.state is DeliveryState.QUEUED] == [urgent]


# --- digests --------------------------------------------------------------------------------------------------------


def six(count=6, **more):
    return [of(provider, **more) for provider in PROVIDERS[:count]]


def test_three_alerts_of_one_poll_are_three_messages():
    outbox = Outbox()
    outbox.plan(*six(3))
    assert len(outbox.deliver()) == 3


def test_alerts_that_begin_on_one_series_are_one_message_with_the_most_severe_first():
    outbox = Outbox()
    outbox.plan(at(NOW), at(NOW, rule="overage", severity=Severity.CRITICAL), at(NOW, rule="third"))
    (row,) = outbox.rows
    assert (row.message.rule, row.message.severity, row.message.event) == ("overage", Severity.CRITICAL, "firing")
    assert row.message.body.splitlines()[-1] == "Also firing: claude-session (warning), third (warning)."
    assert [each.rule for each in row.transitions] == ["overage", "claude-session", "third"]
    outbox.deliver()
    outbox.plan(at(NOW + H, "resolved", rule="third"))
    assert [each.message.rule for each in outbox.open()] == ["third"]


def test_an_alert_that_ends_leaves_the_message_that_it_began_in():
    outbox = Outbox()
    outbox.plan(at(NOW), at(NOW, rule="overage", severity=Severity.CRITICAL))
    outbox.plan(at(NOW + M, "resolved", rule="overage", severity=Severity.CRITICAL))
    assert ["claude-session"] in [[each.rule for each in row.transitions] for row in outbox.open()]


def test_alerts_that_begin_on_one_series_count_as_one_message():
    outbox = Outbox()
    outbox.plan(*[of(provider, rule=rule) for provider in PROVIDERS[:3] for rule in ("session", "overage")])
    assert [row.message.event for row in outbox.open()] == ["firing"] * 3


def test_the_end_of_one_alert_comes_before_the_joined_beginning():
    outbox = Outbox()
    outbox.plan(at(NOW), at(NOW, rule="third"))
    outbox.deliver()
    later = {"at": NOW + H, "episode": 2}
    outbox.plan(
        *(
            of("claude", event=event, rule=rule, **later)
            for rule in ("session", "third")
            for event in ("resolved", "firing")
        )
    )
    assert [row.message.event for row in outbox.open()] == ["resolved", "resolved", "firing"]


def test_more_than_three_alerts_of_one_poll_are_one_digest():
    outbox = Outbox()
    outbox.plan(*six(4))
    (row,) = outbox.rows
    assert (row.message.title, row.message.event) == ("4 alerts", "digest")
    assert len(row.message.body.splitlines()) == 4
    assert row.key == row.message.id


def test_alerts_that_come_one_by_one_while_a_channel_waits_are_one_digest_too():
    outbox = Outbox()
    for minute, provider in enumerate(PROVIDERS):
        outbox.plan(of(provider, at=NOW + minute * M))
    assert [row.message.title for row in outbox.open()] == ["6 alerts"]
    assert outbox.open()[0].expires_at == NOW + 24 * H, "a digest lives as long as the oldest of its alerts"


def test_an_attempt_under_way_is_left_out_of_a_digest():
    outbox = Outbox()
    outbox.plan(of("claude"))
    outbox.update_queued(in_doubt=True)
    outbox.plan(*six()[1:])
    assert [row.message.event for row in outbox.open()] == ["firing", "digest"]
    assert outbox.open()[1].message.title == "5 alerts"


def test_an_alert_that_ends_leaves_the_digest_that_was_not_sent():
    outbox = Outbox()
    outbox.plan(*six(5))
    outbox.plan(of("codex", event="resolved", at=NOW + M))
    (digest,) = outbox.open()
    assert digest.message.title == "4 alerts, 1 resolved"
    assert digest.message.body.splitlines()[-1].endswith("(over before it could be sent)")
    outbox.save(
        plan_deliveries(
            (),
            outbox.rules,
            outbox.open(),
            outbox.routing,
            (),
            NOW + 2 * M,
            closed_alerts=[("claude-session", of("claude").series)],
        )
    )
    assert [row.message.title for row in outbox.open()] == ["3 alerts, 1 resolved"]
    assert outbox.open()[0].message.id == outbox.open()[0].key


def test_an_alert_on_two_channels_is_counted_on_each():
    outbox = Outbox(routing(default=("desktop", "team")))
    outbox.plan(*six(4))
    assert [row.channel for row in outbox.rows] == ["desktop", "team"]


# --- quiet hours ----------------------------------------------------------------------------------------------------


def test_quiet_hours_hold_all_but_what_is_critical():
    outbox = Outbox(QUIET)
    outbox.plan(at(EVENING), of("codex", at=EVENING, severity="critical"), of("copilot", at=EVENING, severity="info"))
    assert outbox.states() == ["held", "queued", "held"]
    assert outbox.rows[0].reason == "quiet hours until Thu 08:00"
    assert outbox.rows[0].next_attempt_at == MORNING


def test_quiet_hours_end_in_one_digest_of_what_still_fires():
    outbox = Outbox(QUIET)
    outbox.plan(*six(5, at=EVENING))
    outbox.plan(of("codex", event="resolved", at=EVENING + H))
    outbox.plan(of("copilot", event="resolved", reason="reset", at=EVENING + 2 * H))
    assert outbox.release(MORNING - M).new_deliveries == ()
    outbox.release(MORNING)
    assert outbox.deliver() == ["After quiet hours: 3 alerts"]
    body = outbox.rows[-1].message.body
    assert "Codex" not in body
    assert "Copilot" not in body
    assert "it began and ended while it was held back" in outbox.reasons()


def test_a_single_alert_after_quiet_hours_has_the_values_of_the_morning():
    outbox = Outbox(QUIET)
    outbox.plan(at(EVENING, read=reading(82, resets_at=MORNING + H)))
    outbox.release(MORNING, latest_readings={SERIES: reading(91, resets_at=MORNING + H)})
    assert outbox.deliver() == ["Claude 5-hour window at 91 %, resets in 1 h (09:00)"]


def test_the_end_of_a_delivered_alert_waits_for_the_morning():
    outbox = Outbox(QUIET)
    outbox.plan(transition(severity="critical"))
    outbox.deliver()
    outbox.plan(at(EVENING, "resolved", severity="critical", read=reading(64, resets_at=None)))
    assert outbox.deliver() == []
    outbox.release(MORNING)
    assert outbox.deliver() == ["Claude 5-hour window is back to 64 %"]


def test_an_alert_that_turns_critical_at_night_is_sent_at_once_and_once():
    outbox = Outbox(QUIET)
    outbox.plan(at(EVENING))
    outbox.plan(at(EVENING + H, "escalated", severity="critical", read=reading(96, resets_at=None)))
    assert outbox.deliver() == ["Claude 5-hour window at 96 %"]
    outbox.release(MORNING)
    assert outbox.deliver() == []


def test_a_held_end_goes_before_the_critical_beginning_that_followed_it():
    outbox = Outbox(QUIET)
    outbox.plan(transition())
    outbox.deliver()
    outbox.plan(at(EVENING, "resolved"))
    outbox.plan(at(EVENING + H, severity="critical", occurrence=2))
    assert [row.message.event for row in outbox.open() if row.state is DeliveryState.QUEUED] == ["resolved", "firing"]


def test_flapping_all_night_leaves_one_end_at_most():
    outbox = Outbox(QUIET)
    outbox.plan(transition())
    outbox.deliver()
    for number in range(2, 9):
        outbox.plan(at(EVENING + number * H / 4, "resolved", occurrence=number - 1))
        outbox.plan(at(EVENING + number * H / 4 + M, occurrence=number))
    assert [row.message.event for row in outbox.open()] == ["resolved", "firing"]


def test_what_waits_for_a_channel_is_held_when_quiet_hours_begin_and_no_message_is_lost():
    outbox = Outbox(QUIET)
    outbox.plan(at(NOW))
    outbox.update_queued(attempts=5, next_attempt_at=EVENING)
    outbox.release(EVENING)
    assert outbox.states() == ["held"]
    outbox.release(EVENING + H)
    outbox.release(MORNING)
    assert len(outbox.deliver()) == 1


def test_the_age_of_what_is_held_is_counted_from_its_release():
    outbox = Outbox(snoozes=[Snooze(target="claude-session", created_at=NOW, expires_at=NOW + 72 * H)])
    outbox.plan(transition())
    outbox.release(NOW + 48 * H)
    assert outbox.states() == ["held"]
    outbox.release(NOW + 72 * H)
    assert outbox.open()[0].expires_at == NOW + 96 * H


@pytest.mark.parametrize("attempts", [0, 5])
@pytest.mark.parametrize("count", [1, 2])
def test_quiet_hours_do_not_keep_an_undeliverable_message_alive(count, attempts):
    """Attempted without success before the night, or never attempted because its channel is stopped."""
    outbox = Outbox(QUIET)
    outbox.plan(*six(count, at=EVENING - 2 * H))
    latest = {of(provider).series: reading(85) for provider in PROVIDERS}
    for day in range(3):
        outbox.update_queued(attempts=attempts, last_response="answered 503")
        outbox.release(EVENING + day * 24 * H, latest_readings=latest)
        outbox.release(MORNING + day * 24 * H, latest_readings=latest)
        outbox.release(MORNING + day * 24 * H + H, latest_readings=latest)
    assert outbox.open() == []
    assert "dead" in outbox.states()


def test_a_message_held_since_it_was_made_is_dead_a_day_after_its_release():
    outbox = Outbox(QUIET)
    outbox.plan(at(EVENING))
    outbox.release(MORNING, latest_readings={SERIES: reading(85)})
    outbox.update_queued(attempts=5, last_response="answered 503")
    outbox.release(EVENING + 24 * H, latest_readings={SERIES: reading(85)})
    outbox.release(MORNING + 24 * H, latest_readings={SERIES: reading(85)})
    assert outbox.states() == ["queued"], "a last attempt in the morning"
    outbox.release(MORNING + 25 * H)
    assert outbox.states() == ["dead"]


@pytest.mark.parametrize(
    ("evening", "morning"),
    [
        ((2026, 3, 28, 23, 0), datetime(2026, 3, 29, 6, 0, tzinfo=UTC)),
        ((2026, 10, 24, 23, 0), datetime(2026, 10, 25, 7, 0, tzinfo=UTC)),
    ],
)
def test_quiet_hours_end_by_the_clock_on_the_wall_when_it_is_changed(evening, morning):
    now = datetime(*evening, tzinfo=BERLIN).astimezone(UTC)
    outbox = Outbox(QUIET)
    outbox.plan(at(now, read=reading(82, resets_at=None)))
    outbox.release(morning - timedelta(seconds=1))
    assert outbox.states() == ["held"]
    assert find_next_release(outbox.open(), QUIET, (), now) == morning
    outbox.release(morning)
    assert len(outbox.deliver()) == 1


# --- snooze ---------------------------------------------------------------------------------------------------------


def snooze(target="claude-session", **more):
    return Snooze(target=target, created_at=NOW, **({"expires_at": NOW + 2 * H} | more))


@pytest.mark.parametrize(
    "target",
    [
        "claude-session",
        "claude.five_hour",
        "claude",
        "claude[acc-1].five_hour",
        "claude[me@example.com].five_hour",
        "claude[me@example.com]",
        "*.five_hour",
        "*.session",
        "claude.*",
        "*",
        "claude[Me@Example.com]",
    ],
)
def test_a_snooze_is_known_by_a_rule_or_a_series_as_written(target):
    outbox = Outbox(snoozes=[snooze(target)])
    outbox.plan(transition())
    assert (outbox.states(), outbox.rows[0].reason) == (["held"], f"snoozed until 16:20: {target}")


@pytest.mark.parametrize(
    "target", ["claude-weekly", "codex", "claude.seven_day", "claude[you@example.com]", "*.weekly"]
)
def test_a_snooze_of_something_else_holds_nothing(target):
    outbox = Outbox(snoozes=[snooze(target)])
    outbox.plan(transition())
    assert outbox.states() == ["queued"]


@pytest.mark.parametrize(("target", "state"), [("*.session", "held"), ("*.weekly", "queued")])
def test_a_snooze_of_a_kind_also_means_a_window_that_was_never_read(target, state):
    outbox = Outbox(snoozes=[snooze(target)])
    outbox.plan(transition(rule="blind", reading=None))
    assert outbox.states() == [state]


def test_a_snooze_holds_even_what_is_critical_and_lets_it_go_in_time():
    outbox = Outbox(snoozes=[snooze()])
    outbox.plan(transition(severity="critical"))
    assert outbox.states() == ["held"]
    outbox.release(NOW + 2 * H)
    assert outbox.snoozes == []
    assert outbox.deliver() == ["Claude 5-hour window at 82 %"]


def test_a_snooze_that_begins_holds_what_already_waits():
    outbox = Outbox()
    outbox.plan(transition())
    outbox.snoozes = [snooze()]
    outbox.release(NOW + M)
    assert outbox.states() == ["held"]


def test_the_end_of_a_delivered_alert_is_held_by_a_snooze_and_sent_after_it():
    outbox = Outbox(snoozes=[snooze()])
    outbox.rows = []
    outbox.plan(at(NOW + M, "resolved", read=reading(64, resets_at=None)))
    assert outbox.states() == ["held"]
    outbox.release(NOW + 2 * H)
    assert outbox.deliver() == ["Claude 5-hour window is back to 64 %"]


def test_a_higher_level_ends_a_snooze():
    outbox = Outbox(snoozes=[snooze(severity=Severity.WARNING)])
    outbox.plan(transition("reminder"))
    assert outbox.states() == ["held"]
    planned = outbox.plan(at(NOW + M, "escalated", severity="critical"))
    assert [each.target for each in planned.ended_snoozes] == ["claude-session"]
    assert [str(row.state) for row in outbox.open()] == ["queued"]


def test_a_level_no_higher_than_what_was_known_does_not_end_a_snooze():
    outbox = Outbox(snoozes=[snooze(severity=Severity.CRITICAL)])
    outbox.plan(transition(severity="critical", occurrence=2))
    outbox.plan(of("codex", severity="critical", event="escalated", at=NOW + M))
    assert outbox.states() == ["held", "held"]
    assert len(outbox.snoozes) == 1
    outbox.snoozes = [snooze(severity=None)]
    outbox.plan(at(NOW + 2 * M, "escalated", severity="warning"))
    assert outbox.snoozes == [], "where nothing was firing, any escalation is higher"


def test_a_snooze_until_the_reset_does_not_hold_the_reset_nor_what_follows():
    until_reset = snooze(expires_at=None, episodes={str(SERIES): 3})
    outbox = Outbox(snoozes=[until_reset])
    outbox.plan(transition("reminder"))
    outbox.plan(at(NOW + H, "resolved", reason="reset", read=reading(2, resets_at=None)))
    assert outbox.deliver() == ["Claude 5-hour window has reset, 2 % used"]
    outbox.plan(at(NOW + 3 * H, episode=4, read=reading(82, resets_at=None)))
    assert outbox.deliver() == ["Claude 5-hour window at 82 %"]
    outbox.release(NOW + 4 * H, episodes={str(SERIES): 4})
    assert outbox.snoozes == []


def test_a_snooze_until_the_reset_is_the_reason():
    outbox = Outbox(snoozes=[snooze(expires_at=None, episodes={str(SERIES): 3})])
    outbox.plan(transition())
    assert outbox.rows[0].reason == "snoozed until the reset: claude-session"
    outbox.release(NOW + 30 * H, episodes={str(SERIES): 3})
    assert outbox.states() == ["held"]


def test_a_snooze_that_ends_within_quiet_hours_leaves_its_messages_to_them():
    outbox = Outbox(QUIET, snoozes=[snooze(expires_at=EVENING + H)])
    outbox.plan(at(EVENING))
    assert outbox.rows[0].reason.startswith("snoozed")
    outbox.release(EVENING + H)
    assert (outbox.states(), outbox.rows[0].reason) == (["held"], "quiet hours until 08:00") or (
        outbox.rows[0].reason == "quiet hours until Thu 08:00"
    )


# --- this machine is offline ----------------------------------------------------------------------------------------


def silent(provider, **more):
    return of(provider, rule="blind", read=reading(resets_at=None), **more)


def test_six_silent_providers_are_one_notice_while_the_machine_is_offline():
    outbox = Outbox()
    for minute, provider in enumerate(PROVIDERS):
        outbox.plan(silent(provider, at=NOW + minute * M), offline=True)
    assert outbox.deliver() == ["This machine is offline"]
    assert outbox.states().count("held") == 6
    assert set(outbox.reasons()) == {"this machine is offline"}


def test_the_end_of_the_outage_is_sent_and_what_recovered_is_not():
    outbox = Outbox()
    outbox.plan(*[silent(provider) for provider in PROVIDERS[:3]], offline=True)
    outbox.deliver()
    for provider in PROVIDERS[:3]:
        outbox.plan(silent(provider, event="resolved", at=NOW + H))
    assert outbox.deliver() == ["This machine is online again"]
    assert outbox.states().count("withdrawn") == 3


def test_a_channel_without_the_offline_notice_gets_no_online_notice():
    outbox = Outbox(routing(default=("team",)))
    outbox.plan(silent("claude"), offline=True)
    outbox.plan(silent("claude", event="resolved", at=NOW + H))
    assert outbox.deliver() == []


def test_a_provider_that_stays_silent_after_the_outage_is_reported_after_a_grace_period():
    outbox = Outbox()
    outbox.plan(silent("claude"), silent("codex"), offline=True)
    outbox.deliver()
    outbox.release(NOW + 9 * M, offline=True)
    outbox.plan(silent("codex", event="resolved", at=NOW + 10 * M))
    outbox.release(NOW + 12 * M)
    assert outbox.deliver() == []
    outbox.release(NOW + 30 * M)
    assert outbox.deliver() == ["Claude gives no reading", "This machine is online again"]


def test_alerts_about_use_are_sent_while_the_machine_is_offline():
    outbox = Outbox()
    outbox.plan(transition(), offline=True)
    assert outbox.states() == ["queued"]


# --- bounds ---------------------------------------------------------------------------------------------------------


def test_what_waited_a_day_is_dead_and_has_the_last_outcome():
    outbox = Outbox()
    outbox.plan(transition())
    outbox.update_queued(attempts=70, last_response="answered 503")
    outbox.release(NOW + 24 * H)
    assert (outbox.states(), outbox.rows[0].last_response) == (
        ["dead"],
        "not delivered within 24 h; the last answer: answered 503",
    )


def test_of_an_old_digest_the_younger_part_goes_on():
    outbox = Outbox()
    outbox.plan(*six(4))
    outbox.plan(of("gemini_cli", at=NOW + 12 * H), of("antigravity", at=NOW + 12 * H))
    outbox.release(NOW + 24 * H)
    assert [row.message.title for row in outbox.open()] == ["2 alerts"]
    assert outbox.states().count("dead") == 1
    assert outbox.open()[0].expires_at == NOW + 36 * H
    outbox.release(NOW + 36 * H)
    assert outbox.open() == []


def test_a_digest_whose_old_alerts_were_replaced_does_not_expire_with_them():
    outbox = Outbox()
    outbox.plan(*six(4))
    for provider in PROVIDERS[:4]:
        outbox.plan(of(provider, event="escalated", severity="critical", at=NOW + 20 * H))
    outbox.release(NOW + 24 * H)
    assert [row.message.title for row in outbox.open()] == ["4 alerts (4 critical)"]
    outbox.release(NOW + 44 * H)
    assert outbox.open() == []


def test_a_channel_that_is_down_for_a_week_costs_little_and_comes_back_without_a_flood():
    outbox = Outbox(routing(default=("team",)))
    now = NOW
    for hour in range(7 * 24):
        now = NOW + hour * H
        for number, provider in enumerate(PROVIDERS):
            event = ("firing", "reminder", "resolved")[(hour + number) % 3]
            if event == "firing" or hour:
                outbox.plan(of(provider, event=event, at=now, episode=hour // 3, occurrence=1 + hour % 3), now=now)
        outbox.update_queued(attempts=9, next_attempt_at=now + H / 2, last_response="no connection")
        outbox.release(now + M)
        assert len(outbox.open()) <= 4
        assert all(len(row.transitions) <= 4 * len(PROVIDERS) for row in outbox.open())
    assert len(outbox.deliver()) <= 4


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["turn", "remind", "rise", "wait", "send", "lose"]),
            st.sampled_from(PROVIDERS),
            st.integers(0, 600),
        ),
        max_size=40,
    )
)
def test_whatever_happens_the_last_messages_say_what_fires(steps):  # noqa: C901 - a little world
    """Quiet hours, failures, digests: once all is delivered, what was delivered last of each alert is how it is."""
    outbox = Outbox(QUIET)
    now, firing, counts, delivered = NOW, {}, {}, {}

    def read(rows):
        for row in rows:
            for change in row.transitions:
                delivered[change.series.provider] = change.event not in {AlertEvent.RESOLVED, AlertEvent.RESET}

    def send():
        ready = [row for row in outbox.open() if row.state is DeliveryState.QUEUED]
        read(ready)
        outbox.deliver()

    for action, provider, minutes in steps:
        now += minutes * M
        counts[provider] = counts.get(provider, 0) + 1
        more = {"at": now, "occurrence": counts[provider]}
        if action == "turn":
            event = "resolved" if firing.get(provider) else "firing"
            firing[provider] = event == "firing"
            outbox.plan(of(provider, event=event, **more), now=now)
        elif action in {"remind", "rise"} and firing.get(provider):
            event, severity = ("reminder", "warning") if action == "remind" else ("escalated", "critical")
            outbox.plan(of(provider, event=event, severity=severity, **more), now=now)
        elif action == "send":
            send()
        elif action == "lose":
            outbox.update_queued(in_doubt=True)
        outbox.release(now)
        assert len(outbox.open()) <= 2 * len(PROVIDERS) + 4
    outbox.update_queued(in_doubt=False)
    day = datetime(2026, 6, 1, 12, 0, tzinfo=BERLIN).astimezone(UTC)
    if any(row.state is DeliveryState.DEAD for row in outbox.rows):
        return  # not everything could be delivered in time, and `status` lists it
    outbox.update_queued(expires_at=day + H)
    outbox.release(day)
    send()
    assert outbox.open() == []
    lasting = {provider for provider, is_on in firing.items() if is_on}
    assert {provider for provider, is_on in delivered.items() if is_on} == lasting


def test_a_message_is_worded_again_under_the_same_key():
    outbox = Outbox()
    outbox.plan(transition())
    fresh = write_message(outbox.rows[0], outbox.rules, outbox.routing.formatter, NOW + H)
    assert (fresh.key, fresh.message.id) == (outbox.rows[0].key, outbox.rows[0].key)
    assert fresh.message.title == "Claude 5-hour window at 82 %, resets in 40 min (16:00)"


def test_a_digest_keeps_its_heading_when_it_is_worded_again():
    outbox = Outbox(QUIET)
    outbox.plan(of("claude", at=EVENING), of("codex", at=EVENING))
    outbox.release(MORNING)
    fresh = write_message(outbox.open()[0], outbox.rules, outbox.routing.formatter, MORNING + H)
    assert fresh.message.title == "After quiet hours: 2 alerts"


def test_nothing_new_changes_nothing():
    outbox = Outbox(QUIET, snoozes=[snooze()])
    outbox.plan(transition(), of("codex", at=NOW))
    before = outbox.rows
    planned = outbox.release(NOW + timedelta(seconds=1))
    assert (planned.new_deliveries, planned.changed_deliveries, outbox.rows) == ((), (), before)


def test_series_of_one_provider_are_apart():
    outbox = Outbox()
    outbox.plan(of("claude", "five_hour"), of("claude", "seven_day"))
    outbox.plan(of("claude", "seven_day", event="resolved", at=NOW + M))
    assert [row.message.event for row in outbox.open()] == ["firing", "resolved"]
    assert Series(provider="claude", window="five_hour") in {row.transitions[0].series for row in outbox.open()}
