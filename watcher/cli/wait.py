"""`watcher wait`: returns when a condition holds, or when a window has been reset."""

import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from threading import Event

import click
from msgspec import Struct

from watcher.cli import EXIT_UNAVAILABLE
from watcher.cli.context import find_paths, open_store, parse_duration_option
from watcher.cli.guard import evaluate_expression, format_reason, parse_expression
from watcher.cli.output import echo_error
from watcher.cli.status import parse_selectors
from watcher.core.engine.windows import get_used_percent
from watcher.core.formatting import format_duration, format_percent
from watcher.core.model import Series
from watcher.core.rules.advice import find_impossibility
from watcher.core.rules.ast import Expression, Selector
from watcher.errors import NoReadingsError, UsageError
from watcher.system import clock
from watcher.system.lock import Lock
from watcher.system.paths import Paths

EXIT_TIMEOUT = 124
CHECK_EVERY_S = 2.0  # reads what the daemon has written: no request
POLL_EVERY = timedelta(minutes=5)  # without a daemon
DEFAULT_MAX_AGE = "2h"
_PAUSE = Event()  # never set: a wait that Ctrl-C ends at once


class Progress(Struct, frozen=True):
    """Whether the wait is over (None: unknown), and what to show meanwhile."""

    is_over: bool | None
    text: str


@click.command()
@click.argument("condition", required=False)
@click.option("--until-reset", "provider", metavar="SERIES", help="Wait for the reset of that provider or window.")
@click.option("--timeout", metavar="DURATION", help="Give up after so long.")
@click.option("--max-age", default=DEFAULT_MAX_AGE, show_default=True, metavar="DURATION", help="As for `guard`.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing; see the exit code.")
def wait(condition: str | None, provider: str | None, timeout: str | None, max_age: str, *, quiet: bool) -> int:
    """Return when CONDITION holds. It is written as for `watcher guard`.

    The readings are those of the daemon. Where none runs, the providers are polled from here when they are due.

    \b
    Exit code:  0  it holds
               64  the condition makes no sense, or can never hold
               69  nothing is known, and nothing is polled
              124  --timeout has passed

    \b
    watcher wait "claude.five_hour < 20%" && claude -p "go on"
    watcher wait --until-reset codex --timeout 6h
    """
    if (condition is None) == (provider is None):
        raise click.UsageError("give a condition, or --until-reset with a provider")
    limit = None if timeout is None else parse_duration_option("--timeout", timeout)
    own = find_paths()
    if condition is not None:
        expression = parse_expression(condition, "wait")
        if problem := find_impossibility(expression):
            raise UsageError(f"wait: that would never end: {problem}")
        look = partial(check_condition, own, expression, parse_duration_option("--max-age", max_age))
    else:
        (selector,) = parse_selectors([provider or ""])
        look = partial(check_reset, own, selector, {})
    return wait_until(look, _make_poll(own, quiet=quiet), limit, show=_make_display(quiet=quiet))


def wait_until(  # noqa: PLR0913 - what it waits for, and the clock
    look: Callable[[datetime], Progress],
    poll: Callable[[datetime], bool],
    limit: timedelta | None,
    *,
    show: Callable[[str], None],
    now: Callable[[], datetime] = clock.utc_now,
    pause: Callable[[float], object] = _PAUSE.wait,
) -> int:
    """The exit code, once the wait is over.

    Args:
        look: at what is known.
        poll: makes it newer where no daemon does; False: nothing can.
        limit: how long to wait at most; None: for ever.
        show: a line of progress; an empty one at the end.
        now: the time.
        pause: waits for so many seconds.
    """
    began = now()
    while True:
        can_learn = poll(now())
        progress = look(now())
        if progress.is_over:
            show("")
            return 0
        if progress.is_over is None and not can_learn:
            show("")
            echo_error(f"unknown: {progress.text}")
            return EXIT_UNAVAILABLE
        if limit is not None and now() - began >= limit:
            show("")
            return EXIT_TIMEOUT
        show(progress.text)
        left_s = CHECK_EVERY_S if limit is None else (began + limit - now()).total_seconds()
        pause(max(min(CHECK_EVERY_S, left_s), 0.01))


def check_condition(paths: Paths, condition: Expression, max_age: timedelta, now: datetime) -> Progress:
    """Over once the condition holds."""
    result, names = evaluate_expression(paths, condition, now, max_age)
    reason = format_reason(result, names)
    return Progress(result.result, reason if result.result is None else f"waiting: {reason}")


def check_reset(paths: Paths, selector: Selector, first: dict[Series, int], now: datetime) -> Progress:
    """Over once any of the series has begun a new episode since the first look, which fills `first`."""
    try:
        with open_store(paths, now) as store:
            states = store.alerts.load_state().series_states.values()
    except NoReadingsError:
        return Progress(None, "nothing was ever read here")
    meant = [each for each in states if not each.gone and each.matches(selector)]
    if not meant:
        return Progress(None, f"{selector} was never read")
    for state in meant:
        first.setdefault(state.series, state.episode)
    fullest = max(meant, key=lambda each: (each.reading and get_used_percent(each.reading)) or 0.0)
    used = None if fullest.reading is None else get_used_percent(fullest.reading)
    boundary = fullest.boundary_at
    ends = "" if boundary is None or boundary <= now else f", resets in {format_duration(boundary - now)}"
    amount = "" if used is None else f" at {format_percent(used)}"
    over = any(state.episode > first[state.series] for state in meant)
    return Progress(over, f"waiting: {fullest.series.provider}.{fullest.series.window}{amount}{ends}")


def _make_poll(paths: Paths, *, quiet: bool) -> Callable[[datetime], bool]:
    """Polls what is due from here while no daemon runs; a daemon polls by itself."""
    polled_at: datetime | None = None

    def poll(now: datetime) -> bool:
        nonlocal polled_at
        if Lock(paths.state_dir).read_holder_pid() is not None:
            return True
        if polled_at is None or now - polled_at >= POLL_EVERY:
            from watcher.cli.check import refresh  # noqa: PLC0415 - the daemon's modules, only where it polls

            polled_at = now
            refresh(paths, quiet=quiet)
        return False

    return poll


def _make_display(*, quiet: bool) -> Callable[[str], None]:
    """One line that is written over, on a terminal; nothing elsewhere."""
    stream = sys.stderr
    if quiet or not stream.isatty():
        return lambda _text: None

    def show(text: str) -> None:
        stream.write(f"\r{text[:78]:<78}" + ("" if text else "\r"))
        stream.flush()

    return show
