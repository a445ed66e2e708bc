"""What all tests share."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from watcher.core.rules.vocabulary import PROVIDER_WINDOWS
from watcher.credentials import files
from watcher.providers.registry import PROVIDERS

EXPLORE = os.environ.get("WATCHER_EXPLORE") == "1"  # new random examples: `--hypothesis-seed=N` repeats a run
# A commit passes or fails the same wherever it is tested; a busy machine is slow, not wrong.
SLOW = [HealthCheck.too_slow]
settings.register_profile("dev", deadline=None, derandomize=not EXPLORE, suppress_health_check=SLOW, max_examples=25)
settings.register_profile("ci", deadline=None, derandomize=not EXPLORE, suppress_health_check=SLOW)
settings.load_profile(os.environ.get("WATCHER_HYPOTHESIS_PROFILE", "dev"))

sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes would compile the program each for itself

for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "WATCHER_CONFIG_DIR", "WATCHER_STATE_DIR"):
    os.environ.pop(name, None)  # the shell of the developer must not change a test
os.umask(0o022)  # others' write access to a config is a mistake, which its own tests make
os.environ["TZ"] = "UTC"  # nor the zone of the machine
if sys.platform != "win32":
    time.tzset()

files.RETRY_PAUSE_S = 0  # no test writes a login file while it is read

# the world of the frozen tests is POSIX's: its programs get HOME, and neither USERPROFILE nor SYSTEMROOT
collect_ignore = ["blackbox"] if sys.platform == "win32" else ["system/test_windows.py"]

NOBODY_UID = 65534


@contextmanager
def _as_unprivileged_user() -> Iterator[None]:
    was = os.geteuid()
    if was == 0:
        os.seteuid(NOBODY_UID)
    try:
        yield
    finally:
        if was == 0:
            os.seteuid(was)


@pytest.fixture
def unprivileged():
    """A context in which this process is an ordinary user: root may read and write everything."""
    if os.name != "posix":
        pytest.skip("permissions of this kind are POSIX's")
    return _as_unprivileged_user


@pytest.fixture
def open_folder():
    """A folder that every user may enter, unlike pytest's own."""
    place = Path(tempfile.mkdtemp(prefix="watcher-test-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def own_providers() -> Iterator[None]:
    """Removes the providers of a person's own files after the test."""
    kept = [(each, dict(each)) for each in (PROVIDERS, PROVIDER_WINDOWS)]
    yield
    for current, before in kept:
        current.clear()
        current.update(before)


PROCESSES = ("test_answers", "test_diagnostics", "test_exit_codes", "test_messages")


def pytest_xdist_auto_num_workers() -> int:
    """Two workers a core: half of the tests' time is spent waiting for sockets and processes."""
    return 2 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The frozen tests that start a process for each case run with the slow ones, in CI; Windows runs none of POSIX."""
    if sys.platform == "win32":
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("posix")])
        items[:] = [item for item in items if not item.get_closest_marker("posix")]
    for item in items:
        if item.path.parent.name == "blackbox" and item.path.stem in PROCESSES:
            item.add_marker(pytest.mark.slow)
