"""A whole machine for the daemon, under a clock that is moved by hand: home, servers, clock, and no thread.

Work that a daemon would give to a thread is done at once; where it would wait, the clock moves on to that instant.
"""

import json
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from freezegun import freeze_time
from msgspec.structs import replace

from watcher import pipeline
from watcher.config import loader
from watcher.core.model import Command, CommandResult, Request, Response
from watcher.core.redaction import Redactor
from watcher.credentials import HostInfo
from watcher.daemon import Daemon
from watcher.errors import OfflineError
from watcher.polling import fetch, statusline
from watcher.polling.account_registry import AccountRegistry
from watcher.providers import claude
from watcher.providers.registry import PROVIDERS
from watcher.storage.store import Store
from watcher.system import foreign_databases, paths, scheduler
from watcher.system.clock import Clock
from watcher.system.environment import Environment
from watcher.system.log import Log
from watcher.system.scheduler import Callback, WorkQueue

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
Answer = Callable[[Request], Response | Exception]

HOOK = """
[channels.hook]
type = "webhook"
url = "http://127.0.0.1:9/hook"
"""
SESSION = """
[[rule]]
name = "session"
when = "claude.five_hour > 80%"
clear = "< 70%"
"""


def has_mode(path: Path, mode: int) -> bool:
    """Whether a file has exactly these permissions; Windows has access lists instead."""
    return sys.platform == "win32" or stat.S_IMODE(path.stat().st_mode) == mode


class Machine(Clock):
    """A machine whose wall clock, zone and monotonic clock are set by hand; `schedule` sees the frozen wall clock."""

    def __init__(self, frozen: Any, at: datetime = START) -> None:
        self.frozen = frozen
        self.utc = at
        self.local = timedelta(0)
        self.alive = timedelta(0)
        self._show()

    def _show(self) -> None:
        self.frozen.move_to((self.utc + self.local).replace(tzinfo=None))

    def now(self) -> datetime:
        return self.utc

    def wall_offset(self) -> timedelta:
        return self.utc - datetime(1970, 1, 1, tzinfo=UTC) - self.alive

    def utc_offset(self) -> timedelta:
        return self.local

    def passes(self, span: timedelta) -> None:
        self.utc += span
        self.alive += span
        self._show()

    def sleeps(self, span: timedelta) -> None:
        self.utc += span
        self._show()

    def set_by(self, span: timedelta) -> None:
        self.utc += span
        self._show()

    def changes_zone(self, span: timedelta) -> None:
        self.local += span
        self._show()


class StuckError(BaseException):
    """Raised by work that never ends: its thread never returns."""


class ManualQueue(WorkQueue):
    """Calls without threads: work is done when it is given, and waiting moves the clock."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine
        self.until = machine.now()
        self.at_end: Callback = lambda: None
        self.events: list[tuple[datetime, Callback]] = []
        self.waits: list[float | None] = []
        self.hold = False  # work that is given is never done: a server that hangs

    def start_thread(self, body: Callback) -> None:
        if not self.hold:
            with suppress(StuckError):
                body()

    def get(self, timeout_s: float | None) -> Callback | None:
        call = super().get(0)
        if call is not None:
            return call
        self.waits.append(timeout_s)
        now = self.machine.now()
        due = self.until if timeout_s is None else min(now + timedelta(seconds=timeout_s), self.until)
        if self.events and self.events[0][0] <= due:
            at, event = self.events.pop(0)
            self.machine.passes(max(at - now, timedelta(0)))
            event()
            return None
        self.machine.passes(max(due - now, timedelta(0)))
        if self.machine.now() >= self.until:
            self.at_end()
        return None


def hang_search(monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    """Let the search for this provider's logins never end."""

    def hang(*_: object) -> None:
        raise StuckError

    monkeypatch.setitem(PROVIDERS, provider, replace(PROVIDERS[provider], find_credentials=hang))
    monkeypatch.setattr(scheduler, "PATIENCE_S", 0)


class ListLog(Log):
    """A log that is a list."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str) -> None:
        self.lines.append(message)

    def warning(self, message: str) -> None:
        self.lines.append(message)

    def report_error(self, where: str, error: BaseException) -> None:
        self.lines.append(f"CRASH {where}: {error!r}")


class World:
    """Home, config, servers and clock of one machine; a daemon may be started on it again and again."""

    def __init__(self, home: Path, machine: Machine) -> None:
        self.home, self.machine = home, machine
        self.log = ListLog()
        self._stores: list[Store] = []
        self.store_kind = Store
        self.answers: dict[str, Answer] = {}
        self.env: dict[str, str] = {}
        self.platform = sys.platform
        self.keychain: dict[str, str] = {}  # service -> what the macOS Keychain holds
        self.asked: list[tuple[datetime, str]] = []
        self.received: list[dict[str, Any]] = []
        self.paths = paths.Paths(config_dir=home / ".config" / "w", state_dir=home / ".local" / "w")
        self.login({"anthropic": {"type": "oauth", "access": "sk-ant-oat01-fake", "refresh": "r", "expires": 0}})
        self.answers["/hook"] = self._receive

    def login(self, content: Any) -> None:
        path = self.home / ".local" / "share" / "opencode" / "auth.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), "utf-8")

    def config(self, text: str) -> None:
        self.paths.config_dir.mkdir(parents=True, exist_ok=True)
        self.paths.config_file.write_text(text, "utf-8")

    def usage(self, percent: Any, resets_at: datetime | None = None) -> None:
        """What Claude's API says from now on of the five-hour window."""
        at = resets_at or START + timedelta(hours=4)
        self.answers["/api/oauth/usage"] = lambda _request: self.json(
            {"five_hour": {"utilization": percent, "resets_at": at.isoformat()}}
        )

    def json(self, content: Any, status: int = 200, **headers: str) -> Response:
        named = {"content-type": "application/json", **headers}
        return Response(status=status, headers=named, body=json.dumps(content).encode(), received_at=self.machine.now())

    def _receive(self, request: Request) -> Response:
        body = request.json if request.json is not None else json.loads(request.body or b"{}")
        self.received.append(body)
        return self.json({})

    def send(self, request: Request) -> Response:
        path = urlsplit(request.url).path
        self.asked.append((self.machine.now(), path))
        answer = self.answers.get(path)
        if answer is None:
            raise OfflineError("no such server")
        said = answer(request)
        if isinstance(said, Exception):
            raise said
        return said

    def polls(self) -> list[datetime]:
        return [at for at, path in self.asked if path == "/api/oauth/usage"]

    def run(self, command: Command) -> CommandResult:
        if command.argv[0] == "/usr/bin/security" and (held := self.keychain.get(command.argv[3])):
            return CommandResult(exit_code=0, stdout=held)
        return CommandResult(exit_code=127, stderr=f"{command.argv[0]}: not on this machine")

    def make_environment(self) -> Environment:
        return Environment(
            clock=self.machine,
            send=self.send,
            run=self.run,
            read_database=foreign_databases.read_database,
            read_host_info=lambda: HostInfo(
                home=self.home,
                env=self.env,
                platform=self.platform,
                run_command=self.run,
                read_database=foreign_databases.read_database,
            ),
            jitter=lambda: 0.0,
        )

    def store(self) -> Store:
        """The store of this machine, open until the machine is left."""
        path = self.paths.state_dir / "watcher.db"
        store = self.store_kind(path, now=self.machine.now(), memory_fallback=True)
        self._stores.append(store)
        return store

    def leave(self) -> None:
        for store in self._stores:
            store.close()

    def daemon(self, calls: ManualQueue | None = None) -> tuple[Daemon, ManualQueue, Store]:
        calls = calls or ManualQueue(self.machine)
        store = self.store()
        daemon = Daemon(
            paths=self.paths,
            environment=self.make_environment(),
            store=store,
            log=self.log,
            redactor=Redactor(),
            work_queue=calls,
        )
        calls.at_end = daemon.stop
        return daemon, calls, store

    def watch(self, span: timedelta, *events: tuple[timedelta, Callback]) -> ManualQueue:
        """Run a daemon for a while; `events` happen at these times after its start."""
        daemon, calls, store = self.daemon()
        began = self.machine.now()
        calls.until = began + span
        calls.events = [(began + after, event) for after, event in events]
        daemon.run()
        store.close()
        return calls

    def check(self) -> None:
        """`watcher check`."""
        daemon, calls, store = self.daemon()
        calls.until = self.machine.now() + timedelta(minutes=5)
        daemon.run_once()
        store.close()

    def import_statusline(self) -> None:
        """Take the entry of Claude Code's status line as a poll cycle does, and ask no server."""
        now, host_info, store = self.machine.now(), self.make_environment().read_host_info(), self.store()
        config = loader.load_config(self.paths, lambda text: text, self.home)
        logins = AccountRegistry(store)
        known = logins.get_known_keys(claude.ID)
        found = fetch.find_logins(claude.PROVIDER, host_info, config.providers[claude.ID], known_keys=known)
        logins.record_credentials(claude.ID, found.credentials, now)
        logins.settle(claude.ID, config, now)
        for snapshot in statusline.read_news(store, logins.list_logins(claude.ID, now), self.home) or ():
            pipeline.process_result(store, config, snapshot, now=now, every=timedelta(minutes=10))
        store.close()

    def titles(self) -> list[str]:
        return [f"{body['event']}: {body['title']}" for body in self.received]


@contextmanager
def make_world(home: Path, config: str, percent: float | None = 50) -> Iterator[World]:
    """A world with that config, whose Claude says that percentage; None: whose servers are not there."""
    with freeze_time(START.replace(tzinfo=None), ignore=["watcher"]) as frozen:  # only `schedule` reads that clock
        world = World(home, Machine(frozen))
        world.config(config)
        if percent is not None:
            world.usage(percent)
        yield world
        world.leave()
