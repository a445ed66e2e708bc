"""Windows: what only its libraries tell, and a daemon that commands reach at once. `.ci/windows` runs it in wine."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from watcher.core.model import Command
from watcher.demo.server import Reply, Server, json_reply
from watcher.system import windows
from watcher.system.clock import Clock
from watcher.system.environment import read_host_info
from watcher.system.lock import Lock
from watcher.system.process import run_command
from watcher.system.scheduler import Scheduler

PATIENCE_S = 60  # far less than the 5 minutes of a heartbeat, after which everything would arrive
SLEEP = "import time; time.sleep(100)"


def test_sleep_counts_for_the_wall_clock_alone(monkeypatch):
    scheduler = Scheduler(Clock(), lambda _name, _error: None)
    assert scheduler.adjust_to_clock() == timedelta(0)
    awake_s = windows.read_unbiased_time_s()
    monkeypatch.setattr(windows, "read_unbiased_time_s", lambda: awake_s - 7200)
    assert scheduler.adjust_to_clock() > timedelta(hours=1, minutes=59)


def test_another_process_is_woken_by_its_id(tmp_path):
    woken = threading.Event()
    windows.call_on_wake(os.getpid(), woken.set)
    lock = Lock(tmp_path)
    lock.acquire(brief=False)
    imports = "import sys; from pathlib import Path; from watcher.system.lock import Lock"
    command = [sys.executable, "-c", f"{imports}; print(Lock(Path(sys.argv[1])).signal_holder())", tmp_path]
    assert subprocess.run(command, capture_output=True, check=True).stdout.strip() == b"True"
    assert woken.wait(PATIENCE_S)
    lock.release()
    assert not lock.signal_holder()
    assert not windows.wake_process(os.getpid() + 1)


def test_a_credential_is_read():
    target, secret = f"ai-usage-watcher-test-{os.getpid()}", '{"token": {"access_token": "ya29.ä"}}'.encode()
    entry = windows._Credential(type=1, target_name=target, blob_size=len(secret), persist=1, user_name="antigravity")
    entry.blob = ctypes.cast(ctypes.create_string_buffer(secret), ctypes.POINTER(ctypes.c_char))
    assert windows._security.CredWriteW(ctypes.byref(entry), 0)
    try:
        assert read_host_info().read_credential(target) == secret
    finally:
        windows._security.CredDeleteW(target, 1, 0)
    assert read_host_info().read_credential(target) == b""


def test_a_program_that_started_another_ends_at_its_time_limit():
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); {SLEEP}"
    started_s = time.monotonic()
    result = run_command(Command(argv=(sys.executable, "-c", parent), timeout_s=1))
    assert (result.exit_code, result.timed_out) == (None, True)
    assert time.monotonic() - started_s < PATIENCE_S


# --- a daemon and the commands that reach it --------------------------------------------------------------------------


class Installation:
    """A home with Claude's login, whose API and channel are one loopback server."""

    def __init__(self, folder: Path, url: str) -> None:
        self.config, self.state, self.url = folder / "config" / "config.toml", folder / "state", url
        self.env = {
            **os.environ,
            **dict.fromkeys(("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"), str(folder)),
            "WATCHER_CONFIG_DIR": str(self.config.parent),
            "WATCHER_STATE_DIR": str(self.state),
            "PYTHONUTF8": "1",
        }
        login = folder / ".claude" / ".credentials.json"
        login.parent.mkdir()
        ends_at_ms = (datetime.now(UTC) + timedelta(hours=6)).timestamp() * 1000
        token = {"accessToken": "sk-ant-oat01-fake", "refreshToken": "r", "expiresAt": int(ends_at_ms)}
        login.write_text(json.dumps({"claudeAiOauth": {**token, "scopes": ["user:profile"]}}), "utf-8")
        self.config.parent.mkdir()
        self.write_config()

    def write_config(self, more: str = "") -> None:
        self.config.write_text(
            f'[providers.claude]\nbase_url = "{self.url}"\n'
            f'[channels.hook]\ntype = "webhook"\nurl = "{self.url}/hook"\n[route]\ndefault = ["hook"]\n'
            f'[[rule]]\nname = "session"\nwhen = "claude.five_hour > 80%"\n{more}',
            "utf-8",
        )

    def run(self, *words: str) -> str:
        command = [sys.executable, "-m", "watcher", *words]
        done = subprocess.run(command, env=self.env, capture_output=True, check=False, timeout=2 * PATIENCE_S)
        assert done.returncode in (0, 10), (words, done)
        return done.stdout.decode()

    @contextmanager
    def start(self, program: str = sys.executable, flags: int = 0) -> Iterator["subprocess.Popen[bytes]"]:
        flags |= subprocess.CREATE_NEW_PROCESS_GROUP
        command = [program, "-m", "watcher", "run"]
        with subprocess.Popen(command, env=self.env, creationflags=flags) as process:
            try:
                yield process
            finally:
                process.kill()

    def read_log(self) -> str:
        log = self.state / "watcher.log"
        return log.read_text("utf-8") if log.exists() else ""


def wait_until(is_done, what):
    end_at_s = time.monotonic() + PATIENCE_S
    while not is_done():
        assert time.monotonic() < end_at_s, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.1)


@pytest.fixture
def served(tmp_path):
    resets_at = (datetime.now(UTC) + timedelta(hours=3)).isoformat()

    def answer(request):
        usage = {"five_hour": {"utilization": 83, "resets_at": resets_at}}
        return Reply(status=204) if request.path == "/hook" else json_reply(usage)

    with Server(answer) as server:
        installation = Installation(tmp_path, server.url)
        installation.count = lambda path: sum(each.path == path for each in server.requests)
        yield installation


@pytest.mark.slow  # a daemon
def test_commands_reach_a_running_daemon_at_once(served):
    served.run("snooze", "session", "--for", "2h")
    with served.start():
        wait_until(lambda: "firing session" in served.read_log(), "the alert")
        assert served.count("/hook") == 0
        wait_until(Lock(served.state).signal_holder, "the daemon can be woken")
        assert "no longer snoozed" in served.run("unsnooze", "session")
        wait_until(lambda: served.count("/hook") == 1, "what the snooze held back")
        assert "83 %" in served.run("status", "--refresh")
        loads = served.read_log().count("config loaded")
        served.write_config('severity = "critical"\n')
        wait_until(lambda: served.read_log().count("config loaded") > loads, "the new config")


@pytest.mark.slow  # a daemon
def test_a_login_item_whose_config_has_a_mistake_waits_for_the_fix(served):
    served.write_config("severity = 5\n")
    with served.start(str(Path(sys.executable).with_name("pythonw.exe")), subprocess.DETACHED_PROCESS):
        wait_until(lambda: "the config cannot be used, waiting until it is fixed" in served.read_log(), "the mistake")
        assert "config.toml:11:12" in served.run("status")
        served.write_config()
        wait_until(lambda: "firing session" in served.read_log(), "the alert")


@pytest.mark.slow  # a daemon
def test_ctrl_break_ends_a_daemon_at_once(served):
    with served.start() as process:
        wait_until(Lock(served.state).signal_holder, "the daemon can be woken")
        try:
            process.send_signal(signal.CTRL_BREAK_EVENT)
        except OSError:
            pytest.skip("there is no console, as in wine without a terminal")
        assert process.wait(PATIENCE_S) == 0
    assert "stopped" in served.read_log()
