"""When time alone may change what a rule says."""

from datetime import timedelta

from msgspec.structs import replace

from tests.core.samples import NOW
from watcher.core.engine import reset_detection, snapshots
from watcher.core.engine.matching import compile_rule
from watcher.core.engine.staleness import find_next_due
from watcher.core.engine.state import AlertState, create_series_state
from watcher.core.model import AlertPhase, Reading, Series, Snapshot, WindowKind
from watcher.core.rules.loader import parse_rules

M = timedelta(minutes=1)
SERIES = Series("claude", "five_hour")


def state():
    reading = Reading(window="five_hour", kind=WindowKind.SESSION, used_percent=10.0)
    answer = Snapshot(provider="claude", at=NOW)
    seen = snapshots.mark_answered(create_series_state(SERIES, answer.at), answer, 5 * M)
    return reset_detection.apply_reading(seen, reading, NOW, 5 * M)


def due(when="*.age > 45m", *, states=None, alerts=(), more="", now=NOW):
    bound = map(compile_rule, parse_rules(f'[[rule]]\nname = "q"\nwhen = "{when}"\n{more}', "rules.toml"))
    silent = [one for one in bound if one.is_availability_rule]
    found = find_next_due(silent, [state()] if states is None else states, alerts, lambda _bound, _state: True, now)
    return None if found is None else found - NOW


def alert(**facts):
    return AlertState(rule="q", series=SERIES, fingerprint="f", at=NOW, episode=0, **facts)


def test_where_nothing_was_seen_nothing_is_due():
    assert due(states=[]) is None


def test_a_rule_about_use_waits_for_a_reading_until_the_series_is_gone():
    assert timedelta(days=7) < due("claude > 80%") < timedelta(days=7, minutes=1)


def test_a_good_answer_becomes_silence_when_it_is_overdue():
    assert 25 * M < due() < 26 * M


def test_an_age_is_due_just_after_it_is_reached():
    assert 45 * M < due(now=NOW + 30 * M) < 46 * M


def test_after_a_gap_silence_is_counted_from_when_watching_went_on():
    woken = replace(state(), watched_from=NOW + 10 * M)
    assert 55 * M < due(states=[woken], now=NOW + 50 * M) < 56 * M


def test_a_reminder_is_due_at_its_time():
    firing = alert(phase=AlertPhase.FIRING, remind_at=NOW + 12 * M)
    assert due(alerts=[firing], more='remind = "2h"') == 12 * M


def test_a_running_hold_is_due_at_its_end():
    pending = alert(phase=AlertPhase.PENDING, clock_at=NOW + 2 * M, held=(4 * M,))
    assert due(alerts=[pending], more='for = "10m"') == 8 * M
