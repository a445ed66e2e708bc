"""Is it the provider that is silent, or this machine? When nothing can be reached, that is one notice, not six.

An alert about silence that fires while its provider cannot be reached is muted where another alert of the same rule
has spoken for the same reason, and nothing on the network has answered since. Never decide about use here.
"""

from collections.abc import Iterable

from watcher.core.memory import SeriesState
from watcher.core.model import PollFailure, Series, Snapshot
from watcher.core.view import NETWORK_SOURCE

OFFLINE_KIND = "offline"
"""The contract's word for a failure to reach anything."""

INCONCLUSIVE_KINDS = frozenset({"expired", "not_signed_in", "unsupported"})
"""Failures that are found without the network, or stay as they are: they say nothing of it."""


def is_machine_offline(kinds: Iterable[str | None]) -> bool:
    """Whether this machine itself seems cut off: of all that was asked over the network nothing could be reached.

    `kinds`: of each such account's present failure; None: it answered.
    """
    return set(kinds) - INCONCLUSIVE_KINDS == {OFFLINE_KIND}


def is_already_reported(states: Iterable[SeriesState], state: SeriesState, reported: Iterable[Series]) -> bool:
    """Whether one of the series that were spoken of is silent for the same reason as this one."""
    spoken = set(reported) - {state.series}
    if not spoken:
        return False
    everything = list(states)
    for other in everything:
        same = other.series in spoken and other.error_kind == OFFLINE_KIND and other.failing_since is not None
        if same and not _has_answered_since(everything, other):
            return True
    return False


def must_report(states: Iterable[SeriesState], state: SeriesState, result: Snapshot | PollFailure | None) -> bool:
    """Whether an alert that was muted is news after all: this provider failed again, and the machine is online."""
    if not isinstance(result, PollFailure) or result.provider != state.series.provider:
        return False
    return state.error_kind != OFFLINE_KIND or _has_answered_since(states, state)


def _has_answered_since(states: Iterable[SeriesState], state: SeriesState) -> bool:
    """Whether the network has answered since this series fell silent; files on this machine prove nothing."""
    return any(
        other.error_kind is None
        and other.reading is not None
        and other.reading.source == NETWORK_SOURCE
        and state.failing_since is not None
        and other.heard_at > state.failing_since
        for other in states
    )
