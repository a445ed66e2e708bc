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

from watcher import doors
from watcher.errors import WatcherError

if TYPE_CHECKING:
    from rich.live import Live

    from watcher.demo.picture import Style
    from watcher.demo.play import Happening

PICTURE_EVERY = timedelta(hours=4)  # simulated; where the picture cannot be redrawn in place


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
    from watcher.demo.day import MONDAY, Day  # noqa: PLC0415 - likewise
    from watcher.demo.picture import style  # noqa: PLC0415 - a demonstration's own weight
    from watcher.demo.play import Play, has_desktop  # noqa: PLC0415 - likewise

    look = style(sys.stdout.encoding)
    day = Day(MONDAY.replace(tzinfo=None).astimezone())  # its wall clock is this machine's
    signal.signal(signal.SIGTERM, _end)  # so that the temporary folder goes, as with Ctrl-C
    world = doors.real()
    desktop = has_desktop(world, world.clock.now())
    for line in _opening(desktop=desktop):
        click.echo(line)
    with (
        tempfile.TemporaryDirectory(prefix="watcher-demo-") as folder,
        Play(Path(folder), day, speed, desktop=desktop) as play,
    ):
        troubles, told = _show(play.happenings(), look)
        asked = len(play.server.asked) - told
    click.echo(f"\nThe day is over: {asked} requests to the providers, {told} notifications.")
    click.echo("Now with your own logins: watcher init, then watcher run")
    if troubles:
        raise DemoError(f"the demonstration had trouble: {troubles[0]}; please report it")


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _opening(*, desktop: bool) -> list[str]:
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


def _show(happenings: Iterable["Happening"], look: "Style") -> tuple[list[str], int]:
    """Show all of it as it comes. Returns what went wrong, and how many notifications there were."""
    from watcher.demo.picture import firing_session, notification, picture, quiet_words  # noqa: PLC0415 - as above
    from watcher.demo.play import Frame, Notified  # noqa: PLC0415 - as above

    screen = _screen()
    troubles: list[str] = []
    told = 0
    used: float | None = None
    drawn: datetime | None = None
    with screen or nullcontext():
        say = _above(screen)
        for happening in happenings:
            if isinstance(happening, Frame):
                before, used = used, firing_session(happening.status)
                words = quiet_words(before, used)
                if words:
                    say(happening.at, [words])
                lines = picture(happening.status, happening.at, look)
                drawn = _draw(screen, lines, happening.at, drawn)
            elif isinstance(happening, Notified):
                told += 1
                say(happening.at, notification(happening.payload, look))
            else:
                troubles.append(happening.text)
                say(happening.at, [f"trouble: {happening.text}"])
    return troubles, told


def _screen() -> "Live | None":
    """A picture redrawn in place; None where the output is no terminal."""
    if not sys.stdout.isatty():
        return None
    from rich.console import Console  # noqa: PLC0415 - heavy, and of use to a terminal alone
    from rich.live import Live  # noqa: PLC0415 - likewise

    console = Console(highlight=False, soft_wrap=True)
    return None if console.is_dumb_terminal else Live(console=console, auto_refresh=False)


def _above(screen: "Live | None") -> Callable[[datetime, list[str]], None]:
    """Says lines that stay, with the simulated time before the first."""

    def say(at: datetime, lines: list[str]) -> None:
        stamped = [f"{at.astimezone():%H:%M}  {lines[0]}", *(f"       {line}" for line in lines[1:])]
        for line in stamped:
            if screen is None:
                click.echo(line)
            else:
                screen.console.print(line, markup=False)

    return say


def _draw(screen: "Live | None", lines: list[str], at: datetime, drawn: datetime | None) -> datetime:
    """Draw the picture: in place, or now and then below what was said. Returns when it was last drawn."""
    if screen is not None:
        from rich.text import Text  # noqa: PLC0415 - as above

        screen.update(Text("\n".join(["", *lines])), refresh=True)
        return at
    if drawn is not None and at - drawn < PICTURE_EVERY:
        return drawn
    click.echo("\n".join(["", *lines]))
    return at
