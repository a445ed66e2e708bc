"""Lays out the scene: this machine, looked at once, through its own doors. Never judge what is seen here."""

import shutil
from collections.abc import Callable
from pathlib import Path

from watcher import config as configuration
from watcher import paths, poll, secrets
from watcher.agent import Item, Manager
from watcher.agent import registry as agents
from watcher.config import Config
from watcher.core.redaction import Redactor
from watcher.credentials import Surroundings
from watcher.doctor import Scene, Unanswered
from watcher.doors import Doors
from watcher.errors import ConfigError, NoReadingsError, StoreError, UsageError
from watcher.lock import Lock
from watcher.notifiers.desktop import bus
from watcher.paths import Paths
from watcher.poll import Found
from watcher.providers import Overrides
from watcher.providers.registry import PROVIDERS
from watcher.standing import status
from watcher.status_document import empty
from watcher.store import FILE_NAME, Store

_PROGRAMS = {"darwin": ("terminal-notifier", "osascript"), "win32": ("powershell", "pwsh")}


def look(world: Doors, clean: Redactor) -> Scene:
    """The scene of this machine; every secret that was seen on the way is made known to `clean`."""
    around = world.surroundings()
    own = paths.find(around.env, around.home)
    now = world.clock.now()
    config, config_error = _config(world, around, own)
    clean.learn(config.secrets if config is not None else ())
    found = _logins(world, around, config)
    clean.learn(_secrets(found))
    store, store_error, never_asked = _store(own, world)
    manager, item = _agent(around, own)
    return Scene(
        own=own,
        around=around,
        now=now,
        run=world.run,
        config=config,
        config_error=config_error,
        found=found,
        store=store,
        store_error=store_error,
        never_asked=never_asked,
        status=empty(now) if store is None else status(store, now=now),
        holder=Lock(own.state_dir).holder(),
        manager=manager,
        item=item,
        desktop=_desktop(around),
    )


def _config(world: Doors, around: Surroundings, own: Paths) -> tuple[Config | None, str]:
    try:
        return configuration.load(own, secrets.resolver(around.env, around.home, world.run), around.home), ""
    except ConfigError as error:
        return None, str(error)
    except OSError as error:
        return None, _unreadable(error, own.config_dir)


def _unreadable(error: OSError, path: Path) -> str:
    return f"{error.filename or path} cannot be read: {error.strerror or 'no reason is known'}"


def _logins(world: Doors, around: Surroundings, config: Config | None) -> dict[str, Found]:
    return {
        name: poll.find(
            provider,
            around,
            Overrides() if config is None else config.providers[name].overrides,
            now=world.clock.now,
        )
        for name, provider in PROVIDERS.items()
    }


def _secrets(found: dict[str, Found]) -> list[str]:
    credentials = [credential for each in found.values() for credential in each.credentials]
    tokens = [secret for each in credentials for secret in (each.token, each.refresh_token)]
    return [
        *tokens,
        *(each.extra[name] for each in credentials for name in ("id_token", "oauth_blob") if name in each.extra),
    ]


def _store(own: Paths, world: Doors) -> tuple[Store | None, str, bool]:
    try:
        store = Store(own.state_dir / FILE_NAME, now=world.clock.now(), read_only=True)
    except NoReadingsError as error:
        return None, str(error), True
    except StoreError as error:
        return None, str(error), False
    except OSError as error:
        return None, _unreadable(error, own.state_dir), False
    damage = store.damage()
    if not damage:
        return store, "", False
    store.close()  # what it says cannot be relied on, and reading on may fail anywhere
    return None, f"it is damaged ({damage[0]})", False


def _agent(around: Surroundings, own: Paths) -> tuple[Manager | None, Item | None]:
    try:
        manager = agents.manager(around.platform)
    except UsageError:
        return None, None
    return manager, agents.item_here(around, own.state_dir, headless=True)


def _desktop(around: Surroundings) -> Callable[[], str]:
    programs = _PROGRAMS.get(around.platform)
    if programs is None:
        return lambda: _on_the_bus(around)

    def program() -> str:
        there = [name for name in programs if shutil.which(name, path=around.env.get("PATH"))]
        if not there:
            raise Unanswered(f"none of {', '.join(programs)} is there; mend PATH where the watcher runs")
        return f"shown by {there[0]}; the system never says whether anybody saw it"

    return program


def _on_the_bus(around: Surroundings) -> str:
    try:
        from watcher.notifiers.desktop.session import Silence, Unreachable  # noqa: PLC0415 - heavy
    except ImportError:
        raise Unanswered("the library jeepney is not installed; pip install jeepney") from None
    try:
        return f"{bus.server(around.env)} answers on the session bus"
    except (Silence, Unreachable) as error:
        raise Unanswered(str(error)) from None
