from pathlib import Path

from watcher.demo.player import DemoPlayer, DemoProblem
from watcher.demo.scenario import SimulatedDay
from watcher.demo.simulation import make_paths


def test_a_daemon_that_cannot_start_ends_the_play_with_a_reason(tmp_path: Path) -> None:
    (make_paths(tmp_path).state_dir).write_text("a file where the folder should be")
    with DemoPlayer(tmp_path, SimulatedDay(), 20_000, desktop=False) as play:
        (trouble,) = play.iter_events()
    assert isinstance(trouble, DemoProblem)
    assert "the daemon ended: StoreError: cannot write" in trouble.text
