import os
import sys

import pytest

from watcher.credentials import files
from watcher.errors import NotSignedInError

CURE = "sign in again"


@pytest.fixture(autouse=True)
def on_wait(monkeypatch):
    """Sets what happens while a file is waited for; a file that is whole is not."""

    def set_action(action):
        monkeypatch.setattr(files, "wait_for_writer", action)

    set_action(lambda: pytest.fail("waited for a file that is whole"))
    return set_action


def test_a_whole_file_is_read_at_once(tmp_path):
    path = tmp_path / "auth.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert files.read_json(path, hint=CURE) == {"a": 1}


def test_no_file_and_no_folder_are_nothing(tmp_path):
    assert files.read_json(tmp_path / "auth.json", hint=CURE) is None
    (tmp_path / "file").write_text("")
    assert files.read_json(tmp_path / "file" / "auth.json", hint=CURE) is None


@pytest.mark.parametrize("half", ['{"a": ', "", '{"a": 1}{'])
def test_a_file_caught_in_the_middle_of_a_write_is_read_again(tmp_path, half, on_wait):
    path = tmp_path / "auth.json"
    path.write_text(half)
    on_wait(lambda: path.write_text('{"a": 2}'))
    assert files.read_json(path, hint=CURE) == {"a": 2}


def test_a_file_that_vanishes_while_it_is_replaced_is_nothing(tmp_path, on_wait):
    path = tmp_path / "auth.json"
    path.write_text("{")
    on_wait(path.unlink)
    assert files.read_json(path, hint=CURE) is None


@pytest.mark.parametrize(
    ("content", "trouble"),
    [
        (b'{"a": ', "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"  \n", "is empty"),
        (b"", "is empty"),
        (b"[]", "holds no JSON object"),
        (b"null", "holds no JSON object"),
        (b" " * (files.MAX_BYTES + 1), "cannot be read (larger than 4,194,304 bytes)"),
    ],
)
def test_a_broken_file_is_one_line_with_its_name_and_a_hint(tmp_path, content, trouble, on_wait):
    path = tmp_path / "auth.json"
    path.write_bytes(content)
    waits = []
    on_wait(lambda: waits.append(1))
    with pytest.raises(NotSignedInError) as caught:
        files.read_json(path, hint=CURE)
    assert str(caught.value) == f"{path} {trouble}: {CURE}"
    assert len(waits) == (files.MAX_ATTEMPTS - 1 if trouble in ("is not JSON", "is empty") else 0)


def test_a_folder_in_place_of_a_file_is_an_error(tmp_path):
    with pytest.raises(NotSignedInError) as caught:
        files.read_json(tmp_path, hint=CURE)
    assert str(caught.value) == f"{tmp_path} cannot be read (Is a directory): {CURE}"


@pytest.mark.posix
def test_a_named_pipe_in_place_of_a_file_is_an_error_at_once(tmp_path):
    path = tmp_path / "auth.json"
    os.mkfifo(path)
    with pytest.raises(NotSignedInError) as caught:
        files.read_json(path, hint=CURE)
    assert str(caught.value) == f"{path} cannot be read (not a regular file): {CURE}"


def test_an_unreadable_file_is_an_error(open_folder, unprivileged):
    path = open_folder / "auth.json"
    path.write_text("{}")
    path.chmod(0)
    with unprivileged(), pytest.raises(NotSignedInError) as caught:
        files.read_json(path, hint=CURE)
    assert str(caught.value) == f"{path} may not be read: give yourself permission to read it"


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a right there")
def test_a_circular_link_is_an_error(tmp_path):
    path = tmp_path / "auth.json"
    path.symlink_to(path)
    with pytest.raises(NotSignedInError, match="cannot be read"):
        files.read_json(path, hint=CURE)


def test_the_time_of_the_last_change_is_known_for_a_file_that_is_there(tmp_path):
    path = tmp_path / "auth.json"
    assert files.read_mtime_s(path) is None
    path.write_text("{}")
    os.utime(path, (1, 5))
    assert files.read_mtime_s(path) == 5
