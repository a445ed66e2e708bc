"""Imports what Claude Code's status line wrote to the inbox. The daemon does it in its poll cycles, else a command."""

from collections.abc import Sequence
from datetime import datetime

from watcher import pipeline
from watcher.config import loader as configuration
from watcher.config.secrets import make_secret_resolver
from watcher.core.model import Snapshot
from watcher.credentials import Credential, claude_code
from watcher.errors import WatcherError
from watcher.polling import fetch, inbox
from watcher.polling.account_registry import AccountRegistry
from watcher.providers import claude
from watcher.status.builder import write_status
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system.environment import Environment
from watcher.system.lock import Lock
from watcher.system.paths import Paths


def read_statusline(store: Store, logins: Sequence[Credential]) -> tuple[datetime, Snapshot | None] | None:
    """The time of the status line's last entry and its newer readings, if any; None if there is no new entry.

    The entry names no account. It belongs to Claude Code's own login, or else to the only account there is.
    """
    entry = inbox.pop_entry(store.path.parent, inbox.CLAUDE_STATUSLINE)
    if entry is None:
        return None
    content, at = entry
    owners = [(each.account, each.account_name, each.source_name) for each in logins] or [
        (each.account, each.name, "") for each in store.accounts.load() if each.provider == claude.ID
    ]
    own = [owner for owner in owners if owner[2] == claude_code.SOURCE_NAME] or owners or [("", "", "")]
    if len(own) > 1:
        return at, None
    account, name, _ = own[0]
    snapshot = claude.parse_statusline(content, at, account=account, account_name=name)
    known = store.accounts.find(claude.ID, account)
    if snapshot is None:
        return at, None
    return at, claude.filter_newer_readings(snapshot, known.snapshot if known else None)


def import_statusline(paths: Paths, environment: Environment) -> None:
    """Process the inbox's entry while no watcher runs; queues messages and sends none.

    Does nothing while a watcher runs, which does it itself, or if the config has a mistake (other commands report it).
    """
    if not inbox.has_entry(paths.state_dir, inbox.CLAUDE_STATUSLINE):
        return
    lock = Lock(paths.state_dir)
    if not lock.acquire():
        return
    try:
        host_info = environment.read_host_info()
        config = configuration.load_config(paths, make_secret_resolver(host_info), host_info.home)
        settings = config.providers[claude.ID]
        now = environment.clock.now()
        path = paths.state_dir / DATABASE_FILE_NAME
        store = Store(path, now=now, memory_fallback=True)
        try:
            logins = AccountRegistry(store)
            found = fetch.find_logins(
                claude.PROVIDER, host_info, settings.overrides, known_keys=logins.get_known_keys(claude.ID)
            )
            logins.record_credentials(claude.ID, found.credentials, now)
            logins.settle(claude.ID, config, now, troubled={each.account for each in found.failures})
            entry = read_statusline(store, logins.list_logins(claude.ID, now))
            if entry is not None and entry[1] is not None:
                pipeline.process_result(store, config, entry[1], now=now, every=settings.pace.every)
                write_status(store, config, now=now)
        finally:
            store.close()
    except WatcherError:
        return
    finally:
        lock.release()
