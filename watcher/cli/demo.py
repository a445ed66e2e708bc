"""`watcher demo`: a simulated day in about a minute, with the real daemon, rules, database and notifiers."""

import signal
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from watcher.errors import WatcherError
from watcher.system import environment

if TYPE_CHECKING:
    from rich.live import Live

    from watcher.demo.player import DemoEvent, ScreenSymbols

REDRAW_EVERY = timedelta(hours=4)  # simulated; where the picture cannot be redrawn in place


class DemoError(WatcherError):
    """The demonstration did not go as it should."""


@click.command()
@click.option("--speed", type=click.FloatRange(60, 20_000), default=1440, show_default=True, metavar="N",
              help="Simulated seconds in a second; 1440 is a day in a minute.")  # fmt: skip
def demo(speed: float) -> None:
    """Watch a simulated day go by, in about a minute.

    Everything is real but the providers and the clock: a temporary home, configuration and database, and a server on
    the loopback address that plays all six. Your own logins and settings are not touched.
    """
    from watcher.demo.player import (  # noqa: PLC0415 - likewise
        DemoPlayer,
        can_notify_desktop,
        choose_symbols,
    )
    from watcher.demo.scenario import MONDAY, SimulatedDay  # noqa: PLC0415 - likewise

    look = choose_symbols(sys.stdout.encoding)
    day = SimulatedDay(MONDAY.replace(tzinfo=None).astimezone())  # its wall clock is this machine's
    signal.signal(signal.SIGTERM, _exit_on_signal)  # so that the temporary folder goes, as with Ctrl-C
    world = environment.create_environment()
    desktop = can_notify_desktop(world, world.clock.now())
    for line in _make_introduction(desktop=desktop):
        click.echo(line)
    with (
        tempfile.TemporaryDirectory(prefix="watcher-demo-") as folder,
        DemoPlayer(Path(folder), day, speed, desktop=desktop) as play,
    ):
        troubles, told = _print_events(play.iter_events(), look)
        asked = len(play.server.requests) - told
    click.echo(f"\nThe day is over: {asked} requests to the providers, {told} notifications.")
    click.echo("Now with your own logins: watcher init, then watcher run")
    if troubles:
        raise DemoError(f"the demonstration had trouble: {troubles[0]}; please report it")


def _exit_on_signal(signal_number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signal_number)


def _make_introduction(*, desktop: bool) -> list[str]:
    where = (
        "Notifications appear on this desktop, and here."
        if desktop
        else "This machine shows no desktop notifications; they appear here."
    )
    return [
        "A simulated day of six AI coding tools; the watcher itself is the real one.",
        where,
        "Rules: claude.five_hour > 80% (clear < 70%), copilot.remaining < 0",
    ]


def _print_events(events: Iterable["DemoEvent"], symbols: "ScreenSymbols") -> tuple[list[str], int]:
    """Show all of it as it comes. Returns what went wrong, and how many notifications there were."""
    from watcher.demo.player import (  # noqa: PLC0415 - as above  # noqa: PLC0415 - as above
        NotificationReceived,
        StatusFrame,
        explain_no_message,
        format_notification,
        get_firing_session_percent,
        render_status,
    )

    screen = _create_display()
    troubles: list[str] = []
    told = 0
    used: float | None = None
    drawn: datetime | None = None
    with screen or nullcontext():
        say = _make_line_printer(screen)
        for happening in events:
            if isinstance(happening, StatusFrame):
                before, used = used, get_firing_session_percent(happening.status)
                words = explain_no_message(before, used)
                if words:
                    say(happening.at, [words])
                lines = render_status(happening.status, happening.at, symbols)
                drawn = _draw_status(screen, lines, happening.at, drawn)
            elif isinstance(happening, NotificationReceived):
                told += 1
                say(happening.at, format_notification(happening.payload, symbols))
            else:
                troubles.append(happening.text)
                say(happening.at, [f"trouble: {happening.text}"])
    return troubles, told


def _create_display() -> "Live | None":
    """A picture redrawn in place; None where the output is no terminal."""
    if not sys.stdout.isatty():
        return None
    from rich.console import Console  # noqa: PLC0415 - heavy, and of use to a terminal alone
    from rich.live import Live  # noqa: PLC0415 - likewise

    console = Console(highlight=False, soft_wrap=True)
    return None if console.is_dumb_terminal else Live(console=console, auto_refresh=False)


def _make_line_printer(display: "Live | None") -> Callable[[datetime, list[str]], None]:
    """Says lines that stay, with the simulated time before the first."""

    def say(at: datetime, lines: list[str]) -> None:
        stamped = [f"{at.astimezone():%H:%M}  {lines[0]}", *(f"       {line}" for line in lines[1:])]
        for line in stamped:
            if display is None:
                click.echo(line)
            else:
                display.console.print(line, markup=False)

    return say


def _draw_status(display: "Live | None", lines: list[str], at: datetime, drawn_at: datetime | None) -> datetime:
    """Draw the picture: in place, or now and then below what was said. Returns when it was last drawn."""
    if display is not None:
        from rich.text import Text  # noqa: PLC0415 - as above

        display.update(Text("\n".join(["", *lines])), refresh=True)
        return at
    if drawn_at is not None and at - drawn_at < REDRAW_EVERY:
        return drawn_at
    click.echo("\n".join(["", *lines]))
    return at
