"""The wheel, built and installed: what a user gets is what was tested."""

import email
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from watcher import __version__

ROOT = Path(__file__).parents[1]


def pip(command, *words):
    line = [sys.executable, "-m", "pip", command, "-q", "--no-deps", *words]
    subprocess.run(line, check=True, capture_output=True, timeout=300)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with the installed package, outside of the source tree."""
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--target", str(folder), str(wheel))
    return folder


def run(installed, home, *words):
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(installed)}
    if sys.platform == "win32":
        env |= {"USERPROFILE": str(home), "APPDATA": str(home / ".config"), "SYSTEMROOT": os.environ["SYSTEMROOT"]}
    line = [sys.executable, "-m", "watcher", *words]
    return subprocess.run(line, env=env, cwd=home, capture_output=True, text=True, timeout=60, check=False)


def test_the_wheel_holds_the_package_the_rules_and_the_licence(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    shipped = {f"watcher/_rules/{path.name}" for path in (ROOT / "rules").glob("*.toml")}
    assert shipped
    assert shipped <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    tops = {name.split("/")[0] for name in names}
    assert all(top == "watcher" or top.endswith((".dist-info", ".data")) for top in tops)


def test_the_manual_page_is_installed(installed):
    assert (installed / "share/man/man1/watcher.1").read_bytes() == (ROOT / "docs/watcher.1").read_bytes()


def test_the_metadata_says_what_it_is(wheel):
    files = zipfile.ZipFile(wheel)
    (name,) = [name for name in files.namelist() if name.endswith("METADATA")]
    metadata = email.message_from_string(files.read(name).decode())
    assert metadata["Name"] == "ai-usage-watcher"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"


def test_an_installed_watcher_writes_the_rules_that_ship(installed, tmp_path):
    done = run(installed, tmp_path, "init")
    assert done.returncode == 0, done.stderr
    written = tmp_path / ".config/ai-usage-watcher/rules/default.toml"
    assert tomllib.loads(written.read_text("utf-8")) == tomllib.loads((ROOT / "rules/default.toml").read_text("utf-8"))
    assert run(installed, tmp_path, "rules", "check").returncode == 0
    assert run(installed, tmp_path, "rules", "test").returncode == 0


def test_an_installed_watcher_says_its_version(installed, tmp_path):
    assert __version__ in run(installed, tmp_path, "--version").stdout


def test_every_runtime_dependency_defends_itself():
    lines = (ROOT / "pyproject.toml").read_text("utf-8").splitlines()
    start = lines.index("dependencies = [")
    end = lines.index("]", start)
    assert all(" # " in line for line in lines[start + 1 : end])
