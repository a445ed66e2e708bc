"""A machine of its own for the demonstration: a home with made-up logins, a configuration, and doors that lead there.

Nothing of the person's own home, configuration or logins is read or written. Never put amounts or answers here.
"""

import json
import sqlite3  # noqa: TID251 - plays the editor that writes this file; the watcher itself only reads it
from contextlib import closing
from functools import partial
from pathlib import Path

from msgspec import structs

from watcher import files, process
from watcher.core.model import ReadDatabase, Request, Response, Rows
from watcher.credentials import Surroundings
from watcher.demo.answers import ACCOUNT, ENDPOINTS, WORKSPACE, antigravity_status
from watcher.demo.clock import FastClock
from watcher.demo.day import Day
from watcher.demo.server import Asked, Reply, json_reply
from watcher.doors import Doors
from watcher.paths import Paths

ALERTS = "/alerts"  # where the webhook channel posts
FIRES_ABOVE, CLEARS_BELOW = 80, 70
STATUS_KEY = "antigravityAuthStatus"
_PLATFORM = "linux"  # whose layout the home has, whatever this machine is


def paths(folder: Path) -> Paths:
    """Where the demonstration's watcher keeps its own files."""
    return Paths(config_dir=folder / "config", state_dir=folder / "state")


def lay_out(folder: Path, url: str, day: Day, *, desktop: bool) -> None:
    """Write the home and the configuration below `folder`; the providers are at `url`."""
    home = folder / "home"
    logins = {
        "anthropic": {"type": "oauth", "access": "sk-ant-oat01-demo", "refresh": "sk-ant-ort01-demo", "expires": 0},
        "openai": {"type": "oauth", "access": "demo-codex", "refresh": "r", "expires": 0, "accountId": WORKSPACE},
        "github-copilot": {"type": "oauth", "access": "gho_demo", "refresh": "gho_demo", "expires": 0},
        "nano-gpt": {"type": "api", "key": "demo-nano"},
    }
    google = {"email": ACCOUNT, "refreshToken": "1//demo", "projectId": "demo-project", "enabled": True}
    _write(home / ".local" / "share" / "opencode" / "auth.json", json.dumps(logins))
    _write(
        home / ".config" / "opencode" / "antigravity-accounts.json",
        json.dumps({"version": 3, "accounts": [google], "activeIndex": 0}),
    )
    save_status(folder, antigravity_status(day.use(day.starts_at)))
    _write(paths(folder).config_file, _config(url, desktop=desktop))


def save_status(folder: Path, status: str) -> None:
    """Write the editor's database as the editor does."""
    path = _editor_file(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS ItemTable (key TEXT UNIQUE ON CONFLICT REPLACE, value BLOB)")
        database.execute("INSERT INTO ItemTable VALUES (?, ?)", (STATUS_KEY, status))


def answer(asked: Asked, clock: FastClock, day: Day) -> Reply:
    """What the provider says at this simulated instant."""
    endpoint = ENDPOINTS.get((asked.method, asked.path))
    if endpoint is None:
        return json_reply({"error": f"nothing at {asked.method} {asked.path}"}, 404)
    now = clock.now()
    return json_reply(endpoint(day.use(now), now))


def doors(folder: Path, clock: FastClock, day: Day) -> Doors:
    """The real doors, held to the simulated clock and to this home."""
    from watcher import http  # noqa: PLC0415 - heavy, and only a running demonstration sends

    def send(request: Request) -> Response:
        return http.send(request, now=clock.now)

    def read_database(question: ReadDatabase) -> Rows:
        if question.path == str(_editor_file(folder)):
            save_status(folder, antigravity_status(day.use(clock.now())))
        rows = files.read_database(question, now=clock.now)
        # The file system's time is the machine's own.
        return structs.replace(rows, modified_at=clock.now())

    surroundings = Surroundings(
        home=folder / "home",
        env={"GEMINI_CLIENT_ID": "demo-client", "GEMINI_CLIENT_SECRET": "demo-secret"},
        platform=_PLATFORM,
        run=process.run,
        read_database=read_database,
    )
    return Doors(
        clock=clock,
        send=send,
        run=process.run,
        read_database=read_database,
        surroundings=lambda: surroundings,
        jitter=partial(float, 0),
    )


def _config(url: str, *, desktop: bool) -> str:
    providers = "".join(
        f'[providers.{name}]\nbase_url = "{url}"\n' for name in ("claude", "codex", "copilot", "nano_gpt", "gemini_cli")
    )
    channels = '"terminal", "desktop"' if desktop else '"terminal"'
    wanted = '[channels.desktop]\ntype = "desktop"\n' if desktop else ""
    return f"""\
[poll]
every = "10m"
{providers}
[channels.terminal]
type = "webhook"
url = "{url}{ALERTS}"
{wanted}
[route]
default = [{channels}]

[[rule]]
name  = "claude-session"
when  = "claude.five_hour > {FIRES_ABOVE}%"
clear = "< {CLEARS_BELOW}%"

[[rule]]
name     = "copilot-overage"
when     = "copilot.remaining < 0"
severity = "critical"
"""


def _editor_file(folder: Path) -> Path:
    return folder / "home" / ".config" / "Antigravity" / "User" / "globalStorage" / "state.vscdb"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
