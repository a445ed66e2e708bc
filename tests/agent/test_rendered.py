"""The rendered files: equal to those that ship, and accepted by the systems' own checkers."""

import os
import plistlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agent.items import make_item
from watcher.agent import LoginItem, launchd, systemd, windows
from watcher.agent.launchd import LABEL
from watcher.agent.systemd import UNIT

TOP = Path(__file__).parents[2]
DATA = Path(__file__).parent / "data"


def shipped(platform: str, home: str, *, headless: bool = False) -> LoginItem:
    return make_item(
        platform,
        Path(home),
        executable=f"{home}/.venvs/watcher/bin/python",
        state_dir=Path(home) / ".local" / "state" / "ai-usage-watcher",
        headless=headless,
    )


def needs(program: str) -> pytest.MarkDecorator:
    absent = shutil.which(program) is None and not os.environ.get("WATCHER_REQUIRE_SYSTEM_TESTS")
    return pytest.mark.skipif(absent, reason=f"needs {program}")


@pytest.mark.posix
def test_the_property_list_that_ships_is_the_rendered_one() -> None:
    file = TOP / "contrib" / "launchd" / f"{LABEL}.plist"
    assert file.read_text("utf-8") == launchd.render(shipped("darwin", "/Users/you")).decode()


@pytest.mark.posix
@pytest.mark.parametrize(("name", "headless"), [(UNIT, False), (UNIT.replace(".service", "-headless.service"), True)])
def test_the_units_that_ship_are_the_rendered_ones(name: str, headless: bool) -> None:  # noqa: FBT001
    file = TOP / "contrib" / "systemd" / name
    assert file.read_text("utf-8") == systemd.render(shipped("linux", "/home/you", headless=headless)).decode()


@pytest.mark.system
@needs("xmllint")
def test_xmllint_accepts_the_property_list(tmp_path: Path) -> None:
    file = tmp_path / "agent.plist"
    file.write_bytes(launchd.render(shipped("darwin", "/Users/you & <co>")))
    checked = subprocess.run(["xmllint", "--noout", "--nonet", file], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert plistlib.loads(file.read_bytes())["ProgramArguments"][0].startswith("/Users/you & <co>/")


def verify(unit: bytes, folder: Path) -> tuple[int, str]:
    file = folder / UNIT
    file.write_bytes(unit)
    env = {"XDG_RUNTIME_DIR": str(folder), "HOME": str(folder), "PATH": os.environ["PATH"]}
    command = ["systemd-analyze", "verify", "--user", "--man=no", str(file)]
    checked = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    return checked.returncode, checked.stderr


def local(folder: Path, *, headless: bool) -> LoginItem:
    """With this interpreter: a missing program is one of the things that the checker looks for."""
    return make_item("linux", folder, executable=sys.executable, env={"CODEX_HOME": "/srv/100% odd"}, headless=headless)


@pytest.mark.system
@needs("systemd-analyze")
@pytest.mark.parametrize("headless", [False, True])
def test_systemd_accepts_the_unit_without_a_word(tmp_path: Path, headless: bool) -> None:  # noqa: FBT001
    assert verify(systemd.render(local(tmp_path, headless=headless)), tmp_path) == (0, "")


@pytest.mark.system
@needs("systemd-analyze")
def test_systemd_rejects_a_wrong_key(tmp_path: Path) -> None:
    unit = systemd.render(local(tmp_path, headless=True)).replace(b"MemoryMax=", b"MemoryMost=")
    assert "MemoryMost" in verify(unit, tmp_path)[1]


def task(folder: Path) -> Path:
    here = make_item(
        "win32",
        folder,
        executable=r"C:\Program Files\watcher & co\Scripts\python.exe",
        env={"USERDOMAIN": "BOX", "USERNAME": "Zoë"},
    )
    file = folder / "task.xml"
    file.write_bytes(windows.render(here))
    return file


def test_the_task_is_utf_16_with_a_byte_order_mark(tmp_path: Path) -> None:
    raw = task(tmp_path).read_bytes()
    assert raw[:2] in {b"\xff\xfe", b"\xfe\xff"}
    text = raw.decode("utf-16")
    assert text.startswith('<?xml version="1.0" encoding="UTF-16"?>')
    assert "BOX\\Zoë" in text


def test_the_task_runs_longer_than_three_days_and_on_battery(tmp_path: Path) -> None:
    text = task(tmp_path).read_bytes().decode("utf-16")
    for line in (
        "<ExecutionTimeLimit>PT0S</ExecutionTimeLimit>",
        "<DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>",
        "<StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>",
        "<LogonType>InteractiveToken</LogonType>",
        "<RunLevel>LeastPrivilege</RunLevel>",
        "<Arguments>-OO -P -m watcher run</Arguments>",
    ):
        assert line in text


def validate(file: Path) -> tuple[int, str]:
    command = ["xmllint", "--noout", "--nonet", "--schema", str(DATA / "task.xsd"), str(file)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    return checked.returncode, checked.stderr


@pytest.mark.system
@needs("xmllint")
def test_the_task_obeys_its_schema(tmp_path: Path) -> None:
    file = task(tmp_path)
    assert validate(file) == (0, f"{file} validates\n")


@pytest.mark.system
@needs("xmllint")
@pytest.mark.parametrize(
    ("right", "wrong"),
    [("PT1M", "PT10S"), ("InteractiveToken", "Interactive"), ("PT0S", "0")],
)
def test_the_schema_rejects_a_wrong_value(tmp_path: Path, right: str, wrong: str) -> None:
    file = task(tmp_path)
    text = file.read_bytes().decode("utf-16")
    assert right in text
    file.write_bytes(text.replace(right, wrong).encode("utf-16"))
    assert validate(file)[0] != 0
