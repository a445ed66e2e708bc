from pathlib import Path

from watcher.demo.day import SimulatedDay
from watcher.demo.machine import make_paths
from watcher.demo.play import DemoPlayer, DemoProblem


def test_a_daemon_that_cannot_begin_says_why_and_ends_the_play(tmp_path: Path) -> None:
    (make_paths(tmp_path).state_dir).write_text("a file where the folder should be")
    with DemoPlayer(tmp_path, SimulatedDay(), 20_000, desktop=False) as play:
        (trouble,) = play.iter_events()
    assert isinstance(trouble, DemoProblem)
    assert "the daemon ended: StoreError: cannot write" in trouble.text
