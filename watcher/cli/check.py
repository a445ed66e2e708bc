"""`watcher check`: one poll, one evaluation, deliveries sent, an exit code: for cron."""

import click

from watcher.cli import EXIT_CONFIG, EXIT_FIRING, EXIT_UNKNOWN
from watcher.cli.context import find_paths
from watcher.cli.refresh import refresh
from watcher.cli.status import create_console, load_status, print_table
from watcher.cli.status_text import StatusFormatter, replace_unprintable
from watcher.core.model import AlertPhase
from watcher.system import clock

NO_LOGIN_MESSAGE = "no login of any provider was found: `watcher init` says where it looks"


@click.command()
@click.option("-q", "--quiet", is_flag=True, help="Print only what keeps it from working; see the exit code.")
def check(*, quiet: bool) -> int:
    """Poll once, evaluate once, send what is due. For cron and scripts.

    \b
    Exit code:  0  nothing fires
               10  an alert fires
               20  nothing fires, but some provider gave no reading
               78  the config has a mistake

    \b
    */10 * * * *  watcher check -q                       in place of the daemon
    watcher check || notify-send "look at your quotas"
    """
    own = find_paths()
    refresh(own)
    document = load_status(own, clock.utc_now())
    if quiet:
        formatter = StatusFormatter(document.generated_at, clock.LocalZone())
        for line in (*([] if document.providers else [NO_LOGIN_MESSAGE]), *formatter.list_silent_channels(document)):
            click.echo(replace_unprintable(line), err=True)
    else:
        print_table(create_console(), document, NO_LOGIN_MESSAGE, show_daemon=False)
    if document.config_error and not document.daemon_running:
        return EXIT_CONFIG  # another process was polling, and ended over it
    if any(alert.state == AlertPhase.FIRING for alert in document.alerts):
        return EXIT_FIRING
    return EXIT_UNKNOWN if any(not account.ok for account in document.providers) else 0
