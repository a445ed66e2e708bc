"""A home with made-up logins whose servers are one loopback server, for commands run as a person runs them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from watcher.demo import simulation
from watcher.demo.scenario import SimulatedDay, parse_hours
from watcher.demo.server import Server
from watcher.system.clock import Clock

NOON = "12:20"  # Claude's session is at 83 %, and fires


class Home:
    """Runs `watcher` in a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = simulation.make_paths(folder)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "WATCHER_CONFIG_DIR": str(self.paths.config_dir),
            "WATCHER_STATE_DIR": str(self.paths.state_dir),
            "GEMINI_CLIENT_ID": "demo-client",
            "GEMINI_CLIENT_SECRET": "demo-secret",
            "TZ": "UTC",
            "LC_ALL": "C.UTF-8",
        }

    def watcher(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
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
def empty_home(tmp_path: Path) -> Home:
    """A machine on which nothing was ever signed in or asked."""
    (tmp_path / "home").mkdir()
    return Home(tmp_path)


@contextmanager
def at_noon(folder: Path) -> Iterator[Home]:
    """A machine with six logins, at noon of the demonstration's day."""
    clock = Clock()
    day = SimulatedDay(midnight=clock.now() - timedelta(hours=parse_hours(NOON)))
    with Server(lambda asked: simulation.answer_request(asked, clock, day)) as server:
        simulation.write_home(folder, server.url, day, desktop=False)
        home = Home(folder)
        home.server = server  # type: ignore[attr-defined]
        yield home


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Home]:
    """A machine with six logins, at noon of the demonstration's day, that has asked nothing yet."""
    with at_noon(tmp_path) as home:
        yield home


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """That machine after one `watcher check`. Do not change it."""
    with at_noon(tmp_path_factory.mktemp("served")) as home:
        home.checked = home.watcher("check")  # type: ignore[attr-defined]
        yield home
