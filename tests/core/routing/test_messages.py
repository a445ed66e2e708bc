from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from msgspec import structs

from tests.core.routing.test_retry import delivery
from tests.core.samples import FORMATTER, NOW, H, M, balance, of, premium, reading, rule, transition
from watcher.core.model import AlertEvent, Series, Severity, WindowKind
from watcher.core.routing.messages import (
    MAX_DIGEST_LINES,
    compose_combined_message,
    compose_digest,
    compose_message,
    compose_notice,
    write_message,
)

ABOUT_AGE = rule("blind", "*.age > 45m", None)


def title(change, of_rule=None, now=None):
    return compose_message(change, of_rule or rule(), FORMATTER, now or change.at).title


def body(change, of_rule=None, now=None):
    return compose_message(change, of_rule or rule(), FORMATTER, now or change.at).body


def copilot(used, **more):
    series = Series(provider="copilot", window="premium_interactions")
    return transition(series=series, account_name="", read=premium(used), rule="copilot-overage", **more)


# --- what, how much, until when -------------------------------------------------------------------------------------


def test_a_firing_names_the_window_its_use_and_its_reset():
    assert title(transition()) == "Claude 5-hour window at 82 %, resets in 1 h 40 min (16:00)"
    assert body(transition()) == "At this rate it runs out at 15:05, 55 min before the reset.\nRule claude-session."


def test_a_refusal_is_named_where_the_rule_is_about_it():
    refused = transition(read=reading(40.0, blocked=True))
    assert "at 40 %, requests are refused, resets in" in title(
        refused, rule(when="codex.five_hour.blocked", clear=None)
    )
    assert "refused" not in title(refused)


def test_times_are_in_the_readers_time_zone():
    change = transition()
    message = compose_message(change, rule(), structs.replace(FORMATTER, tz=ZoneInfo("America/New_York")), NOW)
    assert message.title == "Claude 5-hour window at 82 %, resets in 1 h 40 min (10:00)"


def test_a_message_carries_its_identity_and_its_values():
    message = compose_message(transition(), rule(), FORMATTER, NOW)
    assert message.id == "claude-session|claude[acc-1].five_hour|3|firing"
    assert message.thread == "claude-session|claude[acc-1].five_hour"
    assert (message.event, message.severity, message.used_percent) == ("firing", Severity.WARNING, 82.0)
    assert (message.account, message.window, message.link) == (
        "me@example.com",
        "five_hour",
        "https://claude.ai/settings/usage",
    )


@pytest.mark.parametrize(
    ("resets_in", "said"),
    [
        (timedelta(seconds=40), "resets in less than a minute (14:20)"),
        (35 * M, "resets in 35 min (14:55)"),
        (2 * H, "resets in 2 h (16:20)"),
        (11 * H, "resets in 11 h (Thu 01:20)"),
        (timedelta(days=2, hours=3), "resets in 2 days 3 h (Fri 17:20)"),
        (timedelta(days=24, hours=10, minutes=40), "resets in 24 days (1 Feb 01:00)"),
        (timedelta(days=360), "resets in 360 days (2 Jan 2027 14:20)"),
    ],
)
def test_durations_and_clocks_are_as_short_as_is_still_clear(resets_in, said):
    change = transition(read=reading(resets_at=NOW + resets_in))
    assert title(change) == f"Claude 5-hour window at 82 %, {said}"


def test_a_reset_that_is_past_or_unknown_is_not_spoken_of():
    assert title(transition(read=reading(resets_at=NOW - M))) == "Claude 5-hour window at 82 %"
    assert title(transition(read=reading(resets_at=None))) == "Claude 5-hour window at 82 %"


@pytest.mark.parametrize(
    ("used", "said"),
    [(20.000000298, "20 %"), (82.44, "82.4 %"), (99.97, "99.9 %"), (100.0, "100 %"), (107.0, "107 %"), (0.04, "0 %")],
)
def test_a_percentage_has_a_tenth_where_it_means_something_and_is_never_rounded_to_100(used, said):
    assert title(transition(read=reading(used, resets_at=None))) == f"Claude 5-hour window at {said}"


def test_counts_stand_in_the_body_and_the_rest_in_the_title():
    assert title(copilot(246)) == "GitHub Copilot premium requests at 82 %, resets in 24 days (1 Feb 01:00)"
    assert body(copilot(246)) == "246 of 300 requests used, 54 left.\nRule copilot-overage."


def test_overage_is_in_the_unit_of_the_window():
    over = copilot(621)
    assert title(over) == (
        "GitHub Copilot premium requests at 207 %, 321 requests over, resets in 24 days (1 Feb 01:00)"
    )
    assert body(over) == "621 of 300 requests used, 321 over.\nRule copilot-overage."
    assert "1 request over" in title(copilot(301))


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (balance("4.2"), "Nano-GPT balance at $4.20"),
        (balance("-0.5"), "Nano-GPT balance $0.50 over"),
        (balance("1234.5", "chf"), "Nano-GPT balance at 1,234.50 CHF"),
        (balance("12345.678", "credits"), "Nano-GPT balance at 12,345.68 credits"),
    ],
)
def test_money_and_credits_have_their_units(read, said):
    change = of("nano_gpt", "balance_usd", read=read)
    assert title(change, rule(when="nano_gpt.balance_usd.remaining < $5", clear=None)) == said


def test_a_unit_that_the_label_names_is_not_repeated():
    purse = reading(
        None, window="credits", kind=WindowKind.BALANCE, label="credits", remaining=Decimal(12), unit="credits"
    )
    assert title(of("codex", "credits", read=structs.replace(purse, resets_at=None))) == "Codex credits at 12"


def test_resets_in_hand_expire():
    hand = reading(None, window="reset_credits", kind=WindowKind.BALANCE, label="resets in hand", remaining=Decimal(2))
    said = "Codex resets in hand at 2, the first expires in 1 h 40 min (16:00)"
    assert title(of("codex", "reset_credits", read=structs.replace(hand, unit="resets"))) == said


@pytest.mark.parametrize(
    ("event", "blocked", "said"),
    [
        (AlertEvent.FIRING, True, "Codex model mini blocked, resets in 1 h 40 min (16:00)"),
        (AlertEvent.RESOLVED, False, "Codex model mini is not blocked"),
    ],
)
def test_a_model_without_numbers_is_blocked_or_not(event, blocked, said):
    resets_at = reading().resets_at if blocked else None
    model = reading(None, window="model_mini", label="model mini", blocked=blocked, resets_at=resets_at)
    assert title(of("codex", "model_mini", read=model, event=event)) == said


def test_money_spent_of_a_limit():
    read = reading(
        84.2,
        window="extra_usage",
        kind=WindowKind.BALANCE,
        label="extra usage",
        used=Decimal("42.10"),
        limit=Decimal(50),
        remaining=Decimal("7.90"),
        unit="usd",
        resets_at=None,
    )
    assert title(transition(read=read)) == "Claude extra usage at 84.2 %"
    assert body(transition(read=read)).startswith("$42.10 of $50.00 used, $7.90 left.\n")


def test_an_unknown_value_is_called_unknown_and_never_0():
    assert title(transition(read=reading(None))) == (
        "Claude 5-hour window at an unknown level, resets in 1 h 40 min (16:00)"
    )
    assert (
        title(transition(read=reading(None, unlimited=True, resets_at=None))) == "Claude 5-hour window without a limit"
    )


def test_an_account_is_named_in_the_title_where_there_are_several():
    message = compose_message(
        transition(), rule(), structs.replace(FORMATTER, multi_account_providers=frozenset({"claude"})), NOW
    )
    assert message.title == "Claude (me@example.com) 5-hour window at 82 %, resets in 1 h 40 min (16:00)"


def test_an_account_has_its_present_name():
    several = {
        "multi_account_providers": frozenset({"claude"}),
        "account_names": {("claude", "acc-1"): "Me@Example.com"},
    }
    message = compose_message(transition(account_name=""), rule(), structs.replace(FORMATTER, **several), NOW)
    assert message.title.startswith("Claude (Me@Example.com) 5-hour window at 82 %")
    assert message.account == "Me@Example.com"


def test_names_are_made_up_from_ids_where_none_are_known():
    change = of("gemini_cli", "gemini_2_5_pro", read=reading(label="", resets_at=None))
    assert title(change) == "Gemini Cli gemini 2 5 pro at 82 %"


# --- the other events -----------------------------------------------------------------------------------------------


def test_an_escalation_is_worded_now_and_a_reminder_still():
    assert title(transition("escalated", "critical", reading(96))) == (
        "Claude 5-hour window now at 96 %, resets in 1 h 40 min (16:00)"
    )
    still = transition("reminder", since=NOW - 2 * H)
    assert title(still) == "Claude 5-hour window still at 82 %, resets in 1 h 40 min (16:00)"
    assert body(still).endswith("\nSince 12:20.\nRule claude-session.")


def test_a_recovery_has_the_present_use():
    assert title(transition("resolved", read=reading(64))) == (
        "Claude 5-hour window is back to 64 %, resets in 1 h 40 min (16:00)"
    )


@pytest.mark.parametrize("event", ["resolved", "reset"])
def test_a_reset_is_called_a_reset(event):
    assert title(transition(event, read=reading(3), reason="reset")) == "Claude 5-hour window has reset, 3 % used"


def test_a_reset_session_names_the_week_that_is_used_up():
    spent = {"spent": [["7-day window", "2026-01-12T08:00:00+00:00"]]}
    reset = transition("resolved", read=reading(0), reason="reset", facts=spent)
    assert title(reset) == ("Claude 5-hour window has reset, 0 % used, but the 7-day window is used up until Mon 09:00")
    assert "used up" not in body(reset)
    assert body(transition(facts=spent)).startswith("The 7-day window is used up until Mon 09:00.\n")


def test_of_two_windows_used_up_the_later_one_counts():
    spent = {"spent": [["7-day window", "2026-01-12T08:00:00+00:00"], ["Opus window", None]]}
    reset = transition("resolved", read=reading(0), reason="reset", facts=spent)
    assert title(reset).endswith("but the 7-day window is used up until Mon 09:00")


def test_missing_readings_are_reported_with_their_age_and_cause():
    quiet = transition(rule="blind", facts={"age_s": 3000.0, "error": "expired: run `claude` once"})
    assert title(quiet, ABOUT_AGE) == "Claude gives no reading, the last was 50 min ago"
    assert body(quiet, ABOUT_AGE) == ("Last attempt: expired: run `claude` once\nRule blind.")
    still = transition("reminder", rule="blind", facts={"age_s": 9000})
    assert title(still, ABOUT_AGE) == "Claude still gives no reading, the last was 2 h 30 min ago"
    back = transition("resolved", rule="blind", read=reading(12))
    assert title(back, ABOUT_AGE) == "Claude answers again, 5-hour window at 12 %"


def test_the_forecast_is_in_the_title_where_the_rule_is_about_one():
    facts = {"exhausts_in_s": 35 * 60, "projected": 140.0}
    about_rate = rule("dry", "claude.five_hour.exhausts_in < 45m", None)
    assert title(transition(facts=facts), about_rate) == (
        "Claude 5-hour window at 82 %, runs out in 35 min (14:55), resets in 1 h 40 min (16:00)"
    )
    assert body(transition(facts=facts)).startswith("At this rate it runs out at 14:55, 1 h 5 min before the reset.\n")
    projected = rule("hot", "claude.five_hour.projected > 100%", None)
    assert body(transition(facts={"projected": 130.2}), projected).startswith("At this rate 130.2 % at the reset.\n")


@pytest.mark.parametrize(
    ("read", "facts", "expected"),
    [
        (reading(40), {}, "At this rate 60 % at the reset."),
        (reading(90), {"projected": 95.0}, "At this rate 95 % at the reset."),
        (reading(100), {}, ""),  # it has run out
        (reading(100), {"exhausts_in_s": 0.0, "projected": 120.0}, ""),
        (reading(0.0), {}, ""),
        (reading(82, window_seconds=None), {}, ""),
        (reading(30, resets_at=NOW + 5 * H - 5 * M), {}, ""),  # too early for a mean
        (reading(30, resets_at=NOW + 6 * H), {}, ""),  # no such window
        (reading(80, window_seconds=7 * 86400, resets_at=NOW + 48 * H), {},
         "At this rate it runs out on Thu 20:20, 18 h before the reset."),
        (reading(82), {"exhausts_in_s": 60.0}, "At this rate it runs out at 14:21, 1 h 39 min before the reset."),
        (reading(82), {"exhausts_in_s": 98 * 60.0}, "At this rate it runs out at 15:58, 2 min before the reset."),
        (reading(82), {"spent": [["7-day window", (NOW + 48 * H).isoformat()]]}, ""),
    ],
)  # fmt: skip
def test_a_firing_says_what_to_expect(read, facts, expected):
    lines = body(transition(read=read, facts=facts)).splitlines()
    assert [line for line in lines if "At this rate" in line] == ([expected] if expected else [])


def test_a_message_that_waited_is_worded_for_the_moment_it_is_sent():
    assert title(transition(), now=NOW + H) == "Claude 5-hour window at 82 %, resets in 40 min (16:00)"
    assert body(transition(), now=NOW + H).startswith("Since 14:20.\n")
    assert title(transition(), now=NOW + 2 * H) == "Claude 5-hour window at 82 %"


# --- a rule's own words ---------------------------------------------------------------------------------------------


def test_templates_fill_in_names():
    own = rule(title="{provider} at {used_percent:.0f} %", message="{window}: {resets_in} left, {age}, {error}")
    message = compose_message(transition(), own, FORMATTER, NOW)
    assert (message.title, message.body) == ("Claude at 82 %", "5-hour window: 1 h 40 min left, ?, no error")


def test_a_reminder_in_the_rules_own_words_begins_with_still():
    assert title(transition("reminder"), rule(title="{provider} is nearly full")) == "Still: Claude is nearly full"


def test_the_end_of_an_alert_never_repeats_the_words_of_its_beginning():
    own = rule("blind", "*.age > 45m", None, title="{provider} has gone quiet", message="last reading {age} ago")
    ended = compose_message(transition("resolved", rule="blind", read=reading(12)), own, FORMATTER, NOW)
    assert (ended.title, ended.body) == (
        "Claude answers again, 5-hour window at 12 %",
        "Rule blind.",
    )


def test_a_rule_for_resets_alone_may_word_them():
    own = rule(title="{window}: fresh", on=frozenset({AlertEvent.RESET}))
    assert title(transition("reset", read=reading(0)), own) == "5-hour window: fresh"
    usual = rule(title="{window}: nearly full", on=frozenset({AlertEvent.FIRING, AlertEvent.RESET}))
    assert title(transition("reset", read=reading(0)), usual) == "Claude 5-hour window has reset, 0 % used"


def test_text_from_outside_is_not_read_as_a_template():
    own = rule(message="{error}")
    change = transition(facts={"error": "{used_percent.__class__} <b>@everyone</b>"})
    assert body(change, own) == "{used_percent.__class__} <b>@everyone</b>"


def test_a_rule_no_longer_in_force_still_gets_a_message():
    message = compose_message(transition("resolved", read=reading(60)), None, FORMATTER, NOW)
    assert message.title == "Claude 5-hour window is back to 60 %, resets in 1 h 40 min (16:00)"


# --- several at once ------------------------------------------------------------------------------------------------


def test_a_digest_lists_the_most_severe_first_and_what_is_over_last():
    about = (
        of("codex", "weekly", read=reading(81, label="weekly window", resets_at=None)),
        of("nano_gpt", event="resolved", read=reading(5, resets_at=None)),
        of("claude", severity="critical", read=reading(97, resets_at=None)),
        of("copilot", event="reset", read=reading(0, label="premium requests", resets_at=None)),
    )
    message = compose_digest(
        about, {"claude-session": rule()}, FORMATTER, NOW, key="digest|1", heading="After quiet hours"
    )
    assert message.title == "After quiet hours: 2 alerts (1 critical), 1 resolved, 1 window reset"
    assert message.body.splitlines() == [
        "Claude 5-hour window at 97 %",
        "Codex weekly window at 81 %",
        "Nano-GPT 5-hour window is back to 5 %",
        "GitHub Copilot premium requests have reset, 0 % used",
    ]
    assert (message.event, message.severity, message.id) == ("digest", Severity.CRITICAL, "digest|1")


def test_two_rules_about_one_window_are_named_in_a_digest():
    over = of("copilot", read=reading(101, resets_at=None))
    about = (over, structs.replace(over, rule="monthly"), of("claude", read=reading(84, resets_at=None)))
    body = compose_digest(about, {"claude-session": rule()}, FORMATTER, NOW, key="d").body
    assert body.splitlines() == [
        "GitHub Copilot 5-hour window at 101 % (claude-session)",
        "GitHub Copilot 5-hour window at 101 % (monthly)",
        "Claude 5-hour window at 84 %",
    ]


def test_a_long_digest_is_cut_and_counts_the_rest():
    about = [
        of("claude", f"window_{number}", read=reading(90, label="", resets_at=None))
        for number in range(MAX_DIGEST_LINES + 8)
    ]
    lines = compose_digest(about, {"claude-session": rule()}, FORMATTER, NOW, key="d").body.splitlines()
    assert (len(lines), lines[-1]) == (MAX_DIGEST_LINES + 1, "and 8 more: watcher status")


def test_one_message_says_both_where_the_beginning_was_not_delivered():
    ended = transition("resolved", at=NOW + 3 * H, read=reading(12, resets_at=None))
    message = compose_combined_message(transition(), ended, rule(), FORMATTER, NOW + 3 * H)
    assert message.title == "Claude 5-hour window is back to 12 %"
    assert message.body.splitlines()[0] == (
        "At 14:20: Claude 5-hour window at 82 %. This could not be delivered while it lasted."
    )


def test_a_digest_of_one_provider_links_to_it():
    about = [of("claude", window) for window in ("five_hour", "seven_day")]
    message = compose_digest(about, {}, FORMATTER, datetime(2026, 1, 7, 14, tzinfo=UTC), key="d")
    assert (message.provider, message.link) == ("claude", "https://claude.ai/settings/usage")


# --- words for every kind of rule -----------------------------------------------------------------------------------

USE_IT = rule("use-it", "claude.seven_day < 50% and resets_in < 12h", clear=None)
RUNS_DRY = rule("runs-dry", "*.session.exhausts_in < 45m and resets_in > 1h", clear=None)


def test_low_use_is_called_low_and_its_end_is_no_recovery():
    week = reading(31, label="7-day window", resets_at=NOW + 11 * H)
    assert title(of("claude", read=week), USE_IT) == "Claude 7-day window only at 31 %, resets in 11 h (Thu 01:20)"
    ended = of("claude", rule="use-it", event="resolved", read=reading(52, label="7-day window", resets_at=None))
    assert title(ended, USE_IT) == "Claude 7-day window is now at 52 %"
    assert body(ended, USE_IT) == "What rule use-it watches for is over."


def test_the_end_of_a_forecast_claims_no_more_than_where_use_is_now():
    ended = transition("resolved", rule="runs-dry", read=reading(82))
    assert title(ended, RUNS_DRY) == "Claude 5-hour window is now at 82 %, resets in 1 h 40 min (16:00)"
    assert body(ended, RUNS_DRY) == "What rule runs-dry watches for is over."


@pytest.mark.parametrize("when", ["copilot.remaining < 0", "copilot > 80%", "80% < copilot", "copilot.used >= 240"])
def test_the_end_of_much_used_or_little_left_is_a_way_back(when):
    ended = of("copilot", event="resolved", read=premium(30))
    assert title(ended, rule(when=when, clear=None)).startswith("GitHub Copilot premium requests are back to 10 %")


def test_the_body_does_not_repeat_the_forecast_of_the_title():
    soon = transition(facts={"exhausts_in_s": 2100.0})
    assert "runs out in 35 min (14:55)" in title(soon, RUNS_DRY)
    assert body(soon, RUNS_DRY).splitlines()[0] == "At this rate that is 1 h 5 min before the reset."
    endless = transition(facts={"exhausts_in_s": 2100.0}, read=reading(resets_at=None))
    assert body(endless, RUNS_DRY) == "Rule claude-session."


def test_an_account_is_named_once_where_there_are_several_and_never_where_there_is_one():
    many = structs.replace(FORMATTER, multi_account_providers=frozenset({"claude"}))
    for own, says in ((rule(), 1), (rule(title="{window} is full"), 1), (rule(title="{account}: full"), 1)):
        message = compose_message(transition(), own, many, NOW)
        assert f"{message.title} {message.body}".count("me@example.com") == says
        assert "me@example.com" not in compose_message(transition(), rule(), FORMATTER, NOW).body


def test_an_error_is_reported_without_the_name_that_the_title_has():
    change = transition(
        rule="blind", facts={"age_s": 2820, "error": "Claude: the login has expired; run `claude` once"}
    )
    blind = rule("blind", "*.age > 45m", clear=None)
    assert body(change, blind).splitlines()[0] == "Last attempt: the login has expired; run `claude` once"
    own = rule("blind", "*.age > 45m", clear=None, message="{error}")
    assert body(change, own) == "the login has expired; run `claude` once"


def test_a_digest_has_a_rules_own_title_and_message():
    own = rule(title="{provider} is nearly full.", message="{used_percent:.0f} % used\nand more")
    message = compose_digest((of("claude"), of("codex")), {"claude-session": own}, FORMATTER, NOW, key="d")
    assert message.body.splitlines() == ["Claude is nearly full. 82 % used", "Codex is nearly full. 82 % used"]


# --- for readers elsewhere ------------------------------------------------------------------------------------------

ELSEWHERE = structs.replace(FORMATTER, host="laptop")


def write_remote_message(change, **facts):
    return write_message(delivery(transitions=(change,), **facts), {}, ELSEWHERE, NOW).message


def test_readers_elsewhere_are_told_account_machine_and_zone():
    mine = structs.replace(transition(), account_name="me@example.com")
    message = write_remote_message(mine)
    assert message.title == "Claude 5-hour window at 82 %, resets in 1 h 40 min (16:00 CET)"
    assert message.body.splitlines() == [
        "At this rate it runs out at 15:05 CET, 55 min before the reset.",
        "Rule claude-session.",
        "Account me@example.com, sent by laptop.",
    ]


@pytest.mark.parametrize("account", ["", "org-Xy12", "3fa94b2c", "8f14e45f-ceea-467f-a1d6-2c3f9b0a7e11"])
def test_no_internal_id_is_an_account(account):
    assert write_remote_message(structs.replace(transition(), account_name=account)).body.endswith("\nSent by laptop.")


def test_what_may_have_arrived_before_says_so():
    assert write_remote_message(transition(), in_doubt=True).body.endswith(
        "sent by laptop. You may have got this before."
    )


def test_a_notice_is_told_its_machine_once():
    notice = delivery(message=compose_notice("k", "Title", "Body.", NOW))
    once = write_message(notice, {}, ELSEWHERE, NOW)
    assert once.message.body == write_message(once, {}, ELSEWHERE, NOW).message.body == "Body.\nSent by laptop."
