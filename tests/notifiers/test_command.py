"""The command channel, with real programs."""

import json
import stat
import sys

import msgspec
import pytest

from tests.notifiers.conftest import clean_message
from watcher import notifiers
from watcher.system.process import run_command

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs used here are Unix's")


def not_sent(_request):
    raise AssertionError("a command needs no network")


@pytest.fixture
def script(tmp_path):
    """`script(code)`: a program of its own."""

    def write(code):
        path = tmp_path / "program with a space"
        path.write_text(f"#!{sys.executable}\n{code}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return write


def test_a_program_gets_the_contract_on_stdin_and_in_variables(script, tmp_path, channel, message):
    into = tmp_path / "seen.json"
    program = script(
        "import json, os, sys\n"
        "seen = {'argv': sys.argv[1:], 'stdin': json.load(sys.stdin), 'env': dict(os.environ)}\n"
        "json.dump(seen, open(sys.argv[1], 'w'))"
    )
    hostile = '$(touch /tmp/x) `id` "; rm -rf ~" %PATH% \\ \0'
    outcome = notifiers.send_message(
        clean_message(message(title=hostile, body="a\nb")),
        channel("command", argv=[program, str(into), "$HOME"]),
        send=not_sent,
        run=run_command,
    )
    assert outcome.delivered, outcome.detail
    seen = json.loads(into.read_text("utf-8"))
    assert seen["argv"] == [str(into), "$HOME"]
    assert seen["stdin"]["schema"] == "watcher.alert.v1"
    assert seen["stdin"]["title"] == seen["env"]["WATCHER_TITLE"] == '$(touch /tmp/x) `id` "; rm -rf ~" %PATH% \\'
    assert seen["env"]["WATCHER_MESSAGE"] == "a\nb"
    assert seen["env"]["WATCHER_ID"] == "claude-session|claude.five_hour|3|firing"
    assert seen["env"]["WATCHER_USED_PERCENT"] == "82.0"
    assert seen["env"]["WATCHER_ACCOUNT"] == ""


@pytest.mark.parametrize(
    ("code", "delivered", "permanent"),
    [("", True, False), ("raise SystemExit(75)", False, False), ("raise SystemExit(1)", False, True)],
)
def test_the_exit_code_decides(script, channel, message, *, code, delivered, permanent):
    outcome = notifiers.send_message(message(), channel("command", argv=[script(code)]), send=not_sent, run=run_command)
    assert (outcome.delivered, outcome.permanent) == (delivered, permanent)


def test_a_program_that_hangs_is_stopped_at_its_own_limit(script, channel, message):
    program = script("import time; time.sleep(60)")
    outcome = notifiers.send_message(
        message(), channel("command", argv=[program], timeout="0.3s"), send=not_sent, run=run_command
    )
    assert (outcome.delivered, outcome.permanent) == (None, False)
    assert outcome.detail.startswith("stopped after 0.3 s")


def test_a_huge_text_fits_into_the_environment(script, channel, message):
    sent = message(title="t" * 500_000, body="ü" * 500_000)
    outcome = notifiers.send_message(sent, channel("command", argv=[script("")]), send=not_sent, run=run_command)
    assert outcome.delivered, outcome.detail


@pytest.mark.parametrize(("timeout", "seconds"), [("10s", 10), ("2m", 120), ("0.5s", 0.5), ("5m", 300)])
def test_a_timeout_is_a_duration(channel, timeout, seconds):
    assert channel("command", timeout=timeout).settings.timeout_s == seconds


@pytest.mark.parametrize(
    "how",
    [
        {"argv": []},
        {"argv": [""]},
        {"argv": "/bin/true"},
        {"argv": ["a\0"]},
        {"timeout": "0s"},
        {"timeout": "6m"},
        {"timeout": "x"},
        {"timeout": "7"},
    ],
)
def test_settings_that_cannot_run_are_refused(channel, how):
    with pytest.raises(msgspec.ValidationError):
        channel("command", **how)
