"""The long run on a short way: the daemon on real sockets and threads, measured by the kernel."""

import os
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("reads /proc", allow_module_level=True)

from benchmarks import footprint
from watcher.demo.server import Server


@pytest.mark.slow  # an hour of polls by real processes
def test_the_long_run_reports_the_daemon_at_each_mark(tmp_path: Path) -> None:
    with Server(footprint.answer) as server:
        footprint.lay_out(tmp_path, server.url)
        marks = footprint.simulate(Path(sys.executable), tmp_path, "polls", 12, 36, 60)
        alerts = [asked for asked in server.requests if asked.path == "/alerts"]
    assert [mark["polls"] >= wanted for mark, wanted in zip(marks, (12, 36, 60), strict=True)] == [True] * 3
    assert marks[-1]["hours"] > marks[0]["hours"] > 0
    assert all(mark["rss_mb"] > 10 and mark["threads"] < 60 and mark["fds"] < 30 for mark in marks)
    assert alerts  # a daemon that says nothing would cost less


def test_fifty_rules_are_in_force(tmp_path: Path) -> None:
    footprint.lay_out(tmp_path, "http://127.0.0.1:9")
    assert (tmp_path / "config" / "config.toml").read_text("utf-8").count("[[rule]]") == 50


def test_a_process_is_measured() -> None:
    me = footprint.cost(os.getpid())
    assert me.rss > me.pss > me.anonymous > 0
    assert me.threads >= 1
    assert me.fds >= 3
