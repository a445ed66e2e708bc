"""Fresh readings for a command: asked for here, or of the daemon that is running, never beside it.

Never put here what is done with them.
"""

from datetime import timedelta
from threading import Event

from watcher import refuge
from watcher.core.redaction import Redactor
from watcher.daemon import CONFIG_REFUSED, DONE, REFRESH, WANTED, Daemon
from watcher.doors import Doors
from watcher.errors import ConfigError
from watcher.lock import Lock
from watcher.log import Log
from watcher.paths import Paths
from watcher.store import FILE_NAME, Store

PATIENCE = timedelta(seconds=25)  # one whole answer may take 20 s
GLANCE_S = 0.1
FULL = "alerts go on from elsewhere; free some disk space or mend the permissions"


def refresh(own: Paths, world: Doors, *, patience: timedelta = PATIENCE) -> str:
    """Poll everything once, judge it, deliver what is due; what must be said about it, empty where all went well.

    Where a daemon runs it is asked to do so, and waited for.

    Raises:
        ConfigError: the config cannot be used.
    """
    lock = Lock(own.state_dir)
    if not lock.acquire():
        return _ask_the_holder(own, world, lock, patience)
    path = own.state_dir / FILE_NAME
    store = Store(path, now=world.clock.now(), shelter=refuge.place(path, world.surroundings().env))
    try:
        Daemon(paths=own, doors=world, store=store, log=Log(), redactor=Redactor()).once()
    except ConfigError as error:
        note_refusal(store, str(error), world)
        raise
    else:
        return f"{path} cannot be written: {FULL}" if store.in_refuge else ""
    finally:
        store.close()
        lock.release()


def note_refusal(store: Store, error: str, world: Doors) -> None:
    """Keep that nothing can be done with this config, for `watcher status`; the next good one takes it back."""
    now = world.clock.now()
    store.write(lambda: store.set_fact(CONFIG_REFUSED, error, now), now=now)


def _ask_the_holder(own: Paths, world: Doors, lock: Lock, patience: timedelta) -> str:
    """Wish for fresh readings from the daemon, or wait for another command that is polling."""
    process_id = lock.holder()
    who = f"the watcher that is running (process {process_id})" if process_id else "the watcher that is running"
    store = Store(own.state_dir / FILE_NAME, now=world.clock.now())
    try:
        now = world.clock.now()
        store.write(lambda: store.set_fact(REFRESH, WANTED, now), now=now)
        if not lock.tell():
            return f"{who} polls by itself; this is what it knows"
        waiting = Event()  # nobody sets it: it is a wait that Ctrl-C ends at once
        while world.clock.now() - now < patience:
            waiting.wait(GLANCE_S)
            if (fact := store.fact(REFRESH)) is not None and fact[0] == DONE:
                return ""
            if lock.holder() is None:
                return ""  # it was no daemon but a single poll, and that is done
    finally:
        store.close()
    return f"{who} was asked to poll and has not finished; this is what it knows"
