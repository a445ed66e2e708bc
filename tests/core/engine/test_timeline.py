from datetime import timedelta

from tests.core.samples import NOW, SERIES, H, balance, of, reading, transition
from watcher.core.engine.timeline import build_alert_periods
from watcher.core.model import Severity

ALERT = ("claude-session", SERIES)


def test_nothing_happened():
    assert build_alert_periods([], [ALERT]) == ()


def test_a_spell_runs_from_firing_to_resolved_and_has_its_highest_severity_and_use():
    (spell,) = build_alert_periods(
        [
            transition(at=NOW, read=reading(82.0)),
            transition("escalated", "critical", at=NOW + H, read=reading(96.0)),
            transition("reminder", "critical", at=NOW + 2 * H, read=reading(94.0)),
            transition("resolved", at=NOW + 3 * H, read=reading(60.0)),
        ],
        [],
    )
    assert (spell.since, spell.until, spell.is_firing) == (NOW, NOW + 3 * H, False)
    assert (spell.severity, spell.peak_used_percent, spell.reason) == (Severity.CRITICAL, 96.0, "recovered")


def test_a_spell_lasts_only_if_the_alert_fires_now():
    fired = [transition(at=NOW)]
    assert build_alert_periods(fired, [ALERT])[0].is_firing
    over = build_alert_periods(fired, [])[0]
    assert (over.is_firing, over.until) == (False, None)  # the rule says nothing at its end


def test_firing_anew_is_a_spell_of_its_own():
    found = build_alert_periods([transition(at=NOW), transition(at=NOW + 5 * H)], [ALERT])
    assert [(spell.since, spell.is_firing) for spell in found] == [(NOW, False), (NOW + 5 * H, True)]


def test_an_end_whose_beginning_was_silent_says_since_when():
    (spell,) = build_alert_periods([transition("resolved", at=NOW, since=NOW - 2 * H, read=reading(1.0))], [])
    assert (spell.since, spell.until, spell.peak_used_percent) == (NOW - 2 * H, NOW, None)


def test_alerts_of_two_series_are_two_spells_in_the_order_of_their_beginning():
    found = build_alert_periods(
        [transition(at=NOW), of("codex", at=NOW - timedelta(minutes=1)), transition("resolved", at=NOW)], []
    )
    assert [spell.series.provider for spell in found] == ["codex", "claude"]


def test_a_reset_that_was_told_is_no_spell():
    assert build_alert_periods([transition("reset", at=NOW)], []) == ()


def test_what_counts_no_percent_has_none():
    assert build_alert_periods([transition(at=NOW, read=balance("3.50"))], [])[0].peak_used_percent is None
