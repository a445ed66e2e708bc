"""The daemon's process from its first moment to its last: lock, log, store, signals.

A login item comes here past click, whose weight the process would carry for weeks. Never watch or decide here.
"""

import gc
import os
import signal
import sys
import threading
from types import FrameType

from watcher import doors, light, paths, refuge
from watcher.cli import EXIT_BUSY, messages
from watcher.core.redaction import Redactor
from watcher.daemon import CONFIG_ERROR, Daemon
from watcher.doors import Doors
from watcher.errors import ConfigError
from watcher.lock import Lock
from watcher.log import Log
from watcher.store import FILE_NAME, Store

with light.without(hollow=("asyncio",)):
    from watcher import logs
with light.without(absent=("chardet", "charset_normalizer"), hollow=("importlib.metadata",)):
    from watcher import http

LAST_CALL_S = 1.5  # what is not done so long after the signal is not kept: whoever sent it waits for two seconds


def watch(*, json_lines: bool = False, verbose: bool = False) -> None:
    """Watch until a signal ends it; then the process is gone.

    Raises:
        ConfigError: the config cannot be used; the desktop has been told.
        StoreError: the state folder cannot be used.
    """
    os.umask(0o077)
    world = doors.real()
    around = world.surroundings()
    own = paths.find(around.env, around.home)
    lock = Lock(own.state_dir)
    if not lock.acquire():
        messages.complain(messages.already_running(lock.holder()))
        sys.exit(EXIT_BUSY)
    redactor = Redactor()
    log = logs.FileLog(own.state_dir, redactor, json_lines=json_lines, verbose=verbose)
    path = own.state_dir / FILE_NAME
    store = Store(path, now=world.clock.now(), shelter=refuge.place(path, around.env))
    try:
        daemon = Daemon(paths=own, doors=world, store=store, log=log, redactor=redactor)
    except ConfigError as error:
        _refuse(str(error), store, log, world)
        raise
    _obey(daemon)
    http.prepare()
    gc.collect()
    gc.freeze()  # what is loaded now stays: no later collection need look at it
    log.info(f"watching; process {os.getpid()}, state in {own.state_dir}")
    daemon.run()
    log.info("stopped")
    store.close()
    lock.release()
    if sys.stdout is not None:  # pythonw has none
        sys.stdout.flush()
    os._exit(0)  # threads that wait for a slow server must not hold up the end


def _refuse(text: str, store: Store, log: Log, world: Doors) -> None:
    """Say what is wrong with the config; on the desktop once, however often a login item starts anew."""
    log.warning(f"the config cannot be used:\n{text}")
    known, now = store.fact(CONFIG_ERROR), world.clock.now()
    if known is None or known[0] != text:
        store.write(lambda: store.set_fact(CONFIG_ERROR, text, now), now=now)
        messages.tell_the_desktop("The watcher did not start", text, world)
    store.close()


def _obey(daemon: Daemon) -> None:
    def end(_number: int, _frame: FrameType | None) -> None:
        daemon.stop()
        late = threading.Timer(LAST_CALL_S, os._exit, (0,))  # the loop may itself wait, for another writer of the store
        late.daemon = True
        late.start()

    def reload(_number: int, _frame: FrameType | None) -> None:
        daemon.reload()

    def look(_number: int, _frame: FrameType | None) -> None:
        daemon.look()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, reload)
        signal.signal(signal.SIGUSR1, look)
