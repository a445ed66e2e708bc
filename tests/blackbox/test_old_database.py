"""A database of the old version is migrated: nothing of it is lost, and no message of it is sent again."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from blackbox_old_database import DATABASE, DAYTIME, NIGHT, continue_from_database, read_database
from blackbox_world import differences, load

FROZEN = load(DATABASE.with_name("expected.json"))
AT_ONCE, IN_THE_NIGHT = NIGHT
MORNING, EVENING = DAYTIME
LAST = "at last: nothing is told twice"
BALANCE, CLAUDE, BACK = (
    "Nano-GPT balance is back to $20.00",
    "Claude (Dot.Ted+odd@exa-mple.co.uk) 5-hour window",
    "is back to",
)
HELD = "hold|codex[me@example.com].weekly|0|firing"
SENT_EARLIER = ("overage", "undelivered", "refused", "week")


def text(keys):
    return "\n".join(f"{each['body']['title']}\n{each['body']['message']}" for each in keys)


def enough(step, keys):
    if step == MORNING:
        return BALANCE in text(keys) and f"{CLAUDE} {BACK}" in text(keys)
    return HELD in [each["key"] for each in keys]


@cache
def looked():
    with TemporaryDirectory() as folder:
        return read_database(Path(folder).resolve())


@cache
def run_steps():
    with TemporaryDirectory() as folder:
        return continue_from_database(Path(folder).resolve(), enough)


@pytest.mark.parametrize("what", FROZEN["seen"])
def test_who_only_looks_sees_what_the_old_version_showed(what):
    assert differences(FROZEN["seen"][what], looked()[what]) == []


def test_the_database_holds_what_makes_this_worth_testing():
    status = FROZEN["seen"]["status"]
    assert {alert["state"] for alert in status["alerts"]} == {"pending", "firing"}
    assert {row["state"] for row in status["undelivered"]} >= {"queued", "held", "dead"}
    assert status["stopped_channels"] == ["stopped"]
    assert len(status["snoozes"]) == 2
    assert {account["account"] for account in status["providers"] if account["provider"] == "claude"} == {
        "Dot.Ted+odd@exa-mple.co.uk",
        "second@example.com",
    }
    assert "rate_limited" in [account["error"]["kind"] for account in status["providers"] if account["error"]]
    assert DATABASE.stat().st_size < 1_000_000


@pytest.mark.parametrize("step", NIGHT)
@pytest.mark.parametrize("what", ["code", "asked", "told", "status"])
def test_a_check_in_the_night_goes_on_as_the_old_version_would_have(step, what):
    assert differences(FROZEN["lived"][step][what], run_steps()[step][what]) == []


def test_what_was_undelivered_arrives_once_under_its_old_key():
    [message] = [
        each for step in (*NIGHT, *DAYTIME, LAST) for each in run_steps()[step]["told"] if each["to"] == "/late"
    ]
    assert message["key"] == message["body"]["id"] == "undelivered|codex[me@example.com].weekly|0|firing"


def test_an_account_that_says_whose_it_is_at_last_keeps_its_alert_in_silence():
    [alert] = [alert for alert in run_steps()[AT_ONCE]["status"]["alerts"] if alert["rule"] == "overage"]
    [before] = [alert for alert in FROZEN["seen"]["status"]["alerts"] if alert["rule"] == "overage"]
    assert (alert["state"], alert["since"]) == ("firing", before["since"])
    accounts = [
        account["account"]
        for account in run_steps()[AT_ONCE]["status"]["providers"]
        if account["provider"] == "copilot"
    ]
    assert accounts == ["Octo.Cat"]


@pytest.mark.parametrize("step", [*NIGHT, *DAYTIME, LAST])
@pytest.mark.parametrize("rule", SENT_EARLIER)
def test_an_alert_that_was_sent_earlier_is_not_sent_again(step, rule):
    keys = [each["key"] for each in run_steps()[step]["told"] if each["body"]["rule"] == rule and each["to"] != "/late"]
    assert keys == []
    assert not any(word in text(run_steps()[step]["told"]) for word in ("Copilot", "weekly window at 6"))


def test_what_ended_in_the_quiet_hours_is_sent_once_in_the_morning():
    assert run_steps()[AT_ONCE]["told"] == [each for each in run_steps()[AT_ONCE]["told"] if each["to"] == "/late"]
    assert run_steps()[IN_THE_NIGHT]["told"] == []
    morning = text(run_steps()[MORNING]["told"])
    assert morning.count(BALANCE) == 1
    assert morning.count(f"{CLAUDE} {BACK}") == 1
    later = text(run_steps()[EVENING]["told"] + run_steps()[LAST]["told"])
    assert BALANCE not in later
    assert BACK not in later


def test_a_snooze_lasts_until_its_time_and_then_what_still_fires_is_sent_once():
    keys = {step: [each["key"] for each in run_steps()[step]["told"]] for step in (*NIGHT, *DAYTIME, LAST)}
    assert [step for step, found in keys.items() if HELD in found] == [EVENING]
    assert "hold" in str(run_steps()[IN_THE_NIGHT]["status"]["snoozes"])
    assert "hold" not in run_steps()[LAST]["snoozed"]


def test_a_rest_that_a_vendor_asked_for_is_kept_and_ends():
    assert not any(
        "/token" in line or "retrieveUserQuota" in line for step in NIGHT for line in run_steps()[step]["asked"]
    )
    assert any("retrieveUserQuota" in line for line in run_steps()[MORNING]["asked"])
    [account] = [
        account for account in run_steps()[MORNING]["status"]["providers"] if account["provider"] == "gemini_cli"
    ]
    assert account["ok"]


@pytest.mark.parametrize("step", DAYTIME)
def test_the_daemon_knows_the_same_alerts_afterwards(step):
    assert differences(FROZEN["lived"][step]["status"]["alerts"], run_steps()[step]["status"]["alerts"]) == []
    assert differences(FROZEN["lived"][step]["status"]["snoozes"], run_steps()[step]["status"]["snoozes"]) == []
    assert run_steps()[step]["code"] == 0


def test_no_message_is_sent_twice_and_the_last_check_has_nothing_to_say():
    keys = [(each["to"], each["key"]) for step in (*NIGHT, *DAYTIME, LAST) for each in run_steps()[step]["told"]]
    assert len(set(keys)) == len(keys)
    assert run_steps()[LAST]["told"] == []
    assert run_steps()[LAST]["code"] == 10


def test_folder_and_file_stay_their_owners_alone():
    assert run_steps()["for its owner alone"] == ["0o700", "0o600"]
