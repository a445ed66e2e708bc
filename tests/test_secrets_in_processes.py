"""Secrets of channels that are programs, and of the commands that go on, each as a process; see `test_secrets`."""

# ruff: noqa: F811 - a fixture that is imported is an argument of the same name

import os
import re
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen  # itself: `life` notes what is started through the module

import pytest

from tests.test_secrets import (  # noqa: F401 - fixtures are known by their names
    LOOKS,
    S,
    far,
    home,
    life,
    list_lines_with_secrets,
    list_mistyped,
    once,
    planted,
    pytestmark,
    write,
)

REPO = Path(__file__).parent.parent
pytestmark = [*pytestmark, pytest.mark.slow]


def route_to(life, channel):
    """Put one more channel into the config, and send everything there."""
    name = channel.partition("[channels.")[2].partition("]")[0]
    text = re.sub(r"\ndefault = .*", f'\ndefault = ["{name}"]', life.config.read_text("utf-8"))
    life.config.write_text(text.replace("[route]", f"{channel}[route]"))


@pytest.mark.parametrize("ends", ["exit 0", "exit 1", "exit 75", "sleep 9", "kill -9 $$"])
def test_the_arguments_of_a_command_stay_with_it(life, ends):
    """A program that says all it knows, and ends in one of several ways."""
    program, called = life.home / "talker-lamp", life.home / "state" / "called"
    write(program, f'#!/bin/sh\nprintf %s $# >> {called}\necho "$0 $@"; echo "$0 $@" >&2\n{ends}\n')
    program.chmod(0o700)
    argv, timeout = f'["{program}", "--token={S["CommandArgument"]}"]', "0.5s" if "sleep" in ends else "60s"
    route_to(life, f'[channels.talker]\ntype = "command"\nargv = {argv}\ntimeout = "{timeout}"\n')
    once(life.home)
    once(life.home)
    life.run(*LOOKS, "notify test talker")
    assert life.find_leaks() == []
    assert called.read_text("utf-8").startswith("1")


@pytest.mark.parametrize("wrong", ["missing", "mistyped", "no list"])
def test_a_command_that_cannot_be_run_is_shown_without_its_arguments(life, wrong):
    secret = S["CommandArgument"]
    table = {
        "missing": f'argv = ["{life.home}/no-lamp", "{secret}"]\n',
        "mistyped": f'argvs = [\n  "/bin/true",\n  "{secret}",\n]\n',
        "no list": f'argv = "/bin/true --token={secret}"\n',
    }[wrong]
    route_to(life, f'[channels.broken]\ntype = "command"\n{table}')
    with suppress(Exception):  # a config with a mistake does not start
        once(life.home)
    life.run(*LOOKS, "notify test broken")
    assert life.find_leaks() == []
    assert "argv" in life.printed["notify test broken"] or "NOT delivered" in life.printed["notify test broken"]


@pytest.mark.skipif(find_spec("apprise") is None, reason="the optional library is not installed")
@pytest.mark.parametrize("fault", [None, 401, 500, "reset", "unknown address"])
def test_the_address_of_an_apprise_service_stays_with_it(life, far, fault):
    scheme = "json" if fault != "unknown address" else "nosuchservice"
    host, secret = far.server.url.removeprefix("http://"), S["HookPath"]
    route_to(life, f'[channels.service]\ntype = "apprise"\nurl = "{scheme}://{host}/hook/{secret}"\n')
    far.fault = None if fault == "unknown address" else fault
    once(life.home)
    life.run(*LOOKS, "notify test service")
    assert life.find_leaks() == []
    if fault != "unknown address":
        assert any(secret in asked.path for asked in far.server.requests)


def until(condition, process, out):
    """Waits for that process, which no clock of ours can move; not for one that has ended."""
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, out.read_text("utf-8")
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@contextmanager
def running(life, *words):
    """That command as a process; what it prints is kept."""
    out = life.home / f"{words[0]}.out"
    with out.open("wb") as file:
        process = Popen(
            [sys.executable, "-m", "watcher", *words],
            env={**os.environ, "PYTHONPATH": str(REPO)},
            cwd=life.home,
            stdin=DEVNULL,
            stdout=file,
            stderr=STDOUT,
        )
        try:
            yield process, out
        finally:
            process.terminate()
            process.wait(timeout=60)


@pytest.mark.parametrize("fault", [None, 401, "html"])
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_running_watcher_leaks_no_secret(life, far, fault, log_format):
    """Mistakes are made in its config while it runs: it logs them, keeps the old config, and tells the channels."""
    far.fault, far.failing = fault, ("channels" if log_format == "text" else "providers",)
    spied = life.home / "state" / "spied"
    lamp = life.home / "bin" / "lamp"
    write(lamp, f"#!/bin/sh\ntr '\\0' '\\n' < /proc/self/environ >> {spied}\n")
    lamp.chmod(0o700)
    log, good = life.home / "state" / "watcher.log", life.config.read_text("utf-8")
    with running(life, "run", "--verbose", "--log-format", log_format) as (process, out):
        until(lambda: len(far.server.requests) >= 6 and log.exists() and spied.exists(), process, out)
        for number, line in enumerate(list_lines_with_secrets(good)):
            bad = list_mistyped(line)["no quotes" if number % 2 else "mistyped key"]
            seen = log.read_text("utf-8").count("config.toml:")
            life.config.write_text(good.replace(line, bad))
            process.send_signal(1)
            until(lambda seen=seen: log.read_text("utf-8").count("config.toml:") > seen, process, out)
            life.run("status", "doctor")
        life.config.write_text(good)
    assert life.find_leaks() == []
    assert "WATCHER_TITLE" in spied.read_text("utf-8")


def test_the_dashboard_shows_no_secret(life, far):
    far.fault = "echo"
    once(life.home)
    with running(life, "dashboard", "--no-open", "--port", "0") as (process, out):
        until(lambda: re.search(r"http://\S+/\n", out.read_text("utf-8")), process, out)
        address = re.search(r"http://\S+/", out.read_text("utf-8"))[0]
        with urllib.request.urlopen(address, timeout=60) as page:
            life.printed["page"] = page.read().decode()
        with urllib.request.urlopen(f"{address}events", timeout=60) as events:
            life.printed["events"] = "".join(events.readline().decode() for _ in range(6))
    assert "five_hour" in life.printed["events"]
    assert life.find_leaks() == []


def test_the_demo_takes_nothing_from_the_home(life):
    with running(life, "demo", "--speed", "20000") as (process, out):
        until(lambda: "firing" in out.read_text("utf-8") or "Claude" in out.read_text("utf-8"), process, out)
    assert life.find_leaks() == []
    assert life.find_strays() == []
