"""`watcher guard`: may a script go on? Asked of the store, answered with an exit code."""

from datetime import datetime, timedelta

import click
import msgspec
from msgspec import Struct

from watcher import clock, doors, paths
from watcher.cli import EXIT_UNAVAILABLE
from watcher.cli.status import take_in
from watcher.cli.stored import opened
from watcher.core.expression import Expression, ExpressionError, parse
from watcher.core.guard import Verdict, judge
from watcher.core.kinds import level
from watcher.core.memory import SeriesState
from watcher.core.model import Series
from watcher.core.phrases import percent
from watcher.core.units import read_duration
from watcher.errors import NoReadingsError, StoreError, UsageError
from watcher.paths import Paths
from watcher.standing import written

Names = dict[Series, tuple[str, str]]
"""Series -> as a person writes it, and what is used of it in words."""

SCHEMA = "watcher.guard.v1"
MAX_AGE = "2h"  # the slowest provider is asked once an hour while nothing moves


class Answer(Struct, frozen=True, kw_only=True):
    """The document of `--json`."""

    schema: str
    at: datetime
    expression: str
    result: bool | None
    series: dict[str, bool | None]
    why: list[str]


@click.command()
@click.argument("expression")
@click.option("--refresh", is_flag=True, help="Poll first.")
@click.option(
    "--max-age", default=MAX_AGE, show_default=True, metavar="DURATION", help="An older reading counts as unknown."
)
@click.option("--json", "as_document", is_flag=True, help="Print the answer as one JSON object (watcher.guard.v1).")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing; the exit code tells.")
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
    condition, span = _parsed(expression), _age(max_age)
    around = doors.surroundings()
    own = paths.find(around.env, around.home)
    try:
        if refresh:
            _refresh(own, quiet=quiet)
        now = clock.now()
        verdict, names = _judged(own, condition, now, span)
    except StoreError as error:  # not 1: a script would take it for an answer
        click.echo(str(error), err=True)
        return EXIT_UNAVAILABLE
    if as_document:
        click.echo(document(verdict, names, expression, now))
    elif not quiet and not verdict.result:
        click.echo(sentence(verdict, names), err=True)
    return EXIT_UNAVAILABLE if verdict.result is None else 0 if verdict.result else 1


def _refresh(own: Paths, *, quiet: bool) -> None:
    from watcher.cli.refresh import refresh  # noqa: PLC0415 - the daemon's machinery, only where it polls

    remark = refresh(own, doors.real())
    if remark and not quiet:
        click.echo(remark, err=True)


def _parsed(text: str) -> Expression:
    line = text.replace("\n", " ")  # a shell script may break it
    try:
        return parse(line)
    except ExpressionError as error:
        hint = f"; {error.hint}" if error.hint else ""
        caret = " " * error.start + "^" * max(1, min(error.end, len(line)) - error.start)
        raise UsageError(f"watcher guard: {error.message}{hint}\n  {line}\n  {caret}") from None


def _age(text: str) -> timedelta:
    try:
        return read_duration(text)
    except ValueError as error:
        raise click.UsageError(f"--max-age: {error}") from None


def _judged(own: Paths, condition: Expression, now: datetime, max_age: timedelta) -> tuple[Verdict, Names]:
    """The verdict, and each series as a person writes it with what is used of it."""
    take_in(own)
    try:
        store = opened(own, now)
    except NoReadingsError:
        return judge(condition, (), now, max_age=max_age), {}
    try:
        states = store.memory().series
        crowded = store.crowded()
    finally:
        store.close()
    accounts = {(state.series.provider, state.series.account): state.account_name for state in states.values()}
    names = {series: (written(series, crowded, accounts), _used(state)) for series, state in states.items()}
    return judge(condition, states.values(), now, max_age=max_age), names


def _used(state: SeriesState) -> str:
    used = None if state.reading is None else level(state.reading)
    return "" if used is None else f" ({percent(used)} used)"


def document(verdict: Verdict, names: Names, expression: str, now: datetime) -> str:
    """The answer as JSON on one line."""
    answer = Answer(
        schema=SCHEMA,
        at=now,
        expression=expression,
        result=verdict.result,
        series={names[series][0]: result for series, result in sorted(verdict.series.items())},
        why=list(verdict.why),
    )
    return msgspec.json.encode(answer).decode()


def sentence(verdict: Verdict, names: Names) -> str:
    """Why a script is not let pass."""
    if verdict.result is None:
        return f"unknown: {'; '.join(verdict.why) or 'no reading says so'} (ask now with --refresh)"
    failing = (names[series] for series, result in sorted(verdict.series.items()) if result is False)
    return "false for " + ", ".join(name + used for name, used in failing)
