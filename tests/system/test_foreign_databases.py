"""Other programs' databases: read whole, while they are in use, and without a trace."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import pytest

from watcher.core.model import DatabaseQuery
from watcher.errors import ForbiddenError, NotSignedInError, ShapeChangedError, TimedOutError
from watcher.system import foreign_databases

NOW = datetime(2026, 2, 1, tzinfo=UTC)

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    connection.execute(statement)
print("held", flush=True)
sys.stdin.read()
"""


def make_database(path, *, journal="wal", value="first"):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode={journal}")
    connection.execute("CREATE TABLE ItemTable (key TEXT UNIQUE ON CONFLICT REPLACE, value BLOB)")
    connection.execute("INSERT INTO ItemTable VALUES ('k', ?)", (value,))
    connection.close()
    return path


@contextmanager
def hold_open(path, *statements):
    """Another process that has done these statements and keeps its connection open."""
    argv = [sys.executable, "-c", HOLDER, str(path), *statements]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def ask(path, sql="SELECT value FROM ItemTable WHERE key = ?", parameters=("k",)):
    return foreign_databases.read_database(
        DatabaseQuery(path=str(path), sql=sql, parameters=parameters), now=lambda: NOW
    )


def read_files(folder):
    return {each.name: (each.stat().st_mtime_ns, each.read_bytes()) for each in folder.iterdir()}


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_database_at_rest_is_read_and_left_as_it_was(tmp_path, journal):
    path = make_database(tmp_path / "state.vscdb", journal=journal)
    before = read_files(tmp_path)
    answer = ask(path)
    assert (answer.rows, answer.received_at) == ((("first",),), NOW)
    assert answer.modified_at.timestamp() == pytest.approx(path.stat().st_mtime)
    assert read_files(tmp_path) == before


def test_what_another_process_has_only_written_to_its_log_is_read_and_nothing_is_touched(tmp_path):
    path = make_database(tmp_path / "state.vscdb")
    with hold_open(path, "PRAGMA wal_autocheckpoint=0", "INSERT INTO ItemTable VALUES ('k', 'second')"):
        before = read_files(tmp_path)
        assert b"second" not in path.read_bytes()
        answer = ask(path)
        assert answer.rows == (("second",),)
        assert answer.modified_at.timestamp() == pytest.approx((tmp_path / "state.vscdb-wal").stat().st_mtime)
        assert read_files(tmp_path) == before


def test_the_log_of_a_program_that_crashed_is_read(tmp_path):
    path = make_database(tmp_path / "state.vscdb")
    with hold_open(path, "PRAGMA wal_autocheckpoint=0", "INSERT INTO ItemTable VALUES ('k', 'second')") as process:
        process.kill()
        process.wait()
        before = read_files(tmp_path)
        assert ask(path).rows == (("second",),)
        assert read_files(tmp_path) == before


def test_a_link_is_followed_to_where_the_log_is(tmp_path):
    path = make_database(tmp_path / "state.vscdb")
    link = tmp_path / "elsewhere" / "link.vscdb"
    link.parent.mkdir()
    link.symlink_to(path)
    with hold_open(path, "PRAGMA wal_autocheckpoint=0", "INSERT INTO ItemTable VALUES ('k', 'second')"):
        assert ask(link).rows == (("second",),)
    assert [each.name for each in link.parent.iterdir()] == ["link.vscdb"]


def test_a_log_without_its_index_is_read_from_a_copy(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign_databases, "LOCK_TIMEOUT_S", 0.05)
    path = make_database(tmp_path / "state.vscdb")
    with hold_open(path, "PRAGMA locking_mode=EXCLUSIVE", "INSERT INTO ItemTable VALUES ('k', 'second')"):
        assert not (tmp_path / "state.vscdb-shm").exists()
        before = read_files(tmp_path)
        assert ask(path).rows == (("second",),)
        assert read_files(tmp_path) == before


def test_a_locked_rollback_database_gives_what_was_committed(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign_databases, "LOCK_TIMEOUT_S", 0.05)
    path = make_database(tmp_path / "state.vscdb", journal="delete")
    statements = ("BEGIN EXCLUSIVE", "INSERT INTO ItemTable VALUES ('k', 'not yet')")
    with hold_open(path, *statements):
        before = read_files(tmp_path)
        assert ask(path).rows == (("first",),)
        assert read_files(tmp_path) == before


def test_copies_are_private_and_do_not_stay(tmp_path, monkeypatch):
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setattr(foreign_databases, "LOCK_TIMEOUT_S", 0.05)
    seen = []
    copy = shutil.copyfile

    def looking(source, target):
        copy(source, target)
        seen.append(stat.S_IMODE(target.parent.stat().st_mode))

    monkeypatch.setattr(shutil, "copyfile", looking)
    path = make_database(tmp_path / "state.vscdb")
    with hold_open(path, "PRAGMA locking_mode=EXCLUSIVE", "INSERT INTO ItemTable VALUES ('k', 'second')"):
        ask(path)
    assert set(seen) == {0o700 if os.name == "posix" else 0o777}  # Windows has access lists, which modes do not show
    assert list(place.iterdir()) == []


def test_a_locked_database_too_large_to_copy_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign_databases, "LOCK_TIMEOUT_S", 0.05)
    monkeypatch.setattr(foreign_databases, "MAX_COPY_BYTES", 10)
    path = make_database(tmp_path / "state.vscdb", journal="delete")
    with hold_open(path, "BEGIN EXCLUSIVE"), pytest.raises(TimedOutError) as caught:
        ask(path)
    assert str(caught.value) == f"{path} is locked by another program and too large to copy; it is read again later"


def test_a_file_that_keeps_changing_is_reported(tmp_path, monkeypatch):
    path = make_database(tmp_path / "state.vscdb")
    rows = foreign_databases._query_rows

    def while_it_is_written(uri, question):
        os.utime(path, ns=(1, path.stat().st_mtime_ns + 1000))  # Windows counts in 100 ns
        return rows(uri, question)

    monkeypatch.setattr(foreign_databases, "_query_rows", while_it_is_written)
    with pytest.raises(TimedOutError, match="keeps changing"):
        ask(path)


@pytest.mark.parametrize(
    "name",
    [
        "a b.db",
        "100%.db",
        "hash#1.db",
        "ümlaut.db",
        pytest.param("what?.db", marks=pytest.mark.posix),
        pytest.param("file:x?mode=rwc.db", marks=pytest.mark.posix),
    ],
)
def test_any_file_name_will_do(tmp_path, name):
    assert ask(make_database(tmp_path / name)).rows == (("first",),)


def test_a_missing_table_has_no_rows(tmp_path):
    assert ask(make_database(tmp_path / "other.vscdb"), "SELECT value FROM Other", ()).rows == ()


def test_an_empty_file_has_no_rows(tmp_path):
    path = tmp_path / "state.vscdb"
    path.touch()
    assert ask(path).rows == ()
    assert path.stat().st_size == 0


def test_text_that_is_not_utf_8_loses_only_its_bad_bytes(tmp_path):
    path = make_database(tmp_path / "state.vscdb")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE ItemTable SET value = CAST(x'41ff42' AS TEXT)")
    connection.close()
    assert ask(path).rows == (("A\ufffdB",),)


def test_a_missing_file_is_reported_with_what_to_do(tmp_path):
    path = tmp_path / "state.vscdb"
    with pytest.raises(NotSignedInError) as caught:
        ask(path)
    assert str(caught.value) == f"{path} does not exist: start the program that owns it once, or correct the path"


@pytest.mark.parametrize("content", [b"not a database at all", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_reported(tmp_path, content):
    path = tmp_path / "state.vscdb"
    path.write_bytes(content)
    with pytest.raises(ShapeChangedError) as caught:
        ask(path)
    assert str(caught.value) == f"{path} is damaged or no SQLite database; let the program that owns it write it again"


def test_damage_after_the_header_is_reported(tmp_path):
    path = make_database(tmp_path / "state.vscdb", value="x" * 20000)
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xee" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(ShapeChangedError, match="is damaged"):
        ask(path)


def test_an_unknown_layout_is_reported(tmp_path):
    path = make_database(tmp_path / "state.vscdb")
    with pytest.raises(ShapeChangedError, match=r"has a new layout \(no such column: other\)"):
        ask(path, "SELECT other FROM ItemTable", ())


def test_a_file_without_permission_is_reported(open_folder, unprivileged):
    path = make_database(open_folder / "state.vscdb")
    path.chmod(0)
    with unprivileged(), pytest.raises(ForbiddenError) as caught:
        ask(path)
    assert str(caught.value) == f"{path} cannot be read: Permission denied; let this user read it"


MANY = (
    "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT 'x' || i, hex(randomblob(500)) FROM n"
)


def test_a_transaction_that_a_crash_left_half_written_is_not_read(tmp_path):
    path = make_database(tmp_path / "state.vscdb", journal="delete")
    statements = (
        "PRAGMA cache_size=1",
        "BEGIN",
        "UPDATE ItemTable SET value = 'half'",
        f"INSERT INTO ItemTable {MANY}",
    )
    with hold_open(path, *statements) as process:
        process.kill()
        process.wait()
        assert (tmp_path / "state.vscdb-journal").stat().st_size > 0
        assert b"half" in path.read_bytes() or path.stat().st_size > 20_000
        before = read_files(tmp_path)
        assert ask(path).rows == (("first",),)
        assert read_files(tmp_path) == before


WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA wal_autocheckpoint=1")
print("held", flush=True)
for count in range(10**8):
    connection.execute("INSERT INTO ItemTable VALUES ('k', ?)", (f"{count:08}" * 1000,))
"""


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_database_under_constant_writes_is_read_whole_or_reported_as_busy(tmp_path, journal):
    path = make_database(tmp_path / "state.vscdb", journal=journal, value="00000000" * 1000)
    argv = [sys.executable, "-c", WRITER, str(path)]
    seen = []
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout.readline() == "held\n"
            while len(set(seen)) < 5:
                with suppress(TimedOutError):
                    ((value,),) = ask(path).rows
                    seen.append(value)
                assert writer.poll() is None
        finally:
            writer.kill()
    assert all(value == value[:8] * 1000 for value in seen)
    assert seen == sorted(seen)
