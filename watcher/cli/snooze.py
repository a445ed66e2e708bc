"""`watcher snooze` and `watcher unsnooze`: hold back the messages of a rule or a series for a while.

A snooze is written into the store, and a running daemon is signalled to look at it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import click

from watcher.cli.completion import complete_snoozed, complete_targets
from watcher.cli.context import find_paths, load_effective_config, open_store, parse_duration_option
from watcher.core.engine.state import SeriesState
from watcher.core.formatting import format_time
from watcher.core.model import AlertPhase, Severity, Snooze
from watcher.core.routing.muting import has_snooze_expired, target_matches_series
from watcher.core.rules.diagnostics import find_close_match
from watcher.core.rules.rule import Rule
from watcher.errors import ConfigError, UsageError
from watcher.status.builder import write_status
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import clock
from watcher.system.lock import Lock
from watcher.system.paths import Paths


@click.command(short_help="Hold back a rule or a series for a while.")
@click.argument("rule_or_series", required=False, shell_complete=complete_targets)
@click.option("--for", "duration", metavar="DURATION", help="How long: 45m, 2h, 7d.")
@click.option("--until-reset", is_flag=True, help="Until its window resets.")
def snooze(rule_or_series: str | None, duration: str | None, *, until_reset: bool) -> None:
    """Hold back the messages of a rule or a series; without arguments, list what is snoozed.

    Nothing is lost: what still fires afterwards is sent then, and so is the end of an alert that you know of. A higher
    level ends a snooze.

    \b
    watcher snooze session --for 2h
    watcher snooze claude.five_hour --until-reset
    watcher snooze '*.weekly' --for 7d
    """
    own, now = find_paths(), clock.utc_now()
    if rule_or_series is None:
        if duration is not None or until_reset:
            raise UsageError("snooze: which rule or series? such as `watcher snooze session --for 2h`")
        store = open_store(own, now)
        _print_snoozes(store.snoozes.load(), now)
        store.close()
        return
    if (duration is None) is not until_reset:
        raise UsageError("snooze: for how long? give one of `--for 2h` and `--until-reset`")
    click.echo(f"snoozed {format_snooze(save_snooze(own, rule_or_series, duration, now), now)}")


def save_snooze(own: Paths, target: str, duration: str | None, now: datetime) -> Snooze:
    """Snooze a rule or a series, and tell the daemon.

    Args:
        own: the person's folders.
        target: the rule or series.
        duration: how long, such as `2h`; None: until the reset.
        now: this moment.

    Raises:
        UsageError, click.UsageError: there is no such rule or series, no known reset, or the duration is none.
    """
    store = Store(own.state_dir / DATABASE_FILE_NAME, now=now)
    try:
        made = _make_snooze(target, duration, store, now)
        store.run_transaction(lambda: store.snoozes.save(made), now=now)
        write_status(store, None, now=now)
    finally:
        store.close()
    Lock(own.state_dir).signal_holder()
    return made


@click.command(short_help="End a snooze.")
@click.argument("rule_or_series", required=False, shell_complete=complete_snoozed)
@click.option("--all", "everything", is_flag=True, help="End every snooze.")
def unsnooze(rule_or_series: str | None, *, everything: bool) -> None:
    """End a snooze: what it held back and still fires is sent at once."""
    if (rule_or_series is None) is not everything:
        raise UsageError("unsnooze: which one? a rule or series as `watcher snooze` lists it, or `--all`")
    ended = end_snoozes(find_paths(), rule_or_series, clock.utc_now())
    click.echo(f"no longer snoozed: {', '.join(ended)}" if ended else "nothing is snoozed")


def end_snoozes(own: Paths, target: str | None, now: datetime) -> list[str]:
    """End the snooze of a rule or series, or every one, and tell the daemon. Returns what was snoozed.

    Raises:
        UsageError: that target is not snoozed.
    """
    store = Store(own.state_dir / DATABASE_FILE_NAME, now=now)
    try:
        snoozed = [snooze.target for snooze in store.snoozes.load()]
        targets = snoozed if target is None else [target]
        ended = store.run_transaction(lambda: [each for each in targets if store.snoozes.delete(each)], now=now)
        write_status(store, None, now=now)
    finally:
        store.close()
    if target is not None and not ended:
        listed = f"; snoozed are: {', '.join(snoozed)}" if snoozed else "; nothing is snoozed"
        raise UsageError(f"unsnooze: `{target}` is not snoozed{listed}")
    Lock(own.state_dir).signal_holder()
    return ended


def _make_snooze(target: str, duration_text: str | None, store: Store, now: datetime) -> Snooze:
    rules = _load_rules()
    state = store.alerts.load_state()
    present = [each for each in state.series_states.values() if not each.gone]
    matching = [each for each in present if _matches_target(target, rules.get(target), each)]
    is_rule = target in rules or any(rule == target for rule, _ in state.alert_states)
    if not is_rule and not matching:
        series = [f"{each.series.provider}.{each.series.window}" for each in present]
        close = find_close_match(target, (*rules, *series))
        hint = f"did you mean `{close}`?" if close else "`watcher status` lists series, `watcher rules list` rules"
        raise UsageError(f"snooze: neither a rule nor a series is called `{target}`; {hint}")
    snoozed_series = {each.series for each in matching}
    severities = [
        alert.severity
        for (rule, series), alert in state.alert_states.items()
        if alert.phase is AlertPhase.FIRING
        and alert.severity
        and (rule == target if is_rule else series in snoozed_series)
    ]
    return Snooze(
        target=target,
        created_at=now,
        expires_at=None if duration_text is None else now + _parse_duration(duration_text),
        episodes=None if duration_text is not None else _find_episodes(target, matching),
        severity=max(severities, key=lambda severity: severity.rank, default=None),
    )


def _load_rules() -> dict[str, Rule]:
    """The rules in force, by name; none if the config has a mistake: rules that fired can be snoozed all the same."""
    try:
        return {rule.name: rule for rule in load_effective_config().rules}
    except ConfigError:
        return {}


def _parse_duration(text: str) -> timedelta:
    duration = parse_duration_option("--for", text)
    if duration <= timedelta(0):
        raise click.UsageError(f"--for: {text} is over at once: write a duration such as 45m, 2h or 7d")
    return duration


def _matches_target(target: str, rule: Rule | None, state: SeriesState) -> bool:
    series, kind = state.series, str(state.kind)
    if rule is not None:
        return rule.subject.matches(series, state.account_name, kind, is_primary=state.primary)
    return target_matches_series(target, series, state.account_name, kind)


def _find_episodes(target: str, states: Sequence[SeriesState]) -> dict[str, int]:
    """The present episode of each series that will reset."""
    episodes = {str(state.series): state.episode for state in states if state.boundary_at is not None}
    if not episodes:
        raise UsageError(f"snooze: no reset of `{target}` is known; give a duration: `--for 2h`")
    return episodes


def _print_snoozes(snoozes: Sequence[Snooze], now: datetime) -> None:
    active = [each for each in snoozes if not has_snooze_expired(each, now)]
    for each in active:
        click.echo(format_snooze(each, now))
    if not active:
        click.echo("nothing is snoozed")


def format_snooze(snooze: Snooze, now: datetime) -> str:
    """`session until 16:00, or a higher level`."""
    until = "its reset" if snooze.expires_at is None else format_time(snooze.expires_at, now, clock.LocalZone())
    higher = "" if snooze.severity is Severity.CRITICAL else ", or a higher level"
    return f"{snooze.target} until {until}{higher}"
