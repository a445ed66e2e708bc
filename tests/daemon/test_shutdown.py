"""SIGTERM ends the daemon within two seconds, whatever hangs; and how it waits for a config with a mistake."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from tests.daemon.test_whole_path import ANSWERS, Home, ends_at_once, home, received, server, until

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

__all__ = ["home", "server"]  # fixtures
FIRES = '[[rule]]\nname = "a"\nwhen = "claude.five_hour > 10%"\n'
SLEEPS = '["sleep", "60"]'


def start_watching(home: Home):
    process = home.start()
    until(lambda: "watching" in process.said(), process)
    return process


def more_config(home: Home, text: str) -> None:
    path = home.path / ".config/ai-usage-watcher/config.toml"
    path.write_text(text + path.read_text("utf-8"), "utf-8")
    path.chmod(0o600)


def test_all_servers_hang(home, server):
    for path in ANSWERS:
        server.queue_fault(path, "drip", times=50)
    process = start_watching(home)
    until(lambda: len(server.requests) >= 3, process)
    ends_at_once(process)


def test_the_receiver_of_messages_hangs(home, server):
    server.queue_fault("/hook", "slow", times=50)
    process = start_watching(home)
    until(lambda: received(server), process)
    ends_at_once(process)


def test_a_command_that_takes_messages_hangs(home, server):
    home.config(FIRES)
    more_config(home, f'[channels.slow]\ntype = "command"\nargv = {SLEEPS}\n[route]\ndefault = ["slow", "hook"]\n')
    process = start_watching(home)
    until(lambda: received(server), process)
    ends_at_once(process)


def test_the_command_of_a_secret_hangs_while_the_config_is_reloaded(home, server):
    process = start_watching(home)
    until(lambda: received(server), process)
    mark = home.path / "asked"
    script = home.path / "secret"
    script.write_text(f"#!/bin/sh\ntouch {mark}\nsleep 60\n", "utf-8")
    script.chmod(0o700)
    more_config(home, f'[channels.chat]\ntype = "slack"\nurl = "cmd:{script}"\n')
    process.send_signal(signal.SIGHUP)
    until(mark.exists, process)
    ends_at_once(process)


def test_the_command_of_a_secret_hangs_at_the_start(home):
    mark, script = home.path / "asked", home.path / "secret"
    script.write_text(f"#!/bin/sh\ntouch {mark}\nsleep 60\n", "utf-8")
    script.chmod(0o700)
    more_config(home, f'[channels.chat]\ntype = "slack"\nurl = "cmd:{script}"\n')
    process = home.start()
    until(mark.exists, process)
    ends_at_once(process, -signal.SIGTERM)


def test_another_process_holds_the_database(home, server):
    process = start_watching(home)
    until(lambda: received(server), process)
    path = home.path / ".local/state/ai-usage-watcher/watcher.db"
    with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as other:
        other.execute("BEGIN IMMEDIATE")
        ends_at_once(process)


def test_a_reload_while_a_secret_hangs_holds_up_no_alert(home, server):
    process = start_watching(home)
    until(lambda: received(server), process)
    mark, script = home.path / "asked", home.path / "secret"
    script.write_text(f"#!/bin/sh\ntouch {mark}\nsleep 60\n", "utf-8")
    script.chmod(0o700)
    more_config(home, f'[channels.chat]\ntype = "slack"\nurl = "cmd:{script}"\n')
    process.send_signal(signal.SIGHUP)
    until(mark.exists, process)
    before = len(server.requests)
    assert home.watcher("status", "--refresh").returncode in (0, 10, 20)
    assert len(server.requests) > before
    ends_at_once(process)


def run_program(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_sigterm_ends_a_wait_in_which_python_runs_no_handler(tmp_path):
    run_program(
        "import os, signal, sqlite3, threading\nfrom types import SimpleNamespace\nfrom watcher.cli import service\n"
        "service.SHUTDOWN_TIMEOUT_S = 0.1\n"
        "service._install_signal_handlers(SimpleNamespace(stop=lambda: None, wake=lambda: None, "
        "reload=None, check_requests=None))\n"
        f"held, other = (sqlite3.connect({str(tmp_path / 'a.db')!r}, isolation_level=None, timeout=90) for _ in '12')\n"
        "held.execute('BEGIN IMMEDIATE')\n"
        "threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGTERM)).start()\n"
        "other.execute('BEGIN IMMEDIATE')\n"
    )


def test_signals_at_any_moment_leave_the_loop_and_its_threads_alive():
    run_program(
        "import os, signal, sys\nfrom types import SimpleNamespace\nfrom watcher.cli import service\n"
        "from watcher.system.scheduler import WorkQueue\nqueue, seen = WorkQueue(), []\n"
        "wake = lambda: queue.put(lambda: None)\n"
        "service.SHUTDOWN_TIMEOUT_S = 90\nservice._install_signal_handlers(SimpleNamespace("
        "stop=wake, wake=wake, reload=wake, check_requests=wake))\n"
        "def interrupt(_frame, _event, _arg):\n"
        "    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP):\n"
        "        signal.raise_signal(number)  # as if they came between any two calls\n"
        "sys.setprofile(interrupt)\n"
        "for number in range(20):\n    queue.run_in_thread(lambda: number, seen.append)\n"
        "while len(seen) < 20:\n    queue.get(60)()\n"
        "sys.setprofile(None)\nos._exit(0)\n"
    )


def test_a_signal_that_does_not_interrupt_the_wait_ends_it():
    run_program(
        "import signal, threading, time\nfrom types import SimpleNamespace\nfrom watcher.cli import service\n"
        "from watcher.system.scheduler import WorkQueue\nqueue, seen = WorkQueue(), []\n"
        "service._install_signal_handlers(SimpleNamespace(check_requests=lambda: seen.append(1), stop=None,"
        " reload=None, wake=lambda: queue.put(lambda: None)))\n"
        "def get_signal():\n"
        "    time.sleep(0.1)  # the main thread waits by now\n"
        "    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)\n"
        "threading.Thread(target=get_signal).start()\nwhile not seen:\n    queue.get(60)()\n"
    )


def test_a_sighup_ends_the_wait_for_a_fixed_config(tmp_path):
    run_program(
        "import signal, threading\nfrom pathlib import Path\nfrom watcher.cli import service\n"
        "from watcher.config.loader import fingerprint_config_files\nfrom watcher.system.paths import resolve_paths\n"
        f"paths = resolve_paths({{}}, Path({str(tmp_path)!r}))\n"
        "threading.Timer(0.5, signal.pthread_kill, (threading.get_ident(), signal.SIGHUP)).start()\n"
        "service._wait_for_config_change(paths, fingerprint_config_files(paths))\n"
    )


def test_a_login_item_waits_for_its_config_to_be_fixed(home, server):
    home.config('[[rule]]\nname = "a"\nwhen = "claude.five_hours > 80%"\n')
    process = home.start(by_systemd=True)
    until(lambda: "waiting until it is fixed" in process.said(), process)
    assert home.watcher("check").returncode == 78  # no process holds the lock meanwhile
    assert process.poll() is None
    home.config(FIRES)
    until(lambda: process.send_signal(signal.SIGHUP) is None and received(server), process)
    ends_at_once(process)
    log = (home.path / ".local/state/ai-usage-watcher/watcher.log").read_text("utf-8")
    assert log.count("the config cannot be used") == 1


def test_started_by_hand_it_reports_the_mistake_and_ends(home):
    home.config("[[rule]\n")
    process = home.start()
    assert process.wait(60) == 78


def test_a_login_item_that_waits_ends_on_sigterm(home):
    home.config("[[rule]\n")
    process = home.start(by_systemd=True)
    until(lambda: "waiting until it is fixed" in process.said(), process)
    ends_at_once(process, -signal.SIGTERM)
