"""`watcher check` from cron."""

MUTE = """
[channels.team]
type = "slack"
url = "env:NO_SUCH"
[route]
default = ["team"]
"""


def test_a_quiet_check_says_nothing_but_that_a_channel_is_mute(empty_home):
    assert (empty_home.watcher("check", "-q").stdout, empty_home.watcher("check", "-q").stderr) == ("", "")
    folder = empty_home.paths.config_dir
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(MUTE)
    done = empty_home.watcher("check", "-q")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == (
        "channel team waits for its secret: the environment variable NO_SUCH is not set where the watcher runs\n"
    )


def test_no_line_is_wider_than_the_terminal_and_a_program_gets_each_whole(empty_home):
    narrow, whole = (empty_home.watcher("check", **env).stdout for env in ({"COLUMNS": "40"}, {}))
    assert (len(whole.splitlines()), max(map(len, narrow.splitlines())) <= 40) == (1, True)
    assert narrow.split() == whole.split()
