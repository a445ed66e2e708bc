from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watcher.core.engine.thresholds import SeriesOutlook
from watcher.core.model import Pace, make_pace
from watcher.polling.interval import (
    NextPoll,
    PollContext,
    choose_next_poll,
    compute_cooldown,
    is_cooling_down,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
CLAUDE = Pace(floor=timedelta(minutes=5), every=timedelta(minutes=10), ceiling=timedelta(minutes=30))
CODEX = Pace(floor=timedelta(minutes=2), every=timedelta(minutes=5), ceiling=timedelta(minutes=30))
SESSION = 5 * 3600


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def pause_of(choice: NextPoll) -> timedelta:
    assert choice.at is not None
    return choice.at - NOON


def make_context(*watches: SeriesOutlook, pace: Pace = CODEX, **known: object) -> PollContext:
    return PollContext(**{"pace": pace, "polled_at": NOON, "series_outlooks": watches, **known})  # type: ignore[arg-type]


def make_outlook(used: float, **known: object) -> SeriesOutlook:
    basis = {"name": "five_hour", "changed_at": NOON, "window_seconds": SESSION, "thresholds": (80.0,)}
    return SeriesOutlook(used_percent=used, **{**basis, **known})  # type: ignore[arg-type]


def choose(seen: PollContext) -> NextPoll:
    return choose_next_poll(seen, NOON)


def test_a_login_never_polled_is_polled_at_once() -> None:
    assert choose(PollContext(pace=CODEX)) == NextPoll(at=NOON, reason="not polled yet")


def test_far_from_every_threshold_the_usual_interval_holds() -> None:
    choice = choose(make_context(make_outlook(10)))
    assert pause_of(choice) == minutes(5)
    assert choice.reason == "every 5m"


def test_near_a_threshold_it_is_polled_sooner() -> None:
    choice = choose(make_context(make_outlook(76)))
    assert minutes(2) <= pause_of(choice) < minutes(5)
    assert choice.reason == "five_hour: 4 points from 80%"


def test_a_threshold_already_passed_is_not_near() -> None:
    assert pause_of(choose(make_context(make_outlook(81)))) == minutes(5)


def test_a_threshold_just_reached_is_still_ahead_because_whole_percents_stop_on_it() -> None:
    assert pause_of(choose(make_context(make_outlook(80)))) == minutes(2)


def test_a_value_that_stays_on_a_threshold_is_polled_as_any_unchanged_one() -> None:
    """What is left of the rate says that the threshold is expected at once, and has for hours."""
    calm = SeriesOutlook(
        name="weekly",
        used_percent=80.0,
        thresholds=(80.0,),
        rate=0.2,
        changed_at=NOON - timedelta(hours=3),
        window_seconds=7 * 24 * 3600,
    )
    assert pause_of(choose(make_context(calm))) >= CODEX.every


def test_the_next_threshold_above_counts_not_the_one_behind() -> None:
    assert "95%" in choose(make_context(make_outlook(93, thresholds=(95.0, 80.0)))).reason


def test_rising_fast_it_looks_halfway_to_the_soonest_crossing() -> None:
    choice = choose(
        make_context(make_outlook(70, rate=75.0))
    )  # 10 points at 75 an hour: 8 minutes, or 5:20 at half as much again
    assert pause_of(choice) == timedelta(seconds=160)
    assert choice.reason == "five_hour: 80% expected in 8m"


def test_rising_slowly_near_a_threshold_a_burst_is_expected_all_the_same() -> None:
    choice = choose(make_context(make_outlook(74, rate=40.0)))  # 6 points: 9 minutes, but a burst at 60 an hour takes 6
    assert pause_of(choice) == minutes(3)
    assert choice.reason == "five_hour: 80% expected in 9m"


def test_the_floor_holds_however_near_and_fast() -> None:
    assert pause_of(choose(make_context(make_outlook(79.9, rate=500.0)))) == minutes(2)


@pytest.mark.parametrize(("calm", "wait"), [(10, 5), (20, 10), (60, 20), (600, 30)])
def test_unchanged_for_long_it_is_polled_later_up_to_the_ceiling(calm: int, wait: int) -> None:
    choice = choose(make_context(make_outlook(10, changed_at=NOON - minutes(calm))))
    assert pause_of(choice) == minutes(wait)


def test_an_amount_without_a_percent_can_stand_still_too() -> None:
    balance = SeriesOutlook(name="balance_usd", changed_at=NOON - minutes(600))
    assert pause_of(choose(make_context(balance))) == minutes(30)
    assert pause_of(choose(make_context(balance, make_outlook(10)))) == minutes(5)


def test_still_but_one_burst_from_the_line_is_not_left_to_the_ceiling() -> None:
    still = NOON - minutes(600)
    assert pause_of(choose(make_context(make_outlook(79, changed_at=still)))) == minutes(5)
    assert pause_of(choose(make_context(make_outlook(74, changed_at=still, window_seconds=7 * 86400)))) == minutes(30)


def test_a_long_window_is_used_up_in_its_busy_hours_not_evenly() -> None:
    week = choose(
        make_context(make_outlook(79.8, window_seconds=7 * 86400))
    )  # evenly: 0.2 points in 20 minutes; busy: in 1.6
    assert pause_of(week) == minutes(2)


def test_within_two_points_a_moving_value_is_looked_at_twice_as_often() -> None:
    assert pause_of(choose(make_context(make_outlook(78, window_seconds=30 * 86400)))) == minutes(2.5)
    assert pause_of(choose(make_context(make_outlook(77, window_seconds=30 * 86400)))) == minutes(5)


def test_the_interval_never_exceeds_the_age_at_which_a_rule_fires() -> None:
    still = NOON - minutes(600)
    choice = choose(make_context(make_outlook(10, changed_at=still, fresh_for=minutes(20))))
    assert pause_of(choice) == minutes(18)
    assert choice.reason == "a rule asks for readings: every 18m"
    assert pause_of(choose(make_context(make_outlook(10, changed_at=still, fresh_for=minutes(1))))) == minutes(2)
    assert pause_of(choose(make_context(make_outlook(10, fresh_for=minutes(45))))) == minutes(5)


def test_waiting_for_a_reset_does_not_outlast_it_either() -> None:
    near = make_outlook(10, resets_at=NOON + minutes(6), fresh_for=minutes(6))
    assert pause_of(choose(make_context(near))) == minutes(5)


def test_a_pending_alert_keeps_the_usual_interval() -> None:
    still = NOON - minutes(600)
    assert pause_of(choose(make_context(make_outlook(85, changed_at=still)))) == minutes(30)
    assert pause_of(choose(make_context(make_outlook(85, changed_at=still, pending=True)))) == minutes(5)


def test_a_tool_in_use_is_not_taken_for_still() -> None:
    watch = make_outlook(10, changed_at=NOON - minutes(600))
    assert pause_of(choose(make_context(watch, active_at=NOON - timedelta(seconds=20)))) == minutes(5)
    assert pause_of(choose(make_context(watch, active_at=NOON + minutes(1)))) == minutes(5)


def test_a_tool_not_in_use_is_not_polled_but_checked_locally() -> None:
    choice = choose(make_context(make_outlook(10, changed_at=NOON - minutes(11)), active_at=NOON - minutes(11)))
    assert pause_of(choice) == minutes(30)
    assert choice.recheck_at == NOON + minutes(2)


def test_without_the_hint_nothing_is_checked_locally() -> None:
    assert choose(make_context(make_outlook(10, changed_at=NOON - minutes(600)))).recheck_at is None


def test_a_rule_about_the_time_until_the_reset_is_evaluated_as_soon_as_it_holds() -> None:
    near = make_outlook(10, resets_at=NOON + minutes(63), rule_times=(NOON - minutes(1), NOON + minutes(3)))
    choice = choose(make_context(near))
    assert minutes(3) < pause_of(choice) < minutes(3.1)
    assert choice.reason == "a rule about the time until the reset"
    assert pause_of(choose(make_context(make_outlook(10, rule_times=(NOON + minutes(8),))))) == minutes(5)


def test_a_reset_is_looked_at_half_a_minute_after_it() -> None:
    choice = choose(make_context(make_outlook(50, resets_at=NOON + minutes(4))))
    assert pause_of(choice) == minutes(4.5)
    assert choice.reason == "a window resets"


def test_a_look_just_before_a_reset_waits_for_it() -> None:
    assert pause_of(choose(make_context(make_outlook(10, resets_at=NOON + minutes(6))))) == minutes(6.5)
    assert pause_of(choose(make_context(make_outlook(10, resets_at=NOON + minutes(8))))) == minutes(5)


def test_a_crossing_that_the_reset_would_hide_is_not_left_to_it() -> None:
    assert pause_of(choose(make_context(make_outlook(79.5), make_outlook(50, resets_at=NOON + minutes(3))))) == minutes(
        2
    )


def test_the_rolling_boundary_of_an_unused_window_is_no_reset() -> None:
    assert pause_of(choose(make_context(make_outlook(0, resets_at=NOON + minutes(4))))) == minutes(5)


def test_of_several_series_the_most_pressing_decides() -> None:
    calm = make_outlook(5, name="weekly", changed_at=NOON - minutes(600))
    choice = choose(make_context(calm, make_outlook(79, rate=25.0)))
    assert pause_of(choice) == minutes(2)
    assert choice.reason == "five_hour: 80% expected in 2m"


def test_a_suspect_answer_is_followed_by_a_poll_soon_then_less_soon() -> None:
    waits = [pause_of(choose(make_context(make_outlook(10), suspect_count=doubts))) for doubts in (1, 2, 3, 40)]
    assert waits == [minutes(2), minutes(4), minutes(5), minutes(5)]


def test_a_suspect_answer_never_breaks_a_cooldown() -> None:
    until = NOON + minutes(40)
    choice = choose(make_context(make_outlook(10), suspect_count=1, cooldown_until=until))
    assert choice == NextPoll(at=until, reason="cooling down after 429")


@pytest.mark.parametrize("kind", ["not_signed_in", "expired", "forbidden"])
def test_a_refused_login_is_not_hammered(kind: str) -> None:
    choice = choose(make_context(failure_kind=kind, failure_count=7))
    assert pause_of(choice) == minutes(15)
    assert choice.recheck_at == NOON + minutes(3)
    assert choice.reason == "waiting for another login"


@pytest.mark.parametrize("kind", ["not_signed_in", "expired", "forbidden", "unsupported"])
def test_another_login_is_tried_at_once(kind: str) -> None:
    assert pause_of(choose(make_context(failure_kind=kind, failure_count=7, login_changed=True))) == timedelta(
        seconds=5
    )


def test_another_login_waits_for_its_own_cooldown() -> None:
    until = NOON + minutes(9)
    assert choose(make_context(failure_kind="expired", login_changed=True, cooldown_until=until)).at == until


def test_an_unsupported_account_is_not_polled_again() -> None:
    assert choose(make_context(failure_kind="unsupported", failure_count=1)).at is None


def test_offline_backs_off_gently_and_may_undercut_the_floor() -> None:
    waits = [
        pause_of(choose(make_context(pace=CLAUDE, failure_kind="offline", failure_count=n))) for n in (1, 2, 3, 5, 900)
    ]
    assert waits == [minutes(1), minutes(2), minutes(4), minutes(15), minutes(15)]


def test_a_machine_that_woke_asks_at_once() -> None:
    seen = make_context(
        make_outlook(10), polled_at=NOON - timedelta(hours=8), woke_at=NOON, failure_kind="offline", failure_count=9
    )
    assert choose_next_poll(seen, NOON) == NextPoll(at=NOON, reason="the machine woke")


def test_a_machine_that_woke_before_its_clock_was_set_back_is_polled_as_usual() -> None:
    """The clock ran a day ahead, which looked like a sleep: without this, no provider was polled for that day."""
    ahead = make_context(make_outlook(10), woke_at=NOON + timedelta(days=1))
    assert choose(ahead) == choose(make_context(make_outlook(10)))


def test_a_clock_set_back_a_little_still_spares_the_server() -> None:
    at = choose_next_poll(make_context(polled_at=NOON + minutes(1)), NOON).at
    assert at is not None
    assert at > NOON + minutes(1)


def test_a_cooldown_ends() -> None:
    assert is_cooling_down(NOON + timedelta(hours=6), NOON)
    assert not is_cooling_down(NOON, NOON)
    assert not is_cooling_down(None, NOON)


def test_waking_breaks_neither_floor_nor_cooldown() -> None:
    woken, end = NOON + minutes(1), NOON + minutes(50)
    assert choose_next_poll(make_context(woke_at=woken), woken).at == NOON + minutes(2)
    assert choose_next_poll(make_context(woke_at=woken, cooldown_until=end), woken).at == end
    limited = make_context(woke_at=woken, failure_kind="rate_limited", retry_at=end, strikes=1)
    assert choose_next_poll(limited, woken).at == end


@pytest.mark.parametrize("kind", ["server", "timeout", "shape"])
def test_a_failing_server_is_polled_later_and_later_up_to_the_ceiling(kind: str) -> None:
    waits = [pause_of(choose(make_context(failure_kind=kind, failure_count=n))) for n in (1, 2, 3, 4, 90)]
    assert waits == [minutes(5), minutes(10), minutes(20), minutes(30), minutes(30)]


def test_jitter_moves_a_back_off_by_a_tenth_at_most() -> None:
    waits = [
        pause_of(choose(make_context(failure_kind="server", failure_count=2, jitter=jitter))) for jitter in (-1, 0, 1)
    ]
    assert waits == [minutes(9), minutes(10), minutes(11)]


def test_a_wall_on_the_way_is_not_hammered() -> None:
    waits = [pause_of(choose(make_context(failure_kind="blocked", failure_count=n))) for n in (1, 2, 90)]
    assert waits == [minutes(15), minutes(30), timedelta(hours=6)]


def test_a_failing_server_that_names_a_time_is_believed() -> None:
    choice = choose(make_context(failure_kind="server", failure_count=1, retry_at=NOON + minutes(45)))
    assert choice == NextPoll(at=NOON + minutes(45), reason="after a failure: server; asked to wait")


def test_a_429_without_a_stored_cooldown_still_waits() -> None:
    assert pause_of(choose(make_context(failure_kind="rate_limited", failure_count=1, strikes=3))) == minutes(20)


def test_after_a_429_it_is_not_polled_sooner_than_usual_until_forgiven() -> None:
    assert pause_of(choose(make_context(make_outlook(79.9, rate=60.0), strikes=1))) == minutes(5)
    assert pause_of(choose(make_context(make_outlook(79.9, rate=60.0), strikes=0))) == minutes(2)


def test_another_use_of_the_token_counts_against_the_floor() -> None:
    choice = choose_next_poll(
        make_context(make_outlook(79.9, rate=60.0), recent_requests=(NOON + minutes(1),)), NOON + minutes(1)
    )
    assert choice.at == NOON + minutes(3)


def test_a_token_has_an_hourly_budget_for_all_who_use_it() -> None:
    spent = tuple(NOON - minutes(2 * n) for n in range(24))  # the oldest 46 minutes ago
    choice = choose(make_context(make_outlook(79.9, rate=60.0), recent_requests=spent))
    assert choice.at == NOON + minutes(14)
    assert choice.reason == "this token's hourly budget is used up"


@pytest.mark.parametrize(
    ("strikes", "wait"), [(0, 5), (1, 5), (2, 10), (3, 20), (6, 160), (7, 320), (8, 360), (900, 360)]
)
def test_a_cooldown_doubles_from_five_minutes_to_six_hours(strikes: int, wait: int) -> None:
    assert compute_cooldown(strikes, None, NOON) == NOON + minutes(wait)


def test_a_servers_own_word_lengthens_a_cooldown_and_never_shortens_it() -> None:
    assert compute_cooldown(1, timedelta(seconds=1), NOON) == NOON + minutes(5)
    assert compute_cooldown(1, minutes(17), NOON) == NOON + minutes(17)
    assert compute_cooldown(1, timedelta(hours=9), NOON) == NOON + timedelta(hours=9)


def test_an_absurd_retry_after_does_not_stop_a_provider_for_good() -> None:
    assert compute_cooldown(1, timedelta(days=9000), NOON) == NOON + timedelta(hours=24)


def test_a_persons_interval_never_undercuts_the_floor_and_may_exceed_the_ceiling() -> None:
    bounds = (minutes(5), minutes(10), minutes(30))
    assert make_pace(*bounds).every == minutes(10)
    assert make_pace(*bounds, minutes(1)).every == minutes(5)
    assert make_pace(*bounds, minutes(60)) == Pace(floor=minutes(5), every=minutes(60), ceiling=minutes(60))


watches = st.builds(
    SeriesOutlook,
    name=st.just("five_hour"),
    used_percent=st.none() | st.floats(0, 150),
    thresholds=st.lists(st.floats(0, 150), max_size=3).map(tuple),
    rate=st.none() | st.floats(-100, 10_000),
    changed_at=st.none() | st.integers(0, 600).map(lambda ago: NOON - minutes(ago)),
    resets_at=st.none() | st.integers(-60, 6000).map(lambda ahead: NOON + minutes(ahead)),
    window_seconds=st.none() | st.sampled_from([SESSION, 604_800]),
    pending=st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(
    seen=st.lists(watches, max_size=3),
    doubts=st.integers(0, 3),
    active=st.none() | st.integers(-600, 30),
    which=st.sampled_from([CLAUDE, CODEX]),
    late=st.integers(0, 90),
)
def test_a_good_answer_is_followed_within_floor_and_ceiling(
    seen: list[SeriesOutlook], doubts: int, active: int | None, which: Pace, late: int
) -> None:
    active_at = None if active is None else NOON + minutes(active)
    known = make_context(*seen, pace=which, suspect_count=doubts, active_at=active_at)
    now = NOON + minutes(late)
    choice = choose_next_poll(known, now)
    assert choice.at is not None
    assert choice.reason
    # A reset may delay a look by a floor and half a minute, never more.
    assert max(choice.at, now) >= NOON + which.floor
    assert choice.at - NOON <= which.ceiling + which.floor + timedelta(seconds=30)


@pytest.mark.parametrize(
    ("ago", "fresh_for", "wait", "why"),
    [
        (0, None, 10, "every 10m"),
        (15, None, 10, "every 10m"),
        (25, None, 5, "only some windows are known since the last answer"),
        (90, None, -60, "only some windows are known since the last answer"),
        (10, 20, 8, "only some windows are known since the last answer"),
    ],
)
def test_a_local_source_postpones_the_next_request_only_so_long(
    ago: float, fresh_for: float | None, wait: float, why: str
) -> None:
    patience = None if fresh_for is None else minutes(fresh_for)
    seen = make_context(make_outlook(10, fresh_for=patience), pace=CLAUDE, requested_at=NOON - minutes(ago))
    choice = choose(seen)
    assert (pause_of(choice), choice.reason) == (minutes(wait), why)


def test_a_local_source_uses_no_budget() -> None:
    seen = make_context(make_outlook(10), pace=CLAUDE, requested_at=NOON - minutes(27))
    assert pause_of(choose(seen)) == minutes(3), "the floor counts from the last request"
    woken = NOON + minutes(1)
    seen = make_context(make_outlook(10), pace=CLAUDE, requested_at=NOON - minutes(3), woke_at=woken)
    assert pause_of(choose_next_poll(seen, woken)) == minutes(2)
