"""The whole demonstration, as a person starts it: piped, and in a terminal. Both run at once, at full speed."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from watcher.providers.registry import PROVIDERS, RESERVED_IDS

SPEED = "8000"
COMMAND = [sys.executable, "-m", "watcher", "demo", "--speed", SPEED]


played = pytest.mark.slow  # plays the whole day, twice at once


class CompletedDemo:
    def __init__(self, code: int, text: str, home: Path) -> None:
        self.code, self.text, self.home = code, text, home


def build_env(home: Path, **more: str) -> dict[str, str]:
    """Without a desktop: no bus, no display, and a PATH without notification programs."""
    home.mkdir()
    bare = {"HOME": str(home), "PATH": str(home), "TMPDIR": str(home.parent), "TZ": "Europe/Berlin"}
    return {**bare, "XDG_RUNTIME_DIR": str(home), **more}


def start_in_pipe(folder: Path) -> "subprocess.Popen[bytes]":
    env = build_env(folder / "piped", PYTHONIOENCODING="ascii", NO_COLOR="1")
    return subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)


def start_in_terminal(folder: Path) -> tuple["subprocess.Popen[bytes]", int]:
    env = build_env(folder / "terminal", PYTHONIOENCODING="utf-8", TERM="xterm-256color", COLUMNS="80", NO_COLOR="1")
    import pty  # noqa: PLC0415 - not on Windows, where only the other tests run

    ours, theirs = pty.openpty()
    process = subprocess.Popen(COMMAND, stdin=theirs, stdout=theirs, stderr=theirs, env=env, close_fds=True)
    os.close(theirs)
    return process, ours


def read_until_closed(descriptor: int) -> bytes:
    found = bytearray()
    while True:
        try:
            piece = os.read(descriptor, 65536)
        except OSError:  # the other end is closed
            return bytes(found)
        if not piece:
            return bytes(found)
        found += piece


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CompletedDemo]:
    folder = tmp_path_factory.mktemp("demo")
    piped = start_in_pipe(folder)
    process, descriptor = start_in_terminal(folder)
    text: list[bytes] = []
    reader = threading.Thread(target=lambda: text.append(read_until_closed(descriptor)), daemon=True)
    reader.start()
    try:
        out, _ = piped.communicate(timeout=240)
        process.wait(timeout=120)
        reader.join(60)
    finally:
        piped.kill()
        process.kill()
        os.close(descriptor)
    return {
        "piped": CompletedDemo(piped.returncode, out.decode("ascii"), folder / "piped"),
        "terminal": CompletedDemo(process.returncode, b"".join(text).decode(), folder / "terminal"),
    }


@played
@pytest.mark.parametrize("name", ["piped", "terminal"])
def test_it_ends_by_itself_and_all_went_well(both: dict[str, CompletedDemo], name: str) -> None:
    ended = both[name]
    assert (ended.code, "trouble" in ended.text) == (0, False), ended.text


@played
@pytest.mark.parametrize("name", ["piped", "terminal"])
def test_an_alert_fires_stays_quiet_and_resolves_and_copilot_goes_over(
    both: dict[str, CompletedDemo], name: str
) -> None:
    text = both[name].text
    story = [
        "WARNING: Claude 5-hour window at 8",
        "Claude back at 7",
        "nothing is sent",
        "RESOLVED: Claude 5-hour window has reset",
        "CRITICAL: Copilot premium requests at 10",
        "3 notifications.",
    ]
    places = [text.index(part) for part in story]
    assert places == sorted(places)
    assert text.count("WARNING:") == 1


@played
def test_the_times_are_those_of_this_machine(both: dict[str, CompletedDemo]) -> None:
    fired = re.search(r"^(\d\d:\d\d)  ! WARNING", both["piped"].text, re.MULTILINE)
    assert fired is not None
    assert "11:05" <= fired.group(1) <= "11:30"
    assert "(13:10)" in both["piped"].text


@played
def test_the_picture_has_every_provider_and_moves(both: dict[str, CompletedDemo]) -> None:
    text = both["piped"].text
    assert all(f"\n{provider.name} " in text for provider in PROVIDERS.values() if provider.id in RESERVED_IDS)
    assert len(set(re.findall(r"premium requests +\S+ +([0-9.]+ %)", both["terminal"].text))) > 1


@played
def test_piped_it_is_plain_ascii_within_eighty_columns(both: dict[str, CompletedDemo]) -> None:
    text = both["piped"].text
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= 80


@played
def test_in_a_terminal_the_picture_is_redrawn_in_place_without_colour(both: dict[str, CompletedDemo]) -> None:
    text = both["terminal"].text
    assert "\x1b[1A" in text
    assert not re.search(r"\x1b\[[0-9;]*[34]\d[;m]", text)


@played
@pytest.mark.parametrize("name", ["piped", "terminal"])
def test_without_a_desktop_it_says_so_and_leaves_the_home_alone(both: dict[str, CompletedDemo], name: str) -> None:
    ended = both[name]
    assert "This machine shows no desktop notifications; they appear here." in ended.text
    assert list(ended.home.iterdir()) == []
    assert list(ended.home.parent.glob("watcher-demo-*")) == []


def test_a_speed_that_makes_no_sense_is_refused() -> None:
    finished = subprocess.run([*COMMAND[:-1], "1"], capture_output=True, text=True, check=False)
    assert finished.returncode == 64


@pytest.mark.posix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ended_before_its_time_it_leaves_nothing_behind(tmp_path: Path, number: int, code: int) -> None:
    env = build_env(tmp_path / "home")
    command = [*COMMAND[:-1], "60"]
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    if sys.platform != "win32":  # tests that run in the background inherit that SIGINT is ignored
        streams["preexec_fn"] = partial(signal.signal, number, signal.SIG_DFL)
    with subprocess.Popen(command, env=env, text=True, **streams) as process:
        assert process.stdout is not None
        while not list(tmp_path.glob("watcher-demo-*/state/status.json")):
            time.sleep(0.1)
        process.send_signal(number)
        rest = process.stdout.read()
    assert process.returncode == code
    assert "Traceback" not in rest
    assert list(tmp_path.glob("watcher-demo-*")) == []
