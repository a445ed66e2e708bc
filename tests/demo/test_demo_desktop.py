"""Where there is a desktop, the demonstration's notifications are real."""

import os
import subprocess
import sys

import pytest

from tests.notifiers.desktop.conftest import bus, daemon  # noqa: F401 - fixtures

pytestmark = [pytest.mark.system, pytest.mark.slow]  # plays the whole day


def test_the_days_notifications_reach_the_desktop(bus, daemon):  # noqa: F811
    recorder = daemon()
    command = [sys.executable, "-m", "watcher", "demo", "--speed", "20000"]
    env = {**bus.env, "PATH": os.environ["PATH"], "TZ": "UTC"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Notifications appear on this desktop, and here." in done.stdout
    titles = [arguments[3] for arguments in recorder.notified]
    beginnings = [
        "AI usage watcher: demo",
        "Claude 5-hour window at 8",
        "Claude 5-hour window has reset",
        "Copilot prem",
    ]
    assert len(titles) == len(beginnings)
    assert all(title.startswith(start) for title, start in zip(titles, beginnings, strict=True)), titles
    urgencies = [arguments[6]["urgency"][1] for arguments in recorder.notified]
    assert urgencies[1:] == [1, 1, 2]
