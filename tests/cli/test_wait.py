"""`watcher wait`: returns when the condition holds, without a request where a daemon runs."""

from datetime import timedelta
from functools import partial

import pytest
from click.testing import CliRunner

from tests.world import HOOK, SESSION, START, make_world
from watcher.cli.guard import parse_expression
from watcher.cli.wait import EXIT_TIMEOUT, Progress, check_condition, check_reset, wait, wait_until
from watcher.core.rules.parser import parse_selector

M = timedelta(minutes=1)


class Clock:
    def __init__(self):
        self.at = START
        self.lines = []

    def now(self):
        return self.at

    def pause(self, seconds):
        self.at += timedelta(seconds=seconds)


def run(answers, *, limit=None, can_learn=True):
    """The exit code for answers by the minute; the last one stays."""
    clock = Clock()

    def look(now):
        step = int((now - START) / M)
        return Progress(answers[min(step, len(answers) - 1)], f"minute {step}")

    code = wait_until(look, lambda _now: can_learn, limit, show=clock.lines.append, now=clock.now, pause=clock.pause)
    return code, clock


def test_it_returns_once_the_condition_holds():
    code, clock = run([False, False, None, True])
    assert (code, clock.at - START) == (0, 3 * M)


def test_it_returns_at_once_where_it_holds_already():
    code, clock = run([True])
    assert (code, clock.at, clock.lines) == (0, START, [""])


def test_a_timeout_ends_it_to_the_second():
    code, clock = run([False], limit=timedelta(seconds=61))
    assert (code, clock.at - START) == (EXIT_TIMEOUT, timedelta(seconds=61))


def test_unknown_is_waited_for_while_a_daemon_polls_and_reported_where_none_does(capsys):
    assert run([None, None, True])[0] == 0
    assert run([None], can_learn=False)[0] == 69
    assert capsys.readouterr().err == "unknown: minute 0\n"


def test_a_line_is_shown_while_it_waits():
    assert dict.fromkeys(run([False, False, True])[1].lines) == dict.fromkeys(["minute 0", "minute 1", ""])


@pytest.fixture
def world(tmp_path):
    with make_world(tmp_path, HOOK + SESSION, 85) as world:
        yield world


def test_the_readings_of_the_store_decide(world):
    world.watch(4 * M)
    condition = parse_expression("claude.five_hour < 20%", "wait")
    look = partial(check_condition, world.paths, condition, timedelta(hours=2))
    first = look(world.machine.now())
    assert first.is_over is False
    assert "claude.five_hour (85% used)" in first.text.replace(" %", "%")
    world.usage(5, START + timedelta(hours=9))
    world.machine.passes(timedelta(hours=5))
    world.watch(30 * M)
    assert look(world.machine.now()).is_over is True


def test_a_reset_is_a_new_episode_of_the_window(world):
    world.watch(4 * M)
    look = partial(check_reset, world.paths, parse_selector("claude")[0], {})
    first = look(world.machine.now())
    assert (first.is_over, "resets in" in first.text) == (False, True)
    world.usage(5, START + timedelta(hours=9))
    world.machine.passes(timedelta(hours=5))
    world.watch(30 * M)
    assert look(world.machine.now()).is_over is True


def test_what_was_never_read_is_unknown(world):
    assert check_reset(world.paths, parse_selector("codex")[0], {}, START).is_over is None
    world.watch(4 * M)
    assert check_reset(world.paths, parse_selector("codex")[0], {}, START).is_over is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give a condition"),
        (["claude < 20%", "--until-reset", "claude"], "give a condition"),
        (["claude < 2h"], "watcher wait: "),
        (["--until-reset", "cluade"], "did you mean"),
        (["claude < 20%", "--timeout", "soon"], "--timeout: "),
        (["claude > 800%"], "that would never end: `claude > 800%` never holds"),
    ],
)
def test_what_makes_no_sense_is_said_at_once(words, message, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    done = CliRunner().invoke(wait, words, standalone_mode=False)
    assert message in str(done.exception)
