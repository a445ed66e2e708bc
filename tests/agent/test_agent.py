import plistlib
from pathlib import Path

import pytest
from msgspec import structs

from tests.agent import fake_programs
from tests.agent.items import make_item
from watcher.agent import AgentError, Run, RunProgram, Step, WaitUntilGone, launchd, perform_steps, systemd
from watcher.agent import windows as task_scheduler
from watcher.agent.launchd import LABEL
from watcher.agent.managers import MANAGERS, get_manager
from watcher.agent.systemd import UNIT, has_desktop
from watcher.core.model import Command, CommandResult
from watcher.errors import UsageError
from watcher.system.process import run_command

pytestmark = pytest.mark.posix  # the stand-ins are shell scripts, and the homes those of Linux and macOS

SCRIPTS = {
    "darwin": ("launchctl", fake_programs.LAUNCHCTL),
    "linux": ("systemctl", fake_programs.SYSTEMCTL),
    "win32": ("schtasks", fake_programs.SCHTASKS),
}


class Machine:
    """A home, and a stand-in for the system's program."""

    def __init__(self, folder: Path, platform: str) -> None:
        self.home, self.state = folder / "home", folder / "system"
        self.home.mkdir()
        self.state.mkdir()
        name, script = SCRIPTS[platform]
        program = fake_programs.put(self.state, name, script)
        self.manager = MANAGERS[platform]
        self.waits: list[object] = []
        env = {"USERDOMAIN": "BOX", "USERNAME": "me"} if platform == "win32" else {}
        here = make_item(platform, self.home, env=env)
        session = {
            "PATH": f"{program.parent}:/usr/bin:/bin",
            "XDG_CONFIG_HOME": str(here.config_home),
        }
        self.item = structs.replace(here, session_env=session)

    def install(self) -> None:
        self._perform(self.manager.plan_install(self.item))

    def uninstall(self) -> None:
        self._perform(self.manager.plan_uninstall(self.item))

    def _perform(self, steps: list[Step]) -> None:
        perform_steps(steps, run=run_command, wait=self.waits.append, env=self.item.session_env)

    def files(self) -> set[str]:
        return {str(path.relative_to(self.home)) for path in self.home.rglob("*") if not path.is_dir()}

    def calls(self) -> list[str]:
        return fake_programs.calls(self.state)


@pytest.fixture(params=sorted(SCRIPTS))
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return Machine(tmp_path, request.param)


@pytest.fixture
def mac(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "darwin")


@pytest.fixture
def linux(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "linux")


@pytest.fixture
def windows(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "win32")


def test_before_installing_nothing_is_installed(machine: Machine) -> None:
    state = machine.manager.get_state(machine.item, run_command)
    assert (state.installed, state.current) == (False, False)
    assert not state.running


def test_after_installing_it_is_there_current_and_not_known_to_be_dead(machine: Machine) -> None:
    machine.install()
    state = machine.manager.get_state(machine.item, run_command)
    assert (state.installed, state.current) == (True, True)
    assert state.running in {True, None}
    assert machine.manager.get_path(machine.item).read_bytes() == machine.manager.render(machine.item)


def test_installing_twice_is_installing_once(machine: Machine) -> None:
    machine.install()
    files = machine.files()
    machine.install()
    assert machine.files() == files
    assert machine.manager.get_state(machine.item, run_command).current


def test_an_upgrade_replaces_the_older_one_in_place(machine: Machine) -> None:
    machine.install()
    machine.item = structs.replace(machine.item, argv=("/opt/newer/bin/python", "-P", "-m", "watcher", "run"))
    assert not machine.manager.get_state(machine.item, run_command).current
    machine.install()
    assert machine.manager.get_state(machine.item, run_command).current
    loaded = next(machine.state / name for name in ("loaded", "running", "task") if (machine.state / name).exists())
    registered = machine.state / "task" if (machine.state / "task").exists() else loaded
    assert registered.read_bytes() == machine.manager.render(machine.item)


def test_uninstalling_leaves_nothing(machine: Machine) -> None:
    machine.install()
    machine.uninstall()
    assert machine.files() == set()
    assert not machine.manager.get_state(machine.item, run_command).installed
    assert not {"loaded", "running", "task"} & {path.name for path in machine.state.iterdir()}


def test_uninstalling_what_is_not_there_is_no_error(machine: Machine) -> None:
    machine.uninstall()
    assert machine.files() == set()


def test_the_description_of_a_plan_names_every_file_and_program_and_does_nothing(machine: Machine) -> None:
    lines = [str(step) for step in machine.manager.plan_install(machine.item)]
    assert any(str(machine.manager.get_path(machine.item)) in line for line in lines)
    assert any(
        SCRIPTS[next(key for key, value in MANAGERS.items() if value is machine.manager)][0] in line for line in lines
    )
    assert machine.files() == set()
    assert machine.calls() == []


def test_every_manager_names_the_logs(machine: Machine) -> None:
    assert str(machine.home / "state" / "watcher.log") in machine.manager.describe_logs(machine.item)


# --- launchd ---------------------------------------------------------------------------------------------------------


def test_the_old_job_is_awaited_before_the_new_one_is_put_in(mac: Machine) -> None:
    mac.install()
    mac.waits.clear()
    mac.install()
    again = mac.calls()[-7:]
    assert [call.split()[0] for call in again] == ["bootout", "print", "print", "print", "print", "enable", "bootstrap"]
    assert len(mac.waits) == 3


def test_a_bootstrap_that_comes_too_soon_is_tried_once_more(mac: Machine) -> None:
    (mac.state / "refuse").touch()
    mac.install()
    assert mac.manager.get_state(mac.item, run_command).running
    assert [call.split()[0] for call in mac.calls()][:5] == ["bootout", "print", "enable", "bootstrap", "bootstrap"]


def test_a_job_that_never_goes_is_an_error_with_a_hint(mac: Machine) -> None:
    mac.install()
    (mac.state / "slowness").write_text("1000")
    with pytest.raises(AgentError) as caught:
        mac.install()
    job = f"gui/501/{LABEL}"
    assert str(caught.value) == (
        f"launchctl print {job}: the old job is still there after 10 s; log out and in, then try again"
    )


def test_the_property_list_is_what_launchd_wants(mac: Machine) -> None:
    plist = plistlib.loads(launchd.render(mac.item))
    assert plist["Label"] == launchd.get_path(mac.item).stem
    assert plist["KeepAlive"] == {"SuccessfulExit": False}
    assert (plist["RunAtLoad"], plist["ThrottleInterval"]) == (True, 30)
    assert (plist["ProcessType"], plist["LimitLoadToSessionType"]) == ("Background", "Aqua")
    assert "/opt/homebrew/bin" in plist["EnvironmentVariables"]["PATH"].split(":")
    for path in (plist["ProgramArguments"][0], plist["StandardOutPath"], plist["StandardErrorPath"]):
        assert path.startswith("/")
        assert "~" not in path


def test_the_log_folder_is_made_because_launchd_does_not(mac: Machine) -> None:
    mac.install()
    plist = plistlib.loads(launchd.render(mac.item))
    assert Path(plist["StandardOutPath"]).parent.is_dir()


def test_a_loaded_job_shows_its_process(mac: Machine) -> None:
    mac.install()
    assert mac.manager.get_state(mac.item, run_command).detail == "running, pid 4711"


# --- systemd ---------------------------------------------------------------------------------------------------------


def test_moving_to_a_machine_without_a_desktop_moves_the_link(linux: Machine) -> None:
    linux.install()
    assert f".config/systemd/user/graphical-session.target.wants/{UNIT}" in linux.files()
    linux.item = structs.replace(linux.item, headless=True)
    linux.install()
    wants = {path for path in linux.files() if ".wants/" in path}
    assert wants == {f".config/systemd/user/default.target.wants/{UNIT}"}


def test_without_a_desktop_the_unit_does_not_wait_for_one(linux: Machine) -> None:
    assert b"graphical" not in systemd.render(structs.replace(linux.item, headless=True))


def test_a_desktop_is_what_systemd_calls_one(linux: Machine) -> None:
    assert not has_desktop(run_command, linux.item)
    (linux.state / "desktop").touch()
    assert has_desktop(run_command, linux.item)


def test_a_session_without_a_manager_is_an_error_with_a_hint(linux: Machine) -> None:
    (linux.state / "no-bus").touch()
    with pytest.raises(AgentError) as caught:
        linux.install()
    assert str(caught.value) == (
        "systemctl --user daemon-reload: exit code 1 (Failed to connect to bus: No medium found); this needs a systemd"
        " user session: log in directly, or use `watcher run`, or `watcher check` from cron"
    )


def test_uninstalling_without_a_manager_still_leaves_nothing(linux: Machine) -> None:
    linux.install()
    (linux.state / "no-bus").touch()
    linux.uninstall()
    assert linux.files() == set()


def test_a_missing_systemctl_is_an_error_with_a_hint(linux: Machine) -> None:
    (linux.state / "bin" / "systemctl").unlink()
    linux.item = structs.replace(linux.item, session_env={**linux.item.session_env, "PATH": str(linux.state / "bin")})
    with pytest.raises(AgentError, match=r"cannot start 'systemctl'.*; this needs a systemd user session"):
        linux.install()


def test_special_letters_in_paths_are_not_specifiers_or_variables(linux: Machine) -> None:
    odd = structs.replace(
        linux.item, argv=("/opt/my tools/100%/$HOME/py", "-m", "watcher"), env={"CODEX_HOME": '/a "b"/%h\\c'}
    )
    unit = systemd.render(odd).decode()
    assert 'ExecStart="/opt/my tools/100%%/$$HOME/py" -m watcher\n' in unit
    assert 'Environment="CODEX_HOME=/a \\"b\\"/%%h\\\\c"\n' in unit


# --- Windows ---------------------------------------------------------------------------------------------------------


def test_a_forbidden_task_is_an_error_with_a_hint(windows: Machine) -> None:
    (windows.state / "forbidden").touch()
    with pytest.raises(AgentError, match=r"Access is denied\.\); tasks may be forbidden here; a shortcut"):
        windows.install()


def test_the_task_starts_without_a_console_and_for_this_user_only() -> None:
    here = make_item(
        "win32",
        Path("/home/me"),
        executable=r"C:\tools\Scripts\python.exe",
        env={"USERDOMAIN": "BOX", "USERNAME": "me"},
    )
    assert here.user == r"BOX\me"
    text = task_scheduler.render(here).decode("utf-16")
    assert text.count(r"<UserId>BOX\me</UserId>") == 2


def test_variables_of_the_shell_must_be_made_lasting_on_windows(windows: Machine) -> None:
    kept = structs.replace(windows.item, env={"CODEX_HOME": "D:\\codex"})
    assert task_scheduler.describe_next_steps(kept) == 'so that it finds the same files: setx CODEX_HOME "D:\\codex"'
    assert task_scheduler.describe_next_steps(windows.item) == ""


# --- the item --------------------------------------------------------------------------------------------------------


def test_paths_of_this_shell_become_absolute_and_secrets_stay_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    env = {"WATCHER_CONFIG_DIR": "conf", "CODEX_HOME": "/srv/codex", "SLACK_WEBHOOK_URL": "https://hooks.example/x"}
    here = make_item("linux", Path("/home/me"), env=env)
    assert here.env == {"WATCHER_CONFIG_DIR": str(tmp_path / "conf"), "CODEX_HOME": "/srv/codex"}
    for made in MANAGERS.values():
        assert b"hooks.example" not in made.render(here)


def test_the_daemon_is_started_by_the_python_that_installs_it() -> None:
    here = make_item("darwin", Path("/Users/me"), executable="/opt/venv/bin/python3")
    assert here.argv == ("/opt/venv/bin/python3", "-OO", "-P", "-m", "watcher", "run")


def test_an_unknown_system_is_an_error_with_a_hint() -> None:
    with pytest.raises(UsageError) as caught:
        get_manager("freebsd14")
    assert str(caught.value) == (
        "no login item for freebsd14 (only darwin, linux, win32); start `watcher run` from your session's autostart"
    )


# --- steps -----------------------------------------------------------------------------------------------------------


def make_run(*codes: int | None) -> tuple[Run, list[Command]]:
    asked: list[Command] = []
    left = list(codes)

    def fake(command: Command) -> CommandResult:
        asked.append(command)
        return CommandResult(exit_code=left.pop(0), stderr="no such thing\n")

    return fake, asked


def test_a_failing_program_stops_the_plan_with_its_own_words() -> None:
    fake, asked = make_run(7)
    with pytest.raises(AgentError, match=r"^frob 'a b': exit code 7 \(no such thing\); push harder$"):
        perform_steps(
            [RunProgram(("frob", "a b"), hint="push harder"), RunProgram(("never",))], run=fake, wait=print, env={}
        )
    assert len(asked) == 1


def test_a_program_that_may_fail_does_not_stop_the_plan() -> None:
    fake, asked = make_run(7, 0)
    perform_steps([RunProgram(("frob",), may_fail=True), RunProgram(("then",))], run=fake, wait=print, env={"A": "b"})
    assert [command.argv for command in asked] == [("frob",), ("then",)]
    assert asked[0].env == {"A": "b"}


def test_waiting_ends_with_the_first_failure() -> None:
    fake, asked = make_run(0, 0, 113)
    waits: list[object] = []
    perform_steps([WaitUntilGone(("look",), hint="")], run=fake, wait=waits.append, env={})
    assert (len(asked), len(waits)) == (3, 2)


def test_a_folder_that_cannot_be_written_is_named(mac: Machine) -> None:
    (mac.home / "Library").mkdir()
    (mac.home / "Library" / "LaunchAgents").write_text("a file in the way")
    with pytest.raises(AgentError, match=r"cannot write .*LaunchAgents/.*plist: .*; check the folder's permissions"):
        mac.install()
