"""Programs of Prometheus, where they are installed."""

import os
import shutil
import socket

import pytest


def needs(program):
    """Skips a test where the program is not installed; never where nothing may be skipped."""
    absent = shutil.which(program) is None and not os.environ.get("WATCHER_REQUIRE_SYSTEM_TESTS")
    return pytest.mark.skipif(absent, reason=f"needs {program}")


def find_free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
