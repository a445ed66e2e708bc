"""Errors are one line, exit codes are those of the table, help teaches."""

import os
import re
import runpy
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import click
import pytest

from tests.cli.conftest import HOME_VARIABLE
from watcher import __version__
from watcher.cli import COMMANDS, EXIT_CODES, app
from watcher.errors import ConfigError, StoreError, UsageError
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import clock


@pytest.fixture
def command(monkeypatch):
    """Makes `watcher boom` raise something."""

    def install(error):
        @click.command()
        def boom():
            raise error

        monkeypatch.setitem(COMMANDS, "boom", ("tests.cli.test_app:boom", ""))
        monkeypatch.setattr(app, "import_module", lambda _name: type("module", (), {"boom": boom}))

    return install


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ConfigError("config.toml:3:1: no"), 78, "config.toml:3:1: no\n"),
        (UsageError("no such thing"), 64, "no such thing\n"),
        (StoreError("the disk is full"), 1, "the disk is full\n"),
        (click.UsageError("what?"), 64, "watcher boom: what?; see `watcher boom --help`\n"),
        (click.Abort(), 130, ""),
        (KeyboardInterrupt(), 130, "\n"),
    ],
)
def test_every_error_has_its_exit_code_and_one_line(command, capsys, error, code, message):
    command(error)
    assert app.run(["boom"]) == code
    assert capsys.readouterr().err == message


def test_a_defect_is_one_line_without_the_text_of_the_error(command, capsys):
    command(KeyError("sk-ant-secret"))
    assert app.run(["boom"]) == 70
    message = capsys.readouterr().err
    assert re.fullmatch(
        rf"watcher {re.escape(__version__)}: this is a defect \(KeyError at \w+\.py:\d+\)\."
        r" Run it again with `watcher -v \.\.\.` and report what it prints: https://\S+\n",
        message,
    )
    assert "secret" not in message


def test_the_traceback_is_shown_to_who_asks(command, capsys):
    command(KeyError("detail"))
    assert app.run(["-v", "boom"]) == 70
    assert "Traceback" in (message := capsys.readouterr().err)
    assert "KeyError: 'detail'" in message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stauts"], "watcher: no command is called `stauts`; did you mean `status`?; see `watcher --help`\n"),
        (["status", "--jsn"], "watcher status: no such option"),
        (["help", "chek"], "watcher: no command is called `chek`; did you mean `check`?"),
        (["help", "rules", "lst"], "watcher rules: no command is called `lst`; did you mean `list`?"),
        (
            ["rules", "lst"],
            "watcher rules: no command is called `lst`; did you mean `list`?; see `watcher rules --help`",
        ),
        (["guard"], "watcher guard: missing argument 'EXPRESSION'; see `watcher guard --help`\n"),
        (["status", "--json", "--watch"], "watcher status: --json and --watch are different formats"),
        (["status", "--watch"], "watcher status: --watch needs a terminal"),
        (["status", "claud"], "watcher status: `claud`: unknown word `claud`; did you mean `claude`?"),
        (["status", "--template", "{usd}"], 'watcher status: --template: unknown field "{usd}": did you mean {used}?'),
        (["status", "claude", "--format", "line"], "watcher status: --format shows every provider in one line"),
    ],
)
def test_a_typo_gets_a_suggestion_and_exit_code_64(empty_home, words, message):
    done = empty_home.watcher(*words)
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_starts_as_a_process(empty_home, command):
    done = empty_home.process(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: watcher {command} ")


def helps(command=app.watcher, context=None):
    """Every command of every group, with its help."""
    context = context or click.Context(command, info_name="watcher")
    yield context.command_path, command.get_help(context)
    for name in command.list_commands(context) if isinstance(command, click.Group) else ():
        below = command.get_command(context, name)
        yield from helps(below, click.Context(below, info_name=name, parent=context))


def test_help_is_whole_in_80_columns_and_keeps_its_examples():
    for path, text in helps():
        wide = [line for line in text.splitlines() if len(line) > 80 and not line.strip().startswith("{")]
        assert (path, wide) == (path, [])
        assert "\\b" not in text, path
        first = text.splitlines()[2].strip()
        assert len(first) > 10, f"{path} says nothing of itself"


def test_the_list_of_commands_is_complete():
    listed = dict(helps())["watcher"].partition("Commands:")[2].partition("A first alert")[0]
    assert [line.split()[0] for line in listed.strip().splitlines()] == list(COMMANDS)
    for path, text in helps():
        assert (path, [line for line in text.partition("Commands:")[2].splitlines() if line.endswith("...")]) == (
            path,
            [],
        )


def test_help_finds_commands_of_a_group(capsys):
    assert app.run(["help", "rules", "check"]) == 0
    assert capsys.readouterr().out.startswith("Usage: watcher rules check ")


def test_exit_codes_are_in_one_table(capsys):
    assert app.run(["help", "exit-codes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[0]) for line in lines] == [code for code, _ in EXIT_CODES]
    assert {0, 1, 10, 20, 64, 69, 78} <= {code for code, _ in EXIT_CODES}


def test_environment_is_explained(capsys):
    assert app.run(["help", "environment"]) == 0
    assert "WATCHER_STATE_DIR" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_printed(empty_home, option):
    done = empty_home.watcher(option)
    assert (done.returncode, done.stdout) == (0, f"watcher, version {__version__}\n")


def test_a_reader_that_hangs_up_is_no_error(served):
    with subprocess.Popen(
        [sys.executable, "-m", "watcher", "help"], env=served.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as writer:
        writer.stdout.close()
        assert writer.wait(60) == 1
        assert writer.stderr.read() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize(
    "words", [("status",), ("check",), ("history", "--csv"), ("help",), ("status", "--format", "line")]
)
def test_output_that_cannot_be_written_is_no_defect(served, words):
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        argv = [sys.executable, "-m", "watcher", *words]
        done = subprocess.run(argv, env=served.env, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    message = "cannot write the output: No space left on device; make room, or send it elsewhere\n"
    assert (done.returncode, done.stderr) == (1, message)


@pytest.mark.usefixtures("still_clock")
def test_a_terminal_without_a_width_gets_the_table_all_the_same(served):
    assert served.watcher("status", COLUMNS="0").stdout == served.watcher("status").stdout != ""


@pytest.mark.parametrize("columns", ["501", "99999999", "9" * 5000])
def test_a_width_is_limited_to_500_columns(served, columns):
    assert max(map(len, served.watcher("status", COLUMNS=columns).stdout.splitlines())) <= 500


@pytest.mark.parametrize("zone", ["UTC-99:99:99", "AAA30", pytest.param("AAA0BBB-30", marks=pytest.mark.posix)])
def test_a_time_zone_of_nonsense_is_utc_with_a_warning(served, zone):
    for words in (["status"], ["status", "--format", "waybar"]):
        argv = [sys.executable, "-m", "watcher", *words]
        done = subprocess.run(argv, env={**served.env, "TZ": zone}, capture_output=True, text=True, check=False)
        assert done.stderr == f"watcher: TZ={zone!r} is not a time zone: all times are in UTC\n"
        assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1


def test_an_unknown_home_folder_is_reported(monkeypatch, capsys):
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user that the system does not know
    assert app.run(["status"]) == app.run(["guard", "claude < 90%"]) == 78
    assert capsys.readouterr().err == 2 * f"no home folder is known for this user: set {HOME_VARIABLE} to it\n"


@pytest.mark.parametrize(("words", "code"), [(("status",), 1), (("guard", "claude < 90%"), 69), (("history",), 1)])
def test_an_unreadable_state_folder_is_an_error_and_not_an_answer(empty_home, words, code):
    state = empty_home.paths.state_dir
    state.symlink_to(state)  # as unreadable as one without the right to look, also for root
    done = empty_home.watcher(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"cannot read {state / 'watcher.db'}: ")
    assert done.stderr.endswith("; make it readable for yourself, or set WATCHER_STATE_DIR\n")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        *((words.split(), 78) for words in ("check", "run", "status", "history", "report", "snooze", "unsnooze --all")),
        (["snooze", "session", "--for", "2h"], 78),
        (["guard", "claude < 90%"], 69),
    ],
)
def test_a_database_of_a_newer_version_is_refused_in_one_line_and_left_alone(empty_home, words, code):
    file = empty_home.paths.state_dir / DATABASE_FILE_NAME
    Store(file, now=clock.utc_now()).close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = file.read_bytes()
    done = empty_home.watcher(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"{file} was written by a newer version of this program")
    assert done.stderr.endswith(": upgrade ai-usage-watcher, or move the file away to start again\n")
    assert done.stderr.count("\n") == 1
    assert file.read_bytes() == before


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_shells_script(empty_home, shell):
    done = empty_home.watcher("completion", shell)
    assert done.returncode == 0
    assert "_WATCHER_COMPLETE" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("watcher sta", {"status"}),
        ("watcher status claude.f", {"claude.five_hour"}),
        ("watcher status nano", {"nano_gpt", "nano_gpt.daily", "nano_gpt.monthly"}),
        ("watcher notify test t", {"terminal"}),
        ("watcher snooze claude-s", {"claude-session"}),
        ("watcher rules explain copilot", {"copilot-overage"}),
    ],
)
def test_words_are_completed_from_store_and_config(served, words, offered):
    done = served.watcher(_WATCHER_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1))
    assert offered <= {line.partition(",")[2] for line in done.stdout.splitlines()}
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("shell", "name"), [("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", ".config/fish/config.fish")]
)
def test_completion_is_installed_once_and_keeps_what_the_file_holds(empty_home, shell, name):
    file = empty_home.folder / "home" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("alias ll='ls -l'")
    done = empty_home.watcher("completion", "--install", SHELL=f"/usr/bin/{shell}")
    assert (done.returncode, done.stdout) == (0, f"written: {file}; it counts in every new {shell}\n")
    written = file.read_text("utf-8")
    assert written.startswith("alias ll='ls -l'\n")
    assert empty_home.watcher("completion", shell, "--install").stdout == f"{file} has it already\n"
    assert file.read_text("utf-8") == written


def test_completion_for_an_unknown_shell_names_the_known_ones(empty_home):
    done = empty_home.watcher("completion", SHELL="/bin/tcsh")
    assert done.returncode == 64
    assert "write bash, zsh or fish" in done.stderr


def test_the_manual_page_in_the_wheel_is_current():
    shipped = (Path(__file__).parents[2] / "docs" / "watcher.1").read_text("utf-8")
    written = runpy.run_path(str(Path(__file__).parents[2] / "contrib" / "man_page.py"))["format_man_page"]()
    assert shipped == written, "run: python contrib/man_page.py > docs/watcher.1"
    for path, _ in helps():
        assert path == "watcher" or f".SS {path}".replace("-", "\\-") in shipped


@pytest.mark.system
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_with_the_script(served, tmp_path):
    shim = tmp_path / "watcher"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m watcher "$@"\n')
    shim.chmod(0o700)
    script = (
        'eval "$(watcher completion bash)"; COMP_WORDS=(watcher status claude.f); COMP_CWORD=2;'
        ' _watcher_completion watcher; echo "${COMPREPLY[@]}"'
    )
    env = {**served.env, "PATH": f"{tmp_path}:{served.env['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("claude.five_hour\n", "")


def test_completion_is_silent_where_there_is_nothing(empty_home):
    empty_home.paths.config_dir.mkdir(parents=True)
    (empty_home.paths.config_dir / "config.toml").write_text("not toml")
    for words in ("watcher status cop", "watcher rules explain x", "watcher notify test x"):
        done = empty_home.watcher(
            _WATCHER_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1)
        )
        assert done.stderr == ""


@pytest.mark.parametrize(("args", "shown"), [([], "A first alert in a minute:"), (["rules"], "watcher rules explain")])
def test_a_group_without_a_command_shows_its_help(capsys, args, shown):
    assert app.run(args) == 64
    message = capsys.readouterr().err
    assert message.startswith("Usage: watcher")
    assert any(line.strip().startswith(shown) for line in message.splitlines())


@pytest.mark.parametrize(
    "words", [("help", "exit-codes"), ("help", "environment"), ("rules", "explain", "claude-session")]
)
def test_no_line_is_wider_than_the_terminal(served, words):
    shown = served.watcher(*words, COLUMNS="60").stdout.splitlines()
    assert max(map(len, shown)) <= 60
    assert len(shown) > 4


def test_rules_named_in_help_are_ones_that_a_newcomer_has(empty_home):
    named = {"session"}
    for words in ((), ("rules",), ("snooze",)):
        message = empty_home.watcher(*words, "--help").stdout
        named |= set(re.findall(r"watcher (?:snooze|rules explain) ([a-z][a-z-]+)(?= )", message))
    rules = re.findall(r"^# \d+ rules? from (.+)$", empty_home.watcher("config", "show").stdout, re.MULTILINE)
    text = "".join(Path(path).read_text("utf-8") for path in rules)
    assert [name for name in named if f'name   = "{name}"' not in text] == []


@pytest.mark.parametrize("words", ["status --format swiftbar", "help exit-codes", "--version"])
def test_a_reader_that_closes_the_pipe_gets_no_traceback(empty_home, words):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "watcher", *words.split()],
        env=empty_home.env,
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")
