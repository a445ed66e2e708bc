"""`watcher check`: one poll, one evaluation, deliveries sent, an exit code: for cron."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import click

from watcher import environment
from watcher.cli import EXIT_CONFIG, EXIT_FIRING, EXIT_UNKNOWN, format
from watcher.cli.output import get_output_width, wrap_line
from watcher.cli.refresh import refresh_readings
from watcher.cli.status import load_status as look
from watcher.core.model import AlertPhase
from watcher.status.document import StatusDocument
from watcher.system import clock, paths

NO_LOGIN_MESSAGE = "no login of any provider was found: `watcher init` says where it looks"


@click.command()
@click.option("-q", "--quiet", is_flag=True, help="Say only what keeps it from working; the exit code tells.")
def check(*, quiet: bool) -> int:
    """Poll once, judge once, send what is due. For cron and scripts.

    \b
    Exit code:  0  nothing fires
               10  an alert fires
               20  nothing fires, but some provider gave no reading
               78  the config has a mistake

    \b
    */10 * * * *  watcher check -q                       in place of the daemon
    watcher check || notify-send "look at your quotas"
    """
    around = environment.read_host_info()
    own = paths.resolve_paths(around.env, around.home)
    remark = refresh_readings(own, environment.create_environment())
    if remark:
        click.echo(remark, err=True)
    now = clock.utc_now()
    known = look(own, now)
    tongue = format.StatusFormatter(now, clock.LocalZone())
    if quiet:
        for line in (*([] if known.providers else [NO_LOGIN_MESSAGE]), *tongue.list_silent_channels(known)):
            click.echo(format.replace_unprintable(line), err=True)
    else:
        for text in format_check_report(known, tongue):
            for line in wrap_text(text):
                click.echo(format.replace_unprintable(line))
    if known.config_error and not known.daemon_running:
        return EXIT_CONFIG  # another process was polling, and ended over it
    if any(alert.state == AlertPhase.FIRING for alert in known.alerts):
        return EXIT_FIRING
    return EXIT_UNKNOWN if any(not account.ok for account in known.providers) else 0


def wrap_text(text: str) -> Iterator[str]:
    """The lines of a text, broken where the terminal ends; a program that reads gets each whole."""
    for line in text.splitlines():
        yield from wrap_line(line, get_output_width(), indent=len(line) - len(line.lstrip()) + 4)


def format_check_report(document: StatusDocument, formatter: format.StatusFormatter) -> Iterator[str]:
    """One line a window, aligned; then what fires, and what stands in the way."""
    if not document.providers:
        yield NO_LOGIN_MESSAGE
    rows = []
    crowded = format.find_multi_account_providers(document)
    for account in document.providers:
        name = format.format_account_name(account, {}, crowded)
        if account.error is not None:
            rows.append((name, "", formatter.format_problem(account, include_retry=document.daemon_running)))
            continue
        rows += [(name, window.label or window.window, formatter.format_window(window)) for window in account.windows]
        if not account.windows:
            rows.append((name, "", "answered, without any window"))
    yield from _align_rows(rows)
    for account in document.providers:
        if account.note and account.error is None:
            yield f"{format.format_account_name(account, {}, crowded)}: {account.note}"
    for alert in document.alerts:
        yield formatter.format_alert(alert)
    yield from (formatter.format_waiting(alert) for alert in document.waiting)
    yield from (formatter.format_snooze(snooze) for snooze in document.snoozes)
    yield from formatter.list_problems(document)


def _align_rows(rows: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    """Rows of a name, a window and a text in columns; where they are too wide, below the name on a line of its own."""
    widest = max((len(label) for _, label, _ in rows), default=0)
    wide = max((len(name) for name, *_ in rows), default=0)
    lines = [
        f"{name:{wide}}  {label:{widest}}  {text}" if label else f"{name:{wide}}  {text}" for name, label, text in rows
    ]
    if max(map(len, lines), default=0) <= get_output_width():
        yield from lines
        return
    for name, together in groupby(rows, key=lambda row: row[0]):
        yield name
        for _, label, text in together:
            yield f"  {label:{widest}}  {text}" if label else f"  {text}"
