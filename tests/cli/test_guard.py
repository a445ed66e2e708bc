"""`watcher guard`: exit codes that a script can rely on."""

import json
from datetime import timedelta

import pytest

from watcher.cli.guard import evaluate_expression, format_reason, parse_expression
from watcher.system import clock


@pytest.mark.parametrize(
    ("expression", "code", "message"),
    [
        ("claude.five_hour < 90% and codex.weekly < 95%", 0, ""),
        ("claude.five_hour < 80%", 1, "false for claude.five_hour ("),
        (
            "claude.seven_day_opus < 80%",
            69,
            "unknown: claude.seven_day_opus was never read (poll now with --refresh)\n",
        ),
        (
            "claude.five_hours < 80%",
            64,
            (
                "watcher guard: claude has no window or field `five_hours`; did you mean `five_hour`?\n"
                "  claude.five_hours < 80%\n"
                "         ^^^^^^^^^^\n"
            ),
        ),
        (
            "claude < 90%\nand codex < 2h",
            64,
            "watcher guard: `codex` is a percent, `2h` is a duration; valid: such as `80%`",
        ),
    ],
)
def test_the_exit_code_is_the_answer(served, expression, code, message):
    done = served.watcher("guard", expression)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(message) if message else not done.stderr


def test_quiet_says_nothing(served):
    done = served.watcher("guard", "-q", "claude < 1%")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_the_answer_as_json(served):
    done = served.watcher("guard", "*.session < 80%", "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 1
    assert (answer["schema"], answer["expression"], answer["result"], answer["why"]) == (
        "watcher.guard.v1",
        "*.session < 80%",
        False,
        [],
    )
    assert answer["series"]["claude.five_hour"] is False
    assert answer["series"]["codex.five_hour"] is True


def test_a_reading_that_is_too_old_is_unknown(served):
    later, condition = clock.utc_now() + timedelta(hours=2), parse_expression("claude < 90%", "guard")
    result, names = evaluate_expression(served.paths, condition, later, timedelta(hours=1))
    assert result.result is None
    assert format_reason(result, names).startswith("claude.five_hour: last read ")


def test_a_machine_without_readings_is_unknown_and_stays_untouched(empty_home):
    done = empty_home.watcher("guard", "claude < 90%", "--json")
    assert (done.returncode, json.loads(done.stdout)["result"]) == (69, None)
    assert not empty_home.paths.state_dir.exists()


def test_a_duration_that_is_none_is_bad_usage(empty_home):
    done = empty_home.watcher("guard", "claude < 90%", "--max-age", "soon")
    assert done.returncode == 64
    assert "--max-age" in done.stderr
