"""`watcher check`: one poll, one evaluation, deliveries sent, an exit code: for cron."""

import sys

import click

from watcher import doors, paths
from watcher.cli import EXIT_FIRING, EXIT_UNKNOWN, messages
from watcher.clock import now as clock_now
from watcher.core.model import Phase
from watcher.core.redaction import Redactor
from watcher.daemon import Daemon
from watcher.lock import Lock
from watcher.log import Log
from watcher.standing import Status, status
from watcher.store import FILE_NAME, Store


@click.command()
@click.option("-q", "--quiet", is_flag=True, help="Say nothing; the exit code tells.")
def check(*, quiet: bool) -> None:
    """Poll once, judge once, send what is due. For cron and scripts.

    \b
    Exit code:  0  nothing fires
               10  an alert fires
               20  nothing fires, but some provider gave no reading
               78  the config has a mistake
    """
    world = doors.real()
    around = world.surroundings()
    own = paths.find(around.env, around.home)
    lock = Lock(own.state_dir)
    if lock.acquire():
        store = Store(own.state_dir / FILE_NAME, now=world.clock.now())
        daemon = Daemon(paths=own, doors=world, store=store, log=Log(), redactor=Redactor())
        daemon.once()
    else:  # the daemon polls and sends; asking beside it would only cost requests
        click.echo(f"{messages.already_running(lock.holder())}; this is what it knows", err=True)
        store = Store(own.state_dir / FILE_NAME, now=world.clock.now(), read_only=True)
    known = status(store, every={}, now=clock_now())
    store.close()
    lock.release()
    if not quiet:
        _say(known)
    firing = [alert for alert in known.alerts if alert.state == Phase.FIRING]
    sys.exit(EXIT_FIRING if firing else EXIT_UNKNOWN if any(not each.ok for each in known.providers) else 0)


def _say(known: Status) -> None:
    if not known.providers:
        click.echo("no login of any provider was found: `watcher init` says where it looks")
    for account in known.providers:
        name = account.provider + (f" ({account.account})" if account.account else "")
        if account.error is not None:
            click.echo(f"{name}: {account.error.message}")
        for window in account.windows if account.error is None else ():
            click.echo(f"{name} {window.label or window.window}: {messages.how_much(window)}")
    for alert in known.alerts:
        click.echo(f"{alert.state}: {alert.rule} on {alert.series} ({alert.severity})")
