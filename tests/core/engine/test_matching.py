"""Which series a rule is about, and whether its condition holds with the others it refers to."""

from datetime import timedelta

from tests.core.samples import NOW
from watcher.core.engine import matching, reset_detection
from watcher.core.engine.matching import compile_rule, evaluate_condition
from watcher.core.engine.metrics import SeriesMetrics
from watcher.core.engine.state import create_series_state
from watcher.core.engine.windows import infer_kind
from watcher.core.model import Reading, Series
from watcher.core.rules.loader import parse_rules


def rules(when):
    return parse_rules(f'[[rule]]\nname = "r"\nwhen = "{when}"', "rules.toml")


def compiled(when):
    (rule,) = rules(when)
    return compile_rule(rule)


def make_metrics(provider, window, used, account=""):
    series = Series(provider, window, account)
    reading = Reading(window=window, kind=infer_kind(series), used_percent=used)
    state = reset_detection.apply_reading(
        create_series_state(series, NOW),
        reading,
        NOW,
        timedelta(minutes=5),
    )
    return SeriesMetrics(state, NOW)


def evaluate(when, subject, *others, clearing=False):
    (answer,) = evaluate_condition(compiled(when), subject, lambda _: [subject, *others], clearing=clearing)
    return answer


CLAUDE = make_metrics("claude", "five_hour", 85)


def test_a_rule_is_compiled_once():
    (rule,) = rules("claude > 80%")
    assert compile_rule(rule) is compile_rule(rule)


def test_only_alerts_about_use_end_with_the_episode():
    assert not compiled("*.age > 45m").resolves_on_reset
    assert compiled("*.age > 45m and used_percent > 1%").resolves_on_reset


def test_other_series_are_evaluated_only_if_they_decide():
    rule = compiled("claude.five_hour > 90% and *.weekly > 90%")

    def others(_like):
        raise AssertionError

    assert evaluate_condition(rule, CLAUDE, others, clearing=False) == (False,)


def test_one_match_is_enough_to_hold_and_all_are_needed_to_clear():
    full, free = make_metrics("codex", "weekly", 95), make_metrics("copilot_x", "weekly", 10)
    when = "claude.five_hour > 80% and *.weekly > 90%"
    assert evaluate(when, CLAUDE, full, free) is True
    assert evaluate(when, CLAUDE, free) is False
    assert evaluate(when, CLAUDE, full, free, clearing=True) is False
    assert evaluate(when, CLAUDE, free, clearing=True) is True


def test_a_missing_series_is_unknown():
    assert evaluate("claude.five_hour > 80% and codex.weekly > 90%", CLAUDE) is None
    assert evaluate("claude.five_hour > 90% and codex.weekly > 90%", CLAUDE) is False


def test_another_window_of_the_same_provider_means_the_same_account():
    mine, theirs = make_metrics("claude", "seven_day", 10, "a"), make_metrics("claude", "seven_day", 99, "b")
    subject = make_metrics("claude", "five_hour", 85, "a")
    assert evaluate("claude.five_hour > 80% and claude.seven_day > 90%", subject, mine, theirs) is False


def test_the_combinations_of_wildcards_are_bounded():
    crowd = [make_metrics("codex", f"w{number}_weekly", number % 100) for number in range(400)]
    tried = []
    original, matching.evaluate_boolean = matching.evaluate_boolean, lambda *words: tried.append(1) or original(*words)
    try:
        answer = evaluate("claude.five_hour > 80% and *.weekly > 200% and codex.*.used_percent > 200%", CLAUDE, *crowd)
    finally:
        matching.evaluate_boolean = original
    assert len(tried) == 1 + matching.MAX_COMBINATIONS  # the first asks whether the others matter at all
    assert answer is None
