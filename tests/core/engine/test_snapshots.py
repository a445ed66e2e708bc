"""How the result of one account's poll changes its series, and which window is the primary one."""

from datetime import timedelta

from tests.core.samples import NOW
from watcher.core.engine import snapshots
from watcher.core.model import PollFailure, Reading, Series, Snapshot, WindowKind

EVERY = timedelta(minutes=5)


def answer(provider="gemini_cli", account="", *, complete=True, **windows):
    readings = tuple(
        Reading(window=window, kind=WindowKind.OTHER, used_percent=used) for window, used in windows.items()
    )
    return Snapshot(provider=provider, account=account, at=NOW, readings=readings, complete=complete)


def apply(*results):
    series = {}
    for each in results:
        series |= {state.series: state for state in snapshots.apply_poll(series, each, EVERY)}
    return series


def primary(*results):
    return [series.window for series, state in apply(*results).items() if state.primary]


def test_the_fullest_window_is_primary_without_named_ones():
    assert primary(answer(a=10, b=30, c=20)) == ["b"]


def test_of_two_equally_full_windows_the_primary_one_stays():
    assert primary(answer(a=10, b=30), answer(a=30, b=30)) == ["b"]
    assert primary(answer(a=30, b=10), answer(a=30, b=30)) == ["a"]


def test_the_first_name_that_the_account_has_is_primary():
    assert primary(answer("nano_gpt", monthly=1, weekly_input_tokens=1)) == ["weekly_input_tokens"]
    assert primary(answer("nano_gpt", monthly=1)) == ["monthly"]


def test_a_window_missing_from_one_answer_is_primary_still():
    assert primary(answer("nano_gpt", daily=1, monthly=1), answer("nano_gpt", monthly=1)) == ["daily"]


def test_a_provider_without_its_named_window_has_no_primary_one():
    assert primary(answer("copilot", chat=99)) == []


def test_a_partial_answer_leaves_the_rest_as_it_is():
    before = apply(answer(a=10, b=30))
    after = snapshots.apply_poll(before, answer(complete=False, a=11), EVERY)
    assert [state.series.window for state in after] == ["a"]


def test_a_provider_without_a_login_raises_no_series():
    failure = PollFailure(provider="claude", at=NOW, kind="not_signed_in", message="sign in")
    assert apply(failure) == {}


def test_a_provider_that_never_answered_is_represented_by_its_primary_window():
    failure = PollFailure(provider="claude", account="a", at=NOW, kind="expired", message="run `claude` once")
    assert list(apply(failure)) == [Series("claude", "five_hour", "a")]
    nameless = PollFailure(provider="gemini_cli", at=NOW, kind="expired", message="run `gemini` once")
    (series,) = apply(nameless)
    assert str(series) == "gemini_cli"
