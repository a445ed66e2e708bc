"""Fresh readings for a command: asked for here, or of the daemon that is running, never beside it.

Never put here what is done with them.
"""

from datetime import timedelta
from threading import Event

from watcher.core.redaction import Redactor
from watcher.daemon import CHECK_CONFIG_ERROR_FACT, REFRESH_DONE, REFRESH_FACT, REFRESH_REQUESTED, Daemon
from watcher.environment import Environment
from watcher.errors import ConfigError
from watcher.status.status_file import write_status
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system.lock import Lock
from watcher.system.log import Log
from watcher.system.paths import Paths

DEFAULT_TIMEOUT = timedelta(seconds=25)  # one whole answer may take 20 s
CHECK_INTERVAL_S = 0.1
DISK_FULL_HINT = "alerts go on from memory; free some disk space or fix the permissions"


def refresh_readings(paths: Paths, environment: Environment, *, timeout: timedelta = DEFAULT_TIMEOUT) -> str:
    """Poll everything once, judge it, deliver what is due; what must be said about it, empty where all went well.

    Where a daemon runs it is asked to do so, and waited for.

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
        record_config_error(store, str(error), environment)
        raise
    else:
        return f"{path} cannot be written: {DISK_FULL_HINT}" if store.uses_memory else ""
    finally:
        store.close()
        lock.release()


def record_config_error(store: Store, error: str, environment: Environment) -> None:
    """Keep that nothing can be done with this config, for `watcher status`; the next good one takes it back."""
    now = environment.clock.now()
    store.run_transaction(lambda: store.facts.save(CHECK_CONFIG_ERROR_FACT, error, now), now=now)
    write_status(store, None, now=now)


def _request_refresh(paths: Paths, environment: Environment, lock: Lock, timeout: timedelta) -> str:
    """Wish for fresh readings from the daemon, or wait for another command that is polling."""
    process_id = lock.read_holder_pid()
    who = f"the watcher that is running (process {process_id})" if process_id else "the watcher that is running"
    store = Store(paths.state_dir / DATABASE_FILE_NAME, now=environment.clock.now())
    try:
        now = environment.clock.now()
        store.run_transaction(lambda: store.facts.save(REFRESH_FACT, REFRESH_REQUESTED, now), now=now)
        if not lock.signal_holder():
            return f"{who} polls by itself; this is what it knows"
        waiting = Event()  # nobody sets it: it is a wait that Ctrl-C ends at once
        while environment.clock.now() - now < timeout:
            waiting.wait(CHECK_INTERVAL_S)
            if (fact := store.facts.load(REFRESH_FACT)) is not None and fact[0] == REFRESH_DONE:
                return ""
            if lock.read_holder_pid() is None:
                return ""  # it was no daemon but a single poll, and that is done
    finally:
        store.close()
    return f"{who} was asked to poll and has not finished; this is what it knows"
