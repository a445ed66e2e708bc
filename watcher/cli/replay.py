"""`watcher replay`: what rules would have said to a history, a file's or the store's own."""

from datetime import datetime
from pathlib import Path

import click
import msgspec

from watcher.cli.context import find_paths, open_store, read_bounded
from watcher.cli.output import get_output_width, wrap_line
from watcher.core.engine import replay
from watcher.core.engine import replay as history
from watcher.core.engine.windows import get_used_percent
from watcher.core.formatting import format_percent
from watcher.core.model import AlertEvent, PollResult, Transition
from watcher.core.rules import loader
from watcher.core.rules.diagnostics import sanitize_for_terminal
from watcher.core.rules.rule import Rule
from watcher.core.rules.units import parse_duration
from watcher.errors import UsageError
from watcher.system.clock import utc_now as clock_now


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
    book = _load_rules(rules)
    now = None if since is None else clock_now()
    past = _load_results_from_file(readings or "") if now is None else _load_results_from_store(since or "", now)
    from watcher.providers.registry import PROVIDERS  # noqa: PLC0415 - slow to import, and only needed here

    usual = {provider.id: provider.default_interval for provider in PROVIDERS.values()}
    said = 0
    for moment in replay.replay_rules(book, past, default_intervals=usual, until=now):
        for transition in moment.evaluation.transitions:
            said += 1
            for part in (
                [encode_transition(transition)]
                if as_json
                else wrap_line(_format_transition(transition), get_output_width(), indent=4)
            ):
                click.echo(part)
    if not as_json:
        click.echo(
            f"{_format_count(said, 'transition')} from {_format_count(len(past), 'answer')} under {_format_count(len(book), 'rule')}"
        )


def encode_transition(transition: Transition) -> str:
    """One transition as a line of `--json`; a reset that a rule asked for is `resolved`, by reason of a reset."""
    event = AlertEvent.RESOLVED if transition.event is AlertEvent.RESET else transition.event
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


def _format_transition(transition: Transition) -> str:
    used = None if transition.reading is None else get_used_percent(transition.reading)
    parts = [
        transition.at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        f"{transition.event:<9}",
        f"{transition.severity:<8}",
        "     ?" if used is None else f"{format_percent(used):>6}",
        f"{transition.rule} on {sanitize_for_terminal(str(transition.series), 200)}",
        f"({transition.reason})",
    ]
    return "  ".join(parts)


def _format_count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _load_rules(path: str) -> tuple[Rule, ...]:
    """Of one file, which may be a whole `config.toml`."""
    text = loader.decode_utf8(read_bounded(Path(path)), path)
    return loader.parse_rules(text, path, is_config=True)


def _load_results_from_file(path: str) -> list[PollResult]:
    passed_over: set[str] = set()
    try:
        with click.open_file(path, "rb") as lines:
            found = list(history.build_poll_results(history.read_history_lines(lines, path, passed_over)))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; give a file of readings, or --since") from error
    if passed_over:
        listed = ", ".join(f"`{key}`" for key in sorted(passed_over))
        click.echo(f"{path}: {listed} mean nothing to replay and were passed over", err=True)
    return found


def _load_results_from_store(since: str, now: datetime) -> list[PollResult]:
    """What was heard since then, each answer and each poll that failed."""
    try:
        span = parse_duration(since)
    except ValueError as error:
        raise UsageError(f"--since: {error}") from error
    store = open_store(find_paths(), now)
    try:
        return store.readings.load_poll_results(now - span)
    finally:
        store.close()
