"""`watcher snooze` and `watcher unsnooze`: not to hear of a rule or a series for a while.

Written into the store, and a daemon that runs is told to look. Never decide here what a snooze holds back.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import click
from click.shell_completion import CompletionItem

from watcher import environment
from watcher.config import loader as configuration
from watcher.config.secrets import SecretUnavailableError
from watcher.core.engine.state import SeriesState
from watcher.core.formatting import format_time
from watcher.core.model import AlertPhase, Severity, Snooze
from watcher.core.routing.muting import has_snooze_expired, target_matches_series
from watcher.core.rules.diagnostics import find_close_match
from watcher.core.rules.rule import Rule
from watcher.core.rules.units import parse_duration
from watcher.errors import ConfigError, UsageError, WatcherError
from watcher.status.status_file import write_status
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import paths
from watcher.system.clock import LocalZone
from watcher.system.clock import utc_now as clock_now
from watcher.system.lock import Lock
from watcher.system.paths import Paths


def _complete_target(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Rule names and series. Nothing may be printed here, whatever is wrong with the files."""
    try:
        own = _resolve_paths()
        words = [(rule.name, "rule") for rule in _load_rules(own)]
        store = Store(own.state_dir / DATABASE_FILE_NAME, now=clock_now(), read_only=True)
        words += [(f"{state.series.provider}.{state.series.window}", "series") for state in _load_states(store)]
        store.close()
    except WatcherError:
        words = [(rule.name, "rule") for rule in _load_rules(_resolve_paths())]
    return [CompletionItem(word, help=kind) for word, kind in dict.fromkeys(words) if word.startswith(incomplete)]


def _complete_snoozed(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    try:
        store = Store(_resolve_paths().state_dir / DATABASE_FILE_NAME, now=clock_now(), read_only=True)
    except WatcherError:
        return []
    targets = [snooze.target for snooze in store.snoozes.load()]
    store.close()
    return [CompletionItem(target) for target in targets if target.startswith(incomplete)]


@click.command(short_help="Hold back a rule or a series for a while.")
@click.argument("rule_or_series", required=False, shell_complete=_complete_target)
@click.option("--for", "span", metavar="DURATION", help="How long: 45m, 2h, 7d.")
@click.option("--until-reset", is_flag=True, help="Until its window resets.")
def snooze(rule_or_series: str | None, span: str | None, *, until_reset: bool) -> None:
    """Hold back what a rule or a series has to say; without arguments, list what is snoozed.

    Nothing is lost: what still fires afterwards is told then, and so is the end of what you were told of. A higher
    level ends a snooze.

    \b
    watcher snooze session --for 2h
    watcher snooze claude.five_hour --until-reset
    watcher snooze '*.weekly' --for 7d
    """
    own, now = _resolve_paths(), clock_now()
    if rule_or_series is None:
        if span is not None or until_reset:
            raise UsageError("snooze: which rule or series? such as `watcher snooze session --for 2h`")
        _print_snoozes(own, now)
        return
    if (span is None) is not until_reset:
        raise UsageError("snooze: for how long? give one of `--for 2h` and `--until-reset`")
    store = Store(own.state_dir / DATABASE_FILE_NAME, now=now)
    try:
        wish = _make_snooze(rule_or_series, span, own, store, now)
        store.run_transaction(lambda: store.snoozes.save(wish), now=now)
        write_status(store, None, now=now)
    finally:
        store.close()
    Lock(own.state_dir).signal_holder()
    click.echo(f"snoozed {_format_snooze(wish, now)}")


@click.command(short_help="End a snooze.")
@click.argument("rule_or_series", required=False, shell_complete=_complete_snoozed)
@click.option("--all", "everything", is_flag=True, help="End every snooze.")
def unsnooze(rule_or_series: str | None, *, everything: bool) -> None:
    """End a snooze: what it held back and still fires is told at once."""
    if (rule_or_series is None) is not everything:
        raise UsageError("unsnooze: which one? a rule or series as `watcher snooze` lists it, or `--all`")
    own, now = _resolve_paths(), clock_now()
    store = Store(own.state_dir / DATABASE_FILE_NAME, now=now)
    try:
        known = [snooze.target for snooze in store.snoozes.load()]
        targets = known if rule_or_series is None else [rule_or_series]
        ended = store.run_transaction(lambda: [target for target in targets if store.snoozes.delete(target)], now=now)
        write_status(store, None, now=now)
    finally:
        store.close()
    if rule_or_series is not None and not ended:
        listed = f"; snoozed are: {', '.join(known)}" if known else "; nothing is snoozed"
        raise UsageError(f"unsnooze: `{rule_or_series}` is not snoozed{listed}")
    Lock(own.state_dir).signal_holder()
    click.echo(f"no longer snoozed: {', '.join(ended)}" if ended else "nothing is snoozed")


# --- what is wished for --------------------------------------------------------------------------------------------


def _make_snooze(target: str, duration_text: str | None, paths: Paths, store: Store, now: datetime) -> Snooze:
    rules = {rule.name: rule for rule in _load_rules(paths)}
    states = _load_states(store)
    alerts = store.alerts.load_state().alert_states
    named = target in rules or any(rule == target for rule, _ in alerts)
    meant = [state for state in states if _matches_target(target, rules.get(target), state)]
    if not named and not meant:
        raise UsageError(_format_unknown_target(target, [*rules, *(_format_series(state) for state in states)]))
    series = {state.series for state in meant}
    severities = [
        alert.severity
        for (rule, of), alert in alerts.items()
        if alert.phase is AlertPhase.FIRING and alert.severity and (rule == target if named else of in series)
    ]
    return Snooze(
        target=target,
        created_at=now,
        until=None if duration_text is None else now + _parse_span(duration_text),
        episodes=None if duration_text is not None else _find_episodes(target, meant),
        severity=max(severities, key=lambda severity: severity.rank, default=None),
    )


def _parse_span(text: str) -> timedelta:
    try:
        span = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"snooze: --for: {error}") from error
    if span <= timedelta(0):
        raise UsageError(f"snooze: --for: {text} is over at once: write one such as 45m, 2h or 7d")
    return span


def _find_episodes(target: str, states: Sequence[SeriesState]) -> dict[str, int]:
    """The present episode of each series that will reset."""
    episodes = {str(state.series): state.episode for state in states if state.boundary is not None}
    if not episodes:
        raise UsageError(f"snooze: no reset of `{target}` is known; give a time: `--for 2h`")
    return episodes


def _matches_target(target: str, rule: Rule | None, state: SeriesState) -> bool:
    series = state.series
    if rule is not None:
        return rule.subject.matches(series, state.account_name, str(state.kind), is_primary=state.primary)
    return target_matches_series(target, series, state.account_name, str(state.kind))


def _format_unknown_target(target: str, known_targets: Sequence[str]) -> str:
    close = find_close_match(target, tuple(known_targets))
    hint = f"did you mean `{close}`?" if close else "`watcher status` lists series, `watcher rules list` rules"
    return f"snooze: neither a rule nor a series is called `{target}`; {hint}"


# --- what is there ---------------------------------------------------------------------------------------------------


def _print_snoozes(paths: Paths, now: datetime) -> None:
    store = Store(paths.state_dir / DATABASE_FILE_NAME, now=now, read_only=True)
    snoozes = [snooze for snooze in store.snoozes.load() if not has_snooze_expired(snooze, now)]
    store.close()
    for each in snoozes:
        click.echo(_format_snooze(each, now))
    if not snoozes:
        click.echo("nothing is snoozed")


def _format_snooze(snooze: Snooze, now: datetime) -> str:
    when = "its reset" if snooze.until is None else format_time(snooze.until, now, LocalZone())
    higher = "" if snooze.severity is Severity.CRITICAL else ", or a higher level"
    return f"{snooze.target} until {when}{higher}"


def _format_series(state: SeriesState) -> str:
    return f"{state.series.provider}.{state.series.window}"


def _load_states(store: Store) -> list[SeriesState]:
    return [state for state in store.alerts.load_state().series_states.values() if not state.gone]


def _resolve_paths() -> Paths:
    around = environment.read_host_info()
    return paths.resolve_paths(around.env, around.home)


def _load_rules(paths: Paths) -> tuple[Rule, ...]:
    """The rules in force; none where the config has a mistake: then those that are known to have fired still count."""

    def no_secret(_text: str) -> str:
        raise SecretUnavailableError("not needed here")

    try:
        return configuration.load_config(paths, no_secret, environment.read_host_info().home).rules
    except ConfigError:
        return ()
