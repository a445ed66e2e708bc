"""`watcher status`: what is known now, from the store, so it answers at once."""

import sys
from collections.abc import Callable
from datetime import datetime
from threading import Event
from typing import TYPE_CHECKING

import click
from msgspec import structs

from watcher import clock, doors, inbox, paths
from watcher.cli import BARS, bar, complete, selection, words
from watcher.cli.columns import room
from watcher.cli.stored import opened
from watcher.core.selector import Selector
from watcher.errors import NoReadingsError
from watcher.lock import Lock
from watcher.paths import Paths
from watcher.standing import refusal
from watcher.standing import status as standing
from watcher.status_document import Status, as_json, empty

if TYPE_CHECKING:
    from rich.console import Console

WATCH_EVERY_S = 2.0
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


@click.command()
@click.argument("series", nargs=-1, shell_complete=complete.series)
@click.option("--json", "as_document", is_flag=True, help="The whole document (watcher.status.v1).")
@click.option("--watch", is_flag=True, help="Show it live, until Ctrl-C.")
@click.option("--refresh", is_flag=True, help="Poll first.")
@click.option("--all", "every_provider", is_flag=True, help="Name the providers without a login too.")
@click.option("--format", "form", type=click.Choice(BARS), help="One line for a status bar.")
@click.option(
    "--template", metavar="TEXT", help="One line a window in your own words: '{provider} {used_percent:.0f}%'."
)
def status(  # noqa: PLR0913 - one argument an option
    series: tuple[str, ...],
    *,
    as_document: bool,
    watch: bool,
    refresh: bool,
    every_provider: bool,
    form: str | None,
    template: str | None,
) -> None:
    """What is known now: usage, resets, alerts, and what went wrong.

    SERIES chooses windows: claude, claude.five_hour, '*.weekly'. Nothing is asked over the network, unless with
    --refresh: what you see is what the last polls brought.

    \b
    watcher status                       everything
    watcher status claude --refresh      ask now, show Claude
    watcher status --watch               live
    watcher status --json | jq '.alerts'
    watcher status --format line         claude 82%! 1h40m, codex 12% 3h05m
    watcher status --format waybar       and "return-type": "json" for waybar
    set -g status-right '#(watcher status --format tmux)'     in ~/.tmux.conf
    watcher status claude --template '{used_percent:.0f}% until {resets_at}'
    """
    _refuse_both({"--json": as_document, "--watch": watch, "--format": bool(form), "--template": template is not None})
    if every_provider and (as_document or form or template is not None):
        raise click.UsageError("--all is for the table; the other forms hold what was read")
    if form and series:
        raise click.UsageError("--format shows every provider in one line; choose with --template instead")
    chosen = selection.parse(series)
    if template is not None:
        selection.check(template)
    around = doors.surroundings()
    own = paths.find(around.env, around.home)
    if refresh:
        _refresh(own)
    if form:
        bar.show(form)
    elif as_document:
        click.echo(as_json(selection.chosen(known(own, clock.now()), chosen)))
    else:
        _tell(own, chosen, template, watch=watch, every_provider=every_provider)


def _tell(own: Paths, chosen: tuple[Selector, ...], template: str | None, *, watch: bool, every_provider: bool) -> None:
    """For people: the template's lines, or the table."""
    now = clock.now()
    found = known(own, now)
    selection.refuse_nothing(found, chosen)
    if template is None:
        _show(lambda at: selection.chosen(known(own, at), chosen), own, watch=watch, every_provider=every_provider)
        return
    tongue = words.Tongue(now, clock.LocalZone())
    for line in selection.lines(selection.chosen(found, chosen), template, tongue, chosen):
        click.echo(bar.writable(line, sys.stdout.encoding or "ascii"))


def known(own: Paths, now: datetime) -> Status:
    """The document; of a machine that was never asked anything, an empty one."""
    take_in(own)
    try:
        store = opened(own, now)
    except NoReadingsError:
        return empty(now)
    try:
        found, refused = standing(store, now=now), refusal(store)
    finally:
        store.close()
    if found.daemon_running and Lock(own.state_dir).holder() is None:
        found = structs.replace(found, daemon_running=False)  # killed: it could not say farewell
    return found if refused is None else _looked_at_again(found, refused, own)


def _looked_at_again(found: Status, refused: tuple[str, datetime], own: Paths) -> Status:
    """The document with what is wrong with the config now, and not when it was last read."""
    from watcher.cli.mended import still_wrong  # noqa: PLC0415 - reads the whole config, only where it was refused

    wrong = still_wrong(*refused, own)
    if wrong is None:
        Lock(own.state_dir).tell()  # it would notice at its next waking, up to five minutes from now
    return structs.replace(found, config_error=wrong)


def take_in(own: Paths) -> None:
    """Take what Claude Code's status line handed over while no watcher ran."""
    if inbox.waits(own.state_dir, inbox.CLAUDE_STATUSLINE):
        from watcher import handover  # noqa: PLC0415 - the engine, only where there is something to judge

        handover.take_in(own, doors.real())


def _refuse_both(asked: dict[str, bool]) -> None:
    several = [name for name, is_asked in asked.items() if is_asked]
    if len(several) > 1:
        raise click.UsageError(f"{' and '.join(several)} are different forms of the answer; choose one")


def _refresh(own: Paths) -> None:
    from watcher.cli.refresh import refresh  # noqa: PLC0415 - the daemon's whole machinery, only where it polls

    remark = refresh(own, doors.real())
    if remark:
        click.echo(remark, err=True)


# --- the table --------------------------------------------------------------------------------------------------------


def _show(look: Callable[[datetime], Status], own: Paths, *, watch: bool, every_provider: bool) -> None:
    from rich.console import Console  # noqa: PLC0415 - only where something is drawn

    console = Console(highlight=False, markup=False, emoji=False)
    if not watch:
        draw(console, look(clock.now()), own, every_provider=every_provider)
        return
    if not console.is_terminal:
        raise click.UsageError("--watch needs a terminal; for a program there is --json")
    live(console, lambda: draw(console, look(clock.now()), own, every_provider=every_provider))


def draw(console: "Console", document: Status, own: Paths, *, every_provider: bool) -> None:
    """Print the table."""
    from watcher.cli.table import table  # noqa: PLC0415 - likewise
    from watcher.providers.registry import PROVIDERS  # noqa: PLC0415 - every provider, for their names alone

    here = {account.provider for account in document.providers}
    absent = [provider for provider in PROVIDERS if provider not in here] if every_provider else []
    tongue = words.Tongue(document.generated_at, clock.LocalZone())
    if not document.providers:
        console.print(nothing_yet(document, own), soft_wrap=True)
    lines = table(
        document,
        tongue,
        console.width,
        names={provider: facts.name for provider, facts in PROVIDERS.items()},
        absent=absent,
        ascii_=not _writes_blocks(console.encoding),
        wraps=room() == console.width,  # a terminal, or a width that somebody asked for; a program gets whole lines
    )
    for line in lines:
        console.print(line, soft_wrap=True)


def _writes_blocks(encoding: str) -> bool:
    try:
        "█░·…".encode(encoding)
    except (UnicodeError, LookupError):
        return False
    return True


def nothing_yet(document: Status, own: Paths) -> str:
    """What a fresh machine is told."""
    if document.daemon_seen_at is not None:
        return "No login was found yet: sign in to one of the tools; `watcher init` says where it looks."
    return (
        f"No readings yet in {own.state_dir}.\n"
        "  watcher init     says which logins it finds\n"
        "  watcher check    asks once\n"
    )


def live(console: "Console", draw_once: Callable[[], None], wait: Callable[[float], object] | None = None) -> None:
    """Draw again and again on a screen of its own, until Ctrl-C; what was seen last stays in the terminal."""
    wait = wait or Event().wait
    try:
        with console.screen(hide_cursor=True):
            while True:
                with console.capture() as frame:
                    draw_once()
                rows = frame.get().splitlines()[: console.height - 1]
                # over what was there and not after clearing it: a screen that is cleared flickers
                console.file.write(_HOME + "".join(f"{row}{_REST_OF_LINE}\n" for row in rows) + _REST_OF_SCREEN)
                console.file.flush()
                wait(WATCH_EVERY_S)
    except KeyboardInterrupt:
        draw_once()
