"""`watcher replay`: what rules would have said to a history, a file's or the store's own."""

from datetime import datetime
from pathlib import Path

import click
import msgspec

from watcher.cli.columns import room, wrapped
from watcher.cli.rule_files import own_paths, read_bounded
from watcher.cli.stored import opened
from watcher.clock import now as clock_now
from watcher.core import history, replay, rulebook
from watcher.core.diagnostics import visible
from watcher.core.history import News
from watcher.core.kinds import level
from watcher.core.model import Event, Rule, Transition
from watcher.core.phrases import percent
from watcher.core.units import read_duration
from watcher.errors import UsageError
from watcher.recall import recall


@click.command("replay", short_help="What rules would have said to a history.")
@click.argument("rules", metavar="RULES.toml")
@click.argument("readings", metavar="[READINGS.jsonl]", required=False)
@click.option("--since", metavar="TIME", help="Replay what the store has kept since then: 7d, 12h.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each transition.")
def replay_command(*, rules: str, readings: str | None, since: str | None, as_json: bool) -> None:
    """What RULES.toml would have said to these readings: one JSON object a line, in time order; `-` reads stdin.

    \b
    {"at": "2026-03-02T09:00:00Z", "provider": "claude", "window": "five_hour", "used_percent": 81}
    {"at": "2026-03-02T09:05:00Z", "provider": "claude", "error": "timeout"}
    """
    if (readings is None) == (since is None):
        raise UsageError("give either a file of readings or --since: `watcher replay rules.toml readings.jsonl`")
    book = _rules(rules)
    now = None if since is None else clock_now()
    past = _from_file(readings or "") if now is None else _from_store(since or "", now)
    from watcher.providers.registry import PROVIDERS  # noqa: PLC0415 - slow to import, and only needed here

    usual = {provider.id: provider.default for provider in PROVIDERS.values()}
    said = 0
    for moment in replay.play(book, past, usual=usual, until=now):
        for transition in moment.judgement.transitions:
            said += 1
            for part in [as_line(transition)] if as_json else wrapped(_in_words(transition), room(), indent=4):
                click.echo(part)
    if not as_json:
        click.echo(
            f"{_counted(said, 'transition')} from {_counted(len(past), 'answer')} under {_counted(len(book), 'rule')}"
        )


def as_line(transition: Transition) -> str:
    """One transition as a line of `--json`; a reset that a rule asked for is `resolved`, by reason of a reset."""
    event = Event.RESOLVED if transition.event is Event.RESET else transition.event
    return msgspec.json.encode(
        {
            "at": transition.at,
            "rule": transition.rule,
            "series": str(transition.series),
            "event": event,
            "severity": transition.severity,
            "reason": transition.reason,
        }
    ).decode()


def _in_words(transition: Transition) -> str:
    used = None if transition.reading is None else level(transition.reading)
    parts = [
        transition.at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        f"{transition.event:<9}",
        f"{transition.severity:<8}",
        "     ?" if used is None else f"{percent(used):>6}",
        f"{transition.rule} on {visible(str(transition.series), 200)}",
        f"({transition.reason})",
    ]
    return "  ".join(parts)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _rules(path: str) -> tuple[Rule, ...]:
    """Of one file, which may be a whole `config.toml`."""
    text = rulebook.decode(read_bounded(Path(path)), path)
    return rulebook.assemble([(path, text)], channels=None, other_keys=None).rules


def _from_file(path: str) -> list[News]:
    passed_over: set[str] = set()
    try:
        with click.open_file(path, "rb") as lines:
            found = list(history.news(history.read(lines, path, passed_over)))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; give a file of readings, or --since") from error
    if passed_over:
        listed = ", ".join(f"`{key}`" for key in sorted(passed_over))
        click.echo(f"{path}: {listed} mean nothing to replay and were passed over", err=True)
    return found


def _from_store(since: str, now: datetime) -> list[News]:
    """What was heard since then, each answer and each poll that failed."""
    try:
        span = read_duration(since)
    except ValueError as error:
        raise UsageError(f"--since: {error}") from error
    store = opened(own_paths(), now)
    try:
        return recall(store, now - span)
    finally:
        store.close()
