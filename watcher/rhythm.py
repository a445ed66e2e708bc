"""How far apart the polls of an account really are, which says how much a silence or a leap means.

Never decide here when to ask next: `watcher.core.cadence` does that.
"""

from datetime import timedelta

from watcher.core.model import Failure, Snapshot
from watcher.core.sight import Pace
from watcher.store import Store

SLOWING = 4  # a gap many times longer than the one before is no schedule but a sleep: three polls of this are the limit


def of(store: Store, news: Snapshot | Failure, pace: Pace, *, by_hand: bool) -> timedelta:
    """The pause that is usual for this news' account at present.

    Args:
        store: from before the news.
        news: an answer, or a poll that gave none.
        pace: what the provider is asked at as a rule; a calm account is asked less often, by plan.
        by_hand: polled by `check`, and not by the daemon: then cron's pace is the one that counts, however slow it is.
    """
    planned = store.next_polls().get(news.provider)
    known = (each for each in store.accounts() if (each.provider, each.account) == (news.provider, news.account))
    account = next(known, None)
    if account is not None and by_hand:
        return max(pace.every, min(news.at - account.asked_at, SLOWING * _before(store, news, pace.every)))
    if planned is None or account is None:
        return pace.every
    return max(pace.every, min(planned[0] - account.asked_at, pace.ceiling))  # beyond: a cooldown, not calm


def _before(store: Store, news: Snapshot | Failure, usual: timedelta) -> timedelta:
    """How far apart polls of this account were when it last was heard of."""
    states = store.memory().series.values()
    of_account = (state.every for state in states if state.owner == (news.provider, news.account))
    return max(of_account, default=usual)
