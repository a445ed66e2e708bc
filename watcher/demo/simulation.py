"""The simulated machine: a clock that runs many times faster, a home with made-up logins, and a configuration.

The clock stops while the daemon is working. Providers, daemon, rules and display all use it.
"""

import json
import math
import sqlite3  # noqa: TID251 - plays the editor that writes this file; the watcher itself only reads it
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from msgspec import structs

from watcher.core.model import DatabaseQuery, QueryResult, Request, Response
from watcher.credentials import HostInfo
from watcher.demo.responses import ACCOUNT_EMAIL, CHATGPT_WORKSPACE, ENDPOINTS, encode_antigravity_status
from watcher.demo.scenario import SimulatedDay
from watcher.demo.server import ReceivedRequest, Reply, json_reply
from watcher.system import foreign_databases, process
from watcher.system.clock import Clock, monotonic_s
from watcher.system.environment import Environment
from watcher.system.paths import Paths
from watcher.system.scheduler import Callback, WorkQueue

T = TypeVar("T")


class FastClock(Clock):
    """Starts at a given instant and never steps."""

    def __init__(self, starts_at: datetime, speed: float, machine_clock: Callable[[], float] = monotonic_s) -> None:
        self._starts_at, self._speed, self._monotonic_s = starts_at, speed, machine_clock
        self._lock = threading.Lock()
        self._elapsed_s = 0.0  # real seconds until the last pause, without earlier pauses
        self._pause_count = 0
        self._started_s = machine_clock()  # the end of the last pause
        self._runs_until_s = math.inf  # it stops there, even if the next call comes later

    def now(self) -> datetime:
        """The simulated instant."""
        with self._lock:
            return self._starts_at + timedelta(seconds=self._read_elapsed_s() * self._speed)

    def to_real_seconds(self, span: timedelta) -> float:
        """How long the machine waits for `span`, apart from pauses."""
        return span.total_seconds() / self._speed

    def wall_offset(self) -> timedelta:
        """Zero: this clock is never set and never suspended."""
        return timedelta(0)

    def utc_offset(self) -> timedelta:
        """Zero: the zone does not change."""
        return timedelta(0)

    def pause(self) -> None:
        """Stop the clock; several callers may do so at once."""
        with self._lock:
            self._elapsed_s = self._read_elapsed_s()
            self._pause_count += 1

    def resume(self, run_at_most_s: float | None = None) -> None:
        """Start the clock if no other caller holds it, for at most so many real seconds."""
        with self._lock:
            self._pause_count -= 1
            self._started_s = self._monotonic_s()
            self._runs_until_s = self._started_s + (math.inf if run_at_most_s is None else run_at_most_s)

    def _read_elapsed_s(self) -> float:
        if self._pause_count:
            return self._elapsed_s
        return self._elapsed_s + min(self._monotonic_s(), self._runs_until_s) - self._started_s


class SimulatedWorkQueue(WorkQueue):
    """The daemon's queue, in which time passes only while the daemon waits, and at most as long as it intends to.

    Otherwise an answer of twenty milliseconds, or a busy machine, would take half a simulated hour.
    """

    def __init__(self, clock: FastClock) -> None:
        super().__init__()
        self._clock = clock
        clock.pause()

    def get(self, timeout_s: float | None) -> Callback | None:
        """As the daemon's own; the clock runs meanwhile, unless work is in progress."""
        self._clock.resume(timeout_s)
        try:
            return super().get(timeout_s)
        finally:
            self._clock.pause()

    def run_in_thread(self, work: Callable[[], T], on_done: Callable[[T], None]) -> None:
        """As the daemon's own; the clock stops until the work is done."""

        def finish(result: T) -> None:
            try:
                on_done(result)
            finally:
                self._clock.resume()

        self._clock.pause()
        super().run_in_thread(work, finish)


WEBHOOK_PATH = "/alerts"  # where the webhook channel posts
FIRES_ABOVE_PERCENT, CLEARS_BELOW_PERCENT = 80, 70
ANTIGRAVITY_STATUS_KEY = "antigravityAuthStatus"
_SIMULATED_PLATFORM = "linux"  # the layout of the home, on every machine


def make_paths(folder: Path) -> Paths:
    """Where the simulated watcher keeps its own files."""
    return Paths(config_dir=folder / "config", state_dir=folder / "state")


def write_home(folder: Path, url: str, day: SimulatedDay, *, desktop: bool) -> None:
    """Writes the home and the configuration below `folder`; the providers are at `url`."""
    home = folder / "home"
    logins = {
        "anthropic": {"type": "oauth", "access": "sk-ant-oat01-demo"},
        "openai": {"type": "oauth", "access": "demo-codex", "accountId": CHATGPT_WORKSPACE},
        "github-copilot": {"type": "oauth", "access": "gho_demo"},
        "nano-gpt": {"type": "api", "key": "demo-nano"},
    }
    google = {"email": ACCOUNT_EMAIL, "refreshToken": "1//demo", "projectId": "demo-project", "enabled": True}
    _write_file(home / ".local" / "share" / "opencode" / "auth.json", json.dumps(logins))
    _write_file(
        home / ".config" / "opencode" / "antigravity-accounts.json",
        json.dumps({"version": 3, "accounts": [google], "activeIndex": 0}),
    )
    write_antigravity_status(folder, encode_antigravity_status(day.usage_at(day.starts_at)))
    _write_file(make_paths(folder).config_file, _make_config_text(url, desktop=desktop))


def write_antigravity_status(folder: Path, status: str) -> None:
    """Writes the editor's database as the editor does."""
    path = _get_editor_database_path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS ItemTable (key TEXT UNIQUE ON CONFLICT REPLACE, value BLOB)")
        database.execute("INSERT INTO ItemTable VALUES (?, ?)", (ANTIGRAVITY_STATUS_KEY, status))


def answer_request(request: ReceivedRequest, clock: FastClock, day: SimulatedDay) -> Reply:
    """The provider's answer at this simulated instant."""
    endpoint = ENDPOINTS.get((request.method, request.path))
    if endpoint is None:
        return json_reply({"error": f"nothing at {request.method} {request.path}"}, 404)
    now = clock.now()
    return json_reply(endpoint(day.usage_at(now), now))


def make_environment(folder: Path, clock: FastClock, day: SimulatedDay) -> Environment:
    """The real environment with the simulated clock and this home."""
    from watcher.system import http  # noqa: PLC0415 - heavy, and only a running demonstration sends

    def send(request: Request) -> Response:
        return http.send_request(request, now=clock.now)

    def read_database(query: DatabaseQuery) -> QueryResult:
        if query.path == str(_get_editor_database_path(folder)):
            write_antigravity_status(folder, encode_antigravity_status(day.usage_at(clock.now())))
        rows = foreign_databases.read_database(query, now=clock.now)
        return structs.replace(rows, modified_at=clock.now())  # the file's own time is the real one

    host_info = HostInfo(
        home=folder / "home",
        env={"GEMINI_CLIENT_ID": "demo-client", "GEMINI_CLIENT_SECRET": "demo-secret"},
        platform=_SIMULATED_PLATFORM,
        run_command=process.run_command,
        read_database=read_database,
    )
    return Environment(
        clock=clock,
        send=send,
        run=process.run_command,
        read_database=read_database,
        read_host_info=lambda: host_info,
        jitter=partial(float, 0),
    )


def _make_config_text(url: str, *, desktop: bool) -> str:
    providers = "".join(
        f'[providers.{name}]\nbase_url = "{url}"\n' for name in ("claude", "codex", "copilot", "nano_gpt", "gemini_cli")
    )
    channels = '"terminal", "desktop"' if desktop else '"terminal"'
    desktop_channel = '[channels.desktop]\ntype = "desktop"\n' if desktop else ""
    return f"""\
[poll]
every = "10m"
{providers}
[channels.terminal]
type = "webhook"
url = "{url}{WEBHOOK_PATH}"
{desktop_channel}
[route]
default = [{channels}]

[[rule]]
name  = "claude-session"
when  = "claude.five_hour > {FIRES_ABOVE_PERCENT}%"
clear = "< {CLEARS_BELOW_PERCENT}%"

[[rule]]
name     = "copilot-overage"
when     = "copilot.remaining < 0"
severity = "critical"
"""


def _get_editor_database_path(folder: Path) -> Path:
    return folder / "home" / ".config" / "Antigravity" / "User" / "globalStorage" / "state.vscdb"


def _write_file(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
