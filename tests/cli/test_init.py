"""`watcher init`: says what it found, writes what is missing, overwrites nothing, asks only a person."""

import json
import os
import subprocess
import sys
import tomllib

import pytest
from msgspec import structs

from tests.notifiers.desktop.conftest import bus, daemon  # noqa: F401 - fixtures
from tests.world import has_mode
from watcher.cli.init import CONFIG_TEMPLATE, NO_CHANNEL_MESSAGE, find_desktop_problem, find_menu_bars
from watcher.core.model import CommandResult
from watcher.system.environment import read_host_info

NO_DESKTOP = find_desktop_problem(read_host_info())
DESKTOP = [] if NO_DESKTOP else ["desktop"]
TEST_COMMAND = (
    "watcher channels add    where alerts go: slack, discord, ntfy, email, ..."
    if NO_DESKTOP
    else "watcher notify test     does a notification reach you?"
)
NO_TEST = (("Send a test notification?", "n"),)

FILES = [
    "config.toml", "rules/default.toml", "providers/providers.schema.json", "rules/rules.schema.json",
    "watcher.schema.json",
]  # fmt: skip


def login(home):
    path = home.folder / "home" / ".local" / "share" / "opencode" / "auth.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"anthropic": {"type": "oauth", "access": "sk-ant-oat01-secret-token", "expires": 0}}))
    return path


def written(home):
    folder = home.paths.config_dir
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_it_says_where_it_found_what_and_what_to_do_about_the_rest(empty_home):
    path = login(empty_home)
    done = empty_home.watcher("init")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"  Claude       login: OpenCode ({path})\n" in done.stdout
    assert "  Codex        no login; run `codex` once\n" in done.stdout
    assert "secret-token" not in done.stdout
    assert done.stdout.endswith(
        "Next:\n"
        "  watcher check           poll once, and show the result\n"
        f"  {TEST_COMMAND}\n"
        "  watcher agent install   watch from now on, and at every login\n"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has desktops and machines without one")
def test_without_a_desktop_no_route_is_written_that_cannot_work(empty_home):
    if not NO_DESKTOP:
        pytest.skip("this machine has a desktop")
    done = empty_home.watcher("init", DBUS_SESSION_BUS_ADDRESS="unix:path=/nowhere")
    assert done.returncode == 0
    words = " ".join(done.stdout.split())
    assert "Notifications cannot be shown here: the session bus cannot be reached (No such file or directory)" in words
    assert NO_CHANNEL_MESSAGE in words
    assert "  watcher channels add    where alerts go: slack" in done.stdout
    config = tomllib.loads(empty_home.paths.config_file.read_text())
    assert "channels" not in config
    assert config["route"] == {"default": []}
    assert "no alert is sent: `watcher channels add` adds a channel" in empty_home.watcher("check", "-q").stderr
    added = empty_home.watcher("channels", "add", "ntfy", "--set", "topic=my-topic-8731", "--no-test")
    assert added.returncode == 0, added.stderr
    assert tomllib.loads(empty_home.paths.config_file.read_text())["route"] == {"default": ["ntfy"]}
    assert "no alert is sent" not in empty_home.watcher("status").stdout
    assert "no alert is sent" not in empty_home.watcher("check", "-q").stderr


@pytest.mark.posix
def test_options_do_each_step_without_a_terminal(serving, tmp_path):
    config = serving.paths.config_file
    config.write_text(config.read_text().partition("[[rule]]")[0].replace("/alerts", "/webhook"))
    argos = tmp_path / "home" / ".config" / "argos"
    argos.mkdir(parents=True)
    done = serving.watcher("init", "--check", "--menu-bar")
    assert done.returncode == 0, done.stdout
    assert "Claude " in done.stdout.partition("default.toml")[2]
    assert "firing: session on claude.five_hour" in done.stdout
    assert "Send a test" not in done.stdout
    plugin = argos / "usage.1m.sh"
    assert has_mode(plugin, 0o700)
    assert plugin.read_text() == f"#!/bin/sh\nexec {sys.executable} -m watcher status --format swiftbar\n"
    assert f"kept, it was there already: {plugin}" in serving.watcher("init", "--menu-bar").stdout
    plugin.write_text("#!/bin/sh\necho mine\n")
    assert f"kept, it was there already: {plugin}" in serving.watcher("init", "--menu-bar").stdout
    assert plugin.read_text() == "#!/bin/sh\necho mine\n"


def test_a_step_that_fails_is_left_to_do_and_the_exit_code_says_so(serving):
    config = serving.paths.config_file
    config.write_text(config.read_text().partition("[[rule]]")[0])
    done = serving.watcher("init", "--check", "--test")  # the receiver answers 404
    assert done.returncode == 1
    assert "terminal (webhook): NOT delivered" in done.stdout
    left = done.stdout.partition("Next:")[2]
    assert "watcher notify test" in left
    assert "watcher check" not in left


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("slak=env:URL", "did you mean `slack`?"),
        ("slack", "such as slack=env:SLACK_WEBHOOK_URL"),
        ("slack=xoxb-paste", "must be a web address"),
        ("ntfy=a b", "`topic` must be"),
    ],
)
def test_a_wrong_channel_is_refused_before_anything_is_written(empty_home, given, said):
    done = empty_home.watcher("init", "--channel", given)
    assert done.returncode == 64
    assert said in done.stderr
    assert "paste" not in done.stderr
    assert not empty_home.paths.config_file.exists()


def test_channels_can_be_given_as_options(empty_home):
    done = empty_home.watcher("init", "--channel", "slack=env:SLACK_URL", "--channel", "ntfy=my-topic-8731")
    assert done.returncode == 0, done.stderr
    config = tomllib.loads(empty_home.paths.config_file.read_text())
    assert config["channels"]["slack"] == {"type": "slack", "url": "env:SLACK_URL"}
    assert config["route"]["default"] == [*DESKTOP, "slack", "ntfy"]
    again = empty_home.watcher("init", "--channel", "ntfy=x")
    assert (again.returncode, "`watcher channels add ntfy`" in again.stderr) == (64, True)


@pytest.mark.parametrize("chosen", [True, False])
def test_the_plugin_goes_where_swiftbar_keeps_its_own(tmp_path, chosen):
    support, own = tmp_path / "Library" / "Application Support", tmp_path / "my plugins"
    for folder in (support / "xbar" / "plugins", support / "SwiftBar" / "Plugins", own):
        folder.mkdir(parents=True)
    result = CommandResult(exit_code=0, stdout=f"{own}\n") if chosen else CommandResult(exit_code=1)
    host = structs.replace(read_host_info(), home=tmp_path, platform="darwin", run_command=lambda _command: result)
    swiftbar = own if chosen else support / "SwiftBar" / "Plugins"
    assert find_menu_bars(host) == {"xbar": support / "xbar" / "plugins", "SwiftBar": swiftbar}
    assert (
        find_menu_bars(
            structs.replace(host, home=tmp_path / "elsewhere", run_command=lambda _: CommandResult(exit_code=1))
        )
        == {}
    )


def test_it_writes_for_the_owner_alone_with_the_schema_on_top(empty_home):
    empty_home.watcher("init")
    folder = empty_home.paths.config_dir
    assert written(empty_home) == sorted(FILES)
    assert all(has_mode(folder / name, 0o600) for name in FILES)
    assert has_mode(folder, 0o700)
    for name in FILES[:2]:
        first = (folder / name).read_text("utf-8").splitlines()[0]
        assert (folder / name).parent.joinpath(first.removeprefix("#:schema ")).resolve().is_file()
    assert empty_home.watcher("rules", "check").returncode == 0


def test_a_second_time_changes_nothing(empty_home):
    empty_home.watcher("init")
    folder = empty_home.paths.config_dir
    for name in FILES[:2]:
        (folder / name).write_text("# mine\n")
    before = {name: (folder / name).read_bytes() for name in FILES}
    done = empty_home.watcher("init")
    assert done.stdout.count("kept, it was there already") == 5
    assert {name: (folder / name).read_bytes() for name in FILES} == before


def test_a_schema_of_an_older_version_is_renewed(empty_home):
    empty_home.watcher("init")
    schema = empty_home.paths.config_dir / "watcher.schema.json"
    schema.write_text("{}")
    assert "renewed, it belongs to this program" in empty_home.watcher("init").stdout
    assert json.loads(schema.read_text("utf-8"))["title"]


def test_a_login_in_the_place_that_the_config_names_is_found(empty_home, tmp_path):
    elsewhere = tmp_path / "auth.json"
    login(empty_home).rename(elsewhere)
    empty_home.paths.config_dir.mkdir(parents=True)
    empty_home.paths.config_file.write_text(f"[providers.claude]\ncredentials = '{elsewhere}'\n")
    assert f"  Claude       login: OpenCode ({elsewhere})\n" in empty_home.watcher("init").stdout


def test_a_mistake_in_the_config_is_reported_first(empty_home):
    empty_home.paths.config_dir.mkdir(parents=True)
    empty_home.paths.config_file.write_text("[poll]\nevry = 1\n")
    done = empty_home.watcher("init")
    assert (done.returncode, done.stdout) == (78, "")
    assert "config.toml:2:1: unknown key `evry`; did you mean `every`?" in done.stderr


def test_a_folder_that_cannot_be_written_is_one_line(empty_home, tmp_path):
    (tmp_path / "file").touch()
    done = empty_home.watcher("init", WATCHER_CONFIG_DIR=str(tmp_path / "file"))
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.startswith(f"{tmp_path / 'file' / 'rules'}:1:1: cannot be read: Not a directory")


def run_in_terminal(home, *answers):
    """Run it on a terminal; each answer is typed after its question appears."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "watcher", "init"]
    with subprocess.Popen(
        argv, env={**home.env, "TERM": "dumb"}, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as running:
        os.close(theirs)
        seen = ""
        waiting = list(answers)
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            if not part:
                break
            seen += part.decode()
            if waiting and waiting[0][0] in seen:
                os.write(ours, waiting.pop(0)[1].encode() + b"\n")
    os.close(ours)
    assert not waiting
    return running.returncode, seen


@pytest.mark.slow  # a bus, a daemon and the command as a process
@pytest.mark.system
def test_on_a_terminal_enter_alone_ends_with_a_working_alert(serving, bus, daemon):  # noqa: F811 - fixtures
    recorder, programs, log = daemon(), serving.folder / "bin", serving.folder / "systemctl.log"
    programs.mkdir()
    (programs / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    (programs / "systemctl").chmod(0o700)
    (serving.folder / "home" / ".config" / "argos").mkdir(parents=True)
    config = serving.paths.config_file
    config.write_text(config.read_text().partition("[channels")[0])
    serving.env |= {**bus.env, "HOME": serving.env["HOME"], "PATH": f"{programs}:{serving.env['PATH']}"}
    code, seen = run_in_terminal(
        serving,
        ("Poll now, and show the readings? [Y/n]:", ""),
        ("Send a test notification? [Y/n]:", ""),
        ("at every login? [Y/n]:", ""),
        ("by Argos? [Y/n]:", ""),
    )
    assert code == 0, seen
    assert seen.rstrip().endswith("It works. `watcher status` shows the readings, `watcher dashboard` a live page.")
    assert "Test message of the AI usage watcher" in [call[3] for call in recorder.notified]
    assert "restart ai-usage-watcher.service" in log.read_text()


def test_on_a_terminal_each_step_can_be_refused(empty_home):
    code, _ = run_in_terminal(
        empty_home, ("Enter: none", ""), *(() if NO_DESKTOP else NO_TEST), ("at every login?", "n")
    )
    assert code == 0
    config = (empty_home.paths.config_dir / "config.toml").read_text()
    assert (config == CONFIG_TEMPLATE) is not bool(NO_DESKTOP)


def test_a_requested_channel_is_used_and_its_address_is_the_owner_s_alone(empty_home):
    address = "https://hooks.slack.com/services/T0/B0/verysecret"
    code, seen = run_in_terminal(
        empty_home, ("Enter: none", "slack"), ("incoming webhook", address), *NO_TEST, ("at every login?", "n")
    )
    folder = empty_home.paths.config_dir
    assert code == 0
    assert "verysecret" not in seen
    assert has_mode(folder / "config.toml", 0o600)
    shown = tomllib.loads(empty_home.watcher("config", "show").stdout)
    assert shown["channels"]["slack"] == {"type": "slack", "url": "***"}
    assert shown["route"]["default"] == [*DESKTOP, "slack"]


def test_a_topic_is_written_into_the_config(empty_home):
    run_in_terminal(empty_home, ("Enter: none", "ntfy"), ("Topic", "my-topic-8731"), *NO_TEST, ("at every login?", "n"))
    config = tomllib.loads((empty_home.paths.config_dir / "config.toml").read_text("utf-8"))
    assert config["channels"]["ntfy"] == {"type": "ntfy", "topic": "my-topic-8731"}
    assert written(empty_home) == sorted(FILES)


def test_a_wrong_paste_is_asked_again_with_why_and_enter_leaves_it_out(empty_home):
    good = "https://hooks.slack.com/services/T0/B0/verysecret"
    code, seen = run_in_terminal(
        empty_home,
        ("Enter: none", "slak"),
        ("did you mean `slack`?", "slack, discord"),
        ("slack: Address of its incoming webhook", "xoxb-paste"),
        ("Enter to leave slack out\r\nslack: Address of its incoming webhook (not shown):", good),
        ("discord: Address of its incoming webhook", good),
        ("Enter to leave discord out\r\ndiscord: Address of its incoming webhook (not shown):", ""),
        *NO_TEST,
        ("at every login?", "n"),
    )
    assert code == 0
    assert "`url` must be a web address that begins with https://" in seen
    assert "discord is left out" in seen
    assert "xoxb-paste" not in seen
    config = tomllib.loads((empty_home.paths.config_dir / "config.toml").read_text("utf-8"))
    assert set(config["channels"]) == {*DESKTOP, "slack"}


def test_several_channels_are_taken_at_once(empty_home):
    address = "https://hooks.slack.com/services/T0/B0/verysecret"
    run_in_terminal(
        empty_home,
        ("Enter: none", "slack, ntfy"),
        ("slack: Address", address),
        ("ntfy: Topic", "my-topic-8731"),
        *NO_TEST,
        ("at every login?", "n"),
    )
    shown = tomllib.loads(empty_home.watcher("config", "show").stdout)
    assert shown["route"]["default"] == [*DESKTOP, "slack", "ntfy"]
    assert set(shown["channels"]) == {*DESKTOP, "slack", "ntfy"}


def test_no_channel_is_offered_where_a_config_is_there(empty_home):
    empty_home.watcher("init")
    _, seen = run_in_terminal(empty_home, *NO_TEST, ("at every login?", "n"))
    assert "Enter: none" not in seen
