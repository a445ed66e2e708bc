from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.doctor.host import one, told
from watcher.core.model import PollFailure
from watcher.doctor import providers


def test_the_last_answer_of_each_account(ward, two_days):
    ward.lived(two_days)
    found = list(providers.check_answers(ward.scene()))
    assert told(found) == [
        ("claude (me@example.com)", "ok", "answered less than a minute ago: 2 windows"),
        (
            "copilot",
            "fail",
            "expired: GitHub Copilot: expired: run `gh auth login` (for less than a minute)",
        ),
        ("nano_gpt", "ok", "answered less than a minute ago: 1 window"),
    ]
    assert found[1].cure
    assert [each.provider for each in found] == ["claude", "copilot", "nano_gpt"]


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        ("not_signed_in", "fail"),
        ("expired", "fail"),
        ("forbidden", "fail"),
        ("blocked", "fail"),
        ("shape", "fail"),
        ("rate_limited", "warn"),
        ("unsupported", "warn"),
        ("offline", "warn"),
        ("timeout", "warn"),
        ("server", "warn"),
    ],
)
def test_what_waiting_does_not_mend_is_a_failure(ward, kind, verdict):
    failure = PollFailure(provider="claude", at=ward.clock.at - timedelta(hours=1), kind=kind, message="words")
    ward.write(lambda store: store.readings.save_result(failure))
    (found,) = providers.check_answers(ward.scene())
    assert (found.verdict, found.message) == (verdict, f"{kind}: words (for 1 h)")
    assert found.cure


@pytest.mark.parametrize(
    ("kind", "wait", "cure"),
    [
        ("expired", None, "run `claude` once"),
        ("rate_limited", timedelta(minutes=30), "nothing: it is polled again in 30 min"),
        ("rate_limited", timedelta(0), "nothing: it is polled again soon"),
        ("rate_limited", None, "nothing: it is polled again soon"),
        ("unsupported", None, "sign in with another account, or set enabled = false under [providers.claude]"),
        ("blocked", None, "watcher status --refresh"),
        ("server", None, "watcher status --refresh"),
    ],
)
def test_to_ask_again_is_a_cure_only_where_it_may_help(ward, kind, wait, cure):
    at = ward.clock.at
    again = None if wait is None else at + wait
    failure = PollFailure(provider="claude", at=at, kind=kind, message="words", retry_at=again)
    ward.write(lambda store: store.readings.save_result(failure))
    (found,) = providers.check_answers(ward.scene())
    assert found.cure == cure


def test_an_answer_that_has_grown_old_is_a_warning(ward, two_days):
    ward.lived(two_days)
    ward.clock.at += timedelta(days=1)
    found = one(providers.check_answers(ward.scene()), "nano_gpt")
    assert (found.verdict, found.message) == ("warn", "no new reading for 24 h")
    assert found.cure == "watcher status --refresh"


def test_a_login_that_was_never_asked_is_a_warning(ward):
    ward.sign_in_to_claude()
    assert told(providers.check_answers(ward.scene())) == [("claude", "warn", "never polled yet")]


def test_a_provider_that_is_switched_off_is_passed_over(ward, two_days):
    ward.lived(two_days)
    ward.config("[providers.copilot]\nenabled = false\n")
    assert [each.provider for each in providers.check_answers(ward.scene())] == ["claude", "nano_gpt"]


def test_a_daemon_that_goes_on_with_an_older_config_is_told_of(ward):
    ward.write(lambda store: store.facts.save("config_error", "config.toml:3:1: unknown key\n  3 | x", ward.clock.at))
    (found,) = providers.check_answers(replace(ward.scene(), holder_pid=4711))
    assert found.message == "the daemon still uses an older config: config.toml:3:1: unknown key"


def test_a_config_that_stopped_all_polls_is_told_of_until_one_has_read_it_mended(ward):
    ward.write(lambda store: store.facts.save("config_error", "config.toml:3:1: unknown key\n  3 | x", ward.clock.at))
    (found,) = providers.check_answers(replace(ward.scene(), config=None))
    assert told([found]) == [("config", "fail", "nothing is polled with this config: config.toml:3:1: unknown key")]
    (found,) = providers.check_answers(ward.scene())
    assert (found.verdict, found.cure) == ("warn", "watcher check")
    assert found.message == "the last poll refused the config, which is valid now: config.toml:3:1: unknown key"
