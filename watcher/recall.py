"""The store's own history as the news it once was, for `replay` and `rules explain`.

Readings are kept, failures are not, but for the present one of each account. Never judge here.
"""

from datetime import datetime

from watcher.core.history import News
from watcher.core.model import Failure, Reading, Snapshot
from watcher.store import Store


def recall(store: Store, since: datetime) -> list[News]:
    """Every answer since then in time order, and of each account that fails now its present failure."""
    accounts = store.accounts()
    names = {(account.provider, account.account): account.name for account in accounts}
    answers: dict[tuple[datetime, str, str], list[Reading]] = {}
    for series in store.all_series():
        for at, reading in store.history(series, since=since):
            answers.setdefault((at, series.provider, series.account), []).append(reading)
    news: list[News] = [
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
    for account in accounts:
        if account.failure is not None:
            news += _failures(account.failure, account.failing_since)
    return sorted((each for each in news if each.at >= since), key=lambda each: each.at)


def _failures(latest: Failure, since: datetime | None) -> list[News]:
    """The failure when it began, and as it is now."""
    first = Failure(
        provider=latest.provider,
        account=latest.account,
        account_name=latest.account_name,
        at=latest.at if since is None else since,
        kind=latest.kind,
        message=latest.message,
    )
    return [first, latest] if first.at < latest.at else [latest]
