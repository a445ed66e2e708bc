"""One account's news, told to each of its series: what is missing, what failed, which window is the primary one.

Never judge a reading here: `watcher.core.cycle` does that.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta

from msgspec.structs import replace

from watcher.core import attention, cycle
from watcher.core.kinds import level
from watcher.core.memory import SeriesState
from watcher.core.model import Failure, Reading, Series, Snapshot
from watcher.core.vocabulary import PROVIDERS

NEVER_WATCHED = frozenset({"not_signed_in", "unsupported"})
"""Failures that do not make silence news where there was never a reading."""


def told(series: Mapping[Series, SeriesState], news: Snapshot | Failure, every: timedelta) -> tuple[SeriesState, ...]:
    """The states, after this news, of every series that it concerns."""
    if isinstance(news, Failure):
        return _failed(series, news, every)
    known = [state for state in series.values() if _is_of(state, news)]
    fresh = {state.series: state for state in known}
    answered = set()
    for reading in news.readings:
        name = Series(provider=news.provider, window=reading.window, account=news.account)
        fresh[name] = _heard(fresh.get(name) or cycle.first(name, news), reading, news, every)
        answered.add(name)
    for name, state in fresh.items():
        if name not in answered and news.whole:
            fresh[name] = cycle.missing(state, news, every)
    named = _with_primary(news.provider, fresh.values())
    heard = (state for state in named if news.whole or state.series in answered or state is not series[state.series])
    return (*heard, *_stood_in(series.values(), news, every))


def looked_for(series: Mapping[Series, SeriesState], news: Snapshot | Failure) -> list[SeriesState]:
    """Series that this news is not about, although their provider was asked: states that only remember that."""
    if isinstance(news, Snapshot) or news.account:
        return []
    return [
        replace(state, asked_at=news.at)
        for state in series.values()
        if state.series.provider == news.provider and not state.gone
    ]


def _is_of(state: SeriesState, news: Snapshot | Failure) -> bool:
    return state.owner == (news.provider, news.account)


def _heard(state: SeriesState, reading: Reading, news: Snapshot, every: timedelta) -> SeriesState:
    seen = cycle.observe(cycle.answered(state, news, every), reading, news.at, every)
    return replace(seen, heard_at=news.at, gone=False)


def _failed(series: Mapping[Series, SeriesState], news: Failure, every: timedelta) -> tuple[SeriesState, ...]:
    """A failure that names no account concerns those accounts of its provider that have not answered for long.

    It may be about one unusable place among several that are good.
    """
    of_provider = [state for state in series.values() if state.series.provider == news.provider and not state.gone]
    concerned = [state for state in of_provider if _is_of(state, news)]
    if not concerned and not news.account:
        concerned = [state for state in of_provider if attention.is_overdue(state, news.at)]
    if not concerned and (news.account or not of_provider) and news.kind not in NEVER_WATCHED:
        windows = PROVIDERS.get(news.provider)
        window = windows.primary[0] if windows is not None and windows.primary else ""
        stand_in = Series(provider=news.provider, window=window, account=news.account)
        if stand_in not in series:
            concerned = [replace(cycle.first(stand_in, news), primary=True)]
    return tuple(cycle.failed(state, news, every) for state in concerned)


def _stood_in(states: Iterable[SeriesState], news: Snapshot, every: timedelta) -> list[SeriesState]:
    """What stood in for the provider before it ever answered: heard now, under its real name, and gone."""
    names = {Series(provider=news.provider, window=reading.window, account=news.account) for reading in news.readings}
    return [
        replace(cycle.missing(state, news, every), heard_at=news.at, gone=True)
        for state in states
        if state.series.provider == news.provider
        and state.read_at is None
        and not state.gone
        and state.error_kind is not None
        and (not state.series.account or state.series.account == news.account)
        and state.series not in names
    ]


def _with_primary(provider: str, states: Iterable[SeriesState]) -> list[SeriesState]:
    """The account's states, one of them marked as the primary window."""
    present = [state for state in states if not state.gone]
    chosen = _primary(provider, present)
    return [
        state if state.primary == (state is chosen) else replace(state, primary=state is chosen) for state in states
    ]


def _primary(provider: str, states: list[SeriesState]) -> SeriesState | None:
    windows = PROVIDERS.get(provider)
    for window in windows.primary if windows is not None else ():
        found = next((state for state in states if state.series.window == window), None)
        if found is not None:
            return found
    if windows is not None and windows.primary:
        return None
    return max(states, key=_fullness, default=None)


def _fullness(state: SeriesState) -> tuple[float, bool, str]:
    """The fullest first; of equals the one that was primary before, so that the choice stays put."""
    used = None if state.reading is None else level(state.reading)
    return (-1.0 if used is None else used, state.primary, state.series.window)
