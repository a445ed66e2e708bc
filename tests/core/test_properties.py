"""What must hold for every history, found by looking for one where it does not."""

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core.timeline import restarted
from watcher.core import judge
from watcher.core.forecast import MOST
from watcher.core.memory import Memory
from watcher.core.model import Event, Failure, Kind, Phase, Reading, Series, Snapshot
from watcher.core.rulebook import parse_rules

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

modest = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

used = st.sampled_from([0, 3, 20, 50, 55, 69, 71, 75, 79.5, 81, 85, 95, 97, 100, 104])
gap = st.sampled_from([2, 5, 5, 5, 5, 10, 16, 60, 400])
silence = st.sampled_from(["?", "none", "error", "stale", "low"])
poll = st.tuples(gap, st.one_of(used, used, used, silence))
polls = st.lists(poll, min_size=1, max_size=25)


def news(what, at, *, jitter=timedelta(0)):
    """An answer in a world whose windows turn over every five hours."""
    if what == "error":
        return Failure(provider="claude", at=at, kind="timeout", message="no answer")
    boundary = START + WINDOW
    while boundary <= at:
        boundary += WINDOW
    readings = []
    if what != "none":
        readings = [
            Reading(
                window="five_hour",
                kind=Kind.SESSION,
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
        yield news(what, at)


def play(rules, answers, memory=None, *, restart=False):
    """Each answer's transitions, and the memory after it."""
    memory = memory or Memory({}, {})
    for answer in answers:
        if restart:
            memory = restarted(memory)
        judged = judge.judge(rules, memory, answer, answer.at, every=EVERY, tz=UTC)
        memory = judge.after(memory, judged)
        yield judged.transitions, memory


def told(rules, answers, **more):
    return [each for transitions, _ in play(rules, answers, **more) for each in transitions]


@modest
@given(polls)
def test_a_restart_at_any_point_changes_nothing(rows):
    rules = (*RULES, *HOLDING)
    assert told(rules, history(rows), restart=True) == told(rules, history(rows))


@modest
@given(st.lists(st.tuples(st.just(5), st.floats(70, 80)), max_size=20))
def test_values_inside_the_band_fire_nothing(rows):
    assert told(RULES[:1], history(rows)) == []


@modest
@given(st.lists(st.tuples(st.just(5), st.floats(70, 80)), max_size=20))
def test_values_inside_the_band_resolve_nothing(rows):
    assert [each.event for each in told(RULES[:1], history([(5, 81), *rows]))] == [Event.FIRING]


@modest
@given(polls)
def test_firing_and_resolved_alternate(rows):
    firing = {}
    for each in told((*RULES, *HOLDING), history(rows)):
        key = (each.rule, each.series)
        if each.event is Event.FIRING:
            assert key not in firing
            firing[key] = each.episode
        else:
            assert firing[key] == each.episode
            if each.event in (Event.RESOLVED, Event.RESET):
                del firing[key]


@modest
@given(polls, st.lists(st.tuples(st.integers(0, 25), st.integers(1, 119), silence), max_size=8))
def test_silence_inserted_anywhere_changes_no_transition(rows, insertions):
    answers = list(history(rows))
    added = [
        news(what, answers[place].at - timedelta(seconds=before))
        for place, before, what in insertions
        if place < len(answers)
    ]
    mixed = sorted([*answers, *added], key=lambda answer: answer.at)
    assert [each.key for each in told(RULES, mixed)] == [each.key for each in told(RULES, answers)]


@modest
@given(
    st.lists(used, min_size=1, max_size=25),
    st.lists(st.tuples(st.integers(0, 25), st.integers(1, 299), silence), max_size=8),
)
def test_silence_inserted_between_regular_polls_does_not_move_a_clock(values, insertions):
    answers = list(history([(5, value) for value in values]))
    added = [
        news(what, answers[place].at - timedelta(seconds=before))
        for place, before, what in insertions
        if place < len(answers)
    ]
    mixed = sorted([*answers, *added], key=lambda answer: answer.at)
    clocks = HOLDING[:1]
    assert [each.key for each in told(clocks, mixed)] == [each.key for each in told(clocks, answers)]


@modest
@given(polls, st.lists(st.integers(-400, 400), min_size=25, max_size=25))
def test_a_jittering_boundary_changes_nothing(rows, jitters):
    # Kept clear of the boundaries themselves: within minutes of one, its exact instant is what decides.
    clear = [answer for answer in history(rows) if 20 < (answer.at - START) % WINDOW / timedelta(minutes=1) < 280]
    shaken = [
        answer
        if isinstance(answer, Failure) or not answer.readings
        else msgspec.structs.replace(
            answer,
            readings=tuple(
                msgspec.structs.replace(reading, resets_at=reading.resets_at + timedelta(seconds=jitter))
                for reading in answer.readings
            ),
        )
        for answer, jitter in zip(clear, jitters, strict=False)
    ]
    assert [each.key for each in told(RULES, shaken)] == [each.key for each in told(RULES, clear)]


@modest
@given(polls)
def test_three_polls_above_the_threshold_always_fire(rows):
    answers = list(history(rows))
    at = answers[-1].at
    while (at + 4 * EVERY - START) % WINDOW < 5 * EVERY:  # not across a boundary, where the third may open a window
        at += EVERY
    answers += [news(used_percent, at + turn * EVERY) for turn, used_percent in enumerate((88, 89, 90), 1)]
    *_, (_, memory) = play(RULES, answers)
    assert memory.alerts[("plain", SERIES)].phase is Phase.FIRING


@modest
@given(polls, st.lists(st.sampled_from([0, 0, 0, -3, -60, -1500, 1500]), min_size=25, max_size=25))
def test_time_never_runs_backwards_in_what_is_stored(rows, steps):
    answers, skew = [], timedelta(0)
    for answer, minutes in zip(history(rows), steps, strict=False):
        skew += timedelta(minutes=minutes)
        answers.append(msgspec.structs.replace(answer, at=answer.at + skew))
    latest = {}
    for _, memory in play((*RULES, *HOLDING), answers):
        latest = {key: mark for key, mark in latest.items() if key in memory.alerts or key in memory.series}
        for key, alert in memory.alerts.items():
            assert alert.at >= latest.get(key, alert.at)
            assert alert.since is None or alert.since <= alert.at
            latest[key] = alert.at
        for series, state in memory.series.items():
            marks = (state.episode, state.episode_at)
            assert marks >= latest.get(series, marks)
            latest[series] = marks
            instants = [sample.at for sample in state.samples]
            assert instants == sorted(set(instants))


@modest
@given(polls)
def test_the_order_of_rules_changes_nothing(rows):
    rules = (*RULES, *HOLDING)
    assert told(rules[::-1], history(rows)) == told(rules, history(rows))


@modest
@given(polls)
def test_one_answer_makes_one_transition_or_two_when_a_reset_refires(rows):
    for transitions, _ in play((*RULES, *HOLDING), history(rows)):
        for rule in {each.rule for each in transitions}:
            events = [each.event for each in transitions if each.rule == rule]
            assert len(events) == 1 or events in ([Event.RESOLVED, Event.FIRING], [Event.RESET, Event.FIRING])


@modest
@given(polls)
def test_no_two_messages_have_one_identity(rows):
    keys = [each.key for each in told((*RULES, *HOLDING), history(rows))]
    assert len(set(keys)) == len(keys)


@modest
@given(polls)
def test_what_is_kept_is_bounded(rows):
    for _, memory in play((*RULES, *HOLDING), history(rows * 4)):
        assert all(len(state.samples) <= MOST for state in memory.series.values())
        assert len(memory.alerts) <= len(RULES) + len(HOLDING)


def test_the_state_never_outgrows_a_page_of_a_database():
    rows = [(5, step % 100 + step / 1000) for step in range(400)]
    *_, (_, memory) = play((*RULES, *HOLDING), history(rows))
    assert all(len(msgspec.json.encode(state)) < 4096 for state in memory.series.values())
    assert all(len(msgspec.json.encode(alert)) < 1024 for alert in memory.alerts.values())
