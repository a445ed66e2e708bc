"""`watcher rules explain`: the last readings of each of a rule's series, with what was decided at each, and why."""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from itertools import groupby

import click
import msgspec
from click.shell_completion import CompletionItem

from watcher.cli.columns import columns, room, wrapped
from watcher.cli.rule_files import in_force, named, own_paths
from watcher.cli.stored import opened
from watcher.clock import LocalZone
from watcher.clock import now as clock_now
from watcher.core.decisions import Decision
from watcher.core.diagnostics import visible
from watcher.core.examples import explained
from watcher.core.model import Delivery, DeliveryState, Event, Rule, Series, Transition
from watcher.core.phrases import percent
from watcher.core.plan import Choice
from watcher.core.units import read_duration
from watcher.errors import UsageError, WatcherError
from watcher.recall import recall
from watcher.standing import written
from watcher.store import Store

Spell = Callable[[Series], str]
"""A series as a person knows it."""

_ROOMY = 100  # columns in which a row has room for the year and the seconds
_HOLDS = {True: "holds", False: "does not", None: "unknown"}


def _names(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    try:
        found = in_force().rules
    except WatcherError:  # a config with a mistake completes nothing
        return []
    return [CompletionItem(rule.name, help=rule.path) for rule in found if rule.name.startswith(incomplete)]


@click.command(short_help="Say why a rule fired, or why it did not.")
@click.argument("rule", shell_complete=_names)
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
    config = in_force()
    found = named(config.rules, rule)
    try:
        span = read_duration(since)
    except ValueError as error:
        raise UsageError(f"--since: {error}") from error
    now = clock_now()
    store = opened(own_paths(), now)
    try:
        paces = {name: settings.pace.every for name, settings in config.providers.items()}
        decisions = explained(config.rules, recall(store, now - span), rule, usual=paces, tz=LocalZone(), until=now)
        said = store.transitions(since=now - span, rule=rule)
        silences = store.silences(since=now - span, rule=rule)
        deliveries = [each for state in DeliveryState for each in store.deliveries(state, since=now - span)]
        spell = _speller(store)
    finally:
        store.close()
    if as_json:
        for decided in decisions.values():
            for decision in decided[-last:]:
                click.echo(msgspec.json.encode(as_object(decision)).decode())
        for choice in silences[-last:]:
            click.echo(msgspec.json.encode(as_silence(choice)).decode())
        return
    for line in _in_words(found, decisions, last, spell):
        click.echo(line)
    for line in _told(found, said, deliveries, silences, last, spell=spell):
        for part in wrapped(line, room(), indent=len(line) - len(line.lstrip()) + 4) or [""]:
            click.echo(part)


def as_object(decision: Decision) -> dict[str, object]:
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


def as_silence(choice: Choice) -> dict[str, object]:
    """One change that was not told, as an object of `--json`: it has `event` and `channel` where a decision has not."""
    return {
        "at": choice.at,
        "rule": choice.rule,
        "series": str(choice.series),
        "event": choice.event,
        "channel": choice.channel or None,
        "reason": choice.reason,
    }


def _speller(store: Store) -> Spell:
    """How a series is written for people: with its account, by name, where the provider has several."""
    several = store.crowded()
    names = {(account.provider, account.account): account.name for account in store.accounts()}
    return lambda series: visible(written(series, several, names), 200)


def _in_words(rule: Rule, decisions: dict[Series, list[Decision]], last: int, spell: Spell) -> Iterator[str]:
    for level in rule.levels:
        told = f"{rule.name} ({level.severity}): fires when {level.when}, ends when {level.clear}"
        yield from wrapped(told, room(), indent=4)
    if not decisions:
        nothing = "nothing was decided: no reading of any series that this rule is about is in the store"
        yield from wrapped(nothing, room(), indent=4)
        about = f"it is about {rule.subject}; `watcher status` shows which series there are"
        yield from wrapped(about, room(), indent=4)
    for series, decided in decisions.items():
        yield ""
        yield spell(series)
        yield from columns(_rows(decided, last), indent="  ", width=room())


def _rows(decided: Sequence[Decision], last: int) -> list[Sequence[str]]:
    """The last rows; of several in a row that say the same, only the first and the last, and how many there are."""
    found: list[Sequence[str]] = []
    for _, alike in groupby(map(_row, decided), key=lambda row: row[1:]):
        first, *more = alike
        found += [first]
        if len(more) > 1:
            found += [(f"{'...':^{len(first[0])}}", "", "", "", f"{len(more) - 1} more of the same")]
        found += more[-1:]
    return found[-last:]


def _row(decision: Decision) -> Sequence[str]:
    used = "?" if decision.used_percent is None else percent(decision.used_percent)
    at = _local(decision.at) if room() >= _ROOMY else f"{decision.at.astimezone():%m-%d %H:%M}"
    return at, used.rjust(6), _HOLDS[decision.condition], decision.phase.value, decision.text


def _told(  # noqa: PLR0913 - all that was recorded
    rule: Rule,
    said: Sequence[Transition],
    deliveries: Sequence[Delivery],
    silences: Sequence[Choice],
    last: int,
    *,
    spell: Spell,
) -> Iterator[str]:
    """What was made of it: each change as it was recorded, what became of its messages, and why some were not sent."""
    if not said:
        return
    yield ""
    yield "what was said"
    for transition in said[-last:]:
        yield f"  {_local(transition.at)}  {transition.event} ({transition.reason}) {spell(transition.series)}"
        fates = [each for each in deliveries if _is_about(each, transition)]
        for each in fates:
            yield f"    {each.channel}: {each.state} ({each.reason}){f', {each.outcome}' if each.outcome else ''}"
        kept_back = [each for each in silences if each.key == transition.key]
        yield from _kept_back(kept_back, {(each.channel, each.reason) for each in fates}, transition)
        if not fates and transition.event not in rule.on and transition.event is not Event.REMINDER:
            yield f"    not said: the rule's `on` does not ask for {transition.event}"
        elif not fates and not kept_back:
            yield "    no message of its own: it was overtaken, or joined to another"


def _kept_back(silences: Sequence[Choice], shown: Collection[tuple[str, str]], transition: Transition) -> Iterator[str]:
    """Why a change was not told then; what a delivery's own line says already is left out."""
    for choice in silences:
        if (choice.channel, choice.reason) not in shown:
            later = "" if choice.at == transition.at else f" at {_local(choice.at)}"
            yield f"    {choice.channel or 'no channel'}: not said{later} ({choice.reason})"


def _is_about(delivery: Delivery, transition: Transition) -> bool:
    return any(each.key == transition.key for each in delivery.about) or delivery.key == transition.key


def _local(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"
