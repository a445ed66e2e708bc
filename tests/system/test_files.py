"""Files are read only if they are regular, and used only if no other user can write them."""

import errno
import io
import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from watcher.system import files

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes and named pipes of POSIX")


def refusal(path, limit=10):
    with pytest.raises(OSError, match=r".") as caught:
        files.read_file(path, limit)
    return caught.value


def test_a_regular_file_is_read_up_to_its_limit(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"0123456789")
    assert files.read_file(path, 10) == b"0123456789"
    assert refusal(path, 9).errno == errno.EFBIG


def test_a_sparse_file_of_gigabytes_costs_no_memory(tmp_path):
    path = tmp_path / "a"
    with path.open("wb") as file:
        file.truncate(6 * 2**30)
    assert refusal(path).strerror == "larger than 10 bytes"


def test_a_disk_that_does_not_answer_is_given_up(tmp_path, monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(files, "open_regular_file", lambda _path: over.wait() and io.BytesIO())
    monkeypatch.setattr(files, "READ_TIMEOUT_S", 0.01)
    assert refusal(tmp_path / "a").strerror == "no answer in 0.01 s"
    over.set()


@pytest.mark.parametrize("through_link", [False, True])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, through_link):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/null"), Path("/dev/zero")):
        link = tmp_path / f"link {path.name}"
        link.symlink_to(path)
        assert refusal(link if through_link else path).strerror == "not a regular file"
    assert isinstance(refusal(tmp_path), IsADirectoryError)
    assert isinstance(refusal(tmp_path / "missing"), FileNotFoundError)


def test_a_link_is_not_followed_in_our_own_folder(tmp_path):
    target = tmp_path / "target"
    target.write_text("keep")
    link = tmp_path / "watcher.lock"
    link.symlink_to(target)
    with pytest.raises(OSError, match=r".") as caught:
        files.open_private_file(link, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    assert "it is a link" in files.describe_write_error(link, caught.value)
    assert target.read_text("utf-8") == "keep"


def test_a_folder_that_others_can_write_is_closed_or_refused(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(0o777)
    files.make_private_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o1777)
    with pytest.raises(OSError, match="others can write this folder") as caught:
        files.make_private_folder(folder)
    assert "set WATCHER_STATE_DIR" in files.describe_write_error(folder / "watcher.db", caught.value)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777


@pytest.mark.parametrize(
    ("file_mode", "folder_mode", "at_fault"),
    [
        (0o644, 0o755, None),
        (0o600, 0o700, None),
        (0o600, 0o1777, None),  # the sticky bit keeps others from replacing it
        (0o620, 0o755, "file"),
        (0o602, 0o755, "file"),
        (0o600, 0o775, "folder"),
        (0o600, 0o777, "folder"),
    ],
)
@pytest.mark.parametrize("through_link", [False, True])
def test_who_can_write_a_file(tmp_path, file_mode, folder_mode, at_fault, through_link):
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "config.toml"
    path.touch()
    path.chmod(file_mode)
    folder.chmod(folder_mode)
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    problem = files.find_write_problem(link if through_link else path)
    if at_fault is None:
        assert problem is None
    else:
        assert problem.endswith(f"chmod go-w {path if at_fault == 'file' else folder}")


def test_the_folder_of_a_link_counts_too(tmp_path):
    target = tmp_path / "a.toml"
    target.touch()
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "a.toml").symlink_to(target)
    shared.chmod(0o777)
    assert files.find_write_problem(shared / "a.toml").endswith(f"chmod go-w {shared}")
