"""`watcher replay`: what rules would have done with a history, from a file or from the store."""

from collections.abc import Callable
from datetime import datetime

import click
import msgspec

from watcher.cli.context import find_paths, load_own_providers, make_series_formatter, open_store, parse_duration_option
from watcher.cli.output import echo_error, echo_wrapped, format_count
from watcher.cli.rules import read_rule_file
from watcher.core.engine import replay
from watcher.core.engine.windows import get_used_percent
from watcher.core.formatting import format_percent
from watcher.core.model import AlertEvent, PollResult, Series, Transition
from watcher.core.rules import loader
from watcher.core.rules.diagnostics import sanitize_for_terminal
from watcher.errors import UsageError
from watcher.system import clock


@click.command("replay")
@click.argument("rules", metavar="RULES.toml")
@click.argument("readings", metavar="[READINGS.jsonl]", required=False)
@click.option("--since", metavar="TIME", help="Replay what the store holds since then: 7d, 12h.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each transition.")
def replay_command(*, rules: str, readings: str | None, since: str | None, as_json: bool) -> None:
    """What RULES.toml would have done with these readings: one JSON object a line, in time order; `-` reads stdin.

    \b
    {"at": "2026-03-02T09:00:00Z", "provider": "claude", "window": "five_hour", "used_percent": 81}
    {"at": "2026-03-02T09:05:00Z", "provider": "claude", "error": "timeout"}
    """
    if (readings is None) == (since is None):
        raise UsageError("give either a file of readings or --since: `watcher replay rules.toml readings.jsonl`")
    load_own_providers()
    loaded = loader.parse_rules(read_rule_file(rules), rules, is_config=True)  # it may be a whole `config.toml`
    now = None if since is None else clock.utc_now()
    format_series: Callable[[Series], str] = _format_series
    if now is None:
        history = load_results_from_file(readings or "")
    else:
        history, format_series = _load_results_from_store(since or "", now)
    from watcher.providers.registry import PROVIDERS  # noqa: PLC0415 - slow to import

    intervals = {provider.id: provider.pace.every for provider in PROVIDERS.values()}
    count = 0
    for step in replay.replay_rules(loaded, history, default_intervals=intervals, until=now):
        for transition in step.transitions:
            count += 1
            if as_json:
                click.echo(encode_transition(transition))
            else:
                echo_wrapped(_format_transition(transition, format_series(transition.series)))
    if not as_json:
        polls, rule_count = format_count(len(history), "answer"), format_count(len(loaded), "rule")
        click.echo(f"{format_count(count, 'transition')} from {polls} under {rule_count}")


def encode_transition(transition: Transition) -> str:
    """One transition as a line of `--json`; `reset` events are `resolved`, as the contract has it."""
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


def _format_series(series: Series) -> str:
    return sanitize_for_terminal(str(series), 200)


def _format_transition(transition: Transition, series: str) -> str:
    used = None if transition.reading is None else get_used_percent(transition.reading)
    parts = [
        transition.at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        f"{transition.event:<9}",
        f"{transition.severity:<8}",
        "     ?" if used is None else f"{format_percent(used):>6}",
        f"{transition.rule} on {series}",
        f"({transition.reason})",
    ]
    return "  ".join(parts)


def load_results_from_file(path: str) -> list[PollResult]:
    """The results of the polls that a file of readings records.

    Raises:
        UsageError: it cannot be read, or a line is invalid.
    """
    ignored_keys: set[str] = set()
    try:
        with click.open_file(path, "rb") as lines:
            found = list(replay.build_poll_results(replay.read_history_lines(lines, path, ignored_keys)))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; give a file of readings, or --since") from error
    if ignored_keys:
        listed = ", ".join(f"`{key}`" for key in sorted(ignored_keys))
        echo_error(f"{path}: {listed} mean nothing to replay and were ignored")
    return found


def _load_results_from_store(since: str, now: datetime) -> tuple[list[PollResult], Callable[[Series], str]]:
    """Each snapshot and each failed poll since then, and how a person writes a series."""
    start = now - parse_duration_option("--since", since)
    with open_store(find_paths(), now) as store:
        return store.readings.load_poll_results(start), make_series_formatter(store)
