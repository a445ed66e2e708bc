"""The crash harness in small; `python -m benchmarks crash` kills hundreds."""

import sys

import pytest

from benchmarks.crash import play

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")


@pytest.mark.parametrize(
    "loop",
    [pytest.param(True, id="the running daemon"), pytest.param(False, marks=pytest.mark.slow, id="single checks")],
)
def test_a_process_killed_at_any_moment_loses_nothing_and_repeats_only_what_was_cut_off(loop):
    tally = play(kills=20, seed=11, loop=loop)
    assert tally.killed == 20
    assert tally.messages >= 5
    assert (tally.lost, tally.wrong, tally.unordered, tally.needless) == (0, 0, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("loop", [True, False], ids=["the running daemon", "single checks"])
def test_a_loss_would_be_seen(loop):
    assert not play(kills=25, seed=12, loop=loop, sabotage=True).is_clean
