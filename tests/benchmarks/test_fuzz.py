"""The fuzzer in small; `python -m benchmarks fuzz` tries a million inputs."""

import random
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs the signals of POSIX")


def test_nothing_that_others_write_crashes_or_hangs_a_reader():
    from benchmarks import fuzz  # noqa: PLC0415 - it cannot be imported where this is skipped

    found = fuzz.play(3000, seed=7)

    assert found.tried.total() >= 3000
    assert found.crashed == {}
    assert found.hung == []


def test_a_crash_would_be_seen(monkeypatch):
    from benchmarks import fuzz  # noqa: PLC0415 - likewise

    def make(_luck: random.Random):
        return "input", lambda: {}["missing"]

    monkeypatch.setattr(fuzz, "TARGETS", {"a reader": (lambda: make, 1, ())})

    found = fuzz.play(5, seed=1)

    assert not found.is_clean
    assert list(found.crashed.values()) == ["'input'"]
