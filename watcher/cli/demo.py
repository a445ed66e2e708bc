"""`watcher demo`: a simulated day in about a minute, with the real daemon, rules, database and notifiers."""

import signal
import sys
import tempfile
from collections.abc import Iterable
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click
from msgspec import structs

from watcher.errors import WatcherError
from watcher.system import clock, environment

if TYPE_CHECKING:
    from rich.text import Text

    from watcher.demo.player import DemoEvent, StatusFrame

PICTURE_WIDTH = 80
REDRAW_EVERY = timedelta(hours=4)  # simulated; where the output is no terminal


class DemoError(WatcherError):
    """The demonstration failed."""


@click.command()
@click.option("--speed", type=click.FloatRange(60, 20_000), default=1440, show_default=True, metavar="N",
              help="Simulated seconds in a second; 1440 is a day in a minute.")  # fmt: skip
def demo(speed: float) -> None:
    """Watch a simulated day go by, in about a minute.

    Everything is real but the providers and the clock: a temporary home, configuration and database, and a server on
    the loopback address that plays all six. Your own logins and settings are not touched.
    """
    from watcher.cli import service  # noqa: PLC0415 - heavy, and imported for the help of all commands
    from watcher.demo import player  # noqa: PLC0415 - likewise
    from watcher.demo.scenario import MONDAY, SimulatedDay  # noqa: PLC0415 - likewise

    day = SimulatedDay(MONDAY.replace(tzinfo=None).astimezone())  # its wall clock is this machine's
    signal.signal(signal.SIGTERM, _exit_on_signal)  # so that the temporary folder is removed, as with Ctrl-C
    desktop = service.notify_desktop(
        "AI usage watcher: demonstration", "Notifications appear here.", environment.create_environment()
    )
    click.echo("A simulated day of six AI coding tools; the watcher itself is the real one.")
    if desktop:
        click.echo("Notifications appear on this desktop, and here.")
    else:
        click.echo("This machine shows no desktop notifications; they appear here.")
    click.echo("Rules: claude.five_hour > 80% (clear < 70%), copilot.remaining < 0")
    with (
        tempfile.TemporaryDirectory(prefix="watcher-demo-") as folder,
        player.DemoPlayer(Path(folder), day, speed, desktop=desktop) as running,
    ):
        problems, notification_count = _print_events(running.iter_events())
        request_count = len(running.server.requests) - notification_count
    click.echo(f"\nThe day is over: {request_count} requests to the providers, {notification_count} notifications.")
    click.echo("Now with your own logins: watcher init, then watcher run")
    if problems:
        raise DemoError(f"the demonstration failed: {problems[0]}; please report it")


def _exit_on_signal(signal_number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signal_number)


class _Screen:
    """The picture, redrawn in place on a terminal, and lines that stay above it."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - heavy
        from rich.live import Live  # noqa: PLC0415 - likewise

        console = Console(highlight=False, soft_wrap=True)
        is_terminal = sys.stdout.isatty() and not console.is_dumb_terminal
        self.live = Live(console=console, auto_refresh=False) if is_terminal else None
        self._drawn_at: datetime | None = None

    def print_lines(self, at: datetime, lines: list[str]) -> None:
        """Lines that stay, with the simulated time before the first."""
        for line in [f"{at.astimezone():%H:%M}  {lines[0]}", *(f"       {line}" for line in lines[1:])]:
            if self.live is None:
                click.echo(line)
            else:
                self.live.console.print(line, markup=False)

    def draw(self, frame: "StatusFrame", *, ascii_only: bool) -> None:
        """The picture: in place, or now and then below the lines."""
        if self.live is not None:
            self.live.update(render_frame(frame, ascii_only=ascii_only), refresh=True)
        elif frame.status.providers and (self._drawn_at is None or frame.at - self._drawn_at >= REDRAW_EVERY):
            click.echo(render_frame(frame, ascii_only=ascii_only).plain)
            self._drawn_at = frame.at


def render_frame(frame: "StatusFrame", *, ascii_only: bool) -> "Text":
    """The simulated time, and the table of `watcher status` with the primary window of each provider."""
    from rich.text import Text  # noqa: PLC0415 - heavy

    from watcher.cli.status_table import render_status_table  # noqa: PLC0415 - likewise
    from watcher.cli.status_text import StatusFormatter  # noqa: PLC0415 - likewise

    accounts = [
        structs.replace(account, windows=[window for window in account.windows if window.primary])
        for account in frame.status.providers
    ]
    table = render_status_table(
        structs.replace(frame.status, providers=accounts),
        StatusFormatter(frame.at, clock.LocalZone()),
        PICTURE_WIDTH,
        ascii_only=ascii_only,
        wrap=True,
        show_daemon=False,
    )
    title = Text(f"\n{frame.at.astimezone():%A %H:%M}, simulated\n")
    return Text("\n").join([title, *(line for line in table if line.plain)])  # it fits in 24 rows


def _print_events(events: Iterable["DemoEvent"]) -> tuple[list[str], int]:
    """Show everything that happens. Returns the problems, and how many notifications there were."""
    from watcher.cli.status import supports_blocks  # noqa: PLC0415 - as above
    from watcher.demo import player  # noqa: PLC0415 - likewise

    screen, problems, notification_count = _Screen(), list[str](), 0
    ascii_only = not supports_blocks(sys.stdout.encoding or "ascii")
    used: float | None = None
    with screen.live or nullcontext():
        for event in events:
            if isinstance(event, player.StatusFrame):
                previous, used = used, player.get_firing_session_percent(event.status)
                explanation = player.explain_no_message(previous, used)
                if explanation:
                    screen.print_lines(event.at, [explanation])
                screen.draw(event, ascii_only=ascii_only)
            elif isinstance(event, player.NotificationReceived):
                notification_count += 1
                screen.print_lines(event.at, player.format_notification(event.payload, "!" if ascii_only else "●"))
            else:
                problems.append(event.text)
                screen.print_lines(event.at, [f"problem: {event.text}"])
    return problems, notification_count
