"""What is reserved serves a full disk for days; then alerts go on from memory: after a kill they may repeat."""

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.hostile.disk import Disk
from tests.world import HOOK, SESSION, START, make_world
from watcher.cli import check
from watcher.errors import StoreError
from watcher.storage import database
from watcher.storage.store import Store

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
M = timedelta(minutes=1)
CONFIG = HOOK + SESSION


class KilledError(BaseException):
    """SIGKILL: nothing is done any more."""


class FullDisk(Store):
    """A store whose disk is full while the flag says so."""

    full = False

    def _open(self):
        if FullDisk.full:
            raise StoreError("database or disk is full")
        return super()._open()

    def _attempt_transaction(self, work):
        if FullDisk.full and not self.uses_memory:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return super()._attempt_transaction(work)


def fill() -> None:
    FullDisk.full = True


def free() -> None:
    FullDisk.full = False


def kill() -> None:
    raise KilledError


@pytest.fixture(autouse=True)
def room_after_each_test():
    free()
    yield
    free()


@pytest.fixture
def world(tmp_path):
    with make_world(tmp_path, CONFIG, None) as world:
        world.store_kind = FullDisk
        yield world


def watch_until_killed(world, *events) -> None:
    with pytest.raises(KilledError):
        world.watch(120 * M, *events, (60 * M, kill))


def alerts(world) -> list[str]:
    return [body["event"] for body in world.received if body["event"] != "notice"]


def used(world, percent):
    return lambda: world.usage(percent)


def test_an_alert_that_was_resolved_from_memory_fires_again_after_a_kill(world):
    world.usage(91)
    watch_until_killed(world, (10 * M, fill), (11 * M, used(world, 40)))
    assert alerts(world) == ["firing", "resolved"]
    free()
    world.usage(91)
    world.watch(20 * M)
    assert alerts(world) == ["firing", "resolved", "firing"]
    assert len({body["id"] for body in world.received if body["event"] == "firing"}) == 2


def test_an_alert_that_fired_from_memory_is_repeated_after_a_kill_and_resolved(world):
    world.usage(40)
    watch_until_killed(world, (10 * M, fill), (11 * M, used(world, 91)))
    assert alerts(world) == ["firing"]
    free()
    world.watch(20 * M)
    assert alerts(world) == ["firing", "firing"]
    world.usage(40)
    world.watch(20 * M)
    assert alerts(world) == ["firing", "firing", "resolved"]


def test_alerts_are_repeated_once_and_not_at_every_start(world):
    world.usage(91)
    watch_until_killed(world, (10 * M, fill))
    free()
    for _ in range(3):
        world.watch(20 * M)
    assert alerts(world) == ["firing", "firing"]


def test_the_full_disk_is_reported_once(world):
    world.usage(40)
    world.watch(120 * M, (10 * M, fill))
    assert len([body for body in world.received if body["event"] == "notice"]) == 1
    with world.store_kind(world.paths.state_dir / "watcher.db", now=NOW, read_only=True) as store:
        assert store.disk_error


def test_a_start_where_nothing_can_be_written_says_what_to_do(tmp_path):
    class ReadOnly(Store):
        def _open(self):
            error = sqlite3.OperationalError("attempt to write a readonly database")
            error.sqlite_errorcode = sqlite3.SQLITE_READONLY
            raise error

    with pytest.raises(StoreError) as caught:
        ReadOnly(tmp_path / "watcher.db", now=NOW)
    assert str(caught.value) == (
        f"cannot write {tmp_path / 'watcher.db'} (attempt to write a readonly database): free some disk space, or fix"
        " the permissions of its folder"
    )


def test_a_poll_on_a_full_disk_says_so(world, monkeypatch):
    class FullOnceOpen(FullDisk):
        def __init__(self, *args, **named):
            super().__init__(*args, **named)
            fill()

    world.usage(40)
    assert check.refresh_readings(world.paths, world.make_environment()) == ""
    monkeypatch.setattr(check, "Store", FullOnceOpen)
    remark = check.refresh_readings(world.paths, world.make_environment())
    assert remark.startswith(f"{world.paths.state_dir / 'watcher.db'} cannot be written: alerts go on from memory")


def test_memory_is_written_to_the_disk_at_the_end_if_there_is_room(world):
    world.usage(40)
    world.watch(62 * M, (11 * M, fill), (12 * M, used(world, 91)), (61 * M + M / 2, free))
    assert alerts(world) == ["firing"]
    assert [one.event for one in world.store().alerts.load_transitions(since=START)] == ["firing"]
    world.watch(20 * M)
    assert alerts(world) == ["firing"], "nothing was lost, so nothing is repeated"


# --- the file itself -----------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "watcher.db"


def in_memory(path) -> FullDisk:
    """A store whose disk filled up after `a` was kept; `b` is in memory."""
    store = FullDisk(path, now=NOW, memory_fallback=True)
    store.run_transaction(lambda: store.facts.save("a", "disk", NOW), now=NOW)
    fill()
    store.run_transaction(lambda: store.facts.save("b", "memory", NOW), now=NOW)
    return store


def facts(path) -> list[str]:
    store = FullDisk(path, now=NOW)
    found = [name for name in ("a", "b") if store.facts.load(name)]
    store.close()
    return found


def test_memory_serves_until_there_is_room(path):
    store = in_memory(path)
    assert "Alerts go on from memory" in store.notices[0]
    assert store.facts.load("b")
    assert store.disk_error
    store.return_to_disk(now=NOW)
    assert store.uses_memory
    free()
    store.return_to_disk(now=NOW)
    assert not store.disk_error
    store.close()
    assert facts(path) == ["a", "b"]
    assert [each.name for each in path.parent.iterdir()] == ["watcher.db"]


def test_a_process_that_does_not_hold_the_lock_says_that_the_disk_is_full(path):
    store = FullDisk(path, now=NOW)
    fill()
    with pytest.raises(StoreError, match="free some disk space"):
        store.run_transaction(lambda: store.facts.save("a", "x", NOW), now=NOW)
    store.close()


def test_a_file_damaged_meanwhile_is_replaced(path):
    store = in_memory(path)
    free()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.write_bytes(b"not a database!!" * 500)
    for _ in range(2):
        store.return_to_disk(now=NOW)
    assert not store.uses_memory
    store.close()
    assert facts(path) == ["a", "b"]


def test_a_file_on_a_disk_without_room_is_not_opened(path, monkeypatch):
    store = in_memory(path)
    free()
    pages, size = (store._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    monkeypatch.setattr(database, "free_bytes", lambda _folder: pages * size + database.SPARE_BYTES - 1)
    monkeypatch.setattr(store, "_open", None)  # SQLite would map a file into memory: on a full disk that is the end
    store.return_to_disk(now=NOW)
    assert store.uses_memory
    monkeypatch.undo()
    monkeypatch.setattr(database, "free_bytes", lambda _folder: pages * size + database.SPARE_BYTES)
    store.return_to_disk(now=NOW)
    assert not store.uses_memory
    store.close()


# --- room that is reserved -----------------------------------------------------------------------------------------


def test_a_file_with_reserved_room_grows_no_more_on_a_full_disk(path):
    store = Store(path, now=NOW, memory_fallback=True)
    store.reserve_room()
    (pages,) = store.execute("PRAGMA page_count").fetchone()
    store.execute(f"PRAGMA max_page_count = {pages}")  # SQLITE_FULL beyond
    log_bytes = path.with_name(f"{path.name}-wal").stat().st_size
    for number in range(100):
        save_many(store, f"{number}")
    assert not store.uses_memory
    assert path.with_name(f"{path.name}-wal").stat().st_size == log_bytes
    assert store.execute("SELECT name FROM sqlite_schema WHERE name = 'reserve'").fetchall() == []
    store.close()


def test_room_that_was_left_half_reserved_is_reserved_again(path):
    with Store(path, now=NOW) as store:
        store.execute("CREATE TABLE reserve (room BLOB) STRICT")  # the process was killed here
    with Store(path, now=NOW) as store:
        store.reserve_room()
        (free_pages,), (size,) = (store.execute(f"PRAGMA {n}").fetchone() for n in ("freelist_count", "page_size"))
        assert free_pages * size >= database.RESERVED_BYTES


@pytest.mark.slow  # a file system of its own
@pytest.mark.parametrize("is_reserved", [True, False])
def test_a_really_full_disk_is_written_where_room_was_reserved(tmp_path, is_reserved):
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    disk = Disk(folder, tmp_path)
    if not disk.mount():
        pytest.skip("mounting takes root on Linux")
    path = folder / "watcher.db"
    try:
        store = Store(path, now=NOW, memory_fallback=True)
        if is_reserved:
            store.reserve_room()
        disk.fill()
        for number in range(100):
            save_many(store, f"{number}")
        disk.fill()  # what the log no longer uses stays its own
        save_many(store, "last")
        assert store.uses_memory is not is_reserved
        with Store(path, now=NOW) as other:  # another process
            assert bool(other.facts.load("last 0")) is is_reserved
        store.close()
    finally:
        disk.unmount()


def save_many(store, name: str) -> None:
    store.run_transaction(lambda: [store.facts.save(f"{name} {n}", "x" * 60, NOW) for n in range(20)], now=NOW)
