"""`watcher agent` on Linux, with a stand-in for systemctl first in the PATH. Only the first test starts a process."""

import os
import subprocess
import sys
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from tests.agent import fake_programs
from tests.world import has_mode
from watcher.agent.systemd import UNIT
from watcher.cli import app
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import clock
from watcher.system.lock import Lock

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")


class User:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys
        self.home, self.system = folder / "home", folder / "system"
        self.home.mkdir()
        self.system.mkdir()
        self.bin = fake_programs.put(self.system, "systemctl", fake_programs.SYSTEMCTL).parent
        self.state_dir = self.home / ".local" / "state" / "ai-usage-watcher"
        self.config = self.home / ".config" / "ai-usage-watcher" / "config.toml"
        self.unit = self.home / ".config" / "systemd" / "user" / UNIT

    def env(self, **more: str) -> dict[str, str]:
        path = f"{self.bin}:/usr/bin:/bin"
        return {"HOME": str(self.home), "PATH": path, "XDG_CONFIG_HOME": str(self.home / ".config"), **more}

    def in_a_process(self, *words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "watcher", "agent", *words]
        return subprocess.run(command, capture_output=True, text=True, env=self.env(), check=False)

    def __call__(self, *words: str, command: str = "agent", **env: str) -> "subprocess.CompletedProcess[str]":
        self.capsys.readouterr()
        with self.monkeypatch.context() as patch:
            for name in list(os.environ):
                patch.delenv(name)
            for name, value in self.env(**env).items():
                patch.setenv(name, value)
            code = app.run([command, *words])
        out, err = self.capsys.readouterr()
        return subprocess.CompletedProcess(words, code, out, err)

    def write_config(self, text: str) -> Path:
        self.config.parent.mkdir(parents=True, mode=0o700)
        self.config.write_text(text)
        self.config.chmod(0o600)
        return self.config

    def files(self) -> list[Path]:
        return [path for path in self.home.rglob("*") if not path.is_dir()]

    def beats(self, word: str, ago: timedelta) -> None:
        now = clock.utc_now()
        store = Store(self.state_dir / DATABASE_FILE_NAME, now=now)
        store.run_transaction(lambda: store.facts.save("heartbeat", word, now - ago), now=now)
        store.close()


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> User:
    return User(tmp_path, monkeypatch, capsys)


def test_installing_prints_the_file_and_the_logs(user: User) -> None:
    done = user.in_a_process("install")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"Installed for systemd and started: {user.unit}",
        f"logs: {user.state_dir / 'watcher.log'}",
        f"      journalctl --user -u {UNIT}",
        "to have it run without anybody logged in: loginctl enable-linger",
    ]
    assert f"ExecStart={sys.executable} -OO -P -m watcher run" in user.unit.read_text("utf-8")


def test_the_target_follows_the_desktop(user: User) -> None:
    assert "WantedBy=default.target" in user("print").stdout
    (user.system / "desktop").touch()
    assert "WantedBy=graphical-session.target" in user("print").stdout


def test_a_dry_run_prints_the_steps_and_performs_none(user: User) -> None:
    done = user("install", "--dry-run")
    assert done.stdout.splitlines()[:4] == [
        f"write {user.unit}",
        "run systemctl --user daemon-reload",
        f"run systemctl --user reenable {UNIT}",
        f"run systemctl --user restart {UNIT}",
    ]
    assert user("uninstall", "--dry-run").stdout.startswith(f"run systemctl --user disable --now {UNIT}\n")
    assert user.files() == []
    assert [call for call in fake_programs.calls(user.system) if "is-active" not in call] == []


def test_what_is_printed_is_what_is_installed(user: User) -> None:
    printed = user("print").stdout
    user("install")
    assert user.unit.read_text("utf-8") == printed


def test_status_follows_the_life_of_the_item(user: User) -> None:
    before = user("status")
    assert before.returncode == 1
    assert before.stdout.startswith("systemd: not installed: run `watcher agent install`\n")
    user("install")
    user.beats("running", timedelta(minutes=3))
    now = user("status")
    assert now.returncode == 0
    assert now.stdout.splitlines()[:4] == [
        "systemd: installed",
        "state: active (running), enabled, pid 4711",
        "heartbeat: 3 min ago",
        f"file: {user.unit}",
    ]
    user.unit.write_text(user.unit.read_text("utf-8").replace("RestartSec=5", "RestartSec=9"))
    assert "installed by another version or environment: run `watcher agent install`" in user("status").stdout
    user("uninstall")
    assert user("status").returncode == 1


def test_uninstalling_leaves_the_readings_and_nothing_else(user: User) -> None:
    user.beats("stopped", timedelta(hours=3))
    kept = set(user.files())
    user("install")
    done = user("uninstall")
    assert done.stdout == (
        f"Uninstalled from systemd. Your config stays in {user.home / '.config' / 'ai-usage-watcher'},"
        f" the readings in {user.state_dir}\n"
    )
    assert set(user.files()) == kept
    assert "heartbeat: 3 h ago" in user("status").stdout


def test_a_watcher_in_the_foreground_is_mentioned(user: User) -> None:
    lock = Lock(user.state_dir)
    assert lock.acquire()
    try:
        first = user("install").stdout.splitlines()[0]
    finally:
        lock.release()
    assert first == f"A watcher runs in the foreground (process {os.getpid()}): end it, and the login item takes over."


def test_secrets_from_the_environment_are_pointed_out_because_a_login_item_lacks_them(user: User) -> None:
    config = user.home / ".config" / "ai-usage-watcher" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('# url = "env:IN_A_COMMENT"\n[channels.team]\ntype = "slack"\nurl = "env:TEAM_HOOK"\n')
    done = user("install", TEAM_HOOK="https://hooks.example/secret")
    assert "IN_A_COMMENT" not in done.stdout
    assert "note: the config takes TEAM_HOOK from the environment" in done.stdout
    assert "hooks.example" not in done.stdout + user.unit.read_text("utf-8")


def test_a_failure_is_one_line_with_a_hint_and_exit_code_1(user: User) -> None:
    (user.system / "no-bus").touch()
    done = user("install")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "systemctl --user daemon-reload: exit code 1 (Failed to connect to bus: No medium found); this needs a systemd"
        " user session: log in directly, or use `watcher run`, or `watcher check` from cron\n"
    )


def test_paths_set_in_this_shell_travel_along(user: User) -> None:
    state = user.home / "elsewhere"
    done = user("install", WATCHER_STATE_DIR=str(state))
    assert f'Environment="WATCHER_STATE_DIR={state}"' in user.unit.read_text("utf-8")
    assert f"logs: {state / 'watcher.log'}" in done.stdout


# --- what a login item does not see ---------------------------------------------------------------------------------


SHELL = {
    "HTTPS_PROXY": "http://me:hunter2@proxy.example:3128",
    "no_proxy": "intra.example",
    "REQUESTS_CA_BUNDLE": "/etc/corp.pem",
    "CLAUDE_CODE_OAUTH_TOKEN": "hunter2",
}


@pytest.mark.parametrize("words", [("install",), ("install", "--dry-run")])
def test_installing_names_what_the_shell_has_and_the_login_item_will_miss(user: User, words: tuple[str, ...]) -> None:
    lines = user(*words, **SHELL).stdout.splitlines()
    unseen = "and a login item does not see the shell's variables"
    network, login = lines[-2:]
    assert network.startswith(f"note: this shell has HTTPS_PROXY, no_proxy, REQUESTS_CA_BUNDLE, {unseen}; `watcher ag")
    assert login.startswith(f"note: this shell has CLAUDE_CODE_OAUTH_TOKEN, {unseen}; sign in with the tool itself")
    assert "hunter2" not in user("print", **SHELL).stdout + "".join(lines)


def test_nothing_is_named_where_the_config_has_it(user: User) -> None:
    user.write_config('[network]\nproxy = "http://proxy:1"\nno_proxy = ""\nca_bundle = "system"\n')
    shell = {name: value for name, value in SHELL.items() if name != "CLAUDE_CODE_OAUTH_TOKEN"}
    assert "note:" not in user("install", "--dry-run", **shell).stdout


def test_on_request_the_network_of_the_shell_is_written_into_the_config(user: User) -> None:
    config = user.write_config('[quiet]\nhours = "22:00-08:00"\n')
    config.chmod(0o644)
    planned = user("install", "--network", "--dry-run", **SHELL)
    assert planned.stdout.splitlines()[0] == f"write proxy, no_proxy, ca_bundle into [network] of {config}"
    assert config.read_text("utf-8") == '[quiet]\nhours = "22:00-08:00"\n'
    done = user("install", "--network", **SHELL)
    assert done.stdout.splitlines()[0] == f"Wrote proxy, no_proxy, ca_bundle into [network] of {config}"
    assert "hunter2" not in done.stdout
    written = tomllib.loads(config.read_text("utf-8"))
    assert written["quiet"] == {"hours": "22:00-08:00"}
    assert written["network"] == {
        "proxy": SHELL["HTTPS_PROXY"],
        "no_proxy": "intra.example",
        "ca_bundle": "/etc/corp.pem",
    }
    assert has_mode(config, 0o600)  # it holds a password
    again = user("install", "--network", **SHELL)
    assert again.stdout.startswith(f"{config} has a [network] table already")
    assert tomllib.loads(config.read_text("utf-8")) == written


def test_a_table_that_exists_is_left_alone_and_what_it_lacks_is_named(user: User) -> None:
    config = user.write_config('[network]\nproxy = "http://mine:1"\n')
    done = user("install", "--network", **SHELL)
    first = f"{config} has a [network] table already, which stays as it is; this shell sets proxy, no_proxy, ca_bundle."
    assert done.stdout.splitlines()[0] == first
    assert config.read_text("utf-8") == '[network]\nproxy = "http://mine:1"\n'


def test_without_a_config_one_is_made_with_the_network_alone(user: User) -> None:
    done = user("install", "--network", HTTPS_PROXY="proxy.example:3128")
    config = user.config
    assert done.stdout.splitlines()[0] == f"Wrote proxy into [network] of {config}"
    assert tomllib.loads(config.read_text("utf-8")) == {"network": {"proxy": "http://proxy.example:3128"}}
    assert has_mode(config, 0o600)


def test_without_a_network_of_its_own_nothing_is_written(user: User) -> None:
    done = user("install", "--network")
    assert done.stdout.startswith("This shell has neither a proxy nor certificates of its own")
    assert not user.config.exists()


def test_a_config_with_a_mistake_is_not_added_to(user: User) -> None:
    config = user.write_config("[quiet\n")
    done = user("install", "--network", **SHELL)
    assert done.returncode == 78
    assert config.read_text("utf-8") == "[quiet\n"


def test_a_path_to_further_certificates_goes_along(user: User) -> None:
    assert (
        'Environment="NODE_EXTRA_CA_CERTS=/etc/extra.pem"' in user("print", NODE_EXTRA_CA_CERTS="/etc/extra.pem").stdout
    )


def test_a_failed_first_installation_leaves_nothing_and_status_says_so(user: User) -> None:
    (user.system / "no-bus").touch()
    assert user("install").returncode == 1
    assert user.files() == []
    assert user("status").stdout.startswith("systemd: not installed")


def test_a_failed_renewal_removes_nothing(user: User) -> None:
    user("install")
    (user.system / "no-bus").touch()
    assert user("install").returncode == 1
    assert user.unit.exists()


def test_uninstalling_what_is_not_there_says_so(user: User) -> None:
    assert user("uninstall").stdout == "Nothing was installed for systemd.\n"


# --- `watcher uninstall` --------------------------------------------------------------------------------------------


def user_folders(user: User) -> set[Path]:
    """A config, a rule, readings and the login item; returns the folders of the first three."""
    user.write_config("")
    (user.config.parent / "rules").mkdir()
    (user.config.parent / "rules" / "mine.toml").write_text("")
    user.beats("stopped", timedelta(hours=3))
    user("install")
    return {user.config.parent, user.state_dir}


def test_it_removes_the_login_item_alone_and_says_what_stays(user: User) -> None:
    folders = user_folders(user)
    done = user("--yes", command="uninstall")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"  remove {user.unit}\n" in done.stdout
    assert not user.unit.exists()
    assert all(str(folder) in done.stdout and folder.exists() for folder in folders)
    assert "pip uninstall ai-usage-watcher" in done.stdout


def test_the_plugin_of_a_menu_bar_goes_with_the_login_item_and_another_file_stays(user: User) -> None:
    argos = user.home / ".config" / "argos"
    argos.mkdir(parents=True)
    plugin = argos / "usage.1m.sh"
    assert user("--menu-bar", "--no-login-item", command="init").returncode == 0
    assert plugin.exists()
    done = user("--yes", command="uninstall")
    assert f"  remove {plugin}\nRemoved.\n" in done.stdout
    assert not plugin.exists()
    plugin.write_text("#!/bin/sh\n")
    assert "Nothing to remove" in user("--yes", command="uninstall").stdout
    assert plugin.exists()


def test_a_purge_removes_every_file_that_the_program_wrote(user: User) -> None:
    user_folders(user)
    assert user("--purge", "--yes", command="uninstall").returncode == 0
    assert user.files() == []
    again = user("--purge", "--yes", command="uninstall")
    assert (again.returncode, again.stdout.splitlines()[0]) == (
        0,
        "Nothing to remove: no login item for systemd and no files.",
    )


def test_a_purge_leaves_files_that_the_program_did_not_write(user: User) -> None:
    user_folders(user)
    notes = user.config.parent / "notes.txt"
    notes.touch()
    done = user("--purge", "--yes", command="uninstall")
    assert user.files() == [notes]
    assert f"{notes.parent} stays with what the program did not write." in done.stdout


def test_without_a_terminal_to_ask_at_nothing_is_removed(user: User) -> None:
    user_folders(user)
    before = user.files()
    done = user("--purge", command="uninstall")
    assert done.returncode == 64
    assert "add --yes" in done.stderr
    assert user.files() == before


@pytest.mark.parametrize(("answer", "code"), [(False, 1), (True, 0)])
def test_at_a_terminal_it_asks(user: User, monkeypatch: pytest.MonkeyPatch, answer: bool, code: int) -> None:  # noqa: FBT001
    user_folders(user)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("click.confirm", lambda _question: answer)
    assert user(command="uninstall").returncode == code
    assert user.unit.exists() is not answer


def test_a_purge_refuses_while_a_watcher_runs(user: User) -> None:
    user_folders(user)
    lock = Lock(user.state_dir)
    assert lock.acquire()
    try:
        done = user("--purge", "--yes", command="uninstall")
    finally:
        lock.release()
    assert done.returncode == 1
    assert f"a watcher runs (process {os.getpid()})" in done.stderr
    assert user.config.exists()


# --- `watcher logs` -------------------------------------------------------------------------------------------------


def test_logs_prints_the_end_of_the_log_and_says_where_else(user: User) -> None:
    user.state_dir.mkdir(parents=True)
    (user.state_dir / "watcher.log").write_text("one\ntwo\nthree\n")
    done = user("-n", "2", command="logs")
    assert (done.returncode, done.stdout) == (0, "two\nthree\n")
    assert done.stderr == f"see also: journalctl --user -u {UNIT}\n"


def test_logs_without_a_log_say_who_writes_it(user: User) -> None:
    done = user(command="logs")
    assert (done.returncode, done.stdout) == (1, "")
    assert "`watcher agent install`" in done.stderr
