"""Alerts are one mapping by rule and series, and are found by series too."""

from tests.core.samples import NOW
from watcher.core.engine.state import AlertIndex, AlertState
from watcher.core.model import Series

CLAUDE, CODEX = Series("claude", "five_hour"), Series("codex", "weekly")


def alert(rule, series, episode=1):
    return AlertState(rule=rule, series=series, fingerprint="f", at=NOW, episode=episode)


def test_alerts_are_found_by_key_and_by_series():
    known = AlertIndex([alert("a", CLAUDE), alert("b", CLAUDE), alert("a", CODEX)])
    assert known == {(each.rule, each.series): each for each in known.values()}
    assert set(known) == {("a", CLAUDE), ("b", CLAUDE), ("a", CODEX)}
    assert len(known) == 3
    assert set(known.for_series(CLAUDE)) == {"a", "b"}
    assert ("b", CODEX) not in known
    assert known.for_series(Series("copilot", "chat")) == {}


def test_what_is_learnt_takes_the_place_of_what_was_known_and_what_is_closed_is_forgotten():
    known = AlertIndex([alert("a", CLAUDE), alert("a", CODEX)])
    known.apply_changes([alert("a", CLAUDE, episode=2)], closed=[("a", CODEX), ("never", CODEX)])
    assert known["a", CLAUDE].episode == 2
    assert [series for series, _ in known.group_by_series()] == [CLAUDE]


def test_alerts_that_are_grouped_already_are_not_grouped_again():
    known = AlertIndex([alert("a", CLAUDE)])
    assert AlertIndex.from_mapping(known) is known
    assert AlertIndex.from_mapping(dict(known)) == known
