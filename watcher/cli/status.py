"""`watcher status`: what is known now, from the store, so it answers at once."""

import sys
from collections.abc import Callable
from datetime import datetime
from threading import Event
from typing import TYPE_CHECKING

import click
from msgspec import structs

from watcher import environment
from watcher.cli import BAR_FORMATS, completion, format, status_bar
from watcher.cli.context import open_store
from watcher.cli.output import get_output_width
from watcher.core.rules.selector import Selector
from watcher.errors import NoReadingsError
from watcher.polling import inbox
from watcher.status.builder import build_status as standing
from watcher.status.builder import find_config_error
from watcher.status.document import StatusDocument, format_json, make_empty_status
from watcher.system import clock, paths
from watcher.system.lock import Lock
from watcher.system.paths import Paths

if TYPE_CHECKING:
    from rich.console import Console

import re
from collections.abc import Collection, Iterable, Iterator

import click
from msgspec import structs

from watcher.cli import format
from watcher.cli.format import StatusFormatter
from watcher.core import formatting
from watcher.core.model import Series
from watcher.core.rules import template
from watcher.core.rules.parser import ExpressionError, parse_selector
from watcher.core.rules.selector import Selector
from watcher.errors import WatcherError
from watcher.status.document import AccountStatus, AlertStatus, StatusDocument, WindowStatus

WATCH_EVERY_S = 2.0
_CURSOR_HOME, _CLEAR_LINE_END, _CLEAR_SCREEN_END = "\x1b[H", "\x1b[K", "\x1b[J"


@click.command()
@click.argument("series", nargs=-1, shell_complete=completion.complete_series)
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
    chosen = parse_selectors(series)
    if template is not None:
        validate_template(template)
    around = environment.read_host_info()
    own = paths.resolve_paths(around.env, around.home)
    if refresh:
        _refresh_readings(own)
    if form:
        status_bar.print_status_line(form)
    elif as_document:
        click.echo(format_json(select_windows(load_status(own, clock.utc_now()), chosen)))
    else:
        _print_status(own, chosen, template, watch=watch, every_provider=every_provider)


def _print_status(
    paths: Paths, selectors: tuple[Selector, ...], template: str | None, *, watch: bool, every_provider: bool
) -> None:
    """For people: the template's lines, or the table."""
    now = clock.utc_now()
    found = load_status(paths, now)
    require_match(found, selectors)
    if template is None:
        _show_table(
            lambda at: select_windows(load_status(paths, at), selectors),
            paths,
            watch=watch,
            every_provider=every_provider,
        )
        return
    tongue = format.StatusFormatter(now, clock.LocalZone())
    for line in render_template_lines(select_windows(found, selectors), template, tongue, selectors):
        click.echo(status_bar.sanitize_line(line, sys.stdout.encoding or "ascii"))


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
    from watcher.cli.config_recheck import recheck_config  # noqa: PLC0415 - reads the whole config, only where it was refused

    wrong = recheck_config(*last_error, paths)
    if wrong is None:
        Lock(paths.state_dir).signal_holder()  # it would notice at its next waking, up to five minutes from now
    return structs.replace(document, config_error=wrong)


def import_pending_statusline(paths: Paths) -> None:
    """Take what Claude Code's status line handed over while no watcher ran."""
    if inbox.has_entry(paths.state_dir, inbox.CLAUDE_STATUSLINE):
        from watcher.polling import statusline  # noqa: PLC0415 - the engine, only where there is something to judge

        statusline.import_statusline(paths, environment.create_environment())


def _require_one_format(formats: dict[str, bool]) -> None:
    several = [name for name, is_asked in formats.items() if is_asked]
    if len(several) > 1:
        raise click.UsageError(f"{' and '.join(several)} are different forms of the answer; choose one")


def _refresh_readings(paths: Paths) -> None:
    from watcher.cli.refresh import refresh_readings  # noqa: PLC0415 - the daemon's whole machinery, only where it polls

    remark = refresh_readings(paths, environment.create_environment())
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
    from watcher.cli.status_table import render_status_table  # noqa: PLC0415 - likewise
    from watcher.providers.registry import PROVIDERS  # noqa: PLC0415 - every provider, for their names alone

    here = {account.provider for account in document.providers}
    absent = [provider for provider in PROVIDERS if provider not in here] if every_provider else []
    tongue = format.StatusFormatter(document.generated_at, clock.LocalZone())
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


# --- Which windows a person asked `status` for, and a line about each in the person's own words


_PROVIDER_END_PATTERN = re.compile(r"[.\[]")


def parse_selectors(texts: tuple[str, ...]) -> tuple[Selector, ...]:
    """The selectors of a command line.

    Raises:
        click.UsageError: one is none; says what would be valid.
    """
    selectors = []
    for text in texts:
        try:
            selector, field = parse_selector(text)
        except ExpressionError as error:
            hint = f"; {error.hint}" if error.hint else ""
            raise click.UsageError(f"`{text}`: {error.message}{hint}") from None
        if field:
            raise click.UsageError(f"`{text}`: a series has no `.{field}` here; write `{selector}`")
        selectors.append(selector)
    return tuple(selectors)


def validate_template(template_text: str) -> None:
    """Refuse a template that cannot be filled.

    Raises:
        click.UsageError: says what would be valid.
    """
    try:
        template.check_template(template_text)
    except template.TemplateError as error:
        raise click.UsageError(f"--template: {error}") from None


def select_windows(document: StatusDocument, selectors: tuple[Selector, ...]) -> StatusDocument:
    """The document with those windows alone, and their alerts; a provider without a window means all of them."""
    if not selectors:
        return document
    accounts = []
    for account in document.providers:
        windows = [
            window for window in account.windows if any(_matches_window(each, account, window) for each in selectors)
        ]
        if windows or any(_matches_account(each, account) for each in selectors):
            accounts.append(structs.replace(account, windows=windows))
    crowded = format.find_multi_account_providers(document)
    left_out = set(list_series(document.providers, crowded)) - set(list_series(accounts, crowded))
    here = {account.provider for account in accounts}

    def meant(alerts: Iterable[AlertStatus]) -> list[AlertStatus]:
        return [
            alert
            for alert in alerts
            if alert.series not in left_out and _PROVIDER_END_PATTERN.split(alert.series, maxsplit=1)[0] in here
        ]

    return structs.replace(document, providers=accounts, alerts=meant(document.alerts), waiting=meant(document.waiting))


def list_series(accounts: Iterable[AccountStatus], multi_account_providers: Collection[str]) -> list[str]:
    """Every window, as alerts name it where these providers have several accounts."""
    return [
        format.format_status_series(account, window, multi_account_providers)
        for account in accounts
        for window in account.windows
    ]


def require_match(document: StatusDocument, selectors: tuple[Selector, ...]) -> None:
    """Raise where there are readings, but none of what was asked for.

    Raises:
        WatcherError: names what there is.
    """
    if document.providers and not select_windows(document, selectors).providers:
        asked = ", ".join(f"`{selector}`" for selector in selectors)
        there_are = ", ".join(list_series(document.providers, format.find_multi_account_providers(document))) or "none"
        raise WatcherError(f"no reading of {asked}; there are: {there_are}")


def _matches_window(selector: Selector, account: AccountStatus, window: WindowStatus) -> bool:
    name = account.account or ""
    series = Series(provider=account.provider, account=name, window=window.window)
    return selector.for_all_windows.matches(series, name, window.kind, is_primary=window.primary)


def _matches_account(selector: Selector, account: AccountStatus) -> bool:
    """Whether the account is meant although it has no window: its error is the answer."""
    named = not selector.account or selector.account.casefold() == (account.account or "").casefold()
    return not account.windows and selector.provider in ("*", account.provider) and named


def render_template_lines(
    document: StatusDocument, template_text: str, formatter: StatusFormatter, selectors: tuple[Selector, ...]
) -> Iterator[str]:
    """The template, filled once a window: those that were chosen by name, else each account's primary one."""
    named = [selector for selector in selectors if selector.window]
    for account in document.providers:
        for window in account.windows:
            if window.primary or any(_matches_window(selector, account, window) for selector in named):
                yield template.render_template(
                    template_text, _collect_template_values(document, account, window, formatter)
                )


def _collect_template_values(
    document: StatusDocument, account: AccountStatus, window: WindowStatus, formatter: StatusFormatter
) -> dict[str, object]:
    spelled = format.list_series_spellings(account, window)
    alert = next((each for each in document.alerts if each.series in spelled and each.state == "firing"), None)
    at = window.resets_at
    ahead = at is not None and at > formatter.now
    return {
        "provider": account.provider,
        "account": account.account,
        "plan": account.plan,
        "window": window.window,
        "label": window.label or window.window,
        "series": format.format_status_series(account, window, format.find_multi_account_providers(document)),
        "used_percent": window.used_percent,
        "remaining_percent": None if window.used_percent is None else 100 - window.used_percent,
        "used": window.used,
        "limit": window.limit,
        "remaining": window.remaining,
        "unit": window.unit,
        "resets_in": formatting.format_duration(at - formatter.now) if at is not None and ahead else None,
        "resets_at": formatter.format_time(at) if at is not None and ahead else None,
        "projected": window.projected_percent,
        "age": None if account.fetched_at is None else formatting.format_duration(formatter.now - account.fetched_at),
        "error": None if account.error is None else account.error.message,
        "rule": None if alert is None else alert.rule,
        "severity": None if alert is None else alert.severity,
        "since": None if alert is None or alert.since is None else formatter.format_time(alert.since),
        "event": None if alert is None else alert.state,
    }
