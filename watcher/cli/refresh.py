"""Fresh readings for a command: polled here, or by the daemon that runs."""

from datetime import timedelta
from threading import Event

import click

from watcher.core.redaction import Redactor
from watcher.daemon import CHECK_CONFIG_ERROR_FACT, REFRESH_DONE, REFRESH_FACT, REFRESH_REQUESTED, Daemon
from watcher.errors import ConfigError
from watcher.status.status_file import write_status
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system.environment import Environment, create_environment
from watcher.system.lock import Lock
from watcher.system.log import Log
from watcher.system.paths import Paths

DEFAULT_TIMEOUT = timedelta(seconds=25)  # one whole answer may take 20 s
CHECK_INTERVAL_S = 0.1


def refresh(paths: Paths, *, quiet: bool = False) -> None:
    """Poll everything once, on this machine, and print what may be wrong with the result on stderr."""
    warning = refresh_readings(paths, create_environment())
    if warning and not quiet:
        click.echo(warning, err=True)


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
    store = Store(path, now=environment.clock.now(), memory_fallback=True)
    try:
        Daemon(paths=paths, environment=environment, store=store, log=Log(), redactor=Redactor()).run_once()
    except ConfigError as error:
        _record_config_error(store, str(error), environment)
        raise
    else:
        return store.disk_error or ""
    finally:
        store.close()
        lock.release()


def _record_config_error(store: Store, error: str, environment: Environment) -> None:
    """For `watcher status`; the next poll with a valid config clears it."""
    now = environment.clock.now()
    store.run_transaction(lambda: store.facts.save(CHECK_CONFIG_ERROR_FACT, error, now), now=now)
    write_status(store, None, now=now)


def _request_refresh(paths: Paths, environment: Environment, lock: Lock, timeout: timedelta) -> str:
    """Ask the daemon for fresh readings, or wait for another command that is polling."""
    process_id = lock.read_holder_pid()
    daemon = f"the running watcher (process {process_id})" if process_id else "the running watcher"
    store = Store(paths.state_dir / DATABASE_FILE_NAME, now=environment.clock.now())
    try:
        now = environment.clock.now()
        store.run_transaction(lambda: store.facts.save(REFRESH_FACT, REFRESH_REQUESTED, now), now=now)
        if not lock.signal_holder():
            return f"{daemon} polls by itself; this is what it knows"
        pause = Event()  # never set: a wait that Ctrl-C ends at once
        while environment.clock.now() - now < timeout:
            pause.wait(CHECK_INTERVAL_S)
            if (fact := store.facts.load(REFRESH_FACT)) is not None and fact[0] == REFRESH_DONE:
                return ""
            if lock.read_holder_pid() is None:
                return ""  # it was not the daemon but a single poll, which is done
    finally:
        store.close()
    return f"{daemon} was asked to poll and has not finished; this is what it knows"
