"""The store's memory of a span of time, made ready to be shown: a track for each series. Never draw or judge here."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from watcher.charts import Track, build_alert_markers
from watcher.core.engine import thresholds, timeline
from watcher.core.engine.windows import infer_length
from watcher.core.model import PollFailure, Series
from watcher.core.rules.diagnostics import sanitize_for_terminal
from watcher.core.rules.rule import Rule
from watcher.providers.registry import PROVIDERS
from watcher.storage.store import Store

MIN_LEAD = timedelta(days=1)
"""Read before the span as well: what is believed of its first readings depends on those before them."""


def build_tracks(store: Store, rules: Sequence[Rule], series: Iterable[Series], since: datetime) -> list[Track]:
    """The tracks of these series since then, in the order of the providers; one without a reading is left out."""
    transitions = store.alerts.load_transitions(since=since)
    states = store.alerts.load_state().series_states
    failures = list(store.readings.iter_failures(since=since))
    found = []
    for each in sorted(series, key=_sort_key):
        lead = max(infer_length(each) or MIN_LEAD, MIN_LEAD)
        whole = timeline.build_usage_history(each, list(store.readings.iter_history(each, since=since - lead)))
        part = timeline.trim_before(whole, since)
        if part.points:
            state = states.get(each)
            lines = () if state is None else thresholds.find_threshold_lines(state, rules)
            name = format_series_name(store, each, part.label)
            said, silent = (
                build_alert_markers(each, transitions),
                tuple(poll for poll in failures if _is_failure_of(poll, each)),
            )
            found.append(
                Track(name=name, usage_history=part, threshold_lines=lines, alert_markers=said, failures=silent)
            )
    return found


def _is_failure_of(failure: PollFailure, series: Series) -> bool:
    return (failure.provider, failure.account) == (series.provider, series.account)


def format_series_name(store: Store, series: Series, label: str) -> str:
    """`Claude, 5-hour window`; the account is named only where the provider has several."""
    provider = PROVIDERS.get(series.provider)
    name = provider.name if provider else series.provider
    if series.provider in store.accounts.load_multi_account_providers():
        name += f" ({sanitize_for_terminal(find_account_name(store, series), 60)})"
    return f"{name}, {sanitize_for_terminal(label or series.window, 60)}"


def find_account_name(store: Store, series: Series) -> str:
    """The account as a person knows it."""
    known = {(account.provider, account.account): account.name for account in store.accounts.load()}
    return known.get((series.provider, series.account)) or series.account


def _sort_key(series: Series) -> tuple[int, str, str]:
    names = list(PROVIDERS)
    place = names.index(series.provider) if series.provider in names else len(names)
    return place, series.account, series.window
