"""`watcher check`: one poll, one evaluation, deliveries sent, an exit code: for cron."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import click

from watcher import clock, doors, paths
from watcher.cli import EXIT_CONFIG, EXIT_FIRING, EXIT_UNKNOWN, words
from watcher.cli.columns import room, wrapped
from watcher.cli.refresh import refresh
from watcher.cli.status import known as look
from watcher.core.model import Phase
from watcher.status_document import Status

NOBODY = "no login of any provider was found: `watcher init` says where it looks"


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
    around = doors.surroundings()
    own = paths.find(around.env, around.home)
    remark = refresh(own, doors.real())
    if remark:
        click.echo(remark, err=True)
    now = clock.now()
    known = look(own, now)
    tongue = words.Tongue(now, clock.LocalZone())
    if quiet:
        for line in (*([] if known.providers else [NOBODY]), *tongue.mute(known)):
            click.echo(words.printable(line), err=True)
    else:
        for text in report(known, tongue):
            for line in fitted(text):
                click.echo(words.printable(line))
    if known.config_error and not known.daemon_running:
        return EXIT_CONFIG  # another process was polling, and ended over it
    if any(alert.state == Phase.FIRING for alert in known.alerts):
        return EXIT_FIRING
    return EXIT_UNKNOWN if any(not account.ok for account in known.providers) else 0


def fitted(text: str) -> Iterator[str]:
    """The lines of a text, broken where the terminal ends; a program that reads gets each whole."""
    for line in text.splitlines():
        yield from wrapped(line, room(), indent=len(line) - len(line.lstrip()) + 4)


def report(known: Status, tongue: words.Tongue) -> Iterator[str]:
    """One line a window, aligned; then what fires, and what stands in the way."""
    if not known.providers:
        yield NOBODY
    rows = []
    crowded = words.crowded(known)
    for account in known.providers:
        name = words.account_name(account, {}, crowded)
        if account.error is not None:
            rows.append((name, "", tongue.problem(account, again=known.daemon_running)))
            continue
        rows += [(name, window.label or window.window, tongue.window(window)) for window in account.windows]
        if not account.windows:
            rows.append((name, "", "answered, without any window"))
    yield from _aligned(rows)
    for account in known.providers:
        if account.note and account.error is None:
            yield f"{words.account_name(account, {}, crowded)}: {account.note}"
    for alert in known.alerts:
        yield tongue.alert(alert)
    yield from (tongue.waiting(alert) for alert in known.waiting)
    yield from (tongue.snooze(snooze) for snooze in known.snoozes)
    yield from tongue.troubles(known)


def _aligned(rows: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    """Rows of a name, a window and a text in columns; where they are too wide, below the name on a line of its own."""
    widest = max((len(label) for _, label, _ in rows), default=0)
    wide = max((len(name) for name, *_ in rows), default=0)
    lines = [
        f"{name:{wide}}  {label:{widest}}  {text}" if label else f"{name:{wide}}  {text}" for name, label, text in rows
    ]
    if max(map(len, lines), default=0) <= room():
        yield from lines
        return
    for name, together in groupby(rows, key=lambda row: row[0]):
        yield name
        for _, label, text in together:
            yield f"  {label:{widest}}  {text}" if label else f"  {text}"
