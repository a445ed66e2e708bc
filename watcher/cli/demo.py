"""`watcher demo`: a simulated day in about a minute, with the real daemon, rules, database and notifiers."""

import signal
import sys
import tempfile
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click
from msgspec import structs

from watcher.errors import WatcherError
from watcher.system import clock, environment

if TYPE_CHECKING:
    from rich.text import Text

    from watcher.demo.player import DemoEvent
    from watcher.status.document import StatusDocument

PICTURE_WIDTH = 80


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
        notification_count = _print_events(running.iter_events())
        request_count = len(running.server.requests) - notification_count
    click.echo(f"\nThe day is over: {request_count} requests to the providers, {notification_count} notifications.")
    click.echo("Now with your own logins: watcher init, then watcher run")


def _exit_on_signal(signal_number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signal_number)


def render_status(status: "StatusDocument", *, ascii_only: bool) -> "Text":
    """The simulated time, and the table of `watcher status` with the primary window of each provider."""
    from rich.text import Text  # noqa: PLC0415 - heavy

    from watcher.cli.status_table import render_status_table  # noqa: PLC0415 - likewise
    from watcher.cli.status_text import StatusFormatter  # noqa: PLC0415 - likewise

    accounts = [
        structs.replace(account, windows=[window for window in account.windows if window.primary])
        for account in status.providers
    ]
    table = render_status_table(
        structs.replace(status, providers=accounts),
        StatusFormatter(status.generated_at, clock.LocalZone()),
        PICTURE_WIDTH,
        ascii_only=ascii_only,
        wrap=True,
        show_daemon=False,
    )
    title = Text(f"\n{status.generated_at.astimezone():%A %H:%M}, simulated\n")
    return Text("\n").join([title, *(line for line in table if line.plain)])  # it fits in 24 rows


def _print_events(events: Iterable["DemoEvent"]) -> int:
    """Show everything that happens. Returns how many notifications there were.

    Raises:
        DemoError: something happened that should not.
    """
    from rich.console import Console  # noqa: PLC0415 - heavy
    from rich.live import Live  # noqa: PLC0415 - likewise

    from watcher.cli.status import supports_blocks  # noqa: PLC0415 - likewise
    from watcher.demo import player  # noqa: PLC0415 - likewise

    console, notification_count = Console(highlight=False, soft_wrap=True), 0
    ascii_only = not supports_blocks(sys.stdout.encoding or "ascii")
    used: float | None = None

    def print_lines(at: datetime, lines: Sequence[str]) -> None:
        for line in [f"{at.astimezone():%H:%M}  {lines[0]}", *(f"       {line}" for line in lines[1:])]:
            console.print(line, markup=False)

    with Live(console=console, auto_refresh=False) as live:
        for event in events:
            if isinstance(event, player.DemoProblem):
                raise DemoError(f"the demonstration failed: {event.text}; please report it")
            if isinstance(event, player.NotificationReceived):
                notification_count += 1
                print_lines(event.at, player.format_notification(event.payload, "!" if ascii_only else "●"))
                continue
            previous, used = used, player.get_firing_session_percent(event)
            explanation = player.explain_no_message(previous, used)
            if explanation:
                print_lines(event.generated_at, [explanation])
            live.update(render_status(event, ascii_only=ascii_only), refresh=True)
    return notification_count
