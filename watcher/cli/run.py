"""`watcher run`: the daemon in the foreground, until a signal ends it."""

import os
import signal
import sys
from types import FrameType

import click

from watcher import doors, paths
from watcher.cli import EXIT_BUSY, messages
from watcher.core.redaction import Redactor
from watcher.errors import ConfigError
from watcher.lock import Lock
from watcher.store import FILE_NAME, Store


@click.command()
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", help="Form of the log's lines.")
@click.option("-v", "--verbose", is_flag=True, help="Log every poll, not only what changes.")
def run(log_format: str, *, verbose: bool) -> None:
    """Watch from now on, in the foreground. `watcher agent install` does so at every login.

    SIGTERM and SIGINT end it, SIGHUP reads the config anew.
    """
    if hasattr(signal, "SIGHUP"):  # a reload that comes this early has nothing to read anew, and must not end it
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from watcher import logs  # noqa: PLC0415 - loguru is heavy, and only the daemon logs
    from watcher.daemon import Daemon  # noqa: PLC0415 - likewise

    os.umask(0o077)
    world = doors.real()
    around = world.surroundings()
    own = paths.find(around.env, around.home)
    lock = Lock(own.state_dir)
    if not lock.acquire():
        click.echo(messages.already_running(lock.holder()), err=True)
        sys.exit(EXIT_BUSY)
    redactor = Redactor()
    log = logs.FileLog(own.state_dir, redactor, json_lines=log_format == "json", verbose=verbose)
    store = Store(own.state_dir / FILE_NAME, now=world.clock.now())
    try:
        daemon = Daemon(paths=own, doors=world, store=store, log=log, redactor=redactor)
    except ConfigError as error:
        log.warning(f"the config cannot be used:\n{error}")
        messages.tell_the_desktop("The watcher did not start", str(error), world)
        raise

    def end(_number: int, _frame: FrameType | None) -> None:
        daemon.stop()

    def reload(_number: int, _frame: FrameType | None) -> None:
        daemon.reload()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, reload)
        signal.signal(signal.SIGUSR1, lambda _number, _frame: daemon.look())
    log.info(f"watching; process {os.getpid()}, state in {own.state_dir}")
    daemon.run()
    log.info("stopped")
    store.close()
    lock.release()
    sys.stdout.flush()
    os._exit(0)  # threads that wait for a slow server must not hold up the end
