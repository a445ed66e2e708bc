"""`watcher status`: what is known now, from the store, so that it answers at once."""

import click

from watcher import doors, inbox, paths
from watcher.clock import now as clock_now
from watcher.paths import Paths
from watcher.standing import as_json
from watcher.standing import status as standing
from watcher.store import FILE_NAME, Store


@click.command()
@click.option("--json", "as_document", is_flag=True, help="The whole document (watcher.status.v1).")
def status(*, as_document: bool) -> None:
    """What is known now: usage, alerts, and what went wrong."""
    around = doors.surroundings()
    own = paths.find(around.env, around.home)
    now = clock_now()
    take_in(own)
    store = Store(own.state_dir / FILE_NAME, now=now, read_only=True)
    known = standing(store, every={}, now=now)
    store.close()
    if as_document:
        click.echo(as_json(known))
        return
    for account in known.providers:
        name = account.provider + (f" ({account.account})" if account.account else "")
        click.echo(f"{name}  {account.plan or ''}".rstrip())
        if account.error is not None:
            click.echo(f"  {account.error.message}")
        for window in account.windows:
            percent = "?" if window.used_percent is None else f"{window.used_percent:.0f} %"
            click.echo(f"  {window.window:32} {'unlimited' if window.unlimited else percent}")
    for alert in known.alerts:
        click.echo(f"{alert.state}: {alert.rule} on {alert.series}")


def take_in(own: Paths) -> None:
    """Take what Claude Code's status line handed over while no watcher ran."""
    if inbox.waits(own.state_dir, inbox.CLAUDE_STATUSLINE):
        from watcher import handover  # noqa: PLC0415 - the engine, only where there is something to judge

        handover.take_in(own, doors.real())
