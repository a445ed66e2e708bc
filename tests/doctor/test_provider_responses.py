from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.doctor.host import one, summarize
from watcher.core.model import PollFailure
from watcher.doctor import providers


def test_the_last_answer_of_each_account(host, two_day_state):
    host.use_state(two_day_state)
    found = list(providers.check_answers(host.context()))
    assert summarize(found) == [
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
def test_an_error_that_waiting_does_not_fix_is_a_failure(host, kind, verdict):
    failure = PollFailure(provider="claude", at=host.clock.at - timedelta(hours=1), kind=kind, message="words")
    host.write(lambda store: store.readings.save_result(failure))
    (found,) = providers.check_answers(host.context())
    assert (found.verdict, found.message) == (verdict, f"{kind}: words (for 1 h)")
    assert found.cure


def test_an_account_that_was_switched_away_from_needs_nothing(host):
    at = host.clock.at
    failure = PollFailure(
        provider="claude", at=at, kind="not_signed_in", message="not signed in here", switched_away=True
    )
    host.write(lambda store: store.readings.save_result(failure))
    (found,) = providers.check_answers(host.context())
    assert (found.verdict, found.message, found.cure) == ("ok", "not signed in here", "")


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
def test_polling_again_is_suggested_only_if_it_may_help(host, kind, wait, cure):
    at = host.clock.at
    again = None if wait is None else at + wait
    failure = PollFailure(provider="claude", at=at, kind=kind, message="words", retry_at=again)
    host.write(lambda store: store.readings.save_result(failure))
    (found,) = providers.check_answers(host.context())
    assert found.cure == cure


def test_an_answer_that_has_grown_old_is_a_warning(host, two_day_state):
    host.use_state(two_day_state)
    host.clock.at += timedelta(days=1)
    found = one(providers.check_answers(host.context()), "nano_gpt")
    assert (found.verdict, found.message) == ("warn", "no new reading for 24 h")
    assert found.cure == "watcher status --refresh"


def test_a_login_that_was_never_asked_is_a_warning(host):
    host.sign_in_to_claude()
    message = "never polled yet; its login will go to https://api.anthropic.com/api/oauth/usage"
    assert summarize(providers.check_answers(host.context())) == [("claude", "warn", message)]


def test_a_provider_that_is_switched_off_is_passed_over(host, two_day_state):
    host.use_state(two_day_state)
    host.config("[providers.copilot]\nenabled = false\n")
    assert [each.provider for each in providers.check_answers(host.context())] == ["claude", "nano_gpt"]


def test_a_refused_config_is_reported_until_it_is_read_again(host):
    host.write(lambda store: store.facts.save("config_error", "config.toml:3:1: unknown key\n  3 | x", host.clock.at))
    for context, verdict in ((replace(host.context(), config=None), "fail"), (host.context(), "warn")):
        assert summarize(providers.check_answers(context)) == [
            ("config", verdict, "the last poll refused the config: config.toml:3:1: unknown key")
        ]
