"""`watcher check`: one poll, one evaluation, deliveries sent, an exit code: for cron.

`refresh` also gives other commands fresh readings: polled here, or by the daemon that runs.
"""

from datetime import timedelta
from threading import Event

import click

from watcher.cli import EXIT_CONFIG, EXIT_FIRING, EXIT_UNKNOWN
from watcher.cli.context import find_paths
from watcher.cli.output import echo_error, echo_wrapped
from watcher.cli.status import create_console, load_status, print_table
from watcher.cli.status_text import StatusFormatter, replace_unprintable
from watcher.core.model import AlertPhase
from watcher.core.redaction import Redactor
from watcher.daemon import CONFIG_ERROR_FACT, REFRESH_DONE, REFRESH_FACT, REFRESH_REQUESTED, Daemon
from watcher.errors import ConfigError
from watcher.status.builder import write_status
from watcher.status.document import format_json
from watcher.storage.database import is_database
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import clock
from watcher.system.environment import Environment, create_environment
from watcher.system.lock import Lock
from watcher.system.log import Log
from watcher.system.paths import Paths

DEFAULT_TIMEOUT = timedelta(seconds=25)  # one whole answer may take 20 s
CHECK_INTERVAL_S = 0.1
RESTORE_WAIT_S = 1.0


def refresh(paths: Paths, *, quiet: bool = False) -> None:
    """Poll everything once, on this machine, and print what may be wrong with the result on stderr."""
    warning = refresh_readings(paths, create_environment())
    if warning and not quiet:
        echo_error(warning)


def refresh_readings(paths: Paths, environment: Environment, *, timeout: timedelta = DEFAULT_TIMEOUT) -> str:
    """Poll everything once, evaluate it and deliver what is due. Returns a warning; empty if all went well.

    A daemon that runs is asked to do so, and waited for.

    Raises:
        ConfigError: the config cannot be used.
    """
    lock = Lock(paths.state_dir)
    if not lock.acquire():
        return _request_refresh(paths, environment, lock, timeout)
    path = paths.state_dir / DATABASE_FILE_NAME
    try:
        with Store(path, now=environment.clock.now(), memory_fallback=True) as store:
            try:
                Daemon(paths=paths, environment=environment, store=store, log=Log(), redactor=Redactor()).run_once()
            except ConfigError as error:
                now = environment.clock.now()
                store.save_fact(CONFIG_ERROR_FACT, str(error), now)  # until the next poll with a valid config
                write_status(store, None, now=now)
                raise
            return store.disk_error or ""
    finally:
        lock.release()


def _request_refresh(paths: Paths, environment: Environment, lock: Lock, timeout: timedelta) -> str:
    """Ask the daemon for fresh readings, or wait for another command that is polling."""
    process_id = lock.read_holder_pid()
    daemon = f"the running watcher (process {process_id})" if process_id else "the running watcher"
    path, pause = paths.state_dir / DATABASE_FILE_NAME, Event()  # never set: a wait that Ctrl-C ends at once
    if not is_database(path):
        lock.signal_holder()  # it writes a new file: one that is created here would be set aside
        pause.wait(RESTORE_WAIT_S)
    with Store(path, now=environment.clock.now()) as store:
        now = environment.clock.now()
        store.save_fact(REFRESH_FACT, REFRESH_REQUESTED, now)
        if not lock.signal_holder():
            return f"{daemon} polls by itself; this is what it knows"
        while environment.clock.now() - now < timeout:
            pause.wait(CHECK_INTERVAL_S)
            if (fact := store.facts.load(REFRESH_FACT)) is not None and fact[0] == REFRESH_DONE:
                return ""
            if lock.read_holder_pid() is None:
                return ""  # it was not the daemon but a single poll, which is done
    return f"{daemon} was asked to poll and has not finished; this is what it knows"


NO_LOGIN_MESSAGE = "no login of any provider was found: `watcher init` says how to sign in"


@click.command()
@click.option("-q", "--quiet", is_flag=True, help="Print only what keeps it from working; see the exit code.")
@click.option("--json", "as_document", is_flag=True, help="The document of `watcher status --json`.")
def check(*, quiet: bool, as_document: bool) -> int:
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
    if quiet and as_document:
        raise click.UsageError("--quiet and --json exclude each other")
    own = find_paths()
    refresh(own)
    document = load_status(own, clock.utc_now())
    formatter = StatusFormatter(document.generated_at, clock.LocalZone())
    if as_document:
        click.echo(format_json(document))
    elif quiet:
        channels = formatter.list_silent_channels(document) + formatter.list_failing_channels(document)
        for line in (*([] if document.providers else [NO_LOGIN_MESSAGE]), *channels):
            echo_error(replace_unprintable(line))
    elif not (
        document.providers
        or document.alerts
        or document.snoozes
        or document.alertmanagers
        or formatter.list_problems(document)
    ):
        echo_wrapped(NO_LOGIN_MESSAGE)  # no table, so no `rich`, which takes a tenth of the time
    else:
        print_table(create_console(), document, NO_LOGIN_MESSAGE, show_daemon=False)
    if document.config_error and not document.daemon_running:
        return EXIT_CONFIG  # another process was polling, and ended over it
    if any(alert.state == AlertPhase.FIRING for alert in document.alerts):
        return EXIT_FIRING
    failing = [each for each in document.providers if not each.ok and not (each.error and each.error.switched_away)]
    return EXIT_UNKNOWN if failing else 0
