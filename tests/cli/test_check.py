"""`watcher check` from cron."""

import pytest

MUTE = """
[channels.team]
type = "slack"
url = "env:NO_SUCH"
[route]
default = ["team"]
"""


def test_a_quiet_check_reports_that_there_is_no_login(empty_home):
    done = empty_home.watcher("check", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "",
        "no login of any provider was found: `watcher init` says where it looks\n",
    )


def test_a_quiet_check_reports_only_silent_channels(serving):
    config = serving.paths.config_file
    providers = config.read_text().partition("[channels")[0]
    config.write_text(providers)
    assert (serving.watcher("check", "-q").stdout, serving.watcher("check", "-q").stderr) == ("", "")
    config.write_text(providers + MUTE)
    done = serving.watcher("check", "-q")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == (
        "channel team waits for its secret: the environment variable NO_SUCH is not set where the watcher runs\n"
    )


def test_no_line_is_wider_than_the_terminal_and_a_program_gets_each_whole(empty_home):
    narrow, whole = (empty_home.watcher("check", **env).stdout for env in ({"COLUMNS": "40"}, {}))
    assert (len(whole.splitlines()), max(map(len, narrow.splitlines())) <= 40) == (1, True)
    assert narrow.split() == whole.split()


ROOM = """
[[rule]]
name = "room-again"
when = "claude.five_hour > 80%"
on = ["resolved"]
"""


@pytest.mark.parametrize(("more", "code"), [("", 0), ('remind = "2h"\n', 10), ('levels = { critical = "81%" }\n', 0)])
def test_a_rule_that_notifies_only_at_the_end_does_not_count_as_firing(serving, more, code):
    config = serving.paths.config_file
    rule = ROOM.replace("> 80%", "> level") if "levels" in more else ROOM
    config.write_text(config.read_text().split("[[rule]]", maxsplit=1)[0] + rule + more)
    done = serving.watcher("check")
    assert done.returncode == code
    waits = "waiting: room-again on claude.five_hour, notifies when it is over (since "
    assert (waits in done.stdout, "firing" in done.stdout) == (code == 0, code != 0)
    assert waits in serving.watcher("status").stdout or code
