"""Applies the result of one account's poll to the states of its series.

`reset_detection` decides on each reading. Here: which series are missing from an answer, which ones a failure concerns,
and which window is the account's primary one.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta

from msgspec.structs import replace

from watcher.core.engine import reset_detection, staleness
from watcher.core.engine.state import SeriesState, Validity, create_series_state
from watcher.core.engine.windows import get_used_percent
from watcher.core.model import PollFailure, PollResult, Series, Snapshot
from watcher.core.rules.vocabulary import PROVIDER_WINDOWS

UNALERTED_FAILURES = frozenset({"not_signed_in", "unsupported"})
"""Failures that raise no alert where there was never a reading."""


def apply_poll(states: Mapping[Series, SeriesState], result: PollResult, every: timedelta) -> tuple[SeriesState, ...]:
    """The new states of every series that the result concerns."""
    if isinstance(result, PollFailure):
        return tuple(mark_failed(state, result, every) for state in _find_failing(states, result))
    account = (result.provider, result.account)
    updated = {series: state for series, state in states.items() if state.account_key == account}
    answered = set()
    for reading in result.readings:
        series = Series(provider=result.provider, window=reading.window, account=result.account)
        state = mark_answered(updated.get(series) or create_series_state(series, result.at), result, every)
        state = reset_detection.apply_reading(state, reading, result.at, every)
        updated[series] = replace(state, last_seen_at=result.at, gone=False)
        answered.add(series)
    if result.complete:
        for series, state in updated.items():
            if series not in answered:
                updated[series] = _mark_missing(state, result, every)
    present = [state for state in updated.values() if not state.gone]
    primary = _choose_primary(result.provider, present)
    marked = [
        state if state.primary == (state is primary) else replace(state, primary=state is primary)
        for state in updated.values()
    ]
    concerned = (
        state for state in marked if result.complete or state.series in answered or state is not states[state.series]
    )
    return (*concerned, *_retire_stand_ins(states.values(), result, every))


def mark_provider_polled(states: Mapping[Series, SeriesState], result: PollResult) -> list[SeriesState]:
    """The states of a provider's series after a failure that names no account: they were polled, no more is known."""
    if isinstance(result, Snapshot) or result.account:
        return []
    return [
        replace(state, polled_at=result.at)
        for state in states.values()
        if state.series.provider == result.provider and not state.gone
    ]


def mark_answered(state: SeriesState, snapshot: Snapshot, every: timedelta) -> SeriesState:
    """The state with what an answer says beside the reading."""
    return replace(
        state,
        account_name=snapshot.account_name,
        plan=snapshot.plan,
        polled_at=snapshot.at,
        every=every,
        retry_at=None,
        error=None,
        error_kind=None,
        failing_since=None,
        switched_away=False,
    )


def mark_failed(state: SeriesState, failure: PollFailure, every: timedelta) -> SeriesState:
    """The state after a failed poll."""
    return replace(
        state,
        validity=Validity.FAILED,
        error=failure.message,
        error_kind=failure.kind,
        failing_since=state.failing_since or failure.at,
        polled_at=failure.at,
        every=every,
        retry_at=failure.retry_at,
        switched_away=failure.switched_away,
        account_name=failure.account_name or state.account_name,
    )


def _mark_missing(state: SeriesState, snapshot: Snapshot, every: timedelta) -> SeriesState:
    return replace(mark_answered(state, snapshot, every), validity=Validity.MISSING)


def _find_failing(states: Mapping[Series, SeriesState], failure: PollFailure) -> list[SeriesState]:
    """The states of the series that a failure concerns.

    A failure without an account may be about one unusable login among several good ones: it concerns the accounts that
    are overdue. Where there is no series yet, one is created for the whole provider: rules can see the failure.
    """
    of_provider = [state for state in states.values() if state.series.provider == failure.provider and not state.gone]
    concerned = [state for state in of_provider if state.series.account == failure.account]
    if not concerned and not failure.account:
        concerned = [state for state in of_provider if staleness.is_overdue(state, failure.at)]
    if not concerned and (failure.account or not of_provider) and failure.kind not in UNALERTED_FAILURES:
        windows = PROVIDER_WINDOWS.get(failure.provider)
        window = windows.primary[0] if windows is not None and windows.primary else ""
        stand_in = Series(provider=failure.provider, window=window, account=failure.account)
        if stand_in not in states:
            return [replace(create_series_state(stand_in, failure.at), primary=True)]
    return concerned


def _retire_stand_ins(states: Iterable[SeriesState], snapshot: Snapshot, every: timedelta) -> list[SeriesState]:
    """The states of series that stood in for the provider until this, its first answer: gone now."""
    answered = {reading.window for reading in snapshot.readings}
    return [
        replace(_mark_missing(state, snapshot, every), last_seen_at=snapshot.at, gone=True)
        for state in states
        if state.series.provider == snapshot.provider
        and state.read_at is None
        and not state.gone
        and state.error_kind is not None
        and state.series.account in ("", snapshot.account)
        and not (state.series.account == snapshot.account and state.series.window in answered)
    ]


def _choose_primary(provider: str, states: list[SeriesState]) -> SeriesState | None:
    """The provider's own primary window; where it has none, the fullest, and of equals the one that was primary."""
    windows = PROVIDER_WINDOWS.get(provider)
    if windows is None or not windows.primary:
        return max(states, key=_get_fullness, default=None)
    by_window = {state.series.window: state for state in states}
    return next((by_window[window] for window in windows.primary if window in by_window), None)


def _get_fullness(state: SeriesState) -> tuple[float, bool, str]:
    used = None if state.reading is None else get_used_percent(state.reading)
    return (-1.0 if used is None else used, state.primary, state.series.window)
