"""`watcher status`: what is known now. It answers at once, because it reads `status.json` and polls nothing."""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from threading import Event
from typing import TYPE_CHECKING

import click
from msgspec import structs

from watcher.cli import BAR_FORMATS, EXIT_INTERRUPTED, completion, status_bar
from watcher.cli.context import find_paths, load_effective_config, open_store, parse_with_providers
from watcher.cli.output import get_output_width
from watcher.cli.status_text import StatusFormatter
from watcher.core import formatting
from watcher.core.model import Series
from watcher.core.rules.ast import Selector
from watcher.core.rules.parser import ExpressionError, parse_selector
from watcher.core.rules.template import check_template, render_template
from watcher.errors import ConfigError, NoReadingsError, WatcherError
from watcher.status.document import (
    AccountStatus,
    AlertStatus,
    StatusDocument,
    WindowStatus,
    format_json,
    read_status,
)
from watcher.system import clock
from watcher.system.lock import Lock
from watcher.system.paths import Paths

if sys.platform == "win32":
    import msvcrt
else:
    import select
    import termios
    import tty

if TYPE_CHECKING:
    from rich.console import Console

WATCH_EVERY_S = 2.0
_KEY_EVERY_S = 0.1  # how often Windows is asked for a key
_PROVIDER_END_PATTERN = re.compile(r"[.\[]")


@click.command()
@click.argument("series", nargs=-1, shell_complete=completion.complete_series)
@click.option("--json", "as_document", is_flag=True, help="The whole document (watcher.status.v1).")
@click.option("--watch", is_flag=True, help="Show it live, until q or Ctrl-C.")
@click.option("--refresh", is_flag=True, help="Poll first.")
@click.option("--format", "bar_format", type=click.Choice(BAR_FORMATS), help="For a status bar or its menu.")
@click.option(
    "--template", metavar="TEXT", help="One line a window, in your own words: '{provider} {used_percent:.0f}%'."
)
def status(  # noqa: PLR0913 - one argument an option
    series: tuple[str, ...],
    *,
    as_document: bool,
    watch: bool,
    refresh: bool,
    bar_format: str | None,
    template: str | None,
) -> int:
    """Show what is known now: usage, resets, alerts, problems.

    SERIES selects windows: claude, claude.five_hour, '*.weekly'. Without --refresh nothing is polled: you see the
    readings of the last polls.

    \b
    watcher status                       everything
    watcher status claude --refresh      poll now, show Claude
    watcher status --watch               live
    watcher status --json | jq '.alerts'
    watcher status --format line         claude 82%! 1h40m, codex 12% 3h05m
    watcher status --format waybar       and "return-type": "json" for waybar
    watcher status --format swiftbar     a menu for SwiftBar, xbar and Argos
    set -g status-right '#(watcher status --format tmux)'     in ~/.tmux.conf
    set -g status-right-length 120       there too: tmux cuts at 40 characters
    watcher status claude --template '{used_percent:.0f}% until {resets_at}'
    """
    formats = {"--json": as_document, "--watch": watch, "--format": bar_format, "--template": template is not None}
    given = [option for option, is_given in formats.items() if is_given]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} are different formats; choose one")
    if bar_format and series:
        raise click.UsageError("--format shows every provider in one line; select windows with --template instead")
    selectors = parse_selectors(series)
    if template is not None:
        _validate_template(template)
    own = find_paths()
    if refresh:
        from watcher.cli.check import refresh as poll  # noqa: PLC0415 - the daemon's modules, only where it polls

        poll(own)
    if bar_format:
        status_bar.print_status_line(bar_format)
        return 0
    document = load_status(own, clock.utc_now())
    if as_document:
        click.echo(format_json(select_windows(document, selectors)))
        return 0
    require_match(document, selectors)
    if template is not None:
        formatter = StatusFormatter(document.generated_at, clock.LocalZone())
        for line in render_template_lines(select_windows(document, selectors), template, selectors, formatter):
            click.echo(status_bar.sanitize_line(line, sys.stdout.encoding or "ascii"))
    elif watch:
        return _watch(own, selectors)
    else:
        _print_selected(create_console(), document, selectors, own)
    return 0


# --- the document ---------------------------------------------------------------------------------------------------


def load_status(paths: Paths, now: datetime) -> StatusDocument:
    """The document as it is now; an empty one if nothing was ever polled here.

    Raises:
        StoreError: there is no `status.json`, and the database cannot be read.
    """
    document = read_status(paths.state_dir, now=now) or _build_from_store(paths, now)
    if document.daemon_running and Lock(paths.state_dir).read_holder_pid() is None:
        document = structs.replace(document, daemon_running=False)  # killed: it could not record its end
    edited = document.daemon_running and document.daemon_seen_at and _was_config_edited(paths, document.daemon_seen_at)
    return _recheck_config_error(document, paths) if document.config_error is not None or edited else document


def _build_from_store(paths: Paths, now: datetime) -> StatusDocument:
    """The document of a database to which no `status.json` was written yet: before an upgraded daemon's first poll."""
    from watcher.status.builder import (  # noqa: PLC0415 - the store and the engine, rarely needed
        ConfigFacts,
        build_status,
        collect_config_facts,
    )

    facts = ConfigFacts()
    with suppress(ConfigError):
        facts = structs.replace(collect_config_facts(load_effective_config()), broken_channels={})
    try:
        with open_store(paths, now) as store:
            return build_status(store, facts, now=now)
    except NoReadingsError:
        return StatusDocument(generated_at=now)


def _was_config_edited(paths: Paths, since: datetime) -> bool:
    """Whether a config file has changed since the daemon last reported, so that it may not have seen it."""
    folders = [paths.rules_dir, paths.providers_dir]
    files = [paths.config_file, *folders, *(file for folder in folders for file in folder.glob("*.toml"))]
    for file in files:
        try:
            if datetime.fromtimestamp(file.stat().st_ctime, UTC) > since:
                return True
        except OSError:
            continue
    return False


def _recheck_config_error(document: StatusDocument, paths: Paths) -> StatusDocument:
    """The document with the config's mistakes of now, not of when it was last loaded."""
    try:
        load_effective_config()
    except ConfigError as error:
        return structs.replace(document, config_error=str(error))
    Lock(paths.state_dir).signal_holder()  # it would notice at its next wake-up
    return structs.replace(document, config_error=None)


# --- the table ------------------------------------------------------------------------------------------------------


def create_console() -> "Console":
    """Standard output as `rich` writes to it."""
    from rich.console import Console  # noqa: PLC0415 - only where something is drawn

    return Console(highlight=False, markup=False, emoji=False)


def print_table(
    console: "Console",
    document: StatusDocument,
    empty_message: str,
    *,
    show_daemon: bool = True,
) -> None:
    """Print the table, or `empty_message` where there is no account, and the problems."""
    from watcher.cli.status_table import render_status_table  # noqa: PLC0415 - likewise

    lines = render_status_table(
        document,
        StatusFormatter(document.generated_at, clock.LocalZone()),
        console.width,
        empty_message=empty_message,
        ascii_only=not supports_blocks(console.encoding),
        wrap=get_output_width() == console.width,  # a terminal or COLUMNS; a program gets whole lines
        show_daemon=show_daemon,
    )
    for line in lines:
        console.print(line, soft_wrap=True)


def supports_blocks(encoding: str) -> bool:
    """Whether a terminal of that encoding has the characters of bars."""
    try:
        "█░·…".encode(encoding)
    except (UnicodeError, LookupError):
        return False
    return True


def _print_selected(
    console: "Console",
    document: StatusDocument,
    selectors: Sequence[Selector],
    paths: Paths,
) -> None:
    empty_message = (
        "No login was found yet: sign in to one of the tools; `watcher init` says how."
        if document.daemon_seen_at is not None
        else f"No readings yet in {paths.state_dir}.\n"
        "  watcher init     says which logins it finds\n"
        "  watcher check    polls once\n"
    )
    print_table(console, select_windows(document, selectors), empty_message)


def _watch(paths: Paths, selectors: Sequence[Selector]) -> int:
    console = create_console()
    if not console.is_terminal:
        raise click.UsageError("--watch needs a terminal; for a program there is --json")

    def draw_once() -> None:
        document = load_status(paths, clock.utc_now())
        at = document.generated_at.astimezone(clock.LocalZone())
        console.print(f"{at:%H:%M:%S}  q: quit\n", soft_wrap=True)
        _print_selected(console, document, selectors, paths)

    with _read_keys() as is_quit:
        return run_live_display(console, draw_once, is_quit)


def run_live_display(console: "Console", draw_once: Callable[[], None], is_quit: Callable[[float], bool]) -> int:
    """Draw every two seconds on a screen of its own; the last picture stays in the terminal.

    Args:
        console: the terminal.
        draw_once: prints the picture.
        is_quit: waits for so many seconds, or until the user ends it; whether that was so.

    Returns:
        The exit code: 0, or 130 after Ctrl-C.
    """
    from rich.control import Control  # noqa: PLC0415 - only where something is drawn
    from rich.text import Text  # noqa: PLC0415 - likewise

    code, is_over = 0, False
    try:
        with console.screen() as screen:
            while not is_over:
                with console.capture() as frame:
                    draw_once()
                console.control(Control.home())
                screen.update(Text.from_ansi(frame.get()))
                is_over = is_quit(WATCH_EVERY_S)
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    draw_once()
    return code


@contextmanager
def _read_keys() -> Iterator[Callable[[float], bool]]:
    """Lets a terminal hand over each key at once: yields what waits so many seconds for `q`."""
    if not sys.stdin.isatty():
        yield Event().wait  # Ctrl-C alone ends it
    elif sys.platform == "win32":
        yield _wait_for_quit
    else:
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
        try:
            tty.setcbreak(descriptor)
            yield _wait_for_quit
        finally:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


if sys.platform == "win32":

    def _wait_for_quit(timeout_s: float) -> bool:
        pause = Event()
        for _ in range(round(timeout_s / _KEY_EVERY_S)):
            if msvcrt.kbhit():
                return msvcrt.getwch() in "qQ"
            pause.wait(_KEY_EVERY_S)
        return False
else:

    def _wait_for_quit(timeout_s: float) -> bool:
        readable, _, _ = select.select([sys.stdin], [], [], timeout_s)
        return bool(readable) and os.read(sys.stdin.fileno(), 64)[:1] in (b"q", b"Q", b"")  # b"": the terminal is gone


# --- selected windows -----------------------------------------------------------------------------------------------


def parse_selectors(texts: Iterable[str]) -> tuple[Selector, ...]:
    """The selectors of a command line.

    Raises:
        click.UsageError: one is malformed; says what would be valid.
    """
    selectors = []
    for text in texts:
        try:
            selector, field = parse_with_providers(parse_selector, text)
        except ExpressionError as error:
            raise click.UsageError(f"`{text}`: {error.message}") from None
        if field:
            raise click.UsageError(f"`{text}`: a series has no `.{field}` here; write `{selector}`")
        selectors.append(selector)
    return tuple(selectors)


def select_windows(document: StatusDocument, selectors: Sequence[Selector]) -> StatusDocument:
    """The document with the selected windows and their alerts; a provider without a window means all of them."""
    if not selectors:
        return document
    accounts = []
    for account in document.providers:
        windows = [
            window for window in account.windows if any(_matches_window(each, account, window) for each in selectors)
        ]
        if windows or any(_matches_account(each, account) for each in selectors):
            accounts.append(structs.replace(account, windows=windows))
    left_out = set(_list_series(document.providers)) - set(_list_series(accounts))
    providers = {account.provider for account in accounts}

    def select_alerts(alerts: Iterable[AlertStatus]) -> list[AlertStatus]:
        return [
            alert
            for alert in alerts
            if alert.series not in left_out and _PROVIDER_END_PATTERN.split(alert.series, maxsplit=1)[0] in providers
        ]

    return structs.replace(
        document,
        providers=accounts,
        alerts=select_alerts(document.alerts),
        waiting=select_alerts(document.waiting),
    )


def require_match(document: StatusDocument, selectors: Sequence[Selector]) -> None:
    """Check that there are readings of the selected windows.

    Raises:
        WatcherError: there are others only; lists them.
    """
    if document.providers and not select_windows(document, selectors).providers:
        asked = ", ".join(f"`{selector}`" for selector in selectors)
        raise WatcherError(f"no reading of {asked}; there are: {', '.join(_list_series(document.providers)) or 'none'}")


def _list_series(accounts: Iterable[AccountStatus]) -> list[str]:
    return [window.series for account in accounts for window in account.windows]


def _matches_window(selector: Selector, account: AccountStatus, window: WindowStatus) -> bool:
    name = account.account or ""
    series = Series(provider=account.provider, account=name, window=window.window)
    return selector.for_all_windows.matches(series, name, window.kind, is_primary=window.primary)


def _matches_account(selector: Selector, account: AccountStatus) -> bool:
    """Whether an account without windows is meant: its error is the answer."""
    named = not selector.account or selector.account.casefold() == (account.account or "").casefold()
    return not account.windows and selector.provider in ("*", account.provider) and named


# --- templates ------------------------------------------------------------------------------------------------------


def _validate_template(text: str) -> None:
    try:
        check_template(text)
    except ExpressionError as error:
        raise click.UsageError(f"--template: {error}") from None


def render_template_lines(
    document: StatusDocument, text: str, selectors: Sequence[Selector], formatter: StatusFormatter
) -> Iterator[str]:
    """The template, filled once for each window that was selected by name, else for each account's primary window."""
    by_name = [selector for selector in selectors if selector.window]
    for account in document.providers:
        for window in account.windows:
            if window.primary or any(_matches_window(selector, account, window) for selector in by_name):
                yield render_template(text, _collect_template_values(document, account, window, formatter))


def _collect_template_values(
    document: StatusDocument, account: AccountStatus, window: WindowStatus, formatter: StatusFormatter
) -> dict[str, object]:
    now, at = formatter.now, window.resets_at if window.resets_at and window.resets_at > formatter.now else None
    alert = next((each for each in document.alerts if each.series == window.series and each.state == "firing"), None)
    return {
        "provider": account.provider,
        "account": account.account,
        "plan": account.plan,
        "window": window.window,
        "label": window.label or window.window,
        "series": window.series,
        "used_percent": window.used_percent,
        "remaining_percent": None if window.used_percent is None else 100 - window.used_percent,
        "used": window.used,
        "limit": window.limit,
        "remaining": window.remaining,
        "unit": window.unit,
        "resets_in": None if at is None else formatting.format_duration(at - now),
        "resets_at": None if at is None else formatter.format_time(at),
        "projected": window.projected_percent,
        "age": None if account.fetched_at is None else formatting.format_duration(now - account.fetched_at),
        "error": None if account.error is None else account.error.message,
        "rule": None if alert is None else alert.rule,
        "severity": None if alert is None else alert.severity,
        "since": None if alert is None or alert.since is None else formatter.format_time(alert.since),
        "event": None if alert is None else alert.state,
    }
