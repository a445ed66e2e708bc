"""A home with made-up logins whose servers are one loopback server, for commands run as a person runs them."""

import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from unittest import mock

import pytest

from watcher import cli
from watcher.demo import simulation
from watcher.demo.scenario import SimulatedDay, parse_hours
from watcher.demo.server import Server
from watcher.system import clock

NOON = "12:20"  # Claude's session is at 83 %, and fires
HOME_VARIABLE = "USERPROFILE" if sys.platform == "win32" else "HOME"
Ran = subprocess.CompletedProcess[str]


def _apply_time_zone() -> None:
    if sys.platform != "win32":
        time.tzset()


def run_command(*words: str, env: dict[str, str], stdin: bytes = b"") -> Ran:
    """`python -m watcher` in this process, with that environment and no terminal."""
    encoding = env.get("PYTHONIOENCODING", "utf-8")
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding, newline="\n", write_through=True) for _ in range(2))
    streams = {"stdin": io.TextIOWrapper(io.BytesIO(stdin), "utf-8"), "stdout": out, "stderr": err, "__stdout__": out}
    with mock.patch.dict(os.environ, env, clear=True), mock.patch.multiple(sys, **streams):
        _apply_time_zone()
        try:
            code = cli.dispatch(list(words))
        except SystemExit as ended:
            code = ended.code
    _apply_time_zone()
    shown, message = (stream.buffer.getvalue().decode(encoding) for stream in (out, err))
    return subprocess.CompletedProcess(words, code, shown, message)


class Home:
    """Runs `watcher` in a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = simulation.make_paths(folder)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            **dict.fromkeys(("USERPROFILE", "LOCALAPPDATA"), str(folder / "home")),
            "APPDATA": str(folder / "home" / ".config"),  # where the simulation writes what Linux keeps there
            **{
                name: os.environ[name] for name in ("SYSTEMROOT", "COMSPEC", "TEMP") if name in os.environ
            },  # of Windows
            "WATCHER_CONFIG_DIR": str(self.paths.config_dir),
            "WATCHER_STATE_DIR": str(self.paths.state_dir),
            "GEMINI_CLIENT_ID": "demo-client",
            "GEMINI_CLIENT_SECRET": "demo-secret",
            "TZ": "UTC",
            "LC_ALL": "C.UTF-8",
        }

    def watcher(self, *words: str, **env: str) -> Ran:
        """A command, run in this process."""
        return run_command(*words, env={**self.env, **env})

    def process(self, *words: str, **env: str) -> Ran:
        """A command as a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "watcher", *words],
            env={**self.env, **env},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )


@pytest.fixture
def still_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in this process all see one instant."""
    now = clock.utc_now()
    monkeypatch.setattr(clock, "utc_now", lambda: now)


@pytest.fixture
def empty_home(tmp_path: Path) -> Home:
    """A machine without logins and readings."""
    (tmp_path / "home").mkdir()
    return Home(tmp_path)


@contextmanager
def at_noon(folder: Path) -> Iterator[Home]:
    """A machine with six logins, at noon of the demonstration's day."""
    noon = simulation.FastClock(clock.utc_now(), speed=0)  # a later poll finds the same usage, however long tests take
    day = SimulatedDay(midnight=noon.now() - timedelta(hours=parse_hours(NOON)))
    with Server(lambda asked: simulation.answer_request(asked, noon, day)) as server:
        simulation.write_home(folder, server.url, day, desktop=False)
        home = Home(folder)
        home.server = server  # type: ignore[attr-defined]
        yield home


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Home]:
    """A machine with six logins, at noon of the demonstration's day, that has polled nothing yet."""
    with at_noon(tmp_path) as home:
        yield home


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """That machine after one `watcher check`. Do not change it."""
    with at_noon(tmp_path_factory.mktemp("served")) as home:
        home.checked = home.watcher("check")  # type: ignore[attr-defined]
        yield home
