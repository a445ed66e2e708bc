"""The store between processes: concurrent reads, kills, time zones, unreadable rows, a full disk."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.daemon.test_whole_path import Running, home, received, server, until
from tests.storage.test_store import NOW, delivery, snapshot
from watcher.storage.store import Store

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")

__all__ = ["home", "server"]  # fixtures
ROOT = str(Path(__file__).parents[2])
M, H = timedelta(minutes=1), timedelta(hours=1)
WRITER = """
import sys
from datetime import timedelta
from pathlib import Path
from tests.storage.test_store import NOW, delivery, snapshot
from watcher.storage.store import Store
store = Store(Path(sys.argv[1]), now=NOW)
store._db.execute(f"PRAGMA wal_autocheckpoint = {sys.argv[2]}")
number = 0
while True:
    number += 1
    at = NOW + timedelta(minutes=number)
    def work():
        for part in range(20):
            store.readings.save_result(snapshot(at + timedelta(seconds=part), percent=number % 100))
        store.outbox.enqueue([delivery(key=f"alert {number}")])
    store.run_transaction(work, now=at)
    print(number, flush=True)
"""


def python(program: str, *words: str, **env: str) -> list[object]:
    return [sys.executable, "-c", program, *words], {"cwd": ROOT, "env": {**os.environ, "PYTHONPATH": ROOT, **env}}


def writer(path: Path, checkpoint_pages: int) -> subprocess.Popen[str]:
    command, options = python(WRITER, str(path), str(checkpoint_pages))
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


@pytest.mark.slow
def test_status_reads_whole_transactions_while_another_process_writes(home):
    assert home.watcher("check").returncode == 10
    path = home.path / ".local/state/ai-usage-watcher/watcher.db"
    process = writer(path, 10)
    try:
        process.stdout.readline()
        for _ in range(4):
            done = home.watcher("status", "--json")
            assert (done.returncode, done.stderr) == (0, "")
            assert len(json.loads(done.stdout)["providers"]) >= 6
        with closing(Store(path, now=NOW, read_only=True)) as store:
            for _ in range(50):
                (claude,) = (each for each in store.accounts.load() if each.provider == "claude")
                # a transaction's twenty answers end with second 19: nothing in between is ever seen
                assert claude.snapshot.at.second == 19
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_of_a_checkpoint_loses_nothing_it_had_committed(tmp_path):
    path = tmp_path / "watcher.db"
    for round_ in range(12):
        process = writer(path, 1)  # a checkpoint after every transaction
        for _ in range(3 + round_):
            process.stdout.readline()
        process.kill()
        committed = int((process.communicate()[0].split() or [3 + round_])[-1])
        with closing(sqlite3.connect(path)) as raw:
            assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        with closing(Store(path, now=NOW)) as store:
            assert {f"alert {number}" for number in range(1, committed + 1)} <= {
                each.key for each in store.outbox.load()
            }
            assert store.notices == []


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati"])
def test_instants_are_kept_in_utc_whatever_the_zone(tmp_path, zone):
    path = tmp_path / "watcher.db"
    program = (
        "import sys; from datetime import datetime, timedelta, timezone; from pathlib import Path\n"
        "from tests.storage.test_store import NOW, snapshot; from watcher.storage.store import Store\n"
        "local = NOW.astimezone()\nstore = Store(Path(sys.argv[1]), now=local)\n"
        "store.run_transaction(lambda: store.readings.save_result(snapshot(local, resets_at=local)), now=local)\n"
        "store.run_transaction(lambda: store.facts.save('heartbeat', 'running', local), now=local)\nstore.close()"
    )
    command, options = python(program, str(path), TZ=zone)
    subprocess.run(command, check=True, **options)
    ms = int(NOW.timestamp() * 1000)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT at, resets_at FROM reading").fetchall() == [(ms, ms)]
        assert raw.execute("SELECT at FROM fact").fetchall() == [(ms,)]
        assert raw.execute("SELECT polled_at FROM account").fetchall() == [(ms,)]
    with closing(Store(path, now=NOW)) as store:
        assert store.facts.load("heartbeat") == ("running", NOW)
        assert store.accounts.load()[0].snapshot.at == NOW


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        ("UPDATE account SET snapshot = '{\"at\": 7}' WHERE key = 'a'", "Snapshot"),
        ("UPDATE account SET snapshot = 'torn {' WHERE key = 'a'", "Snapshot"),
        ("UPDATE account SET failure = '[]' WHERE key = 'a'", "PollFailure"),
        ("UPDATE series SET state = '{}' WHERE account = 1", "SeriesState"),
        ("UPDATE delivery SET record = 'null' WHERE key = 'a'", "Delivery"),
    ],
)
def test_a_row_that_cannot_be_read_is_reported_once_and_loses_no_other(tmp_path, spoil, kind):
    path = tmp_path / "watcher.db"
    with closing(Store(path, now=NOW)) as store:
        store.run_transaction(lambda: [store.readings.save_result(snapshot(account=name)) for name in "ab"], now=NOW)
        store.run_transaction(lambda: store.outbox.enqueue([delivery(key="a"), delivery(key="b")]), now=NOW)
    with closing(sqlite3.connect(path)) as raw, raw:
        assert raw.execute(spoil).rowcount == 1
    with closing(Store(path, now=NOW)) as store:
        for _ in range(2):
            good = {each.account: each.snapshot is not None for each in store.accounts.load()}
            store.alerts.load_state()
            waiting = [each.key for each in store.outbox.load()]
        assert good == {"a": kind != "Snapshot", "b": True}
        assert waiting == (["b"] if kind == "Delivery" else ["a", "b"])
        assert len(store.notices) == 1
        assert f"one {kind} cannot be read and is left out" in store.notices[0]
        store.run_transaction(lambda: store.readings.save_result(snapshot(NOW + H, account="a", percent=9.0)), now=NOW)
        assert store.accounts.load()[0].snapshot.readings[0].used_percent == 9.0


@pytest.fixture(params=["a limit of the process", "a file system of its own"])
def no_room(request, home):
    """Starts the daemon where its folder takes a few more kilobytes, and no more."""
    state = home.path / ".local/state/ai-usage-watcher"
    mounted = False
    if request.param == "a file system of its own":
        state.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", "size=260k,mode=0700", "tmpfs", str(state)]
        mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
        if not mounted:
            pytest.skip("nobody may mount a file system here")

    def start() -> Running:
        if mounted:
            return home.start()
        import resource  # noqa: PLC0415 - POSIX alone

        Store(state / "watcher.db", now=NOW).close()
        limit = 40_000  # the journal's shared memory fits, a few changes fit, a poll of six does not
        return home.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))

    yield start
    for process in home.started:
        process.kill()
        process.wait()
    if mounted:
        subprocess.run(["umount", str(state)], check=True)


@pytest.mark.slow
def test_on_a_full_disk_the_daemon_alerts_from_memory_and_reports_it(home, server, no_room):
    home.config('[[rule]]\nname = "claude-session"\nwhen = "claude.five_hour > 80%"\n')
    home.answers["/api/oauth/usage"] = {"five_hour": {"utilization": 95.0, "resets_at": "2026-01-29T20:00:00Z"}}
    filler = home.path / ".local/state/ai-usage-watcher/filler"
    answer = home.answer

    def fill_then_answer(asked):
        if asked.path == "/api/oauth/usage" and not filler.exists():
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                for _ in range(500):  # more than the small file system holds
                    file.write(b"x" * 1024)
        return answer(asked)

    home.answer = fill_then_answer
    process = no_room()
    until(lambda: "claude-session" in {each.get("rule") for each in received(server)}, process)
    until(lambda: any("cannot be written" in str(each["message"]) for each in received(server)), process)
    assert process.poll() is None
    assert [each["event"] for each in received(server) if each.get("rule") == "claude-session"] == ["firing"]


FIRST_DECODING = """
import sys, threading
from watcher.core.model import Snapshot
from watcher.storage.records import decode_json
sys.setswitchinterval(1e-6)
text = '{"at": "2026-01-01T00:00:00Z", "readings": [{"window": "a", "kind": "session", "used": "3.0"}]}'
barrier = threading.Barrier(4)
def decode():
    barrier.wait()
    assert decode_json(text, Snapshot, {"provider": "claude", "account": ""}).readings[0].used == 3
threads = [threading.Thread(target=decode) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


@pytest.mark.slow  # ten processes; msgspec alone crashes in every second one
def test_threads_that_decode_a_record_for_the_first_time_do_not_crash():
    ended = [subprocess.run([sys.executable, "-c", FIRST_DECODING], check=False).returncode for _ in range(10)]
    assert ended == [0] * 10
