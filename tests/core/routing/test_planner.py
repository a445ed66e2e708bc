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


class Post:
    """An outbox as the store keeps it, and the reader at the other end of each channel."""

    def __init__(self, settings=None, rules=None, snoozes=()):
        self.routing = settings or routing()
        self.rules = RULES if rules is None else rules
        self.snoozes = list(snoozes)
        self.rows = []
        self.suppressions = []

    def open(self):
        return [row for row in self.rows if row.state not in ENDED]

    def keep(self, planned):
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

    def news(self, *transitions, now=None, **more):
        now = now or transitions[0].at
        return self.keep(plan_deliveries(transitions, self.rules, self.open(), self.routing, self.snoozes, now, **more))

    def time(self, now, **more):
        return self.keep(plan_release(self.open(), self.rules, self.routing, self.snoozes, now, **more))

    def mark(self, **changes):
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
    post = Post(routing(routes={Severity.CRITICAL: ("desktop", "team")}))
    post.news(transition())
    post.news(of("codex", severity="critical"))
    assert [row.channel for row in post.rows] == ["desktop", "desktop", "team"]


def test_whoever_heard_of_an_alert_on_its_way_up_hears_that_it_is_over():
    post = Post(routing(routes={Severity.CRITICAL: ("team",), Severity.INFO: ()}))
    post.news(transition(severity="warning"))
    post.deliver()
    post.news(at(NOW + M, "escalated", severity="critical"))
    post.deliver()
    heard = (Severity.WARNING, Severity.CRITICAL)
    post.news(at(NOW + 2 * M, "resolved", severity="info", notified_severities=heard))
    assert [(row.channel, row.key.rpartition("|")[2]) for row in post.rows] == [
        ("desktop", "firing"),
        ("team", "critical"),
        ("desktop", "resolved"),
        ("team", "resolved"),
    ]


def test_a_rules_own_channels_come_before_any_route():
    post = Post(rules={"claude-session": rule(notify=("team",))})
    post.news(transition())
    assert [row.channel for row in post.rows] == ["team"]


@pytest.mark.parametrize(
    ("settings", "notify", "reason"),
    [
        (routing(default=()), None, "no route leads to a channel"),
        (routing(), ("gone",), "there is no such channel"),
        (routing(), (), "no route leads to a channel"),
    ],
)
def test_what_reaches_nobody_says_why(settings, notify, reason):
    post = Post(settings, {"claude-session": rule(notify=notify)})
    post.news(transition())
    assert post.rows == []
    assert post.reasons() == [reason]


def test_each_channel_has_its_own_row_and_key():
    post = Post(routing(default=("desktop", "team")))
    post.news(transition())
    assert [(row.channel, row.key) for row in post.rows] == [
        ("desktop", "claude-session|claude[acc-1].five_hour|3|firing"),
        ("team", "claude-session|claude[acc-1].five_hour|3|firing"),
    ]
    assert all(row.expires_at == NOW + 24 * H for row in post.rows)


def test_a_second_firing_a_second_reminder_and_each_level_have_keys_of_their_own():
    keys = [
        transition().key,
        transition(nth=2).key,
        transition("escalated", "warning").key,
        transition("escalated", "critical").key,
        transition("reminder").key,
        transition("reminder", nth=2).key,
        transition(episode=4).key,
    ]
    assert len(set(keys)) == len(keys)


# --- what has not arrived may still change --------------------------------------------------------------------------


def test_a_channel_that_was_down_hears_of_beginning_and_end_in_one_message():
    post = Post()
    post.news(transition())
    post.mark(attempts=3, next_attempt_at=NOW + 20 * M, outcome="answered 503")
    post.news(at(NOW + 5 * M, "resolved", read=reading(64)))
    assert post.states() == ["queued"]
    (row,) = post.rows
    assert row.message.title == "Claude 5-hour window is back to 64 %, resets in 1 h 35 min (16:00)"
    assert row.message.body.startswith("At 14:20: Claude 5-hour window at 82 %. ")
    assert row.key == row.message.id == "claude-session|claude[acc-1].five_hour|3|resolved"
    assert (row.attempts, row.next_attempt_at) == (3, NOW + 20 * M), (
        "a new message does not hasten a channel that waits"
    )


def test_what_may_have_arrived_stays_and_its_end_follows():
    post = Post()
    post.news(transition())
    post.mark(in_doubt=True)
    post.news(at(NOW + M, "resolved"))
    assert [row.message.event for row in post.rows] == ["firing", "resolved"]
    assert post.states() == ["queued", "queued"]


def test_the_end_of_what_was_told_is_told():
    post = Post()
    post.news(transition())
    assert len(post.deliver()) == 1
    post.news(at(NOW + M, "resolved", read=reading(64)))
    assert post.deliver() == ["Claude 5-hour window is back to 64 %, resets in 1 h 39 min (16:00)"]


def test_of_several_levels_only_the_highest_is_read():
    post = Post()
    post.news(transition(severity="info"))
    post.news(at(NOW + M, "escalated", severity="warning", read=reading(90)))
    post.news(at(NOW + 2 * M, "escalated", severity="critical", read=reading(96)))
    (row,) = post.rows
    assert (row.message.event, row.message.severity) == ("firing", Severity.CRITICAL)
    assert row.message.title == "Claude 5-hour window at 96 %, resets in 1 h 38 min (16:00)"
    assert row.message.since == NOW


def test_an_escalation_of_what_was_told_is_one():
    post = Post()
    post.news(transition(severity="info"))
    post.deliver()
    post.news(at(NOW + M, "escalated", severity="warning"))
    post.news(at(NOW + 2 * M, "escalated", severity="critical"))
    assert post.states() == ["sent", "queued"]
    assert post.rows[1].key.endswith("|escalated|critical")


def test_an_end_after_a_reminder_that_was_not_sent_is_still_told():
    post = Post()
    post.news(transition())
    post.deliver()
    post.news(at(NOW + H, "reminder"))
    post.news(at(NOW + 2 * H, "resolved"))
    assert [row.message.event for row in post.open()] == ["resolved"]


def test_a_reminder_of_what_is_still_on_its_way_is_a_duplicate():
    post = Post()
    post.news(transition())
    post.news(at(NOW + H, "reminder"))
    assert post.states() == ["queued"]
    assert post.reasons()[-1] == "duplicate: what it would repeat is still on its way"
    post.mark(in_doubt=True)
    post.news(at(NOW + 2 * H, "reminder", nth=2))
    assert post.states() == ["queued"]


def test_a_reset_and_a_new_firing_in_one_poll_are_two_messages_in_order():
    post = Post()
    post.news(transition())
    post.deliver()
    post.news(at(NOW + H, "resolved", reason="reset", read=reading(85)), at(NOW + H, episode=4, read=reading(85)))
    assert [row.message.event for row in post.open()] == ["resolved", "firing"]


def test_a_new_firing_takes_the_place_of_the_history_that_was_not_delivered():
    post = Post()
    post.news(transition())
    post.news(at(NOW + M, "resolved"))
    post.news(at(NOW + 2 * M, nth=2))
    (row,) = post.open()
    assert (row.message.event, row.key) == ("firing", "claude-session|claude[acc-1].five_hour|3|firing|2")


def test_an_alert_that_ended_without_a_word_takes_its_message_along():
    post = Post()
    post.news(transition())
    post.keep(
        plan_deliveries(
            (), post.rules, post.open(), post.routing, (), NOW + M, closed_alerts=[("claude-session", SERIES)]
        )
    )
    assert (post.states(), post.rows[0].outcome) == (["withdrawn"], "the alert is over")


def test_an_end_without_a_word_does_not_take_back_an_end_that_was_told():
    post = Post(QUIET)
    post.news(transition())
    post.deliver()
    post.news(at(EVENING, "resolved"), closed_alerts=[("claude-session", SERIES)])
    post.keep(
        plan_deliveries(
            (), post.rules, post.open(), post.routing, (), EVENING + M, closed_alerts=[("claude-session", SERIES)]
        )
    )
    assert post.states() == ["sent", "held"]


def test_what_waits_on_a_channel_no_longer_routed_to_does_not_outlive_its_alert():
    post = Post(routing(default=("team",)))
    post.news(transition())
    post.routing = routing(default=("desktop",))
    post.news(at(NOW + M, "resolved"))
    assert [(row.channel, str(row.state)) for row in post.rows] == [("team", "withdrawn"), ("desktop", "queued")]


def test_a_withdrawn_message_leaves_its_waiting_time_to_the_next():
    post = Post()
    post.news(of("claude"))
    post.mark(attempts=1, next_attempt_at=NOW + H)  # the far side asked for it
    post.news(of("codex", at=NOW + M))
    planned = plan_deliveries(
        (), post.rules, post.open(), post.routing, (), NOW + M, closed_alerts=[("claude-session", of("claude").series)]
    )
    post.keep(planned)
    assert [(str(row.state), row.next_attempt_at) for row in post.rows][1] == ("queued", NOW + H)


# --- digests --------------------------------------------------------------------------------------------------------


def six(count=6, **more):
    return [of(provider, **more) for provider in PROVIDERS[:count]]


def test_three_alerts_of_one_poll_are_three_messages():
    post = Post()
    post.news(*six(3))
    assert len(post.deliver()) == 3


def test_more_than_three_alerts_of_one_poll_are_one_digest():
    post = Post()
    post.news(*six(4))
    (row,) = post.rows
    assert (row.message.title, row.message.event) == ("4 alerts", "digest")
    assert len(row.message.body.splitlines()) == 4
    assert row.key == row.message.id


def test_alerts_that_come_one_by_one_while_a_channel_waits_are_one_digest_too():
    post = Post()
    for minute, provider in enumerate(PROVIDERS):
        post.news(of(provider, at=NOW + minute * M))
    assert [row.message.title for row in post.open()] == ["6 alerts"]
    assert post.open()[0].expires_at == NOW + 24 * H, "a digest lives as long as the oldest of its alerts"


def test_an_attempt_under_way_is_left_out_of_a_digest():
    post = Post()
    post.news(of("claude"))
    post.mark(in_doubt=True)
    post.news(*six()[1:])
    assert [row.message.event for row in post.open()] == ["firing", "digest"]
    assert post.open()[1].message.title == "5 alerts"


def test_an_alert_that_ends_leaves_the_digest_that_was_not_sent():
    post = Post()
    post.news(*six(5))
    post.news(of("codex", event="resolved", at=NOW + M))
    (digest,) = post.open()
    assert digest.message.title == "4 alerts, 1 resolved"
    assert digest.message.body.splitlines()[-1].endswith("(over before it could be sent)")
    post.keep(
        plan_deliveries(
            (),
            post.rules,
            post.open(),
            post.routing,
            (),
            NOW + 2 * M,
            closed_alerts=[("claude-session", of("claude").series)],
        )
    )
    assert [row.message.title for row in post.open()] == ["3 alerts, 1 resolved"]
    assert post.open()[0].message.id == post.open()[0].key


def test_an_alert_on_two_channels_is_counted_on_each():
    post = Post(routing(default=("desktop", "team")))
    post.news(*six(4))
    assert [row.channel for row in post.rows] == ["desktop", "team"]


# --- quiet hours ----------------------------------------------------------------------------------------------------


def test_quiet_hours_hold_all_but_what_is_critical():
    post = Post(QUIET)
    post.news(at(EVENING), of("codex", at=EVENING, severity="critical"), of("copilot", at=EVENING, severity="info"))
    assert post.states() == ["held", "queued", "held"]
    assert post.rows[0].reason == "quiet hours until Thu 08:00"
    assert post.rows[0].next_attempt_at == MORNING


def test_quiet_hours_end_in_one_digest_of_what_still_fires():
    post = Post(QUIET)
    post.news(*six(5, at=EVENING))
    post.news(of("codex", event="resolved", at=EVENING + H))
    post.news(of("copilot", event="resolved", reason="reset", at=EVENING + 2 * H))
    assert post.time(MORNING - M).new_deliveries == ()
    post.time(MORNING)
    assert post.deliver() == ["After quiet hours: 3 alerts"]
    body = post.rows[-1].message.body
    assert "Codex" not in body
    assert "Copilot" not in body
    assert "it began and ended while it was held back" in post.reasons()


def test_a_single_alert_after_quiet_hours_is_told_with_the_values_of_the_morning():
    post = Post(QUIET)
    post.news(at(EVENING, read=reading(82, resets_at=MORNING + H)))
    post.time(MORNING, latest_readings={SERIES: reading(91, resets_at=MORNING + H)})
    assert post.deliver() == ["Claude 5-hour window at 91 %, resets in 1 h (09:00)"]


def test_the_end_of_what_was_told_waits_for_the_morning_and_is_told_then():
    post = Post(QUIET)
    post.news(transition(severity="critical"))
    post.deliver()
    post.news(at(EVENING, "resolved", severity="critical", read=reading(64, resets_at=None)))
    assert post.deliver() == []
    post.time(MORNING)
    assert post.deliver() == ["Claude 5-hour window is back to 64 %"]


def test_an_alert_that_turns_critical_at_night_is_told_at_once_and_once():
    post = Post(QUIET)
    post.news(at(EVENING))
    post.news(at(EVENING + H, "escalated", severity="critical", read=reading(96, resets_at=None)))
    assert post.deliver() == ["Claude 5-hour window at 96 %"]
    post.time(MORNING)
    assert post.deliver() == []


def test_a_held_end_goes_before_the_critical_beginning_that_followed_it():
    post = Post(QUIET)
    post.news(transition())
    post.deliver()
    post.news(at(EVENING, "resolved"))
    post.news(at(EVENING + H, severity="critical", nth=2))
    assert [row.message.event for row in post.open() if row.state is DeliveryState.QUEUED] == ["resolved", "firing"]


def test_flapping_all_night_leaves_one_end_at_most():
    post = Post(QUIET)
    post.news(transition())
    post.deliver()
    for number in range(2, 9):
        post.news(at(EVENING + number * H / 4, "resolved", nth=number - 1))
        post.news(at(EVENING + number * H / 4 + M, nth=number))
    assert [row.message.event for row in post.open()] == ["resolved", "firing"]


def test_what_waits_for_a_channel_is_held_when_quiet_hours_begin_and_no_message_is_lost():
    post = Post(QUIET)
    post.news(at(NOW))
    post.mark(attempts=5, next_attempt_at=EVENING)
    post.time(EVENING)
    assert post.states() == ["held"]
    post.time(EVENING + H)
    post.time(MORNING)
    assert len(post.deliver()) == 1


def test_the_age_of_what_is_held_is_counted_from_its_release():
    post = Post(snoozes=[Snooze(target="claude-session", created_at=NOW, until=NOW + 72 * H)])
    post.news(transition())
    post.time(NOW + 48 * H)
    assert post.states() == ["held"]
    post.time(NOW + 72 * H)
    assert post.open()[0].expires_at == NOW + 96 * H


@pytest.mark.parametrize("attempts", [0, 5])
@pytest.mark.parametrize("count", [1, 2])
def test_quiet_hours_do_not_keep_an_undeliverable_message_alive(count, attempts):
    """Attempted in vain before the night, or never attempted because its channel refused for good."""
    post = Post(QUIET)
    post.news(*six(count, at=EVENING - 2 * H))
    latest = {of(provider).series: reading(85) for provider in PROVIDERS}
    for day in range(3):
        post.mark(attempts=attempts, outcome="answered 503")
        post.time(EVENING + day * 24 * H, latest_readings=latest)
        post.time(MORNING + day * 24 * H, latest_readings=latest)
        post.time(MORNING + day * 24 * H + H, latest_readings=latest)
    assert post.open() == []
    assert "dead" in post.states()


def test_a_message_held_since_it_was_made_is_dead_a_day_after_its_release():
    post = Post(QUIET)
    post.news(at(EVENING))
    post.time(MORNING, latest_readings={SERIES: reading(85)})
    post.mark(attempts=5, outcome="answered 503")
    post.time(EVENING + 24 * H, latest_readings={SERIES: reading(85)})
    post.time(MORNING + 24 * H, latest_readings={SERIES: reading(85)})
    assert post.states() == ["queued"], "a last attempt in the morning"
    post.time(MORNING + 25 * H)
    assert post.states() == ["dead"]


@pytest.mark.parametrize(
    ("evening", "morning"),
    [
        ((2026, 3, 28, 23, 0), datetime(2026, 3, 29, 6, 0, tzinfo=UTC)),
        ((2026, 10, 24, 23, 0), datetime(2026, 10, 25, 7, 0, tzinfo=UTC)),
    ],
)
def test_quiet_hours_end_by_the_clock_on_the_wall_when_it_is_changed(evening, morning):
    now = datetime(*evening, tzinfo=BERLIN).astimezone(UTC)
    post = Post(QUIET)
    post.news(at(now, read=reading(82, resets_at=None)))
    post.time(morning - timedelta(seconds=1))
    assert post.states() == ["held"]
    assert find_next_release(post.open(), QUIET, (), now) == morning
    post.time(morning)
    assert len(post.deliver()) == 1


# --- snooze ---------------------------------------------------------------------------------------------------------


def snooze(target="claude-session", **more):
    return Snooze(target=target, created_at=NOW, **({"until": NOW + 2 * H} | more))


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
    post = Post(snoozes=[snooze(target)])
    post.news(transition())
    assert (post.states(), post.rows[0].reason) == (["held"], f"snoozed until 16:20: {target}")


@pytest.mark.parametrize(
    "target", ["claude-weekly", "codex", "claude.seven_day", "claude[you@example.com]", "*.weekly"]
)
def test_a_snooze_of_something_else_holds_nothing(target):
    post = Post(snoozes=[snooze(target)])
    post.news(transition())
    assert post.states() == ["queued"]


@pytest.mark.parametrize(("target", "state"), [("*.session", "held"), ("*.weekly", "queued")])
def test_a_snooze_of_a_kind_also_means_a_window_that_was_never_read(target, state):
    post = Post(snoozes=[snooze(target)])
    post.news(transition(rule="blind", reading=None))
    assert post.states() == [state]


def test_a_snooze_holds_even_what_is_critical_and_lets_it_go_in_time():
    post = Post(snoozes=[snooze()])
    post.news(transition(severity="critical"))
    assert post.states() == ["held"]
    post.time(NOW + 2 * H)
    assert post.snoozes == []
    assert post.deliver() == ["Claude 5-hour window at 82 %"]


def test_a_snooze_that_begins_holds_what_already_waits():
    post = Post()
    post.news(transition())
    post.snoozes = [snooze()]
    post.time(NOW + M)
    assert post.states() == ["held"]


def test_the_end_of_a_told_alert_is_held_by_a_snooze_and_told_after_it():
    post = Post(snoozes=[snooze()])
    post.rows = []
    post.news(at(NOW + M, "resolved", read=reading(64, resets_at=None)))
    assert post.states() == ["held"]
    post.time(NOW + 2 * H)
    assert post.deliver() == ["Claude 5-hour window is back to 64 %"]


def test_a_higher_level_ends_a_snooze():
    post = Post(snoozes=[snooze(severity=Severity.WARNING)])
    post.news(transition("reminder"))
    assert post.states() == ["held"]
    planned = post.news(at(NOW + M, "escalated", severity="critical"))
    assert [each.target for each in planned.ended_snoozes] == ["claude-session"]
    assert post.states() == ["queued"]


def test_a_level_no_higher_than_what_was_known_does_not_end_a_snooze():
    post = Post(snoozes=[snooze(severity=Severity.CRITICAL)])
    post.news(transition(severity="critical", nth=2))
    post.news(of("codex", severity="critical", event="escalated", at=NOW + M))
    assert post.states() == ["held", "held"]
    assert len(post.snoozes) == 1
    post.snoozes = [snooze(severity=None)]
    post.news(at(NOW + 2 * M, "escalated", severity="warning"))
    assert post.snoozes == [], "where nothing was firing, any escalation is higher"


def test_a_snooze_until_the_reset_lets_the_reset_speak_and_all_after_it():
    until_reset = snooze(until=None, episodes={str(SERIES): 3})
    post = Post(snoozes=[until_reset])
    post.news(transition("reminder"))
    post.news(at(NOW + H, "resolved", reason="reset", read=reading(2, resets_at=None)))
    assert post.deliver() == ["Claude 5-hour window has reset, 2 % used"]
    post.news(at(NOW + 3 * H, episode=4, read=reading(82, resets_at=None)))
    assert post.deliver() == ["Claude 5-hour window at 82 %"]
    post.time(NOW + 4 * H, episodes={str(SERIES): 4})
    assert post.snoozes == []


def test_a_snooze_until_the_reset_says_so():
    post = Post(snoozes=[snooze(until=None, episodes={str(SERIES): 3})])
    post.news(transition())
    assert post.rows[0].reason == "snoozed until the reset: claude-session"
    post.time(NOW + 30 * H, episodes={str(SERIES): 3})
    assert post.states() == ["held"]


def test_a_snooze_that_ends_within_quiet_hours_leaves_its_messages_to_them():
    post = Post(QUIET, snoozes=[snooze(until=EVENING + H)])
    post.news(at(EVENING))
    assert post.rows[0].reason.startswith("snoozed")
    post.time(EVENING + H)
    assert (post.states(), post.rows[0].reason) == (["held"], "quiet hours until 08:00") or (
        post.rows[0].reason == "quiet hours until Thu 08:00"
    )


# --- this machine is offline ----------------------------------------------------------------------------------------


def silent(provider, **more):
    return of(provider, rule="blind", read=reading(resets_at=None), **more)


def test_six_silent_providers_are_one_notice_while_the_machine_is_offline():
    post = Post()
    for minute, provider in enumerate(PROVIDERS):
        post.news(silent(provider, at=NOW + minute * M), offline=True)
    assert post.deliver() == ["This machine is offline"]
    assert post.states().count("held") == 6
    assert set(post.reasons()) == {"this machine is offline"}


def test_the_end_of_the_outage_is_told_and_what_recovered_is_not():
    post = Post()
    post.news(*[silent(provider) for provider in PROVIDERS[:3]], offline=True)
    post.deliver()
    for provider in PROVIDERS[:3]:
        post.news(silent(provider, event="resolved", at=NOW + H))
    assert post.deliver() == ["This machine is online again"]
    assert post.states().count("withdrawn") == 3


def test_a_channel_that_heard_of_no_outage_hears_of_no_end():
    post = Post(routing(default=("team",)))
    post.news(silent("claude"), offline=True)
    post.news(silent("claude", event="resolved", at=NOW + H))
    assert post.deliver() == []


def test_a_provider_that_stays_silent_after_the_outage_is_told_once_all_have_been_asked():
    post = Post()
    post.news(silent("claude"), silent("codex"), offline=True)
    post.deliver()
    post.time(NOW + 9 * M, offline=True)
    post.news(silent("codex", event="resolved", at=NOW + 10 * M))
    post.time(NOW + 12 * M)
    assert post.deliver() == []
    post.time(NOW + 30 * M)
    assert post.deliver() == ["Claude gives no reading", "This machine is online again"]


def test_use_is_told_of_while_the_machine_is_offline():
    post = Post()
    post.news(transition(), offline=True)
    assert post.states() == ["queued"]


# --- bounds ---------------------------------------------------------------------------------------------------------


def test_what_waited_a_day_is_dead_and_says_what_was_answered():
    post = Post()
    post.news(transition())
    post.mark(attempts=70, outcome="answered 503")
    post.time(NOW + 24 * H)
    assert (post.states(), post.rows[0].outcome) == (
        ["dead"],
        "not delivered within 24 h; the last answer: answered 503",
    )


def test_of_an_old_digest_the_younger_part_goes_on():
    post = Post()
    post.news(*six(4))
    post.news(of("gemini_cli", at=NOW + 12 * H), of("antigravity", at=NOW + 12 * H))
    post.time(NOW + 24 * H)
    assert [row.message.title for row in post.open()] == ["2 alerts"]
    assert post.states().count("dead") == 1
    assert post.open()[0].expires_at == NOW + 36 * H
    post.time(NOW + 36 * H)
    assert post.open() == []


def test_a_digest_whose_old_alerts_were_told_anew_does_not_die_of_their_age():
    post = Post()
    post.news(*six(4))
    for provider in PROVIDERS[:4]:
        post.news(of(provider, event="escalated", severity="critical", at=NOW + 20 * H))
    post.time(NOW + 24 * H)
    assert [row.message.title for row in post.open()] == ["4 alerts (4 critical)"]
    post.time(NOW + 44 * H)
    assert post.open() == []


def test_a_channel_that_is_down_for_a_week_costs_little_and_comes_back_without_a_flood():
    post = Post(routing(default=("team",)))
    now = NOW
    for hour in range(7 * 24):
        now = NOW + hour * H
        for number, provider in enumerate(PROVIDERS):
            event = ("firing", "reminder", "resolved")[(hour + number) % 3]
            if event == "firing" or hour:
                post.news(of(provider, event=event, at=now, episode=hour // 3, nth=1 + hour % 3), now=now)
        post.mark(attempts=9, next_attempt_at=now + H / 2, outcome="no connection")
        post.time(now + M)
        assert len(post.open()) <= 4
        assert all(len(row.about) <= 4 * len(PROVIDERS) for row in post.open())
    assert len(post.deliver()) <= 4


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
def test_whatever_happens_the_reader_knows_in_the_end_what_fires(steps):  # noqa: C901 - a little world
    """Quiet hours, failures, digests: once all is delivered, what was told last of each alert is how it is."""
    post = Post(QUIET)
    now, firing, counts, told = NOW, {}, {}, {}

    def read(rows):
        for row in rows:
            for change in row.about:
                told[change.series.provider] = change.event not in {AlertEvent.RESOLVED, AlertEvent.RESET}

    def send():
        ready = [row for row in post.open() if row.state is DeliveryState.QUEUED]
        read(ready)
        post.deliver()

    for action, provider, minutes in steps:
        now += minutes * M
        counts[provider] = counts.get(provider, 0) + 1
        more = {"at": now, "nth": counts[provider]}
        if action == "turn":
            event = "resolved" if firing.get(provider) else "firing"
            firing[provider] = event == "firing"
            post.news(of(provider, event=event, **more), now=now)
        elif action in {"remind", "rise"} and firing.get(provider):
            event, severity = ("reminder", "warning") if action == "remind" else ("escalated", "critical")
            post.news(of(provider, event=event, severity=severity, **more), now=now)
        elif action == "send":
            send()
        elif action == "lose":
            post.mark(in_doubt=True)
        post.time(now)
        assert len(post.open()) <= 2 * len(PROVIDERS) + 4
    post.mark(in_doubt=False)
    day = datetime(2026, 6, 1, 12, 0, tzinfo=BERLIN).astimezone(UTC)
    if any(row.state is DeliveryState.DEAD for row in post.rows):
        return  # nobody could be told in time, and `status` lists it
    post.mark(expires_at=day + H)
    post.time(day)
    send()
    assert post.open() == []
    lasting = {provider for provider, is_on in firing.items() if is_on}
    assert {provider for provider, is_on in told.items() if is_on} == lasting


def test_a_message_is_worded_anew_under_the_same_key():
    post = Post()
    post.news(transition())
    fresh = write_message(post.rows[0], post.rules, post.routing.formatter, NOW + H)
    assert (fresh.key, fresh.message.id) == (post.rows[0].key, post.rows[0].key)
    assert fresh.message.title == "Claude 5-hour window at 82 %, resets in 40 min (16:00)"


def test_a_digest_keeps_its_heading_when_it_is_worded_anew():
    post = Post(QUIET)
    post.news(of("claude", at=EVENING), of("codex", at=EVENING))
    post.time(MORNING)
    fresh = write_message(post.open()[0], post.rules, post.routing.formatter, MORNING + H)
    assert fresh.message.title == "After quiet hours: 2 alerts"


def test_nothing_new_changes_nothing():
    post = Post(QUIET, snoozes=[snooze()])
    post.news(transition(), of("codex", at=NOW))
    before = post.rows
    planned = post.time(NOW + timedelta(seconds=1))
    assert (planned.new_deliveries, planned.changed_deliveries, post.rows) == ((), (), before)


def test_series_of_one_provider_are_apart():
    post = Post()
    post.news(of("claude", "five_hour"), of("claude", "seven_day"))
    post.news(of("claude", "seven_day", event="resolved", at=NOW + M))
    assert [row.message.event for row in post.open()] == ["firing", "resolved"]
    assert Series(provider="claude", window="five_hour") in {row.about[0].series for row in post.open()}
