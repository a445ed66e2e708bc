"""The daemon in a hostile world, in small; `python -m benchmarks chaos` plays thousands of polls."""

import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and sends SIGKILL")


def test_nothing_is_lost_false_or_told_twice_whatever_goes_wrong():
    from benchmarks.chaos import play  # noqa: PLC0415 - it cannot be imported where this is skipped

    tally = play(polls=120, seed=3, disks=False)

    assert tally.notes == []
    assert tally.polls >= 120
    assert tally.heard > 0
    assert (tally.lost, tally.twice, tally.false, tally.wrong, tally.secrets) == (0, 0, 0, 0, 0), tally.details
