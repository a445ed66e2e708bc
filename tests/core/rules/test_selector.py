"""Selectors: which series they match."""

import pytest

from watcher.core.model import Series, WindowKind
from watcher.core.rules.selector import Selector

SERIES = Series(provider="claude", window="five_hour", account="8f1c")


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        (Selector("claude", "", "five_hour"), True),
        (Selector("claude", "", "seven_day"), False),
        (Selector("codex", "", "five_hour"), False),
        (Selector("*", "", "five_hour"), True),
        (Selector("claude", "", "*"), True),
        (Selector("*", "", "*"), True),
        (Selector("*", "", "session"), True),
        (Selector("claude", "", "session"), True),
        (Selector("*", "", "weekly"), False),
        (Selector("claude", "8f1c", "five_hour"), True),
        (Selector("claude", "Me@Example.com", "five_hour"), True),
        (Selector("claude", "you@example.com", "five_hour"), False),
    ],
)
def test_a_selector_matches_by_provider_account_and_window(selector, matches):
    assert selector.matches(SERIES, "me@example.com", WindowKind.SESSION, is_primary=False) is matches


def test_without_a_window_the_primary_one_matches():
    assert Selector("claude").matches(SERIES, "", WindowKind.SESSION, is_primary=True)
    assert not Selector("claude").matches(SERIES, "", WindowKind.SESSION, is_primary=False)


def test_a_kind_that_is_also_a_window_of_the_provider_is_the_window():
    review = Series(provider="codex", window="code_review_weekly")
    weekly = Series(provider="codex", window="weekly")
    assert Selector("*", "", "weekly").matches(review, "", WindowKind.WEEKLY, is_primary=False)
    assert not Selector("codex", "", "weekly").matches(review, "", WindowKind.WEEKLY, is_primary=False)
    assert Selector("codex", "", "weekly").matches(weekly, "", WindowKind.WEEKLY, is_primary=False)
    claude = Series(provider="claude", window="seven_day")
    assert Selector("claude", "", "weekly").matches(claude, "", WindowKind.WEEKLY, is_primary=False)


def test_a_series_without_an_account_does_not_match_a_named_account():
    nameless = Series(provider="claude", window="five_hour")
    assert not Selector("claude", "me@example.com", "five_hour").matches(
        nameless, "", WindowKind.SESSION, is_primary=True
    )
