"""Secrets of channels that are programs, and of the watcher as a process of its own; see `test_secrets`."""

# ruff: noqa: F811 - a fixture that is imported is an argument of the same name

import os
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.test_secrets import (  # noqa: F401 - fixtures are known by their names
    SECRETS,
    commands,
    everything,
    far,
    home,
    leaks,
    once,
)

ROUTE = '[route]\ndefault = ["slack", "discord", "hook", "ntfy", "private"]\n'
REPO = Path(__file__).parent.parent

SLOW = pytest.mark.slow


def route_to(home, channel):
    """Put one more channel into the config, and send everything there."""
    config = home / "config" / "config.toml"
    text = config.read_text()
    assert ROUTE in text
    name = channel.partition("[channels.")[2].partition("]")[0]
    config.write_text(text.replace(ROUTE, f'{channel}[route]\ndefault = ["{name}"]\n'))


def talker(home, ends):
    """A program that says all it knows, and ends in one of several ways."""
    path = home / "talker"
    path.write_text(
        f"#!{sys.executable}\nimport os, sys, time\n"
        f"open({str(home / 'called')!r}, 'a').write(sys.argv[1] + '\\n')\n"
        f"print(sys.argv, flush=True); print(sys.argv, file=sys.stderr, flush=True)\n{ends}\n"
    )
    path.chmod(0o700)
    return path


@pytest.mark.parametrize(
    "ends",
    [
        "sys.exit(0)",
        "sys.exit(1)",
        *(pytest.param(ends, marks=SLOW) for ends in ("sys.exit(75)", "time.sleep(9)", "os.kill(os.getpid(), 9)")),
    ],
)
def test_the_arguments_of_a_command_stay_with_it(home, far, capsys, ends):
    argv = f'argv = [\n  "{talker(home, ends)}",\n  "--token={SECRETS["CommandArgument"]}",\n]\n'
    route_to(home, f'[channels.lamp]\ntype = "command"\n{argv}timeout = "0.5s"\n')
    once(home)
    once(home)
    commands(["notify", "test", "lamp"])
    assert leaks(everything(home, far, capsys)) == []
    assert SECRETS["CommandArgument"] in (home / "called").read_text()


@pytest.mark.parametrize("wrong", ["missing", "mistyped", "no list"])
def test_a_command_that_cannot_be_run_is_shown_without_its_arguments(home, far, capsys, wrong):
    secret = SECRETS["CommandArgument"]
    table = {
        "missing": f'type = "command"\nargv = ["{home}/nothing-there", "{secret}"]\n',
        "mistyped": f'type = "command"\nargvs = [\n  "/bin/true",\n  "{secret}",\n]\n',
        "no list": f'type = "command"\nargv = "/bin/true --token={secret}"\n',
    }[wrong]
    route_to(home, f"[channels.lamp]\n{table}")
    with suppress(Exception):  # a config with a mistake does not start
        once(home)
    commands(["check"], ["notify", "test", "lamp"])
    found = everything(home, far, capsys)
    assert leaks(found) == []
    assert b"argv" in found["stderr"] or b"NOT delivered" in found["stdout"]


@pytest.mark.skipif(find_spec("apprise") is None, reason="the optional library is not installed")
@pytest.mark.parametrize(
    "fault", [401, *(pytest.param(fault, marks=SLOW) for fault in (None, 500, "reset", "unknown address"))]
)
def test_the_address_of_an_apprise_service_stays_with_it(home, far, capsys, fault):
    scheme = "json" if fault != "unknown address" else "nosuchservice"
    host = far.server.url.removeprefix("http://")
    route_to(home, f'[channels.mail]\ntype = "apprise"\nurl = "{scheme}://{host}/hook/{SECRETS["ApprisePath"]}"\n')
    far.fault = None if fault == "unknown address" else fault
    once(home)
    commands(["notify", "test", "mail"])
    assert leaks(everything(home, far, capsys)) == []
    if fault != "unknown address":
        assert any(SECRETS["ApprisePath"] in asked.path for asked in far.server.requests)


def until(condition, seconds=30.0):
    """Waits for another process, which no clock of ours can move."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.parametrize("fault", [401, *(pytest.param(fault, marks=SLOW) for fault in (None, "reset", "html"))])
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_running_watcher_leaks_no_secret(home, far, capsys, fault, log_format):
    far.fault, far.of_channels = fault, log_format == "text"
    process = subprocess.Popen(
        [sys.executable, "-m", "watcher", "run", "--verbose", "--log-format", log_format],
        env={**os.environ, "PYTHONPATH": str(REPO)},
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        log = home / "state" / "watcher.log"
        until(lambda: len(far.server.requests) >= 6 and log.exists())
        config = home / "config" / "config.toml"
        config.write_text(config.read_text().replace('type = "slack"', 'type = "slak"'))
        process.send_signal(1)  # a hangup: the config is read anew, and now has a mistake beside its secrets
        until(lambda: "slak" in log.read_text())
    finally:
        process.terminate()
        printed = process.communicate(timeout=20)
    found = everything(home, far, capsys) | {"process stdout": printed[0], "process stderr": printed[1]}
    assert leaks(found) == []
    assert found["state/watcher.log"]
