"""Which series a rule is about, and whether its condition holds with the others it names."""

from datetime import timedelta

from tests.core.samples import NOW
from watcher.core.engine import matching, reset_detection
from watcher.core.engine.matching import compile_rule, depends_on_provider, evaluate_condition
from watcher.core.engine.metrics import SeriesMetrics
from watcher.core.engine.state import create_series_state
from watcher.core.engine.windows import infer_kind
from watcher.core.model import Reading, Series
from watcher.core.rules.loader import parse_rules


def rules(when):
    return parse_rules(f'[[rule]]\nname = "r"\nwhen = "{when}"', "rules.toml")


def bound(when):
    (rule,) = rules(when)
    return compile_rule(rule)


def view(provider, window, used, account=""):
    series = Series(provider, window, account)
    reading = Reading(window=window, kind=infer_kind(series), used_percent=used)
    state = reset_detection.apply_reading(
        create_series_state(series, NOW),
        reading,
        NOW,
        timedelta(minutes=5),
    )
    return SeriesMetrics(state, NOW)


def asked(when, subject, *others, clearing=False):
    (answer,) = evaluate_condition(bound(when), subject, lambda _: [subject, *others], clearing=clearing)
    return answer


CLAUDE = view("claude", "five_hour", 85)


def test_a_rule_is_compiled_once():
    (rule,) = rules("claude > 80%")
    assert compile_rule(rule) is compile_rule(rule)


def test_a_rule_touches_every_provider_that_it_names():
    one = bound("claude.five_hour > 80% and codex.weekly < 95%")
    assert [depends_on_provider(one, provider) for provider in ("claude", "codex", "copilot")] == [True, True, False]
    assert depends_on_provider(bound("*.weekly > 80%"), "copilot")


def test_only_a_rule_about_silence_knows_waits():
    assert bound("*.age > 45m").durations_s == (2700.0,)
    assert bound("claude.resets_in < 45m").durations_s == ()
    assert not bound("*.age > 45m").resolves_on_reset
    assert bound("*.age > 45m and used_percent > 1%").resolves_on_reset


def test_other_series_are_looked_at_only_where_they_decide():
    rule = bound("claude.five_hour > 90% and *.weekly > 90%")

    def others(_like):
        raise AssertionError

    assert evaluate_condition(rule, CLAUDE, others, clearing=False) == (False,)


def test_one_match_is_enough_to_hold_and_all_are_needed_to_be_over():
    full, free = view("codex", "weekly", 95), view("copilot_x", "weekly", 10)
    when = "claude.five_hour > 80% and *.weekly > 90%"
    assert asked(when, CLAUDE, full, free) is True
    assert asked(when, CLAUDE, free) is False
    assert asked(when, CLAUDE, full, free, clearing=True) is False
    assert asked(when, CLAUDE, free, clearing=True) is True


def test_a_series_that_is_not_there_is_unknown():
    assert asked("claude.five_hour > 80% and codex.weekly > 90%", CLAUDE) is None
    assert asked("claude.five_hour > 90% and codex.weekly > 90%", CLAUDE) is False


def test_another_window_of_the_same_provider_is_the_same_accounts():
    mine, theirs = view("claude", "seven_day", 10, "a"), view("claude", "seven_day", 99, "b")
    subject = view("claude", "five_hour", 85, "a")
    assert asked("claude.five_hour > 80% and claude.seven_day > 90%", subject, mine, theirs) is False


def test_many_wildcards_are_tried_in_bounded_number():
    crowd = [view("codex", f"w{number}_weekly", number % 100) for number in range(400)]
    tried = []
    original, matching.evaluate_boolean = matching.evaluate_boolean, lambda *words: tried.append(1) or original(*words)
    try:
        answer = asked("claude.five_hour > 80% and *.weekly > 200% and codex.*.used_percent > 200%", CLAUDE, *crowd)
    finally:
        matching.evaluate_boolean = original
    assert len(tried) == 1 + matching.MAX_COMBINATIONS  # the first asks whether the others matter at all
    assert answer is None
