"""The daemon's process: lock, log, store, signals. A login item starts it without click, to save memory."""

import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from types import FrameType

from watcher import notifiers
from watcher.cli import EXIT_BUSY
from watcher.config.loader import ConfigFingerprint, fingerprint_config_files
from watcher.core.redaction import Redactor
from watcher.core.routing import messages
from watcher.daemon import CONFIG_ERROR_FACT, SETTLE_FOR, Daemon
from watcher.errors import ConfigError, StoreError
from watcher.notifiers import NOTIFIERS, Channel
from watcher.status.builder import write_status
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import clock, paths
from watcher.system.environment import Environment, create_environment
from watcher.system.http_process import HttpProcesses
from watcher.system.lock import Lock
from watcher.system.log import FileLog, Log
from watcher.system.paths import Paths

CONFIG_CHECK_EVERY_S = 2.0  # while a login item waits for a fix
CHECK_WAIT_S = 30.0  # for a `check`, whose provider may be slow
CHECK_INTERVAL_S = 0.2
SHUTDOWN_TIMEOUT_S = 1.2  # after the signal; systemd and launchd wait for two seconds


def run_daemon(*, json_lines: bool = False, verbose: bool = False) -> None:
    """Watch until a signal ends it; then the process is gone.

    Raises:
        ConfigError: the config cannot be used; the desktop was notified. A login item waits until it is fixed.
        StoreError: the state folder cannot be used, or a newer version has used it.
    """
    os.umask(0o077)
    environment = create_environment(transport=HttpProcesses().send)
    host_info = environment.read_host_info()
    own = paths.resolve_paths(host_info.env, host_info.home)
    lock = Lock(own.state_dir)
    _acquire_lock(lock)
    redactor = Redactor()
    log = FileLog(own.state_dir, redactor, json_lines=json_lines, verbose=verbose)
    daemon, store = _create_daemon(own, environment, lock, log, redactor)
    _install_signal_handlers(daemon)
    gc.collect()
    gc.freeze()  # what is loaded now stays: later collections skip it
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
        try:
            store = Store(path, now=environment.clock.now(), memory_fallback=True)
        except StoreError as error:
            if sys.stderr is None:  # pythonw: nothing else would say why this process ends
                log.warning(str(error))
            raise
        files = fingerprint_config_files(paths)  # before they are read: a fix in the meantime is a change
        try:
            daemon = Daemon(
                paths=paths,
                environment=environment,
                store=store,
                log=log,
                redactor=redactor,
                lock=lock,
                watches_files=True,
            )
        except ConfigError as error:
            waits = _is_login_item(env)
            _report_config_error(str(error), store, log, environment, will_retry=waits)
            if not waits:
                raise
        else:
            return daemon, store
        lock.release()  # meanwhile `watcher check` can report the mistake
        _wait_for_config_change(paths, files)
        _acquire_lock(lock)


def _acquire_lock(lock: Lock) -> None:
    end_at_s = clock.monotonic_s() + CHECK_WAIT_S
    while not (acquired := lock.acquire(brief=False)) and lock.is_brief() and clock.monotonic_s() < end_at_s:
        threading.Event().wait(CHECK_INTERVAL_S)
    if not acquired:
        process_id = lock.read_holder_pid()
        who = f" (process {process_id})" if process_id else ""
        if sys.stderr is not None:  # pythonw has none
            sys.stderr.write(f"a watcher is running already{who}: `watcher status` shows what it knows\n")
        sys.exit(EXIT_BUSY)


def _is_login_item(env: Mapping[str, str]) -> bool:
    """Whether systemd, launchd or the Task Scheduler started this process, so that no person sees it end.

    If it ended on a mistake in the config, systemd would not start it again after the fix, the Task Scheduler for ten
    minutes only, and launchd every half minute. systemd and launchd name the started process in the environment, so a
    shell's copy does not match; on Windows a login item is a `pythonw`, which has no standard error.
    """
    from watcher.agent.launchd import LABEL  # noqa: PLC0415 - only where it cannot start

    is_named = env.get("SYSTEMD_EXEC_PID") == str(os.getpid()) or env.get("XPC_SERVICE_NAME") == LABEL
    return is_named or sys.stderr is None


def _wait_for_config_change(paths: Paths, fingerprint: ConfigFingerprint) -> None:
    """Wait until the config's files change, or until SIGHUP says that they, or what they point to, are fixed."""
    hang_ups: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        hang_ups.append(number)

    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, end)
    while fingerprint_config_files(paths) == fingerprint and not hang_ups:
        threading.Event().wait(CONFIG_CHECK_EVERY_S)
    if not hang_ups:
        threading.Event().wait(SETTLE_FOR.total_seconds())


def _report_config_error(
    message: str, store: Store, log: Log, environment: Environment, *, will_retry: bool = False
) -> None:
    """Log what is wrong with the config; on the desktop, notify once for each mistake."""
    log.warning(f"the config cannot be used{', waiting until it is fixed' if will_retry else ''}:\n{message}")
    known, now = store.facts.load(CONFIG_ERROR_FACT), environment.clock.now()
    if known is None or known[0] != message:
        store.save_fact(CONFIG_ERROR_FACT, message, now)
        write_status(store, None, now=now)
        title = "The watcher waits: its config has a mistake" if will_retry else "The watcher did not start"
        notify_desktop(title, message, environment)
    store.close()


def notify_desktop(title: str, body: str, environment: Environment) -> bool:
    """One notification without the outbox, for what happens before there is one. Returns whether it was accepted."""
    message = messages.compose_notice("start", title, body, environment.clock.now())
    desktop = Channel(name="desktop", type="desktop", settings=NOTIFIERS["desktop"].settings_class())
    outcome = notifiers.send_message(message, desktop, send=environment.send, run=environment.run)
    return bool(outcome.delivered) or outcome.accepted


def _install_signal_handlers(daemon: Daemon) -> None:
    """A handler may interrupt any line: it only puts into the work queue, and takes no lock and starts no thread."""
    actions: dict[int, Callable[[], None]] = {signal.SIGTERM: daemon.stop, signal.SIGINT: daemon.stop}
    if sys.platform == "win32":
        from watcher.system import windows  # noqa: PLC0415 - not on other systems

        actions[signal.SIGBREAK] = daemon.stop
        windows.call_on_wake(os.getpid(), daemon.check_requests)
    else:
        actions |= {signal.SIGHUP: daemon.reload, signal.SIGUSR1: daemon.check_requests}

    ends = {number for number, action in actions.items() if action == daemon.stop}

    def act(number: int, _frame: FrameType | None) -> None:
        actions[number]()

    # Python runs no handler while SQLite waits, nor in a wait that a signal has just missed: the byte that each signal
    # also writes wakes the loop, and ends the process in time.
    receiver, sender = socket.socketpair()
    sender.settimeout(0)  # as Python requires
    signal.set_wakeup_fd(sender.detach(), warn_on_full_buffer=False)

    def wake() -> None:
        while numbers := receiver.recv(1024):
            daemon.wake()
            if ends & set(numbers):
                threading.Event().wait(SHUTDOWN_TIMEOUT_S)
                os._exit(0)

    threading.Thread(target=wake, daemon=True).start()
    for number in actions:
        signal.signal(number, act)
