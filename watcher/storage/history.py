"""The store's own history as the news it once was, for `replay` and `rules explain`.

Of the last 14 days every answer and every failed poll; of the time before, an answer an hour. Never judge here.
"""

from datetime import datetime

import msgspec

from watcher.core.engine.replay import PollResult
from watcher.core.model import Reading, Snapshot
from watcher.storage.store import Store


def load_poll_results(store: Store, since: datetime) -> list[PollResult]:
    """Every answer and every failed poll since then, in time order."""
    names = {(account.provider, account.account): account.name for account in store.load_accounts()}
    answers: dict[tuple[datetime, str, str], list[Reading]] = {}
    for series in store.load_series():
        for at, reading in store.iter_history(series, since=since):
            answers.setdefault((at, series.provider, series.account), []).append(reading)
    news: list[PollResult] = [
        Snapshot(
            provider=provider,
            account=account,
            account_name=names.get((provider, account), account),
            at=at,
            readings=tuple(readings),
            whole=False,
        )
        for (at, provider, account), readings in answers.items()
    ]
    for failure in store.iter_failures(since=since):
        name = names.get((failure.provider, failure.account), failure.account)
        news.append(msgspec.structs.replace(failure, account_name=name))
    return sorted(news, key=lambda each: each.at)
