"""`watcher rules explain`: the last readings of each of a rule's series, with what was decided at each, and why."""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from itertools import groupby

import click
import msgspec
from click.shell_completion import CompletionItem

from watcher.cli.context import find_paths, find_rule, load_effective_config, open_store
from watcher.cli.output import format_columns, get_output_width, wrap_line
from watcher.core.engine.rule_tests import explain_rule
from watcher.core.engine.transitions import Decision
from watcher.core.formatting import format_percent
from watcher.core.model import AlertEvent, Delivery, DeliveryState, Series, Transition
from watcher.core.routing.planner import RoutingDecision
from watcher.core.rules.diagnostics import sanitize_for_terminal
from watcher.core.rules.rule import Rule
from watcher.core.rules.units import parse_duration
from watcher.errors import UsageError, WatcherError
from watcher.status.builder import format_series
from watcher.storage.store import Store
from watcher.system.clock import LocalZone
from watcher.system.clock import utc_now as clock_now

SeriesFormatter = Callable[[Series], str]
"""A series as a person knows it."""

_WIDE_OUTPUT_COLUMNS = 100  # columns in which a row has room for the year and the seconds
_CONDITION_LABELS = {True: "holds", False: "does not", None: "unknown"}


def _complete_rules(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    try:
        found = load_effective_config().rules
    except WatcherError:  # a config with a mistake completes nothing
        return []
    return [CompletionItem(rule.name, help=rule.path) for rule in found if rule.name.startswith(incomplete)]


@click.command(short_help="Say why a rule fired, or why it did not.")
@click.argument("rule", shell_complete=_complete_rules)
@click.option("--last", default=10, show_default=True, type=click.IntRange(1, 10_000), help="Readings of each series.")
@click.option("--since", default="3d", show_default=True, metavar="TIME", help="How far back to begin: 12h, 7d.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="One JSON object a line for each decision and each change that was not told.",
)
def explain(*, rule: str, last: int, since: str, as_json: bool) -> None:
    """Say why RULE fired, or why it did not: the last readings with the decision and the reason at each.

    The readings come from the store and are judged anew by the rule as it is now written. What was said, and why a
    change was not told (snoozed, quiet hours, overtaken, ...), is what was recorded then.
    """
    config = load_effective_config()
    found = find_rule(config.rules, rule)
    try:
        span = parse_duration(since)
    except ValueError as error:
        raise UsageError(f"--since: {error}") from error
    now = clock_now()
    store = open_store(find_paths(), now)
    try:
        paces = {name: settings.pace.every for name, settings in config.providers.items()}
        decisions = explain_rule(
            config.rules,
            store.readings.load_poll_results(now - span),
            rule,
            default_intervals=paces,
            tz=LocalZone(),
            until=now,
        )
        said = store.alerts.load_transitions(since=now - span, rule=rule)
        silences = store.outbox.load_suppressions(since=now - span, rule=rule)
        deliveries = [each for state in DeliveryState for each in store.outbox.load_finished(state, since=now - span)]
        spell = _make_series_formatter(store)
    finally:
        store.close()
    if as_json:
        for decided in decisions.values():
            for decision in decided[-last:]:
                click.echo(msgspec.json.encode(convert_decision(decision)).decode())
        for choice in silences[-last:]:
            click.echo(msgspec.json.encode(convert_routing_decision(choice)).decode())
        return
    for line in _format_decisions(found, decisions, last, spell):
        click.echo(line)
    for line in _format_recorded_transitions(found, said, deliveries, silences, last, series_formatter=spell):
        for part in wrap_line(line, get_output_width(), indent=len(line) - len(line.lstrip()) + 4) or [""]:
            click.echo(part)


def convert_decision(decision: Decision) -> dict[str, object]:
    """One decision as an object of `--json`; unknown is null."""
    return {
        "at": decision.at,
        "rule": decision.rule,
        "series": str(decision.series),
        "used_percent": decision.used_percent,
        "condition": decision.condition,
        "state": decision.phase,
        "reason": decision.reason,
        "text": decision.text,
    }


def convert_routing_decision(routing_decision: RoutingDecision) -> dict[str, object]:
    """One change that was not told, as an object of `--json`: it has `event` and `channel` where a decision has not."""
    return {
        "at": routing_decision.at,
        "rule": routing_decision.rule,
        "series": str(routing_decision.series),
        "event": routing_decision.event,
        "channel": routing_decision.channel or None,
        "reason": routing_decision.reason,
    }


def _make_series_formatter(store: Store) -> SeriesFormatter:
    """How a series is written for people: with its account, by name, where the provider has several."""
    several = store.accounts.load_multi_account_providers()
    names = {(account.provider, account.account): account.name for account in store.accounts.load()}
    return lambda series: sanitize_for_terminal(format_series(series, several, names), 200)


def _format_decisions(
    rule: Rule, decisions: dict[Series, list[Decision]], max_rows: int, series_formatter: SeriesFormatter
) -> Iterator[str]:
    for level in rule.levels:
        told = f"{rule.name} ({level.severity}): fires when {level.when}, ends when {level.clear}"
        yield from wrap_line(told, get_output_width(), indent=4)
    if not decisions:
        nothing = "nothing was decided: no reading of any series that this rule is about is in the store"
        yield from wrap_line(nothing, get_output_width(), indent=4)
        about = f"it is about {rule.subject}; `watcher status` shows which series there are"
        yield from wrap_line(about, get_output_width(), indent=4)
    for series, decided in decisions.items():
        yield ""
        yield series_formatter(series)
        yield from format_columns(_format_rows(decided, max_rows), indent="  ", width=get_output_width())


def _format_rows(decisions: Sequence[Decision], max_rows: int) -> list[Sequence[str]]:
    """The last rows; of several in a row that say the same, only the first and the last, and how many there are."""
    found: list[Sequence[str]] = []
    for _, alike in groupby(map(_format_row, decisions), key=lambda row: row[1:]):
        first, *more = alike
        found += [first]
        if len(more) > 1:
            found += [(f"{'...':^{len(first[0])}}", "", "", "", f"{len(more) - 1} more of the same")]
        found += more[-1:]
    return found[-max_rows:]


def _format_row(decision: Decision) -> Sequence[str]:
    used = "?" if decision.used_percent is None else format_percent(decision.used_percent)
    at = (
        _format_local_time(decision.at)
        if get_output_width() >= _WIDE_OUTPUT_COLUMNS
        else f"{decision.at.astimezone():%m-%d %H:%M}"
    )
    return at, used.rjust(6), _CONDITION_LABELS[decision.condition], decision.phase.value, decision.text


def _format_recorded_transitions(  # noqa: PLR0913 - all that was recorded
    rule: Rule,
    transitions: Sequence[Transition],
    deliveries: Sequence[Delivery],
    suppressions: Sequence[RoutingDecision],
    max_rows: int,
    *,
    series_formatter: SeriesFormatter,
) -> Iterator[str]:
    """What was made of it: each change as it was recorded, what became of its messages, and why some were not sent."""
    if not transitions:
        return
    yield ""
    yield "what was said"
    for transition in transitions[-max_rows:]:
        yield f"  {_format_local_time(transition.at)}  {transition.event} ({transition.reason}) {series_formatter(transition.series)}"
        fates = [each for each in deliveries if _is_delivery_of(each, transition)]
        for each in fates:
            yield f"    {each.channel}: {each.state} ({each.reason}){f', {each.outcome}' if each.outcome else ''}"
        kept_back = [each for each in suppressions if each.key == transition.key]
        yield from _format_suppressions(kept_back, {(each.channel, each.reason) for each in fates}, transition)
        if not fates and transition.event not in rule.on and transition.event is not AlertEvent.REMINDER:
            yield f"    not said: the rule's `on` does not ask for {transition.event}"
        elif not fates and not kept_back:
            yield "    no message of its own: it was overtaken, or joined to another"


def _format_suppressions(
    suppressions: Sequence[RoutingDecision], already_shown: Collection[tuple[str, str]], transition: Transition
) -> Iterator[str]:
    """Why a change was not told then; what a delivery's own line says already is left out."""
    for choice in suppressions:
        if (choice.channel, choice.reason) not in already_shown:
            later = "" if choice.at == transition.at else f" at {_format_local_time(choice.at)}"
            yield f"    {choice.channel or 'no channel'}: not said{later} ({choice.reason})"


def _is_delivery_of(delivery: Delivery, transition: Transition) -> bool:
    return any(each.key == transition.key for each in delivery.about) or delivery.key == transition.key


def _format_local_time(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"
