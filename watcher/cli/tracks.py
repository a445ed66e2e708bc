"""What the store knows of a span of time, as tracks for `watcher history` and `watcher report`."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import click

from watcher.cli.charts import Track
from watcher.cli.context import load_effective_config
from watcher.core.engine import thresholds, timeline
from watcher.core.engine.windows import infer_length
from watcher.core.formatting import clean_text
from watcher.core.model import Series
from watcher.core.rules.rule import Rule
from watcher.errors import ConfigError
from watcher.providers.registry import PROVIDERS
from watcher.storage.store import Store

MIN_LEAD = timedelta(days=1)
"""How much is read before the span: whether its first readings are believed depends on those before them."""
_MAX_NAME_LENGTH = 60


def build_tracks(store: Store, series: Iterable[Series], since: datetime) -> list[Track]:
    """The tracks of these series since then, in the order of the providers; series without a reading are left out."""
    rules = _load_rules()
    transitions = store.alerts.load_transitions(since=since)
    states = store.alerts.load_state().series_states
    failures = store.readings.load_failures(since=since)
    tracks = []
    for each in sorted(series, key=lambda each: (get_provider_position(each.provider), each.account, each.window)):
        lead = max(infer_length(each) or MIN_LEAD, MIN_LEAD)
        history = timeline.build_usage_history(each, list(store.readings.iter_history(each, since=since - lead)))
        history = timeline.trim_before(history, since)
        if not history.points:
            continue
        tracks.append(
            Track(
                name=format_series_name(store, each, history.label),
                usage_history=history,
                threshold_lines=thresholds.find_threshold_lines(states[each], rules) if each in states else (),
                transitions=tuple(transition for transition in transitions if transition.series == each),
                failures=tuple(
                    poll for poll in failures if (poll.provider, poll.account) == (each.provider, each.account)
                ),
            )
        )
    return tracks


def _load_rules() -> Sequence[Rule]:
    """The rules in force; none, with a warning, if the config has a mistake."""
    try:
        return load_effective_config().rules
    except ConfigError:
        click.echo("the rules have a mistake, so their thresholds are left out: `watcher rules check`", err=True)
        return ()


def format_series_name(store: Store, series: Series, label: str) -> str:
    """`Claude, 5-hour window`; with the account where the provider has several."""
    provider = PROVIDERS.get(series.provider)
    name = provider.name if provider else series.provider
    if series.provider in store.accounts.load_multi_account_providers():
        name += f" ({clean_text(find_account_name(store, series), _MAX_NAME_LENGTH)})"
    return f"{name}, {clean_text(label or series.window, _MAX_NAME_LENGTH)}"


def get_provider_position(provider: str) -> int:
    """Where a provider stands in the order of all; the last place if it is unknown."""
    return list(PROVIDERS).index(provider) if provider in PROVIDERS else len(PROVIDERS)


def find_account_name(store: Store, series: Series) -> str:
    """The name of the account of a series, for people."""
    names = {(account.provider, account.account): account.name for account in store.accounts.load()}
    return names.get((series.provider, series.account)) or series.account
