"""Properties that hold for every history."""

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.core.engine.timeline_files import reload
from watcher.core.engine import evaluator
from watcher.core.engine.forecast import MAX_SAMPLES
from watcher.core.engine.state import EngineState
from watcher.core.model import AlertEvent, AlertPhase, PollFailure, Reading, Series, Snapshot, WindowKind
from watcher.core.rules.loader import parse_rules

START = datetime(2026, 3, 4, 9, tzinfo=UTC)
EVERY = timedelta(minutes=5)
WINDOW = timedelta(hours=5)
SERIES = Series("claude", "five_hour")

RULES = parse_rules(
    """
    [[rule]]
    name = "plain"
    when = "claude.five_hour > 80%"
    clear = "< 70%"

    [[rule]]
    name = "ladder"
    when = "*.session > level"
    levels = { info = "50%", warning = "80%", critical = "95%" }
    on = ["firing", "escalated", "resolved"]
    remind = "1h"
    """,
    "rules.toml",
)
HOLDING = parse_rules(
    """
    [[rule]]
    name = "holding"
    when = "claude.five_hour > 80%"
    for = "12m"
    remind = "30m"

    [[rule]]
    name = "quiet"
    when = "*.age > 45m"

    [[rule]]
    name = "ahead"
    when = "*.session.exhausts_in < 1h"
    on = ["firing", "resolved", "reset"]
    """,
    "holding.toml",
)

modest = settings(suppress_health_check=[HealthCheck.too_slow])

used = st.sampled_from([0, 3, 20, 50, 55, 69, 71, 75, 79.5, 81, 85, 95, 97, 100, 104])
gap = st.sampled_from([2, 5, 5, 5, 5, 10, 16, 60, 400])
silence = st.sampled_from(["?", "none", "error", "stale", "low"])
poll = st.tuples(gap, st.one_of(used, used, used, silence))
polls = st.lists(poll, min_size=1, max_size=25)


def make_result(what, at, *, jitter=timedelta(0)):
    """The result of a poll; windows reset every five hours."""
    if what == "error":
        return PollFailure(provider="claude", at=at, kind="timeout", message="no answer")
    boundary = START + WINDOW
    while boundary <= at:
        boundary += WINDOW
    readings = []
    if what != "none":
        readings = [
            Reading(
                window="five_hour",
                kind=WindowKind.SESSION,
                used_percent=None if what == "?" else 42 if isinstance(what, str) else what,
                resets_at=boundary + jitter,
                window_seconds=18_000,
                stale=what == "stale",
                low_confidence=what == "low",
            )
        ]
    return Snapshot(provider="claude", at=at, readings=tuple(readings))


def history(rows):
    at = START
    for minutes, what in rows:
        at += timedelta(minutes=minutes)
        yield make_result(what, at)


def play(rules, answers, engine_state=None, *, restart=False):
    """Each answer's transitions, and the engine state after it."""
    engine_state = engine_state or EngineState({}, {})
    for answer in answers:
        if restart:
            engine_state = reload(engine_state)
        evaluation = evaluator.evaluate_poll(rules, engine_state, answer, answer.at, every=EVERY, tz=UTC)
        engine_state = evaluator.apply_evaluation(engine_state, evaluation)
        yield evaluation.transitions, engine_state


def list_transitions(rules, answers, **more):
    return [each for transitions, _ in play(rules, answers, **more) for each in transitions]


@modest
@given(polls)
def test_a_restart_at_any_point_changes_nothing(rows):
    rules = (*RULES, *HOLDING)
    assert list_transitions(rules, history(rows), restart=True) == list_transitions(rules, history(rows))


@modest
@given(st.lists(st.tuples(st.just(5), st.floats(70, 80)), max_size=20))
def test_values_inside_the_band_fire_nothing(rows):
    assert list_transitions(RULES[:1], history(rows)) == []


@modest
@given(st.lists(st.tuples(st.just(5), st.floats(70, 80)), max_size=20))
def test_values_inside_the_band_resolve_nothing(rows):
    assert [each.event for each in list_transitions(RULES[:1], history([(5, 81), *rows]))] == [AlertEvent.FIRING]


@modest
@given(polls)
def test_firing_and_resolved_alternate(rows):
    firing = {}
    for each in list_transitions((*RULES, *HOLDING), history(rows)):
        key = (each.rule, each.series)
        if each.event is AlertEvent.FIRING:
            assert key not in firing
            firing[key] = each.episode
        else:
            assert firing[key] == each.episode
            if each.event in (AlertEvent.RESOLVED, AlertEvent.RESET):
                del firing[key]


inserted = st.lists(st.tuples(st.integers(0, 25), st.floats(0.01, 0.99), silence), max_size=8)


def insert_results(answers, insertions):
    """The answers with unknown results between them: (before which answer, at what part of the pause, what)."""
    added = []
    for place, part, what in insertions:
        if place < len(answers):
            before = answers[place - 1].at if place else START
            added.append(make_result(what, before + (answers[place].at - before) * part))
    return sorted([*answers, *added], key=lambda answer: answer.at)


@modest
@given(polls, inserted)
def test_silence_inserted_anywhere_changes_no_transition(rows, insertions):
    answers = list(history(rows))
    mixed = insert_results(answers, insertions)
    assert [each.key for each in list_transitions(RULES, mixed)] == [
        each.key for each in list_transitions(RULES, answers)
    ]


@modest
@given(
    st.lists(st.floats(60, 100), min_size=1, max_size=25), inserted
)  # each is believed: a suspect reading is a lost poll
def test_silence_inserted_between_regular_polls_does_not_move_a_timer(values, insertions):
    answers = list(history([(5, value) for value in values]))
    mixed, clocks = insert_results(answers, insertions), HOLDING[:1]
    assert [each.key for each in list_transitions(clocks, mixed)] == [
        each.key for each in list_transitions(clocks, answers)
    ]


@modest
@given(polls, inserted)
@example(
    rows=[(2, 50.0)] * 9 + [(2, 81.0), (16, 81.0)], insertions=[(10, 0.75, "?")]
)  # a pause too long to count at all
def test_silence_in_a_longer_pause_may_only_delay_a_rule_with_for(rows, insertions):
    # In a pause of more than one and a half polls, an unknown reading stands for a lost poll: from there on it is
    # unknown whether the condition held, and that time does not count for `for`. It never makes a rule fire sooner.
    answers = list(history(rows))
    clocks = HOLDING[:1]
    undisturbed = [each.at for each in list_transitions(clocks, answers)]
    disturbed = [each.at for each in list_transitions(clocks, insert_results(answers, insertions))]
    assert not disturbed or disturbed[0] >= undisturbed[0]


@modest
@given(polls, st.lists(st.integers(-400, 400), min_size=25, max_size=25))
def test_a_jittering_boundary_changes_nothing(rows, jitters):
    # Kept clear of the boundaries themselves: within minutes of one, its exact instant is what decides.
    clear = [answer for answer in history(rows) if 20 < (answer.at - START) % WINDOW / timedelta(minutes=1) < 280]
    shaken = [
        answer
        if isinstance(answer, PollFailure) or not answer.readings
        else msgspec.structs.replace(
            answer,
            readings=tuple(
                msgspec.structs.replace(reading, resets_at=reading.resets_at + timedelta(seconds=jitter))
                for reading in answer.readings
            ),
        )
        for answer, jitter in zip(clear, jitters, strict=False)
    ]
    assert [each.key for each in list_transitions(RULES, shaken)] == [
        each.key for each in list_transitions(RULES, clear)
    ]


@modest
@given(polls)
def test_three_polls_above_the_threshold_always_fire(rows):
    answers = list(history(rows))
    at = answers[-1].at
    while (at + 4 * EVERY - START) % WINDOW < 5 * EVERY:  # not across a boundary, where the third may open a window
        at += EVERY
    answers += [make_result(used_percent, at + turn * EVERY) for turn, used_percent in enumerate((88, 89, 90), 1)]
    *_, (_, engine_state) = play(RULES, answers)
    assert engine_state.alert_states[("plain", SERIES)].phase is AlertPhase.FIRING


@modest
@given(polls, st.lists(st.sampled_from([0, 0, 0, -3, -60, -1500, 1500]), min_size=25, max_size=25))
def test_stored_times_never_go_back(rows, steps):
    answers, skew = [], timedelta(0)
    for answer, minutes in zip(history(rows), steps, strict=False):
        skew += timedelta(minutes=minutes)
        answers.append(msgspec.structs.replace(answer, at=answer.at + skew))
    # These never go back: the time of an alert's last change and of its transitions, the episode and its beginning, the
    # samples. The times of the last poll do: they follow the clock, or no silence would be noticed until it catches up.
    latest = {}
    rules = (*RULES, *HOLDING)
    for answer, (transitions, engine_state) in zip(answers, play(rules, answers), strict=True):
        known = {*engine_state.alert_states, *engine_state.series_states}
        latest = {key: mark for key, mark in latest.items() if key in known}
        for each in transitions:
            assert each.since <= each.at
            assert each.at >= latest.get((each.rule, each.series), each.at)
        for key, alert in engine_state.alert_states.items():
            assert alert.changed_at >= latest.get(key, alert.changed_at)
            assert alert.since is None or alert.since <= alert.changed_at
            latest[key] = alert.changed_at
        for series, state in engine_state.series_states.items():
            marks = (state.episode, state.episode_at)
            assert marks >= latest.get(series, marks)
            latest[series] = marks
            instants = [sample.at for sample in state.samples]
            assert instants == sorted(set(instants))
            seen = (state.last_seen_at, state.polled_at, state.read_at, state.changed_at, state.resumed_at)
            assert all(at is None or at <= answer.at for at in (*seen, state.failing_since))


@modest
@given(polls)
def test_the_order_of_rules_changes_nothing(rows):
    rules = (*RULES, *HOLDING)
    assert list_transitions(rules[::-1], history(rows)) == list_transitions(rules, history(rows))


WINDOWS = ("five_hour", "seven_day", "seven_day_opus")


@modest
@given(st.lists(st.tuples(gap, st.sampled_from(["claude", "codex"]), st.tuples(*[used] * 3)), min_size=1, max_size=20))
def test_the_order_of_series_changes_nothing(rows):
    rules = parse_rules(
        """
        [[rule]]
        name = "any"
        when = "*.* > 80%"

        [[rule]]
        name = "both"
        when = "claude.five_hour > 50% and *.seven_day > 50%"

        [[rule]]
        name = "quiet"
        when = "*.age > 45m"
        """,
        "rules.toml",
    )
    forwards, backwards, at = EngineState({}, {}), EngineState({}, {}), START
    for minutes, provider, values in rows:
        at += timedelta(minutes=minutes)
        readings = [
            Reading(window=window, kind=WindowKind.OTHER, used_percent=value)
            for window, value in zip(WINDOWS, values, strict=True)
        ]
        answer = Snapshot(provider=provider, at=at, readings=tuple(readings))
        turned = Snapshot(provider=provider, at=at, readings=tuple(reversed(readings)))
        one = evaluator.evaluate_poll(rules, forwards, answer, at, every=EVERY, tz=UTC)
        other = evaluator.evaluate_poll(rules[::-1], backwards, turned, at, every=EVERY, tz=UTC)
        assert other.transitions == one.transitions
        forwards, other_memory = evaluator.apply_evaluation(forwards, one), evaluator.apply_evaluation(backwards, other)
        backwards = EngineState(
            dict(reversed(other_memory.series_states.items())), dict([*other_memory.alert_states.items()][::-1])
        )
        assert (backwards.series_states, backwards.alert_states) == (forwards.series_states, forwards.alert_states)


@modest
@given(polls)
def test_one_answer_makes_one_transition_or_two_if_a_reset_refires(rows):
    for transitions, _ in play((*RULES, *HOLDING), history(rows)):
        for rule in {each.rule for each in transitions}:
            events = [each.event for each in transitions if each.rule == rule]
            assert len(events) == 1 or events in (
                [AlertEvent.RESOLVED, AlertEvent.FIRING],
                [AlertEvent.RESET, AlertEvent.FIRING],
            )


@modest
@given(polls)
def test_no_two_messages_have_the_same_key(rows):
    keys = [each.key for each in list_transitions((*RULES, *HOLDING), history(rows))]
    assert len(set(keys)) == len(keys)


@modest
@given(polls)
def test_the_state_is_bounded(rows):
    for _, engine_state in play((*RULES, *HOLDING), history(rows * 4)):
        assert all(len(state.samples) <= MAX_SAMPLES for state in engine_state.series_states.values())
        assert len(engine_state.alert_states) <= len(RULES) + len(HOLDING)


def test_the_state_fits_on_a_database_page():
    rows = [(5, step % 100 + step / 1000) for step in range(400)]
    *_, (_, engine_state) = play((*RULES, *HOLDING), history(rows))
    assert all(len(msgspec.json.encode(state)) < 4096 for state in engine_state.series_states.values())
    assert all(len(msgspec.json.encode(alert)) < 1024 for alert in engine_state.alert_states.values())
