"""`watcher snooze` and `watcher unsnooze`: hold back the messages of a rule or a series for a while.

A snooze is written into the store, and a running daemon is signalled to look at it.
"""

from collections.abc import Sequence
from datetime import datetime

import click

from watcher import pipeline
from watcher.cli.completion import complete_targets
from watcher.cli.context import change_store, find_paths, load_effective_config, open_store, parse_duration_option
from watcher.core.formatting import format_time
from watcher.core.model import Severity, Snooze
from watcher.core.routing.muting import has_snooze_expired
from watcher.core.rules.rule import Rule
from watcher.errors import ConfigError, UsageError
from watcher.status.builder import write_status
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import clock
from watcher.system.lock import Lock
from watcher.system.paths import Paths


@click.command()
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
        with open_store(own, now) as store:
            _print_snoozes(store.snoozes.load(), now)
        return
    if (duration is None) is not until_reset:
        raise UsageError("snooze: for how long? give one of `--for 2h` and `--until-reset`")
    click.echo(f"snoozed {format_snooze(save_snooze(own, rule_or_series, duration, now), now)}")


def save_snooze(own: Paths, target: str, duration: str | None, now: datetime) -> Snooze:
    """Snooze a rule or a series, and tell the daemon.

    Args:
        own: the user's folders.
        target: the rule or series.
        duration: how long, such as `2h`; None: until the reset.
        now: this moment.

    Raises:
        UsageError, click.UsageError: there is no such rule or series, no known reset, or the duration is none.
    """
    rules, expires_at = _load_rules(), None if duration is None else now + parse_duration_option("--for", duration)
    with Store(own.state_dir / DATABASE_FILE_NAME, now=now) as store:
        made = pipeline.save_snooze(store, rules, target, expires_at, now=now)
        write_status(store, None, now=now)
    Lock(own.state_dir).signal_holder()
    return made


@click.command()
@click.argument("rule_or_series", required=False, shell_complete=complete_targets)
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

    def end(store: Store) -> list[str]:
        snoozed = [snooze.target for snooze in store.snoozes.load()]
        if target is not None and target not in snoozed:
            listed = f"; snoozed are: {', '.join(snoozed)}" if snoozed else "; nothing is snoozed"
            raise UsageError(f"unsnooze: `{target}` is not snoozed{listed}")
        return [each for each in ([target] if target else snoozed) if store.snoozes.delete(each)]

    ended = change_store(own, now, end)
    Lock(own.state_dir).signal_holder()
    return ended


def _load_rules() -> Sequence[Rule]:
    """The rules in force; none if the config has a mistake: rules that fired can be snoozed all the same."""
    try:
        return load_effective_config().rules
    except ConfigError:
        return ()


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
