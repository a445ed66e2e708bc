"""Running other programs: what they get, what is kept of what they say, and how they are stopped."""

import os
import stat
import sys
import time
from pathlib import Path

import pytest

from watcher.core.model import Command
from watcher.system import process
from watcher.system.process import build_environment, run_command

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs used here are Unix's")
LONG_S = 60.0  # a limit that no test reaches


def python(code, **changes):
    return Command(argv=(sys.executable, "-c", code), **changes)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")  # a zombie that was not waited for has ended
    return not status.exists() or status.read_text("ascii").rpartition(")")[2].split()[0] != "Z"


def test_what_went_in_and_what_came_out():
    finished = run_command(
        python("import sys; print(sys.stdin.read().upper()); print('oh', file=sys.stderr); sys.exit(75)", stdin="zwölf")
    )
    assert (finished.exit_code, finished.stdout, finished.stderr, finished.timed_out) == (75, "ZWÖLF\n", "oh\n", False)


def test_arguments_are_never_read_by_a_shell(tmp_path):
    mark = tmp_path / "mark"
    words = ("$(touch " + str(mark) + ")", "; touch " + str(mark), "`id`", "a b", "*", "--", "")
    finished = run_command(Command(argv=(sys.executable, "-c", "import sys; print(sys.argv[1:])", *words)))
    assert finished.stdout.strip() == str(list(words))
    assert not mark.exists()


def test_a_token_in_the_environment_is_not_handed_on(monkeypatch):
    monkeypatch.setenv("SLACK_WEBHOOK_URL", "plantedsecret")
    monkeypatch.setenv("LC_TIME", "de_DE.UTF-8")
    finished = run_command(python("import os; print(dict(os.environ))", env={"WATCHER_TITLE": "hello"}))
    assert "plantedsecret" not in finished.stdout
    assert "'WATCHER_TITLE': 'hello'" in finished.stdout
    assert "'LC_TIME': 'de_DE.UTF-8'" in finished.stdout
    assert "'PATH'" in finished.stdout


def test_a_commands_own_variable_wins():
    assert build_environment({"HOME": "/mine"}, {"HOME": "/theirs", "AWS_SECRET": "x"}) == {"HOME": "/mine"}


@pytest.mark.parametrize(
    ("argv", "stderr"),
    [
        (("/nowhere/at/all", "plantedsecret"), "cannot start '/nowhere/at/all': No such file or directory"),
        (("nul\0",), "cannot start 'nul\\x00': an argument cannot be passed on"),
        (("echo", "sur\ud800"), "cannot start 'echo': an argument cannot be passed on"),
        (("/",), "cannot start '/': Permission denied"),
    ],
)
def test_what_cannot_be_started_is_an_answer_that_shows_no_argument(argv, stderr):
    finished = run_command(Command(argv=argv))
    assert (finished.exit_code, finished.timed_out, finished.stderr) == (None, False, stderr)


def test_a_script_without_its_interpreter_is_an_answer_too(tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/nowhere/interpreter\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    assert run_command(Command(argv=(str(script),))).exit_code is None


def test_endless_output_is_bounded_and_does_not_stall_the_program():
    command = python(f"import sys; sys.stdout.write('x' * {4 << 20}); sys.stderr.write('y' * {3 << 16})")
    finished = run_command(command)
    assert finished.exit_code == 0
    assert len(finished.stdout) == len(finished.stderr) == command.max_output_bytes


def test_output_that_is_no_text_is_replaced():
    assert run_command(python("import sys; sys.stdout.buffer.write(b'a\\xff')")).stdout == "a\ufffd"


def test_a_program_that_does_not_read_its_stdin_is_no_error():
    assert run_command(python("", stdin="x" * 1_000_000)).exit_code == 0


def shell(code, **changes):
    return Command(argv=("/bin/sh", "-c", code), **changes)  # starts in a millisecond, on a busy machine too


@pytest.fixture
def mark(tmp_path, monkeypatch):
    """The limit of a program counts from when it has made this file: on a busy machine it may start late."""
    mark, start_process = tmp_path / "mark", process.start_process

    def start_and_wait(*args, **options):
        started, end = start_process(*args, **options), time.monotonic() + LONG_S
        while not mark.exists() and time.monotonic() < end:
            time.sleep(0.005)
        return started

    monkeypatch.setattr(process, "start_process", start_and_wait)
    return mark


def test_at_its_limit_a_program_gets_term(mark, monkeypatch):
    monkeypatch.setattr(process, "GRACE_S", LONG_S)
    began = time.monotonic()
    finished = run_command(
        shell(f"trap 'echo bye; exit 0' TERM; echo up; touch {mark}; while :; do sleep 0.01; done", timeout_s=0.1)
    )
    assert time.monotonic() - began < LONG_S
    assert (finished.exit_code, finished.timed_out, finished.stderr) == (None, True, "stopped after 0.1 s")
    assert finished.stdout == "up\nbye\n"


def test_a_program_that_does_not_obey_is_killed_with_its_children(mark, monkeypatch):
    monkeypatch.setattr(process, "GRACE_S", 0.3)
    finished = run_command(shell(f"trap '' TERM; sleep 600 & echo $!; touch {mark}; wait", timeout_s=0.1))
    assert finished.timed_out
    pid = int(finished.stdout)
    deadline = time.monotonic() + LONG_S
    while alive(pid):
        assert time.monotonic() < deadline, "the child outlived its parent's limit"


def test_a_child_that_outlives_its_parent_delays_nothing(monkeypatch):
    monkeypatch.setattr(process, "GRACE_S", 0.2)
    began = time.monotonic()
    finished = run_command(shell("sleep 600 & echo $!", timeout_s=LONG_S))
    assert time.monotonic() - began < LONG_S
    assert finished.exit_code == 0
    os.kill(int(finished.stdout), 9)


@pytest.mark.skipif(sys.platform != "linux", reason="systemd's units are Linux's")
@pytest.mark.parametrize("can_start", [True, False])
def test_from_systemds_unit_a_browser_starts_in_a_unit_of_its_own(tmp_path, monkeypatch, can_start):
    started, pages = tmp_path / "started", []
    program = tmp_path / "systemd-run"
    program.write_text(f'#!/bin/sh\necho "$@" > {started}\nexit {0 if can_start else 1}\n')
    program.chmod(0o700)
    for name, value in {"PATH": f"{tmp_path}:{os.environ['PATH']}", "DISPLAY": ":7"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("webbrowser.open", lambda url: pages.append(url) or True)
    monkeypatch.setenv("SYSTEMD_EXEC_PID", "1")  # a shell's copy of another process
    assert process.open_in_browser("https://example.com/a")
    assert not started.exists()
    monkeypatch.setenv("SYSTEMD_EXEC_PID", str(os.getpid()))
    assert process.open_in_browser("https://example.com/b")
    assert started.read_text("utf-8") == "--user --quiet --collect xdg-open https://example.com/b\n"
    assert pages == ["https://example.com/a", *([] if can_start else ["https://example.com/b"])]


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="there is always a screen")
def test_without_a_screen_no_browser_is_started(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("webbrowser.open", pytest.fail)
    assert not process.open_in_browser("https://example.com")
