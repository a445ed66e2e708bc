"""The daemon's process from its first moment to its last: lock, log, store, signals.

A login item comes here past click, whose weight the process would carry for weeks. Never watch or decide here.
"""

import gc
import os
import signal
import sys
import threading
from collections.abc import Mapping
from types import FrameType

from watcher import environment as doors
from watcher.cli import EXIT_BUSY, output
from watcher.config.loader import ConfigFingerprint, fingerprint_config_files
from watcher.core.redaction import Redactor
from watcher.daemon import CONFIG_ERROR_FACT, Daemon
from watcher.environment import Environment
from watcher.errors import ConfigError
from watcher.status.status_file import write_status
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import http, paths
from watcher.system.lock import Lock
from watcher.system.log import FileLog, Log
from watcher.system.paths import Paths

CONFIG_CHECK_EVERY_S = 30.0
SHUTDOWN_TIMEOUT_S = 1.5  # what is not done so long after the signal is not kept: whoever sent it waits for two seconds


def run_daemon(*, json_lines: bool = False, verbose: bool = False) -> None:
    """Watch until a signal ends it; then the process is gone.

    Raises:
        ConfigError: the config cannot be used; the desktop has been told. A login item waits until it is mended.
        StoreError: the state folder cannot be used.
    """
    os.umask(0o077)
    world = doors.create_environment()
    around = world.read_host_info()
    own = paths.resolve_paths(around.env, around.home)
    lock = Lock(own.state_dir)
    _acquire_lock(lock)
    redactor = Redactor()
    log = FileLog(own.state_dir, redactor, json_lines=json_lines, verbose=verbose)
    daemon, store = _create_daemon(own, world, lock, log, redactor)
    _install_signal_handlers(daemon)
    http.preload_certificates()
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


def _create_daemon(
    paths: Paths, environment: Environment, lock: Lock, log: Log, redactor: Redactor
) -> tuple[Daemon, Store]:
    """The daemon and its store, as soon as the config can be used."""
    env, path = environment.read_host_info().env, paths.state_dir / DATABASE_FILE_NAME
    while True:
        store = Store(path, now=environment.clock.now(), memory_fallback=True)
        files = fingerprint_config_files(paths)  # before they are read: a fix in the meantime is a change
        try:
            return Daemon(paths=paths, environment=environment, store=store, log=log, redactor=redactor), store
        except ConfigError as error:
            waits = _is_login_item(env)
            _report_config_error(str(error), store, log, environment, will_retry=waits)
            if not waits:
                raise
        lock.release()  # meanwhile `watcher check` may say what is wrong
        _wait_for_config_change(paths, files)
        _acquire_lock(lock)


def _acquire_lock(lock: Lock) -> None:
    if not lock.acquire():
        output.print_error(output.format_already_running(lock.read_holder_pid()))
        sys.exit(EXIT_BUSY)


def _is_login_item(env: Mapping[str, str]) -> bool:
    """Whether systemd or launchd started this process: nobody reads how it ends, and nobody starts it anew by hand.

    Ended for a mistake in the config, systemd would leave it dead after that is mended, and launchd start it in vain
    every half minute until then. Both say in the environment whom they started; what a shell inherits does not match.
    """
    from watcher.agent.launchd import LABEL  # noqa: PLC0415 - only where it cannot start

    return env.get("SYSTEMD_EXEC_PID") == str(os.getpid()) or env.get("XPC_SERVICE_NAME") == LABEL


def _wait_for_config_change(paths: Paths, fingerprint: ConfigFingerprint) -> None:
    """Wait until the config's files change, or until SIGHUP says that they, or what they point to, are fixed."""
    signalled = threading.Event()
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda _number, _frame: signalled.set())
    while fingerprint_config_files(paths) == fingerprint and not signalled.wait(CONFIG_CHECK_EVERY_S):
        pass


def _report_config_error(
    message: str, store: Store, log: Log, environment: Environment, *, will_retry: bool = False
) -> None:
    """Say what is wrong with the config; on the desktop once, however often it is looked at."""
    log.warning(f"the config cannot be used{', waiting until it is mended' if will_retry else ''}:\n{message}")
    known, now = store.facts.load(CONFIG_ERROR_FACT), environment.clock.now()
    if known is None or known[0] != message:
        store.run_transaction(lambda: store.facts.save(CONFIG_ERROR_FACT, message, now), now=now)
        write_status(store, None, now=now)
        title = "The watcher waits: its config has a mistake" if will_retry else "The watcher did not start"
        output.notify_desktop(title, message, environment)
    store.close()


def _install_signal_handlers(daemon: Daemon) -> None:
    def end(_number: int, _frame: FrameType | None) -> None:
        daemon.stop()
        late = threading.Timer(
            SHUTDOWN_TIMEOUT_S, os._exit, (0,)
        )  # the loop may itself wait, for another writer of the store
        late.daemon = True
        late.start()

    def reload(_number: int, _frame: FrameType | None) -> None:
        daemon.reload()

    def look(_number: int, _frame: FrameType | None) -> None:
        daemon.check_requests()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, reload)
        signal.signal(signal.SIGUSR1, look)
