"""The backends that are programs: their exact arguments, and runs against fake programs that record what they get."""

import base64
import json
import os
import stat
import sys
from datetime import UTC, datetime

import pytest

from tests.notifiers.conftest import child_path, clean_message
from tests.notifiers.desktop import samples
from watcher.core.model import Command, CommandResult, Severity
from watcher.notifiers.base import count_utf16_units
from watcher.notifiers.desktop import BACKENDS, get_backends, linux, macos, plyer, try_backends, windows
from watcher.system.process import run_command

NOW = datetime(2026, 1, 5, 14, 20, tzinfo=UTC)

HOSTILE = (
    '"; do shell script "touch /tmp/x',
    "$(touch /tmp/x)",
    "`id`",
    "' & calc & '",
    "</text><image src='x'/>",
    "%PATH% $env:USERNAME",
    "-help",
    "\\",
    '"',
    "[1]",
)

RECORDER = """#!{python}
import json, os, sys
seen = {{"argv": sys.argv[1:], "stdin": sys.stdin.read(), "env": {{k: v for k, v in os.environ.items()}}}}
with open({output!r}, "a") as output:
    output.write(json.dumps(seen) + "\\n")
print({stdout!r})
sys.exit({code})
"""


def message(**changes):
    return clean_message(samples.message(**changes))


class FakePrograms:
    """A folder of programs that record, alone on the PATH."""

    def __init__(self, folder):
        self._folder = folder
        self._output = folder / "seen.jsonl"

    def add(self, name, *, stdout="", code=0):
        path = self._folder / name
        path.write_text(RECORDER.format(python=sys.executable, output=str(self._output), stdout=stdout, code=code))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def run(self, command):
        env = {**command.env, "PATH": str(self._folder)}
        return run_command(Command(argv=command.argv, stdin=command.stdin, env=env, timeout_s=command.timeout_s))

    def seen(self):
        return (
            [json.loads(line) for line in self._output.read_text("utf-8").splitlines()] if self._output.exists() else []
        )


@pytest.fixture
def programs(tmp_path):
    return FakePrograms(tmp_path)


def by(platform, sent, there, env=None):
    programs = [backend for backend in get_backends(platform, {}) if backend.name not in {"D-Bus", "plyer"}]
    return try_backends(programs, sent, there.run, env or {})


# --- macOS ------------------------------------------------------------------------------------------------------------


def test_the_arguments_of_terminal_notifier_are_exact():
    assert macos.build_terminal_notifier_command(message()).argv == (
        "terminal-notifier",
        *("-title", "Claude 5-hour window at 82 %"),
        *("-message", "resets in 1 h 40 min (16:00)"),
        *("-group", "claude-session|claude.five_hour"),
        *("-open", "https://claude.ai/settings/usage"),
    )


def test_the_arguments_of_osascript_are_exact():
    assert macos.build_osascript_command(message()).argv == (
        "osascript",
        *("-e", "on run argv"),
        *("-e", "display notification (item 2 of argv) with title (item 1 of argv)"),
        *("-e", "end run"),
        "--",
        "Claude 5-hour window at 82 %",
        "resets in 1 h 40 min (16:00)",
    )


@pytest.mark.posix
def test_a_new_terminal_notifier_is_tried_first_with_an_unknown_result(programs):
    programs.add("terminal-notifier", stdout="terminal-notifier 3.0.0.")
    programs.add("osascript")
    outcome = by("darwin", message(), programs)
    assert (outcome.delivered, outcome.accepted) == (None, True)
    assert outcome.detail == (
        "terminal-notifier: handed to macOS, which does not say whether it was shown; "
        "if not, see System Settings, Notifications"
    )
    assert [seen["argv"][0] for seen in programs.seen()] == ["-version", "-title"]


@pytest.mark.posix
@pytest.mark.parametrize(("version", "code"), [("terminal-notifier 2.0.0.", 0), ("", 0), ("3.0.0", 1)])
def test_an_old_or_broken_terminal_notifier_is_passed_over(programs, version, code):
    programs.add("terminal-notifier", stdout=version, code=code)
    programs.add("osascript")
    outcome = by("darwin", message(), programs)
    assert outcome.detail.startswith("osascript: handed to macOS")
    assert (outcome.delivered, outcome.accepted) == (None, True)


@pytest.mark.posix
def test_without_either_every_reason_is_in_the_outcome(programs):
    programs.add("osascript", code=1)
    outcome = by("darwin", message(), programs)
    assert outcome.delivered is False
    assert outcome.detail == (
        "terminal-notifier: cannot start 'terminal-notifier': No such file or directory; osascript: exit code 1"
    )


@pytest.mark.posix
@pytest.mark.parametrize("text", HOSTILE)
def test_on_macos_the_text_arrives_as_one_argument_and_never_in_the_script(programs, text):
    programs.add("osascript")
    by("darwin", message(title=text, body=text), programs)
    [seen] = programs.seen()
    assert seen["argv"][-3:] == ["--", text, text]
    assert text not in seen["argv"][1:6:2]
    programs.add("terminal-notifier", stdout="terminal-notifier 3.1")
    by("darwin", message(title=text, body=text), programs)
    argv = programs.seen()[-1]["argv"]
    for name in ("-title", "-message"):
        given = argv[argv.index(name) + 1]
        assert given.removeprefix("\u200b") == text
        assert given[0] not in '-[({<"\\'


# --- Windows ----------------------------------------------------------------------------------------------------------

WINDOWS_ENV = {"SYSTEMROOT": r"C:\Windows"}


def test_the_script_is_a_constant_in_encoded_form():
    command = windows.build_command(message(), WINDOWS_ENV)
    assert command.argv[:-1] == (
        r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe",
        "-NoLogo",
        "-NoProfile",
        "-NonInteractive",
        "-EncodedCommand",
    )
    assert base64.b64decode(command.argv[-1]).decode("utf-16-le") == windows.SCRIPT
    assert command.argv == windows.build_command(message(title="another", body="text"), WINDOWS_ENV).argv
    assert len(" ".join(command.argv)) < 8000  # cmd.exe's limit is 8,191; CreateProcess has four times that


def test_the_script_reads_text_only_as_text_nodes():
    lines = [line for line in windows.SCRIPT.splitlines() if "WATCHER_TITLE" in line or "WATCHER_MESSAGE" in line]
    assert len(lines) == 2
    assert all("CreateTextNode($env:WATCHER_" in line for line in lines)
    assert "Invoke-Expression" not in windows.SCRIPT
    assert '"$' not in windows.SCRIPT


def test_the_text_travels_in_variables():
    env = windows.build_command(message(severity=Severity.CRITICAL), {}).env
    assert env == {
        "WATCHER_TITLE": "Claude 5-hour window at 82 %",
        "WATCHER_MESSAGE": "resets in 1 h 40 min (16:00)",
        "WATCHER_LINK": "https://claude.ai/settings/usage",
        "WATCHER_URGENCY": "critical",
        "WATCHER_TAG": "4eb7d91f3a029550",
    }
    assert env["WATCHER_TAG"] == windows.build_command(message(id="later"), {}).env["WATCHER_TAG"]
    assert env["WATCHER_TAG"] != windows.build_command(message(thread="other"), {}).env["WATCHER_TAG"]


def test_the_text_is_clipped_in_windows_own_units():
    env = windows.build_command(message(title="\U0001f680" * 100, body="\U0001f680" * 500), {}).env
    assert count_utf16_units(env["WATCHER_TITLE"]) <= 63
    assert count_utf16_units(env["WATCHER_MESSAGE"]) <= 255
    assert env["WATCHER_MESSAGE"].endswith("…")


def test_a_title_that_is_too_long_for_windows_begins_the_body():
    title = "Claude (somebody@example.com) 5-hour window at 82 %, resets in 1 h 40 min (16:00)"
    long = message(title=title, body="Rule session.")
    assert windows.build_command(long, {}).env["WATCHER_MESSAGE"] == f"{title}\nRule session."
    assert json.loads(plyer.build_command(long).stdin)["message"] == f"{title}\nRule session."
    assert windows.build_command(message(title="short", body="b"), {}).env["WATCHER_MESSAGE"] == "b"


@pytest.mark.posix
@pytest.mark.parametrize(
    ("code", "delivered", "reason"),
    [
        (
            0,
            None,
            "handed to Windows, which does not say whether it was shown; if not, see Settings, System, Notifications",
        ),
        (3, False, "notifications are switched off; see Settings, System, Notifications"),
        (1, False, "exit code 1"),
    ],
)
def test_powershells_exit_codes_are_understood(programs, code, delivered, reason):
    programs.add("powershell.exe", code=code)
    outcome = by("win32", message(), programs)
    assert (outcome.delivered, outcome.detail) == (delivered, f"Windows toast: {reason}")
    assert outcome.accepted is (delivered is None)


@pytest.mark.posix
@pytest.mark.parametrize("text", HOSTILE)
def test_on_windows_no_text_is_among_the_arguments(programs, text):
    programs.add("powershell.exe")
    by("win32", message(title=text, body=text), programs)
    [seen] = programs.seen()
    assert not [argument for argument in seen["argv"] if text in argument and len(text) > 1]
    assert seen["env"]["WATCHER_TITLE"] == seen["env"]["WATCHER_MESSAGE"] == text


@pytest.mark.skipif(sys.platform != "linux", reason="WSL is Linux")
@pytest.mark.parametrize("text", HOSTILE)
def test_in_wsl_the_text_reaches_windows_in_variables_that_are_shared(programs, tmp_path, monkeypatch, text):
    monkeypatch.setattr(windows, "_WSL_SOCKETS", tmp_path / "run")
    programs.add("powershell.exe")
    env = {
        "WSL_DISTRO_NAME": "Ubuntu",
        "PATH": str(tmp_path),
        "WSLENV": "GOPATH/l",
        "WSL_INTEROP": "/run/WSL/8_interop",
    }
    outcome = try_backends(get_backends("linux", env), message(title=text, body=text), programs.run, env)
    assert (outcome.delivered, outcome.accepted) == (None, True)
    [seen] = programs.seen()
    assert not [argument for argument in seen["argv"] if text in argument and len(text) > 1]
    assert seen["env"]["WATCHER_TITLE"] == seen["env"]["WATCHER_MESSAGE"] == text
    first, *shared = seen["env"]["WSLENV"].split(":")
    assert first == "GOPATH/l"
    assert set(shared) == {name for name in seen["env"] if name.startswith("WATCHER_")}
    assert seen["env"]["WSL_INTEROP"] == "/run/WSL/8_interop"


@pytest.mark.skipif(sys.platform != "linux", reason="WSL is Linux")
def test_in_wsl_a_systemd_unit_finds_powershell_and_the_newest_socket(programs, tmp_path, monkeypatch):
    sockets = tmp_path / "run"
    sockets.mkdir()
    for number, name in enumerate(("9_interop", "1_interop")):
        (sockets / name).touch()
        os.utime(sockets / name, (number, number))
    programs.add("powershell.exe")
    monkeypatch.setattr(windows, "_WSL_SOCKETS", sockets)
    monkeypatch.setattr(windows, "WSL_POWERSHELL", str(tmp_path / "powershell.exe"))
    result = windows.show_from_wsl(message(), programs.run, {"PATH": "/nowhere"})
    assert result.accepted
    [seen] = programs.seen()
    assert seen["env"]["WSL_INTEROP"] == str(sockets / "1_interop")


def test_in_wsl_without_powershell_the_reason_names_it(programs, tmp_path, monkeypatch):
    monkeypatch.setattr(windows, "WSL_POWERSHELL", str(tmp_path / "nothing.exe"))
    result = windows.show_from_wsl(message(), programs.run, {"PATH": "/nowhere"})
    assert (result.delivered, result.reason) == (
        False,
        f"powershell.exe is not on PATH, nor at {tmp_path / 'nothing.exe'}",
    )


# --- notify-send ------------------------------------------------------------------------------------------------------


def test_the_arguments_of_notify_send_are_exact():
    assert linux.build_command(message(severity=Severity.CRITICAL, body=r"a <b> & C:\new")).argv == (
        "notify-send",
        "-p",
        "--app-name=AI usage watcher",
        "--urgency=critical",
        "--icon=dialog-error",
        "--hint=int:value:82",
        "--",
        "Claude 5-hour window at 82 %",
        r"a &lt;b&gt; &amp; C:\\new" + "\nhttps://claude.ai/settings/usage",
    )


@pytest.mark.parametrize(
    ("finished", "delivered", "accepted"),
    [
        (CommandResult(exit_code=0, stdout="7\n"), True, False),
        (CommandResult(exit_code=0), None, True),
        (CommandResult(exit_code=1, stderr="Unknown option -p"), False, False),
        (CommandResult(exit_code=None, stderr="stopped after 2 s", timed_out=True), None, False),
        (CommandResult(exit_code=None, stderr="cannot start 'notify-send': No such file or directory"), False, False),
    ],
)
def test_only_an_id_proves_that_notify_send_delivered(finished, delivered, accepted):
    answer = linux.show(message(), lambda _: finished, {})
    assert (answer.delivered, answer.accepted) == (delivered, accepted)


# --- plyer ------------------------------------------------------------------------------------------------------------


def test_plyer_gets_its_text_on_stdin_in_a_process_of_its_own():
    command = plyer.build_command(message())
    assert command.argv[0] == sys.executable
    assert json.loads(command.stdin) == {
        "title": "Claude 5-hour window at 82 %",
        "message": "resets in 1 h 40 min (16:00)",
        "app_name": "AI usage watcher",
    }


DBUS_PYTHON = """
import json, os

def SessionBus():
    return Bus()

class Bus:
    def get_object(self, name, path):
        return name

class Interface:
    def __init__(self, thing, dbus_interface):
        self.name = dbus_interface

    def Notify(self, *arguments):
        if os.environ.get("STAND_IN_FAILS"):
            raise OSError("no bus")
        with open(os.environ["STAND_IN_OUTPUT"], "w") as output:
            json.dump(arguments, output)
"""


@pytest.fixture
def with_dbus_python(tmp_path):
    """Runs a command with a stand-in for dbus-python, which plyer uses where it is installed."""
    (tmp_path / "dbus.py").write_text(DBUS_PYTHON)

    def there(command, **more):
        env = {"PYTHONPATH": child_path(tmp_path), "STAND_IN_OUTPUT": str(tmp_path / "received.json"), **more}
        env["PYTHONIOENCODING"] = "cp1252"  # of a Windows that is set to a language of Western Europe
        return run_command(Command(argv=command.argv, stdin=command.stdin, env=env, timeout_s=command.timeout_s))

    there.received = lambda: json.loads((tmp_path / "received.json").read_text("utf-8"))
    return there


@pytest.mark.skipif(sys.platform != "linux", reason="plyer's Linux part")
def test_the_real_plyer_hands_the_text_on_and_is_never_believed(with_dbus_python):
    answer = plyer.show(message(title="-u ü", body=r"<b> C:\new"), with_dbus_python, {})
    assert (answer.delivered, answer.accepted) == (None, True)
    assert answer.reason == "plyer took it and does not report the result"
    assert with_dbus_python.received()[3:5] == ["-u ü", r"&lt;b&gt; C:\new"]


@pytest.mark.skipif(sys.platform != "linux", reason="plyer's Linux part")
def test_what_the_real_plyer_raises_is_its_reason(with_dbus_python):
    answer = plyer.show(message(), lambda command: with_dbus_python(command, STAND_IN_FAILS="1"), {})
    assert (answer.delivered, answer.reason) == (False, "exit code 1 (OSError: no bus)")


@pytest.mark.skipif(sys.platform != "linux", reason="plyer's Linux part")
def test_plyer_does_not_run_what_has_just_failed(monkeypatch):
    monkeypatch.setattr(plyer, "find_spec", lambda _: None)
    with pytest.raises(RuntimeError, match="only run notify-send again"):
        plyer.check_linux_backend()


def test_plyer_is_never_led_to_put_text_into_a_gdbus_call(monkeypatch):
    monkeypatch.setattr(plyer.os.path, "isdir", lambda path: path == "/app")
    with pytest.raises(RuntimeError, match="for a Flatpak"):
        plyer.check_linux_backend()


# --- the chains -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "names"),
    [
        ("linux", ["D-Bus", "notify-send", "plyer"]),
        ("freebsd14", ["D-Bus", "notify-send", "plyer"]),
        ("darwin", ["terminal-notifier", "osascript", "plyer"]),
        ("win32", ["Windows toast", "plyer"]),
    ],
)
def test_each_system_has_its_chain(platform, names):
    assert [backend.name for backend in get_backends(platform, {})] == names
    assert set(BACKENDS) == {"linux", "darwin", "win32", "wsl"}


@pytest.mark.parametrize(
    ("env", "release", "is_wsl"),
    [
        ({"WSL_DISTRO_NAME": "Ubuntu"}, "6.8.0-generic", True),
        ({}, "5.15.167.4-microsoft-standard-WSL2\n", True),
        ({}, "4.4.0-19041-Microsoft\n", True),
        ({}, "6.8.0-generic\n", False),
        ({}, None, False),
    ],
)
def test_wsl_has_the_chain_of_windows_behind_the_bus(tmp_path, monkeypatch, env, release, is_wsl):
    kernel = tmp_path / "osrelease"
    if release is not None:
        kernel.write_text(release)
    monkeypatch.setattr(windows, "_KERNEL_RELEASE", kernel)
    names = [backend.name for backend in get_backends("linux", env)]
    assert names == (["D-Bus", "Windows toast"] if is_wsl else ["D-Bus", "notify-send", "plyer"])
    assert [backend.name for backend in get_backends("win32", env)] == ["Windows toast", "plyer"]


@pytest.mark.skipif(sys.platform != "linux", reason="the Linux chain")
def test_a_machine_without_a_desktop_gets_the_reason_of_every_backend(programs):
    outcome = try_backends(get_backends("linux", {}), message(), programs.run, {})
    assert outcome.delivered is False
    assert not outcome.permanent  # a desktop comes with the next login
    assert outcome.detail.split("; ")[0] == "D-Bus: there is no session bus"
    assert "notify-send: cannot start 'notify-send'" in outcome.detail
    assert "plyer: exit code 1" in outcome.detail
