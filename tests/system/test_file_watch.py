"""Changes of watched files are noticed, whichever way a program makes them."""

import errno
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from watcher.system.file_watch import FileWatch

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the signal is that of POSIX")


def edit_in_place(folder):
    (folder / "a.toml").write_text("changed")


def save_by_rename(folder):
    (folder.parent / "new").write_text("changed")
    (folder.parent / "new").replace(folder / "a.toml")


CHANGES = [
    edit_in_place,
    save_by_rename,
    lambda folder: (folder / "a.toml").rename(folder / "b.toml"),
    lambda folder: (folder / "a.toml").unlink(),
    lambda folder: (folder / "a.toml").chmod(0o640),
    lambda folder: (folder / "rules").mkdir(),
]


@pytest.fixture
def watch(tmp_path):
    """A watched folder, and its changes; the signal is the system's."""
    changes, before = [], signal.getsignal(signal.SIGIO)
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "a.toml").write_text("a")
    watch = FileWatch(lambda: changes.append(True))  # not an Event: setting one in a signal handler may deadlock
    watch.set_paths([folder, folder / "a.toml", folder / "missing"])
    yield SimpleNamespace(set_paths=watch.set_paths, folder=folder, changes=changes)
    watch.set_paths([])
    signal.signal(signal.SIGIO, before)


def is_noticed(watch):
    end = time.monotonic() + 60
    while not watch.changes and time.monotonic() < end:
        time.sleep(0.001)
    return watch.changes != []


@pytest.mark.parametrize("change", CHANGES)
def test_each_way_to_change_a_watched_folder_is_noticed(watch, change):
    change(watch.folder)
    assert is_noticed(watch)


def test_reading_a_watched_folder_is_no_change(watch):
    (watch.folder / "a.toml").read_text("utf-8")
    list(watch.folder.iterdir())
    watch.set_paths([watch.folder])
    assert not watch.changes
    edit_in_place(watch.folder)
    assert is_noticed(watch)


def test_a_folder_that_came_later_is_watched_and_one_that_was_replaced_too(watch):
    for _ in range(2):
        later = watch.folder / "rules"
        later.mkdir()
        watch.set_paths([watch.folder, later])
        watch.changes.clear()
        (later / "x.toml").touch()
        assert is_noticed(watch)
        (later / "x.toml").unlink()
        later.rmdir()


def test_what_is_no_longer_watched_is_closed(watch):
    opened = len(list(Path("/dev/fd").iterdir()))
    watch.set_paths([])
    assert len(list(Path("/dev/fd").iterdir())) < opened
    watch.changes.clear()
    edit_in_place(watch.folder)
    assert not watch.changes


def test_a_system_without_notification_watches_nothing(watch, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EINVAL, "Invalid argument")

    watch.set_paths([])
    opened = len(list(Path("/dev/fd").iterdir()))
    monkeypatch.setattr("fcntl.fcntl", refuse)
    watch.set_paths([watch.folder])
    assert len(list(Path("/dev/fd").iterdir())) == opened
