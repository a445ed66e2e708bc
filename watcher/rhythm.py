"""How far apart the polls of an account really are, which says how much a silence or a leap means.

Never decide here when to ask next: `watcher.core.cadence` does that.
"""

from datetime import timedelta

from watcher.core.model import PollFailure, Snapshot
from watcher.core.sight import Pace
from watcher.store import Store

MAX_GAP_FACTOR = (
    4  # a gap many times longer than the one before is no schedule but a sleep: three polls of this are the limit
)


def estimate_interval(store: Store, result: Snapshot | PollFailure, pace: Pace, *, one_shot: bool) -> timedelta:
    """The pause that is usual for this news' account at present.

    Args:
        store: from before the news.
        result: an answer, or a poll that gave none.
        pace: what the provider is asked at as a rule; a calm account is asked less often, by plan.
        one_shot: polled by `check`, and not by the daemon: then cron's pace is the one that counts, however slow it is.
    """
    planned = store.load_next_polls().get(result.provider)
    known = (
        each for each in store.load_accounts() if (each.provider, each.account) == (result.provider, result.account)
    )
    account = next(known, None)
    if account is not None and one_shot:
        return max(
            pace.every,
            min(result.at - account.polled_at, MAX_GAP_FACTOR * _find_previous_interval(store, result, pace.every)),
        )
    if planned is None or account is None:
        return pace.every
    return max(pace.every, min(planned[0] - account.polled_at, pace.ceiling))  # beyond: a cooldown, not calm


def _find_previous_interval(store: Store, result: Snapshot | PollFailure, default: timedelta) -> timedelta:
    """How far apart polls of this account were when it last was heard of."""
    states = store.load_engine_state().series_states.values()
    of_account = (state.every for state in states if state.account_key == (result.provider, result.account))
    return max(of_account, default=default)
