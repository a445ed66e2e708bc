from pathlib import Path

from watcher.demo.day import Day
from watcher.demo.machine import paths
from watcher.demo.play import Play, Trouble


def test_a_daemon_that_cannot_begin_says_why_and_ends_the_play(tmp_path: Path) -> None:
    (paths(tmp_path).state_dir).write_text("a file where the folder should be")
    with Play(tmp_path, Day(), 20_000, desktop=False) as play:
        (trouble,) = play.happenings()
    assert isinstance(trouble, Trouble)
    assert "the daemon ended: StoreError: cannot write" in trouble.text
