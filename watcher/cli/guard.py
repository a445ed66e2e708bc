"""`watcher guard`: whether a script may go on, from what the store knows, as an exit code."""

from datetime import datetime, timedelta

import click
import msgspec

from watcher.cli import EXIT_UNAVAILABLE
from watcher.cli.context import (
    find_paths,
    make_series_formatter,
    open_store,
    parse_duration_option,
    parse_with_providers,
)
from watcher.cli.output import echo_error
from watcher.core.engine.guard import GuardResult, evaluate_guard
from watcher.core.engine.state import SeriesState
from watcher.core.engine.windows import get_used_percent
from watcher.core.formatting import format_percent
from watcher.core.model import Series
from watcher.core.rules.ast import Expression
from watcher.core.rules.parser import ExpressionError, parse_condition
from watcher.errors import NoReadingsError, StoreError, UsageError
from watcher.system import clock
from watcher.system.paths import Paths

SeriesNames = dict[Series, tuple[str, str]]
"""Series -> (its name as the user writes it, what is used of it as a phrase)."""

SCHEMA_NAME = "watcher.guard.v1"
DEFAULT_MAX_AGE = "2h"  # the slowest provider is polled once an hour while nothing changes


@click.command()
@click.argument("expression")
@click.option("--refresh", is_flag=True, help="Poll first.")
@click.option(
    "--max-age",
    default=DEFAULT_MAX_AGE,
    show_default=True,
    metavar="DURATION",
    help="An older reading counts as unknown.",
)
@click.option("--json", "as_document", is_flag=True, help="Print the answer as one JSON object (watcher.guard.v1).")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing; see the exit code.")
def guard(expression: str, max_age: str, *, refresh: bool, as_document: bool, quiet: bool) -> int:
    """Ask whether EXPRESSION holds now. It is written as in a rule, and must hold for every window it is about.

    \b
    Exit code:  0  true
                1  false
               64  the expression makes no sense
               69  unknown: never read, too old, failing

    \b
    watcher guard "claude.five_hour < 90% and codex.weekly < 95%" && make evals
    watcher guard "*.session < 80%" --refresh --max-age 5m
    until watcher guard -q "claude < 50%"; do sleep 600; done

    \b
    In CI, where unknown must not stop the work:
    watcher guard "copilot.remaining > 20" || [ $? -eq 69 ]
    """
    condition, age_limit = parse_expression(expression, "guard"), parse_duration_option("--max-age", max_age)
    own = find_paths()
    try:
        if refresh:
            from watcher.cli.check import refresh as poll  # noqa: PLC0415 - the daemon's modules, only where it polls

            poll(own, quiet=quiet)
        now = clock.utc_now()
        result, names = evaluate_expression(own, condition, now, age_limit)
    except StoreError as error:  # not 1: a script would take it for an answer
        echo_error(str(error))
        return EXIT_UNAVAILABLE
    if as_document:
        click.echo(encode_guard_document(result, names, expression, now))
    elif not quiet and not result.result:
        reason = format_reason(result, names)
        echo_error(f"unknown: {reason} (poll now with --refresh)" if result.result is None else f"false for {reason}")
    return EXIT_UNAVAILABLE if result.result is None else 0 if result.result else 1


def parse_expression(text: str, command: str) -> Expression:
    """The condition that the user wrote.

    Raises:
        UsageError: with a caret under the mistake.
    """
    line = text.replace("\n", " ")  # a shell script may contain line breaks
    try:
        return parse_with_providers(parse_condition, line)
    except ExpressionError as error:
        caret = " " * error.start + "^" * max(1, min(error.end, len(line)) - error.start)
        raise UsageError(f"watcher {command}: {error.message}\n  {line}\n  {caret}") from None


def evaluate_expression(
    paths: Paths, condition: Expression, now: datetime, max_age: timedelta
) -> tuple[GuardResult, SeriesNames]:
    """The result, and each series as the user writes it with what is used of it."""
    try:
        with open_store(paths, now) as store:
            states = store.alerts.load_state().series_states
            format_series = make_series_formatter(store)
    except NoReadingsError:
        return evaluate_guard(condition, (), now, max_age=max_age), {}
    names = {series: (format_series(series), _format_used(state)) for series, state in states.items()}
    return evaluate_guard(condition, states.values(), now, max_age=max_age), names


def _format_used(state: SeriesState) -> str:
    used = None if state.reading is None else get_used_percent(state.reading)
    return "" if used is None else f" ({format_percent(used)} used)"


def encode_guard_document(guard_result: GuardResult, names: SeriesNames, expression: str, now: datetime) -> str:
    """The answer as JSON on one line."""
    document = {
        "schema": SCHEMA_NAME,
        "at": now,
        "expression": expression,
        "result": guard_result.result,
        "series": {names[series][0]: result for series, result in sorted(guard_result.series.items())},
        "why": guard_result.reasons,
    }
    return msgspec.json.encode(document).decode()


def format_reason(guard_result: GuardResult, names: SeriesNames) -> str:
    """Why the condition does not hold: why it is unknown, or for which series it is false."""
    if guard_result.result is None:
        return "; ".join(guard_result.reasons) or "no reading tells"
    failing = (names[series] for series, result in sorted(guard_result.series.items()) if result is False)
    return ", ".join(name + used for name, used in failing)
