"""The disk refuses, alerts go on, the process is killed: what was told from elsewhere is known to the next one."""

import os
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.world import HOOK, SESSION, START, made
from watcher.cli import app, refresh, status
from watcher.errors import StoreError
from watcher.storage import fallback
from watcher.storage.migrations import MIGRATIONS
from watcher.storage.store import Store
from watcher.system.paths import APP_NAME

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
M = timedelta(minutes=1)
CONFIG = HOOK + SESSION


class Killed(BaseException):
    """SIGKILL: nothing is done any more."""


class FullDisk(Store):
    """A store whose disk is full while the flag says so; what is kept elsewhere is not concerned."""

    full = False

    def _open(self):
        if FullDisk.full:
            raise StoreError("database or disk is full")
        return super()._open()

    def _attempt_transaction(self, work):
        if FullDisk.full and not self.uses_fallback:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return super()._attempt_transaction(work)


def fills() -> None:
    FullDisk.full = True


def kill() -> None:
    raise Killed


@pytest.fixture
def world(tmp_path):
    with made(tmp_path, CONFIG, None) as world:
        world.store_kind = FullDisk
        world.shelter = tmp_path / "shelter.db"
        FullDisk.full = False
        yield world
        FullDisk.full = False


def watch_until_killed(world, *events) -> None:
    with pytest.raises(Killed):
        world.watch(120 * M, *events, (60 * M, kill))


def alerts(world) -> list[str]:
    return [body["event"] for body in world.received if body["event"] != "notice"]


def used(world, percent):
    return lambda: world.usage(percent)


def test_what_was_resolved_from_the_refuge_fires_again_after_a_kill(world):
    world.usage(91)
    watch_until_killed(world, (10 * M, fills), (11 * M, used(world, 40)))
    assert alerts(world) == ["firing", "resolved"]
    FullDisk.full = False
    world.usage(91)
    world.watch(20 * M)
    assert alerts(world) == ["firing", "resolved", "firing"]


def test_what_fired_from_the_refuge_is_resolved_after_a_kill(world):
    world.usage(40)
    watch_until_killed(world, (10 * M, fills), (11 * M, used(world, 91)))
    assert alerts(world) == ["firing"]
    FullDisk.full = False
    world.usage(40)
    world.watch(20 * M)
    assert alerts(world) == ["firing", "resolved"]


def test_nothing_is_told_again_after_a_kill_in_the_refuge(world):
    world.usage(40)
    watch_until_killed(world, (10 * M, fills), (11 * M, used(world, 91)))
    FullDisk.full = False
    world.watch(20 * M)
    assert alerts(world) == ["firing"]


def test_a_kill_and_a_start_while_the_disk_is_still_full_change_nothing(world):
    world.usage(40)
    watch_until_killed(world, (10 * M, fills), (11 * M, used(world, 91)))
    watch_until_killed(world)
    world.usage(40)
    watch_until_killed(world)
    assert alerts(world) == ["firing", "resolved"]
    FullDisk.full = False
    world.watch(20 * M)
    assert alerts(world) == ["firing", "resolved"]
    assert len(world.store().transitions(since=START)) == 2
    assert not world.shelter.exists()


def test_who_only_looks_sees_what_is_kept_elsewhere_and_changes_nothing(world, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path = world.paths.state_dir / "watcher.db"
    assert fallback.seen(path, os.environ) is None
    assert not (tmp_path / APP_NAME).exists()
    world.shelter = fallback.place(path, os.environ)
    world.usage(40)
    watch_until_killed(world, (10 * M, fills), (11 * M, used(world, 91)))
    before = world.shelter.read_bytes()
    (alert,) = status.load_status(world.paths, world.machine.now()).alerts
    assert (alert.rule, alert.state) == ("session", "firing")
    assert world.shelter.read_bytes() == before


def test_commands_about_the_past_see_what_is_kept_elsewhere(world, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(world.home))
    monkeypatch.setenv("WATCHER_CONFIG_DIR", str(world.paths.config_dir))
    monkeypatch.setenv("WATCHER_STATE_DIR", str(world.paths.state_dir))
    world.shelter = fallback.place(world.paths.state_dir / "watcher.db", os.environ)
    world.usage(40)
    watch_until_killed(world, (10 * M, fills), (11 * M, used(world, 91)))
    for words in (["rules", "explain", "session"], ["history", "claude.five_hour"]):
        assert app.run([*words, "--since", "3650d"]) == 0
        assert "91 %" in capsys.readouterr().out, words


def test_what_was_kept_elsewhere_and_is_no_database_hides_nothing(world, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    world.usage(91)
    world.check()
    fallback.prepare(fallback.place(world.paths.state_dir / "watcher.db", os.environ))  # killed before all was copied
    (alert,) = status.load_status(world.paths, world.machine.now()).alerts
    assert alert.rule == "session"


def test_a_start_where_nothing_can_be_written_says_what_to_do(tmp_path):
    class ReadOnly(Store):
        def _open(self):
            error = sqlite3.OperationalError("attempt to write a readonly database")
            error.sqlite_errorcode = sqlite3.SQLITE_READONLY
            raise error

    with pytest.raises(StoreError) as caught:
        ReadOnly(tmp_path / "watcher.db", now=NOW)
    assert str(caught.value) == (
        f"cannot write {tmp_path / 'watcher.db'} (attempt to write a readonly database): free some disk space, or mend"
        " the permissions of its folder"
    )


def test_a_poll_on_a_full_disk_says_so(world, tmp_path, monkeypatch):
    world.env["XDG_RUNTIME_DIR"] = str(tmp_path)

    class FullOnceOpen(FullDisk):
        def __init__(self, *args, **named):
            super().__init__(*args, **named)
            fills()

    world.usage(40)
    assert refresh.refresh_readings(world.paths, world.doors()) == ""
    monkeypatch.setattr(refresh, "Store", FullOnceOpen)
    remark = refresh.refresh_readings(world.paths, world.doors())
    assert remark.startswith(f"{world.paths.state_dir / 'watcher.db'} cannot be written: alerts go on from elsewhere")


def test_single_polls_on_a_full_disk_tell_once_between_them(world):
    world.usage(40)
    world.check()
    fills()
    world.usage(91)
    with pytest.raises(StoreError):
        world.check()  # nothing was kept elsewhere yet, and the disk cannot even be opened
    FullDisk.full = False
    watch_until_killed(world, (M, fills), (40 * M, used(world, 40)))
    for _ in range(3):
        world.machine.passes(10 * M)
        world.check()
    assert alerts(world) == ["firing", "resolved"]


def test_what_is_in_memory_is_written_down_at_the_end_where_there_is_room_again(world):
    world.shelter = None
    world.usage(40)

    def has_room():
        FullDisk.full = False

    world.watch(62 * M, (11 * M, fills), (12 * M, used(world, 91)), (61 * M + M / 2, has_room))
    assert alerts(world) == ["firing"]
    assert [one.event for one in world.store().transitions(since=START)] == ["firing"]


# --- the file itself -----------------------------------------------------------------------------------------------


def in_shelter(path: Path, shelter: Path) -> FullDisk:
    """A store whose disk filled up after `a` was kept; `b` is kept elsewhere."""
    FullDisk.full = False
    store = FullDisk(path, now=NOW, fallback_path=shelter)
    store.run_transaction(lambda: store.save_fact("a", "disk", NOW), now=NOW)
    FullDisk.full = True
    store.run_transaction(lambda: store.save_fact("b", "elsewhere", NOW), now=NOW)
    return store


@pytest.fixture
def path(tmp_path):
    yield tmp_path / "state" / "watcher.db"
    FullDisk.full = False


@pytest.fixture
def shelter(tmp_path):
    return tmp_path / "shelter.db"


def facts(path: Path, shelter: Path | None) -> list[str]:
    store = FullDisk(path, now=NOW, fallback_path=shelter)
    found = [name for name in ("a", "b") if store.load_fact(name)]
    store.close()
    return found


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_nobody_else_can_read_what_is_kept_elsewhere(path, shelter):
    store = in_shelter(path, shelter)
    assert shelter.stat().st_mode & 0o777 == 0o600
    assert str(shelter) in store.notices[0]
    store.close()


def test_it_is_gone_once_all_is_written_down(path, shelter):
    store = in_shelter(path, shelter)
    FullDisk.full = False
    store.restore_from_fallback(now=NOW)
    store.close()
    assert sorted(each.name for each in shelter.parent.iterdir()) == ["state"]
    assert facts(path, None) == ["a", "b"]


def test_what_cannot_be_removed_while_somebody_looks_is_not_taken_up_again(path, shelter, monkeypatch):
    store = in_shelter(path, shelter)
    FullDisk.full = False
    with monkeypatch.context() as looked_at:
        looked_at.setattr(Path, "unlink", lambda _path: (_ for _ in ()).throw(PermissionError("in use")))
        store.restore_from_fallback(now=NOW)
    store.run_transaction(lambda: store.save_fact("b", "disk", NOW), now=NOW)
    store.close()
    assert shelter.exists()
    after = FullDisk(path, now=NOW, fallback_path=shelter)
    assert after.load_fact("b") == ("disk", NOW)
    after.close()


def test_where_that_has_no_room_either_memory_serves(path, tmp_path):
    store = in_shelter(path, tmp_path / "not a folder" / "shelter.db")
    assert "Alerts go on from memory" in store.notices[0]
    assert store.load_fact("b")
    FullDisk.full = False
    store.restore_from_fallback(now=NOW)
    store.close()
    assert facts(path, None) == ["a", "b"]


def test_a_file_elsewhere_that_fills_up_itself_is_left_for_memory(path, shelter):
    store = in_shelter(path, shelter)
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    store.run_transaction(lambda: store.save_fact("c", "x" * 100_000, NOW), now=NOW)
    assert "Alerts go on from memory" in store.notices[1]
    assert (store.load_fact("b"), bool(store.load_fact("c"))) == (("elsewhere", NOW), True)
    store.close()


def test_half_a_copy_and_a_broken_one_are_no_copy(path, shelter):
    in_shelter(path, shelter).close()
    FullDisk.full = False
    for content in (b"", b"no database" * 1000, shelter.read_bytes()[:5000]):
        shelter.write_bytes(content)
        assert facts(path, shelter) == ["a"]
        assert not shelter.exists()


def test_what_a_newer_version_kept_elsewhere_is_left_alone(path, shelter):
    in_shelter(path, shelter).close()
    FullDisk.full = False
    with closing(sqlite3.connect(shelter)) as kept:
        kept.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(StoreError, match=re.escape(f"{shelter} was written by a newer version of this program")):
        FullDisk(path, now=NOW, fallback_path=shelter)
    with closing(sqlite3.connect(shelter)) as kept:
        kept.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    assert facts(path, shelter) == ["a", "b"]


def test_what_was_kept_elsewhere_long_before_the_file_changed_is_not_taken_up(path, shelter):
    in_shelter(path, shelter).close()
    FullDisk.full = False
    long_ago = path.stat().st_mtime - fallback.FORGOTTEN.total_seconds() - 1
    os.utime(shelter, (long_ago, long_ago))
    assert facts(path, shelter) == ["a"]


def test_a_file_that_was_damaged_meanwhile_is_set_aside_and_written_anew(path, shelter):
    in_shelter(path, shelter).close()
    FullDisk.full = False
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.write_bytes(b"not a database!!" * 500)
    store = FullDisk(path, now=NOW, fallback_path=shelter)
    store.restore_from_fallback(now=NOW)
    assert not store.uses_fallback
    store.close()
    assert facts(path, None) == ["a", "b"]


def test_a_disk_without_room_is_not_even_opened(path, shelter, monkeypatch):
    store = in_shelter(path, shelter)
    FullDisk.full = False
    size = store._size_bytes()
    monkeypatch.setattr(fallback, "free_bytes", lambda _folder: size + fallback.SPARE - 1)
    monkeypatch.setattr(store, "_open", None)  # SQLite would map a file into memory: on a full disk that is the end
    store.restore_from_fallback(now=NOW)
    assert store.uses_fallback
    monkeypatch.undo()
    monkeypatch.setattr(fallback, "free_bytes", lambda _folder: size + fallback.SPARE)
    store.restore_from_fallback(now=NOW)
    assert not store.uses_fallback
    store.close()


# --- where it is ----------------------------------------------------------------------------------------------------


def test_it_is_in_the_folder_of_the_session_and_one_for_each_state_folder(tmp_path):
    env = {"XDG_RUNTIME_DIR": str(tmp_path)}
    one, other = (fallback.place(Path(f"/{name}/watcher.db"), env) for name in ("one", "other"))
    assert one.parent == other.parent == tmp_path / "ai-usage-watcher"
    assert one != other
    assert one == fallback.place(Path("/one/watcher.db"), env)


@pytest.mark.skipif(os.name != "posix", reason="owners and modes are POSIX's")
def test_a_folder_that_is_not_this_persons_alone_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(fallback, "_SESSIONS", tmp_path / "none")
    env = {"TMPDIR": str(tmp_path)}
    path = Path("/one/watcher.db")
    folder = tmp_path / f"ai-usage-watcher-{os.getuid()}"
    assert fallback.place(path, env).parent == folder
    folder.chmod(0o755)
    assert fallback.place(path, env) is None
    folder.rmdir()
    (tmp_path / "theirs").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "theirs")
    assert fallback.place(path, env) is None
    assert fallback.place(path, {"TMPDIR": str(tmp_path / "absent")}) is None
