"""`watcher status`: what is known now, from the store, so it answers at once."""

import sys
from collections.abc import Callable
from datetime import datetime
from threading import Event
from typing import TYPE_CHECKING

import click
from msgspec import structs

from watcher import clock, doors, inbox, paths
from watcher.cli import BAR_FORMATS, bar, complete, selection, words
from watcher.cli.columns import get_output_width
from watcher.cli.stored import open_store
from watcher.core.selector import Selector
from watcher.errors import NoReadingsError
from watcher.lock import Lock
from watcher.paths import Paths
from watcher.standing import build_status as standing
from watcher.standing import find_config_error
from watcher.status_document import StatusDocument, format_json, make_empty_status

if TYPE_CHECKING:
    from rich.console import Console

WATCH_EVERY_S = 2.0
_CURSOR_HOME, _CLEAR_LINE_END, _CLEAR_SCREEN_END = "\x1b[H", "\x1b[K", "\x1b[J"


@click.command()
@click.argument("series", nargs=-1, shell_complete=complete.complete_series)
@click.option("--json", "as_document", is_flag=True, help="The whole document (watcher.status.v1).")
@click.option("--watch", is_flag=True, help="Show it live, until Ctrl-C.")
@click.option("--refresh", is_flag=True, help="Poll first.")
@click.option("--all", "every_provider", is_flag=True, help="Name the providers without a login too.")
@click.option("--format", "form", type=click.Choice(BAR_FORMATS), help="One line for a status bar.")
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
    _require_one_format(
        {"--json": as_document, "--watch": watch, "--format": bool(form), "--template": template is not None}
    )
    if every_provider and (as_document or form or template is not None):
        raise click.UsageError("--all is for the table; the other forms hold what was read")
    if form and series:
        raise click.UsageError("--format shows every provider in one line; choose with --template instead")
    chosen = selection.parse_selectors(series)
    if template is not None:
        selection.validate_template(template)
    around = doors.read_host_info()
    own = paths.resolve_paths(around.env, around.home)
    if refresh:
        _refresh_readings(own)
    if form:
        bar.print_status_line(form)
    elif as_document:
        click.echo(format_json(selection.select_windows(load_status(own, clock.utc_now()), chosen)))
    else:
        _print_status(own, chosen, template, watch=watch, every_provider=every_provider)


def _print_status(
    paths: Paths, selectors: tuple[Selector, ...], template: str | None, *, watch: bool, every_provider: bool
) -> None:
    """For people: the template's lines, or the table."""
    now = clock.utc_now()
    found = load_status(paths, now)
    selection.require_match(found, selectors)
    if template is None:
        _show_table(
            lambda at: selection.select_windows(load_status(paths, at), selectors),
            paths,
            watch=watch,
            every_provider=every_provider,
        )
        return
    tongue = words.StatusFormatter(now, clock.LocalZone())
    for line in selection.render_template_lines(
        selection.select_windows(found, selectors), template, tongue, selectors
    ):
        click.echo(bar.sanitize_line(line, sys.stdout.encoding or "ascii"))


def load_status(paths: Paths, now: datetime) -> StatusDocument:
    """The document; of a machine that was never asked anything, an empty one."""
    import_pending_statusline(paths)
    try:
        store = open_store(paths, now)
    except NoReadingsError:
        return make_empty_status(now)
    try:
        found, refused = standing(store, now=now), find_config_error(store)
    finally:
        store.close()
    if found.daemon_running and Lock(paths.state_dir).read_holder_pid() is None:
        found = structs.replace(found, daemon_running=False)  # killed: it could not say farewell
    return found if refused is None else _recheck_config_error(found, refused, paths)


def _recheck_config_error(document: StatusDocument, last_error: tuple[str, datetime], paths: Paths) -> StatusDocument:
    """The document with what is wrong with the config now, and not when it was last read."""
    from watcher.cli.mended import recheck_config  # noqa: PLC0415 - reads the whole config, only where it was refused

    wrong = recheck_config(*last_error, paths)
    if wrong is None:
        Lock(paths.state_dir).signal_holder()  # it would notice at its next waking, up to five minutes from now
    return structs.replace(document, config_error=wrong)


def import_pending_statusline(paths: Paths) -> None:
    """Take what Claude Code's status line handed over while no watcher ran."""
    if inbox.has_entry(paths.state_dir, inbox.CLAUDE_STATUSLINE):
        from watcher import handover  # noqa: PLC0415 - the engine, only where there is something to judge

        handover.import_statusline(paths, doors.create_environment())


def _require_one_format(formats: dict[str, bool]) -> None:
    several = [name for name, is_asked in formats.items() if is_asked]
    if len(several) > 1:
        raise click.UsageError(f"{' and '.join(several)} are different forms of the answer; choose one")


def _refresh_readings(paths: Paths) -> None:
    from watcher.cli.refresh import refresh_readings  # noqa: PLC0415 - the daemon's whole machinery, only where it polls

    remark = refresh_readings(paths, doors.create_environment())
    if remark:
        click.echo(remark, err=True)


# --- the table --------------------------------------------------------------------------------------------------------


def _show_table(
    load_document: Callable[[datetime], StatusDocument], paths: Paths, *, watch: bool, every_provider: bool
) -> None:
    from rich.console import Console  # noqa: PLC0415 - only where something is drawn

    console = Console(highlight=False, markup=False, emoji=False)
    if not watch:
        draw_table(console, load_document(clock.utc_now()), paths, every_provider=every_provider)
        return
    if not console.is_terminal:
        raise click.UsageError("--watch needs a terminal; for a program there is --json")
    run_live_display(
        console, lambda: draw_table(console, load_document(clock.utc_now()), paths, every_provider=every_provider)
    )


def draw_table(console: "Console", document: StatusDocument, paths: Paths, *, every_provider: bool) -> None:
    """Print the table."""
    from watcher.cli.table import render_status_table  # noqa: PLC0415 - likewise
    from watcher.providers.registry import PROVIDERS  # noqa: PLC0415 - every provider, for their names alone

    here = {account.provider for account in document.providers}
    absent = [provider for provider in PROVIDERS if provider not in here] if every_provider else []
    tongue = words.StatusFormatter(document.generated_at, clock.LocalZone())
    if not document.providers:
        console.print(format_no_readings(document, paths), soft_wrap=True)
    lines = render_status_table(
        document,
        tongue,
        console.width,
        provider_names={provider: facts.name for provider, facts in PROVIDERS.items()},
        absent_providers=absent,
        ascii_only=not _supports_blocks(console.encoding),
        wrap=get_output_width()
        == console.width,  # a terminal, or a width that somebody asked for; a program gets whole lines
    )
    for line in lines:
        console.print(line, soft_wrap=True)


def _supports_blocks(encoding: str) -> bool:
    try:
        "█░·…".encode(encoding)
    except (UnicodeError, LookupError):
        return False
    return True


def format_no_readings(document: StatusDocument, paths: Paths) -> str:
    """What a fresh machine is told."""
    if document.daemon_seen_at is not None:
        return "No login was found yet: sign in to one of the tools; `watcher init` says where it looks."
    return (
        f"No readings yet in {paths.state_dir}.\n"
        "  watcher init     says which logins it finds\n"
        "  watcher check    asks once\n"
    )


def run_live_display(
    console: "Console", draw_once: Callable[[], None], wait: Callable[[float], object] | None = None
) -> None:
    """Draw again and again on a screen of its own, until Ctrl-C; what was seen last stays in the terminal."""
    wait = wait or Event().wait
    try:
        with console.screen(hide_cursor=True):
            while True:
                with console.capture() as frame:
                    draw_once()
                rows = frame.get().splitlines()[: console.height - 1]
                # over what was there and not after clearing it: a screen that is cleared flickers
                console.file.write(
                    _CURSOR_HOME + "".join(f"{row}{_CLEAR_LINE_END}\n" for row in rows) + _CLEAR_SCREEN_END
                )
                console.file.flush()
                wait(WATCH_EVERY_S)
    except KeyboardInterrupt:
        draw_once()
