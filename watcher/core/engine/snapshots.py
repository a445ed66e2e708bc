"""One account's news, told to each of its series: what is missing, what failed, which window is the primary one.

Never judge a reading here: `watcher.core.engine.reset_detection` does that.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta

from msgspec.structs import replace

from watcher.core.engine import reset_detection, staleness
from watcher.core.engine.state import SeriesState
from watcher.core.engine.windows import get_used_percent
from watcher.core.model import PollFailure, Reading, Series, Snapshot
from watcher.core.rules.fields import PROVIDER_WINDOWS

UNALERTED_FAILURES = frozenset({"not_signed_in", "unsupported"})
"""Failures that do not make silence news where there was never a reading."""


def apply_poll(
    states: Mapping[Series, SeriesState], result: Snapshot | PollFailure, every: timedelta
) -> tuple[SeriesState, ...]:
    """The states, after this news, of every series that it concerns."""
    if isinstance(result, PollFailure):
        return _apply_failure(states, result, every)
    known = [state for state in states.values() if _belongs_to_account(state, result)]
    fresh = {state.series: state for state in known}
    answered = set()
    for reading in result.readings:
        name = Series(provider=result.provider, window=reading.window, account=result.account)
        fresh[name] = _apply_reading(
            fresh.get(name) or reset_detection.create_series_state(name, result), reading, result, every
        )
        answered.add(name)
    for name, state in fresh.items():
        if name not in answered and result.whole:
            fresh[name] = reset_detection.mark_missing(state, result, every)
    named = _mark_primary(result.provider, fresh.values())
    heard = (state for state in named if result.whole or state.series in answered or state is not states[state.series])
    return (*heard, *_retire_placeholders(states.values(), result, every))


def mark_provider_polled(states: Mapping[Series, SeriesState], result: Snapshot | PollFailure) -> list[SeriesState]:
    """Series that this news is not about, although their provider was asked: states that only remember that."""
    if isinstance(result, Snapshot) or result.account:
        return []
    return [
        replace(state, asked_at=result.at)
        for state in states.values()
        if state.series.provider == result.provider and not state.gone
    ]


def _belongs_to_account(state: SeriesState, result: Snapshot | PollFailure) -> bool:
    return state.account_key == (result.provider, result.account)


def _apply_reading(state: SeriesState, reading: Reading, snapshot: Snapshot, every: timedelta) -> SeriesState:
    seen = reset_detection.apply_reading(
        reset_detection.apply_snapshot(state, snapshot, every), reading, snapshot.at, every
    )
    return replace(seen, heard_at=snapshot.at, gone=False)


def _apply_failure(
    states: Mapping[Series, SeriesState], failure: PollFailure, every: timedelta
) -> tuple[SeriesState, ...]:
    """A failure that names no account concerns those accounts of its provider that have not answered for long.

    It may be about one unusable place among several that are good.
    """
    of_provider = [state for state in states.values() if state.series.provider == failure.provider and not state.gone]
    concerned = [state for state in of_provider if _belongs_to_account(state, failure)]
    if not concerned and not failure.account:
        concerned = [state for state in of_provider if staleness.is_overdue(state, failure.at)]
    if not concerned and (failure.account or not of_provider) and failure.kind not in UNALERTED_FAILURES:
        windows = PROVIDER_WINDOWS.get(failure.provider)
        window = windows.primary[0] if windows is not None and windows.primary else ""
        stand_in = Series(provider=failure.provider, window=window, account=failure.account)
        if stand_in not in states:
            concerned = [replace(reset_detection.create_series_state(stand_in, failure), primary=True)]
    return tuple(reset_detection.apply_failure(state, failure, every) for state in concerned)


def _retire_placeholders(states: Iterable[SeriesState], snapshot: Snapshot, every: timedelta) -> list[SeriesState]:
    """What stood in for the provider before it ever answered: heard now, under its real name, and gone."""
    names = {
        Series(provider=snapshot.provider, window=reading.window, account=snapshot.account)
        for reading in snapshot.readings
    }
    return [
        replace(reset_detection.mark_missing(state, snapshot, every), heard_at=snapshot.at, gone=True)
        for state in states
        if state.series.provider == snapshot.provider
        and state.read_at is None
        and not state.gone
        and state.error_kind is not None
        and (not state.series.account or state.series.account == snapshot.account)
        and state.series not in names
    ]


def _mark_primary(provider: str, states: Iterable[SeriesState]) -> list[SeriesState]:
    """The account's states, one of them marked as the primary window."""
    present = [state for state in states if not state.gone]
    chosen = _choose_primary(provider, present)
    return [
        state if state.primary == (state is chosen) else replace(state, primary=state is chosen) for state in states
    ]


def _choose_primary(provider: str, states: list[SeriesState]) -> SeriesState | None:
    windows = PROVIDER_WINDOWS.get(provider)
    for window in windows.primary if windows is not None else ():
        found = next((state for state in states if state.series.window == window), None)
        if found is not None:
            return found
    if windows is not None and windows.primary:
        return None
    return max(states, key=_fullness_key, default=None)


def _fullness_key(state: SeriesState) -> tuple[float, bool, str]:
    """The fullest first; of equals the one that was primary before, so that the choice stays put."""
    used = None if state.reading is None else get_used_percent(state.reading)
    return (-1.0 if used is None else used, state.primary, state.series.window)
