"""The store's memory of a span of time, made ready to be shown: a track for each series. Never draw or judge here."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from watcher.charts import Track, moments
from watcher.core import course, lookout
from watcher.core.diagnostics import visible
from watcher.core.kinds import usual_length
from watcher.core.model import Failure, Rule, Series
from watcher.providers.registry import PROVIDERS
from watcher.store import Store

LEAD_LEAST = timedelta(days=1)
"""Read before the span as well: what is believed of its first readings depends on those before them."""


def tracks(store: Store, rules: Sequence[Rule], series: Iterable[Series], since: datetime) -> list[Track]:
    """The tracks of these series since then, in the order of the providers; one without a reading is left out."""
    transitions = store.transitions(since=since)
    states = store.memory().series
    failures = list(store.failures(since=since))
    found = []
    for each in sorted(series, key=_order):
        lead = max(usual_length(each) or LEAD_LEAST, LEAD_LEAST)
        whole = course.follow(each, list(store.history(each, since=since - lead)))
        part = course.since(whole, since)
        if part.points:
            state = states.get(each)
            lines = () if state is None else lookout.lines(state, rules)
            name = name_of(store, each, part.label)
            said, silent = moments(each, transitions), tuple(poll for poll in failures if _is_of(poll, each))
            found.append(Track(name=name, course=part, lines=lines, moments=said, failures=silent))
    return found


def _is_of(failure: Failure, series: Series) -> bool:
    return (failure.provider, failure.account) == (series.provider, series.account)


def name_of(store: Store, series: Series, label: str) -> str:
    """`Claude, 5-hour window`; the account is named only where the provider has several."""
    provider = PROVIDERS.get(series.provider)
    name = provider.name if provider else series.provider
    if series.provider in store.crowded():
        name += f" ({visible(account_name(store, series), 60)})"
    return f"{name}, {visible(label or series.window, 60)}"


def account_name(store: Store, series: Series) -> str:
    """The account as a person knows it."""
    known = {(account.provider, account.account): account.name for account in store.accounts()}
    return known.get((series.provider, series.account)) or series.account


def _order(series: Series) -> tuple[int, str, str]:
    names = list(PROVIDERS)
    place = names.index(series.provider) if series.provider in names else len(names)
    return place, series.account, series.window
