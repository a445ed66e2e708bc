"""From the inbox to the store: what another program handed over, put to the account that it is about.

The daemon takes it in its rounds; where none runs, a command that shows readings takes it first. Never ask anybody
here.
"""

from collections.abc import Sequence
from datetime import datetime

from watcher import config as configuration
from watcher import inbox, pipeline, poll, refuge
from watcher.core.model import Snapshot
from watcher.credentials import Credential, claude_code
from watcher.doors import Doors
from watcher.errors import WatcherError
from watcher.lock import Lock
from watcher.logins import Logins
from watcher.paths import Paths
from watcher.providers import claude, claude_statusline
from watcher.secrets import resolver
from watcher.store import FILE_NAME, Store
from watcher.successions import Successions


def from_statusline(store: Store, logins: Sequence[Credential]) -> tuple[datetime, Snapshot | None] | None:
    """When Claude Code's status line last spoke and what of it is news; None where it has not spoken since.

    It does not say whose use it shows. It is Claude Code's own login's; where that is not known, the only one there is.
    Of several it belongs to none.
    """
    handed = inbox.take(store.path.parent, inbox.CLAUDE_STATUSLINE)
    if handed is None:
        return None
    content, at = handed
    owners = [(each.account, each.account_name, each.place) for each in logins] or [
        (each.account, each.name, "") for each in store.accounts() if each.provider == claude.ID
    ]
    own = [owner for owner in owners if owner[2] == claude_code.PLACE] or owners or [("", "", "")]
    if len(own) > 1:
        return at, None
    account, name, _ = own[0]
    said = claude_statusline.read(content, at, account=account, account_name=name)
    known = next((each for each in store.accounts() if (each.provider, each.account) == (claude.ID, account)), None)
    return at, None if said is None else claude_statusline.news(said, known.snapshot if known else None)


def take_in(own: Paths, world: Doors) -> None:
    """Take what lies in the inbox while no watcher runs, judge it and queue what is to be said; sends nothing.

    Left lying where a watcher runs (it comes by itself) and where the config cannot be used (other commands say so).
    """
    if not inbox.waits(own.state_dir, inbox.CLAUDE_STATUSLINE):
        return
    lock = Lock(own.state_dir)
    if not lock.acquire():
        return
    try:
        around = world.surroundings()
        config = configuration.load(own, resolver(around.env, around.home, world.run), around.home)
        settings = config.providers[claude.ID]
        now = world.clock.now()
        path = own.state_dir / FILE_NAME
        store = Store(path, now=now, shelter=refuge.place(path, around.env))
        try:
            logins = Logins(store)
            found = poll.find(claude.PROVIDER, around, settings.overrides, keys=logins.keys(claude.ID))
            logins.take(claude.ID, found.credentials, now)
            successions = Successions(store=store, logins=logins, kept={}, hear=lambda _failure: None)
            troubled = {each.account for each in found.failures}
            successions.settle(claude.ID, config, now, spared=troubled, whole=False)
            handed = from_statusline(store, logins.now(claude.ID, now))
            if handed is not None and handed[1] is not None:
                pipeline.observe(store, config, handed[1], now=now, every=settings.pace.every)
        finally:
            store.close()
    except WatcherError:
        return
    finally:
        lock.release()
